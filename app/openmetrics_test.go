package app

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// suffixes are those that the series of a family may have (OpenMetrics 1.0, section 5): the reference parser
// refuses a scrape in which two families may have the same one.
func suffixes(kind string) []string {
	switch kind {
	case "counter":
		return []string{"", "_total", "_created"}
	case "histogram":
		return []string{"", "_bucket", "_count", "_sum", "_created"}
	case "gaugehistogram":
		return []string{"", "_bucket", "_gcount", "_gsum"}
	case "summary":
		return []string{"", "_count", "_sum", "_created"}
	case "info":
		return []string{"", "_info"}
	}
	return []string{""} // gauge, stateset, unknown
}

// clashes returns the pairs of families of a scrape in OpenMetrics that have a name of a series in common.
func clashes(scrape string) (pairs []string) {
	owner := map[string]string{}
	for line := range strings.Lines(scrape) {
		rest, ok := strings.CutPrefix(line, "# TYPE ")
		if !ok {
			continue
		}
		family, kind, _ := strings.Cut(strings.TrimSpace(rest), " ")
		for _, s := range suffixes(kind) {
			if other, taken := owner[family+s]; taken {
				pairs = append(pairs, other+" and "+family+" ("+kind+")")
				continue
			}
			owner[family+s] = family + " (" + kind + ")"
		}
	}
	return pairs
}

func TestNoTwoFamiliesOfAScrapeClash(t *testing.T) {
	p, _ := startWith(t, before)
	p.do("GET", "/metrics") // some families show from the second scrape on
	r, err := http.NewRequestWithContext(t.Context(), "GET", p.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	scrape := string(body)
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(scrape, "# EOF\n") {
		t.Fatalf("not OpenMetrics: %s", answer.Header.Get("Content-Type"))
	}
	for _, pair := range clashes(scrape) {
		t.Error(pair)
	}
	if n := strings.Count(scrape, "# TYPE "); n < 40 {
		t.Errorf("only %d families", n)
	}
	for _, name := range []string{"go_goroutines ", "go_info{", "go_gc_duration_seconds_count ", "go_memory_classes_heap_objects_bytes ", "process_cpu_seconds_total "} {
		if !strings.Contains(scrape, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
}

// The finder finds what is known to be wrong.
func TestClashes(t *testing.T) {
	for scrape, want := range map[string]int{
		"# TYPE a gauge\n# TYPE a counter\n":         1,
		"# TYPE a gauge\n# TYPE b counter\n":         0,
		"# TYPE a_total gauge\n# TYPE a counter\n":   1,
		"# TYPE a summary\n# TYPE a_sum gauge\n":     1,
		"# TYPE a histogram\n# TYPE a_count gauge\n": 1,
		"# TYPE a gauge\n# TYPE a_sum gauge\n":       0,
	} {
		if got := clashes(scrape); len(got) != want {
			t.Errorf("%q: %q", scrape, got)
		}
	}
}
