//go:build tools

// The conformance tests of the Container Storage Interface, for csi's guest test.
package tools

import _ "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
