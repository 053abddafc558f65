package collector

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"prefix_exporter/prefix"
)

// epoch is when the tests take place.
var epoch = time.Unix(1_700_000_000, 0)

// probed is a probe that goes down after two losses and up after one answer.
func probed(kind prefix.Kind, port uint16, e prefix.Expect) prefix.TargetProbe {
	return prefix.TargetProbe{Probe: prefix.Probe{Kind: kind, Port: port}, DownAfter: 2, UpAfter: 1, Expect: e}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// record records outcomes one second apart; 0 is an answer after rtt.
func record(t testing.TB, table *prefix.Table, ip string, p prefix.Probe, rtt time.Duration, outcomes ...prefix.Outcome) {
	t.Helper()
	h, ok := table.Handle(addr(ip), p)
	if !ok {
		t.Fatalf("no slot for %s %v", ip, p)
	}
	for i, o := range outcomes {
		table.Record(h, epoch.Add(time.Duration(i)*time.Second), o, rtt)
	}
}

// randomName makes names that formats find hard to write, also such as are no UTF-8.
func randomName(r *rand.Rand) string {
	const letters = "az09 \\\"\n\t{},=#\u00e9\u20ac\U0001F600\xff\xc3"
	b := make([]byte, r.IntN(12))
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

// randomTable makes a table with random blocks and random results in it.
func randomTable(t testing.TB, r *rand.Rand) *prefix.Table {
	t.Helper()
	per := []prefix.PerAddress{prefix.PerAddressNone, prefix.PerAddressNative, prefix.PerAddressClassic}
	if r.IntN(2) == 0 {
		per = per[:1]
	}
	var blocks []prefix.Block
	for n := range r.IntN(4) {
		b := prefix.Block{
			Prefix:     netip.MustParsePrefix(fmt.Sprintf("192.0.%d.0/24", n)),
			Name:       randomName(r),
			Router:     randomName(r),
			PerAddress: per[r.IntN(len(per))],
			Buckets:    []float64{0.0001, 0.001, 0.01, 0.1, 1, 10}[:r.IntN(7)],
		}
		if r.IntN(2) == 0 {
			b.NominalRTT = time.Duration(r.IntN(1e9))
			b.Tenants = []string{"team-" + randomName(r), "y"}
			b.Labels = []prefix.Label{{Name: string(rune('a' + r.IntN(3))), Value: randomName(r)}}
		}
		b.Targets = randomTargets(r, b.Prefix.Addr())
		if r.IntN(4) == 0 {
			b.Prefix = netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/64", n))
			b.Targets = randomTargets(r, b.Prefix.Addr())
		}
		blocks = append(blocks, b)
	}
	table := prefix.NewTable(nil)
	table.Apply(blocks)
	for _, info := range table.Infos() {
		for _, target := range info.Targets {
			for _, p := range target.Probes {
				recordRandom(table, r, target.Addr, p.Probe)
			}
		}
	}
	if r.IntN(3) == 0 {
		forgetSome(table, r)
	}
	return table
}

// forgetSome makes the states of some addresses unknown.
func forgetSome(table *prefix.Table, r *rand.Rand) {
	later := time.Now().Add(time.Hour)
	for _, info := range table.Infos() {
		for _, target := range info.Targets {
			for _, p := range target.Probes {
				h, _ := table.Handle(target.Addr, p.Probe)
				switch r.IntN(3) {
				case 0:
					table.Record(h, later, prefix.Outcome(r.IntN(prefix.Outcomes)), time.Millisecond)
				case 1:
					table.Unmeasured(h, "ENOBUFS")
				}
			}
		}
	}
	table.Age(later)
}

func randomTargets(r *rand.Rand, a netip.Addr) (targets []prefix.Target) {
	for range r.IntN(20) {
		for range 1 + r.IntN(5) {
			a = a.Next()
		}
		target := prefix.Target{Addr: a, Name: randomName(r)}
		expect := func() prefix.Expect { return prefix.Expect(r.IntN(3)) }
		if r.IntN(4) > 0 {
			target.Probes = append(target.Probes, probed(prefix.ICMP, 0, expect()))
		}
		for _, port := range []uint16{22, 443} {
			if r.IntN(3) == 0 {
				target.Probes = append(target.Probes, probed(prefix.TCP, port, expect()))
			}
		}
		targets = append(targets, target)
	}
	return targets
}

func recordRandom(table *prefix.Table, r *rand.Rand, a netip.Addr, p prefix.Probe) {
	h, _ := table.Handle(a, p)
	alive := r.IntN(3)
	for i := range r.IntN(30) {
		o := prefix.Outcome(r.IntN(prefix.Outcomes))
		if alive == 0 {
			o = prefix.Timeout
		}
		rtt := time.Duration(r.ExpFloat64() * float64(50*time.Millisecond))
		if r.IntN(20) == 0 {
			rtt = 0
		}
		table.Record(h, epoch.Add(time.Duration(i)*time.Second), o, rtt)
	}
}
