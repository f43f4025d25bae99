//go:build tools

// A registry on loopback, for the tests of releases.
package tools

import _ "github.com/distribution/distribution/v3/cmd/registry"
