package probe

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/packet"
	"prefix_exporter/route"
)

// darkHop is a way whose second router never answers: whatever is seen there is forged.
const darkHop = `
prefixes: [192.0.2.0/24]
routes: [{prefix: 192.0.2.0/24, hops: [10.0.0.1, {router: off, delay: 1ms}, 10.0.0.3]}]
rules: [{delay: 1ms}]
`

// darkWay is what a traceroute must show of it.
func darkWay(dst string) map[string][]string {
	return map[string][]string{dst: {"10.0.0.1", "*", "10.0.0.3", dst + "!"}}
}

// forger is who sends the forged errors.
var forger = netip.MustParseAddr("10.6.6.6")

// probe2 is the probe of TTL 2 that is in flight, and will be for a while, as it was sent: from its
// IP header on.
func (b *traceBench) probe2() (sent []byte, live bool) {
	t := b.tracer
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.trails[0]
	if !r.open || r.asked < 2 || r.asks[1].state != askOut || r.deadline-t.clock.monotonic() < int64(r.target.Timeout)/2 {
		return nil, false
	}
	a := &r.asks[1]
	s := r.socket
	src := netip.MustParseAddr("198.18.0.1")
	m := make([]byte, packet.TraceLen)
	switch s.protocol {
	case packet.ProtocolTCP:
		m = m[:packet.SYNLen]
		packet.PutSYN(m, s.port, r.target.Port, a.own, packet.Pseudo(src, r.dst, s.protocol, len(m)))
	case packet.ProtocolUDP:
		t.key.PutTraceDatagram(m, s.port, r.target.Port, uint16(a.own), r.tag(2), packet.Pseudo(src, r.dst, s.protocol, len(m)))
	default:
		t.key.PutTraceEcho(m, packet.EchoRequest, s.identifier, r.checksum, r.tag(2), 0)
	}
	sent = netsim.EchoRequest(src, r.dst, 0, 0, m[8:]) // for its IP header
	copy(sent[20:], m)
	sent[9] = s.protocol
	return sent, true
}

// forgeries are changes of a probe that its sender must notice, each by a name that reads on from
// "an error about a packet".
var forgeries = []struct {
	name    string
	protos  string // where it makes sense
	mangle  func(sent []byte) []byte
	because string // the counter that it moves, of all that it can
}{
	{"with another checksum or sequence number, of which 8 bytes are quoted", "icmp tcp udp", func(p []byte) []byte {
		p[22]++ // of UDP that is the port: another flow
		p[26]++
		if p[9] != packet.ProtocolICMP {
			p[22]--
		}
		return p[:28]
	}, "unmatched_replies_total"},
	{"with the next sequence number", "icmp", func(p []byte) []byte {
		binary.BigEndian.PutUint16(p[26:], binary.BigEndian.Uint16(p[26:])+100)
		return p[:28]
	}, "unmatched_replies_total"},
	{"with the right name and a wrong cookie", "icmp udp", func(p []byte) []byte {
		p[40]++
		return p
	}, "unmatched_replies_total"},
	{"to another destination", "icmp tcp udp", func(p []byte) []byte {
		p[19]++
		return p[:28]
	}, "unmatched_replies_total"},
}

// TestForgedErrorsAreCountedAndNotBelieved sends all forgeries about the probe that is in flight, and at
// the end what an outsider would have to guess, which is believed: so the forgeries arrive too.
func TestForgedErrorsAreCountedAndNotBelieved(t *testing.T) {
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		for _, f := range forgeries {
			if !strings.Contains(f.protos, protocol) {
				continue
			}
			t.Run(protocol+" "+f.name, func(t *testing.T) {
				l := lab(t, darkHop)
				b := newTraceBench(t, nil)
				b.apply(traceTarget(protocol, "192.0.2.7"))
				b.run()
				var past []byte
				waitFor(t, func() bool {
					sent, live := b.probe2()
					if !live {
						return false
					}
					if past != nil { // one of a round before: authentic, and too late
						b.inject(l, past)
					}
					b.inject(l, f.mangle(slices.Clone(sent)))
					past = sent
					b.wait(b.count(), 1)
					return b.value(f.because) >= 4 // each counts while a round is open only
				})
				b.sees(l, 0, 3, darkWay("192.0.2.7"))
				b.believes(l)
			})
		}
	}
}

