//go:build unix

package app

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe in the place of a file was waited for for ever, by this reload and all after it.
func TestAPipeInPlaceOfTheFile(t *testing.T) {
	p, file := startWith(t, before)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload <- syscall.SIGHUP
	eventually(t, "reload that fails", func() bool { return p.metric(reloadSuccessful) == "0" })
	if !strings.Contains(p.log.String(), "not a regular file, but a pipe") {
		t.Error("not logged")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	write(t, file, after)
	p.reload <- syscall.SIGHUP
	eventually(t, "reload", func() bool { return p.metric(reloadSuccessful) == "1" })
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestPipesInPlaceOfOtherFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	storage := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(storage, knownFile), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"the configuration":     {func(o *Options) { o.ConfigFile = pipe }, "cannot be read: not a regular file, but a pipe"},
		"the known addresses":   {func(o *Options) { o.StoragePath = storage }, "not a regular file, but a pipe"},
		"the web configuration": {func(o *Options) { *o.Web.WebConfigFile = pipe }, "not a regular file, but a pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			var log buffer
			o := options(t, newEngine(), &log)
			test.change(&o)
			if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What has the name of the temporary file is not written to.
func TestTheTemporaryFileIsOurOwn(t *testing.T) {
	for name, make := range map[string]func(path, elsewhere string) error{
		"a link": func(path, elsewhere string) error { return os.Symlink(elsewhere, path) },
		"a pipe": func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
		"a file": func(path, _ string) error { return os.WriteFile(path, []byte("old"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			write(t, elsewhere, "untouched")
			if err := make(filepath.Join(dir, knownFile+".tmp"), elsewhere); err != nil {
				t.Fatal(err)
			}
			p := start(t, func(o *Options) { o.StoragePath = dir })
			if err := p.stop(); err != nil {
				t.Error(err)
			}
			if text, err := os.ReadFile(elsewhere); err != nil || string(text) != "untouched" {
				t.Errorf("%q, %v", text, err)
			}
			if info, err := os.Lstat(filepath.Join(dir, knownFile)); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}
