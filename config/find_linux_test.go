package config

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/testenv"
)

// asNobody runs f on a thread that may look into the folders of its user alone, and then ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		testenv.Skip(t, "only root can become somebody else")
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, _, err := syscall.RawSyscall(unix.SYS_SETFSUID, 65534, 0, 0); err != 0 {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func TestAFolderThatMayNotBeReadIsAMistake(t *testing.T) {
	dir := files(t, map[string]string{
		"secret/a.yml": "- 10.0.0.0/24\n", "d/secret/a.yml": "- 10.0.1.0/24\n", "d/open/a.yml": "- 10.0.2.0/24\n", "listed/a.yml": "- 10.0.3.0/24\n", "f/a.yml": "- 10.0.4.0/24\n",
		"1.yml": "prefix_files: ['secret/*.yml']\n", "2.yml": "prefix_files: ['d/*/*.yml']\n", "3.yml": "prefix_files: ['d/*/a.yml']\n",
		"4.yml": "prefix_files: ['listed/*.yml']\n", "5.yml": "prefix_files: ['f/*.yml']\n",
	})
	for path, mode := range map[string]os.FileMode{
		filepath.Dir(dir): 0o755, dir: 0o755, filepath.Join(dir, "secret"): 0o700, filepath.Join(dir, "d/secret"): 0o700,
		filepath.Join(dir, "listed"): 0o744, filepath.Join(dir, "f/a.yml"): 0o600,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func() {
		for name, want := range map[string]string{
			"1.yml": `1.yml:1: prefix_files[0]: "secret/*.yml": cannot look into secret: permission denied`,
			"2.yml": `2.yml:1: prefix_files[0]: "d/*/*.yml": cannot look into d/secret: permission denied`,
			"3.yml": `3.yml:1: prefix_files[0]: "d/*/a.yml": cannot look for d/secret/a.yml: permission denied`,
			"4.yml": `4.yml:1: prefix_files[0]: "listed/a.yml": cannot be read: permission denied`,
			"5.yml": `5.yml:1: prefix_files[0]: "f/a.yml": cannot be read: permission denied`,
		} {
			if _, got := loadErrors(t, dir, name); strings.ReplaceAll(got, dir+"/", "") != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	})
}

// Pipes and devices are refused without waiting for them.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := files(t, map[string]string{"main.yml": "prefix_files: ['d/*.yml']\n", "device.yml": "prefix_files: [/dev/zero]\n", "d/": "", "to-pipe.yml": "-> d/pipe.yml"})
	if err := syscall.Mkfifo(filepath.Join(dir, "d/pipe.yml"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"main.yml":    `main.yml:1: prefix_files[0]: "d/pipe.yml": cannot be read: not a regular file, but a pipe`,
		"device.yml":  `device.yml:1: prefix_files[0]: "/dev/zero": cannot be read: not a regular file, but a device`,
		"d/pipe.yml":  `d/pipe.yml: cannot be read: not a regular file, but a pipe`,
		"to-pipe.yml": `to-pipe.yml: cannot be read: not a regular file, but a pipe`,
		"d":           `d: cannot be read: not a regular file, but a folder`,
	} {
		if _, got := loadErrors(t, dir, name); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAllOfProcIsTooMuch(t *testing.T) {
	dir := files(t, map[string]string{"main.yml": "prefix_files: ['/proc/*/*/*']\n"})
	_, got := loadErrors(t, dir, "main.yml")
	if !strings.HasPrefix(got, `main.yml:1: prefix_files[0]: "/proc/*/*/*": `) {
		t.Errorf("got %.500s", got)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	dir := files(t, map[string]string{"main.yml": "prefixes: [192.0.2.0/24]\n"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := LoadContext(ctx, filepath.Join(dir, "main.yml")); err == nil || !strings.HasSuffix(err.Error(), "context canceled") {
		t.Errorf("got %v, %v", c, err)
	}
}
