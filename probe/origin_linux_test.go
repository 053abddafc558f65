package probe

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// peer is another network namespace, joined to that of the test by a veth pair: near0 with 10.66.0.1, fd66::1 and
// fe80::1, and far0 with .2, ::2 and fe80::2. It owns 10.67.0.0/24 and fd67::7, and takes connections to port 80.
type peer struct {
	t   testing.TB
	pid string
}

func newPeer(t testing.TB) *peer {
	t.Helper()
	netsim.RequireLab(t)
	cmd := exec.Command(testenv.RequireProgram(t, "unshare", "util-linux"), "--net", "sleep", "infinity")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &peer{t: t, pid: strconv.Itoa(cmd.Process.Pid)}
	c := &chain{t: t, pids: []string{p.pid}}
	c.settled(1)
	c.listen(1, "[::]:80")
	p.there(`ip link set lo up
ip addr add 10.67.0.0/24 dev lo
ip addr add fd67::7/128 dev lo nodad
echo 0 >/proc/sys/net/ipv4/icmp_ratelimit
echo 0 >/proc/sys/net/ipv6/icmp/ratelimit`)
	t.Cleanup(func() {
		for _, name := range []string{"near0", "away0", "vrf-a"} {
			_ = exec.Command("ip", "link", "del", name).Run()
		}
	})
	return p
}

// here runs a shell script in the namespace of the test, there in the other one. $P is who holds that.
func (p *peer) here(script string) {
	p.t.Helper()
	command(p.t, "sh", "-ec", "P="+p.pid+"\n"+script)
}

func (p *peer) there(script string) {
	p.t.Helper()
	command(p.t, "nsenter", "--net", "--target", p.pid, "sh", "-ec", script)
}

const (
	// join makes the pair, the far end first, and with neighbours that need not be asked for: what is sent at
	// once must arrive.
	join = `ip link add far0 address 02:00:00:00:00:02 netns $P type veth peer name near0 address 02:00:00:00:00:01
nsenter --net --target $P sh -ec '
ip addr add 10.66.0.2/24 dev far0
ip addr add fd66::2/64 dev far0 nodad
ip addr add fe80::2/64 dev far0 nodad
for a in 10.66.0.1 10.66.0.99 fd66::1 fd66::99 fe80::1; do ip neigh add $a lladdr 02:00:00:00:00:01 dev far0 nud permanent; done
ip link set far0 up'
for a in 10.66.0.2 fd66::2 fe80::2; do ip neigh add $a lladdr 02:00:00:00:00:02 dev near0 nud permanent; done
` + address + "ip link set near0 up\n" + routes
	address = `ip addr add 10.66.0.1/24 dev near0
ip addr add fd66::1/64 dev near0 nodad
ip addr add fe80::1/64 dev near0 nodad
`
	routes = `ip route add 10.67.0.0/24 via 10.66.0.2
ip -6 route add fd67::/64 via fd66::2
`
	inVRF = `ip link add vrf-a type vrf table 10
ip link set near0 master vrf-a
ip link set vrf-a up
ip route replace 10.67.0.0/24 via 10.66.0.2 vrf vrf-a
`
)

// prober is an engine, as the tests of this file see it.
type prober struct {
	*bench
	name string
	// begin probes an address from a source (or none) by a device (or none).
	begin func(addr, source, device string)
	// answers is how many answers there have been, lost how many losses that are about the other end.
	answers, lost func() int
	// obstacle is why nothing is measured now.
	obstacle func() string
}

// allProbers makes one of every engine.
func allProbers(t *testing.T) []*prober {
	list := []*prober{
		newPinger(t, EngineBatch), newPinger(t, EngineProBing), newConnector(t),
		newRouteProber(t, TraceICMP), newRouteProber(t, TraceTCP), newRouteProber(t, TraceUDP),
	}
	for i, name := range []string{"icmp", "pro-bing", "tcp", "trace by icmp", "trace by tcp", "trace by udp"} {
		list[i].name = name
	}
	return list
}

func optional(source string) (a netip.Addr) {
	if source != "" {
		a = netip.MustParseAddr(source)
	}
	return a
}

