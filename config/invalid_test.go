package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what the tests expect: the errors in testdata, the tables in docs/configuration.md")

// wantMark begins the part of a testdata file that says what is expected. It is at
// the end, so that it does not move the lines that the errors name.
const wantMark = "# want:\n"

// expected returns what a testdata file expects, one line each.
func expected(t *testing.T, data []byte) string {
	t.Helper()
	_, tail, ok := bytes.Cut(data, []byte(wantMark))
	if !ok {
		t.Fatalf("no %q in the file", strings.TrimSpace(wantMark))
	}
	var lines []string
	for line := range strings.Lines(string(tail)) {
		lines = append(lines, strings.TrimSuffix(strings.TrimPrefix(line, "# "), "\n"))
	}
	return strings.Join(lines, "\n")
}

// rewrite replaces what a testdata file expects.
func rewrite(t *testing.T, file string, data []byte, got string) {
	t.Helper()
	head, _, _ := bytes.Cut(data, []byte(wantMark))
	text := string(head) + wantMark + "# " + strings.ReplaceAll(got, "\n", "\n# ") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestInvalidFilesSayExactlyWhatIsWrong(t *testing.T) {
	t.Chdir("testdata") // the errors name the file as it was given
	files, err := filepath.Glob("invalid-*.yml")
	if err != nil || len(files) < 50 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Load(file)
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("want Errors, got %v and %v", err, c)
			}
			if *update {
				rewrite(t, file, data, err.Error())
				return
			}
			if diff := cmp.Diff(expected(t, data), err.Error()); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			for _, e := range errs {
				if strings.Contains(e.Error(), "\n") {
					t.Errorf("more than one line: %q", e)
				}
			}
			if !slices.IsSortedFunc(errs, func(a, b Error) int {
				return strings.Compare(a.File, b.File)*1_000_000 + a.Line - b.Line
			}) {
				t.Error("not sorted by file and line")
			}
		})
	}
}
