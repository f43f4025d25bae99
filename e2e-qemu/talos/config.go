package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/siderolabs/talos/pkg/machinery/config"
	"github.com/siderolabs/talos/pkg/machinery/config/configloader"
	"github.com/siderolabs/talos/pkg/machinery/config/configpatcher"
	configgen "github.com/siderolabs/talos/pkg/machinery/config/generate"
	"github.com/siderolabs/talos/pkg/machinery/config/generate/secrets"
	"github.com/siderolabs/talos/pkg/machinery/config/machine"
	"github.com/siderolabs/talos/pkg/machinery/constants"
)

// base is a configuration as `talosctl gen config` makes it.
type base struct{ bytes []byte }

// metal is how Talos runs on a machine of its own.
type metal struct{}

func (metal) String() string        { return "metal" }
func (metal) RequiresInstall() bool { return true }
func (metal) InContainer() bool     { return false }

func generate(contract, role string) (*base, error) {
	version, err := config.ParseContractFromVersion(contract)
	if err != nil {
		return nil, err
	}

	bundle, err := secrets.NewBundle(secrets.NewClock(), version)
	if err != nil {
		return nil, err
	}

	input, err := configgen.NewInput("judged", "https://192.0.2.1:6443", constants.DefaultKubernetesVersion,
		configgen.WithVersionContract(version),
		configgen.WithSecretsBundle(bundle),
		configgen.WithInstallDisk("/dev/sda"),
	)
	if err != nil {
		return nil, err
	}

	kind, err := machine.ParseType(role)
	if err != nil {
		return nil, err
	}

	made, err := input.Config(kind)
	if err != nil {
		return nil, err
	}

	text, err := made.Bytes()
	if err != nil {
		return nil, err
	}

	return &base{text}, validate(text)
}

// patch applies a patch once and validates the result, and says whether a second time changes it.
func (b *base) patch(path string) (bool, error) {
	patches, err := configpatcher.LoadPatches([]string{"@" + path})
	if err != nil {
		return false, refusal{"load", err}
	}

	once, err := apply(b.bytes, patches)
	if err != nil {
		return false, refusal{"patch", err}
	}

	if err = validate(once); err != nil {
		return false, refusal{"validate", err}
	}

	twice, err := apply(once, patches)
	if err != nil {
		return false, refusal{"patch again", err}
	}

	return !bytes.Equal(once, twice), nil
}

func apply(text []byte, patches []configpatcher.Patch) ([]byte, error) {
	out, err := configpatcher.Apply(configpatcher.WithBytes(text), patches)
	if err != nil {
		return nil, err
	}

	return out.Bytes()
}

func validate(text []byte) error {
	provider, err := configloader.NewFromBytes(text)
	if err != nil {
		return fmt.Errorf("what came out cannot be read: %w", err)
	}

	_, err = provider.Validate(metal{})

	return err
}

func configuration(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}

	if err = validate(text); err != nil {
		return refusal{"validate", err}
	}

	return nil
}
