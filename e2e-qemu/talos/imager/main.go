// Command imager is Talos' own: siderolabs/talos has it as one name of its installer.
package main

import "github.com/siderolabs/talos/cmd/installer/cmd/imager"

func main() { imager.Execute() }
