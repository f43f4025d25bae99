//go:build tools

// An earlier driver of upstream's, for clusters to move from.
package tools

import (
	_ "github.com/topolvm/topolvm/cmd/hypertopolvm"
)
