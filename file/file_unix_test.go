//go:build unix

package file

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"pipe":    syscall.Mkfifo(at("pipe"), 0o600),
		"folder":  os.Mkdir(at("folder"), 0o700),
		"link":    os.Symlink("file", at("link")),
		"to-pipe": os.Symlink("pipe", at("to-pipe")),
		"dangles": os.Symlink("nowhere", at("dangles")),
		"circle":  os.Symlink("circle", at("circle")),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	// The name of a socket has room for 108 bytes, less than some folders of tests.
	socket := filepath.Join(os.TempDir(), "prefix_exporter-"+filepath.Base(dir)+".sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, test := range map[string]struct {
		want string // the end of the error; empty: none
		kind error
	}{
		at("file"):      {},
		at("link"):      {},
		at("pipe"):      {"not a regular file, but a pipe", ErrNotRegular},
		at("to-pipe"):   {"not a regular file, but a pipe", ErrNotRegular},
		at("folder"):    {"not a regular file, but a folder", ErrNotRegular},
		socket:          {"not a regular file, but a socket", ErrNotRegular},
		os.DevNull:      {"not a regular file, but a device", ErrNotRegular},
		at("dangles"):   {"no such file or directory", os.ErrNotExist},
		at("circle"):    {"too many levels of symbolic links", syscall.ELOOP},
		at("absent"):    {"no such file or directory", os.ErrNotExist},
		at("file/file"): {"not a directory", syscall.ENOTDIR},
	} {
		data, err := Read(path, 4)
		switch {
		case test.want == "" && (err != nil || string(data) != "text"):
			t.Errorf("%s: %q, %v", path, data, err)
		case test.want != "" && (!errors.Is(err, test.kind) || !strings.HasSuffix(err.Error(), test.want)):
			t.Errorf("%s: got %v, want %s", path, err, test.want)
		}
	}
}

func TestOneByteMoreThanTheMostIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, err := Read(path, 3)
	if diff := cmp.Diff("0123", string(data)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, err := range map[string]error{
		"empty":   os.Mkdir(at("empty"), 0o700),
		"full":    os.Mkdir(at("full"), 0o700),
		"full/1":  os.Mkdir(at("full/1"), 0o700),
		"full/2":  os.WriteFile(at("full/2"), nil, 0o600),
		"full/3":  syscall.Mkfifo(at("full/3"), 0o600),
		"pipe":    syscall.Mkfifo(at("pipe"), 0o600),
		"to-full": os.Symlink("full", at("to-full")),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct {
		most, want int
		err        error
	}{
		"empty":     {1, 0, nil},
		"full":      {9, 3, nil},
		"to-full":   {3, 3, nil},
		"full/":     {1, 2, nil},
		"full/2":    {9, 0, ErrNotFolder},
		"pipe":      {9, 0, ErrNotFolder},
		"full/3":    {9, 0, ErrNotFolder},
		"elsewhere": {9, 0, os.ErrNotExist},
	} {
		got, err := List(filepath.Join(dir, name), test.most)
		if len(got) != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %d names, %v; want %d, %v", name, len(got), err, test.want, test.err)
		}
	}
}