func newPinger(t *testing.T, engine string) *prober {
	netsim.RequireLab(t)
	b := newBench(t, engine)
	return (&prober{bench: b, begin: func(addr, source, device string) {
		b.apply(prefix.ExpectAll, []Target{mended(netip.MustParseAddr(addr), func(t *Target) {
			t.Interval, t.Timeout, t.Source, t.Interface = 60*time.Millisecond, 60*time.Millisecond, optional(source), device
		})})
		b.run()
	}}).tabled()
}

func newConnector(t *testing.T) *prober {
	b := newTCPBench(t, EngineBatch)
	return (&prober{bench: b.bench, begin: func(addr, source, device string) {
		b.apply(tcpTargets([]netip.Addr{netip.MustParseAddr(addr)}, func(t *TCPTarget) {
			t.Interval, t.Timeout, t.Source, t.Interface = 60*time.Millisecond, 60*time.Millisecond, optional(source), device
		}, 80))
		b.run()
	}}).tabled()
}

// tabled reads what is known of the only address of the table.
func (p *prober) tabled() *prober {
	slot := func() prefix.Slot {
		var snap prefix.Snapshot
		for _, s := range p.table.Series() {
			s.Snapshot(&snap)
			for _, slot := range snap.Slots {
				if slot.Configured {
					return slot
				}
			}
		}
		return prefix.Slot{}
	}
	p.answers = func() int { return int(slot().Counts[prefix.Answered]) }
	p.obstacle = func() string { return slot().Obstacle }
	p.lost = func() (n int) {
		counts := slot().Counts
		for o := range counts {
			if prefix.Outcome(o) != prefix.Answered && prefix.Outcome(o) != prefix.NoRoute {
				n += int(counts[o])
			}
		}
		return n
	}
	return p
}

func newRouteProber(t *testing.T, protocol string) *prober {
	b := newTraceBench(t, nil)
	count := func(kind route.Kind) (n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, r := range b.rounds {
			for _, a := range r.Answers {
				if a.Kind == kind {
					n++
				}
			}
		}
		return n
	}
	return &prober{
		bench: b.bench,
		begin: func(addr, source, device string) {
			target := traceTarget(protocol, addr)
			target.Source, target.Interface, target.MaxHops = optional(source), device, 1
			target.Interval, target.Timeout = 80*time.Millisecond, 60*time.Millisecond
			b.apply(target)
			b.run()
		},
		answers: func() int { return count(route.Arrived) },
		lost:    func() int { return count(route.Silent) + count(route.Unreachable) },
		obstacle: func() string {
			b.tracer.mu.Lock()
			defer b.tracer.mu.Unlock()
			for _, s := range b.tracer.sockets {
				if s.origin.gone != nil {
					return s.origin.gone.obstacle
				}
			}
			return ""
		},
	}
}

// unsent is how many probes could not be sent.
func (p *prober) unsent() int {
	return int(p.value("send_errors_total", "ENODEV") + p.value("send_errors_total", "EADDRNOTAVAIL"))
}

// each waits until what is asked is true of every one of the probers, one after the other.
func each(t *testing.T, what string, list []*prober, ok func(*prober) bool) {
	t.Helper()
	for _, p := range list {
		if !within(patience, func() bool { return ok(p) }) {
			t.Fatalf("%s: waited for %v: %s", p.name, patience, what)
		}
	}
}

