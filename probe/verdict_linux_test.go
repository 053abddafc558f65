package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"prefix_exporter/netsim"
	"prefix_exporter/packet"
	"prefix_exporter/prefix"
)

// trial plays what may happen to the probes of one address, on a clock of its own.
type trial struct {
	*prefix.Table // the rest of a Recorder

	t      *testing.T
	clock  *handClock
	batch  *batch
	slot   *slot
	socket *socket
	said   []string // what was recorded
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	tr := &trial{Table: prefix.NewTable(nil), t: t, clock: newHandClock()}
	b, err := newBatchEngine(Options{
		Recorder: tr, Logger: log.NewNopLogger(), Registerer: prometheus.NewRegistry(), Health: NewHealth(time.Now),
	}, tr.clock.read)
	if err != nil {
		t.Fatal(err)
	}
	tr.batch = b
	tr.socket = &socket{fd: -1}
	tr.slot = &slot{
		target: target(netip.MustParseAddr("192.0.2.7")), used: true, socket: tr.socket, serial: 41,
		queue: &deadlines{timeout: int64(time.Second), targets: 1},
	}
	b.slots, b.list = []*slot{tr.slot}, []*socket{tr.socket}
	b.byAddr[tr.slot.target.Addr] = tr.slot
	b.queues[time.Second] = tr.slot.queue
	return tr
}

// Record implements Recorder.
func (tr *trial) Record(_ prefix.Handle, _ time.Time, o prefix.Outcome, rtt time.Duration) {
	if o == prefix.Answered {
		tr.said = append(tr.said, fmt.Sprint("answered in ", rtt))
		return
	}
	tr.said = append(tr.said, o.String())
}

// Reject implements Recorder.
func (tr *trial) Reject(_ prefix.Handle, _ time.Time, why prefix.Cause) {
	tr.said = append(tr.said, why.String())
}

// pass lets time go by, and turns the loop at its end.
func (tr *trial) pass(d time.Duration) {
	tr.clock.pass(d)
	tr.batch.clock.update()
	tr.batch.settle(tr.batch.clock.now)
	tr.batch.expire(tr.batch.clock.now)
}

func (tr *trial) send() {
	tr.batch.overtake(tr.slot)
	tr.slot.launch(tr.slot.next(), tr.batch.clock.now, tr.socket.drops)
}

// request is the echo request of the probe that is so many before the newest.
func (tr *trial) request(age uint32) []byte {
	b := make([]byte, packet.HeaderLen+tr.slot.target.Size)
	packet.Fill(b, packet.EchoRequest)
	tr.batch.key.PutEcho(b, 0, packet.Tag{Serial: tr.slot.serial - age})
	return b
}

// refuse has a router say of a probe that its host is unreachable (code 1) or prohibited (10).
func (tr *trial) refuse(by string, code byte, age uint32, quoted int) {
	tr.batch.icmpError(tr.socket, tr.request(age)[:quoted], tr.slot.target.Addr,
		prefix.Cause{By: netip.MustParseAddr(by), Type: packet.Unreachable, Code: code})
}

func (tr *trial) reply(age uint32) {
	b := tr.request(age)
	b[0] = packet.EchoReply
	e, err := tr.batch.key.ParseEcho(b, packet.EchoReply)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.batch.reply(tr.socket, 0, e, len(b), tr.slot.target.Addr, tr.batch.clock.now)
}

func (tr *trial) drop() { tr.socket.drops++ }

const (
	brief = packet.HeaderLen // what a router quotes by RFC 792
	full  = packet.MinEcho   // with the cookie
)

