package dashboards

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The colours. docs/dashboards.md says what they mean.
const (
	green, light, middle, dark, red, purple = "#56A64B", "#FFD98A", "#FF9F1C", "#E8590C", "#C4162A", "#B877D9"
	grey, faint, unknown, noReference       = "#8e8e8e", "#8080801f", "#7083B8", "#8AB8FF"
	blue, darkBlue                          = "#5794F2", "#1F60C4" // a change: neither good nor bad
)

// neutral colours say nothing about good and bad.
func neutral() []string { return []string{grey, faint, "transparent", "text"} }

// Where a query finds nothing, and where it finds NaN, Grafana takes the base step of the thresholds.
func TestNothingIsNeverPaintedGoodOrBad(t *testing.T) {
	eachField(t, func(t *testing.T, p Panel, f field) {
		if got := f.colorOf(nil); f.Thresholds.Steps != nil && !slices.Contains(neutral(), got) {
			t.Errorf("panel %d %q %s: the base step is %s, want one of %v", p.ID, p.Title, f.Name, got, neutral())
		}
		if c := f.Color; p.Type == "stat" && c.Mode == "fixed" && !slices.Contains(neutral(), c.FixedColor) {
			t.Errorf("panel %d %q %s: has the fixed colour %s, also while nothing is known", p.ID, p.Title, f.Name, c.FixedColor)
		}
	})
}

// "or vector(0)" makes a 0 of nothing. That 0 must not look good either.
func TestAZeroOfNothingIsNotPaintedGood(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for _, q := range p.Targets {
				if !strings.Contains(q.Expr, "vector(0)") {
					continue
				}
				zero := 0.0
				for _, f := range fields(t, p) {
					if f.colorOf(&zero) == green && (f.Name == "" || f.Name == q.Legend) {
						t.Errorf("panel %d %q %s: nothing is a green 0: %s", p.ID, p.Title, q.RefID, q.Expr)
					}
				}
			}
		}
	})
}

func TestPanelsSayInWordsThatThereIsNothing(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for i, f := range fields(t, p) {
				switch {
				case p.Type == "stat" && i == 0 && f.NoValue == "":
					t.Errorf("panel %d %q: noValue is missing, so it says No data", p.ID, p.Title)
				case p.Type == "table" && f.NoValue != "":
					t.Errorf("panel %d %q: noValue is %q, and would fill each empty cell", p.ID, p.Title, f.NoValue)
				}
			}
		}
	})
	for uid, title := range map[string]string{"prefix-wall": "$prefix", "prefix-ip": "Distribution"} {
		if fields(t, panel(t, uid, title))[0].NoValue == "" {
			t.Errorf("%s, %q: says No data without a word why", uid, title)
		}
	}
}

// scales are all that may stand in thresholds with the colours of good and bad, by what they measure.
// The steps of the first four are one scale: twice the RTT is as bad as 1 % lost or down, and so on.
func scales() map[string]string {
	return map[string]string{
		"0 green, 2 light, 4 middle, 8 dark, 16 red":                            "RTT ÷ reference",
		"0 green, 2 light, 4 middle, 8 dark, 16 red, 51 purple":                 "score",
		"0 green, 0.01 light, 0.03 middle, 0.07 dark, 0.15 red, 0.5 purple":     "share lost or down",
		"0 green, 1 light, 3 middle, 7 dark, 15 red, 50 purple":                 "the same in percent",
		"0 purple, 0.5 red, 0.85 dark, 0.93 middle, 0.97 light, 0.99 green":     "share up",
		"0 purple, 0.5 red, 0.985 dark, 0.993 middle, 0.997 light, 0.999 green": "share up over an hour and more: a tenth of it",
		"0 green, 0.005 light, 0.02 middle, 0.05 dark, 0.1 red":                 "seconds of delay above the best",
		"0 green, 60 light, 600 middle, 1800 dark, 3600 red":                    "seconds of outage",
		"0 green, 1 red":               "how many there are of what should not be",
		"0 green, 1 purple":            "how many prefixes are down",
		"0 green, 1 dark":              "how many are bad",
		"0 green, 1 light":             "how many are degraded",
		"1 green":                      "how many are good",
		"0 green":                      "how many changes: none, or blue",
		"0 red, 1 green":               "whether what should be is",
		"0 green, 0.7 middle, 0.9 red": "share of a core in use",
	}
}

