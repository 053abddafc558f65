package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// link is [text](target), or an image.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// pages returns all pages of the repository, by their path from this folder.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == "testdata" || len(name) > 2 && name[0] == '.') {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			text, err := os.ReadFile(path)
			found[path] = string(text)
			return err
		}
		return nil
	})
	if err != nil || len(found) < 20 {
		t.Fatalf("%d pages, %v", len(found), err)
	}
	return found
}

// anchors returns what links to the sections of a page end with: their headings as most
// viewers spell them, in small letters, with hyphens for spaces and without punctuation.
func anchors(page string) map[string]bool {
	spelled := map[string]bool{}
	code := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		if heading := strings.TrimLeft(line, "#"); !code && strings.HasPrefix(line, "#") && strings.HasPrefix(heading, " ") {
			text := link.ReplaceAllString(strings.TrimSpace(heading), "]")
			text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(text), "")
			spelled[strings.ReplaceAll(text, " ", "-")] = true
		}
	}
	return spelled
}

// TestEveryLinkLeadsSomewhere follows links within the repository. Those to other places are not tried.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	all := pages(t)
	followed := 0
	for from, page := range all {
		for _, match := range link.FindAllStringSubmatch(page, -1) {
			path, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(path, "://") || strings.HasPrefix(path, "mailto:") {
				continue
			}
			followed++
			to := from
			if path != "" {
				to = filepath.Join(filepath.Dir(from), filepath.FromSlash(path))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere", from, match[1])
			} else if anchor != "" && !anchors(all[to])[anchor] {
				t.Errorf("%s: %s: no such heading", from, match[1])
			}
		}
	}
	if followed < 100 {
		t.Errorf("%d links, there are more", followed)
	}
}

func TestEveryAlertOfThePageIsLinked(t *testing.T) {
	runbooks, err := filepath.Glob("runbooks/*.md")
	if err != nil || len(runbooks) == 0 {
		t.Fatal(err, len(runbooks))
	}
	page := pages(t)[filepath.Join("..", "docs", "alerts.md")]
	for _, path := range runbooks {
		if !strings.Contains(page, "]("+filepath.ToSlash(path)+")") {
			t.Errorf("alerts.md does not lead to %s", path)
		}
	}
}