func TestAnICMPErrorIsAReasonAndNoVerdict(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name string
		play func(tr *trial)
		want []string
		// errors are those that turn out to be the reason for no loss.
		errors, late, duplicates float64
	}{
		{"no answer at all is a timeout", func(tr *trial) {
			tr.send()
			tr.pass(time.Second)
		}, []string{"timeout"}, 0, 0, 0},
		{"an error says nothing before the deadline", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(999 * ms)
		}, nil, 0, 0, 0},
		{"an error is the reason at the deadline", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 0, 0},
		{"an error that quotes 8 bytes is one too", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 10, 0, brief)
			tr.pass(time.Second)
		}, []string{"host prohibited, says 10.0.0.1"}, 0, 0, 0},
		{"a reply wins over an error before it", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(20 * ms)
			tr.reply(0)
			tr.pass(time.Second)
		}, []string{"answered in 20ms"}, 1, 0, 0},
		{"a reply wins over an error behind it", func(tr *trial) {
			tr.send()
			tr.pass(20 * ms)
			tr.reply(0)
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.pass(time.Second)
		}, []string{"answered in 20ms"}, 1, 0, 0},
		{"an error after a reply that is recorded changes nothing", func(tr *trial) {
			tr.send()
			tr.pass(20 * ms)
			tr.reply(0)
			tr.pass(20 * ms)
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
		}, []string{"answered in 20ms"}, 1, 0, 0},
		{"of two errors the one with the cookie gives the reason", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.refuse("10.0.0.2", 10, 0, full)
			tr.pass(time.Second)
		}, []string{"host prohibited, says 10.0.0.2"}, 1, 0, 0},
		{"also if it comes first", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.2", 10, 0, full)
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.pass(time.Second)
		}, []string{"host prohibited, says 10.0.0.2"}, 1, 0, 0},
		{"of two equal errors the first gives the reason", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.refuse("10.0.0.2", 10, 0, brief)
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 1, 0, 0},
		{"a reply after the timeout does not undo a loss", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
			tr.reply(0)
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 1, 0},
		{"a reply that is too late, read before the deadline is judged, leaves the reason", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.clock.pass(time.Second + ms)
			tr.batch.clock.update()
			tr.reply(0)
			tr.pass(0)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 1, 0},
		{"an error after the timeout is about nothing", func(tr *trial) {
			tr.send()
			tr.pass(time.Second)
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
		}, []string{"timeout"}, 1, 0, 0},
		{"a second reply after an error is a duplicate", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.reply(0)
			tr.reply(0)
			tr.pass(20 * ms)
			tr.reply(0)
		}, []string{"answered in 0s"}, 1, 0, 2},
		{"what our kernel dropped makes a silent probe unknown", func(tr *trial) {
			tr.send()
			tr.drop()
			tr.pass(time.Second)
		}, []string{"discarded"}, 0, 0, 0},
		{"what our kernel dropped does not silence an error", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, brief)
			tr.drop()
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 0, 0},
		{"more to read than can be read does not silence an error", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.batch.blind = true
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 0, 0},
		{"an answer waits until the refused probe before it is judged", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(999 * ms)
			tr.send()
			tr.reply(0)
			tr.batch.settle(tr.batch.clock.now)
			if len(tr.said) != 0 {
				tr.t.Errorf("recorded before its predecessor: %v", tr.said)
			}
			tr.pass(ms)
		}, []string{"host unreachable, says 10.0.0.1", "answered in 0s"}, 0, 0, 0},
		{"the reply to a refused probe is recorded before the next one", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(990 * ms)
			tr.send()
			tr.reply(0)
			tr.reply(1)
			tr.pass(ms)
		}, []string{"answered in 990ms", "answered in 0s"}, 1, 0, 0},
		{"the error of one probe is not that of the next", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.pass(time.Second)
			tr.send()
			tr.pass(time.Second)
			tr.send()
			tr.pass(time.Second)
		}, []string{"host unreachable, says 10.0.0.1", "timeout", "timeout"}, 0, 0, 0},
		{"a refused probe that is not judged in time is lost when the one behind the next leaves", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.clock.pass(time.Second) // more to read than can be: nothing is judged
			tr.batch.clock.update()
			tr.send()
			tr.clock.pass(time.Second)
			tr.batch.clock.update()
			tr.send()
		}, []string{"host unreachable, says 10.0.0.1"}, 0, 0, 0},
		{"a refused probe that is overtaken before its deadline is unknown", func(tr *trial) {
			tr.send()
			tr.refuse("10.0.0.1", 1, 0, full)
			tr.send()
			tr.send()
		}, []string{"discarded"}, 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr := newTrial(t)
			tr.batch.clock.update()
			test.play(tr)
			m := tr.batch.metrics
			for range int(testutil.ToFloat64(m.discarded.WithLabelValues(discardKernelDrop)) + testutil.ToFloat64(m.discarded.WithLabelValues(discardFlood)) + testutil.ToFloat64(m.discarded.WithLabelValues(discardOvertaken))) {
				tr.said = append(tr.said, "discarded")
			}
			if diff := cmp.Diff(test.want, tr.said); diff != "" {
				t.Errorf("recorded (-want +got)\n%s", diff)
			}
			got := [3]float64{testutil.ToFloat64(m.unmatchedError), testutil.ToFloat64(m.late), testutil.ToFloat64(m.duplicate)}
			if diff := cmp.Diff([3]float64{test.errors, test.late, test.duplicates}, got); diff != "" {
				t.Errorf("errors without a loss, late replies, duplicates (-want +got)\n%s", diff)
			}
		})
	}
}

