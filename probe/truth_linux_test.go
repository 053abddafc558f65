package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// margin is how far an answer must be from the end of the timeout for the lab to say on which side of it it came: the
// kernel stamps it when the lab writes it, but it may stand in a queue when the loop looks.
const margin = 20 * time.Millisecond

// lateness says whether the first reply to a packet came after the timeout, by the lab's record; sure is false if it
// came too close to the end of it.
func (b *bench) lateness(p *netsim.Packet) (late, sure bool) {
	k := probeKey{p.Dst, p.Seq}
	timeout := b.timeout[p.Dst]
	shortest, longest := p.Bounds()
	if engine, ok := b.engine.(*batch); ok && engine.mode == transmitNone { // it only knows when it called the kernel
		longest += max(0, time.Unix(0, p.Arrived).Sub(b.handed(k)))
	}
	switch {
	case longest < timeout-margin:
		return false, true
	case shortest > timeout+margin:
		return true, true
	}
	return false, false
}

// handed is when a probe was handed to the kernel.
func (b *bench) handed(k probeKey) (at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.packets[k] {
		if p.Event == "sent" {
			at = p.Sent
		}
	}
	return at
}

// compare holds what the engine says of every single packet against what the lab knows.
// It returns how many ended in which way.
func (b *bench) compare(l *netsim.Lab) map[string]int { return b.compareOf(l, b.targets) }

// compareOf compares what was sent to some targets.
func (b *bench) compareOf(l *netsim.Lab, targets []Target) map[string]int {
	b.t.Helper()
	of := map[netip.Addr]bool{}
	for i := range targets {
		of[targets[i].Addr] = true
	}
	count := map[string]int{}
	wrong, seen := 0, 0
	for _, p := range l.Truth() {
		seen++
		if !of[p.Dst] {
			continue
		}
		got := b.events(probeKey{p.Dst, p.Seq})
		for _, e := range got {
			count[e]++
		}
		if !b.mayEnd(&p, got) {
			if wrong++; wrong <= 10 {
				late, sure := b.lateness(&p)
				b.t.Errorf("%s sequence %d: %v, but the lab says %v (%v, held %v)", p.Dst, p.Seq, got, endOf(&p, late && sure), p.Verdict, p.Hold())
			}
		}
	}
	if wrong > 10 {
		b.t.Errorf("… and %d more", wrong-10)
	}
	if sent := int(b.value("packets_sent_total")); sent != seen {
		b.t.Errorf("the engine sent %d packets, the lab saw %d", sent, seen)
	}
	return count
}

// mayEnd says whether a packet may have ended so, by the lab's record.
func (b *bench) mayEnd(p *netsim.Packet, got []string) bool {
	// A copy may be read in one go with its original, and is then told first.
	slices.Sort(got)
	if slices.Equal(got, []string{"discarded"}) && b.value("kernel_drops_total") > 0 {
		return true // nobody can know
	}
	late, sure := b.lateness(p)
	if p.Verdict == netsim.Unreachable || p.Verdict == netsim.TTLExceeded {
		sure = sure && !late // an ICMP error counts as long as the end of its probe has not been judged
	}
	return slices.Equal(got, endOf(p, late)) || !sure && slices.Equal(got, endOf(p, !late))
}

