// Package testenv decides which tests run here: what they need of the machine, and whether the machine kept time
// while they ran. docs/develop.md lists the environment variables.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

const (
	// TimedEnv is the environment variable that, set to 1, runs the tests that send real packets, start real
	// programs or open a browser, and so take the time that these take.
	TimedEnv = "PREFIX_EXPORTER_TEST_TIMED"
	// NoSkipEnv is the environment variable that, set to 1, turns each skipped test into a failure.
	NoSkipEnv = "PREFIX_EXPORTER_TEST_NO_SKIP"
)

// Timed skips a test that takes real time, unless TimedEnv is 1. Benchmarks always run: somebody asked for them.
func Timed(t testing.TB) {
	t.Helper()
	if _, benchmark := t.(*testing.B); benchmark || os.Getenv(TimedEnv) == "1" {
		return
	}
	Skip(t, "takes real packets, programs or browsers, and their time: "+TimedEnv+"=1 runs it")
}

// Skip skips a test that cannot have what it needs, saying why, or fails it when NoSkipEnv is 1.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(NoSkipEnv) == "1" {
		t.Fatal(why)
	}
	t.Skip(why + "; " + NoSkipEnv + "=1 makes this a failure")
}

// RequireProgram returns the path of a program of this machine, or skips the test (see Skip) if it is not installed.
// Call it with the t of the test that needs the program, not with that of its parent.
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