// twice is how a network answers the echo requests to a group of addresses. from is their address.
type twice struct {
	name   string
	answer func(n *network, request []byte)
	want   []string // the events of each probe, sorted
	// errors is how many ICMP errors of each probe are the reason for no loss.
	errors int
	cause  prefix.Cause // of every loss; the zero Cause if there is none
}

// network is what the answers of one family are made of.
type network struct {
	t           testing.TB
	inject      func([]byte) error
	near, far   netip.Addr // two routers
	unreachable byte       // the type of the ICMP error
	header      int        // of IP
	late        *sync.WaitGroup
}

func (n *network) write(p []byte) {
	if err := n.inject(p); err != nil {
		n.t.Error(err)
	}
}

// addresses returns who sent a packet, and to whom.
func (n *network) addresses(p []byte) (src, dst netip.Addr) {
	at, length := 12, 4
	if n.header == 40 {
		at, length = 8, 16
	}
	src, _ = netip.AddrFromSlice(p[at : at+length])
	dst, _ = netip.AddrFromSlice(p[at+length : at+2*length])
	return src, dst
}

// refuse has a router refuse a request, of which it quotes so much of the ICMP message.
func (n *network) refuse(by netip.Addr, code byte, request []byte, quoted int) {
	src, _ := n.addresses(request)
	n.write(netsim.ErrorMessage(by, src, n.unreachable, code, request[:min(len(request), n.header+quoted)]))
}

// replyTo makes the reply to a request as its destination, or another, would send it.
func (n *network) replyTo(request []byte, from netip.Addr) []byte {
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
		{name: "refuses one copy, of which it quotes 8 bytes, before the other is answered", answer: func(n *network, r []byte) {
			n.refuse(n.near, 1, r, brief)
			n.write(n.replyTo(r, netip.Addr{}))
		}, want: []string{"answered"}, errors: 1},
		{name: "refuses one copy, and quotes it, before the other is answered", answer: func(n *network, r []byte) {
			n.refuse(n.near, 1, r, whole)
			n.write(n.replyTo(r, netip.Addr{}))
		}, want: []string{"answered"}, errors: 1},
		{name: "refuses one copy after the other is answered", answer: func(n *network, r []byte) {
			n.write(n.replyTo(r, netip.Addr{}))
			n.refuse(n.near, 1, r, whole)
		}, want: []string{"answered"}, errors: 1},
		{name: "refuses one copy 100 ms before the other is answered", answer: func(n *network, r []byte) {
			n.refuse(n.near, 1, r, brief)
			n.after(100*time.Millisecond, n.replyTo(r, netip.Addr{}))
		}, want: []string{"answered"}, errors: 1},
		{name: "refuses all, and quotes 8 bytes", answer: func(n *network, r []byte) {
			n.refuse(n.near, 1, r, brief)
		}, want: []string{"unreachable"}, cause: says(near)},
		{name: "refuses all, and quotes them", answer: func(n *network, r []byte) {
			n.refuse(n.near, 1, r, whole)
		}, want: []string{"unreachable"}, cause: says(near)},
		{name: "has a router that sees the probe, and somebody who guesses", answer: func(n *network, r []byte) {
			n.refuse(n.near, 0, r, brief)
			n.refuse(n.far, 1, r, whole)
			n.refuse(n.near, 0, r, brief)
		}, want: []string{"unreachable"}, errors: 2, cause: says(far)},
		{name: "refuses one copy, and damages the cookie of the reply to the other", answer: func(n *network, r []byte) {
			n.refuse(n.near, 1, r, brief)
			r = slices.Clone(r)
			r[n.header+packet.MinEcho-1] ^= 1
			n.write(n.replyTo(r, netip.Addr{}))
		}, want: []string{"unreachable"}, cause: says(near)},
		{name: "refuses one copy, and answers the other from a wrong address", answer: func(n *network, r []byte) {
			n.refuse(n.near, 1, r, brief)
			n.write(n.replyTo(r, n.far))
		}, want: []string{"unmatched", "unreachable"}, cause: says(near)},
		{name: "refuses one copy, and answers the other after the timeout", answer: func(n *network, r []byte) {
			n.refuse(n.near, 1, r, brief)
			n.after(1300*time.Millisecond, n.replyTo(r, netip.Addr{}))
		}, want: []string{"late", "unreachable"}, cause: says(near)},
		{name: "has somebody forge an error, who sees no sequence number", answer: func(n *network, r []byte) {
			r = slices.Clone(r)
			r[n.header+7] += 9
			n.refuse(n.near, 1, r, brief)
		}, want: []string{"timeout"}, errors: 1, cause: prefix.Cause{Outcome: prefix.Timeout}},
		{name: "has somebody forge an error, who sees no cookie", answer: func(n *network, r []byte) {
			r = slices.Clone(r)
			r[n.header+packet.MinEcho-1] ^= 1
			n.refuse(n.near, 1, r, whole)
		}, want: []string{"timeout"}, errors: 1, cause: prefix.Cause{Outcome: prefix.Timeout}},
	}
}

