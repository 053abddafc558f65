package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// waitDelay is how long a go command that was told to stop may still flush its
// output; its compilers are children that keep the pipe open.
const waitDelay = 5 * time.Second

// buildLocked builds the program unless another process did while we waited for
// the lock. The lock is one per directory, hence per module: two programs of one
// module share nearly all packages, and building both at once would do that twice.
func (t tool) buildLocked(ctx context.Context, log io.Writer) error {
	dir, err := t.dir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := Find(t.name); err == nil {
		return nil
	}
	return t.build(ctx, dir, log)
}

// build makes the program beside its place and renames it, so that a build that is
// cut short never leaves half a program under the name that Find looks for.
func (t tool) build(ctx context.Context, dir string, log io.Writer) error {
	tmp, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	// -s -w: no test debugs these programs, and the symbols double their size. The
	// version is set by the linker, as the makefiles of both projects do it.
	args := []string{"-trimpath", "-ldflags=-s -w -X github.com/prometheus/common/version.Version=" + t.module.release}
	if t.tags != "" {
		args = append(args, "-tags="+t.tags)
	}
	if t.stubUI == "" {
		err = goCommand(ctx, dir, log, "GOBIN="+tmp, append(append([]string{"install"}, args...), t.pkg()+"@"+t.module.version)...)
	} else {
		err = t.buildCopy(ctx, tmp, args, log)
	}
	if err != nil {
		return err
	}
	path, err := t.path()
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(tmp, filepath.Base(path)), path)
}

// buildCopy builds from a writable copy of the module with a stub page in it. The
// go command refuses overlays below the module cache, so a copy it is.
func (t tool) buildCopy(ctx context.Context, tmp string, args []string, log io.Writer) error {
	var out bytes.Buffer
	if err := goCommandTo(ctx, tmp, &out, log, "GOWORK=off", "mod", "download", "-json", t.module.path+"@"+t.module.version); err != nil {
		return err
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal(out.Bytes(), &downloaded); err != nil {
		return fmt.Errorf("reading the answer of go mod download: %w", err)
	}
	src := filepath.Join(tmp, "src")
	if err := copyTree(src, downloaded.Dir); err != nil {
		return fmt.Errorf("copying the module: %w", err)
	}
	page := filepath.Join(src, filepath.FromSlash(t.stubUI))
	if err := os.MkdirAll(filepath.Dir(page), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(page, []byte("<!doctype html><title>no page</title>\n"), 0o644); err != nil {
		return err
	}
	return goCommand(ctx, src, log, "GOWORK=off", append(append([]string{"build", "-o", tmp + string(filepath.Separator)}, args...), "./cmd/"+t.name)...)
}

// copyTree copies the files of a module; the cache's are read-only, the copies not.
func copyTree(dst, src string) error {
	return filepath.WalkDir(src, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
}

func goCommand(ctx context.Context, dir string, log io.Writer, env string, args ...string) error {
	return goCommandTo(ctx, dir, log, log, env, args...)
}

// goCommandTo runs the go command for this machine, whatever the caller is built
// for or has in GOFLAGS, and ends it with the context.
func goCommandTo(ctx context.Context, dir string, stdout, stderr io.Writer, env string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// Static, so that the programs also run in an image made from nothing. No
	// version control stamps: the cache may lie inside somebody's repository.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false",
		"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH, env)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = waitDelay
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w", args[0], err)
	}
	return nil
}