func (b *traceBench) inject(l *netsim.Lab, quoted []byte) {
	b.t.Helper()
	if err := l.Inject(netsim.ErrorMessage(forger, netip.MustParseAddr("198.18.0.1"), packet.TimeExceed, 0, quoted)); err != nil {
		b.t.Fatal(err)
	}
}

// believes sends the true probe of the round in flight back, of which 8 bytes are quoted.
func (b *traceBench) believes(l *netsim.Lab) {
	b.t.Helper()
	n := b.count()
	believed := within(patience, func() bool {
		if sent, live := b.probe2(); live {
			b.inject(l, sent[:28])
			b.wait(b.count(), 1)
		}
		for ; n < b.count(); n++ {
			if slices.Contains(line(b.wait(n, 1)[0]), forger.String()) {
				return true
			}
		}
		return false
	})
	if !believed {
		b.t.Error("the true answer is not believed: the forgeries show nothing")
	}
}

// TestAnswersToOthersAreNotOurs sends errors about echo requests, SYNs and datagrams of others.
func TestAnswersToOthersAreNotOurs(t *testing.T) {
	l := lab(t, darkHop)
	b := newTraceBench(t, nil)
	var list []TraceTarget
	for i, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		list = append(list, traceTarget(protocol, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}).String()))
	}
	b.apply(list...)
	b.run()
	b.wait(0, 6)
	for i := range 3000 {
		quoted := netsim.EchoRequest(netip.MustParseAddr("198.18.0.1"), list[i%3].Key.Addr, uint16(i), uint16(i*7), make([]byte, i%60))
		quoted[9] = [3]byte{packet.ProtocolICMP, packet.ProtocolTCP, packet.ProtocolUDP}[i%3]
		b.inject(l, quoted)
	}
	ways := map[string][]string{}
	for i := range list {
		maps.Copy(ways, darkWay(list[i].Key.Addr.String()))
	}
	b.sees(l, b.count(), 2, ways)
	b.unhealthy()
}

func TestLateAndDuplicateAnswersChangeNothing(t *testing.T) {
	l := lab(t, `
prefixes: [192.0.2.0/24]
rules: [{prefix: 192.0.2.1, duplicate: {probability: 1, copies: 2, after: 1ms}}]
routes:
  - {prefix: 192.0.2.1, hops: [10.0.0.1, 10.0.0.3]}
  - {prefix: 192.0.2.2, hops: [10.0.0.1, {router: 10.0.0.2, delay: 70ms}]}
`)
	b := newTraceBench(t, nil)
	slow := traceTarget(TraceICMP, "192.0.2.2")
	slow.Timeout = 50 * time.Millisecond // 70 ms are after it, and before the next round
	b.apply(traceTarget(TraceICMP, "192.0.2.1"), slow)
	b.run()
	b.sees(l, 0, 6, map[string][]string{
		"192.0.2.1": {"10.0.0.1", "10.0.0.3", "192.0.2.1!"},
		"192.0.2.2": {"10.0.0.1", "*", "*", "*", "*", "*", "*", "*", "*", "*", "*", "*"},
	})
	waitFor(t, func() bool { return b.value("late_replies_total") >= 50 && b.value("duplicate_replies_total") >= 5 })
	b.unhealthy()
}

