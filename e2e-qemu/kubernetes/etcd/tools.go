//go:build tools

// etcd, for clusters to test in.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
