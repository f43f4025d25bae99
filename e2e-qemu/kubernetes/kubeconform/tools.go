//go:build tools

// Holds manifests to JSON schemas.
package tools

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
