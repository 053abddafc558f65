package netsim

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"testing"
	"time"
)

// valid checks a packet that the lab built, with other code than the one that built it: lengths, header
// checksum, and that of the ICMP message or TCP segment.
func valid(t *testing.T, p []byte) (header, message bool) {
	t.Helper()
	slow := func(b []byte, s uint32) uint16 {
		for i := range b {
			s += uint32(b[i]) << (8 * (1 - i%2))
			s = s&0xffff + s>>16
		}
		return ^uint16(s)
	}
	if p[0]>>4 == 4 {
		body := p[20:]
		if p[9] != protoICMP { // only ICMP goes without the pseudo-header
			body = slices.Concat(p[12:20], []byte{0, p[9], 0, byte(len(p) - 20)}, body)
		}
		return int(binary.BigEndian.Uint16(p[2:])) == len(p) && slow(p[:20], 0) == 0, slow(body, 0) == 0
	}
	pseudo := slices.Concat(p[8:40], []byte{0, 0, 0, 0, 0, 0, 0, p[6]})
	binary.BigEndian.PutUint32(pseudo[32:], uint32(len(p)-40))
	return int(binary.BigEndian.Uint16(p[4:])) == len(p)-40, slow(append(pseudo, p[40:]...), 0) == 0
}

func TestICMPErrorsComeFromTheRouterAndQuoteTheRequest(t *testing.T) {
	cases := []struct {
		rule, to, from string
		typ, code      byte
		quoted         int // bytes
		payload        int
	}{
		{"unreachable: host", "192.0.2.7", "192.0.2.7", 3, 1, 84, 56},
		{"unreachable: {code: net, from: 198.51.100.9}", "192.0.2.7", "198.51.100.9", 3, 0, 84, 56},
		{"unreachable: {code: port, quote: 8}", "192.0.2.7", "192.0.2.7", 3, 3, 28, 56},
		{"unreachable: {code: prohibited}", "192.0.2.7", "192.0.2.7", 3, 13, 548, 1400},
		{"unreachable: {code: 12}", "192.0.2.7", "192.0.2.7", 3, 12, 84, 56},
		{"ttl_exceeded: {from: 198.51.100.9}", "192.0.2.7", "198.51.100.9", 11, 0, 84, 56},
		{"unreachable: {code: host, from: '2001:db8:1::9'}", "2001:db8::7", "2001:db8:1::9", 1, 3, 104, 56},
		{"unreachable: {code: port, quote: 8}", "2001:db8::7", "2001:db8::7", 1, 4, 48, 56},
		{"unreachable: prohibited", "2001:db8::7", "2001:db8::7", 1, 1, 1232, 1400},
		{"ttl_exceeded: transit", "2001:db8::7", "2001:db8::7", 3, 0, 104, 56},
	}
	for _, c := range cases {
		e := simulate(t, "prefixes: [192.0.2.0/24, '2001:db8::/120']\nrules:\n  - "+c.rule)
		to, local := netip.MustParseAddr(c.to), local4
		if to.Is6() {
			local = local6
		}
		request := EchoRequest(local, to, 1, 2, make([]byte, c.payload))
		e.receive(request, epoch0, 0)
		p := written(e)[0]
		if header, icmp := valid(t, p); !header || !icmp {
			t.Errorf("%s: header is right: %t, ICMP checksum is right: %t", c.rule, header, icmp)
		}
		from, _ := netip.AddrFromSlice(p[12:16])
		h := ipv4HeaderLen
		if to.Is6() {
			from, _ = netip.AddrFromSlice(p[8:24])
			h = ipv6HeaderLen
		}
		if from.String() != c.from || p[h] != c.typ || p[h+1] != c.code || !slices.Equal(p[h+8:], request[:c.quoted]) {
			t.Errorf("%s: from %s, type %d, code %d, %d bytes quoted", c.rule, from, p[h], p[h+1], len(p)-h-8)
		}
		if r := packets(e)[0].Replies[0]; r.From.String() != c.from || r.Type != c.typ || r.Code != c.code {
			t.Errorf("%s: the truth has %+v", c.rule, r)
		}
	}
}

