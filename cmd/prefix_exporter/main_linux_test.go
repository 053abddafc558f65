package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"prefix_exporter/lab/testenv"
)

// In a network of its own a user without capabilities is allowed no ICMP socket at
// all: ping_group_range(5) is empty there until somebody fills it.
func TestWithoutPermissionTheRemediesAreNamed(t *testing.T) {
	status, stderr := apart(t, 1000, "--web.listen-address=:0", "--log.level=error")
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for _, remedy := range []string{"ping_group_range", "cap_net_raw", "root"} {
		if !strings.Contains(stderr, remedy) {
			t.Errorf("no word of %s: %s", remedy, stderr)
		}
	}
}

// TestATraceWithoutARouteSaysSo runs in a network namespace that has nothing but a loopback interface, which is down.
func TestATraceWithoutARouteSaysSo(t *testing.T) {
	for _, protocol := range []string{"icmp", "tcp", "udp"} {
		t.Run(protocol, func(t *testing.T) {
			status, stderr := apart(t, 0, "trace", "192.0.2.1", "--protocol="+protocol, "--count=1")
			if status != 1 || !strings.Contains(stderr, "192.0.2.1: this machine has no route to it") {
				t.Errorf("status %d: %s", status, stderr)
			}
		})
	}
}

// apart runs the program in a user and a network namespace of its own, as the user with this number there, and
// returns its exit status and what it wrote to standard error.
func apart(t *testing.T, user int, args ...string) (status int, stderr string) {
	t.Helper()
	c := command(t, args...)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	c.Stderr = &out
	err := c.Run()
	if c.ProcessState == nil {
		if errors.Is(err, syscall.EPERM) && os.Getuid() != 0 {
			testenv.Skip(t, "user namespaces are not allowed here")
		}
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String()
}
