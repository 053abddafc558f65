package netsim

import (
	"os"
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

// RequireTime skips a test (see Skip) for which the time limit of all tests leaves less than d: some take
// minutes, and go test ends a package after ten.
func RequireTime(t *testing.T, d time.Duration) {
	t.Helper()
	if deadline, limited := t.Deadline(); limited && time.Until(deadline) < d {
		Skip(t, "takes minutes: run go test with -timeout 30m")
	}
}
