package dashboards

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"prefix_exporter/docs"
)

func TestEveryVariableThatIsUsedIsThere(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		text, err := Text(d.File)
		if err != nil {
			t.Fatal(err)
		}
		var defined []string
		used := References(string(text))
		for _, v := range d.Templating.List {
			defined = append(defined, v.Name)
			if v.Name != "ds" && v.Name != "router" && v.Name != "net" && !slices.Contains(used, v.Name) {
				t.Errorf("variable %s: nothing uses it", v.Name)
			}
		}
		for _, name := range used {
			if !strings.HasPrefix(name, "__") && !slices.Contains(defined, name) {
				t.Errorf("$%s: there is no such variable", name)
			}
		}
	})
}

// A variable is refreshed before those that ask with its value, if it stands before them.
func TestVariablesAskOnlyWithWhatStandsBeforeThem(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		known := []string{}
		for _, v := range d.Templating.List {
			for _, name := range References(v.Query()) {
				if !strings.HasPrefix(name, "__") && !slices.Contains(known, name) {
					t.Errorf("variable %s asks with $%s, which does not stand before it", v.Name, name)
				}
			}
			known = append(known, v.Name)
		}
	})
}

// foreign are metrics that Prometheus itself or every Go program has.
func foreign() []string {
	return []string{"ALERTS", "up", "scrape_duration_seconds", "scrape_samples_scraped",
		"process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"}
}

// recorded returns what the shipped rules record.
func recorded(t *testing.T) (names []string) {
	t.Helper()
	paths, err := filepath.Glob("../rules/*.yml")
	if err != nil || paths == nil {
		t.Fatalf("no rules: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Groups []struct{ Rules []struct{ Record string } }
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					names = append(names, r.Record)
				}
			}
		}
	}
	return names
}

func TestEveryMetricIsExposedOrRecorded(t *testing.T) {
	known := map[string]bool{}
	for _, name := range append(foreign(), recorded(t)...) {
		known[name] = true
	}
	documented, err := docs.ParseMetrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range documented {
		known[m.Name] = true
		if slices.Contains(m.Types, "histogram") || slices.Contains(m.Types, "summary") {
			known[m.Name+"_sum"], known[m.Name+"_count"] = true, true
		}
		if slices.Contains(m.Types, "histogram") {
			known[m.Name+"_bucket"] = true
		}
	}
	each(t, func(t *testing.T, d Dashboard) {
		check := func(where, expr string) {
			t.Helper()
			names := metrics(expr)
			if len(names) == 0 {
				t.Errorf("%s: asks for no metric: %s", where, expr)
			}
			for _, name := range names {
				if !known[name] {
					t.Errorf("%s: nobody has %s", where, name)
				}
			}
		}
		for _, q := range d.Queries() {
			check(q.Place, q.Expr)
		}
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			selector, _, isLabel := LabelQuery(v.Query())
			expr, isResult := ResultQuery(v.Query())
			if isLabel == isResult {
				t.Errorf("variable %s: %q is neither label_values nor query_result", v.Name, v.Query())
			}
			check("variable "+v.Name, selector+expr)
		}
	})
}

var (
	quoted    = regexp.MustCompile(`"(?:\\.|[^"\\])*"`)
	matchers  = regexp.MustCompile(`\{[^}]*\}`)
	durations = regexp.MustCompile(`\[[^]]*\]`)
	grouping  = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	word      = regexp.MustCompile(`\b[a-zA-Z_:][\w:]*(\s*\()?`)
)

// metrics returns the names of metrics in an expression: words that are neither labels,
// nor functions, nor operators. The placeholder of a variable's value is no name.
func metrics(expr string) (names []string) {
	expr = quoted.ReplaceAllString(expr, "")
	expr = reference.ReplaceAllString(expr, "0")
	expr = matchers.ReplaceAllString(expr, " ")
	expr = durations.ReplaceAllString(expr, " ")
	expr = grouping.ReplaceAllString(expr, " ")
	operators := []string{"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "offset"}
	for _, w := range word.FindAllString(expr, -1) {
		if !strings.HasSuffix(w, "(") && !slices.Contains(operators, w) && !slices.Contains(names, w) {
			names = append(names, w)
		}
	}
	return names
}

func TestMetricsOfAnExpressionAreFound(t *testing.T) {
	for expr, want := range map[string][]string{
		`sum by (prefix) (rate(prefix_sent_total{probe="icmp"}[$__rate_interval]))`: {"prefix_sent_total"},
		`max(a:b:c @ end()) * on (prefix) group_left (name) prefix_info`:            {"a:b:c", "prefix_info"},
		`${ref}_over_time((x > 0)[$__range:1m] @ end()) != 1 or vector($y)`:         {"x"},
		`label_replace(up, "a", "$1", "ip", ".*\\.(\\d+)") unless z offset 5m`:      {"up", "z"},
	} {
		if got := metrics(expr); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// TestMarksMissNoChange holds windows of annotations against their steps. What happens between the last
// scrape of one window and the first of the next is seen by neither, unless they overlap.
func TestMarksMissNoChange(t *testing.T) {
	window := regexp.MustCompile(`\[(\w+)\]`)
	each(t, func(t *testing.T, d Dashboard) {
		for _, a := range d.Annotations.List {
			for _, match := range window.FindAllStringSubmatch(a.Expr, -1) {
				wide, err := time.ParseDuration(match[1])
				step, err2 := time.ParseDuration(a.Step)
				if err != nil || err2 != nil || wide < 2*step {
					t.Errorf("annotation %q looks back over %s at each %s: want twice the step", a.Name, match[1], a.Step)
				}
			}
		}
	})
}
