package prefix

import (
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// epoch is when the tests take place, on a full minute.
var epoch = time.Unix(1_700_000_040, 0)

var (
	ping = Probe{Kind: ICMP}
	http = Probe{Kind: TCP, Port: 80}
)

// rule is a probe that goes down after three losses and up after one answer.
func rule(p Probe, e Expect) TargetProbe {
	return TargetProbe{Probe: p, DownAfter: 3, UpAfter: 1, Expect: e, DarkAfter: time.Hour}
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// blockOf describes a block whose addresses are all probed in the same way.
func blockOf(p string, addrs []string, probes ...TargetProbe) Block {
	b := Block{Prefix: netip.MustParsePrefix(p), Buckets: []float64{0.001, 0.1}}
	for _, a := range addrs {
		b.Targets = append(b.Targets, Target{Addr: ip(a), Probes: probes})
	}
	return b
}

// one is a table with one address.
func one(t testing.TB, p TargetProbe, onChange func(Change)) (*Table, Handle) {
	t.Helper()
	table := NewTable(onChange)
	table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.7"}, p)})
	return table, handle(t, table, "192.0.2.7", p.Probe)
}

func handle(t testing.TB, table *Table, addr string, p Probe) Handle {
	t.Helper()
	h, ok := table.Handle(ip(addr), p)
	if !ok {
		t.Fatalf("no slot for %s %v", addr, p)
	}
	return h
}

// slot is a copy of the slot of an address.
func slot(t testing.TB, table *Table, addr string, p Probe) Slot {
	t.Helper()
	s, place, ok := table.Find(ip(addr), p)
	if !ok {
		t.Fatalf("no slot for %s %v", addr, p)
	}
	var snap Snapshot
	s.Snapshot(&snap)
	return snap.Slots[place]
}
