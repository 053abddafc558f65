package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

func TestAPacketIsOfferedAgainOnlySoOften(t *testing.T) {
	var o offers
	count := func(packet int) (n int) {
		for o.again(packet) {
			n++
		}
		return n
	}
	if got := count(0); got != offersPerPacket {
		t.Errorf("the first was offered again %d times, want %d", got, offersPerPacket)
	}
	sum := offersPerPacket
	for i := 1; i < batchSize; i++ {
		sum += count(i)
	}
	if sum != offersPerFlush {
		t.Errorf("all were offered again %d times, want %d", sum, offersPerFlush)
	}
}

// obstacles are the types of routes (ip-route(8)) that make a destination one to which this machine has no way. The
// empty one is no route at all.
var obstacles = []string{"", "blackhole", "prohibit", "unreachable", "throw"}

// obstructed adds a route of each of these types for each family until the end of the test, and returns addresses to
// which there is no way because of them.
func obstructed(t *testing.T, n int) (addrs []netip.Addr) {
	t.Helper()
	for i, kind := range obstacles {
		four, six := fmt.Sprintf("10.66.%d.0/24", i), fmt.Sprintf("2001:db8:66:%d::/120", i)
		if kind != "" {
			ip(t, "route", "add", kind, four)
			command(t, "ip", "-6", "route", "add", kind, six)
			t.Cleanup(func() { command(t, "ip", "-6", "route", "del", kind, six) })
		}
		addrs = append(addrs, addresses(four[:len(four)-3], n)...)
		addrs = append(addrs, addresses(six[:len(six)-4]+"10", n)...)
	}
	return addrs
}

// disableIPv6 switches IPv6 off until the end of the test.
func disableIPv6(t *testing.T) {
	for _, name := range []string{"all", "default", "lo"} {
		setSysctl(t, "/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", "1")
	}
}

// onlyNoRoute waits until there have been attempts at all of these, and checks that all that is known is that there
// is no way to them.
func onlyNoRoute(t *testing.T, counts func() map[netip.AddrPort][prefix.Outcomes]uint64, addrs []netip.Addr, port uint16) {
	t.Helper()
	waitFor(t, func() bool {
		c := counts()
		return !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return c[netip.AddrPortFrom(a, port)][prefix.NoRoute] < 3 })
	})
	for _, a := range addrs {
		c := counts()[netip.AddrPortFrom(a, port)]
		var want [prefix.Outcomes]uint64
		want[prefix.NoRoute] = c[prefix.NoRoute]
		if c != want {
			t.Errorf("%s port %d: counters %v, want no_route only", a, port, c)
		}
	}
}

// counts returns the counters of a table by address and port.
func (b *bench) counts() map[netip.AddrPort][prefix.Outcomes]uint64 {
	return (&tcpBench{bench: b}).counts()
}

// refusals is how many probes could not be sent, or not be judged, for a reason of this machine.
func (b *bench) refusals() (sum float64) {
	for _, kind := range kinds {
		sum += b.value("send_errors_total", kind) + b.value("discarded_probes_total", kind)
	}
	return sum
}

// told returns how often something happened in the packets of an address.
func (b *bench) told(a netip.Addr, event string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, packets := range b.packets {
		for _, p := range packets {
			if key.addr == a && p.Event == event {
				n++
			}
		}
	}
	return n
}

// here returns addresses that answer.
func here() []netip.Addr { return addresses("127.1.0.0", 16) }

// quickly is the same of a port.
func quickly(t *TCPTarget) { t.Interval, t.Timeout = 200*time.Millisecond, 200*time.Millisecond }

// onlyAnswered checks that addresses of this machine were answered, and that none was lost, but for what was late.
func (b *bench) onlyAnswered(addrs []netip.Addr) {
	b.t.Helper()
	lost := 0.0
	slots := b.snapshot()
	for _, a := range addrs {
		s := slots[a]
		if s.Counts[prefix.Answered] == 0 {
			b.t.Errorf("%s: counters %v, want answers", a, s.Counts)
		}
		lost += float64(s.Sent() - s.Counts[prefix.Answered])
	}
	switch _, portable := b.engine.(*portable); {
	case lost == 0:
	case portable: // it times by the clock of the process
		b.control.Pace(b.t, "%v were lost, want none", lost)
	case lost > b.value("late_replies_total"):
		b.t.Errorf("%v were lost, want none", lost)
	}
}

