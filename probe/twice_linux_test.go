package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/packet"
	"prefix_exporter/prefix"
)

// twice is how a network answers the echo requests to a group of addresses. from is their address.
type twice struct {
	name   string
	answer func(n *answering, request []byte)
	want   []string // the events of each probe, sorted
	// errors is how many ICMP errors of each probe are the reason for no loss.
	errors int
	cause  prefix.Cause  // of every loss; the zero Cause if there is none
	last   time.Duration // when its last answer comes, after the request
}

// answering is what the answers of one family are made of.
type answering struct {
	t           testing.TB
	inject      func([]byte) error
	near, far   netip.Addr // two routers
	unreachable byte       // the type of the ICMP error
	header      int        // of IP
	late        *sync.WaitGroup

	mu   sync.Mutex
	done map[string]time.Time // when the last answer to a request was written, by identify
}

func newAnswering(t testing.TB, l *netsim.Lab, near, far string, unreachable byte, header int) *answering {
	n := &answering{
		t: t, inject: l.Inject, near: netip.MustParseAddr(near), far: netip.MustParseAddr(far),
		unreachable: unreachable, header: header, late: &sync.WaitGroup{}, done: map[string]time.Time{},
	}
	t.Cleanup(n.late.Wait) // before the lab is closed
	return n
}

// written notes that a request has been answered.
func (n *answering) written(request string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done[request] = time.Now()
}

// onTime says whether the last answer to a request that left at a moment was written about when it should have been.
func (n *answering) onTime(request string, left time.Time, last time.Duration) bool {
	const much = 100 * time.Millisecond
	n.mu.Lock()
	defer n.mu.Unlock()
	done, ok := n.done[request]
	return ok && done.Sub(left) < last+much
}

func (n *answering) write(p []byte) {
	if err := n.inject(p); err != nil {
		n.t.Error(err)
	}
}

// addresses returns who sent a packet, and to whom.
func (n *answering) addresses(p []byte) (src, dst netip.Addr) {
	at, length := 12, 4
	if n.header == 40 {
		at, length = 8, 16
	}
	src, _ = netip.AddrFromSlice(p[at : at+length])
	dst, _ = netip.AddrFromSlice(p[at+length : at+2*length])
	return src, dst
}

// refuse has a router refuse a request, of which it quotes so much of the ICMP message.
func (n *answering) refuse(by netip.Addr, code byte, request []byte, quoted int) {
	src, _ := n.addresses(request)
	n.write(netsim.ErrorMessage(by, src, n.unreachable, code, request[:min(len(request), n.header+quoted)]))
}

// replyTo makes the reply to a request as its destination, or another, would send it.
func (n *answering) replyTo(request []byte, from netip.Addr) []byte {
	src, dst := n.addresses(request)
	if from.IsValid() {
		dst = from
	}
	m := request[n.header:]
	return netsim.EchoReply(dst, src, uint16(m[4])<<8|uint16(m[5]), uint16(m[6])<<8|uint16(m[7]), m[packet.HeaderLen:])
}

const whole = 1 << 10 // more than a request has

