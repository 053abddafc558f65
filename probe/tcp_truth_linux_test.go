package probe

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
)

// connectionKey names one attempt as the lab sees it.
type connectionKey struct {
	to   netip.AddrPort
	from uint16
	isn  uint32
}

// connections sorts the SYNs that the lab has read into attempts, in the order of each port.
func connections(l *netsim.Lab) map[netip.AddrPort][][]netsim.Packet {
	place := map[connectionKey]int{}
	all := map[netip.AddrPort][][]netsim.Packet{}
	for _, p := range l.Truth(netsim.TCP) {
		to := netip.AddrPortFrom(p.Dst, p.DstPort)
		key := connectionKey{to, p.SrcPort, p.ISN}
		i, seen := place[key]
		if !seen {
			i = len(all[to])
			place[key] = i
			all[to] = append(all[to], nil)
		}
		all[to][i] = append(all[to][i], p)
	}
	return all
}

// TestEveryConnectionEndsAsTheLabSays compares each attempt, and its RTT, with what the lab did
// to its SYNs.
func TestEveryConnectionEndsAsTheLabSays(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	l := lab(t, `
seed: 7
prefixes: [198.51.100.0/24]
rules:
  - {delay: 30ms, spread: 100ms, port: 80, tcp: open}
  - {prefix: 198.51.100.0/26, protocol: tcp, loss: 30%}
  - {prefix: 198.51.100.64/28, protocol: tcp, port: 80, tcp: refused}
  - {prefix: 198.51.100.80/28, protocol: tcp, port: 80, tcp: silent}
  - {prefix: 198.51.100.96/28, protocol: tcp, port: 80, tcp: reset_early}
  - {prefix: 198.51.100.112/28, protocol: tcp, unreachable: {code: port, from: 198.51.100.1, quote: 8}}
  - {prefix: 198.51.100.128/28, protocol: tcp, unreachable: {code: prohibited, from: 198.51.100.1}}
  - {prefix: 198.51.100.144/28, protocol: tcp, ttl_exceeded: {from: 198.51.100.1}}
`)
	list := tcpTargets(addresses("198.51.100.0", 256), func(t *TCPTarget) {
		t.Interval, t.Timeout = 1500*time.Millisecond, 1400*time.Millisecond
	}, 80)
	b.apply(list)
	b.run()
	b.asked(2)
	b.settle()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.Quiesce(ctx); err != nil {
		t.Fatal(err)
	}
	truth := connections(l)
	count, late := map[string]int{}, 0
	var off []time.Duration // of RTTs that the kernel measured to the microsecond
	for i := range list {
		key := list[i].key()
		var begun, ends []Packet
		for _, p := range b.attempts[key] {
			switch p.Event {
			case "sent":
				begun = append(begun, p)
			case "skipped":
			default:
				ends = append(ends, p)
			}
		}
		if len(ends) != len(truth[key]) || len(begun) != len(ends) {
			t.Errorf("%s: %d attempts, %d ends, the lab has seen %d", key, len(begun), len(ends), len(truth[key]))
			continue
		}
		for n, syns := range truth[key] {
			last := syns[len(syns)-1]
			want, got := expectedEnd(key.Addr(), last), ends[n].Event
			if disturbed(begun[n], syns) { // the kernel sends again what it waits too long for
				late++
				if got != want && got != "timeout" {
					t.Errorf("%s attempt %d: %s, the lab says %s, and late", key, n, got, want)
				}
				continue
			}
			if got != want {
				t.Errorf("%s attempt %d: %s, the lab says %s (%v, %d SYNs)", key, n, got, want, last.Verdict, len(syns))
			}
			count[want]++
			if want != "answered" {
				continue
			}
			over := ends[n].RTT - time.Duration(last.Replies[0].WrittenMono-last.ArrivedMono)
			if len(syns) == 1 {
				off = append(off, over)
			} else if count["sent again"]++; over < -2*time.Millisecond || over > 500*time.Millisecond { // the first SYN was a second earlier
				t.Errorf("%s attempt %d: RTT %v after %d SYNs, %v more than the last was held", key, n, ends[n].RTT, len(syns), over)
			}
		}
	}
	slices.Sort(off)
	t.Log(count, "RTT minus hold: min", off[0], "p50", off[len(off)/2], "p99", off[len(off)*99/100], "max", off[len(off)-1])
	if off[0] < -100*time.Microsecond {
		t.Errorf("RTT %v shorter than the lab made it", -off[0])
	}
	if off[len(off)/2] > time.Millisecond || off[len(off)*99/100] > 20*time.Millisecond {
		b.control.Pace(t, "RTTs are not those that the lab made")
	}
	for _, end := range []string{"answered", "refused", "timeout", "reset", "unreachable", "ttl_exceeded", "sent again"} {
		if count[end] == 0 {
			t.Errorf("no attempt was %s", end)
		}
	}
	if got := b.value("retransmitted_probes_total") - float64(count["sent again"]); got < 0 || got > float64(late) {
		t.Errorf("%v SYNs too many are said to have been sent again, %d attempts met a late answer", got, late)
	}
	b.unhealthy()
}

// disturbed says whether the lab has seen or answered a SYN of an attempt so much later than it should that the kernel, or
// the timeout, may have been faster.
func disturbed(begun Packet, syns []netsim.Packet) bool {
	const much = 200 * time.Millisecond
	if time.Unix(0, syns[0].Arrived).Sub(begun.Sent) > much {
		return true
	}
	return slices.ContainsFunc(syns, func(p netsim.Packet) bool { return p.Hold() > p.Delay()+much })
}

// expectedEnd is what the last SYN of an attempt makes of it.
func expectedEnd(a netip.Addr, last netsim.Packet) string {
	host := a.As4()[3]
	switch {
	case last.Verdict == netsim.Lost || host >= 80 && host < 96:
		return "timeout"
	case host >= 64 && host < 80:
		return "refused"
	case host >= 96 && host < 112:
		return "reset"
	case host >= 112 && host < 144:
		return "unreachable"
	case host >= 144 && host < 160:
		return "ttl_exceeded"
	}
	return "answered"
}
