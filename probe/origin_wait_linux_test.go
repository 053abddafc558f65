package probe

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"

	"prefix_exporter/netsim"
	"prefix_exporter/prefix"
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
					got = append(got, s)
				}
			}
			want := []string{
				`prefixes 127.9.1.0/28 (p.yml:12), 127.9.2.0/28 (p.yml:14) wait for interface "near0": no such device`,
				`prefix 127.9.3.0/28 (p.yml:16) waits for source "10.66.0.99": cannot assign requested address`,
				`prefixes 127.9.1.0/28 (p.yml:12), 127.9.2.0/28 (p.yml:14) wait no longer: interface "near0" is there`,
				`prefix 127.9.3.0/28 (p.yml:16) waits no longer: source "10.66.0.99" is there`,
			}
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
	waitFor(t, func() bool { return len(b.health.Troubles()) > 0 })
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
