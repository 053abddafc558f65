package probe

import (
	"math"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/prefix"
)

// eachTCPEngine runs a test with either engine.
func eachTCPEngine(t *testing.T, test func(t *testing.T, b *tcpBench)) {
	for _, name := range []string{EngineBatch, EngineProBing} {
		t.Run(name, func(t *testing.T) { test(t, newTCPBench(t, name)) })
	}
}

func TestTCPOutcomesAreKeptApart(t *testing.T) {
	eachTCPEngine(t, func(t *testing.T, b *tcpBench) {
		serve(t, 80, 443)
		ip(t, "route", "add", "local", "fd00:1::/120", "dev", "lo")
		nft(t, `
add rule inet t in ip daddr 127.1.0.16/28 tcp dport 80 drop
add rule inet t in ip daddr 127.1.0.32/28 tcp dport 80 reject with icmp type port-unreachable
add rule inet t in ip daddr 127.1.0.48/28 tcp dport 80 reject with icmp type host-unreachable
add rule inet t in ip daddr 127.1.0.64/28 tcp dport 80 reject with icmp type admin-prohibited
add rule inet t in ip daddr 127.1.0.80/28 tcp dport 80 reject with tcp reset
add rule inet t in ip daddr 127.1.0.96/28 tcp dport 80 tcp flags & (syn|ack) == ack reject with tcp reset
add rule inet t in ip6 daddr fd00:1::20/123 tcp dport 80 reject with icmpv6 type admin-prohibited
`)
		groups := []struct {
			outcome prefix.Outcome
			list    []TCPTarget
		}{
			{prefix.Answered, tcpTargets(addresses("127.1.0.0", 16), nil, 80, 443)},
			{prefix.Timeout, tcpTargets(addresses("127.1.0.16", 16), nil, 80)},
			{prefix.Unreachable, tcpTargets(addresses("127.1.0.32", 48), nil, 80)},
			{prefix.Refused, tcpTargets(addresses("127.1.0.80", 16), nil, 80)},
			{prefix.Reset, tcpTargets(addresses("127.1.0.96", 16), nil, 80)},
			{prefix.Refused, tcpTargets(addresses("127.1.0.112", 16), nil, 81)},
			{prefix.Answered, tcpTargets(addresses("fd00:1::1", 16), nil, 80, 443)},
			{prefix.Unreachable, tcpTargets(addresses("fd00:1::20", 16), nil, 80)},
			{prefix.Refused, tcpTargets(addresses("fd00:1::40", 16), nil, 81)},
		}
		var all []TCPTarget
		for _, g := range groups {
			all = append(all, g.list...)
		}
		b.apply(all)
		b.run()
		b.asked(2)
		b.settle()
		for _, g := range groups {
			if portable := b.value("timestamping", "user") > 0; portable && g.outcome != prefix.Answered && g.outcome != prefix.Timeout && g.list[0].Port == 80 {
				continue // it cannot tell a port unreachable from a reset, nor see what comes after the handshake
			}
			b.all(g.outcome, g.list)
		}
		b.want(map[string]float64{"connections": 0})
		if got := b.value("retransmitted_probes_total"); got != 0 {
			b.control.Pace(t, "%v SYNs were sent again", got)
		}
		b.unhealthy()
	})
}

func TestTCPTracesSayWhoSentAnError(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	nft(t, `add rule inet t in ip daddr 127.1.0.1 tcp dport 80 reject with icmp type admin-prohibited`)
	list := tcpTargets(addresses("127.1.0.1", 1), nil, 80)
	b.apply(list)
	b.run()
	b.asked(1)
	b.settle()
	b.mu.Lock()
	defer b.mu.Unlock()
	packets := b.attempts[list[0].key()]
	if len(packets) < 2 || packets[0].Event != "sent" || packets[1].Event != "unreachable" {
		t.Fatalf("%+v, want sent and unreachable", packets)
	}
	if p := packets[1]; p.From != list[0].Addr || p.Err == nil || p.Err.Error() != "ICMP type 3 code 13" || p.ID != list[0].ID || p.Sequence != 1 {
		t.Errorf("%+v, want an error of type 3 code 13 from %s", p, list[0].Addr)
	}
}