func TestDamage(t *testing.T) {
	for _, to := range []string{"192.0.2.7", "2001:db8::7"} {
		for mode, intact := range map[string]bool{"flip": false, "payload": true, "truncate": true} {
			e := simulate(t, "stamp: true\nprefixes: [192.0.2.0/24, '2001:db8::/120']\nrules:\n  - corrupt: {probability: 1, mode: "+mode+"}")
			for i := range 200 {
				ask(e, to, uint16(i), time.Second)
				p := written(e)[0]
				header, icmp := valid(t, p)
				if !header || icmp != intact {
					t.Fatalf("%s: header is right: %t, ICMP checksum is right: %t", mode, header, icmp)
				}
				h := headerLen(p)
				body := p[h+icmpHeaderLen:]
				switch {
				case mode == "payload" && slices.Equal(body[:16], payload56[:16]):
					t.Errorf("%s %s: the payload is as it was", to, mode)
				case mode == "truncate" && len(body) >= len(payload56):
					t.Errorf("%s %s: %d bytes", to, mode, len(body))
				}
			}
			if v := packets(e)[0]; v.Verdict != Corrupted || v.Replies[0].Corrupt.String() != mode {
				t.Errorf("%s: the truth has %s, %s", mode, v.Verdict, v.Replies[0].Corrupt)
			}
		}
	}
}

func TestStampsLieBehindThePayloadOfPingUnderAValidChecksum(t *testing.T) {
	for _, to := range []string{"192.0.2.7", "2001:db8::7"} {
		e := simulate(t, "stamp: true\nprefixes: [192.0.2.0/24, '2001:db8::/120']\nrules: [{delay: 5ms}]")
		for i := range 100 { // other times, other carries
			ask(e, to, uint16(i), time.Duration(i)*time.Second+time.Duration(i*7919))
			p := written(e)[0]
			if header, icmp := valid(t, p); !header || !icmp {
				t.Fatalf("%s: header is right: %t, ICMP checksum is right: %t", to, header, icmp)
			}
			body := p[headerLen(p)+icmpHeaderLen:]
			arrived, sent, ok := Stamps(body)
			q := packets(e)[i]
			if !ok || arrived != q.Arrived || sent != q.Replies[0].Written || !slices.Equal(body[:32], payload56[:32]) || !slices.Equal(body[48:], payload56[48:]) {
				t.Errorf("%s: stamps %d %d %t, the truth has %d %d", to, arrived, sent, ok, q.Arrived, q.Replies[0].Written)
			}
		}
	}
	if _, _, ok := Stamps(make([]byte, 47)); ok {
		t.Error("47 bytes have no room for stamps")
	}
}

func TestWrongSource(t *testing.T) {
	e := simulate(t, "prefixes: [192.0.2.0/24, '2001:db8::/120']\nrules: [{answer_from: 192.0.2.66}]")
	ask(e, "192.0.2.7", 1, 0)
	ask(e, "2001:db8::7", 1, 0) // the other family answers as always
	got := packets(e)
	if from := got[0].Replies[0].From.String(); got[0].Verdict != WrongSource || from != "192.0.2.66" {
		t.Errorf("%s from %s", got[0].Verdict, from)
	}
	if got[1].Verdict != Answered {
		t.Errorf("IPv6: %s", got[1].Verdict)
	}
}

