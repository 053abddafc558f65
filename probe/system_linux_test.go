package probe

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
)

// setSysctl sets a sysctl of this network namespace until the end of the test.
func setSysctl(t testing.TB, path, value string) {
	t.Helper()
	netsim.RequireLab(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, []byte(strings.TrimSpace(string(before))), 0) })
}

// requireEnv skips a test that must be allowed by name, because of what it does.
func requireEnv(t testing.TB, name, because string) {
	t.Helper()
	if os.Getenv(name) != "1" {
		testenv.Skip(t, "needs "+name+"=1, because "+because)
	}
}

// command runs a program that the test cannot do without.
func command(t testing.TB, name string, args ...string) {
	t.Helper()
	netsim.RequireLab(t)
	path := testenv.RequireProgram(t, name, "iproute2")
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// ip changes the network of the lab with ip(8). What it makes goes with the namespace or
// the lab's device; routes that do not are deleted at the end of the test.
func ip(t testing.TB, args ...string) {
	t.Helper()
	command(t, "ip", args...)
	if args[0] == "route" {
		undo := append([]string{"route", "del"}, args[2:]...)
		t.Cleanup(func() { command(t, "ip", undo...) })
	}
}
