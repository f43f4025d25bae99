//go:build tools

// Helm, for clusters to test in.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
