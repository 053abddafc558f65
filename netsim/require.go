package netsim

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Skip skips a test that cannot have what it needs, saying why, or fails it when the environment variable
// NoSkipEnv is 1.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(NoSkipEnv) == "1" {
		t.Fatal(why)
	}
	t.Skip(why + "; " + NoSkipEnv + "=1 makes this a failure")
}

// RequireProgram returns the path of a program of this machine, or skips the test (see Skip) if it is not installed.
func RequireProgram(t testing.TB, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Skip(t, fmt.Sprintf("needs %s (apt-get install %s): %v", name, debianPackage, err))
	}
	return path
}

// RequireTime skips a test (see Skip) for which the time limit of all tests leaves less than d: some take
// minutes, and go test ends a package after ten.
func RequireTime(t *testing.T, d time.Duration) {
	t.Helper()
	if deadline, limited := t.Deadline(); limited && time.Until(deadline) < d {
		Skip(t, "takes minutes: run go test with -timeout 30m")
	}
}
