// Tries Prometheus rules on made-up series, with Prometheus' own engine: rules RULES CASES.
//
// CASES is a list of {name, series, firing}: series as Prometheus' own tests write them, a sample a minute from 0 on;
// firing says for moments which alerts fire then, by name. Every alert of RULES has to fire in one of the cases.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"gopkg.in/yaml.v3"
)

type testCase struct {
	Name   string                      `yaml:"name"`
	Series []string                    `yaml:"series"`
	Firing map[model.Duration][]string `yaml:"firing"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: rules RULES CASES")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(file, casesFile string) error {
	text, err := os.ReadFile(casesFile)
	if err != nil {
		return err
	}
	var cases []testCase
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&cases); err != nil {
		return err
	}
	seen := map[string]bool{}
	var wrong []error
	for _, c := range cases {
		if err := c.try(file, seen); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", c.Name, err))
		}
	}
	for name, fired := range seen {
		if !fired {
			wrong = append(wrong, fmt.Errorf("%s fires in no case", name))
		}
	}
	return errors.Join(wrong...)
}

// try evaluates the rules each minute until the last moment that the case names; seen gets every alert, and whether it
// fired at a moment that was asked for.
func (c testCase) try(file string, seen map[string]bool) error {
	load := "load 1m\n  " + strings.Join(c.Series, "\n  ")
	suite, err := promqltest.NewLazyLoader(load, promqltest.LazyLoaderOpts{})
	if err != nil {
		return err
	}
	defer suite.Close()
	suite.SubqueryInterval = time.Minute
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:  rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		Appendable: suite.Storage(),
		Context:    context.Background(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Logger:     promslog.NewNopLogger(),
	})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, file)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	var last model.Duration
	for at := range c.Firing {
		last = max(last, at)
	}
	var wrong []error
	for at := model.Duration(0); at <= last; at += model.Duration(time.Minute) {
		now := time.Unix(0, 0).UTC().Add(time.Duration(at))
		var firing []string
		suite.WithSamplesTill(now, func(err error) {
			wrong = append(wrong, err)
			for _, group := range groups {
				group.Eval(suite.Context(), now)
				for _, rule := range group.Rules() {
					wrong = append(wrong, rule.LastError())
					alert, ok := rule.(*rules.AlertingRule)
					if !ok {
						continue
					}
					seen[rule.Name()] = seen[rule.Name()]
					for _, active := range alert.ActiveAlerts() {
						if active.State == rules.StateFiring {
							firing = append(firing, rule.Name())
						}
						// A template that cannot be expanded says so in its result.
						active.Annotations.Range(func(l labels.Label) {
							if strings.Contains(l.Value, "error") || strings.Contains(l.Value, "{{") {
								wrong = append(wrong, fmt.Errorf("%s: %s: %s", rule.Name(), l.Name, l.Value))
							}
						})
					}
				}
			}
		})
		expected, asked := c.Firing[at]
		if !asked {
			continue
		}
		slices.Sort(firing)
		slices.Sort(expected)
		if !slices.Equal(firing, expected) {
			wrong = append(wrong, fmt.Errorf("after %s fires %v, not %v", at, firing, expected))
		}
		for _, name := range firing {
			seen[name] = true
		}
	}
	return errors.Join(wrong...)
}
