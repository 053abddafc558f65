package dashboards

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLegendsAreWrittenAsGrafanaWritesThem(t *testing.T) {
	labels := map[string]string{"name": "PAR-1", "prefix": "192.0.2.0/24"}
	for legend, want := range map[string]string{
		"{{name}}  {{prefix}}":     "PAR-1  192.0.2.0/24",
		"{{ name }}":               "PAR-1",
		"{{port}} {{name}}":        "PAR-1",
		"{{router}}":               "",
		"median of the prefix":     "median of the prefix",
		"{{version}} · {{prefix}}": "· 192.0.2.0/24",
	} {
		if got := LegendText(legend, labels); got != want {
			t.Errorf("%s: %q, want %q", legend, got, want)
		}
	}
}

// Names are optional. A legend that comes to nothing is written as {a="3", prefix="…"}.
func TestAPrefixWithoutANameIsCalledByItsAddress(t *testing.T) {
	byName := regexp.MustCompile(`"t", "\$1", "prefix", "\(\.\*\)"\), "t", "\$1", "name", "\(\.\+\)"\)$`)
	each(t, func(t *testing.T, d Dashboard) {
		for _, q := range d.Queries() {
			if !strings.Contains(q.Legend, "{{name}}") && !strings.Contains(q.Legend, "{{t}}") {
				continue
			}
			labels := map[string]string{"prefix": "192.0.2.0/24", "a": "1"}
			if byName.MatchString(q.Expr) {
				labels["t"] = labels["prefix"]
			}
			if got := LegendText(q.Legend, labels); got != labels["prefix"] && d.UID+q.Place != `prefix-ippanel 1 "${prefix:text}" A` {
				t.Errorf("%v: a prefix without a name is called %q", q, got)
			}
		}
	})
}

// joined is what stands behind group_left: it must be one series for each prefix, or address.
var joined = regexp.MustCompile(`group_left \([^)]*\) (.{0,60})`)

// Two exporters of one prefix, an exporter that was moved within the hour, and a name that was changed all
// make two series of prefix_info: a join with them is "many-to-many", and the panel is empty.
func TestJoinsChooseOneSeries(t *testing.T) {
	one := regexp.MustCompile(`^\(*(0 \* \()?(topk(by)?|topk by \((prefix|ip)\)|max by \((prefix|ip)\)|max by|count_values by \(prefix, name\)|sum)? ?\(`)
	bare := regexp.MustCompile(`^\(*prefix_|^\(*max by \(prefix, `)
	each(t, func(t *testing.T, d Dashboard) {
		for _, q := range d.Queries() {
			for _, m := range joined.FindAllStringSubmatch(strings.ReplaceAll(q.Expr, "\n", " "), -1) {
				if bare.MatchString(m[1]) || !one.MatchString(m[1]) {
					t.Errorf("%v: joins with what may be several: %s", q, m[1])
				}
			}
			if strings.Contains(q.Expr, "/ on (ip) (") {
				t.Errorf("%v: divides by what may be several of one address", q)
			}
		}
	})
}

// While an exporter is gone there is no prefix_info at the end of the time range; what was before must
// not vanish with it. And the router is chosen of what is now, where there is something now.
func TestPanelsOverTimeRememberPrefixesThatAreGone(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for _, q := range p.Targets {
				now := strings.Contains(q.Expr, "prefix_info{") && strings.Contains(q.Expr, "@ end()")
				if p.TimeFrom != "" || !now {
					continue // tiles of now
				}
				if !strings.Contains(q.Expr, "max_over_time(timestamp(prefix_info{") || !strings.Contains(q.Expr, "unless on (prefix) prefix_info @ end()") {
					t.Errorf("%s, panel %d %q %s: forgets prefixes whose exporter is gone: %s", d.UID, p.ID, p.Title, q.RefID, q.Expr)
				}
			}
		}
	})
	for _, c := range []struct{ uid, panel string }{
		{"prefix-overview", "Minute by minute, the worst (a click opens the prefix)"},
		{"prefix-overview", "RTT ÷ reference, the 5 worst"},
		{"prefix-overview", "Loss, the 5 worst"},
		{"prefix-routes", "Paths"},
		{"prefix-pulse", "Availability report"},
	} {
		if q := panel(t, c.uid, c.panel).Targets[0]; !strings.Contains(q.Expr, "timestamp(prefix_info{") {
			t.Errorf("%s, %q: forgets prefixes whose exporter is gone", c.uid, c.panel)
		}
	}
}