// quick asks five times a second.
func quick(t *Target) { t.Interval, t.Timeout = 200*time.Millisecond, 200*time.Millisecond }

func TestAnAddressToWhichThereIsNoWayIsLost(t *testing.T) {
	for _, m := range []struct {
		name, engine string
		raw          bool
	}{
		{"batch", EngineBatch, false}, {"batch on raw sockets", EngineBatch, true}, {"pro-bing", EngineProBing, false},
	} {
		t.Run(m.name, func(t *testing.T) {
			netsim.RequireLab(t)
			there := obstructed(t, 8)
			if m.raw {
				closePingGroups(t)
			}
			b := newBench(t, m.engine)
			b.apply(prefix.ExpectAll, targets(append(here(), there...), quick))
			b.run()
			onlyNoRoute(t, b.counts, there, 0)
			b.stop()
			b.onlyAnswered(here())
			if sum := b.refusals(); sum != 0 {
				t.Errorf("%v send errors and discarded probes, want none", sum)
			}
			for _, a := range there {
				if b.told(a, "no_route") < 2 || b.told(a, "send_error") != 0 {
					t.Errorf("%s: %d packets are told to have no way, %d not to be sent", a, b.told(a, "no_route"), b.told(a, "send_error"))
				}
			}
			b.unhealthy()
		})
	}
}

// TestABlackHoleIsNoOldKernel has an error that means two things.
func TestABlackHoleIsNoOldKernel(t *testing.T) {
	netsim.RequireLab(t)
	ip(t, "route", "add", "blackhole", "10.66.1.0/24")
	b := newBench(t, EngineBatch)
	b.apply(prefix.ExpectAll, targets(addresses("10.66.1.0", 4), quick))
	b.run()
	waitFor(t, func() bool { return b.value("discarded_probes_total", "offline") > 8 })
	b.stop()
	if got := b.engine.(*batch).mode; got != transmitByID {
		t.Errorf("transmit stamps are asked for in the way %d, want %d: nothing is wrong with that one", got, transmitByID)
	}
}

func TestAFamilyWithoutAddressesIsLost(t *testing.T) {
	for _, engine := range []string{EngineBatch, EngineProBing} {
		t.Run(engine, func(t *testing.T) {
			netsim.RequireLab(t)
			b := newBench(t, engine)
			disableIPv6(t)
			there := addresses("2001:db8::10", 8)
			b.apply(prefix.ExpectAll, targets(append(here(), there...), quick))
			b.run()
			onlyNoRoute(t, b.counts, there, 0)
			b.stop()
			b.onlyAnswered(here())
			b.want(map[string]float64{"send_errors_total icmp": 0})
			b.unhealthy()
		})
	}
}

func TestAPortToWhichThereIsNoWayIsLost(t *testing.T) {
	eachTCPEngine(t, func(t *testing.T, b *tcpBench) {
		there := obstructed(t, 8)
		serve(t, 80)
		good, bad := tcpTargets(here(), quickly, 80), tcpTargets(there, quickly, 80)
		b.apply(append(good[:len(good):len(good)], bad...))
		b.run()
		onlyNoRoute(t, b.counts, there, 80)
		b.stop()
		b.all(prefix.Answered, good)
		if sum := b.refusals(); sum != 0 {
			t.Errorf("%v send errors and discarded attempts, want none", sum)
		}
		b.unhealthy()
	})
}

// ownSource gives this machine an address until it is taken away.
func ownSource(t *testing.T) (source netip.Addr, take func()) {
	t.Helper()
	command(t, "ip", "address", "add", "10.66.66.1/32", "dev", "lo")
	take = sync.OnceFunc(func() { command(t, "ip", "address", "del", "10.66.66.1/32", "dev", "lo") })
	t.Cleanup(take)
	return netip.MustParseAddr("10.66.66.1"), take
}

// TestASourceThatGoesIsNoOutage has errors of the kernel that black holes and families without addresses make, too.
func TestASourceThatGoesIsNoOutage(t *testing.T) {
	for _, engine := range []string{EngineBatch, EngineProBing} {
		t.Run(engine, func(t *testing.T) {
			netsim.RequireLab(t)
			source, take := ownSource(t)
			b := newBench(t, engine)
			list := targets(here(), quick)
			for i := range list[:8] {
				list[i].Source = source
			}
			b.apply(prefix.ExpectAll, list)
			b.run()
			waitFor(t, func() bool { return b.snapshot()[list[0].Addr].State == prefix.Up })
			take()
			waitFor(t, func() bool { return b.snapshot()[list[0].Addr].Obstacle != "" })
			time.Sleep(denialWait + denialWait/4) // for what would be lost by then
			b.stop()
			for a, s := range b.snapshot() {
				if s.Counts[prefix.NoRoute] != 0 {
					t.Errorf("%s: counters %v, want no loss for want of a route: the source is gone", a, s.Counts)
				}
			}
		})
	}
}

