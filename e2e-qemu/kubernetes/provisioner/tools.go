//go:build tools

// The CSI provisioner: it needs a newer Kubernetes tree than the other sidecars, for clusters to test in.
package tools

import _ "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"
