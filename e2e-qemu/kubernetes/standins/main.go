// Stand-ins for the two CSI sidecars that the Go module proxy does not have, for upstream's chart: what the program does is
// told by the name it is called by. They do what the chart needs of the originals, in the same language, with the same
// libraries.
//
//	csi-node-driver-registrar: tells the kubelet about the driver, by a socket <driver>-reg.sock in /registration.
//	livenessprobe: answers /healthz with what the driver says to Probe.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const registry = "/registration"

var (
	csiAddress = flag.String("csi-address", "", "the driver's socket")
	kubelets   = flag.String("kubelet-registration-path", "", "the driver's socket, as the kubelet sees it")
	endpoint   = flag.String("http-endpoint", "", "where to answer /healthz")
)

func main() {
	flag.Parse()
	connection, err := grpc.NewClient("unix:"+*csiAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	driver := csi.NewIdentityClient(connection)
	switch name := filepath.Base(os.Args[0]); name {
	case "csi-node-driver-registrar":
		register(nameOf(driver))
	case "livenessprobe":
		healthz(func(ctx context.Context) error {
			answer, err := driver.Probe(ctx, &csi.ProbeRequest{})
			if err == nil && answer.Ready != nil && !answer.Ready.Value {
				err = fmt.Errorf("the driver is not ready")
			}
			return err
		})
		select {}
	default:
		log.Fatalf("not a name of this program: %s", name)
	}
}

// nameOf waits for the driver and asks for its name.
func nameOf(driver csi.IdentityClient) string {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		info, err := driver.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			return info.Name
		}
		log.Print(err)
	}
}

// healthz answers by what check says within a second.
func healthz(check func(context.Context) error) {
	if *endpoint == "" {
		return
	}
	http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if err := check(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "ok")
	})
	go func() { log.Fatal(http.ListenAndServe(*endpoint, nil)) }()
}

type server struct {
	registration.UnimplementedRegistrationServer
	name string
}

func (s *server) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: s.name, Endpoint: *kubelets, SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus ends the program when the kubelet refuses the driver, as the original does: it is started again.
func (s *server) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	log.Printf("registered: %v %s", status.PluginRegistered, status.Error)
	if !status.PluginRegistered {
		os.Exit(1)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

func register(name string) {
	socket := filepath.Join(registry, name+"-reg.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	mask := syscall.Umask(0o077)
	listener, err := net.Listen("unix", socket)
	syscall.Umask(mask)
	if err != nil {
		log.Fatal(err)
	}
	healthz(func(context.Context) error {
		_, err := os.Stat(socket)
		return err
	})
	serving := grpc.NewServer()
	registration.RegisterRegistrationServer(serving, &server{name: name})
	log.Fatal(serving.Serve(listener))
}