// TestAFirewallOfOurOwnIsNoHop holds back what has one TTL: nothing can be said of that hop.
func TestAFirewallOfOurOwnIsNoHop(t *testing.T) {
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		t.Run(protocol, func(t *testing.T) {
			l := lab(t, balanced)
			b := newTraceBench(t, nil)
			nft(t, "add rule inet t out ip ttl 3 drop")
			b.apply(traceTarget(protocol, "192.0.2.7"))
			b.run()
			for n, known := 0, 0; known < 4; n++ {
				got := line(b.wait(n, 1)[0])
				if got[2] != "?" {
					t.Fatalf("way %v", got)
				}
				if ttls := b.falseSilence(l, n); len(ttls) > 0 {
					t.Errorf("way %v, but the lab has answered %v", got, ttls)
				}
				if len(got) == 5 && !slices.Contains(slices.Concat(got[:2], got[3:]), "?") && !slices.Contains(got, "*") {
					known++
				}
			}
			if got := b.value("send_errors_total", "EPERM"); got < 4 {
				t.Errorf("EPERM was counted %v times", got)
			}
			b.refusedByUs()
		})
	}
}

// refusedByUs waits until the second is over in which the local system refused to send, and checks
// that this is what makes the prober unhealthy.
func (b *traceBench) refusedByUs() {
	b.t.Helper()
	b.troubled(ReasonSendError)
	b.unhealthy(ReasonSendError)
}

// TestAWayThatGoesIsNoHop takes the way out away, while rounds are being made.
func TestAWayThatGoesIsNoHop(t *testing.T) {
	l := lab(t, balanced)
	var denied atomic.Int64
	b := newTraceBench(t, func(o *TraceOptions) {
		o.NoRoute = func(route.Key, netip.Addr, time.Time) { denied.Add(1) }
	})
	var list []TraceTarget
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		for _, a := range []string{"192.0.2.7", "2001:db8::7"} {
			target := traceTarget(protocol, a)
			target.Key.Prefix = netip.PrefixFrom(target.Key.Prefix.Addr(), target.Key.Prefix.Bits()+len(protocol)+int(protocol[0])%3) // three of each
			list = append(list, target)
		}
	}
	b.apply(list...)
	b.run()
	b.wait(0, 12)
	command(t, "ip", "link", "set", l.Name(), "down")
	waitFor(t, func() bool { return denied.Load() > 0 })
	n := b.count() + len(list) // a round of each may be on its way
	waitFor(t, func() bool { return denied.Load() > int64(5*len(list)) })
	if got := b.count(); got > n {
		t.Errorf("%d rounds were recorded, want at most %d: there is no way", got, n)
	}
	b.want(map[string]float64{"send_errors_total trace": 0})
	b.unhealthy()
}

// TestAnInterfaceThatGoesSaysNothing binds a route to an interface and removes that.
func TestAnInterfaceThatGoesSaysNothing(t *testing.T) {
	newChain(t)
	b := newTraceBench(t, nil)
	target := traceTarget(TraceICMP, chainEnd4)
	target.Interface = "chain1"
	b.apply(target)
	b.run()
	b.sees(nil, 0, 1, map[string][]string{chainEnd4: {"10.77.1.2", "10.77.2.2", "10.77.3.2", "10.77.4.2", chainEnd4 + "!"}})
	command(t, "ip", "link", "del", "chain1")
	for _, r := range b.wait(b.count()+1, 5) {
		if slices.ContainsFunc(r.Answers, func(a route.Answer) bool { return a.Kind != route.Unasked }) {
			t.Errorf("way %v", line(r))
		}
	}
	b.unhealthy() // it is no trouble of all routes
}

