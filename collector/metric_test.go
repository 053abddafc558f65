package collector

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"

	"prefix_exporter/docs"
	"prefix_exporter/prefix"
)

func TestThePageHasTheMetricsOfTheTable(t *testing.T) {
	documented, err := docs.ParseMetrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Metrics() {
		i := slices.IndexFunc(documented, func(d docs.Metric) bool { return d.Name == m.Name })
		if i < 0 {
			t.Errorf("%s is not documented", m.Name)
			continue
		}
		want := docs.Metric{Name: m.Name, Types: []string{m.Type}, Labels: m.Labels, More: m.Name == PrefixInfo, Unit: m.Unit, Meaning: documented[i].Meaning}
		if m.Name == TargetRTT {
			want.Types = []string{typeSummary, typeHistogram}
		}
		if diff := cmp.Diff(want, documented[i]); diff != "" {
			t.Errorf("%s (-code +page):\n%s", m.Name, diff)
		}
	}
	for _, d := range documented {
		own := !strings.HasPrefix(d.Name, "prefix_exporter_") // those of other packages
		if own && !slices.ContainsFunc(Metrics(), func(m Metric) bool { return m.Name == d.Name }) {
			t.Errorf("%s is documented but not in the table", d.Name)
		}
	}
}

func TestAScrapeIsWhatThePageSays(t *testing.T) {
	for _, per := range []prefix.PerAddress{prefix.PerAddressNone, prefix.PerAddressNative} {
		h, _ := newHandler(smallTable(t, per, per), Options{})
		get(t, h, "", "") // for the metrics about the last scrape
		_, body := get(t, h, string(expfmt.FmtProtoDelim), "")
		wrong, _, err := docs.CompareMetrics(read(t, expfmt.FmtProtoDelim, body))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wrong {
			t.Error(w)
		}
	}
}

func TestTheTableIsSortedAndPlain(t *testing.T) {
	if !slices.IsSortedFunc(Metrics(), func(a, b Metric) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted by name")
	}
	for _, m := range Metrics() {
		if strings.ContainsAny(m.Help, "\\\"\n") || !strings.HasSuffix(m.Help, ".") { // the encoders do not escape it
			t.Errorf("%s: help %q", m.Name, m.Help)
		}
		if !strings.HasSuffix(strings.TrimSuffix(m.Name, "_total"), m.Unit) {
			t.Errorf("%s: unit %q", m.Name, m.Unit)
		}
	}
}