func TestASourceThatGoesIsNoOutageOfAPort(t *testing.T) {
	eachTCPEngine(t, func(t *testing.T, b *tcpBench) {
		source, take := ownSource(t)
		serve(t, 80)
		list := tcpTargets(here(), func(t *TCPTarget) { t.Source = source }, 80)
		b.apply(list)
		b.run()
		waitFor(t, func() bool { return b.counts()[list[0].key()][prefix.Answered] > 0 })
		take()
		waitFor(t, func() bool { return b.snapshot()[list[0].Addr].Obstacle != "" })
		time.Sleep(denialWait + denialWait/4) // for what would be lost by then
		b.stop()
		for key, c := range b.counts() {
			if c[prefix.NoRoute] != 0 {
				t.Errorf("%v: counters %v, want no loss for want of a route: the source is gone", key, c)
			}
		}
	})
}

// TestARouteThatGoesAndComesBack takes the route to one of two prefixes away, and gives it back.
func TestARouteThatGoesAndComesBack(t *testing.T) {
	b := newBench(t, EngineBatch)
	l := lab(t, `{prefixes: [192.0.2.0/24, 198.51.100.0/24]}`)
	gone, stays := addresses("192.0.2.0", 64), addresses("198.51.100.0", 64)
	b.apply(prefix.ExpectAll, targets(append(gone[:64:64], stays...), nil))
	b.run()
	all := func(s prefix.State) func() bool {
		return func() bool {
			slots := b.snapshot()
			for _, a := range gone {
				if slots[a].State != s {
					return false
				}
			}
			return true
		}
	}
	waitFor(t, all(prefix.Up))
	command(t, "ip", "route", "del", "192.0.2.0/24", "dev", l.Name())
	waitFor(t, all(prefix.Down))
	for _, a := range gone {
		if why := b.snapshot()[a].Cause; why.Detail() != "no route from the prober" {
			t.Errorf("%s is down because of %q", a, why)
		}
	}
	command(t, "ip", "route", "add", "192.0.2.0/24", "dev", l.Name())
	waitFor(t, all(prefix.Up))
	b.settle(l)
	b.noFalseLoss(l)
	b.want(map[string]float64{"send_errors_total icmp": 0, "discarded_probes_total": 0})
	b.unhealthy()
}

// TestAMachineThatIsOfflineLosesNothing takes all routes away at once.
func TestAMachineThatIsOfflineLosesNothing(t *testing.T) {
	b := newBench(t, EngineBatch)
	l := lab(t, `{prefixes: [192.0.2.0/24, 198.51.100.0/24]}`)
	b.apply(prefix.ExpectAll, targets(append(addresses("192.0.2.0", 64), addresses("198.51.100.0", 64)...), nil))
	b.run()
	up := func() bool {
		for _, s := range b.snapshot() {
			if s.State != prefix.Up || s.Obstacle != "" {
				return false
			}
		}
		return true
	}
	waitFor(t, up)
	command(t, "ip", "link", "set", l.Name(), "down")
	waitFor(t, func() bool { return b.value("discarded_probes_total", "offline") > 3*128 })
	for a, s := range b.snapshot() {
		if s.Obstacle != "offline" && s.Obstacle != string(ReasonSkipped) {
			t.Errorf("%s: nothing is measured because of %q", a, s.Obstacle)
		}
	}
	b.troubled(ReasonOffline)
	b.unhealthy(ReasonOffline)
	command(t, "ip", "link", "set", l.Name(), "up")
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/24"} {
		command(t, "ip", "route", "add", p, "dev", l.Name())
	}
	waitFor(t, up)
	for a, s := range b.snapshot() {
		if s.Counts[prefix.NoRoute] != 0 {
			t.Errorf("%s: %d lost for there was no route, want 0", a, s.Counts[prefix.NoRoute])
		}
	}
	b.want(map[string]float64{"send_errors_total icmp": 0})
}

