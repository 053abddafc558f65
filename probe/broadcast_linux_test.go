package probe

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// TestTheBroadcastAddressOfAnOwnNetworkIsLeftOut is a machine inside the /26 that it probes.
func TestTheBroadcastAddressOfAnOwnNetworkIsLeftOut(t *testing.T) {
	netsim.RequireLab(t)
	b := newBench(t, EngineBatch)
	b.ownNetwork()
	b.apply(prefix.ExpectSeen, targets(addresses("127.9.0.0", 64), nil))
	b.run()
	last := netip.MustParseAddr("127.9.0.63")
	waitFor(t, func() bool {
		s := b.snapshot()
		return s[last].LeftOut && s[netip.MustParseAddr("127.9.0.9")].Counts[prefix.Answered] >= 2
	})
	if s := b.snapshot()[last]; s.State != prefix.Dark || s.Sent() != 0 || s.Obstacle != "" {
		t.Errorf("it is %s, %d sent, obstacle %q", s.State, s.Sent(), s.Obstacle)
	}
	b.want(map[string]float64{"send_errors_total icmp": 0, "pending_errors_total": 0, "discarded_probes_total": 0})
	b.unhealthy()

	// It becomes an address like any other. A minute later that is seen.
	command(t, "ip", "address", "del", "127.9.0.1/26", "dev", "lo")
	engine := b.engine.(*batch)
	engine.mu.Lock()
	if left := engine.byAddr[last].aside - engine.clock.monotonic(); left < int64(asideFor/2) {
		t.Errorf("it is asked again in %v already", time.Duration(left))
	}
	engine.byAddr[last].aside = 1
	engine.mu.Unlock()
	waitFor(t, func() bool { return b.snapshot()[last].State == prefix.Up })
}

// ownNetwork makes this machine one of 127.9.0.0/26 until the end of the test.
func (b *bench) ownNetwork() {
	b.t.Helper()
	command(b.t, "ip", "address", "add", "127.9.0.1/26", "broadcast", "127.9.0.63", "dev", "lo")
	b.t.Cleanup(func() {
		_ = exec.Command("ip", "address", "del", "127.9.0.1/26", "dev", "lo").Run() // it may be gone
	})
}

func TestTheBroadcastAddressHasNoPorts(t *testing.T) {
	eachTCPEngine(t, func(t *testing.T, b *tcpBench) {
		b.ownNetwork()
		serve(t, 80, 443)
		list := tcpTargets(addresses("127.9.0.0", 64), nil, 80, 443)
		b.apply(list)
		b.run()
		waitFor(t, func() bool { return b.counts()[list[0].key()][prefix.Answered] >= 3 })
		b.stop()
		for _, target := range list[126:] {
			if c := b.counts()[target.key()]; c != [prefix.Outcomes]uint64{} {
				t.Errorf("%v: counters %v, want none", target.key(), c)
			}
		}
		b.all(prefix.Answered, list[:126])
		b.want(map[string]float64{"send_errors_total tcp": 0})
		b.unhealthy()
	})
}

// TestABroadcastAddressIsNamedOnce is left out by two ports, again and again.
func TestABroadcastAddressIsNamedOnce(t *testing.T) {
	var said []string
	b := newTCPBench(t, EngineBatch)
	r := b.tcp.(*connector).report
	a := netip.MustParseAddr("192.0.2.255")
	for range 3 {
		r.leaveOut(a)
	}
	r.takeIn(a)
	r.takeIn(a)
	r.leaveOut(a)
	for len(r.lines.queue) > 0 {
		line := <-r.lines.queue
		said = append(said, line[3].(string))
	}
	if len(said) != 3 || said[0] != said[2] || !strings.Contains(said[0], "broadcast address") {
		t.Errorf("said %q", said)
	}
}
