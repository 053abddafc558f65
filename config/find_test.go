package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// files makes files in a folder: a name that ends with a slash is a folder, a text that begins with -> a link.
func files(t *testing.T, all map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range all {
		path := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		to, link := strings.CutPrefix(text, "-> ")
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case link:
			err = os.Symlink(to, path)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// loadErrors loads a file and returns what is wrong, with paths relative to its folder.
func loadErrors(t *testing.T, dir, name string) (*Config, string) {
	t.Helper()
	c, err := Load(filepath.Join(dir, name))
	if err == nil {
		return c, ""
	}
	return nil, strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")
}

func TestPatternsFindWhatAShellFinds(t *testing.T) {
	list := func(n int) string { return fmt.Sprintf("- 10.0.%d.0/24\n", n) }
	dir := files(t, map[string]string{
		"d/a.yml": list(1), "d/b.yml": list(2), "d/c.yaml": list(3), "d/sub/d.yml": list(4), "d/sub/deep/e.yml": list(5),
		"d/.ansible_tmpXa.yml": "not: a list", "d/.#a.yml": "-> nobody@host.1:2", "d/._a.yml": "\x00\x05\x16\x07", "d/.hidden/f.yml": list(6),
		"other/g.yml": list(7), "linked": "-> other", "d/h.txt": "not read", "empty/": "", "with [brackets]/i.yml": list(8),
	})
	for _, tt := range []struct{ pattern, want string }{
		{"d/*.yml", "d/a.yml d/b.yml"},
		{"d/*", "d/a.yml d/b.yml d/c.yaml d/h.txt"}, // and a folder, which cannot be read as a file
		{"d/*.y*ml", "d/a.yml d/b.yml d/c.yaml"},
		{"d/[ab].yml", "d/a.yml d/b.yml"},
		{"d/[^a].yml", "d/b.yml"},
		{"d/?.yml", "d/a.yml d/b.yml"},
		{"*/*.yml", "d/a.yml d/b.yml linked/g.yml other/g.yml with [brackets]/i.yml"},
		{"*/sub/*.yml", "d/sub/d.yml"},
		{"d/*/*.yml", "d/sub/d.yml"},
		{"d/*/*/*.yml", "d/sub/deep/e.yml"},
		{"d/.hidden/*.yml", "d/.hidden/f.yml"},
		{"d/.hid*/*.yml", "d/.hidden/f.yml"},
		{"*/b.yml", "d/b.yml"},
		{"./d/../d//*.yml", "d/a.yml d/b.yml"},
		{"d/*.absent", ""},
		{"absent/*.yml", ""},
		{"*/absent/*.yml", ""},
		{"empty/*", ""},
		{"with [[]brackets]/*.yml", "with [brackets]/i.yml"},
	} {
		t.Run(tt.pattern, func(t *testing.T) {
			p := &problems{}
			f := &finder{ctx: t.Context(), problems: p}
			var got []string
			for _, path := range f.find(dir, &item[string]{value: tt.pattern, text: tt.pattern, at: *fileAt("x")}) {
				rel, err := filepath.Rel(dir, path)
				if info, statErr := os.Stat(path); err != nil || statErr != nil || info.IsDir() {
					continue
				}
				got = append(got, filepath.ToSlash(rel))
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" || p.err() != nil {
				t.Errorf("%v (-want +got):\n%s", p.err(), diff)
			}
		})
	}
}

func TestPatternsInAFolderWithBrackets(t *testing.T) {
	dir := files(t, map[string]string{"a[1]/main.yml": "prefix_files: ['d/*.yml']\n", "a[1]/d/x.yml": "- 10.0.0.0/24\n"})
	if c, text := loadErrors(t, dir, "a[1]/main.yml"); c == nil || len(c.Blocks) != 1 {
		t.Errorf("got %v, %s", c, text)
	}
}

// "Nothing matches" and "could not look" are different things.
func TestWhatCannotBeLookedAtIsAMistake(t *testing.T) {
	dir := files(t, map[string]string{
		"d/a.yml": "- 10.0.1.0/24\n", "d/gone.yml": "-> absent.yml", "circle": "-> circle", "unmounted": "-> /nowhere/at/all",
		"folder.yml/": "", "file": "text", "links/x": "-> /nowhere/at/all",
		"broken.yml": "prefix_files: ['d/*.yml']\n", "circle.yml": "prefix_files: ['circle/*.yml']\n", "unmounted.yml": "prefix_files: ['unmounted/*.yml']\n",
		"file-as-folder.yml": "prefix_files: ['file/*.yml']\n", "link-as-folder.yml": "prefix_files: ['links/*/*.yml']\n", "a-folder.yml": "prefix_files: ['fold*.yml']\n",
	})
	for name, want := range map[string]string{
		"broken.yml":         `broken.yml:1: prefix_files[0]: "d/gone.yml": cannot be read: no such file or directory`,
		"circle.yml":         `circle.yml:1: prefix_files[0]: "circle/*.yml": cannot look into circle: too many levels of symbolic links`,
		"unmounted.yml":      `unmounted.yml:1: prefix_files[0]: "unmounted/*.yml": cannot look into unmounted: no such file or directory`,
		"file-as-folder.yml": `file-as-folder.yml:1: prefix_files[0]: "file/*.yml": cannot look into file: not a folder`,
		"link-as-folder.yml": `link-as-folder.yml:1: prefix_files[0]: "links/*/*.yml": cannot look into links/x: no such file or directory`,
		"a-folder.yml":       `a-folder.yml:1: prefix_files[0]: "folder.yml": cannot be read: not a regular file, but a folder`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := loadErrors(t, dir, name); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestPatternsThatMeanTooMuchAreRefusedBeforeAnythingIsRead(t *testing.T) {
	all := map[string]string{"main.yml": "prefix_files: ['d/*.yml']\n"}
	for i := range maxFound + 1 {
		all[fmt.Sprintf("d/%d.yml", i)] = "not: a list"
	}
	dir := files(t, all)
	if _, got := loadErrors(t, dir, "main.yml"); got != `main.yml:1: prefix_files[0]: "d/*.yml": matches too many files: prefix_files must be at most 4096 files in all` {
		t.Errorf("got %.300s", got)
	}
}

func TestAFileIsReadOnce(t *testing.T) {
	dir := files(t, map[string]string{"d/a.yml": "- 10.0.1.0/24\n", "main.yml": "prefix_files: ['d/*.yml', d/a.yml, './d//a.yml', 'd/[a].yml']\n"})
	if c, got := loadErrors(t, dir, "main.yml"); got != "" || len(c.Files) != 2 {
		t.Errorf("got %v, %s", c, got)
	}
}

func TestAnEmptyNameIsNoFile(t *testing.T) {
	_, err := Load("")
	var unread *ReadError
	if !errors.As(err, &unread) || err.Error() != `configuration file "": must be the name of a file` {
		t.Errorf("got %v", err)
	}
}

func TestNothingToProbeIsAWarning(t *testing.T) {
	dir := files(t, map[string]string{
		"none.yml": "prefixes: []\n", "files.yml": "prefix_files: ['absent/*.yml']\n", "empty.yml": "prefix_files: ['d/*.yml']\n", "d/a.yml": "[]\n",
		"some.yml": "prefixes: [192.0.2.0/24]\n", "both.yml": "prefixes: []\nprefix_files: []\n",
	})
	for name, want := range map[string]string{
		"none.yml":  "none.yml:1: nothing to probe: the list of prefixes is empty",
		"files.yml": "files.yml:1: nothing to probe: the patterns of prefix_files match no file",
		"empty.yml": "empty.yml:1: nothing to probe: the lists of prefixes are empty, those of 1 prefix_files too",
		"both.yml":  "both.yml:1: nothing to probe: the list of prefixes is empty",
		"some.yml":  "",
	} {
		c, text := loadErrors(t, dir, name)
		if text != "" {
			t.Errorf("%s: %s", name, text)
			continue
		}
		if got := strings.ReplaceAll(c.Warnings.Error(), dir+string(filepath.Separator), ""); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
