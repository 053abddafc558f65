//go:build !race

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"prefix_exporter/dashboards"
	"prefix_exporter/lab/netsim"
)

// What happens to the prefixes of dashboardScenario.
const (
	wellPrefix   = "192.0.2.0/24"
	silentPrefix = "198.51.100.0/24"
	lossyPrefix  = "203.0.113.0/24"
	darkPrefix   = "198.18.7.0/24"
	sixPrefix    = "2001:db8::/120"
)

// dashboardScenario has what the dashboards show: a prefix that is well, one that falls
// silent, one that loses and whose path changes, one that is dark, and an IPv6 one without a name.
const dashboardScenario = `
seed: 4
prefixes: [192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 198.18.7.0/24, "2001:db8::/120"]
rules:
  - {delay: 10ms, jitter: 2ms}
  - {port: 80, tcp: open}
  - {prefix: 192.0.2.128/25, silent: true}
  - {prefix: 203.0.113.0/24, loss: 10%}
  - {prefix: 198.18.7.0/24, silent: true}
routes:
  - {prefix: 192.0.2.0/24, hops: [10.0.0.1, 10.0.0.2]}
  - {prefix: 198.51.100.0/24, hops: [10.0.0.1, 10.0.0.3]}
  - {prefix: 203.0.113.0/24, hops: [10.0.0.1, {router: 10.0.0.4, loss: 20%}, 10.0.0.5]}
`

// dashboardConfig connects and traces more often than one would, so that each counter has
// moved when a test has not waited for long.
const dashboardConfig = `
defaults:
  tcp: {ports: [80, 443], interval: 5s, timeout: 2s}
  trace: {interval: 5s, max_hops: 8, timeout: 1s}
prefixes:
  - {prefix: 192.0.2.0/24, name: Well, router: PA2, tenants: [team-a, team-b], nominal_rtt: 10ms, names: {192.0.2.0: gateway}, histograms: {per_address: classic}}
  - {prefix: 198.51.100.0/24, name: Outage, router: LO1, tenants: [team-a], nominal_rtt: 10ms}
  - {prefix: 203.0.113.0/24, name: Lossy, router: PA2, nominal_rtt: 2ms}
  - {prefix: 198.18.7.0/24, addresses: [198.18.7.1, 198.18.7.2], name: Dark, router: LO1, trace: {addresses: [198.18.7.1]}}
  - {prefix: "2001:db8::/120", router: LO1, nominal_rtt: 10ms}
`

// mayBeEmpty says why a query rightly finds nothing in the scenario, with this choice of
// variables; empty: it has to find something.
func mayBeEmpty(q dashboards.Query, c dashboards.Choice) string {
	chosen := func(name string) string {
		if v := c.Values[name]; len(v.Options) == 1 && !v.All {
			return v.Options[0].Value
		}
		return ""
	}
	asks := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(q.Expr, w) })
	}
	prefix, ip, port, router := chosen("prefix"), chosen("ip"), chosen("port"), chosen("router")
	about := func(p string) bool { return prefix == p }
	switch {
	case asks(`!~"x{$mode}"`) && !asks(`=~"x{$mode}"`) && chosen("mode") == "0", asks(`=~"x{$mode}"`) && !asks(`!~"x{$mode}"`) && chosen("mode") == "1":
		return "it is for the other colouring"
	case asks(`state="unknown"`):
		return "everything is measured"
	case about(darkPrefix) && asks("rtt", "sent_total", "lost_total", "route_hop", "prefix:availability"):
		return "nothing in it has ever answered"
	case strings.HasPrefix(q.Place, `panel 13 "State since"`) && (about(darkPrefix) || ip != "" && about(wellPrefix) && netip.MustParseAddr(ip).As4()[3] >= 128):
		return "what has never answered is in no state"
	case asks("prefix_target_rtt_seconds_bucket") && !strings.Contains(q.Expr, "\n  or sum(rate(") && !about(wellPrefix):
		return "one prefix has histograms of its addresses"
	case asks(`name!=""`) && q.Instant && !about(wellPrefix):
		return "one prefix has addresses with names"
	case asks("prefix_target:down", "== 0 and prefix_target_sent_total") && (prefix != "" && !about(silentPrefix) || router == "PA2"):
		return "what is down is in one prefix"
	case q.Dashboard == "prefix-exporter" && strings.HasPrefix(q.Place, "annotation"):
		return "the exporter is not restarted, and is well"
	case q.Dashboard == "prefix-exporter" && asks("send_errors_total"):
		return "everything can be sent"
	case q.Dashboard == "prefix-pulse" && q.MinStep == "$grain":
		return "its cells end with the hour"
	case strings.HasPrefix(q.Place, "annotation") && (prefix != "" && !about(lossyPrefix) || router != ""):
		return "one path changes, and not all have alerts"
	case asks("hop_loss_ratio") && strings.Contains(q.Expr, "> 0") && !about(lossyPrefix):
		return "one path has a router that does not always answer"
	case asks("prefix:availability:ratio{probe=\"icmp\"} < 0.5") && router != "":
		return "one prefix is down"
	case about(silentPrefix) && asks("rtt_seconds", "rtt_nominal", "prefix_route_hops{"):
		return "what is down has no RTT, and no path that reaches it"
	case port == "443" && asks("rtt_seconds", "sent_total", "lost_total", "prefix:availability"):
		return "nobody has ever opened this port"
	case about(wellPrefix) && ip != "" && netip.MustParseAddr(ip).As4()[3] >= 128 && asks("rtt_seconds", "sent_total", "lost_total"):
		return "this half has never answered"
	}
	return ""
}

