//go:build !linux

// Command netsim runs a command on a simulated internet; it needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "netsim: network namespaces and TUN devices as the lab needs them exist on Linux only")
	os.Exit(1)
}
