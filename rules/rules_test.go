package rules

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"prefix_exporter/docs"
	"prefix_exporter/lab/e2e/tools"
)

// What an SMS of 160 characters has room for, beside what alertmanager/templates/sms.tmpl puts behind it.
// In the first, two names may have been cut, and each "…" becomes "..".
const (
	longestResolved = 160 - len(" 12 Mar 14:02-16 Mar 14:02 +0530 (99 h 59 min)") - 2
	longestSummary  = 160 - len(" since 12 Mar 14:02 +0530") - 4
)

// rule is one rule of a file, as Prometheus reads it.
type rule struct {
	Record, Alert, Expr string
	For                 string
	KeepFiringFor       string `yaml:"keep_firing_for"`
	Labels, Annotations map[string]string
}

// all reads the rules of all files.
func all(t *testing.T) (rules []rule) {
	t.Helper()
	for _, path := range files(t, "*.yml") {
		var file struct {
			Groups []struct {
				Name, Interval string
				Rules          []rule
			}
		}
		decode(t, path, &file)
		for _, g := range file.Groups {
			rules = append(rules, g.Rules...)
		}
	}
	return rules
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	return paths
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestPromtool runs its three checks, of which the second are the unit tests of the rules.
func TestPromtool(t *testing.T) {
	promtool := tools.Require(t, "promtool")
	for _, args := range [][]string{
		append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files(t, "*.yml")...),
		append([]string{"test", "rules"}, files(t, "tests/*.yml")...),
		{"check", "config", "--lint=all", "--lint-fatal", "../prometheus.yml"},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) {
			if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
				t.Errorf("%v: %v\n%s", args, err, out)
			}
		})
	}
}

// others are the metrics that do not come from the exporter.
func others() []string {
	return []string{
		"ALERTS",                     // of Prometheus, for each alert
		"up",                         // of Prometheus, for each target
		"process_start_time_seconds", // of every Go program
		"prometheus_rule_evaluation_failures_total", // of Prometheus
		"alertmanager_notifications_failed_total",   // of Alertmanager
	}
}

// TestMetricsExist checks that the rules name only series which somebody makes.
func TestMetricsExist(t *testing.T) {
	documented, err := docs.ParseMetrics()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string][]string{} // of what the exporter has, by name of the series
	for _, m := range documented {
		own := append([]string{"job", "instance"}, m.Labels...)
		labels[m.Name] = own
		for _, kind := range m.Types {
			if kind == "histogram" || kind == "summary" {
				labels[m.Name+"_sum"], labels[m.Name+"_count"] = own, own
				labels[m.Name+"_bucket"] = append(own, "le")
			}
		}
	}
	known := others()
	for _, r := range all(t) {
		known = append(known, r.Record)
	}
	for _, r := range all(t) {
		texts := []string{r.Expr}
		for _, a := range r.Annotations {
			texts = append(texts, queries(a)...)
		}
		for _, text := range texts {
			for _, s := range selectors(text) {
				own, ok := labels[s.name]
				if !ok && !slices.Contains(known, s.name) {
					t.Errorf("%s%s: nobody has %s", r.Alert, r.Record, s.name)
				}
				for _, label := range s.labels {
					if ok && !slices.Contains(own, label) {
						t.Errorf("%s%s: %s has no label %s", r.Alert, r.Record, s.name, label)
					}
				}
			}
		}
	}
}

// selector is the name of a series in an expression, with the labels that it is selected by.
type selector struct {
	name   string
	labels []string
}

// The parts of PromQL that look like names of series and are none.
var (
	quotedText = regexp.MustCompile(`"(\\.|[^"\\])*"`)
	clause     = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right) *\([^)]*\)`)
	duration   = regexp.MustCompile(`\[[^\]]*\]|\boffset +\w+`)
	number     = regexp.MustCompile(`(^|[^\w:.])[0-9.]+[a-z]*`)
	name       = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*) *(\{[^}]*\}|\()?`)
	matcher    = regexp.MustCompile(`([a-zA-Z_]\w*) *[=!]`)
)

// selectors finds the names of series in an expression, not by a parser, which would be Prometheus
// itself, but by taking away what is none.
func selectors(expr string) (found []selector) {
	expr = quotedText.ReplaceAllString(expr, `""`)
	expr = clause.ReplaceAllString(expr, "")
	expr = number.ReplaceAllString(duration.ReplaceAllString(expr, ""), "$1")
	for _, m := range name.FindAllStringSubmatch(expr, -1) {
		s := selector{name: m[1]}
		if m[2] == "(" || slices.Contains([]string{"and", "or", "unless", "bool"}, s.name) {
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			s.labels = append(s.labels, l[1])
		}
		found = append(found, s)
	}
	return found
}

// queries returns the expressions that a template asks: the first texts of printf that are piped into query.
func queries(template string) (found []string) {
	for _, m := range regexp.MustCompile(`printf ("(?:\\.|[^"\\])*")[^|}]*\| *query`).FindAllStringSubmatch(template, -1) {
		var text string
		if _, err := fmt.Sscanf(m[1], "%q", &text); err == nil {
			found = append(found, strings.NewReplacer("%q", `""`, "%v", "0").Replace(text))
		}
	}
	return found
}

// TestSelectors checks the finder itself, which must not find nothing.
func TestSelectors(t *testing.T) {
	expr := `label_replace(x:y:5m{a="q{",b=~".*"} offset 5m, "n", "", "", "") > on (job, c) group_left (d) sum by (e) (rate(f_total[5m])) and g or 1.5 * h`
	want := []selector{{"x:y:5m", []string{"a", "b"}}, {"f_total", nil}, {"g", nil}, {"h", nil}}
	if got := fmt.Sprint(selectors(expr)); got != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	template := `{{ with printf "count(m{i=%q})" $labels.i | query }}{{ . }}{{ end }}`
	if got := fmt.Sprint(queries(template)); got != `[count(m{i=""})]` {
		t.Errorf("%v", got)
	}
}