// TestAFullLocalQueueIsNoHop lets fewer probes out than there are.
func TestAFullLocalQueueIsNoHop(t *testing.T) {
	l := lab(t, balanced)
	b := newTraceBench(t, nil)
	command(t, "tc", "qdisc", "replace", "dev", l.Name(), "root", "tbf", "rate", "1mbit", "burst", "1500", "limit", "400")
	target := traceTarget(TraceICMP, "192.0.2.7")
	target.MaxHops = MaxHops
	b.apply(target)
	b.run()
	waitFor(t, func() bool { return b.value("send_errors_total", "ENOBUFS") > 0 })
	b.refusedByUs()
	for n, r := range b.wait(0, 8) {
		if ttls := b.falseSilence(l, n); len(ttls) > 0 {
			t.Errorf("way %v, but the lab has answered %v", line(r), ttls)
		}
	}
}

// TestAFullQueueIsNoSilence lets nobody read while more arrives than the queue holds.
func TestAFullQueueIsNoSilence(t *testing.T) {
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		t.Run(protocol, func(t *testing.T) {
			l := lab(t, `
prefixes: [192.0.2.0/24]
routes: [{prefix: 192.0.2.0/24, hops: [10.0.0.1, {router: 10.0.0.2, delay: 20ms}, 10.0.0.3]}]
`)
			b := newTraceBench(t, nil)
			b.apply(traceTarget(protocol, "192.0.2.7"))
			s := b.tracer.list[0]
			if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<16); err != nil {
				t.Fatal(err)
			}
			b.run()
			overflows := func() bool { return b.value("discarded_probes_total", "kernel_drop") > 0 }
			for begun := time.Now(); time.Since(begun) < patience && !(overflows() && b.health.Troubled()); {
				var sent []byte
				waitFor(t, func() (live bool) {
					sent, live = b.probe2()
					return live
				})
				b.tracer.mu.Lock() // nobody reads
				sent[19]++         // another destination: ours by its flow, and no answer to anything
				for range 2000 {
					b.inject(l, sent[:28])
				}
				time.Sleep(60 * time.Millisecond)
				b.tracer.mu.Unlock()
				b.wait(b.count(), 2)
			}
			b.stop()
			unasked := 0
			for n, r := range b.rounds {
				for _, a := range r.Answers {
					if a.Kind == route.Unasked {
						unasked++
					}
				}
				if ttls := b.falseSilence(l, n); len(ttls) > 0 {
					t.Errorf("way %v, but the lab has answered %v", line(r), ttls)
				}
			}
			if unasked == 0 || b.value("discarded_probes_total", "kernel_drop") == 0 {
				t.Errorf("%d unasked, %v discarded: the queue did not overflow", unasked, b.value("discarded_probes_total", "kernel_drop"))
			}
			// The kernel counts dropped replies, which UDP has none of; ICMP errors vanish uncounted.
			if got := b.value("kernel_drops_total"); protocol == TraceUDP && got != 0 {
				t.Errorf("%v drops were counted that nobody has seen", got)
			}
			b.unhealthy(ReasonKernelDrop)
		})
	}
}

// TestAPauseIsNoSilence stops the loop in the middle of a round.
func TestAPauseIsNoSilence(t *testing.T) {
	l := lab(t, oddRoutes)
	b := newTraceBench(t, nil)
	b.apply(traceTarget(TraceICMP, "192.0.2.69"), traceTarget(TraceTCP, "2001:db8::7"))
	b.run()
	b.wait(0, 6)
	before := b.value("stalls_total")
	for range 2 {
		waitFor(t, func() bool { // a round is open
			b.tracer.mu.Lock()
			if len(b.tracer.open) > 0 {
				return true // and the loop cannot run: what SIGSTOP does
			}
			b.tracer.mu.Unlock()
			return false
		})
		time.Sleep(1200 * time.Millisecond)
		b.tracer.mu.Unlock()
		b.wait(b.count(), 4)
	}
	b.sees(l, 0, 4, map[string][]string{"192.0.2.69": oddWays["192.0.2.69"], "2001:db8::7": oddWays["2001:db8::7"]})
	b.troubled(ReasonStalled, ReasonSkipped)
	b.stop()
	b.compare(l)
	switch got := b.value("stalls_total") - before; {
	case got < 2:
		t.Errorf("%v stalls, want 2", got)
	case got > 2:
		b.control.Pace(t, "%v stalls, want 2", got)
	}
	b.unhealthy(ReasonStalled, ReasonSkipped)
}