// within says whether something becomes true in time.
func within(d time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(d); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func TestProbingGoesOnOnceWhatWasAwayIsBack(t *testing.T) {
	const source4, source6 = "10.66.0.99", "fd66::99"
	with4, without4 := "ip addr add 10.66.0.99/32 dev near0\n", "ip addr del 10.66.0.99/32 dev near0\n"
	with6, without6 := "ip addr add fd66::99/128 dev near0 nodad\n", "ip addr del fd66::99/128 dev near0\n"
	for _, c := range []struct {
		name                 string
		addr, source, device string
		raw                  bool   // no datagram sockets for ICMP
		before, away, back   string // scripts; without away it is away from the start, or too shortly to be seen
		obstacle             string
	}{
		{name: "a device is deleted and made again", addr: "10.67.0.7", device: "near0",
			before: join, away: "ip link del near0", back: join, obstacle: interfaceAbsent},
		{name: "a device is deleted and made again, with raw sockets", addr: "10.67.0.7", device: "near0", raw: true,
			before: join, away: "ip link del near0", back: join, obstacle: interfaceAbsent},
		{name: "a device is deleted and made again at once", addr: "10.67.0.7", device: "near0",
			before: join, back: "ip link del near0\n" + join},
		{name: "a device of IPv6 is deleted and made again", addr: "fd67::7", device: "near0",
			before: join, away: "ip link del near0", back: join, obstacle: interfaceAbsent},
		{name: "a device of IPv6 is deleted and made again, with raw sockets", addr: "fd67::7", device: "near0", raw: true,
			before: join, away: "ip link del near0", back: join, obstacle: interfaceAbsent},
		{name: "a device is renamed and gets its name back", addr: "10.67.0.7", device: "near0", before: join,
			away:     "ip link set near0 down; ip link set near0 name away0; ip link set away0 up; ip route add 10.67.0.0/24 via 10.66.0.2",
			back:     "ip link set away0 down; ip link set away0 name near0; ip link set near0 up; ip route add 10.67.0.0/24 via 10.66.0.2",
			obstacle: interfaceAbsent},
		{name: "a device is moved into a VRF", addr: "10.67.0.7", device: "near0", before: join, back: inVRF},
		{name: "a VRF is made later", addr: "10.67.0.7", device: "vrf-a", before: join, back: inVRF, obstacle: interfaceAbsent},
		{name: "a device comes after the start", addr: "10.67.0.7", device: "near0", back: join, obstacle: interfaceAbsent},
		{name: "a source is removed and added", addr: "10.67.0.7", source: source4,
			before: join + with4, away: without4, back: with4, obstacle: sourceAbsent},
		{name: "a source is removed and added, with raw sockets", addr: "10.67.0.7", source: source4, raw: true,
			before: join + with4, away: without4, back: with4, obstacle: sourceAbsent},
		{name: "a source comes after the start", addr: "10.67.0.7", source: source4,
			before: join, back: with4, obstacle: sourceAbsent},
		{name: "a source on a machine that lets sockets be bound to any address", addr: "10.67.0.7", source: source4,
			before: join + with4 + "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind", away: without4, back: with4, obstacle: sourceAbsent},
		{name: "a source of IPv6 is removed and added", addr: "fd67::7", source: source6,
			before: join + with6, away: without6, back: with6, obstacle: sourceAbsent},
		{name: "a source of IPv6 that may be somebody else's", addr: "fd67::7", source: source6,
			before: join + "echo 100 >/proc/sys/net/ipv6/conf/near0/dad_transmits; ip addr add fd66::99/128 dev near0",
			back:   without6 + with6, obstacle: sourceAbsent},
		{name: "a source on a device that comes first", addr: "10.67.0.7", source: source4, device: "near0",
			before: join, back: with4, obstacle: sourceAbsent},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.raw {
				closePingGroups(t)
			}
			setSysctl(t, "/proc/sys/net/ipv4/ip_nonlocal_bind", "0")
			world := newPeer(t)
			if c.back == inVRF && exec.Command("ip", "link", "add", "vrf-a", "type", "vrf", "table", "11").Run() != nil {
				t.Skip("this kernel has no VRFs")
			}
			_ = exec.Command("ip", "link", "del", "vrf-a").Run()
			world.here(c.before)
			list := allProbers(t)
			for _, p := range list {
				p.begin(c.addr, c.source, c.device)
			}
			before := map[*prober]int{}
			more := func(n int) func(p *prober) bool {
				return func(p *prober) bool { return p.answers() >= before[p]+n }
			}
			if c.away != "" || c.obstacle == "" {
				each(t, "it is not answered", list, more(3))
			}
			lost := map[*prober]int{}
			for _, p := range list {
				lost[p] = p.lost() - int(p.value("late_replies_total")) // which a busy machine makes losses of
			}
			world.here(c.away)
			if c.obstacle != "" {
				each(t, "it is not told that "+c.obstacle, list, func(p *prober) bool { return p.obstacle() == c.obstacle })
				for _, p := range list {
					before[p] = p.unsent()
				}
				each(t, "nothing is due", list, func(p *prober) bool { return p.unsent() >= before[p]+3 })
				for _, p := range list {
					switch n := p.lost() - int(p.value("late_replies_total")) - lost[p]; {
					case n <= 0:
					case p.name == "pro-bing": // it times by the clock of the process
						p.control.Pace(t, "%s: %d probes are lost, which nobody had to answer", p.name, n)
					default:
						t.Errorf("%s: %d probes are lost, which nobody had to answer", p.name, n)
					}
				}
			}
			for _, p := range list {
				before[p] = p.answers()
			}
			world.here(c.back)
			each(t, "it is not answered again", list, more(3))
		})
	}
}