// TestOddPackets feeds what is no echo request to an address of the scenario.
func TestOddPackets(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.7")
	good := EchoRequest(local4, a, 1, 1, payload56)
	good6 := EchoRequest(local6, netip.MustParseAddr("2001:db8::7"), 1, 1, payload56)
	change := func(p []byte, seal bool, at int, v byte) []byte {
		p = slices.Clone(p)
		p[at] = v
		if seal && p[0]>>4 == 4 {
			p[10], p[11] = 0, 0
			binary.BigEndian.PutUint16(p[10:], checksum(p[:20], 0))
		}
		return p
	}
	cases := []struct {
		name   string
		packet []byte
		want   Stats
	}{
		{"nothing", nil, Stats{Malformed: 1}},
		{"no IP version", change(good, false, 0, 0x15), Stats{Malformed: 1}},
		{"half a header", good[:10], Stats{Malformed: 1}},
		{"shorter than it says", good[:50], Stats{Malformed: 1}},
		{"header length of 4", change(good, true, 0, 0x41), Stats{Malformed: 1}},
		{"header beyond the packet", change(good[:24], true, 0, 0x4f), Stats{Malformed: 1}},
		{"broken header checksum", change(good, false, 8, 1), Stats{Malformed: 1}},
		{"broken ICMP checksum", change(good, false, 40, 99), Stats{Malformed: 1}},
		{"more fragments", change(good, true, 6, 0x20), Stats{Fragments: 1}},
		{"a later fragment", change(good, true, 7, 9), Stats{Fragments: 1}},
		{"another protocol", change(good, true, 9, 47), Stats{Other: 1}},
		{"a datagram of another length than it says", change(good, true, 9, protoUDP), Stats{Malformed: 1}},
		{"broken TCP checksum", change(good, true, 9, protoTCP), Stats{Malformed: 1}},
		{"half a TCP header", change(good[:30], true, 3, 30), Stats{Malformed: 1}},
		{"an echo reply", EchoReply(local4, a, 1, 1, nil), Stats{Other: 1}},
		{"an unreachable", ErrorMessage(local4, a, 3, 1, good), Stats{Other: 1}},
		{"outside of the prefixes", EchoRequest(local4, netip.MustParseAddr("203.0.113.1"), 1, 1, nil), Stats{Stray: 1}},
		{"half an IPv6 header", good6[:39], Stats{Malformed: 1}},
		{"IPv6 shorter than it says", good6[:60], Stats{Malformed: 1}},
		{"broken ICMPv6 checksum", change(good6, false, 60, 99), Stats{Malformed: 1}},
		{"IPv6 fragment", change(good6, false, 6, 44), Stats{Fragments: 1}},
		{"another protocol over IPv6", change(good6, false, 6, 47), Stats{Other: 1}},
		{"IPv6 without a UDP checksum", change(good6, false, 6, protoUDP), Stats{Malformed: 1}},
	}
	for _, c := range cases {
		e := simulate(t, "prefixes: [192.0.2.0/24, '2001:db8::/120']")
		e.receive(c.packet, epoch0, 0)
		c.want.Packets = 1
		if e.stats != c.want || len(packets(e)) != 0 {
			t.Errorf("%s: got %+v, want %+v", c.name, e.stats, c.want)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(EchoRequest(local4, netip.MustParseAddr("192.0.2.7"), 1, 1, payload56))
	f.Add(EchoRequest(local6, netip.MustParseAddr("2001:db8::7"), 1, 1, payload56))
	f.Add(syn("192.0.2.7:80", 1000, 5))
	f.Add(syn("[2001:db8::7]:80", 1000, 5))
	f.Add([]byte{0x45, 0, 0, 20})
	e := simulate(f, "stamp: true\nprefixes: [0.0.0.0/0, '::/0']\nrules: [{corrupt: {probability: 1, mode: truncate}}]")
	f.Fuzz(func(t *testing.T, p []byte) {
		e.receive(p, epoch0, 0)
		written(e)
	})
}

func TestQueueKeepsTimeAndOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var q queue
	var want, got []entry
	for i := range uint32(3000) {
		due := int64(random.IntN(500))
		q.push(due, i)
		want = append(want, entry{due, uint64(i) + 1, i})
		if i%3 == 0 { // in between some leave
			e := q.pop()
			sort.Slice(want, func(i, j int) bool { return want[i].before(&want[j]) })
			if e != want[0] {
				t.Fatalf("got %v, want %v", e, want[0])
			}
			want = want[1:]
		}
	}
	for q.len() > 0 {
		got = append(got, q.pop())
	}
	sort.Slice(want, func(i, j int) bool { return want[i].before(&want[j]) })
	if !slices.Equal(want, got) {
		t.Error("the order is wrong")
	}
}
