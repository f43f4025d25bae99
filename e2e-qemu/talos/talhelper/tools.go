//go:build tools

// Package tools names the program to build.
package tools

import _ "github.com/budimanjojo/talhelper/v3"
