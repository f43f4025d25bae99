//go:build tools

// Package tools names the program to build.
package tools

import _ "sigs.k8s.io/kustomize/kustomize/v5"