// TestErrorsThatMatchNothingStopNoProbe has an ICMP error, of which only the identifier is right, arrive before five of six
// attempts of the engine to send: the socket tells of it instead of sending.
func TestErrorsThatMatchNothingStopNoProbe(t *testing.T) {
	b := newBench(t, EngineBatch)
	l := lab(t, `{prefixes: [192.0.2.0/24]}`)
	var forged atomic.Pointer[[]byte]
	readings, read := 0, readClocks()
	engine := b.engine.(*batch)
	engine.clock = newClock(func() (time.Time, int64) { // the engine reads it before it sends
		if p := forged.Load(); p != nil {
			if readings++; readings%6 != 0 {
				if err := l.Inject(*p); err != nil {
					t.Error(err)
				}
			}
		}
		return read()
	})
	b.apply(prefix.ExpectAll, targets(addresses("192.0.2.0", 32), quick))
	b.run()
	waitFor(t, func() bool { return len(l.Truth()) > 0 })
	asked := l.Truth()[0]
	local, nobody := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("203.0.113.9")
	p := netsim.ErrorMessage(addresses("192.0.2.1", 1)[0], local, 3, 1, netsim.EchoRequest(local, nobody, asked.ID, asked.Seq, nil)[:28])
	forged.Store(&p)
	sent := b.value("packets_sent_total")
	waitFor(t, func() bool { return b.value("pending_errors_total") > 100 && b.value("packets_sent_total") > sent+3*32 })
	forged.Store(nil)
	b.settle(l)
	b.want(map[string]float64{"send_errors_total icmp": 0})
	b.noFalseLoss(l)
	b.unhealthy()
}

// TestARouteThatGoesWhileSYNsAreOnTheirWay leaves the kernel no way for the second SYN. The first has left: nothing answers it.
func TestARouteThatGoesWhileSYNsAreOnTheirWay(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	l := lab(t, `{prefixes: [192.0.2.0/24], rules: [{silent: true}]}`)
	serve(t, 80)
	slow := func(t *TCPTarget) { t.Interval, t.Timeout = 1500*time.Millisecond, 1200*time.Millisecond }
	good, bad := tcpTargets(here(), slow, 80), tcpTargets(addresses("192.0.2.0", 16), slow, 80)
	b.apply(append(good[:16:16], bad...))
	b.run()
	waitFor(t, func() bool { return b.value("packets_sent_total") >= 32 })
	command(t, "ip", "route", "del", "192.0.2.0/24", "dev", l.Name())
	waitFor(t, func() bool {
		c := b.counts()
		for _, target := range bad {
			if c[target.key()][prefix.NoRoute] < 2 {
				return false
			}
		}
		return true
	})
	b.stop()
	left := connections(l)
	for _, target := range bad {
		if c := b.counts()[target.key()]; int(c[prefix.Timeout]) != len(left[target.key()]) || c[prefix.Answered]+c[prefix.Unreachable] != 0 {
			t.Errorf("%v: counters %v, want %d timeouts, then no_route", target.key(), c, len(left[target.key()]))
		}
	}
	if got := b.value("send_errors_total", "tcp"); got != 0 {
		t.Errorf("%v send errors, want 0", got)
	}
	b.unhealthy()
}

// TestWithoutAWayThereIsNoRound takes the way of traceroutes away.
func TestWithoutAWayThereIsNoRound(t *testing.T) {
	var mu sync.Mutex
	denied := map[route.Key]int{}
	b := newTraceBench(t, func(o *TraceOptions) {
		o.NoRoute = func(k route.Key, dst netip.Addr, at time.Time) {
			mu.Lock()
			defer mu.Unlock()
			if since := time.Since(at); dst != k.Addr || since < 0 || since > time.Minute {
				t.Errorf("%v: no route to %v, %v ago", k, dst, since)
			}
			denied[k]++
		}
	})
	var list []TraceTarget
	for _, a := range obstructed(t, 1) {
		for i, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
			target := traceTarget(protocol, a.String())
			target.Key.Prefix = netip.PrefixFrom(a, target.Key.Prefix.Bits()+i) // three of each
			list = append(list, target)
		}
	}
	b.apply(list...)
	b.run()
	waitFor(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return !slices.ContainsFunc(list, func(target TraceTarget) bool { return denied[target.Key] < 3 })
	})
	b.stop()
	if n := b.count(); n != 0 {
		t.Errorf("%d rounds were recorded, want none", n)
	}
	b.want(map[string]float64{"send_errors_total trace": 0, "packets_sent_total": 0, "discarded_probes_total": 0})
	b.unhealthy()
}
