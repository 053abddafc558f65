//go:build !linux

package main

import "os/exec"

// dieWithUs does nothing: only Linux ends a program together with the one that started
// it. What ^C of a terminal reaches is all of them.
func dieWithUs(*exec.Cmd) {}