// noFalseLoss checks that nothing was lost, by the engine, that the lab has answered in time.
func (b *bench) noFalseLoss(l *netsim.Lab) {
	b.t.Helper()
	wrong := 0
	for _, p := range l.Truth() {
		got := b.events(probeKey{p.Dst, p.Seq})
		late, sure := b.lateness(&p)
		if p.Verdict != netsim.Answered || late || !sure || slices.Contains(got, "answered") || slices.Contains(got, "discarded") {
			continue
		}
		if wrong++; wrong <= 10 {
			b.t.Errorf("%s sequence %d: %v, but the lab has answered after %v", p.Dst, p.Seq, got, p.Hold())
		}
	}
	if wrong > 10 {
		b.t.Errorf("… and %d more", wrong-10)
	}
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

// endOf says what must be seen of a packet, by the lab's record, sorted; late: its first reply came after the timeout.
func endOf(p *netsim.Packet, late bool) (events []string) {
	switch p.Verdict {
	case netsim.Answered:
		if late {
			events = append(events, "timeout")
		}
		for i, r := range p.Replies {
			switch {
			case r.Corrupt != netsim.Intact:
			case i == 0 && late:
				events = append(events, "late")
			case len(events) > 0:
				events = append(events, "duplicate")
			default:
				events = append(events, "answered")
			}
		}
	case netsim.Unreachable, netsim.TTLExceeded:
		if !late {
			events = append(events, p.Verdict.String())
			break
		}
		events = append(events, "timeout")
	case netsim.WrongSource:
		events = append(events, "unmatched", "timeout")
	default:
		events = append(events, "timeout")
	}
	slices.Sort(events)
	return events
}

// modes are the ways in which the engine may have to work. mode lowers how transmit
// stamps are asked for; raw closes the unprivileged socket.
var modes = []struct {
	name   string
	engine string
	mode   transmitMode
	raw    bool
	rare   bool // see everyMode
}{
	{name: "dgram", engine: EngineBatch},
	{name: "raw", engine: EngineBatch, raw: true},
	{name: "kernel before 6.13", engine: EngineBatch, mode: transmitByLoop},
	{name: "raw on a kernel before 6.13", engine: EngineBatch, mode: transmitByLoop, raw: true, rare: true},
	{name: "no transmit stamps", engine: EngineBatch, mode: transmitNone, rare: true},
}

// eachMode runs a test in the usual modes of the batch engine, everyMode also in those that differ from these only in how
// packets are stamped.
func eachMode(t *testing.T, test func(t *testing.T, b *bench)) { inModes(t, false, test) }

func everyMode(t *testing.T, test func(t *testing.T, b *bench)) { inModes(t, true, test) }

func inModes(t *testing.T, rare bool, test func(t *testing.T, b *bench)) {
	for _, m := range modes {
		if m.rare && !rare {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			netsim.RequireLab(t)
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
	everyMode(t, func(t *testing.T, b *bench) {
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
  - {prefix: 198.51.100.64/26, reorder: {probability: 20%, delay: 150ms}}
  - {prefix: 198.51.100.128/26, corrupt: {probability: 20%, mode: flip}}
  - {prefix: 198.51.100.192/27, corrupt: {probability: 20%, mode: payload}}
  - {prefix: 198.51.100.224/27, corrupt: {probability: 20%, mode: truncate}}
  - {prefix: 203.0.113.0/28, silent: true}
  - {prefix: 203.0.113.16/28, unreachable: {code: host, from: 203.0.113.1}}
  - {prefix: 203.0.113.32/28, unreachable: {code: prohibited, from: 203.0.113.1, quote: 8}}
  - {prefix: 203.0.113.48/28, ttl_exceeded: {from: 203.0.113.1}}
  - {prefix: 203.0.113.64/28, ttl_exceeded: {from: 203.0.113.1, quote: 8}}
  - {prefix: 203.0.113.80/28, answer_from: 203.0.113.1}
  - {prefix: 203.0.113.96/28, rate_limit: {rate: 1/s, burst: 1}}
  - {prefix: 203.0.113.112/28, delay: 500ms}
  - {prefix: 203.0.113.128/28, duplicate: {probability: 50%, copies: 2, after: 450ms}}
`)
		addrs := slices.Concat(addresses("192.0.2.0", 256), addresses("198.51.100.0", 256), addresses("203.0.113.0", 256))
		b.apply(prefix.ExpectAll, targets(addrs, nil))
		b.run()
		b.asked(4)
		b.settle(l)
		count := b.compare(l)
		t.Log(count)
		for _, e := range []string{"answered", "timeout", "unreachable", "ttl_exceeded", "duplicate", "late", "unmatched"} {
			if count[e] == 0 {
				t.Errorf("no packet ended as %s: the test shows nothing of it", e)
			}
		}
		b.want(map[string]float64{
			"discarded_probes_total":  float64(count["discarded"]),
			"duplicate_replies_total": float64(count["duplicate"]), "late_replies_total": float64(count["late"]),
			"unmatched_replies_total source": float64(count["unmatched"]),
		})
		b.unhealthy()
		b.checkTable(b.targets)
	})
}

// checkTable holds the counters of the table against what was told of each packet, address by address.
func (b *bench) checkTable(targets []Target) {
	b.t.Helper()
	want := map[netip.Addr]*[prefix.Outcomes]uint64{}
	for i := range targets {
		want[targets[i].Addr] = &[prefix.Outcomes]uint64{}
	}
	for k := range b.packets {
		for _, e := range b.events(k) {
			for o := range prefix.Outcomes {
				if w := want[k.addr]; w != nil && prefix.Outcome(o).String() == e {
					w[o]++
				}
			}
		}
	}
	slots := b.snapshot()
	for a, w := range want {
		if slots[a].Counts != *w {
			b.t.Errorf("%s: counters %v, want %v", a, slots[a].Counts, *w)
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
		b.asked(3)
		b.settle(l)
		t.Log(b.compare(l))
		b.unhealthy()
	})
}

func TestRTTIsWhatTheLabHeld(t *testing.T) {
	everyMode(t, func(t *testing.T, b *bench) {
		if b.engine.(*batch).mode == transmitNone {
			t.Skip("exactness is promised where the kernel stamps")
		}
		l := lab(t, `
prefixes: [192.0.2.0/24]
rules:
  - {delay: 500us, spread: 200ms}
`)
		b.apply(prefix.ExpectSeen, targets(addresses("192.0.2.0", 256), nil))
		b.run()
		b.asked(3)
		b.settle(l)
		b.noFalseLoss(l)
		off := b.compareRTTs(l)
		if len(off) < 256 {
			t.Fatalf("only %d answers", len(off))
		}
		summary := fmt.Sprintf("RTT minus hold: min %v median %v p99 %v max %v of %d",
			off[0], off[len(off)/2], off[len(off)*99/100], off[len(off)-1], len(off))
		t.Log(summary)
		// How close they are on an idle machine is for the benchmark to tell.
		if middle := off[len(off)/2]; middle < -100*time.Microsecond || middle > time.Millisecond {
			b.control.Pace(t, "%s", summary)
		}
	})
}
