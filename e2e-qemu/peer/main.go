// Command replay plays a script of calls against an lvmd, through upstream's own client,
// and prints one JSON line for each step that has a result.
//
// It judges nothing: what is answered goes out as it came, for the differential test to compare.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// limit is how long one step may take before the replay is given up.
const limit = 2 * time.Minute

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: replay SOCKET SCRIPT.json")
		os.Exit(2)
	}
	if err := replay(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func replay(socket, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var steps []Step
	if err := json.Unmarshal(text, &steps); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	player := newPlayer(conn)
	defer player.closeAll()
	out := json.NewEncoder(os.Stdout)
	for at, step := range steps {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		result, err := player.play(ctx, step)
		cancel()
		if err != nil {
			return fmt.Errorf("step %d %s: %w", at+1, step.ID, err)
		}
		if result == nil {
			continue
		}
		if err := out.Encode(result); err != nil {
			return err
		}
	}
	return nil
}
