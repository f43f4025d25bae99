// Command judge asks the code of one version of Talos about what we ship for it.
//
//	judge extensions VERSION DIR...             loads and validates unpacked extensions, and their services
//	judge patches CONTRACT ROLE FILE...         applies each patch to a generated machine configuration
//	judge configs FILE...                       validates machine configurations
//
// It prints a line of JSON for each DIR or FILE.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/blang/semver/v4"
	"go.yaml.in/yaml/v4"

	"github.com/siderolabs/talos/pkg/machinery/extensions"
	"github.com/siderolabs/talos/pkg/machinery/extensions/services"
)

// verdict is what is printed. Step says where it was refused; empty, it was taken.
type verdict struct {
	Name string `json:"name"`
	Step string `json:"step,omitempty"`
	Why  string `json:"why,omitempty"`
	// Twice says that a second application changes the result of the first.
	Twice bool `json:"twice,omitempty"`
}

// refusal is an error and the step that it comes from.
type refusal struct {
	step string
	err  error
}

func (r refusal) Error() string { return r.step + ": " + r.err.Error() }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	var judge func(path string) (bool, error)

	switch {
	case len(args) > 2 && args[0] == "extensions":
		version, err := semver.ParseTolerant(args[1])
		if err != nil {
			return err
		}

		args = args[2:]
		judge = func(path string) (bool, error) { return false, extension(path, version) }
	case len(args) > 3 && args[0] == "patches":
		base, err := generate(args[1], args[2])
		if err != nil {
			return err
		}

		args = args[3:]
		judge = base.patch
	case len(args) > 1 && args[0] == "configs":
		args = args[1:]
		judge = func(path string) (bool, error) { return false, configuration(path) }
	default:
		return errors.New("usage: judge extensions VERSION DIR... | judge patches CONTRACT ROLE FILE... | judge configs FILE...")
	}

	out := json.NewEncoder(os.Stdout)

	for _, path := range args {
		said := verdict{Name: path}

		twice, err := judge(path)
		said.Twice = twice

		var refused refusal

		switch {
		case errors.As(err, &refused):
			said.Step, said.Why = refused.step, refused.err.Error()
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		}

		if err = out.Encode(said); err != nil {
			return err
		}
	}

	return nil
}

func extension(path string, version semver.Version) error {
	loaded, err := extensions.Load(path)
	if err != nil {
		return refusal{"load", err}
	}

	if err = loaded.Validate(
		extensions.WithValidateConstraints(),
		extensions.WithValidateContents(),
		extensions.WithTalosVersion(&version),
	); err != nil {
		return refusal{"validate", err}
	}

	specs, err := filepath.Glob(filepath.Join(loaded.RootfsPath(), "usr/local/etc/containers/*.yaml"))
	if err != nil {
		return err
	}

	for _, spec := range specs {
		if err = service(spec); err != nil {
			return refusal{"service", err}
		}
	}

	return nil
}

func service(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}

	defer file.Close() //nolint:errcheck

	var spec services.Spec

	if err = yaml.NewDecoder(file).Decode(&spec); err != nil {
		return err
	}

	if err = spec.Validate(); err != nil && !reflect.ValueOf(err).IsNil() {
		return err
	}

	return nil
}
