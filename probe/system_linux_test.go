package probe

import (
	"os"
	"strings"
	"testing"
)

// setSysctl sets a sysctl of this network namespace until the end of the test.
func setSysctl(t testing.TB, path, value string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, []byte(strings.TrimSpace(string(before))), 0) })
}
