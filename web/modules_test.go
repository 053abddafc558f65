package web

import (
	"os/exec"
	"path/filepath"
	"testing"

	"prefix_exporter/lab/testenv"
)

// TestTheModulesOfThePage runs the unit tests of the modules that know no element of the page, which take a second. The page
// itself is tested in a browser (lab/e2e).
func TestTheModulesOfThePage(t *testing.T) {
	node := testenv.RequireProgram(t, "node", "nodejs")
	files, err := filepath.Glob("jstest/*.test.js") // what a folder means to node --test depends on its version
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests found: %v", err)
	}
	if out, err := exec.Command(node, append([]string{"--test"}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("node --test jstest/*.test.js: %v\n%s", err, out)
	}
}
