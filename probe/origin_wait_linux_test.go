package probe

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// logged makes a bench whose engine writes its log into a buffer.
func logged(t *testing.T, name string) (*bench, *bytes.Buffer) {
	t.Helper()
	netsim.RequireLab(t)
	b := newBench(t, name)
	var out bytes.Buffer
	logger := log.NewLogfmtLogger(log.NewSyncWriter(&out))
	switch e := b.engine.(type) {
	case *batch:
		e.report.lines.logger = logger
	case *portable:
		e.report.lines.logger = logger
	}
	return b, &out
}

// TestAReloadMayNameWhatIsNotThere adds prefixes whose interface and source are not there to one that answers.
func TestAReloadMayNameWhatIsNotThere(t *testing.T) {
	for _, engine := range []string{EngineBatch, EngineProBing} {
		t.Run(engine, func(t *testing.T) {
			b, out := logged(t, engine)
			good := target(netip.MustParseAddr("127.9.0.1"))
			good.Interval, good.Timeout = 100*time.Millisecond, 100*time.Millisecond
			b.apply(prefix.ExpectAll, []Target{good})
			b.run()
			answers := func(a string) func() bool {
				before := b.snapshot()[netip.MustParseAddr(a)].Counts[prefix.Answered]
				return func() bool { return b.snapshot()[netip.MustParseAddr(a)].Counts[prefix.Answered] > before+2 }
			}
			waitFor(t, answers("127.9.0.1"))
			device, source, both := good, good, good
			device.Addr, device.Interface, device.Where = netip.MustParseAddr("127.9.1.1"), "near0", "127.9.1.0/28 (p.yml:12)"
			both.Addr, both.Interface, both.Where = netip.MustParseAddr("127.9.2.1"), "near0", "127.9.2.0/28 (p.yml:14)"
			source.Addr, source.Source, source.Where = netip.MustParseAddr("127.9.3.1"), netip.MustParseAddr("10.66.0.99"), "127.9.3.0/28 (p.yml:16)"
			all := []Target{good, device, both, source}
			b.apply(prefix.ExpectAll, all)
			waitFor(t, func() bool {
				slots := b.snapshot()
				return slots[device.Addr].Obstacle == interfaceAbsent && slots[both.Addr].Obstacle == interfaceAbsent && slots[source.Addr].Obstacle == sourceAbsent
			})
			b.apply(prefix.ExpectAll, all) // says nothing again
			waitFor(t, answers("127.9.0.1"))
			b.unhealthy() // it is no trouble of all prefixes
			ip(t, "link", "add", "near0", "type", "veth", "peer", "name", "near1")
			t.Cleanup(func() { command(t, "ip", "link", "del", "near0") })
			ip(t, "link", "set", "near0", "up")
			ip(t, "addr", "add", "10.66.0.99/32", "dev", "near0")
			waitFor(t, answers("127.9.3.1"))
			b.stop()
			var got []string
			for line := range strings.Lines(out.String()) {
				if _, detail, ok := strings.Cut(line, "detail="); ok {
					s, err := strconv.Unquote(strings.TrimSpace(detail))
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasPrefix(s, "prefix") { // and no trouble of a busy machine
						got = append(got, s)
					}
				}
			}
			want := []string{
				`prefix 127.9.3.0/28 (p.yml:16) waits for source "10.66.0.99": cannot assign requested address`,
				`prefix 127.9.3.0/28 (p.yml:16) waits no longer: source "10.66.0.99" is there`,
				`prefixes 127.9.1.0/28 (p.yml:12), 127.9.2.0/28 (p.yml:14) wait for interface "near0": no such device`,
				`prefixes 127.9.1.0/28 (p.yml:12), 127.9.2.0/28 (p.yml:14) wait no longer: interface "near0" is there`,
			}
			slices.Sort(got) // in whatever order they were looked at
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("log (-want +got)\n%s", diff)
			}
		})
	}
}

// TestWhereNothingCanBeSentTheProberIsInTrouble has one prefix only, and its interface is not there.
func TestWhereNothingCanBeSentTheProberIsInTrouble(t *testing.T) {
	netsim.RequireLab(t)
	b := newBench(t, EngineBatch)
	b.apply(prefix.ExpectAll, []Target{mended(netip.MustParseAddr("127.9.1.1"), func(t *Target) { t.Interface = "near0" })})
	b.run()
	b.troubled(ReasonSendError)
	b.unhealthy(ReasonSendError)
}

