package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/prefix"
)

// compare holds what the engine says of every single packet against what the lab knows.
// It returns how many ended in which way.
func (b *bench) compare(l *netsim.Lab) map[string]int {
	b.t.Helper()
	count := map[string]int{}
	wrong := 0
	for _, p := range l.Truth() {
		k := probeKey{p.Dst, p.Seq}
		got := b.events(k)
		want := eventsOf(&p)
		// A copy may be read in one go with its original, and is then told first.
		slices.Sort(got)
		slices.Sort(want)
		for _, e := range got {
			count[e]++
		}
		if !slices.Equal(got, want) {
			if wrong++; wrong <= 10 {
				b.t.Errorf("%s sequence %d: %v, but the lab says %v (%v, held %v)", p.Dst, p.Seq, got, want, p.Verdict, p.Hold())
			}
		}
	}
	if wrong > 10 {
		b.t.Errorf("… and %d more", wrong-10)
	}
	if sent, seen := int(b.value("packets_sent_total")), len(l.Truth()); sent != seen {
		b.t.Errorf("the engine sent %d packets, the lab saw %d", sent, seen)
	}
	return count
}

// compareRTTs holds every RTT against what the lab knows, and returns how much longer than its hold each
// was, sorted. However often the processor is taken away: the kernel's stamps are between those of the lab.
func (b *bench) compareRTTs(l *netsim.Lab) (off []time.Duration) {
	b.t.Helper()
	wrong, unstamped := 0, b.value("unstamped_replies_total")
	for _, p := range l.Truth() {
		for _, e := range b.packets[probeKey{p.Dst, p.Seq}] {
			if e.Event != "answered" {
				continue
			}
			off = append(off, e.RTT-p.Hold())
			x := p.Outside(e.RTT)
			if x > 0 && unstamped > 0 {
				unstamped-- // the engine's own clock, which is earlier than the kernel's, and says so
				continue
			}
			if x != 0 {
				if wrong++; wrong <= 10 {
					b.t.Errorf("%s sequence %d: RTT %v, %v outside of what it may be; held for %v", p.Dst, p.Seq, e.RTT, x, p.Hold())
				}
			}
		}
	}
	if wrong > 10 {
		b.t.Errorf("… and %d more", wrong-10)
	}
	slices.Sort(off)
	return off
}

// eventsOf says what must be seen of a packet, by the lab's record. Times out is 1 s.
func eventsOf(p *netsim.Packet) (events []string) {
	switch p.Verdict {
	case netsim.Answered:
		if p.Hold() > time.Second {
			events = append(events, "timeout")
		}
		for i, r := range p.Replies {
			switch {
			case r.Corrupt != netsim.Intact:
			case i == 0 && p.Hold() > time.Second:
				events = append(events, "late")
			case len(events) > 0:
				events = append(events, "duplicate")
			default:
				events = append(events, "answered")
			}
		}
	case netsim.Unreachable:
		events = append(events, "unreachable")
	case netsim.TTLExceeded:
		events = append(events, "ttl_exceeded")
	case netsim.WrongSource:
		events = append(events, "unmatched", "timeout")
	default:
		events = append(events, "timeout")
	}
	return events
}

// modes are the ways in which the engine may have to work. mode lowers how transmit
// stamps are asked for; raw closes the unprivileged socket.
var modes = []struct {
	name   string
	engine string
	mode   transmitMode
	raw    bool
	rare   bool // run only where there is time
}{
	{name: "dgram", engine: EngineBatch},
	{name: "raw", engine: EngineBatch, raw: true},
	{name: "kernel before 6.13", engine: EngineBatch, mode: transmitByLoop},
	{name: "raw on a kernel before 6.13", engine: EngineBatch, mode: transmitByLoop, raw: true, rare: true},
	{name: "no transmit stamps", engine: EngineBatch, mode: transmitNone, rare: true},
}

// eachMode runs a test in every mode of the batch engine.
func eachMode(t *testing.T, test func(t *testing.T, b *bench)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			netsim.RequireLab(t)
			if m.rare {
				testenv.RequireTime(t, 15*time.Minute) // for all modes of all tests
			}
			if m.raw {
				closePingGroups(t)
			}
			b := newBench(t, m.engine)
			b.engine.(*batch).mode = m.mode
			test(t, b)
			kind := map[bool]string{false: "dgram", true: "raw"}[m.raw]
			if b.value("sockets", kind) == 0 {
				t.Errorf("no %s socket was used", kind)
			}
		})
	}
}

// closePingGroups takes the right to unprivileged ICMP sockets from this network namespace.
func closePingGroups(t *testing.T) {
	setSysctl(t, "/proc/sys/net/ipv4/ping_group_range", "1 0")
}

