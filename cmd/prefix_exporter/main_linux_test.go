package main

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"prefix_exporter/netsim"
)

// In a network of its own a user without capabilities is allowed no ICMP socket at
// all: ping_group_range(5) is empty there until somebody fills it.
func TestWithoutPermissionTheRemediesAreNamed(t *testing.T) {
	c := command(t, "--web.listen-address=:0", "--log.level=error")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}},
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	err := c.Run()
	if c.ProcessState == nil {
		if errors.Is(err, syscall.EPERM) && os.Getuid() != 0 {
			netsim.Skip(t, "user namespaces are not allowed here")
		}
		t.Fatal(err)
	}
	if got := c.ProcessState.ExitCode(); got != 1 {
		t.Errorf("status %d", got)
	}
	for _, remedy := range []string{"ping_group_range", "cap_net_raw", "root"} {
		if !strings.Contains(stderr.String(), remedy) {
			t.Errorf("no word of %s: %s", remedy, stderr.String())
		}
	}
}

// TestATraceWithoutARouteSaysSo runs in a network namespace that has nothing but a loopback interface, which is down.
func TestATraceWithoutARouteSaysSo(t *testing.T) {
	for _, protocol := range []string{"icmp", "tcp", "udp"} {
		t.Run(protocol, func(t *testing.T) {
			c := command(t, "trace", "192.0.2.1", "--protocol="+protocol, "--count=1")
			c.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			var stderr bytes.Buffer
			c.Stderr = &stderr
			err := c.Run()
			if c.ProcessState == nil {
				if errors.Is(err, syscall.EPERM) && os.Getuid() != 0 {
					netsim.Skip(t, "user namespaces are not allowed here")
				}
				t.Fatal(err)
			}
			if got := c.ProcessState.ExitCode(); got != 1 || !strings.Contains(stderr.String(), "192.0.2.1: this machine has no route to it") {
				t.Errorf("status %d: %s", got, stderr.String())
			}
		})
	}
}
