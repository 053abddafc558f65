package tools

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"prefix_exporter/lab/testenv"
)

// recorder is a TB that remembers what it was told.
type recorder struct{ skipped, failed string }

func (r *recorder) Helper()                           {}
func (r *recorder) Skipf(format string, args ...any)  { r.skipped = fmt.Sprintf(format, args...) }
func (r *recorder) Fatalf(format string, args ...any) { r.failed = fmt.Sprintf(format, args...) }

func TestRequireSaysHowToBuild(t *testing.T) {
	t.Setenv(DirEnv, t.TempDir())
	const want = "go run ./lab/e2e/tools/cmd/tools promtool"

	t.Setenv(testenv.NoSkipEnv, "")
	var skips recorder
	if Require(&skips, "promtool"); !strings.Contains(skips.skipped, want) || skips.failed != "" {
		t.Errorf("a missing program: skipped %q, failed %q, want a skip that says %q", skips.skipped, skips.failed, want)
	}
	t.Setenv(testenv.NoSkipEnv, "1")
	var fails recorder
	if Require(&fails, "promtool"); !strings.Contains(fails.failed, want) || fails.skipped != "" {
		t.Errorf("with %s=1: skipped %q, failed %q, want a failure that says %q", testenv.NoSkipEnv, fails.skipped, fails.failed, want)
	}
	var unknown recorder
	if Require(&unknown, "promtol"); !strings.Contains(unknown.failed, `"promtol"`) {
		t.Errorf("an unknown name must fail and be named, got %q", unknown.failed)
	}
}

func TestFindUsesTheGivenDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(DirEnv, dir)
	if _, err := Find("amtool"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Find in an empty directory = %v, want fs.ErrNotExist", err)
	}
	amtool, err := lookup("amtool")
	if err != nil {
		t.Fatal(err)
	}
	want, err := amtool.path()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(want, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	// Path must not build what is there.
	for _, find := range []func() (string, error){
		func() (string, error) { return Find("amtool") },
		func() (string, error) { return Path(t.Context(), "amtool", t.Output()) },
	} {
		if got, err := find(); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestLockExcludesAndObeysTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock = %v, want the deadline", err)
	}
	unlock()
	again, err := lock(t.Context(), path)
	if err != nil {
		t.Fatalf("lock after unlock: %v", err)
	}
	again()
}