func TestEveryPacketEndsAsTheLabSays(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		l := lab(t, `
seed: 42
prefixes: [192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24]
rules:
  - delay: 20ms
    jitter: 5ms
  - {prefix: 192.0.2.0/26, loss: 0.1%}
  - {prefix: 192.0.2.64/26, loss: 1%}
  - {prefix: 192.0.2.128/26, loss: 10%}
  - {prefix: 192.0.2.192/26, loss: {burst: {enter: 5%, leave: 30%}}}
  - {prefix: 198.51.100.0/26, duplicate: 30%}
  - {prefix: 198.51.100.64/26, reorder: {probability: 20%, delay: 300ms}}
  - {prefix: 198.51.100.128/26, corrupt: {probability: 20%, mode: flip}}
  - {prefix: 198.51.100.192/27, corrupt: {probability: 20%, mode: payload}}
  - {prefix: 198.51.100.224/27, corrupt: {probability: 20%, mode: truncate}}
  - {prefix: 203.0.113.0/28, silent: true}
  - {prefix: 203.0.113.16/28, unreachable: {code: host, from: 203.0.113.1}}
  - {prefix: 203.0.113.32/28, unreachable: {code: prohibited, from: 203.0.113.1, quote: 8}}
  - {prefix: 203.0.113.48/28, ttl_exceeded: {from: 203.0.113.1}}
  - {prefix: 203.0.113.64/28, ttl_exceeded: {from: 203.0.113.1, quote: 8}}
  - {prefix: 203.0.113.80/28, answer_from: 203.0.113.1}
  - {prefix: 203.0.113.96/28, rate_limit: {rate: 0.5/s, burst: 1}}
  - {prefix: 203.0.113.112/28, delay: 1200ms}
  - {prefix: 203.0.113.128/28, duplicate: {probability: 50%, copies: 3, after: 1500ms}}
`)
		addrs := slices.Concat(addresses("192.0.2.0", 256), addresses("198.51.100.0", 256), addresses("203.0.113.0", 256))
		b.apply(prefix.ExpectAll, targets(addrs, nil))
		b.run()
		time.Sleep(4 * time.Second)
		b.settle(l)
		time.Sleep(time.Second)
		count := b.compare(l)
		t.Log(count)
		for _, e := range []string{"answered", "timeout", "unreachable", "ttl_exceeded", "duplicate", "late", "unmatched"} {
			if count[e] == 0 {
				t.Errorf("no packet ended as %s: the test shows nothing of it", e)
			}
		}
		b.want(map[string]float64{
			"kernel_drops_total": 0, "discarded_probes_total": 0,
			"duplicate_replies_total": float64(count["duplicate"]), "late_replies_total": float64(count["late"]),
			"unmatched_replies_total source": float64(count["unmatched"]),
		})
		b.unhealthy()
		b.checkTable(l)
	})
}

// checkTable holds the counters of the table against the lab's record, address by address.
func (b *bench) checkTable(l *netsim.Lab) {
	b.t.Helper()
	want := map[netip.Addr]*[prefix.Outcomes]uint64{}
	for _, p := range l.Truth() {
		if want[p.Dst] == nil {
			want[p.Dst] = &[prefix.Outcomes]uint64{}
		}
		for _, e := range eventsOf(&p) {
			for o := range prefix.Outcomes {
				if prefix.Outcome(o).String() == e {
					want[p.Dst][o]++
				}
			}
		}
	}
	var snap prefix.Snapshot
	for _, s := range b.table.Series() {
		s.Snapshot(&snap)
		for i := range snap.Slots {
			if w := want[snap.Addrs[i]]; w != nil && snap.Slots[i].Counts != *w {
				b.t.Errorf("%s: counters %v, want %v", snap.Addrs[i], snap.Slots[i].Counts, *w)
			}
		}
	}
}

func TestIPv6EndsAsTheLabSays(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		l := lab(t, `
seed: 6
prefixes: [2001:db8::/120]
rules:
  - delay: 10ms
  - {prefix: 2001:db8::/122, loss: 10%}
  - {prefix: 2001:db8::40/124, unreachable: {code: 3, from: 2001:db8::1}}
  - {prefix: 2001:db8::50/124, ttl_exceeded: {from: 2001:db8::1}}
  - {prefix: 2001:db8::60/124, silent: true}
  - {prefix: 2001:db8::70/124, duplicate: 50%}
  - {prefix: 2001:db8::80/124, corrupt: {probability: 50%, mode: flip}}
`)
		b.apply(prefix.ExpectAll, targets(addresses("2001:db8::", 256), nil))
		b.run()
		time.Sleep(3 * time.Second)
		b.settle(l)
		t.Log(b.compare(l))
		b.unhealthy()
	})
}

func TestRTTIsWhatTheLabHeld(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		if b.engine.(*batch).mode == transmitNone {
			t.Skip("exactness is promised where the kernel stamps")
		}
		l := lab(t, `
prefixes: [192.0.2.0/24]
rules:
  - {delay: 500us, spread: 300ms}
`)
		b.apply(prefix.ExpectSeen, targets(addresses("192.0.2.0", 256), nil))
		b.run()
		time.Sleep(3 * time.Second)
		b.settle(l)
		off := b.compareRTTs(l)
		if len(off) < 512 {
			t.Fatalf("only %d answers", len(off))
		}
		summary := fmt.Sprintf("RTT minus hold: min %v median %v p99 %v max %v of %d",
			off[0], off[len(off)/2], off[len(off)*99/100], off[len(off)-1], len(off))
		t.Log(summary)
		// How close they are on an idle machine is for the benchmark to tell.
		if middle := off[len(off)/2]; middle < -100*time.Microsecond || middle > time.Millisecond {
			t.Error(summary)
		}
	})
}
