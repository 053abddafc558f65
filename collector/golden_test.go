package collector

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"prefix_exporter/prefix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// smallTable has every state once.
func smallTable(t testing.TB, per ...prefix.PerAddress) *prefix.Table {
	t.Helper()
	icmp := probed(prefix.ICMP, 0, prefix.ExpectSeen)
	https := probed(prefix.TCP, 443, prefix.ExpectAll)
	table := prefix.NewTable(nil)
	err := table.Restore(strings.NewReader(`{"format":"prefix_exporter known addresses","version":1}
{"ip":"192.0.2.5","probe":"icmp","state":"down","last_answer":1690000000}
`))
	if err != nil {
		t.Fatal(err)
	}
	table.Apply([]prefix.Block{{
		Prefix: netip.MustParsePrefix("192.0.2.0/24"), Name: "PAR-1", Router: "PA2", NominalRTT: 40 * time.Millisecond,
		Tenants: []string{"team-a", "team-b"}, Labels: []prefix.Label{{Name: "site", Value: "paris"}},
		PerAddress: per[0], Buckets: []float64{0.001, 0.01, 0.1},
		Targets: []prefix.Target{
			{Addr: addr("192.0.2.1"), Name: "up \"mail\" \\ \n\xff", Probes: []prefix.TargetProbe{icmp, https}},
			{Addr: addr("192.0.2.2"), Name: "down", Probes: []prefix.TargetProbe{icmp, https}},
			{Addr: addr("192.0.2.3"), Name: "dark", Probes: []prefix.TargetProbe{icmp, https}},
			{Addr: addr("192.0.2.4"), Name: "never expected", Probes: []prefix.TargetProbe{probed(prefix.ICMP, 0, prefix.ExpectNone)}},
			{Addr: addr("192.0.2.5"), Name: "down since before the restart", Probes: []prefix.TargetProbe{icmp}},
		},
	}, {
		Prefix: netip.MustParsePrefix("2001:db8::/64"), Labels: []prefix.Label{{Name: "zone", Value: "z"}},
		PerAddress: per[1], Buckets: []float64{0.001, 0.01, 0.1},
		Targets: []prefix.Target{{Addr: addr("2001:db8::1"), Probes: []prefix.TargetProbe{icmp}}},
	}})
	ping, connect := prefix.Probe{}, prefix.Probe{Kind: prefix.TCP, Port: 443}
	record(t, table, "192.0.2.1", ping, 1500*time.Microsecond, prefix.Answered, prefix.Answered, prefix.Timeout)
	record(t, table, "192.0.2.1", connect, 20*time.Millisecond, prefix.Answered, prefix.Refused)
	record(t, table, "192.0.2.2", ping, 150*time.Microsecond, prefix.Answered, prefix.Timeout, prefix.TTLExceeded)
	rejected, _ := table.Handle(addr("192.0.2.2"), ping)
	table.Reject(rejected, epoch, prefix.Cause{Outcome: prefix.Unreachable, By: addr("198.51.100.1"), Type: 3, Code: 0})
	record(t, table, "192.0.2.2", connect, 0, prefix.Timeout, prefix.TTLExceeded, prefix.Reset)
	record(t, table, "192.0.2.3", ping, 0, prefix.Timeout, prefix.Timeout)
	record(t, table, "192.0.2.4", ping, time.Millisecond, prefix.Answered, prefix.Timeout, prefix.Timeout)
	record(t, table, "2001:db8::1", ping, 250*time.Millisecond, prefix.Answered)
	return table
}

func TestScrapeIsTheGoldenFile(t *testing.T) {
	for _, test := range []struct {
		file string
		per  []prefix.PerAddress
	}{
		{"scrape.golden", []prefix.PerAddress{prefix.PerAddressNone, prefix.PerAddressNone}},
		{"histograms.golden", []prefix.PerAddress{prefix.PerAddressClassic, prefix.PerAddressNative}},
	} {
		t.Run(test.file, func(t *testing.T) {
			c := New(smallTable(t, test.per...), smallRoutes())
			got := string(scraped(t, c, expfmt.FmtText))
			path := filepath.Join("testdata", test.file)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			problems, err := promlint.New(strings.NewReader(got)).Lint()
			if err != nil {
				t.Error(err)
			}
			for _, p := range problems {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		})
	}
}

// scraped is a whole scrape: of prefixes, of addresses and of routes.
func scraped(t testing.TB, c *Collector, format expfmt.Format) []byte {
	t.Helper()
	var st state
	st.read(c.table, c.cache)
	return encode(t, c, format, gathered(t, prefixes{&st, c.descs}, routes{c.routes, c.descs})...)
}

func TestFamiliesAreSortedByName(t *testing.T) {
	c := New(smallTable(t, prefix.PerAddressNone, prefix.PerAddressNone), smallRoutes())
	last := ""
	for line := range strings.Lines(string(scraped(t, c, expfmt.FmtText))) {
		name, ok := strings.CutPrefix(line, "# TYPE ")
		if !ok {
			continue
		}
		if name <= last {
			t.Errorf("%q comes after %q", name, last)
		}
		last = name
	}
}
