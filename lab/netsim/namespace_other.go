//go:build !linux

package netsim

import (
	"os"
	"testing"

	"prefix_exporter/lab/testenv"
)

// Runner is a testing.M, or what wraps one.
type Runner interface{ Run() int }

// Main runs the tests and exits; there are network namespaces on Linux only.
func Main(m Runner) { os.Exit(m.Run()) }

// Inside returns m.
func Inside(m Runner) Runner { return m }

// RequireLab skips the test (see testenv.Skip).
func RequireLab(t testing.TB) {
	t.Helper()
	testenv.Timed(t)
	testenv.Skip(t, "the lab is needed, and it exists on Linux only")
}
