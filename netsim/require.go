package netsim

import (
	"os"
	"testing"
	"time"
)

// RequireTime skips a test, saying why, for which the time limit of all tests leaves less than d: some take
// minutes, and go test ends a package after ten. It fails it when the environment variable NoSkipEnv is 1.
func RequireTime(t *testing.T, d time.Duration) {
	t.Helper()
	deadline, limited := t.Deadline()
	if !limited || time.Until(deadline) >= d {
		return
	}
	const why = "takes minutes: run go test with -timeout 30m"
	if os.Getenv(NoSkipEnv) == "1" {
		t.Fatal(why)
	}
	t.Skip(why + "; " + NoSkipEnv + "=1 makes this a failure")
}
