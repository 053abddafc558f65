package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// uids are what links from outside name: alerts, bookmarks, other dashboards. They
// never change.
func uids() map[string]string {
	return map[string]string{
		"overview.json": "prefix-overview",
		"wall.json":     "prefix-wall",
		"prefix.json":   "prefix-24",
		"address.json":  "prefix-ip",
		"routes.json":   "prefix-routes",
		"pulse.json":    "prefix-pulse",
		"exporter.json": "prefix-exporter",
	}
}

func load(t *testing.T) []Dashboard {
	t.Helper()
	all, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// each runs a test on every dashboard.
func each(t *testing.T, test func(*testing.T, Dashboard)) {
	t.Helper()
	for _, d := range load(t) {
		t.Run(d.UID, func(t *testing.T) { test(t, d) })
	}
}

func TestUIDsNeverChange(t *testing.T) {
	got := map[string]string{}
	titles := map[string]bool{}
	for _, d := range load(t) {
		got[d.File] = d.UID
		if d.Title == "" || titles[d.Title] {
			t.Errorf("%s: title %q is empty or twice", d.File, d.Title)
		}
		titles[d.Title] = true
	}
	if diff := cmp.Diff(uids(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What an export for sharing puts in has to be answered by hand at each import, and
// provisioning cannot.
func TestFilesCanBeProvisionedAsTheyAre(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		text, err := Text(d.File)
		if err != nil {
			t.Fatal(err)
		}
		for _, foreign := range []string{`"__inputs"`, `"__requires"`, `${DS_`, `"id": null`, `"iteration"`} {
			if bytes.Contains(text, []byte(foreign)) {
				t.Errorf("it has %s", foreign)
			}
		}
		// Grafana 9.4 writes 37 and reads 38 as well; all newer ones migrate what is older.
		if d.SchemaVersion != 38 {
			t.Errorf("schemaVersion is %d, want 38", d.SchemaVersion)
		}
	})
}

func TestFilesAreReadable(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		text, err := Text(d.File)
		if err != nil {
			t.Fatal(err)
		}
		// Two spaces of indent, the order of the keys as it is, and no escapes for < and >.
		var indented bytes.Buffer
		if err := json.Indent(&indented, bytes.TrimSpace(text), "", "  "); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(indented.String()+"\n", string(text)); diff != "" {
			t.Errorf("is not indented by two spaces (-want +got):\n%.2000s", diff)
		}
		if m := regexp.MustCompile(`\\u00[23]\w`).Find(text); m != nil {
			t.Errorf("%s: write the character", m)
		}
	})
}

func TestPanelsHaveAnIDAndAPlaceOfTheirOwn(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		seen := map[int]bool{}
		for _, p := range d.AllPanels() {
			if p.ID <= 0 || seen[p.ID] {
				t.Errorf("panel %q: id %d is not positive or is there twice", p.Title, p.ID)
			}
			seen[p.ID] = true
			if g := p.GridPos; g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				t.Errorf("panel %d %q: lies outside of the grid: %+v", p.ID, p.Title, g)
			}
			// Inside a row places count from where the row is, once it is open.
			overlap(t, p.Panels)
		}
		overlap(t, d.Panels)
	})
}

// overlap says which panels lie upon each other.
func overlap(t *testing.T, panels []Panel) {
	t.Helper()
	for i, p := range panels {
		for _, q := range panels[i+1:] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("panels %d %q and %d %q overlap", p.ID, p.Title, q.ID, q.Title)
			}
		}
	}
}

func TestEveryQueryAsksTheChosenDataSource(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		if v := d.Templating.List[0]; v.Name != "ds" || v.Type != "datasource" || v.Query() != "prometheus" {
			t.Fatalf("the first variable is %+v, want a data source", v)
		}
		check := func(what string, got *DataSource) {
			t.Helper()
			if diff := cmp.Diff(&DataSource{Type: "prometheus", UID: "${ds}"}, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				check("variable "+v.Name, v.DataSource)
			}
		}
		for _, a := range d.Annotations.List {
			if a.BuiltIn == nil {
				check("annotation "+a.Name, a.DataSource)
			}
		}
		for _, p := range d.AllPanels() {
			if p.Type != "row" {
				check(fmt.Sprintf("panel %d", p.ID), p.DataSource)
			}
			for _, q := range p.Targets {
				check(fmt.Sprintf("panel %d %s", p.ID, q.RefID), q.DataSource)
				if q.Instant == q.Range {
					t.Errorf("panel %d %s: is both or neither of instant and range", p.ID, q.RefID)
				}
			}
		}
	})
}

// link is where a title, a tile, a cell or the line above all leads to.
var link = regexp.MustCompile(`"url": "([^"]*)"`)