// TestDashboardsFindWhatTheyAskFor runs the queries of all panels,
// annotations and variables as Grafana would, with each value of each variable, against a real
// Prometheus with the shipped configuration and rules.
func TestDashboardsFindWhatTheyAskFor(t *testing.T) {
	lab := startLab(t, dashboardScenario)
	e := startExporter(t, dashboardConfig)
	p := startShippedPrometheus(t, []string{exporterAddress}, []string{"127.0.0.1:9"})
	twins := startTwinPrometheus(t)
	// Two scrapes, so that what follows is a change to Prometheus as well.
	await(t, 2*time.Minute, "each prefix has been traced and scraped twice", func() string {
		if n, _ := p.number(`count(count_over_time(prefix_route_changes_total[1m]) >= 2)`); n < 5 {
			return fmt.Sprintf("%v of 5", n)
		}
		return ""
	})
	setRule(t, lab, silence(true, silentPrefix))
	if _, err := lab.SetRoute(netsim.Route{
		Prefixes: []netip.Prefix{netip.MustParsePrefix(lossyPrefix)},
		Paths:    []netsim.Path{{Hops: []netsim.Hop{{Router: netip.MustParseAddr("10.0.0.1")}, {Router: netip.MustParseAddr("10.0.0.6")}}}},
	}); err != nil {
		t.Fatal(err)
	}
	all, err := dashboards.Load()
	if err != nil {
		t.Fatal(err)
	}
	// Recording rules run once a minute, windows reach back over one, and the steps of a
	// minute are those of the clock.
	deadline := time.Now().Add(3 * time.Minute)
	for _, d := range all {
		t.Run(d.UID, func(t *testing.T) { findsAll(t, e, p, d, deadline) })
	}
	t.Run("colours say what has happened", func(t *testing.T) {
		cellsAreRight(t, p, all)
		tilesAreRight(t, p, all)
		pathsAreRight(t, p, all)
		alertsAreCountedOnce(t, p, all)
		neverIsNotDown(t, p, all)
		downSince(t, p, all)
	})
	t.Run("two exporters of one prefix", func(t *testing.T) { twoExporters(t, twins, all) })
	t.Run("what is not measured is unknown", func(t *testing.T) { isUnknown(t, twins, all) })
	e.end()
	t.Run("a dead exporter is a red tile, and nothing else", func(t *testing.T) { deadExporter(t, p, all) })
}

// findsAll runs all queries of a dashboard until each has found something.
func findsAll(t *testing.T, e *exporter, p *prometheus, d dashboards.Dashboard, deadline time.Time) {
	t.Helper()
	left := queriesOf(t, p, d)
	for {
		e.alive()
		p.alive()
		left = stillEmpty(t, p, left)
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(5 * time.Second) // a third of a scrape interval
	}
	for _, q := range left {
		t.Errorf("%v, %s: finds nothing: %s", q.query, q.choice.About, q.sent)
	}
}

