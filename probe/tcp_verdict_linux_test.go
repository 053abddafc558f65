package probe

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/packet"
	"prefix_exporter/prefix"
)

// handshake is how a network answers the SYNs to a group of addresses.
type handshake struct {
	name   string
	answer func(n *answering, syn []byte)
	want   prefix.Cause  // of every loss; Answered: there is none
	next   bool          // it answers what we send behind the SYN, too
	last   time.Duration // when its last answer comes, after the SYN
}

// synOf reads the addresses, ports and sequence number of a SYN.
func (n *answering) synOf(p []byte) (src, dst netip.AddrPort, sequence uint32) {
	from, to := n.addresses(p)
	tcp := p[n.header:]
	src = netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp))
	dst = netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:]))
	return src, dst, binary.BigEndian.Uint32(tcp[4:])
}

// nameSYN names a SYN by its destination and our port, which no two attempts at a destination share that soon.
func (n *answering) nameSYN(syn []byte) string {
	src, dst, _ := n.synOf(syn)
	return fmt.Sprint(dst, src.Port())
}

// segment makes an answer to a SYN: its flags, and how far off its acknowledgement is.
func (n *answering) segment(syn []byte, flags byte, off uint32) []byte {
	src, dst, sequence := n.synOf(syn)
	return netsim.Segment(dst, src, 1000, sequence+1+off, flags)
}

// everyHandshake are the networks that the addresses are in.
func everyHandshake(near, far netip.Addr, unreachable byte) []handshake {
	says := func(by netip.Addr) prefix.Cause {
		return prefix.Cause{Outcome: prefix.Unreachable, By: by, Type: unreachable, Code: 1}
	}
	return []handshake{
		{"refuses one copy, of which it quotes 8 bytes, before the other is answered", func(n *answering, syn []byte) {
			n.refuse(n.near, 1, syn, 8)
			n.write(n.segment(syn, synAck, 0))
		}, prefix.Cause{}, false, 0},
		{"refuses one copy, and quotes it, before the other is answered", func(n *answering, syn []byte) {
			n.refuse(n.near, 1, syn, whole)
			n.write(n.segment(syn, synAck, 0))
		}, prefix.Cause{}, false, 0},
		{"refuses one copy 100 ms before the other is answered", func(n *answering, syn []byte) {
			n.refuse(n.near, 1, syn, 8)
			n.after(100*time.Millisecond, n.nameSYN(syn), n.segment(syn, synAck, 0))
		}, prefix.Cause{}, false, 100 * time.Millisecond},
		{"refuses one copy after the other is answered", func(n *answering, syn []byte) {
			n.write(n.segment(syn, synAck, 0))
			n.refuse(n.near, 1, syn, whole)
		}, prefix.Cause{}, false, 0},
		{"answers, and refuses what comes next", func(n *answering, p []byte) {
			if p[n.header+segmentFlags]&0x02 == 0 { // our acknowledgement
				n.refuse(n.near, 1, p, whole)
				return
			}
			n.write(n.segment(p, synAck, 0))
		}, prefix.Cause{}, true, 0},
		{"refuses one copy before the other is reset", func(n *answering, syn []byte) {
			n.refuse(n.near, 1, syn, 8)
			n.write(n.segment(syn, resetAck, 0))
		}, prefix.Cause{Outcome: prefix.Refused}, false, 0},
		{"refuses all", func(n *answering, syn []byte) {
			n.refuse(n.near, 1, syn, 8)
		}, says(near), false, 0},
		{"refuses all twice", func(n *answering, syn []byte) {
			n.refuse(n.far, 1, syn, whole)
			n.refuse(n.near, 0, syn, whole)
		}, says(far), false, 0},
		{"refuses all, and has somebody forge an answer who sees no sequence number", func(n *answering, syn []byte) {
			n.refuse(n.near, 1, syn, 8)
			n.write(n.segment(syn, synAck, farOff))
			n.write(n.segment(syn, resetAck, farOff))
		}, says(near), false, 0},
		{"refuses one copy, and answers the other after the timeout", func(n *answering, syn []byte) {
			n.refuse(n.near, 1, syn, 8)
			n.after(480*time.Millisecond, n.nameSYN(syn), n.segment(syn, synAck, 0))
		}, says(near), false, 480 * time.Millisecond},
	}
}