func TestEveryLinkLeadsSomewhereAndTellsItWhatItHasToKnow(t *testing.T) {
	variables := map[string][]string{}
	for _, d := range load(t) {
		for _, v := range d.Templating.List {
			variables[d.UID] = append(variables[d.UID], v.Name)
		}
	}
	each(t, func(t *testing.T, d Dashboard) {
		text, err := Text(d.File)
		if err != nil {
			t.Fatal(err)
		}
		reached := map[string]bool{d.UID: true}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", m[1], err)
				continue
			}
			uid, ok := strings.CutPrefix(u.Path, "/d/")
			if !ok || variables[uid] == nil {
				t.Errorf("%s: leads to no dashboard of ours", m[1])
				continue
			}
			reached[uid] = true
			if !strings.Contains(u.RawQuery, "${ds:queryparam}") {
				t.Errorf("%s: forgets the data source", m[1])
			}
			if !strings.Contains(u.RawQuery, "${router:queryparam}") {
				t.Errorf("%s: forgets the router", m[1])
			}
			// The wall has many prefixes, all others one or none.
			one := func(uid string) bool { return slices.Contains(variables[uid], "prefix") && uid != "prefix-wall" }
			if one(d.UID) && one(uid) && !regexp.MustCompile(`\$\{prefix:queryparam\}|var-prefix=`).MatchString(u.RawQuery) {
				t.Errorf("%s: forgets the prefix", m[1])
			}
			for _, set := range regexp.MustCompile(`(?:^|&)(?:var-(\w+)=|\$\{(\w+):queryparam\})`).FindAllStringSubmatch(u.RawQuery, -1) {
				if name := set[1] + set[2]; !slices.Contains(variables[uid], name) {
					t.Errorf("%s: %s has no variable %s", m[1], uid, name)
				}
			}
		}
		for _, uid := range uids() {
			if !reached[uid] {
				t.Errorf("no link to %s", uid)
			}
		}
	})
}

func TestLinksToOtherDashboardsKeepTheTime(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		text, err := Text(d.File)
		if err != nil {
			t.Fatal(err)
		}
		var raw struct {
			Links []struct {
				URL         string
				KeepTime    bool
				IncludeVars bool
			}
		}
		if err := json.Unmarshal(text, &raw); err != nil {
			t.Fatal(err)
		}
		for _, l := range raw.Links {
			// includeVars would hand the many prefixes of the wall to a page of one.
			if !l.KeepTime || l.IncludeVars {
				t.Errorf("%s: keepTime is %v, includeVars %v", l.URL, l.KeepTime, l.IncludeVars)
			}
		}
	})
}

// The first data source by its name need not be the one that has the exporter.
func TestTheDefaultDataSourceIsChosenAtFirst(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		text, err := Text(d.File)
		if err != nil {
			t.Fatal(err)
		}
		var raw struct {
			Templating struct {
				List []struct {
					Name    string
					Current any
				}
			}
		}
		if err := json.Unmarshal(text, &raw); err != nil {
			t.Fatal(err)
		}
		want := any(map[string]any{"selected": true, "text": "default", "value": "default"})
		if diff := cmp.Diff(want, raw.Templating.List[0].Current); diff != "" {
			t.Errorf("the data source (-want +got):\n%s", diff)
		}
	})
}

// 9.4 shows the links of a heatmap's data nowhere, and newer ones only in a tooltip: the title has to lead there too.
func TestTitlesOfHeatmapsLeadWhereTheirDataDoes(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			for i, f := range fields(t, p) {
				if p.Type != "heatmap" || i > 0 || len(f.Links) == 0 {
					continue
				}
				if len(p.Links) != 1 || strings.Split(p.Links[0].URL, "?")[0] != strings.Split(f.Links[0].URL, "?")[0] {
					t.Errorf("panel %d %q: its title leads to %v, its data to %v", p.ID, p.Title, p.Links, f.Links)
				}
			}
		}
	})
}

// What names a prefix or an address leads to it.
func TestWhatNamesAPrefixLeadsThere(t *testing.T) {
	each(t, func(t *testing.T, d Dashboard) {
		for _, p := range d.AllPanels() {
			if p.Type != "status-history" && p.Type != "stat" && p.Type != "table" {
				continue
			}
			for _, q := range p.Targets {
				labels := p.Type != "table" && (strings.Contains(q.Legend, "{{name}}") || strings.Contains(q.Legend, "{{t}}") || strings.Contains(q.Legend, "{{prefix}}") || strings.Contains(q.Legend, "{{h}}"))
				named := labels && p.ID != 1 || p.Type == "table" && slices.Contains(columns(t, p), "Prefix")
				if named && !slices.ContainsFunc(fields(t, p), func(f field) bool { return len(f.Links) > 0 }) {
					t.Errorf("panel %d %q %s: leads nowhere", p.ID, p.Title, q.RefID)
				}
			}
		}
	})
}