// everyWay are the networks that the addresses are in. Code 1 is one that both families have.
func everyWay(near, far netip.Addr, unreachable byte) []twice {
	says := func(by netip.Addr) prefix.Cause {
		return prefix.Cause{Outcome: prefix.Unreachable, By: by, Type: unreachable, Code: 1}
	}
	return []twice{
		{name: "refuses one copy, of which it quotes 8 bytes, before the other is answered", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 1, r, brief)
			n.write(n.replyTo(r, netip.Addr{}))
		}, want: []string{"answered"}, errors: 1},
		{name: "refuses one copy, and quotes it, before the other is answered", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 1, r, whole)
			n.write(n.replyTo(r, netip.Addr{}))
		}, want: []string{"answered"}, errors: 1},
		{name: "refuses one copy after the other is answered", answer: func(n *answering, r []byte) {
			n.write(n.replyTo(r, netip.Addr{}))
			n.refuse(n.near, 1, r, whole)
		}, want: []string{"answered"}, errors: 1},
		{name: "refuses one copy 100 ms before the other is answered", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 1, r, brief)
			n.after(100*time.Millisecond, n.name(r), n.replyTo(r, netip.Addr{}))
		}, want: []string{"answered"}, errors: 1, last: 100 * time.Millisecond},
		{name: "refuses all, and quotes 8 bytes", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 1, r, brief)
		}, want: []string{"unreachable"}, cause: says(near)},
		{name: "refuses all, and quotes them", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 1, r, whole)
		}, want: []string{"unreachable"}, cause: says(near)},
		{name: "has a router that sees the probe, and somebody who guesses", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 0, r, brief)
			n.refuse(n.far, 1, r, whole)
			n.refuse(n.near, 0, r, brief)
		}, want: []string{"unreachable"}, errors: 2, cause: says(far)},
		{name: "refuses one copy, and damages the cookie of the reply to the other", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 1, r, brief)
			r = slices.Clone(r)
			r[n.header+packet.MinEcho-1] ^= 1
			n.write(n.replyTo(r, netip.Addr{}))
		}, want: []string{"unreachable"}, cause: says(near)},
		{name: "refuses one copy, and answers the other from a wrong address", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 1, r, brief)
			n.write(n.replyTo(r, n.far))
		}, want: []string{"unmatched", "unreachable"}, cause: says(near)},
		{name: "refuses one copy, and answers the other after the timeout", answer: func(n *answering, r []byte) {
			n.refuse(n.near, 1, r, brief)
			n.after(600*time.Millisecond, n.name(r), n.replyTo(r, netip.Addr{}))
		}, want: []string{"late", "unreachable"}, cause: says(near), last: 600 * time.Millisecond},
		{name: "has somebody forge an error, who sees no sequence number", answer: func(n *answering, r []byte) {
			r = slices.Clone(r)
			r[n.header+7] += 9
			n.refuse(n.near, 1, r, brief)
		}, want: []string{"timeout"}, errors: 1, cause: prefix.Cause{Outcome: prefix.Timeout}},
		{name: "has somebody forge an error, who sees no cookie", answer: func(n *answering, r []byte) {
			r = slices.Clone(r)
			r[n.header+packet.MinEcho-1] ^= 1
			n.refuse(n.near, 1, r, whole)
		}, want: []string{"timeout"}, errors: 1, cause: prefix.Cause{Outcome: prefix.Timeout}},
	}
}

func (n *answering) after(d time.Duration, request string, p []byte) {
	n.late.Add(1)
	time.AfterFunc(d, func() {
		defer n.late.Done()
		n.write(p)
		n.written(request)
	})
}

// name names an echo request by its destination and sequence.
func (n *answering) name(request []byte) string {
	_, dst := n.addresses(request)
	return fmt.Sprint(dst, binary.BigEndian.Uint16(request[n.header+6:]))
}