// TestAlertsAreWhole checks that every alert has what a message needs, a runbook, and unit tests
// in which it fires and stays silent, and that every summary which promtool renders fits in an SMS.
func TestAlertsAreWhole(t *testing.T) {
	fires, silent := tested(t)
	names := map[string]bool{}
	for _, r := range all(t) {
		if r.Alert == "" {
			continue
		}
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s: a unit test in which it fires: %v, in which it is silent: %v", r.Alert, fires[r.Alert], silent[r.Alert])
		}
		if r.Labels["severity"] == "none" {
			continue // nobody is told
		}
		names[r.Alert] = true
		for _, key := range []string{"subject", "resolved", "summary", "description", "dashboard_url", "runbook_url"} {
			if r.Annotations[key] == "" {
				t.Errorf("%s has no %s", r.Alert, key)
			}
		}
		if d := lingering(t, r.Annotations["lingers"]); d != keeps(t, r.KeepFiringFor) {
			t.Errorf("%s lingers for %v, and keeps firing for %q", r.Alert, d, r.KeepFiringFor)
		}
		if !strings.HasSuffix(r.Annotations["runbook_url"], "/"+r.Alert+".md") {
			t.Errorf("the runbook of %s is %s", r.Alert, r.Annotations["runbook_url"])
		}
		if _, err := os.Stat(filepath.Join("../docs/runbooks", r.Alert+".md")); err != nil {
			t.Error(err)
		}
		if r.Labels["severity"] == "" {
			t.Errorf("%s has no severity", r.Alert)
		}
	}
	for _, path := range files(t, "../docs/runbooks/*.md") {
		if alert := strings.TrimSuffix(filepath.Base(path), ".md"); !names[alert] {
			t.Errorf("%s is of no alert", path)
		}
	}
}

// lingering is a time of day as the duration since midnight, which is how templates read it.
func lingering(t *testing.T, clock string) time.Duration {
	t.Helper()
	if clock == "" {
		return 0
	}
	at, err := time.Parse(time.TimeOnly, clock)
	if err != nil {
		t.Error(err)
	}
	return at.Sub(at.Truncate(24 * time.Hour))
}

func keeps(t *testing.T, text string) time.Duration {
	t.Helper()
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Error(err)
	}
	return d
}

// composed is what a summary has to be: the other annotations, cut where it would be too long.
func composed(annotations map[string]string) string {
	text := annotations["subject"]
	if detail := annotations["detail"]; detail != "" {
		text += " " + detail
	}
	if cause := annotations["cause"]; cause != "" {
		text += ": " + cause
	}
	if runes := []rune(text); len(runes) > longestSummary {
		text = string(runes[:longestSummary])
	}
	return text
}

// tested reads the unit tests: which alerts fire in any, which stay silent at some time.
func tested(t *testing.T) (fires, silent map[string]bool) {
	t.Helper()
	fires, silent = map[string]bool{}, map[string]bool{}
	longest := 0
	for _, path := range files(t, "tests/*.yml") {
		var file struct {
			Tests []struct {
				Alerts []struct {
					Alertname string
					Expected  []struct {
						Labels      map[string]string `yaml:"exp_labels"`
						Annotations map[string]string `yaml:"exp_annotations"`
					} `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		decode(t, path, &file)
		for _, test := range file.Tests {
			for _, a := range test.Alerts {
				fires[a.Alertname] = fires[a.Alertname] || len(a.Expected) > 0
				silent[a.Alertname] = silent[a.Alertname] || len(a.Expected) == 0
				for _, e := range a.Expected {
					summary, told := e.Annotations["summary"]
					if !told && e.Labels["severity"] == "none" {
						continue
					}
					longest = max(longest, utf8.RuneCountInString(summary))
					if d := cmp.Diff(composed(e.Annotations), summary); d != "" {
						t.Errorf("%s: the summary is not made of the other annotations (-want +got):\n%s", a.Alertname, d)
					}
					if n := utf8.RuneCountInString(e.Annotations["resolved"]); n > longestResolved {
						t.Errorf("%s: %q: %d characters, want %d at most", a.Alertname, e.Annotations["resolved"], n, longestResolved)
					}
					if n := utf8.RuneCountInString(summary); n == 0 || n > longestSummary || strings.ContainsAny(summary, "\n\r") {
						t.Errorf("%s: %q: %d characters, want one line of 1 to %d", a.Alertname, summary, n, longestSummary)
					}
				}
			}
		}
	}
	t.Logf("the longest summary has %d characters, %d are allowed", longest, longestSummary)
	return fires, silent
}

// TestWhatInhibitsComesFirst checks that trouble of the prober reaches Alertmanager before what it
// inhibits: each group has its own moment, but the rules of one are evaluated in turn.
func TestWhatInhibitsComesFirst(t *testing.T) {
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	decode(t, "alerts.yml", &file)
	for _, g := range file.Groups {
		at := func(alert string) int {
			return slices.IndexFunc(g.Rules, func(r rule) bool { return r.Alert == alert })
		}
		first := at("PrefixDown")
		for _, alert := range []string{"ProberUnhealthyInhibitor", "ProberDoubtInhibitor", "ProberOffline"} {
			if first >= 0 && (at(alert) < 0 || at(alert) > first) {
				t.Errorf("in the group %s, %s is not before PrefixDown", g.Name, alert)
			}
		}
	}
}