func (n *network) after(d time.Duration, p []byte) {
	n.late.Add(1)
	time.AfterFunc(d, func() {
		defer n.late.Done()
		n.write(p)
	})
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
				n := &network{
					t: t, inject: l.Inject, near: netip.MustParseAddr(family.near), far: netip.MustParseAddr(family.far),
					unreachable: family.unreachable, header: family.header, late: &sync.WaitGroup{},
				}
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
						}
					}
				})
				b.apply(prefix.ExpectAll, targets(addrs, nil))
				b.run()
				time.Sleep(3 * time.Second)
				b.settle(l)
				n.late.Wait()
				b.judge(l, ways, place)
			})
		})
	}
}

// judge holds what was said of each probe, and of each address, against what its network has shown.
func (b *bench) judge(l *netsim.Lab, ways []twice, place map[netip.Addr]int) {
	b.t.Helper()
	sent, errors := make([]int, len(ways)), 0
	for _, p := range l.Truth() {
		i := place[p.Dst]
		way := &ways[i]
		sent[i]++
		errors += way.errors
		got := b.events(probeKey{p.Dst, p.Seq})
		slices.Sort(got)
		if diff := cmp.Diff(way.want, got); diff != "" {
			b.t.Errorf("%s, which %s, sequence %d (-want +got)\n%s", p.Dst, way.name, p.Seq, diff)
		}
	}
	for a, s := range b.snapshot() {
		way := &ways[place[a]]
		if diff := cmp.Diff(way.cause, s.Cause, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			b.t.Errorf("%s, which %s: cause (-want +got)\n%s", a, way.name, diff)
		}
	}
	for i, n := range sent {
		if n == 0 {
			b.t.Errorf("no probe met a network that %s", ways[i].name)
		}
	}
	b.want(map[string]float64{"unmatched_replies_total error": float64(errors), "discarded_probes_total": 0})
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
		time.Sleep(2500 * time.Millisecond)
		b.settle(l)
		for a, s := range b.snapshot() {
			want := "timeout"
			if a.As4()[3] >= 128 {
				want = "administratively prohibited, says 192.0.2.1"
			}
			if s.State != prefix.Dark || s.Cause.String() != want {
				t.Errorf("%s is %v: %s, want dark: %s", a, s.State, s.Cause, want)
			}
		}
		b.unhealthy()
	})
}