// TestAnAnswerToASYNWinsOverAnICMPError has every SYN to 10 groups of addresses be answered in two ways.
func TestAnAnswerToASYNWinsOverAnICMPError(t *testing.T) {
	for _, family := range []struct {
		prefix, first, near, far string
		unreachable              byte
		header                   int
	}{
		{"192.0.2.0/24", "192.0.2.0", "10.6.6.6", "10.7.7.7", packet.Unreachable, 20},
		{"2001:db8::/120", "2001:db8::", "fd00:6::6", "fd00:7::7", packet.Unreachable6, 40},
	} {
		t.Run(family.prefix, func(t *testing.T) {
			b := newTCPBench(t, EngineBatch)
			l := lab(t, "{prefixes: ["+family.prefix+"], rules: [{silent: true}]}")
			n := newAnswering(t, l, family.near, family.far, family.unreachable, family.header)
			ways := everyHandshake(n.near, n.far, family.unreachable)
			const each = 16
			addrs := addresses(family.first, each*len(ways))
			onPacket(t, func(p []byte) {
				const syn, ack = 0x02, 0x10
				if p[0]>>4 == 6 != (n.header == 40) || len(p) < n.header+20 {
					return
				}
				flags := p[n.header+segmentFlags]
				_, dst, _ := n.synOf(p)
				i := slices.Index(addrs, dst.Addr())
				if i >= 0 && (flags == syn || flags == ack && ways[i/each].next) {
					ways[i/each].answer(n, slices.Clone(p))
					if flags == syn {
						n.written(n.nameSYN(p))
					}
				}
			})
			list := tcpTargets(addrs, nil, 80)
			b.apply(list)
			b.run()
			b.asked(3)
			b.settle()
			n.late.Wait()
			late := b.late(l, n, ways, each)
			for i, way := range ways {
				t.Run(way.name, func(t *testing.T) {
					judged := slices.DeleteFunc(slices.Clone(list[i*each:(i+1)*each]), func(t TCPTarget) bool { return late[t.key()] })
					if len(judged) == 0 {
						b.control.Pace(t, "all were answered later than they should have been")
					}
					b.ended(t, way.want, judged)
				})
			}
			b.want(map[string]float64{"connections": 0})
			b.unhealthy()
		})
	}
}

// late returns the ports of which an attempt was answered later than it should have been, on a busy machine.
func (b *tcpBench) late(l *netsim.Lab, n *answering, ways []handshake, each int) map[netip.AddrPort]bool {
	late, truth := map[netip.AddrPort]bool{}, connections(l)
	for i := range b.list {
		key := b.list[i].key()
		var begun []Packet
		for _, p := range b.attempts[key] {
			if p.Event == "sent" {
				begun = append(begun, p)
			}
		}
		late[key] = len(begun) != len(truth[key])
		for k := range min(len(begun), len(truth[key])) {
			syns := truth[key][k]
			if len(syns) > 1 || !n.onTime(fmt.Sprint(key, syns[0].SrcPort), begun[k].Sent, ways[i/each].last) {
				late[key] = true
			}
		}
	}
	return late
}

// ended checks that every attempt at some ports ended in one way.
func (b *tcpBench) ended(t *testing.T, want prefix.Cause, list []TCPTarget) {
	t.Helper()
	b.allOf(t, want.Outcome, list)
	causes := map[netip.AddrPort]prefix.Cause{}
	var snap prefix.Snapshot
	for _, s := range b.table.Series() {
		s.Snapshot(&snap)
		for i, slot := range snap.Slots {
			causes[netip.AddrPortFrom(snap.Addrs[i], s.Probe().Port)] = slot.Cause
		}
	}
	for i := range list {
		key := list[i].key()
		if diff := cmp.Diff(want, causes[key], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: cause (-want +got)\n%s", key, diff)
		}
		for _, p := range b.attempts[key] {
			if p.Event == "answered" && (p.RTT < 0 || p.RTT > 400*time.Millisecond) {
				t.Errorf("%s: RTT %v", key, p.RTT)
			}
		}
	}
}

// TestWithoutARawSocketTheKernelsVerdictStands closes what hears the answers.
func TestWithoutARawSocketTheKernelsVerdictStands(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	n := newAnswering(t, lab(t, "{prefixes: [192.0.2.0/24], rules: [{silent: true}]}"), "10.6.6.6", "10.7.7.7", packet.Unreachable, 20)
	onSYN(t, func(syn []byte) {
		n.refuse(n.near, 13, syn, 8)
		n.write(n.segment(syn, synAck, 0))
	})
	list := tcpTargets(addresses("192.0.2.0", 16), func(t *TCPTarget) { t.Interval, t.Timeout = 10*time.Second, 10*time.Second }, 80)
	c := b.tcp.(*connector)
	b.apply(list)
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	defer c.end()
	c.witnesses[0].close()
	for i := range list {
		c.connect(c.byKey[list[i].key()], c.clock.now)
	}
	waitFor(t, func() bool {
		c.tick()
		return b.lostConnections() >= 16
	})
	b.ended(t, prefix.Cause{Outcome: prefix.Unreachable, By: n.near, Type: packet.Unreachable, Code: 13}, b.list)
}
