package probe

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
)

func TestARouteIsTracedAtOnceWhenItIsAskedFor(t *testing.T) {
	l := lab(t, "prefixes: [192.0.2.0/24]\nroutes:\n  - {prefix: 192.0.2.0/24, hops: [10.0.0.1, 10.0.0.2]}\n")
	b := newTraceBench(t, nil)
	target := traceTarget(TraceICMP, "192.0.2.7")
	target.Interval, target.Timeout = time.Hour, 200*time.Millisecond
	b.apply(target)
	b.run()
	silent := true
	if _, err := l.SetRule(netsim.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Silent: &silent}); err != nil {
		t.Fatal(err)
	}
	b.tracer.Hurry(netip.MustParsePrefix("192.0.2.0/24"))
	b.tracer.Hurry(netip.MustParsePrefix("192.0.2.0/24"))
	b.tracer.Hurry(netip.MustParsePrefix("198.51.100.0/24"))
	b.wait(0, hurryRounds)
	b.stop()
	if n := b.count(); n != hurryRounds {
		t.Errorf("%d rounds, want %d", n, hurryRounds)
	}
	want := slices.Repeat([]string{"*"}, target.MaxHops)
	want[0], want[1] = "10.0.0.1", "10.0.0.2"
	for n, r := range b.rounds {
		if got := line(r); !slices.Equal(got, want) && !b.mayShow(l, n, want) {
			t.Errorf("%v", got)
		}
	}
}
