package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
)

// binaryEnv carries the path of the exporter into the network namespace of the tests,
// where nothing could be downloaded to build it.
const binaryEnv = "PREFIX_EXPORTER_E2E_BINARY"

func TestMain(m *testing.M) { goleak.VerifyTestMain(withExporter{netsim.Inside(m)}) }

// withExporter builds the exporter before the tests run, and removes it after them.
type withExporter struct{ tests netsim.Runner }

// Run returns the exit code of the tests.
func (w withExporter) Run() int {
	if os.Getenv(binaryEnv) != "" { // we are inside
		return w.tests.Run()
	}
	dir, err := os.MkdirTemp("", "e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(filepath.Join(dir, "prefix_exporter"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return w.tests.Run()
}

// build builds the exporter as users do, with the race detector if the tests have it.
func build(path string) error {
	args := []string{"build", "-o", path}
	if testenv.Race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "prefix_exporter/cmd/prefix_exporter")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return os.Setenv(binaryEnv, path)
}

// startLab starts a simulated internet for the length of the test.
func startLab(t *testing.T, scenario string) *netsim.Lab {
	t.Helper()
	netsim.RequireLab(t)
	s, err := netsim.Parse("scenario.yml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	lab, err := netsim.Start(context.Background(), s, netsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

// setRule changes the lab, and returns from when on it holds.
func setRule(t *testing.T, lab *netsim.Lab, r netsim.Rule) time.Time {
	t.Helper()
	at, err := lab.SetRule(r)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// silence is a rule that makes addresses silent, or lets them speak again.
func silence(silent bool, prefixes ...string) netsim.Rule {
	r := netsim.Rule{Silent: &silent}
	for _, p := range prefixes {
		r.Prefixes = append(r.Prefixes, netip.MustParsePrefix(p))
	}
	return r
}

// patience is how long a test waits for what must happen, on however busy a machine.
const patience = 30 * time.Second

// until waits for a condition, which says what it still lacks; nothing: it holds.
func until(t *testing.T, what string, lacks func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		lack := lacks()
		if lack == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for: %s\n%s", patience, what, lack)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
