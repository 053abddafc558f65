package dashboards

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestTitlesFitOnALaptop(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			if p.Type == "row" || strings.Contains(p.Title, "$") {
				continue
			}
			// 8 pixels for a letter in the bold 14 px of titles, and a margin of 12 at each end.
			if need, there := 8*utf8.RuneCountInString(p.Title)+24, p.GridPos.W*smallScreen/24; need > there {
				t.Errorf("panel %d %q: its title needs %d of %d pixels", p.ID, p.Title, need, there)
			}
		}
	})
}

// Grafana scales these units: with no decimals 1,560 packets a second are "2 kp/s", 90 seconds "2 mins".
func TestScaledNumbersKeepTheirDigits(t *testing.T) {
	eachField(t, func(t *testing.T, p Panel, f field) {
		if slices.Contains([]string{"pps", "s", "bytes", "short"}, f.Unit) && f.Decimals != nil && *f.Decimals == 0 {
			t.Errorf("panel %d %q %s: unit %s without decimals", p.ID, p.Title, f.Name, f.Unit)
		}
	})
}

// A limit is thousands of times what is used of it.
func TestALimitHasAnAxisOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for _, q := range p.Targets {
				if p.Type != "timeseries" || q.Legend != "limit" {
					continue
				}
				at := slices.IndexFunc(fields(t, p), func(f field) bool { return f.Name == "limit" })
				if at < 0 || fields(t, p)[at].Custom["axisPlacement"] != "right" {
					t.Errorf("panel %d %q: is flattened by its limit", p.ID, p.Title)
				}
			}
		}
	})
}

// Rows come in the order of their labels, as text: 443 before 80, and ping, which has no port, last.
func TestPortsComeInTheOrderOfTheirNumbers(t *testing.T) {
	ordered := regexp.MustCompile(`"a", "00000\$1", "port", "\(\.\*\)"\), "a", "\$1", "a", "0\*\(\.\{5\}\)"\)$`)
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for _, q := range p.Targets {
				if strings.Contains(q.Legend, "{{port}}") && !ordered.MatchString(q.Expr) {
					t.Errorf("panel %d %q %s: ports in the order of letters: %s", p.ID, p.Title, q.RefID, q.Expr)
				}
			}
		}
	})
}

// The blocks of Prefix are the quarters of the last eight bits, whatever the family.
func TestEveryAddressIsInOneBlock(t *testing.T) {
	var blocks []*regexp.Regexp
	selector := regexp.MustCompile(`ip=~("(?:\\.|[^"\\])*")`)
	for _, title := range []string{".0 – .63, :0 – :3f", ".64 – .127, :40 – :7f", ".128 – .191, :80 – :bf", ".192 – .255, :c0 – :ff"} {
		var patterns []string
		for _, q := range panel(t, "prefix-24", title).Targets {
			for _, m := range selector.FindAllStringSubmatch(q.Expr, -1) {
				var pattern string
				if err := json.Unmarshal([]byte(m[1]), &pattern); err != nil {
					t.Fatal(err)
				}
				if patterns = append(patterns, pattern); pattern != patterns[0] {
					t.Errorf("%s: %s and %s", title, pattern, patterns[0])
				}
			}
		}
		blocks = append(blocks, regexp.MustCompile("^(?:"+patterns[0]+")$"))
	}
	for name, address := range map[string]func(int) string{
		"IPv4":                               func(i int) string { return fmt.Sprintf("192.0.2.%d", i) },
		"IPv6 with zeros at its end":         func(i int) string { return strings.Replace(fmt.Sprintf("2001:db8:1::%x", i), "::0", "::", 1) },
		"IPv6 with something before them":    func(i int) string { return fmt.Sprintf("2001:db8::%x", 0x100+i) },
		"IPv6 with all digits before them":   func(i int) string { return fmt.Sprintf("2001:db8::%x", 0xab00+i) },
		"IPv6 without zeros in its middle":   func(i int) string { return fmt.Sprintf("2001:db8:1:2:3:4:5:%x", i) },
		"IPv6 that ends with two short ones": func(i int) string { return fmt.Sprintf("2001:db8::1:%x", i) },
	} {
		for i := range 256 {
			var in []int
			for b, pattern := range blocks {
				if pattern.MatchString(address(i)) {
					in = append(in, b)
				}
			}
			if diff := cmp.Diff([]int{i / 64}, in); diff != "" {
				t.Errorf("%s: %s (-want block +got):\n%s", name, address(i), diff)
			}
		}
	}
}

// 0.01 is an eighth of a step of colour. With all seventeen digits the wall is half as much again to read.
func TestCellsHaveNoMoreDigitsThanCanBeSeen(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for _, q := range p.Targets {
				cells := strings.Contains(q.Expr, "prefix_target_rtt_seconds_sum") && (p.Type == "status-history" || p.Type == "heatmap")
				if cells && !(strings.Contains(q.Expr, "round(") && strings.Contains(q.Expr, ", 0.01)")) {
					t.Errorf("panel %d %q %s: is not rounded", p.ID, p.Title, q.RefID)
				}
			}
		}
	})
}

func TestOneAddressShowsHowItsTimesAreSpread(t *testing.T) {
	var heat, band bool
	for _, p := range dashboard(t, "prefix-ip").AllPanels() {
		for _, q := range p.Targets {
			heat = heat || p.Type == "heatmap" && strings.Contains(q.Expr, "prefix_target_rtt_seconds_bucket")
		}
		for _, f := range fields(t, p) {
			below, _ := f.Custom["fillBelowTo"].(string)
			band = band || below != "" && slices.ContainsFunc(p.Targets, func(q Target) bool { return q.Legend == below })
		}
	}
	if !heat || !band {
		t.Errorf("a distribution: %v, a band: %v, want both", heat, band)
	}
}

// People know hosts by their names, and want to know first since when one is down.
func TestHostsAreCalledByTheirNames(t *testing.T) {
	for _, title := range []string{".0 – .63, :0 – :3f", ".64 – .127, :40 – :7f", ".128 – .191, :80 – :bf", ".192 – .255, :c0 – :ff"} {
		for _, q := range panel(t, "prefix-24", title).Targets {
			if got := LegendText(q.Legend, map[string]string{"a": ".017", "h": "gateway"}); got != ".017 gateway" || !strings.Contains(q.Expr, "prefix_target_info") {
				t.Errorf("%s %s: a row is called %q", title, q.RefID, got)
			}
		}
	}
	for _, c := range []struct{ uid, panel, column string }{
		{"prefix-24", "Every address over the time range", "Host"},
		{"prefix-24", "Every address over the time range", "Down since"},
		{"prefix-overview", "Down now: every address, the newest first", "Host"},
		{"prefix-overview", "Down now: every address, the newest first", "Down since"},
	} {
		if !slices.Contains(columns(t, panel(t, c.uid, c.panel)), c.column) {
			t.Errorf("%s, %q: has no column %q", c.uid, c.panel, c.column)
		}
	}
}

// columns are what a table calls its columns.
func columns(t *testing.T, p Panel) (names []string) {
	t.Helper()
	for _, change := range p.Transformations {
		var options struct{ RenameByName map[string]string }
		if err := json.Unmarshal(change.Options, &options); err != nil {
			t.Fatal(err)
		}
		for _, name := range options.RenameByName {
			names = append(names, name)
		}
	}
	return names
}
