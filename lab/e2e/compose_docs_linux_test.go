package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/probe"
)

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// firstCells returns what stands in backticks in the first cell of each row of a section of
// operations.md.
func firstCells(t *testing.T, heading string) (words []string) {
	t.Helper()
	_, section, found := strings.Cut(read(t, "docs/operations.md"), "\n"+heading+"\n")
	if !found {
		t.Fatalf("operations.md has no %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n#")
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
				words = append(words, match[1])
			}
		}
	}
	return words
}

func TestOperationsTellsWhatEachReasonMeans(t *testing.T) {
	var want []string
	for _, r := range probe.Reasons {
		want = append(want, string(r))
	}
	got := firstCells(t, "## When the prober is unhealthy")
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-the program's +the page's):\n%s", diff)
	}
}

func TestOperationsHasEachVariableOfTheComposeFiles(t *testing.T) {
	var want []string
	for _, file := range []string{"docker-compose.yml", "deploy/host.yml", "deploy/raw.yml"} {
		for _, match := range regexp.MustCompile(`\$\{(\w+)`).FindAllStringSubmatch(read(t, file), -1) {
			want = append(want, match[1])
		}
	}
	slices.Sort(want)
	got := firstCells(t, "### With compose")
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
		t.Errorf("variables (-of the files +of the page):\n%s", diff)
	}
}

func TestSecretsHasEachFileOfTheConfiguration(t *testing.T) {
	paths := regexp.MustCompile(`(?:/etc/alertmanager/secrets|/run/secrets)/(\w+)`)
	var want []string
	for _, file := range []string{"alertmanager/alertmanager.yml", "docker-compose.yml"} {
		for _, match := range paths.FindAllStringSubmatch(read(t, file), -1) {
			want = append(want, match[1])
		}
	}
	var got []string
	for _, match := range regexp.MustCompile("(?m)^\\| `(?:alertmanager|grafana)/(\\w+)`").FindAllStringSubmatch(read(t, "secrets/README.md"), -1) {
		got = append(got, match[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(slices.Compact(want), got); diff != "" {
		t.Errorf("files (-named +explained):\n%s", diff)
	}
}
