package probe

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// pullCable takes the carrier of an interface away until the end of the test, or until plug is called. All routes stay.
func pullCable(t *testing.T, l *netsim.Lab) (plug func()) {
	t.Helper()
	command(t, "ip", "link", "set", l.Name(), "carrier", "off")
	plug = func() { command(t, "ip", "link", "set", l.Name(), "carrier", "on") }
	t.Cleanup(plug)
	return plug
}

// linkMessage is what the kernel tells of an interface.
func linkMessage(kind uint16, index int32, flags uint32) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+4:], uint32(index))
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+8:], flags)
	return b
}

func TestAnInterfaceIsWithoutCarrierWhileItIsSwitchedOn(t *testing.T) {
	const on, running = unix.IFF_UP, unix.IFF_UP | unix.IFF_LOWER_UP
	for name, test := range map[string]struct {
		messages [][]byte
		want     bool
	}{
		"it runs":                       {[][]byte{linkMessage(unix.RTM_NEWLINK, 7, running)}, false},
		"the cable is out":              {[][]byte{linkMessage(unix.RTM_NEWLINK, 7, running), linkMessage(unix.RTM_NEWLINK, 7, on)}, true},
		"the cable is in again":         {[][]byte{linkMessage(unix.RTM_NEWLINK, 7, on), linkMessage(unix.RTM_NEWLINK, 7, running)}, false},
		"it is switched off":            {[][]byte{linkMessage(unix.RTM_NEWLINK, 7, on), linkMessage(unix.RTM_NEWLINK, 7, 0)}, false},
		"it is gone":                    {[][]byte{linkMessage(unix.RTM_NEWLINK, 7, on), linkMessage(unix.RTM_DELLINK, 7, on)}, false},
		"another one":                   {[][]byte{linkMessage(unix.RTM_NEWLINK, 8, on)}, false},
		"a message that is cut off":     {[][]byte{linkMessage(unix.RTM_NEWLINK, 7, on)[:20]}, false},
		"a message of something else":   {[][]byte{linkMessage(unix.RTM_NEWADDR, 7, on)}, false},
		"a message with a wrong length": {[][]byte{append([]byte{255, 255}, linkMessage(unix.RTM_NEWLINK, 7, on)[2:]...)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCarriers()
			for _, m := range test.messages {
				c.note(m)
			}
			if got := c.out[7]; got != test.want {
				t.Errorf("without carrier: %v, want %v", got, test.want)
			}
		})
	}
}

// TestAPulledCableIsNobodysOutage takes the carrier of the only way away: the routes stay, and the kernel takes each packet.
func TestAPulledCableIsNobodysOutage(t *testing.T) {
	for _, list := range [][]netip.Addr{
		append(addresses("192.0.2.0", 64), addresses("198.51.100.0", 64)...), addresses("2001:db8::", 64),
	} {
		t.Run(list[0].String(), func(t *testing.T) {
			b := newBench(t, EngineBatch)
			l := lab(t, `{prefixes: [192.0.2.0/24, 198.51.100.0/24, "2001:db8::/120"]}`)
			b.apply(prefix.ExpectAll, targets(list, quick))
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
			plug := pullCable(t, l)
			waitFor(t, func() bool { return b.value("discarded_probes_total", "offline") > float64(10*len(list)) })
			b.troubled(ReasonOffline)
			b.unhealthy(ReasonOffline)
			for a, s := range b.snapshot() {
				if s.State == prefix.Down || s.Obstacle != "offline" && s.Obstacle != string(ReasonSkipped) || s.Counts[prefix.NoRoute] != 0 {
					t.Errorf("%s: %v, nothing is measured because of %q, counters %v", a, s.State, s.Obstacle, s.Counts)
				}
			}
			plug()
			waitFor(t, up)
		})
	}
}

// TestAPulledCableOfOneWayIsTheOutageOfWhatLiesBehindIt leaves the way to other prefixes.
func TestAPulledCableOfOneWayIsTheOutageOfWhatLiesBehindIt(t *testing.T) {
	b := newBench(t, EngineBatch)
	l := lab(t, `{prefixes: [192.0.2.0/24]}`)
	b.apply(prefix.ExpectAll, targets(append(addresses("192.0.2.0", 16), here()...), quick))
	b.run()
	behind := netip.MustParsePrefix("192.0.2.0/24")
	all := func(state prefix.State) func() bool {
		return func() bool {
			for a, s := range b.snapshot() {
				if behind.Contains(a) && s.State != state {
					return false
				}
			}
			return true
		}
	}
	waitFor(t, all(prefix.Up))
	plug := pullCable(t, l)
	waitFor(t, all(prefix.Down))
	for a, s := range b.snapshot() {
		if !behind.Contains(a) && s.State != prefix.Up {
			t.Errorf("%s: %v, want up", a, s.State)
		}
		if behind.Contains(a) && s.Counts[prefix.NoRoute] == 0 {
			t.Errorf("%s: counters %v, want some without a way", a, s.Counts)
		}
	}
	if n := b.value("discarded_probes_total", "offline"); n != 0 {
		t.Errorf("%v discarded as offline, want none: half of the addresses have a way", n)
	}
	plug()
	waitFor(t, all(prefix.Up))
}

func TestConnectionsOverAPulledCableAreNobodysOutage(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	l := lab(t, `{prefixes: [192.0.2.0/24], rules: [{port: 80, tcp: open}]}`)
	b.apply(tcpTargets(addresses("192.0.2.1", 16), nil, 80))
	b.run()
	waitFor(t, func() bool { return b.value("packets_received_total", "tcp") >= 32 })
	pullCable(t, l)
	waitFor(t, func() bool { return b.value("discarded_probes_total", "offline") >= 32 })
	for a, c := range b.counts() {
		if c[prefix.NoRoute] != 0 {
			t.Errorf("%v: counters %v, want none without a way", a, c)
		}
	}
	b.troubled(ReasonOffline)
	b.unhealthy(ReasonOffline)
}

func TestATracerouteOverAPulledCableHasNoWay(t *testing.T) {
	for _, protocol := range []string{TraceICMP, TraceUDP, TraceTCP} {
		t.Run(protocol, func(t *testing.T) {
			var denied atomic.Int64
			b := newTraceBench(t, func(o *TraceOptions) {
				o.NoRoute = func(route.Key, netip.Addr, time.Time) { denied.Add(1) }
			})
			l := lab(t, `{prefixes: [192.0.2.0/24]}`)
			b.apply(traceTarget(protocol, "192.0.2.7"))
			b.run()
			b.wait(0, 2)
			pullCable(t, l)
			waitFor(t, func() bool { return denied.Load() >= 3 })
		})
	}
}
