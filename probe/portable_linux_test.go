package probe

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// TestBothEnginesSayTheSame runs the two engines one after the other through the same
// network of 500 addresses and holds both against its record.
func TestBothEnginesSayTheSame(t *testing.T) {
	for _, m := range []struct {
		name, engine string
		raw          bool
	}{
		{name: "batch", engine: EngineBatch},
		{name: "pro-bing", engine: EngineProBing},
		{name: "pro-bing on raw sockets", engine: EngineProBing, raw: true},
	} {
		t.Run(m.name, func(t *testing.T) {
			netsim.RequireLab(t)
			if m.raw {
				closePingGroups(t)
			}
			b := newBench(t, m.engine)
			l := lab(t, `
seed: 500
prefixes: [198.51.100.0/23]
rules:
  - {delay: 30ms, spread: 100ms, loss: 2%}
  - {prefix: 198.51.100.0/27, duplicate: 50%}
  - {prefix: 198.51.100.32/27, silent: true}
  - {prefix: 198.51.100.64/28, unreachable: {code: host, from: 198.51.100.1}}
  - {prefix: 198.51.100.80/28, ttl_exceeded: {from: 198.51.100.1}}
  - {prefix: 198.51.100.96/28, answer_from: 198.51.100.1}
  - {prefix: 198.51.100.112/28, corrupt: {probability: 50%, mode: flip}}
`)
			b.apply(prefix.ExpectAll, targets(addresses("198.51.100.0", 500), eachSecond))
			b.run()
			b.asked(2)
			b.settle(l)
			b.checkAnswers(l, m.raw && m.engine == EngineProBing)
			if m.engine == EngineProBing && b.value("timestamping", "user") != 2 {
				t.Error("it does not say that it has no kernel timestamps")
			}
		})
	}
}

// checkAnswers holds what both engines can know against the lab's record: how many probes of
// each address were answered, and how many lost. Only batch knows why. uncheckedSums is for a
// library that looks at no ICMP checksum, and raw sockets deliver damaged replies too.
func (b *bench) checkAnswers(l *netsim.Lab, uncheckedSums bool) {
	b.t.Helper()
	if _, ok := b.engine.(*batch); ok {
		b.compare(l)
	}
	type sums struct{ answered, seen uint64 }
	want, discarded := map[netip.Addr]sums{}, map[netip.Addr]uint64{}
	for _, p := range l.Truth() {
		w := want[p.Dst]
		if w.seen++; p.Verdict == netsim.Answered {
			w.answered++
		}
		want[p.Dst] = w
		if slices.Contains(b.events(probeKey{p.Dst, p.Seq}), "discarded") {
			discarded[p.Dst]++
		}
	}
	if len(want) < 500 {
		b.t.Errorf("only %d addresses were asked", len(want))
	}
	damaged := netip.MustParsePrefix("198.51.100.112/28")
	for a, s := range b.snapshot() {
		if uncheckedSums && damaged.Contains(a) {
			continue
		}
		got := sums{s.Counts[prefix.Answered], s.Sent() + discarded[a]}
		switch {
		case got.seen != want[a].seen, got.answered > want[a].answered:
			b.t.Errorf("%s: %+v, the lab says %+v", a, got, want[a])
		case got.answered < want[a].answered: // too late: by the lab, or by the clock of the process
			b.control.Pace(b.t, "%s: %+v, the lab says %+v", a, got, want[a])
		}
	}
	for k, packets := range b.packets {
		for _, p := range packets {
			if p.Event == "answered" && (p.RTT < 30*time.Millisecond || p.RTT > time.Second) {
				b.t.Errorf("%v: RTT %v, want 30 ms to 130 ms and what a busy machine adds", k, p.RTT)
			}
		}
	}
}

func TestPortableEngineSpeaksIPv6(t *testing.T) {
	b := newBench(t, EngineProBing)
	l := lab(t, `{prefixes: [2001:db8::/120], rules: [{delay: 10ms}, {prefix: 2001:db8::80/121, silent: true}]}`)
	b.apply(prefix.ExpectSeen, targets(addresses("2001:db8::", 256), eachSecond))
	b.run()
	b.asked(2)
	b.settle(l)
	b.checkAnswered(l)
	up := 0
	for _, s := range b.snapshot() {
		if s.State == prefix.Up {
			up++
		}
	}
	if up > 128 {
		t.Errorf("%d up, want 128", up)
	}
	if up < 128 || b.lost() != 0 {
		b.control.Pace(t, "%d up and %d lost, want 128 and 0", up, b.lost())
	}
}
