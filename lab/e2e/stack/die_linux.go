package main

import (
	"os/exec"
	"syscall"
)

// dieWithUs keeps ^C of the terminal from the program: it is told by us, once, for a
// second signal would cut its end short. And should we be killed, the kernel ends it.
func dieWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