// TestANetworkThatAnswersTwiceIsBelievedByWhatItShows has every request of 12 groups of addresses be answered in
// two ways.
func TestANetworkThatAnswersTwiceIsBelievedByWhatItShows(t *testing.T) {
	for _, family := range []struct {
		prefix, first, near, far string
		unreachable              byte
		header                   int
	}{
		{"192.0.2.0/24", "192.0.2.0", "10.6.6.6", "10.7.7.7", packet.Unreachable, 20},
		{"2001:db8::/120", "2001:db8::", "fd00:6::6", "fd00:7::7", packet.Unreachable6, 40},
	} {
		t.Run(family.prefix, func(t *testing.T) {
			eachMode(t, func(t *testing.T, b *bench) {
				l := lab(t, "{prefixes: ["+family.prefix+"], rules: [{silent: true}]}")
				n := newAnswering(t, l, family.near, family.far, family.unreachable, family.header)
				ways := everyWay(n.near, n.far, family.unreachable)
				const each = 16
				addrs := addresses(family.first, each*len(ways))
				place := map[netip.Addr]int{}
				for i, a := range addrs {
					place[a] = i / each
				}
				onPacket(t, func(p []byte) {
					if p[0]>>4 == 6 != (n.header == 40) || len(p) < n.header+packet.MinEcho {
						return
					}
					if kind := p[n.header]; kind != packet.EchoRequest && kind != packet.EchoRequest6 {
						return
					}
					if _, dst := n.addresses(p); dst.IsValid() {
						if i, ok := place[dst]; ok {
							ways[i].answer(n, slices.Clone(p))
							n.written(n.name(p))
						}
					}
				})
				b.apply(prefix.ExpectAll, targets(addrs, nil))
				b.run()
				b.asked(3)
				b.calm()
				n.late.Wait()
				b.settle(l)
				b.judge(l, n, ways, place)
			})
		})
	}
}

// judge holds what was said of each probe, and of each address, against what its network has shown. A probe that was answered
// later than that, on a busy machine, is not judged.
func (b *bench) judge(l *netsim.Lab, n *answering, ways []twice, place map[netip.Addr]int) {
	b.t.Helper()
	sent, errors := make([]int, len(ways)), 0
	last, late := map[netip.Addr]bool{}, 0 // whether the newest probe of an address is judged
	for _, p := range l.Truth() {
		i := place[p.Dst]
		way := &ways[i]
		k := probeKey{p.Dst, p.Seq}
		if last[p.Dst] = n.onTime(fmt.Sprint(p.Dst, p.Seq), b.handed(k), way.last); !last[p.Dst] {
			late++
			continue
		}
		sent[i]++
		errors += way.errors
		got := b.events(k)
		slices.Sort(got)
		if diff := cmp.Diff(way.want, got); diff != "" {
			b.t.Errorf("%s, which %s, sequence %d (-want +got)\n%s", p.Dst, way.name, p.Seq, diff)
		}
	}
	for a, s := range b.snapshot() {
		way := &ways[place[a]]
		if diff := cmp.Diff(way.cause, s.Cause, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); last[a] && late == 0 && diff != "" {
			b.t.Errorf("%s, which %s: cause (-want +got)\n%s", a, way.name, diff)
		}
	}
	for i, n := range sent {
		if n == 0 {
			b.control.Pace(b.t, "no probe met a network that %s", ways[i].name)
		}
	}
	if late == 0 {
		b.want(map[string]float64{"unmatched_replies_total error": float64(errors), "discarded_probes_total": 0})
	}
	b.unhealthy()
}

// TestADarkAddressSaysWhoRejectsIt has nobody ever answer, and half of the addresses be rejected.
func TestADarkAddressSaysWhoRejectsIt(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		l := lab(t, `
prefixes: [192.0.2.0/24]
rules:
  - {prefix: 192.0.2.0/25, silent: true}
  - {prefix: 192.0.2.128/25, unreachable: {code: prohibited, from: 192.0.2.1, quote: 8}}
`)
		b.apply(prefix.ExpectSeen, targets(addresses("192.0.2.0", 256), nil))
		b.run()
		b.asked(2)
		b.settle(l)
		b.compare(l)
		for a, s := range b.snapshot() {
			want := "timeout"
			if a.As4()[3] >= 128 {
				want = "administratively prohibited, says 192.0.2.1"
			}
			if s.Cause.String() == "timeout" && want != "timeout" { // the error came too late: see compare
				b.control.Pace(t, "%s is lost by %s, want %s", a, s.Cause, want)
				want = "timeout"
			}
			if s.State != prefix.Dark || s.Cause.String() != want {
				t.Errorf("%s is %v: %s, want dark: %s", a, s.State, s.Cause, want)
			}
		}
		b.unhealthy()
	})
}