// words are the names of the colours of a scale.
func words() map[string]string {
	return map[string]string{green: "green", light: "light", middle: "middle", dark: "dark", red: "red", purple: "purple"}
}

// scale writes thresholds down as scales does. What is below 0 are codes, such as −1 for no answer; a
// colour up to 0 begins at 0. Where good is not coloured, in tables, it is put in.
func scale(steps []step) string {
	var list []string
	for _, s := range steps {
		name, ok := words()[s.Color]
		if s.Value == nil || !ok {
			continue
		}
		value := max(*s.Value, 0)
		if s.Color == green && value == 0.5 {
			value = 1 // between 0 and 1
		}
		if s.Color == purple && value == 0.001 {
			value = 0 // above what is all down, and grey
		}
		list = append(list, fmt.Sprintf("%v %s", value, name))
	}
	if list != nil && !strings.Contains(strings.Join(list, ","), "green") {
		list = append([]string{"0 green"}, list...)
	}
	return strings.Join(list, ", ")
}

func TestThereIsOneSeverityScale(t *testing.T) {
	eachField(t, func(t *testing.T, p Panel, f field) {
		got := scale(f.Thresholds.Steps)
		if got == "" {
			return // nothing is judged
		}
		if _, ok := scales()[got]; !ok {
			t.Errorf("panel %d %q %s: has a scale of its own: %s", p.ID, p.Title, f.Name, got)
		}
		var bad []string
		for _, s := range f.Thresholds.Steps {
			if !slices.Contains(append(neutral(), green, light, middle, dark, red, purple, unknown, noReference, blue, darkBlue), s.Color) {
				bad = append(bad, s.Color)
			}
		}
		if bad != nil {
			t.Errorf("panel %d %q %s: colours of its own: %v", p.ID, p.Title, f.Name, bad)
		}
	})
}

// What is the same thing has the same scale on every dashboard.
func TestTheSameThingHasTheSameScale(t *testing.T) {
	share, ratio := "0 green, 0.01 light, 0.03 middle, 0.07 dark, 0.15 red, 0.5 purple", "0 green, 2 light, 4 middle, 8 dark, 16 red"
	long := "0 purple, 0.5 red, 0.985 dark, 0.993 middle, 0.997 light, 0.999 green"
	for _, c := range []struct{ uid, panel, field, want string }{
		{"prefix-overview", "Loss", "", share},
		{"prefix-24", "Loss", "", share},
		{"prefix-ip", "Loss, range", "", share},
		{"prefix-overview", "Worst prefixes now", "Loss", share},
		{"prefix-24", "Every address over the time range", "Loss", share},
		{"prefix-overview", "Worst × ref.", "", ratio},
		{"prefix-24", "÷ reference", "", ratio},
		{"prefix-ip", "÷ reference", "", ratio},
		{"prefix-24", "Ports: share of the known addresses that are up", "", "0 purple, 0.5 red, 0.85 dark, 0.93 middle, 0.97 light, 0.99 green"},
		{"prefix-24", "24 h", "", long},
		{"prefix-ip", "Available, range", "", long},
		{"prefix-pulse", "Available, last 7 days", "", long},
		{"prefix-pulse", "Availability report", "7 days", long},
	} {
		for _, f := range fields(t, panel(t, c.uid, c.panel)) {
			if f.Name == c.field {
				if diff := cmp.Diff(c.want, scale(f.Thresholds.Steps)); diff != "" {
					t.Errorf("%s, %q %s (-want +got):\n%s", c.uid, c.panel, c.field, diff)
				}
			}
		}
	}
}

