//go:build !linux

package netsim

import (
	"os"
	"testing"
)

// NoSkipEnv is the environment variable that, when it is 1, turns a test that cannot have what it needs
// from skipped into failed.
const NoSkipEnv = "PREFIX_EXPORTER_TEST_NO_SKIP"

// Runner is a testing.M, or what wraps one.
type Runner interface{ Run() int }

// Main runs the tests and exits; there are network namespaces on Linux only.
func Main(m Runner) { os.Exit(m.Run()) }

// Inside returns m.
func Inside(m Runner) Runner { return m }

// RequireLab skips the test, or fails it when the environment variable NoSkipEnv is 1.
func RequireLab(t testing.TB) {
	t.Helper()
	Skip(t, "the lab is needed, and it exists on Linux only")
}
