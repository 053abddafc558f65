package docs

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"prefix_exporter/lab/testenv"
)

// TestTheProgramIsBuiltFromWhatGoModSays compares the first block of requirements in go.mod with what the program links of them. A
// library of the tests must not end up in the program, nor the other way round.
func TestTheProgramIsBuiltFromWhatGoModSays(t *testing.T) {
	goCommand := testenv.RequireProgram(t, "go", "golang")
	out, err := exec.Command(goCommand, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "prefix_exporter/cmd/prefix_exporter").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s)\nrequire \(\n(.*?)\n\)`).FindAllStringSubmatch(string(mod), -1)
	if len(blocks) != 3 {
		t.Fatalf("go.mod has %d blocks of requirements, want those of the program, of the tests, and the indirect ones", len(blocks))
	}
	var ofProgram, ofTests []string
	for i, into := range []*[]string{&ofProgram, &ofTests} {
		for line := range strings.Lines(blocks[i][1]) {
			*into = append(*into, strings.Fields(line)[0])
		}
	}
	isLinked := func(path string) bool { return slices.Contains(linked, path) }
	if unused := slices.DeleteFunc(slices.Clone(ofProgram), isLinked); len(unused) > 0 {
		t.Errorf("not linked into the program, so of the second block: %v", unused)
	}
	if i := slices.IndexFunc(ofTests, isLinked); i >= 0 {
		t.Errorf("a library of the tests is linked into the program: %s", ofTests[i])
	}
}