// TestWhatIsInFlightOnADeadSocketIsNotLost deletes a device while many probes are out that nobody answers.
func TestWhatIsInFlightOnADeadSocketIsNotLost(t *testing.T) {
	long := 4 * time.Second
	addrs := addresses("10.67.0.0", 64)
	inFlight := func(b *bench) func() bool {
		return func() bool { return b.value("packets_sent_total") >= 8 }
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T) (b *bench, lost func() int)
	}{
		{"echo requests", func(t *testing.T) (*bench, func() int) {
			p := newPinger(t, EngineBatch)
			p.apply(prefix.ExpectAll, targets(addrs, func(t *Target) { t.Interval, t.Timeout, t.Interface = long, long, "near0" }))
			p.run()
			return p.bench, func() (n int) {
				for _, s := range p.snapshot() {
					n += int(s.Counts[prefix.Timeout] + s.Counts[prefix.Unreachable])
				}
				return n
			}
		}},
		{"connections", func(t *testing.T) (*bench, func() int) {
			b := newTCPBench(t, EngineBatch)
			b.apply(tcpTargets(addrs, func(t *TCPTarget) { t.Interval, t.Timeout, t.Interface = long, long, "near0" }, 80))
			b.run()
			return b.bench, func() (n int) {
				for _, counts := range b.counts() {
					n += int(counts[prefix.Timeout] + counts[prefix.Unreachable])
				}
				return n
			}
		}},
		{"a round", func(t *testing.T) (*bench, func() int) {
			b := newTraceBench(t, nil)
			target := traceTarget(TraceICMP, "10.67.0.7")
			target.Interval, target.Timeout, target.Interface = long, long, "near0"
			b.apply(target)
			b.run()
			return b.bench, func() (n int) {
				for _, r := range b.rounds {
					for _, a := range r.Answers {
						if a.Kind != route.Unasked {
							n++
						}
					}
				}
				return n
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			world := newPeer(t)
			world.here(join)
			world.there("ip link set far0 arp off; ip addr flush dev far0; ip route add blackhole 10.66.0.0/24") // nobody answers
			world.here("ip neigh replace 10.66.0.2 lladdr 02:00:00:00:00:01 dev near0 nud permanent")
			b, lost := c.make(t)
			waitFor(t, inFlight(b))
			world.here("ip link del near0")
			waitFor(t, func() bool { return b.value("discarded_probes_total", interfaceAbsent) >= 8 })
			b.stop()
			if n := lost(); n > 0 {
				t.Errorf("%d are lost", n)
			}
		})
	}
}

// TestTheFlowOutlivesItsSocket compares what balancers see of a route before and after its device was away.
func TestTheFlowOutlivesItsSocket(t *testing.T) {
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		for _, raw := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, raw only %t", protocol, raw), func(t *testing.T) {
				if raw {
					closePingGroups(t)
				}
				world := newPeer(t)
				world.here(join)
				p := newRouteProber(t, protocol)
				b := newTraceBench(t, nil)
				p.bench = b.bench
				target := traceTarget(protocol, "10.67.0.7")
				target.Interface, target.MaxHops = "near0", 1
				b.apply(target)
				b.run()
				flow := func() [2]uint32 {
					b.tracer.mu.Lock()
					defer b.tracer.mu.Unlock()
					r := b.tracer.byKey[target.Key]
					return [2]uint32{r.constant(), uint32(r.checksum)}
				}
				arrived := func() bool {
					b.mu.Lock()
					defer b.mu.Unlock()
					last := len(b.rounds) - 1
					return last >= 0 && b.rounds[last].Answers[0].Kind == route.Arrived
				}
				waitFor(t, arrived)
				before := flow()
				world.here("ip link del near0")
				waitFor(t, func() bool { return b.value("send_errors_total", "ENODEV") > 0 && !arrived() })
				world.here(join)
				waitFor(t, arrived)
				if after := flow(); after != before {
					t.Errorf("flow %x, before %x", after, before)
				}
			})
		}
	}
}