// cellsAreRight looks at the newest column of some blocks of 64 addresses.
func cellsAreRight(t *testing.T, p *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	for _, c := range []struct {
		panel, about string
		least, most  float64
	}{
		{firstBlock, "prefix=" + silentPrefix, -1, -1},  // no answer
		{thirdBlock, "prefix=" + wellPrefix, -2, -2},    // never answered
		{secondBlock, "prefix=" + wellPrefix, 0.8, 1.9}, // 10 ms, give and take 2 ms, of 10 ms
		{firstBlock, "prefix=" + sixPrefix, 0.8, 1.9},   // with the address that ends with a colon
		{secondBlock, "prefix=" + lossyPrefix + ", mode=0", -0.5, 40},
	} {
		values := lastColumn(t, p, all, "prefix-24", c.panel, c.about)
		if len(values) != 64 {
			t.Errorf("%s, %s: %d addresses, want 64", c.panel, c.about, len(values))
		}
		sum := 0.0
		for labels, v := range values {
			sum += v
			if v < c.least || v > c.most {
				t.Errorf("%s, %s: %s is %v, want %v to %v", c.panel, c.about, labels, v, c.least, c.most)
			}
		}
		// 64 addresses lose 10 % of 75 echoes each: 0.43 % is a standard deviation.
		if mean := sum / 64; strings.Contains(c.about, "mode=0") && (mean < 7 || mean > 13) {
			t.Errorf("%s, %s: %.1f %% are lost, want 10 %%", c.panel, c.about, mean)
		}
	}
}

// tilesAreRight looks at the tiles of Overview, and in which of its classes they are.
func tilesAreRight(t *testing.T, p *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	tiles := lastColumn(t, p, all, "prefix-overview", "Now, worst first", "at first")
	if len(tiles) != 5 {
		t.Errorf("%d tiles, want 5", len(tiles))
	}
	for labels, v := range tiles {
		is := func(label string) bool { return strings.Contains(labels, label) }
		switch {
		case is(`name="Outage"`) && (v < 51 || !is(`a="1"`)),
			is(`name="Lossy"`) && (v < 4 || is(`a="4"`)),
			is(`name="Dark"`) && (v != -1 || !is(`a="5"`)),
			is(`name="Well"`) && (v > 2 || !is(`a="4"`)),
			is(sixPrefix) && (v > 2 || !is(`a="4"`) || !is(`t="`+sixPrefix+`"`)):
			t.Errorf("the tile %s is %v", labels, v)
		}
	}
}

// pathsAreRight looks at Routes: which path changed, and where it leads now.
func pathsAreRight(t *testing.T, p *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	for panel, want := range map[string]float64{"Prefixes traced": 5, "Not reached now": 1, "Path changes, range": 1, "Prefixes with a change": 1} {
		if got := lastColumn(t, p, all, "prefix-routes", panel, "at first"); len(got) != 1 || got["{}"] != want {
			t.Errorf("%s: %v, want %v", panel, got, want)
		}
	}
	var routers []string
	for labels := range lastColumn(t, p, all, "prefix-24", "Last trace", "prefix="+lossyPrefix) {
		routers = append(routers, labels)
	}
	// The address at its end, which loses, may or may not answer the newest trace.
	if way := strings.Join(routers, " "); len(routers) > 3 || !strings.Contains(way, `router="10.0.0.1"`) || !strings.Contains(way, `router="10.0.0.6"`) || strings.Contains(way, "10.0.0.4") {
		t.Errorf("the last trace of the prefix whose path changed: %s", way)
	}
}

// deadExporter waits until the exporter, which has ended, is missed.
func deadExporter(t *testing.T, p *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	value := func(panel string) string {
		return fmt.Sprint(lastColumn(t, p, all, "prefix-overview", panel, "at first"))
	}
	await(t, time.Minute, "the page tells of the exporter, and of no prefix any more", func() string {
		if exporter, tiles := value("Exporter"), value("Now, worst first"); exporter != "map[{}:0]" || tiles != "map[]" {
			return exporter + " " + tiles
		}
		return ""
	})
	for _, panel := range []string{"Prefixes", "Addresses", "Loss", "Worst × ref.", "Worst prefixes now"} {
		if got := value(panel); got != "map[]" {
			t.Errorf("%s: %s, want nothing", panel, got)
		}
	}
	alertsAreCountedOnce(t, p, all)
	// What was before is still there.
	for panel, uid := range map[string]string{
		minuteByMinute: "prefix-overview", "RTT ÷ reference, the 5 worst": "prefix-overview", "Loss, the 5 worst": "prefix-overview",
		"Paths": "prefix-routes", "Path changes: blue = the path changed in these minutes": "prefix-routes",
	} {
		if got := lastColumn(t, p, all, uid, panel, "at first"); len(got) < 3 {
			t.Errorf("%s: %d series, want those of the last hour", panel, len(got))
		}
	}
}

// lastColumn opens a dashboard and returns the newest values of a panel.
func lastColumn(t *testing.T, p *prometheus, all []dashboards.Dashboard, uid, panel, about string) map[string]float64 {
	t.Helper()
	return open(t, p, all, uid, about).last(panel)
}