// A colour that means unknown means nothing else, and is neither good nor bad.
func TestWhatIsNotMeasuredHasAColourOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		uid, panel, field string
		value             float64
	}{
		{"prefix-overview", "Prefixes", "unknown", 1},
		{"prefix-overview", "Addresses", "unknown", 1},
		{"prefix-overview", "Now, worst first", "", -2},
		{"prefix-overview", "Minute by minute, the worst (a click opens the prefix)", "", -2},
		{"prefix-overview", "Worst prefixes now", "Unknown", 1},
		{"prefix-24", "Addresses", "unknown", 1},
		{"prefix-24", ".0 – .63, :0 – :3f", "", -3},
		{"prefix-24", ".192 – .255, :c0 – :ff", "B", -3},
		{"prefix-24", "Now: the last minute of every address", "", -3},
		{"prefix-ip", "State", "", -2},
		{"prefix-ip", "State of ping and of each port", "", -2},
	} {
		found := false
		for _, f := range fields(t, panel(t, c.uid, c.panel)) {
			if f.Name == c.field {
				found = true
				if got := f.colorOf(&c.value); got != unknown {
					t.Errorf("%s, %q %s: unknown is %s, want %s", c.uid, c.panel, c.field, got, unknown)
				}
			}
		}
		if !found {
			t.Errorf("%s, %q: has no field %q", c.uid, c.panel, c.field)
		}
	}
	for _, file := range []string{"overview.json", "prefix.json"} {
		text, err := Text(file)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(regexp.QuoteMeta("background:"+unknown) + `\\"></span>unknown`).Match(text) {
			t.Errorf("%s: its legend does not tell the colour of unknown", file)
		}
	}
}

// Reasons of loss that have no colour of their own take one of the palette, perhaps green.
func TestEveryReasonOfLossHasAColour(t *testing.T) {
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "### Reasons of loss\n")
	if !ok {
		t.Fatal("docs/metrics.md has no section of reasons")
	}
	section, _, _ = strings.Cut(section, "\n#")
	reasons := []string{"no_route"}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(section, -1) {
		reasons = append(reasons, m[1])
	}
	if len(reasons) < 6 {
		t.Fatalf("the reasons are %q, want more", reasons)
	}
	colours := map[string]string{}
	for _, f := range fields(t, panel(t, "prefix-24", "Loss by reason")) {
		if c := f.Color.FixedColor; f.Name != "" {
			if c == "" || c == green || colours[c] != "" {
				t.Errorf("%s: has the colour %q; %s has it too", f.Name, c, colours[c])
			}
			colours[c] = f.Name
		}
	}
	for _, r := range reasons {
		if !strings.Contains(fmt.Sprint(colours), ":"+r) {
			t.Errorf("%s: has no colour", r)
		}
	}
}

// Loss in percent must not be called a multiple, nor be coloured as one.
func TestColoursByLossAreInPercent(t *testing.T) {
	for _, d := range load(t) {
		for _, p := range d.AllPanels() {
			if p.Type != "status-history" {
				continue
			}
			for _, q := range p.Targets {
				if !strings.Contains(q.Expr, `mode=~"x{$mode}"`) {
					continue
				}
				at := slices.IndexFunc(fields(t, p), func(f field) bool { return f.Name == q.RefID })
				if at < 0 || fields(t, p)[at].Unit != "percent" || strings.Contains(q.Expr, `mode!~"x{$mode}"`) {
					t.Errorf("%s, panel %d %q %s: loss has the unit of RTT", d.UID, p.ID, p.Title, q.RefID)
				}
			}
			var overrides struct {
				Overrides []struct{ Matcher struct{ ID, Options string } }
			}
			if err := json.Unmarshal(p.FieldConfig, &overrides); err != nil {
				t.Fatal(err)
			}
			for _, o := range overrides.Overrides {
				if o.Matcher.Options == "B" && o.Matcher.ID != "byFrameRefID" {
					t.Errorf("%s, panel %d: B is matched %s", d.UID, p.ID, o.Matcher.ID)
				}
			}
		}
	}
	blocks := 0
	for _, p := range dashboard(t, "prefix-24").AllPanels() {
		if p.Type == "status-history" && strings.Contains(p.Targets[0].Expr, "$mode") {
			blocks++
			if len(p.Targets) != 2 {
				t.Errorf("panel %d %q: %d queries, want one by RTT and one by loss", p.ID, p.Title, len(p.Targets))
			}
		}
	}
	if blocks != 4 {
		t.Errorf("%d blocks, want 4", blocks)
	}
}

// dashboard returns one.
func dashboard(t *testing.T, uid string) Dashboard {
	t.Helper()
	all := load(t)
	i := slices.IndexFunc(all, func(d Dashboard) bool { return d.UID == uid })
	if i < 0 {
		t.Fatalf("no dashboard %s", uid)
	}
	return all[i]
}