func TestTCPConnectionsLeaveNothingBehind(t *testing.T) {
	for name, orderly := range map[string]bool{"reset": false, "orderly": true} {
		t.Run(name, func(t *testing.T) {
			b := newTCPBench(t, EngineBatch)
			server := serve(t, 80)
			list := tcpTargets(addresses("127.1.0.0", 200), func(t *TCPTarget) { t.OrderlyClose = orderly }, 80)
			before := sockets(t, "06")
			b.apply(list)
			b.run()
			b.asked(2)
			b.settle()
			b.all(prefix.Answered, list)
			if sent := b.value("packets_sent_total"); !within(patience, func() bool { return float64(server.accepted.Load()) == sent }) {
				t.Errorf("%d connections were accepted, %v begun", server.accepted.Load(), sent)
			}
			if waiting := sockets(t, "06") - before; orderly && waiting < 200 || !orderly && waiting != 0 {
				t.Errorf("%d sockets in TIME_WAIT", waiting)
			}
		})
	}
}

func TestTCPRoundTripTimesAreTheKernels(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	serve(t, 80)
	list := tcpTargets(addresses("127.1.0.0", 500), nil, 80)
	b.apply(list)
	b.run()
	b.asked(2)
	b.settle()
	b.all(prefix.Answered, list)
	b.mu.Lock()
	defer b.mu.Unlock()
	within := 0
	total := 0
	for _, packets := range b.attempts {
		for _, p := range packets {
			if p.Event == "answered" {
				total++
				if p.RTT > 0 && p.RTT < 500*time.Microsecond {
					within++
				}
			}
		}
	}
	if within < total*95/100 {
		b.control.Pace(t, "%d of %d RTTs are below 0.5 ms: the tick is in them", within, total)
	}
}

// TestASYNThatIsSentAgainIsNoLatency loses every other SYN: each first one. The second leaves
// after a second, which is nobody's RTT.
func TestASYNThatIsSentAgainIsNoLatency(t *testing.T) {
	for name, stamps := range map[string]string{"with timestamps": "1", "without timestamps": "0"} {
		t.Run(name, func(t *testing.T) {
			b := newTCPBench(t, EngineBatch)
			serve(t, 80)
			setSysctl(t, "/proc/sys/net/ipv4/tcp_timestamps", stamps)
			nft(t, `add rule inet t in tcp dport 80 tcp flags & (syn|ack) == syn numgen inc mod 2 0 drop`)
			list := tcpTargets(addresses("127.1.0.1", 1), func(t *TCPTarget) {
				t.Interval, t.Timeout = 1400*time.Millisecond, 1400*time.Millisecond
			}, 80)
			b.apply(list)
			b.run()
			waitFor(t, func() bool { return b.value("retransmitted_probes_total") >= 1 })
			b.stop()
			b.all(prefix.Answered, list)
			again := b.value("retransmitted_probes_total")
			if answered := float64(b.counts()[list[0].key()][prefix.Answered]); again != answered { // of an attempt that was lost, the second SYN is the first of the next
				b.control.Pace(t, "%v were answered, %v of them after a second SYN", answered, again)
			}
			unstamped := again
			if stamps == "1" {
				unstamped = 0
			}
			b.want(map[string]float64{"unstamped_replies_total": unstamped})
			if rtt := b.longestRTT(); rtt > 800*time.Millisecond {
				t.Errorf("RTT %v: the wait for the second SYN is in it", rtt)
			}
		})
	}
}

func TestTheLastSYNLeavesAsTheKernelSays(t *testing.T) {
	for _, test := range []struct {
		n, linear uint32
		want      time.Duration
	}{
		{0, 4, 0}, {1, 4, time.Second}, {4, 4, 4 * time.Second},
		{1, 0, time.Second}, {2, 0, 3 * time.Second}, {3, 0, 7 * time.Second},
	} {
		if got := lastSYN(test.n, test.linear); got != test.want {
			t.Errorf("retransmission %d, %d linear: %v, want %v", test.n, test.linear, got, test.want)
		}
	}
}

