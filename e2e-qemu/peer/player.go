package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"google.golang.org/grpc"
)

// pause is how long "wait" waits between two looks.
const pause = 50 * time.Millisecond

// player plays steps in order.
type player struct {
	client client
	held   []*os.File
}

func newPlayer(conn *grpc.ClientConn) *player {
	return &player{client: newClient(conn)}
}

// play plays one step; nil when it has no result to compare.
func (p *player) play(ctx context.Context, step Step) (*Result, error) {
	// Udev opens a device it has just heard of, and that shows in its attributes.
	if step.Call == "GetLVList" || step.Do == "show" {
		if err := exec.CommandContext(ctx, "udevadm", "settle").Run(); err != nil {
			return nil, fmt.Errorf("udevadm settle: %w", err)
		}
	}
	switch {
	case step.Call != "" && step.Do == "":
		return p.client.call(ctx, step)
	case step.Call != "":
		return nil, errors.New("it is a call and something else")
	}
	switch step.Do {
	case "open":
		file, err := os.Open(step.Path)
		if err != nil {
			return nil, err
		}
		p.held = append(p.held, file)
		return nil, nil
	case "close":
		return nil, p.closeAll()
	case "lvm":
		_, err := lvm(ctx, step.Args)
		return nil, err
	case "repair":
		_, err := lvm(ctx, step.Args)
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = nil
		}
		return nil, err
	case "show":
		lines, err := lvm(ctx, step.Args)
		return &Result{ID: step.ID, Shown: lines}, err
	case "wait":
		for {
			lines, err := lvm(ctx, step.Args)
			if err != nil || len(lines) == 0 {
				return nil, err
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil, fmt.Errorf("still there: %q", lines)
			}
		}
	default:
		return nil, fmt.Errorf("nobody can do %q", step.Do)
	}
}

// closeAll lets go of everything that "open" holds.
func (p *player) closeAll() error {
	var all error
	for _, file := range p.held {
		all = errors.Join(all, file.Close())
	}
	p.held = nil
	return all
}

// lvm runs the node's lvm with its defaults and gives the lines it prints, trimmed.
func lvm(ctx context.Context, args []string) ([]string, error) {
	command := exec.CommandContext(ctx, "lvm", args...)
	command.Env = append(os.Environ(), "LC_ALL=C")
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("lvm %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	lines := []string{}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}