// TestNoDescriptorIsNeededForARound takes all descriptors away; new sockets are refused, and the old routes stay.
func TestNoDescriptorIsNeededForARound(t *testing.T) {
	lab(t, balanced)
	b := newTraceBench(t, nil)
	list := []TraceTarget{traceTarget(TraceICMP, "192.0.2.7"), traceTarget(TraceTCP, "192.0.2.8"), traceTarget(TraceUDP, "2001:db8::7")}
	b.apply(list...)
	b.run()
	b.wait(0, 6)
	setLimit(t, 3)
	more := traceTarget(TraceUDP, "192.0.2.9")
	err := b.tracer.Apply(t.Context(), append(slices.Clone(list), more))
	if err == nil || !strings.Contains(err.Error(), "prefix 192.0.2.0/24: traceroute by udp: socket: too many open files") {
		t.Errorf("error %v", err)
	}
	for _, r := range b.whole(b.count(), 9) {
		if n := len(r.Answers); n == 0 || r.Answers[n-1].Kind != route.Arrived {
			t.Errorf("%s: %v", r.dst, line(r))
		}
	}
	b.unhealthy()
}

// TestWithoutTheRightToRawSocketsTCPAndUDPAreRefused drops CAP_NET_RAW of one thread.
func TestWithoutTheRightToRawSocketsTCPAndUDPAreRefused(t *testing.T) {
	b := newTraceBench(t, nil)
	apply := func(protocol string) (err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and not unlocked: the thread ends without the right
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if err = unix.Capget(&header, &data[0]); err != nil {
				return
			}
			data[0].Effective &^= 1 << unix.CAP_NET_RAW
			if err = unix.Capset(&header, &data[0]); err != nil {
				return
			}
			err = b.tracer.Apply(t.Context(), []TraceTarget{traceTarget(protocol, "192.0.2.7")})
		}()
		<-done
		return err
	}
	for _, protocol := range []string{TraceTCP, TraceUDP} {
		err := apply(protocol)
		if err == nil || !strings.HasPrefix(err.Error(), "prefix 192.0.2.0/24: traceroute by "+protocol+": no permission") {
			t.Errorf("%s: error %v", protocol, err)
		}
	}
	if err := apply(TraceICMP); err != nil {
		t.Errorf("a datagram socket needs no right: %v", err)
	}
	b.tracer.closeSockets()
}

// TestAFirewallOnTheWayIsSilentOrSaysSo puts one on a real router.
func TestAFirewallOnTheWayIsSilentOrSaysSo(t *testing.T) {
	c := newChain(t)
	for _, f := range []struct {
		name, rules string
		want        []string
	}{
		{"that drops", "ip daddr 192.0.2.7 drop", []string{"10.77.1.2", "10.77.2.2", "*", "*", "*", "*"}},
		{"that rejects", "ip daddr 192.0.2.7 reject with icmp type admin-prohibited", []string{"10.77.1.2", "10.77.2.2", "10.77.2.2X", "10.77.2.2X", "10.77.2.2X", "10.77.2.2X"}},
	} {
		t.Run(f.name, func(t *testing.T) {
			c.nft(t, 2, "add rule inet t f "+f.rules)
			for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
				b := newTraceBench(t, nil)
				target := traceTarget(protocol, chainEnd4)
				target.MaxHops = 6
				b.apply(target)
				b.run()
				b.sees(nil, 0, 4, map[string][]string{chainEnd4: f.want})
				b.stop()
				for _, r := range b.rounds {
					for _, a := range r.Answers {
						if a.Kind == route.Unreachable && a.Code != 13 {
							t.Errorf("code %d, want 13", a.Code)
						}
					}
				}
			}
		})
	}
}