func TestAbsentSaysWhatThisMachineDoesNotHave(t *testing.T) {
	netsim.RequireLab(t)
	for _, c := range []struct{ name, source, device, want string }{
		{"nothing is named", "", "", ""},
		{"both are there", "127.0.0.1", "lo", ""},
		{"an interface that is not there", "127.0.0.1", "nosuch0", `interface "nosuch0": no such device`},
		{"a source that is not there", "10.66.0.99", "lo", `source "10.66.0.99": cannot assign requested address`},
		{"a source of IPv6 that is not there", "fd66::99", "", `source "fd66::99": cannot assign requested address`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := Absent(optional(c.source), c.device); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestLinkLocalAddressesAreProbedByTheirInterface has the same address behind two interfaces.
func TestLinkLocalAddressesAreProbedByTheirInterface(t *testing.T) {
	for _, raw := range []bool{false, true} {
		t.Run("raw only "+strconv.FormatBool(raw), func(t *testing.T) {
			if raw {
				closePingGroups(t)
			}
			world := newPeer(t)
			world.here(join)
			list := allProbers(t)
			for i, p := range list {
				source := ""
				if p.name != "pro-bing" && i%2 == 0 { // others find it
					source = "fe80::1"
				}
				p.begin("fe80::2", source, "near0")
			}
			each(t, "it is not answered", list, func(p *prober) bool { return p.answers() > 3 })
		})
	}
}

// TestAChecksumCoversTheSourceThatIsSentFrom traces through an interface by which the main table does not go,
// by way of a route that prefers another one, and looks whether the other end found the checksums right.
func TestAChecksumCoversTheSourceThatIsSentFrom(t *testing.T) {
	world := newPeer(t)
	world.here(join + `ip link add other0 type veth peer name other1
ip addr add 10.65.0.1/24 dev other0
ip addr add fd65::1/64 dev other0 nodad
ip link set other1 up
ip link set other0 up
ip route replace 10.67.0.0/24 via 10.65.0.2
ip route add 10.67.0.0/24 via 10.66.0.2 dev near0 metric 50
ip -6 route del fd67::/64
ip -6 route add fd67::/64 via fd65::2 metric 10
ip -6 route add fd67::/64 via fd66::2 dev near0 metric 2000`)
	t.Cleanup(func() { command(t, "ip", "link", "del", "other0") })
	for _, protocol := range []string{TraceICMP, TraceTCP, TraceUDP} {
		for _, to := range []string{"10.67.0.7", "fd67::7", "fe80::2"} {
			t.Run(protocol+" to "+to, func(t *testing.T) {
				p := newRouteProber(t, protocol)
				before := world.wrongChecksums()
				p.begin(to, "", "near0")
				each(t, "it is not answered", []*prober{p}, func(p *prober) bool { return p.answers() > 3 })
				p.stop()
				if n := world.wrongChecksums() - before; n != 0 {
					t.Errorf("%d packets with a wrong checksum have arrived", n)
				}
				p.unhealthy()
			})
		}
	}
}

// wrongChecksums is how many packets the other end has thrown away because of their checksums.
func (p *peer) wrongChecksums() (n int) {
	p.t.Helper()
	all := tool(p.t, "util-linux", "nsenter", "--net", "--target", p.pid, "cat", "/proc/net/snmp", "/proc/net/snmp6")
	var names []string
	for line := range strings.Lines(all) {
		f := strings.Fields(line)
		switch {
		case strings.HasSuffix(f[0], "InCsumErrors"): // snmp6: a name and its value
			names, f = f[:1], f[1:]
		case names == nil || f[0] != names[0]: // snmp: a line of names, then one of values
			names = f
			continue
		}
		for i, name := range names[len(names)-len(f):] {
			if v, err := strconv.Atoi(f[i]); err == nil && strings.HasSuffix(name, "InCsumErrors") {
				n += v
			}
		}
		names = nil
	}
	return n
}

// TestASourceThatChangesInARoundIsNotSentFrom takes the source of a round away while it is being written.
func TestASourceThatChangesInARoundIsNotSentFrom(t *testing.T) {
	for _, c := range []struct{ name, to, gone string }{{"IPv4", "10.67.0.7", "10.66.0.99"}, {"IPv6", "fd67::7", "fd66::99"}} {
		for _, protocol := range []string{TraceTCP, TraceUDP} {
			t.Run(c.name+" by "+protocol, func(t *testing.T) {
				world := newPeer(t)
				world.here(join)
				b := newTraceBench(t, nil)
				target := traceTarget(protocol, c.to)
				target.MaxHops = 1
				b.apply(target)
				tr := b.tracer
				defer tr.closeSockets()
				tr.start()
				before := world.wrongChecksums()
				r := tr.byKey[target.Key]
				r.dst = target.Key.Addr
				r.socket.begin()
				r.source = netip.MustParseAddr(c.gone) // as if it had been found a moment ago
				tr.write(r, 0)
				tr.flush(r, 0)
				if r.asks[0].state != askRefused {
					t.Errorf("the probe left, state %d", r.asks[0].state)
				}
				if n := world.wrongChecksums() - before; n != 0 {
					t.Errorf("%d packets with a wrong checksum have arrived", n)
				}
			})
		}
	}
}

// TestAWrongSourceIsSeen lets a round believe that it left from another address than it did.
func TestAWrongSourceIsSeen(t *testing.T) {
	for _, protocol := range []string{TraceTCP, TraceUDP} {
		for _, to := range []string{"10.67.0.7", "fd67::7"} {
			t.Run(protocol+" to "+to, func(t *testing.T) {
				world := newPeer(t)
				world.here(join)
				b := newTraceBench(t, nil)
				target := traceTarget(protocol, to)
				target.MaxHops, target.Interval, target.Timeout = 1, time.Hour, time.Minute
				b.apply(target)
				tr := b.tracer
				defer tr.closeSockets()
				tr.start()
				r := tr.byKey[target.Key]
				tr.begin(r, tr.clock.now)
				r.source = r.source.Next()
				waitFor(t, func() bool {
					tr.step()
					return b.value("malformed_packets_total") > 0
				})
				b.unhealthy(ReasonSocket)
				if r.asks[0].state == askAnswered && r.asks[0].kind == route.Arrived {
					t.Error("the answer was believed")
				}
			})
		}
	}
}
