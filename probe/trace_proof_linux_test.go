package probe

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/packet"
)

// slowHop is a way whose second router and whose destination answer so late that others come first.
const slowHop = `
prefixes: [192.0.2.0/24]
routes: [{prefix: 192.0.2.0/24, hops: [10.0.0.1, {router: 10.0.0.2, delay: 30ms}, 10.0.0.3]}]
rules: [{delay: 30ms}]
`

// TestTheAnswerThatProvesMostCounts has somebody answer the probe of one TTL first, in ways that prove less or as
// much as what comes behind.
func TestTheAnswerThatProvesMostCounts(t *testing.T) {
	const whole = 1 << 10
	way := func(second, last string) []string { return []string{"10.0.0.1", second, "10.0.0.3", last} }
	for _, c := range []struct {
		name      string
		protocols string
		scenario  string
		ttl       byte // of the probe that is answered twice
		kind      byte
		quoted    int // bytes of the probe behind its IP header
		want      []string
	}{
		{"a router that quotes the probe counts more than who quotes 8 bytes", "icmp udp", slowHop,
			2, packet.TimeExceed, 8, way("10.0.0.2", "192.0.2.7!")},
		{"also than who says by 8 bytes that the way ends", "icmp udp", slowHop,
			2, packet.Unreachable, 8, way("10.0.0.2", "192.0.2.7!")},
		{"the destination counts more than who says by 8 bytes that the way ends", "icmp tcp udp", slowHop,
			4, packet.Unreachable, 8, way("10.0.0.2", "192.0.2.7!")},
		{"an answer of the destination itself counts more than any error", "icmp tcp", slowHop,
			4, packet.Unreachable, whole, way("10.0.0.2", "192.0.2.7!")},
		{"who quotes 8 bytes is believed if nobody proves more", "icmp tcp udp", darkHop,
			2, packet.TimeExceed, 8, way("10.6.6.6", "192.0.2.7!")},
		{"of two that prove the same the first counts", "icmp udp", slowHop,
			2, packet.TimeExceed, whole, way("10.6.6.6", "192.0.2.7!")},
	} {
		for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
			if !strings.Contains(c.protocols, protocol) {
				continue
			}
			t.Run(protocol+": "+c.name, func(t *testing.T) {
				l := lab(t, c.scenario)
				b := newTraceBench(t, nil)
				target := traceTarget(protocol, "192.0.2.7")
				b.apply(target)
				onPacket(t, func(p []byte) {
					dst := netip.AddrFrom4([4]byte(p[16:20]))
					if p[0] != 0x45 || p[8] != c.ttl || dst != target.Key.Addr {
						return
					}
					src := netip.AddrFrom4([4]byte(p[12:16]))
					if err := l.Inject(netsim.ErrorMessage(forger, src, c.kind, 0, slices.Clone(p[:min(len(p), 20+c.quoted)]))); err != nil {
						t.Error(err)
					}
				})
				b.run()
				if c.scenario == slowHop && slices.Contains(c.want, forger.String()) {
					b.comesFirst(3)
				} else {
					b.sees(l, 0, 3, map[string][]string{"192.0.2.7": c.want})
				}
				if c.scenario == slowHop {
					waitFor(t, func() bool { return b.value("duplicate_replies_total") >= 3 })
				}
				b.unhealthy()
			})
		}
	}
}

// comesFirst waits for n rounds in which the second hop is who came first, 30 ms before the router that is there. A
// busy machine may be later than that.
func (b *traceBench) comesFirst(n int) {
	b.t.Helper()
	for round, first := 0, 0; first < n; round++ {
		round = b.nextWhole(round)
		switch got := line(b.wait(round, 1)[0]); got[1] {
		case forger.String():
			first++
		default:
			b.control.Pace(b.t, "way %v", got)
		}
	}
}

// TestAWayThatEndsIsKnownAtTheDeadline has nobody contradict who says by 8 bytes that the way ends.
func TestAWayThatEndsIsKnownAtTheDeadline(t *testing.T) {
	l := lab(t, `
prefixes: [192.0.2.0/24]
routes: [{prefix: 192.0.2.0/24, hops: [10.0.0.1, {router: 10.0.0.2, quote: 8, unreachable: prohibited}]}]
`)
	b := newTraceBench(t, nil)
	b.apply(traceTarget(TraceICMP, "192.0.2.7"))
	b.run()
	way := slices.Repeat([]string{"10.0.0.2X"}, 12)
	way[0], way[1] = "10.0.0.1", "10.0.0.2"
	b.sees(l, 0, 4, map[string][]string{"192.0.2.7": way})
	b.unhealthy()
}
