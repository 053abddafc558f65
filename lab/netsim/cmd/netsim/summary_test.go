package main

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
)

func TestSummaryCountsUnderTheMostSpecificPrefix(t *testing.T) {
	s := newSummary([]netip.Prefix{netip.MustParsePrefix("192.0.0.0/16"), netip.MustParsePrefix("192.0.2.0/24")})
	for i := range 100 {
		p := netsim.Packet{Dst: netip.MustParseAddr("192.0.2.7"), Verdict: netsim.Answered, ReadMono: 5}
		hold := int64(time.Duration(i+1) * time.Millisecond)
		p.Replies = []netsim.Reply{{Due: 5 + hold, WrittenMono: 5 + hold}}
		s.add(&p)
	}
	s.add(&netsim.Packet{Dst: netip.MustParseAddr("192.0.3.1"), Verdict: netsim.Silent})
	s.add(&netsim.Packet{Protocol: netsim.TCP, Dst: netip.MustParseAddr("192.0.2.9"), Verdict: netsim.Refused})
	s.add(&netsim.Packet{Dst: netip.MustParseAddr("10.0.0.1"), Verdict: netsim.Silent})
	var out strings.Builder
	s.print(&out, netsim.Stats{Stray: 1})
	for _, want := range []string{"192.0.0.0/16          1         1         0     0       1", "192.0.2.0/24          1       100       100", "192.0.2.0/24 tcp          1         1         0     0       0        1", "50.5ms", "100ms", "1 to addresses outside"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	h := s.rows[3].holds
	for q, want := range map[float64]float64{0.5: 0.050, 0.9: 0.090, 0.99: 0.099, 1: 0.1} {
		if got := h.quantile(q).Seconds(); math.Abs(got-want) > want*0.02 {
			t.Errorf("quantile %g: %g, want %g", q, got, want)
		}
	}
}