// opened is a dashboard with a choice of variables.
type opened struct {
	t         *testing.T
	client    dashboards.Client
	dashboard dashboards.Dashboard
	choice    dashboards.Choice
}

// open opens a dashboard; about is what is chosen.
func open(t *testing.T, p *prometheus, all []dashboards.Dashboard, uid, about string) opened {
	t.Helper()
	i := slices.IndexFunc(all, func(d dashboards.Dashboard) bool { return d.UID == uid })
	if i < 0 {
		t.Fatalf("no dashboard %s", uid)
	}
	c := p.now()
	return opened{t, c, all[i], chosen(t, c, all[i], about)}
}

// last returns the newest value of each series of the first query of a panel that finds something.
func (p opened) last(panel string) map[string]float64 {
	p.t.Helper()
	values := map[string]float64{}
	for _, column := range p.columns(panel) {
		if len(values) == 0 {
			values = column
		}
	}
	return values
}

// columns runs the queries of a panel, and returns the newest value of each series of each.
func (p opened) columns(panel string) (columns []map[string]float64) {
	p.t.Helper()
	for _, q := range p.dashboard.Queries() {
		if !strings.Contains(q.Place, `"`+panel+`"`) {
			continue
		}
		answer, err := p.client.Run(p.t.Context(), q, p.choice)
		if err != nil {
			p.t.Fatal(err)
		}
		values := map[string]float64{}
		switch answer := answer.(type) {
		case model.Matrix:
			for _, s := range answer {
				values[s.Metric.String()] = float64(s.Values[len(s.Values)-1].Value)
			}
		case model.Vector:
			for _, s := range answer {
				values[s.Metric.String()] = float64(s.Value)
			}
		}
		columns = append(columns, values)
	}
	if columns == nil {
		p.t.Fatalf("%s: no panel %q", p.dashboard.UID, panel)
	}
	return columns
}

// chosen returns the choice of that name. A choice behind a comma is made on top of the one before it.
func chosen(t *testing.T, c dashboards.Client, d dashboards.Dashboard, about string) dashboards.Choice {
	t.Helper()
	choices, err := c.Choices(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	var made dashboards.Choice
	for i, name := range strings.Split(about, ", ") {
		at := slices.IndexFunc(choices, func(c dashboards.Choice) bool { return c.About == name })
		if at < 0 {
			t.Fatalf("%s: no choice %q", d.UID, name)
		}
		if i == 0 {
			made = choices[at]
			continue
		}
		variable, _, _ := strings.Cut(name, "=")
		made.About += ", " + name
		made.Values[variable] = choices[at].Values[variable]
	}
	return made
}

// asked is a query with a choice of variables.
type asked struct {
	query  dashboards.Query
	choice dashboards.Choice
	sent   string
}

// now is Grafana with the last hour on its screen.
func (p *prometheus) now() dashboards.Client {
	to := time.Now()
	return dashboards.Client{API: p.api, From: to.Add(-time.Hour), To: to, Scrape: 15 * time.Second}
}

// queriesOf returns all queries of a dashboard, with each value of each variable that they use.
func queriesOf(t *testing.T, p *prometheus, d dashboards.Dashboard) (all []asked) {
	t.Helper()
	c := p.now()
	choices, err := c.Choices(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Templating.List {
		if o := choices[0].Values[v.Name].Options; v.Name != "port" && (len(o) == 0 || o[0].Value == "") {
			t.Errorf("variable %s has no values", v.Name)
		}
	}
	seen := map[string]bool{}
	for _, q := range d.Queries() {
		for _, choice := range choices {
			sent, _, err := c.Prepare(q, choice)
			if err != nil {
				t.Fatal(err)
			}
			// The place is part of the key: two panels may ask the same over other times.
			if key := q.Place + sent; !seen[key] {
				seen[key] = true
				all = append(all, asked{q, choice, sent})
			}
		}
	}
	return all
}

// stillEmpty runs queries, all of which must be answered, and returns those that find
// nothing although they should.
func stillEmpty(t *testing.T, p *prometheus, queries []asked) (left []asked) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	c := p.now()
	for _, q := range queries {
		answer, err := c.Run(ctx, q.query, q.choice)
		if err != nil {
			t.Fatal(err)
		}
		if dashboards.Samples(answer) == 0 && mayBeEmpty(q.query, q.choice) == "" {
			left = append(left, q)
		}
	}
	return left
}
