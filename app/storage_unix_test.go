//go:build unix

package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"prefix_exporter/prefix"
)

// TestNothingInTheFolderIsWrittenThrough puts all kinds of things where a file is to be written.
func TestNothingInTheFolderIsWrittenThrough(t *testing.T) {
	const precious = "do not touch"
	for name, put := range map[string]func(path, elsewhere string) error{
		"a symbolic link to a file":    func(path, elsewhere string) error { return os.Symlink(elsewhere, path) },
		"a hard link to a file":        func(path, elsewhere string) error { return os.Link(elsewhere, path) },
		"a symbolic link to nothing":   func(path, elsewhere string) error { return os.Symlink(elsewhere+".new", path) },
		"a pipe that nobody reads":     func(path, _ string) error { return unix.Mkfifo(path, 0o600) },
		"what a killed run has left":   func(path, _ string) error { return os.WriteFile(path, []byte("half a li"), 0o400) },
		"what others can read, as yet": func(path, _ string) error { return os.WriteFile(path, nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, when := range []string{"before the start", "after the start"} {
				elsewhere := filepath.Join(t.TempDir(), "passwd")
				write(t, elsewhere, precious)
				dir := t.TempDir()
				path := filepath.Join(dir, knownFile+temporary)
				if when == "before the start" {
					if err := put(path, elsewhere); err != nil {
						t.Fatal(err)
					}
				}
				table := prefix.NewTable(nil)
				table.Apply(blocksOf(parse(t, before)))
				s, err := openStore(dir, table, log.NewNopLogger(), prometheus.NewRegistry())
				if err != nil {
					t.Fatal(err)
				}
				defer s.lock.Close()
				if when == "after the start" {
					if err := put(path, elsewhere); err != nil {
						t.Fatal(err)
					}
				} else if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: is still there: %v", when, err)
				}
				if err := s.save(); err != nil {
					t.Errorf("%s: %v", when, err)
				}
				if diff := cmp.Diff(precious, read(t, elsewhere)); diff != "" {
					t.Errorf("%s: elsewhere: %s", when, diff)
				}
				if _, err := os.Lstat(elsewhere + ".new"); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: something has been created elsewhere: %v", when, err)
				}
				info, err := os.Lstat(filepath.Join(dir, knownFile))
				if err != nil || info.Mode() != 0o600 {
					t.Errorf("%s: %v, %v", when, info.Mode(), err)
				}
			}
		})
	}
}

func TestTheLockIsNoLink(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "new")
	if err := os.Symlink(elsewhere, filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	_, err := openStore(dir, prefix.NewTable(nil), log.NewNopLogger(), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "must be a file of its own, not a symbolic link") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has been created: %v", err)
	}
}
