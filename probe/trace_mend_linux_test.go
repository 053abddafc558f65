package probe

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/packet"
	"prefix_exporter/route"
)

// unprivileged is the receive buffer that a program without CAP_NET_ADMIN gets of Linux, as set: the default of
// net.core.rmem_max.
const unprivileged = 212992

// TestErrorsOfOthersDoNotFillARawSocket has 10,000 ICMP errors a second arrive about packets of others, while
// rounds are open and between them.
func TestErrorsOfOthersDoNotFillARawSocket(t *testing.T) {
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		t.Run(protocol, func(t *testing.T) {
			closePingGroups(t)
			l := lab(t, darkHop)
			b := newTraceBench(t, nil)
			target := traceTarget(protocol, "192.0.2.7")
			target.Interval, target.Timeout = 400*time.Millisecond, 200*time.Millisecond
			b.apply(target)
			s := b.tracer.list[0]
			for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
				if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, option, unprivileged); err != nil {
					t.Fatal(err)
				}
			}
			s.granted = 2 * unprivileged // socket(7): the kernel doubles it
			b.apply(target)              // looks at it
			b.run()
			b.flood(l, s.protocol, 2*time.Second)
			flooded := b.count()
			if flooded == 0 {
				t.Error("no round was made while they came")
			}
			for n := range flooded {
				if ttls := b.falseSilence(l, n); len(ttls) > 0 {
					t.Errorf("way %v, but the lab has answered %v", line(b.wait(n, 1)[0]), ttls)
				}
			}
			for _, name := range []string{"kernel_drops_total", "discarded_probes_total"} {
				if got := b.value(name); got != 0 { // of a loop that does not run
					b.control.Pace(t, "%s is %v", name, got)
				}
			}
			b.want(map[string]float64{"malformed_packets_total": 0})
			if got, sent := b.value("packets_received_total"), b.value("packets_sent_total"); got > sent {
				t.Errorf("%v packets received for %v: those of others are counted", got, sent)
			}
			b.unhealthy()
			b.sees(l, flooded, 1, darkWay("192.0.2.7"))
			b.believes(l)
		})
	}
}

// flood injects ICMP errors about packets of others, ten each millisecond.
func (b *traceBench) flood(l *netsim.Lab, protocol byte, d time.Duration) {
	b.t.Helper()
	quoted := netsim.EchoRequest(netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("192.0.2.99"), 0, 0, make([]byte, packet.TraceLen-packet.HeaderLen))
	quoted[9] = protocol
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for range 10 {
			b.inject(l, quoted)
		}
	}
}

// TestADestinationThatGoesSilentCostsNoRound has long timeouts, and 16 destinations that fall silent.
func TestADestinationThatGoesSilentCostsNoRound(t *testing.T) {
	for _, c := range []struct {
		name    string
		timeout time.Duration
		first   string // what is said of what lies behind the destination, in the first round
	}{
		{"no time for a second wave", 400 * time.Millisecond, "?"},
		{"too little time for a second wave to be silence", 300 * time.Millisecond, "?"},
		{"time for both", 180 * time.Millisecond, "*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lab(t, balanced)
			b := newTraceBench(t, nil)
			var list []TraceTarget
			for i := range 16 {
				target := traceTarget(TraceICMP, fmt.Sprintf("192.0.2.%d", i+1))
				target.Interval, target.Timeout = 400*time.Millisecond, c.timeout
				list = append(list, target)
			}
			b.apply(list...)
			b.run()
			b.wait(0, 2*len(list))
			nft(t, "add rule inet t in ip saddr 192.0.2.0/24 drop")
			begun := b.count()
			b.wait(begun, 3*len(list))
			b.stop()
			truth := l.Truth()
			seen := map[netip.Addr]int{} // silent rounds
			away := 0                    // those of which less is known than they tell
			for n, r := range b.rounds[begun:] {
				if slices.ContainsFunc(r.Answers, func(a route.Answer) bool { return a.Kind == route.Arrived }) {
					continue
				}
				if len(r.Answers) != 12 {
					t.Errorf("way %v", line(r))
					continue
				}
				want := "*"
				if seen[r.dst]++; seen[r.dst] == 1 {
					want = c.first
				}
				switch got := line(r)[11]; {
				case got == "*" && b.probe(truth, begun+n, 12) == nil:
					t.Errorf("silent round %d: the last TTL is silent, and was not asked", seen[r.dst])
				case got != want:
					away++
				}
			}
			if len(seen) != len(list) {
				t.Errorf("%d destinations are silent", len(seen))
			}
			if away > 3*len(list)/5 {
				b.control.Pace(t, "of %d rounds of %d too little is known", away, len(b.rounds)-begun)
			}
			if got := b.value("skipped_probes_total"); got >= float64(len(list)/2) {
				b.control.Pace(t, "%v rounds were skipped", got)
			}
		})
	}
}

