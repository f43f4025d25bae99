//go:build tools

// actionlint, for the test of the workflows.
package tools

import _ "github.com/rhysd/actionlint/cmd/actionlint"