// The last value of a range is that of a series that may have ended since.
func TestStatsOfARangeAskForItsEnd(t *testing.T) {
	selector := regexp.MustCompile(`\b(prefix[\w:]*|up|ALERTS)(\{[^}]*\})?( @ end\(\))?`)
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for _, q := range p.Targets {
				if p.Type != "stat" || q.Instant {
					continue
				}
				expr := grouping.ReplaceAllString(quoted.ReplaceAllStringFunc(q.Expr, func(string) string { return "_" }), " ")
				for _, m := range selector.FindAllStringSubmatch(expr, -1) {
					if m[3] == "" {
						t.Errorf("%s, panel %d %q %s: shows %s as it was, not as it is", d.UID, p.ID, p.Title, q.RefID, m[0])
					}
				}
			}
		}
	})
}

// What has never answered is neither up nor down: prefix_target_up is 0, and nothing else is there.
func TestWhatNeverAnsweredIsNotCalledDown(t *testing.T) {
	over := regexp.MustCompile(`(avg_over_time|changes)\(prefix_target_up`)
	each(t, func(t *testing.T, d Dashboard) {
		for _, q := range d.Queries() {
			if over.MatchString(q.Expr) && !strings.Contains(q.Expr, "and last_over_time(prefix_target_sent_total") && !strings.Contains(q.Expr, "and prefix_target_sent_total") {
				t.Errorf("%v: takes never answered for down: %s", q, q.Expr)
			}
		}
	})
	if got := panel(t, "prefix-routes", "Not reached now").Targets[0].Expr; !strings.Contains(got, `prefix_targets{state=~"up|down"}) > 0`) {
		t.Errorf("counts prefixes in which nothing ever answered as not reached: %s", got)
	}
}

// A reference that is not there makes NaN of what is divided by it, and NaN is painted as nothing is.
func TestNothingIsDividedByAScalar(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, q := range d.Queries() {
			if strings.Contains(q.Expr, "scalar(") {
				t.Errorf("%v: is NaN without it: %s", q, q.Expr)
			}
		}
	})
}

// Others use Prometheus too: alerts count if they come from our exporters or are about our rules and messages.
func TestOnlyAlertsOfTheExporterAreShown(t *testing.T) {
	selector := regexp.MustCompile(`ALERTS(\{[^}]*\})?`)
	each(t, func(t *testing.T, d Dashboard) {
		for _, q := range d.Queries() {
			for _, s := range selector.FindAllString(q.Expr, -1) {
				ours := strings.Contains(s, `job="prefix_exporter"`) || strings.Contains(s, `alertname=~"RulesFailing|MessagesFailing"`)
				if !ours && !strings.Contains(s, `prefix="$prefix"`) {
					t.Errorf("%v: counts alerts of others: %s", q, s)
				}
				if d.UID == "prefix-overview" && strings.Contains(s, `prefix!=""`) && !strings.Contains(s, `router=~"$router"`) {
					t.Errorf("%v: whatever router is chosen: %s", q, s)
				}
			}
		}
	})
}

// An alert that lasts would be painted over all of a graph. It is marked where it begins.
func TestAlertsAreMarkedWhereTheyBegin(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, a := range d.Annotations.List {
			if !strings.Contains(a.Expr, "ALERTS") {
				continue
			}
			now, before, ok := strings.Cut(a.Expr, "\n  unless ")
			if diff := cmp.Diff(now, strings.ReplaceAll(before, " offset 1m", "")); !ok || a.Step != "60s" || diff != "" {
				t.Errorf("annotation %q: is there as long as the alert: %s", a.Name, a.Expr)
			}
		}
	})
}