// TestADestinationOfTheOtherFamilyIsNone has a route of IPv4 be given one of IPv6, and the reverse.
func TestADestinationOfTheOtherFamilyIsNone(t *testing.T) {
	lab(t, balanced)
	for prefix, good := range map[string]string{"192.0.2.0/24": "192.0.2.1", "2001:db8::/120": "2001:db8::1"} {
		for _, bad := range []string{"192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"} {
			if bad == good {
				continue
			}
			t.Run(bad+" in "+prefix, func(t *testing.T) {
				asked := 0
				b := newTraceBench(t, func(o *TraceOptions) {
					o.Destination = func(netip.Prefix, netip.Addr) netip.Addr {
						if asked++; asked%2 == 1 {
							return netip.MustParseAddr(bad)
						}
						return netip.MustParseAddr(good)
					}
				})
				target := traceTarget(TraceUDP, good)
				target.Key = route.Key{Prefix: netip.MustParsePrefix(prefix)}
				b.apply(target)
				b.run()
				for _, r := range b.whole(0, 3) {
					if r.dst.String() != good || r.Answers[len(r.Answers)-1].Kind != route.Arrived {
						t.Errorf("%s: %v", r.dst, line(r))
					}
				}
			})
		}
	}
}

// TestAReloadThatIsTakenBackChangesNoFlow removes all routes of all kinds for the time between two calls of Apply.
func TestAReloadThatIsTakenBackChangesNoFlow(t *testing.T) {
	b := newTraceBench(t, nil)
	var list []TraceTarget
	for i, protocol := range []string{TraceICMP, TraceTCP, TraceUDP, TraceICMP, TraceTCP, TraceUDP} {
		target := traceTarget(protocol, fmt.Sprintf("192.0.2.%d", i+1))
		target.Source = netip.MustParseAddr([]string{"127.0.0.1", "127.0.0.2"}[i/3])
		list = append(list, target)
	}
	flows := func() map[route.Key][2]uint32 {
		m := map[route.Key][2]uint32{}
		for k, r := range b.tracer.byKey {
			m[k] = [2]uint32{r.constant(), uint32(r.checksum)}
		}
		return m
	}
	b.apply(list...)
	before := flows()
	b.apply(traceTarget(TraceICMP, "192.0.2.99"))
	b.apply(list...)
	if diff := cmp.Diff(before, flows()); diff != "" {
		t.Errorf("flows (-before +after)\n%s", diff)
	}
	b.tracer.closeSockets()
}

// TestOnlySoManyRemovedRoutesAreRemembered replaces many times as many.
func TestOnlySoManyRemovedRoutesAreRemembered(t *testing.T) {
	b := newTraceBench(t, nil)
	for turn := range 3 {
		var list []TraceTarget
		for i := range maxFlows {
			target := traceTarget(TraceICMP, "10.0.0.1")
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], 10<<24|uint32(turn*maxFlows+i))
			target.Key.Addr = netip.AddrFrom4(a)
			list = append(list, target)
		}
		if err := b.tracer.Apply(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.tracer.flows); n != maxFlows {
		t.Errorf("%d are remembered, want %d", n, maxFlows)
	}
	b.tracer.closeSockets()
}