// TestATCPTimeoutAsLongAsTheInterval lets attempts overlap for the moment by which one
// of them begins late.
func TestATCPTimeoutAsLongAsTheInterval(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	nft(t, `add rule inet t in tcp dport 80 drop`)
	list := tcpTargets(addresses("127.1.0.0", 100), func(t *TCPTarget) {
		t.Interval, t.Timeout = 150*time.Millisecond, 150*time.Millisecond
	}, 80)
	b.apply(list)
	b.run()
	b.asked(10)
	b.settle()
	b.all(prefix.Timeout, list)
	if skipped := b.value("skipped_probes_total"); skipped > b.value("packets_sent_total")/100 {
		b.control.Pace(t, "%v of %v attempts were skipped", skipped, b.value("packets_sent_total"))
	}
}

func TestTCPSourceAndInterface(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	serve(t, 80)
	nft(t, `
add rule inet t in ip daddr 127.1.0.1 ip saddr != 127.7.7.7 drop
add rule inet t in ip daddr 127.1.0.2 iifname != "lo" drop
`)
	list := tcpTargets(addresses("127.1.0.1", 2), nil, 80)
	list[0].Source = netip.MustParseAddr("127.7.7.7")
	list[1].Interface = "lo"
	b.apply(list)
	b.run()
	b.asked(1)
	b.settle()
	b.all(prefix.Answered, list)
}

func TestNothingIsAllocatedPerConnection(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	serve(t, 80)
	c := b.tcp.(*connector)
	list := tcpTargets(addresses("127.1.0.0", 1000), nil, 80, 81)
	for i := range list {
		list[i].Timeout = 100 * time.Millisecond
		if i%4 == 0 {
			list[i].Source = netip.MustParseAddr("127.7.7.7")
			list[i].Interface = "lo"
		}
	}
	if err := c.Apply(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	defer c.end()
	c.turn(1500 * time.Millisecond)
	before := b.value("packets_sent_total")
	allocs, ticks := leastAllocations(100, func() {
		sleep(int64(connectTick))
		c.tick()
	})
	sent := b.value("packets_sent_total") - before
	if sent == 0 {
		t.Fatal("nothing was connected to")
	}
	if allocs >= fewAllocations {
		t.Errorf("%v allocations a tick of %.0f connections, want 0", allocs, sent/float64(ticks))
	}
}

// fewAllocations is what the runtime and other goroutines may allocate a tick: what the tick itself does is 1 at least.
const fewAllocations = 0.5

// leastAllocations runs f so many times, and again, until there were hardly any allocations or it has been tried often, and
// returns the least mean of them and how often f was run in all. Other goroutines allocate as well, now and then: what f
// does itself is in every try.
func leastAllocations(runs int, f func()) (least float64, all int) {
	least = math.Inf(1)
	var before, after runtime.MemStats
	for range 5 {
		runtime.ReadMemStats(&before)
		for range runs {
			f()
		}
		runtime.ReadMemStats(&after)
		all += runs
		if least = min(least, float64(after.Mallocs-before.Mallocs)/float64(runs)); least < fewAllocations {
			break
		}
	}
	return least, all
}

// turn turns the loop for so long, as Run does.
func (c *connector) turn(d time.Duration) {
	for end := c.clock.monotonic() + int64(d); c.clock.now < end; {
		sleep(int64(connectTick))
		c.tick()
	}
}

func TestAnUnknownTCPTarget(t *testing.T) {
	eachTCPEngine(t, func(t *testing.T, b *tcpBench) {
		b.apply(tcpTargets(addresses("127.1.0.1", 1), nil, 80))
		if err := b.tcp.Trace(t.Context(), netip.MustParseAddr("127.1.0.2"), time.Second); err == nil {
			t.Error("an address that is no target is traced")
		}
	})
	if _, err := NewTCP("fast", Options{}); err == nil {
		t.Error("an engine that does not exist was made")
	}
}

// setLimit sets the limit of open files of this process for the length of the test.
func setLimit(t *testing.T, soft uint64) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: soft, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) })
}
