package netsim

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// client is the local end of a connection to an address and port.
func client(to string, port uint16) (from, dst netip.AddrPort) {
	dst = netip.MustParseAddrPort(to)
	if dst.Addr().Is6() {
		return netip.AddrPortFrom(local6, port), dst
	}
	return netip.AddrPortFrom(local4, port), dst
}

// syn is the first packet of a connection, as a Linux client has it, with timestamps.
func syn(to string, port uint16, isn uint32) []byte {
	from, dst := client(to, port)
	options := []byte{optionMSS, mssLen, 5, 0xb4, 4, 2, optionTimestamps, timestampsLen, 0, 0, 1, 2, 0, 0, 0, 0, optionNop, 3, 3, 7}
	return appendTCP(nil, from.Addr(), dst.Addr(), port, dst.Port(), segment{seq: isn, flags: flagSYN}, options)
}

// push is a segment with twelve bytes.
func push(from, to netip.AddrPort, seq, ack uint32) []byte {
	p := appendTCP(nil, from.Addr(), to.Addr(), from.Port(), to.Port(), segment{seq: seq, ack: ack, flags: flagACK | flagPSH}, make([]byte, 12))
	m := p[headerLen(p):]
	m[12], m[16], m[17] = tcpHeaderLen/4<<4, 0, 0 // they are no options
	binary.BigEndian.PutUint16(m[16:], checksum(m, pseudoSum(p[12:20], len(m), protoTCP)))
	return p
}

// said is a TCP segment in the words of a test.
type said struct {
	From, To netip.AddrPort
	Seq, Ack uint32
	Flags    uint8
	Echoed   uint32 // TSecr; 0: no timestamps
	MSS      uint16
}

// hear reads a packet that the lab built, and checks its sums with other code than the one that built it.
func hear(t *testing.T, p []byte) said {
	t.Helper()
	if header, sum := valid(t, p); !header || !sum {
		t.Errorf("header is right: %t, TCP checksum is right: %t", header, sum)
	}
	h := headerLen(p)
	m := p[h:]
	src, dst := p[h-8:h-4], p[h-4:h]
	if h == ipv6HeaderLen {
		src, dst = p[8:24], p[24:40]
	}
	from, _ := netip.AddrFromSlice(src)
	to, _ := netip.AddrFromSlice(dst)
	s := said{
		From: netip.AddrPortFrom(from, binary.BigEndian.Uint16(m)), To: netip.AddrPortFrom(to, binary.BigEndian.Uint16(m[2:])),
		Seq: binary.BigEndian.Uint32(m[4:]), Ack: binary.BigEndian.Uint32(m[8:]), Flags: m[13],
	}
	for o := m[20 : m[12]>>4*4]; len(o) > 0; {
		switch o[0] {
		case optionNop:
			o = o[1:]
			continue
		case optionMSS:
			s.MSS = binary.BigEndian.Uint16(o[2:])
		case optionTimestamps:
			s.Echoed = binary.BigEndian.Uint32(o[6:])
		}
		o = o[o[1]:]
	}
	return s
}

var sameAddr = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestHandshakeAndOrderlyClose(t *testing.T) {
	for to, mss := range map[string]uint16{"192.0.2.7:80": 1460, "[2001:db8::7]:80": 1440} {
		e := simulate(t, "prefixes: [192.0.2.0/24, '2001:db8::/120']\nrules: [{delay: 5ms, tcp: open}]")
		from, dst := client(to, 40000)
		at := time.Duration(0)
		send := func(p []byte) []said {
			at += 100 * time.Millisecond
			e.receive(p, epoch0.plus(at), 0)
			var out []said
			for _, p := range written(e) {
				out = append(out, hear(t, p))
			}
			return out
		}
		got := send(syn(to, 40000, 1000))
		if len(got) != 1 {
			t.Fatalf("%s: %d answers to the SYN", to, len(got))
		}
		isn := got[0].Seq
		got = append(got, send(Segment(from, dst, 1001, isn+1, flagACK))...)
		got = append(got, send(Segment(from, dst, 1001, isn+1, flagACK|flagFIN))...)
		got = append(got, send(Segment(from, dst, 1002, isn+2, flagACK))...)
		want := []said{
			{From: dst, To: from, Seq: isn, Ack: 1001, Flags: flagSYN | flagACK, Echoed: 0x102, MSS: mss},
			{From: dst, To: from, Seq: isn + 1, Ack: 1002, Flags: flagACK | flagFIN},
		}
		if diff := cmp.Diff(want, got, sameAddr); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", to, diff)
		}
		p := packets(e)[0]
		type fate struct {
			verdict            Verdict
			isn                uint32
			flags              uint8
			delay, hold        time.Duration
			established, ended time.Duration
			end                End
		}
		f := fate{p.Verdict, p.ISN, p.Replies[0].Flags, p.Delay(), p.Hold(), time.Duration(p.Established - p.ArrivedMono), time.Duration(p.Ended - p.ArrivedMono), p.End}
		if want := (fate{Answered, 1000, flagSYN | flagACK, 5 * time.Millisecond, 5 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, EndFIN}); f != want || len(packets(e)) != 1 {
			t.Errorf("%s: the truth has %+v, want %+v", to, f, want)
		}
	}
}

func TestEveryServiceAnswersInItsWay(t *testing.T) {
	const scenario = `
prefixes: [192.0.2.0/24]
rules:
  - {port: 80, tcp: open}
  - {port: 81-82, tcp: silent}
  - {port: 83, tcp: reset}
  - {port: 84, tcp: reset_early}
  - {port: 85, tcp: open, silent: true}
  - {protocol: tcp, port: 86, unreachable: {code: prohibited, from: 198.51.100.9}}
  - {protocol: icmp, silent: true}
`
	const sa, ra, r, a = flagSYN | flagACK, flagRST | flagACK, flagRST, flagACK
	cases := []struct {
		port      string
		verdict   Verdict
		syn, data []uint8 // flags of the answers to the SYN, and to twelve bytes behind the handshake
	}{
		{"80", Answered, []uint8{sa}, []uint8{a}},
		{"79", Refused, []uint8{ra}, []uint8{r}},
		{"81", Silent, nil, nil},
		{"82", Silent, nil, nil},
		{"83", Reset, []uint8{sa}, []uint8{r}},
		{"84", Reset, []uint8{sa, ra}, []uint8{r}},
		{"85", Silent, nil, nil},
	}
	for _, c := range cases {
		e := simulate(t, scenario)
		to := "192.0.2.7:" + c.port
		from, dst := client(to, 4000)
		flags := func(p []byte) (list []uint8) {
			e.receive(p, epoch0, 0)
			for _, p := range written(e) {
				list = append(list, hear(t, p).Flags)
			}
			return list
		}
		got := flags(syn(to, 4000, 7))
		isn := cookie(e.host(dst.Addr()).key, &request{src: from.Addr(), dst: dst.Addr(), srcPort: 4000, dstPort: dst.Port()})
		data := flags(push(from, dst, 8, isn+1))
		if v := packets(e)[0].Verdict; v != c.verdict || !slices.Equal(got, c.syn) || !slices.Equal(data, c.data) {
			t.Errorf("port %s: %s, answers %x and %x; want %s, %x and %x", c.port, v, got, data, c.verdict, c.syn, c.data)
		}
	}
	e := simulate(t, scenario)
	e.receive(syn("192.0.2.7:86", 4000, 7), epoch0, 0)
	ask(e, "192.0.2.7", 1, 0)
	p := packets(e)
	if r := p[0].Replies[0]; p[0].Verdict != Unreachable || r.From.String() != "198.51.100.9" || r.Code != 13 || r.Flags != 0 || p[1].Verdict != Silent {
		t.Errorf("%+v", p)
	}
}

func TestTruthTellsWhatBecameOfEachSYN(t *testing.T) {
	e := simulate(t, "prefixes: [192.0.2.0/24]\nrules: [{tcp: open}, {port: 99, tcp: silent}]")
	send := func(at time.Duration, p []byte) {
		e.receive(p, epoch0.plus(at), 0)
		written(e)
	}
	for i, to := range []string{"192.0.2.7:80", "192.0.2.7:99", "192.0.2.7:80", "192.0.2.8:80"} {
		send(0, syn(to, uint16(5000+i), uint32(i)))
	}
	send(time.Second, syn("192.0.2.7:99", 5001, 1))   // again
	send(time.Second, syn("192.0.2.7:80", 5002, 77))  // a new connection of the same ports
	send(5*time.Minute, syn("192.0.2.7:99", 5001, 1)) // too late to be the same
	from, to := client("192.0.2.7:80", 5000)
	send(5*time.Minute, Segment(from, to, 1, 0, flagRST)) // too late to tell
	from, to = client("192.0.2.8:80", 5003)
	send(2*time.Second, Segment(from, to, 4, 0, flagRST)) // as a kernel that knows nothing of it answers a SYN/ACK
	type fate struct {
		Port       uint16
		Retransmit bool
		End        End
	}
	var got []fate
	for _, p := range packets(e) {
		got = append(got, fate{p.SrcPort, p.Retransmit, p.End})
	}
	want := []fate{{5000, false, NoEnd}, {5001, false, NoEnd}, {5002, false, NoEnd}, {5003, false, EndRST}, {5001, true, NoEnd}, {5002, false, NoEnd}, {5001, false, NoEnd}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestForeignSegmentsAreReset is about segments of connections that the lab has not granted.
func TestForeignSegmentsAreReset(t *testing.T) {
	e := simulate(t, "prefixes: [192.0.2.0/24]\nrules: [{tcp: open}]")
	from, to := client("192.0.2.7:80", 5000)
	for _, c := range []struct {
		sent uint8
		want []said
	}{
		{flagACK, []said{{From: to, To: from, Seq: 99, Flags: flagRST}}},
		{flagSYN | flagACK, []said{{From: to, To: from, Seq: 99, Flags: flagRST}}},
		{flagFIN, []said{{From: to, To: from, Ack: 6, Flags: flagRST | flagACK}}},
		{flagRST, nil},
	} {
		e.receive(Segment(from, to, 5, 99, c.sent), epoch0, 0)
		var got []said
		for _, p := range written(e) {
			got = append(got, hear(t, p))
		}
		if diff := cmp.Diff(c.want, got, sameAddr); diff != "" {
			t.Errorf("flags %x: (-want +got)\n%s", c.sent, diff)
		}
	}
	if len(packets(e)) != 0 || e.stats.Segments != 4 {
		t.Errorf("%+v", e.stats)
	}
}

func TestOtherProtocolsLeaveTheFateOfEchoRequestsAlone(t *testing.T) {
	run := func(others bool) (list []Verdict) {
		e := simulate(t, "seed: 2\nprefixes: [192.0.2.0/24]\nrules: [{loss: {probability: 20%, burst: {enter: 10%, leave: 30%}}, rate_limit: 300/s, tcp: open}]")
		for i := range 500 {
			if others {
				e.receive(syn("192.0.2.7:80", uint16(i+1), 1), epoch0.plus(time.Duration(i)*time.Millisecond), 0)
			}
			ask(e, "192.0.2.7", uint16(i), time.Duration(i)*time.Millisecond)
		}
		for _, p := range packets(e) {
			if p.Protocol == ICMP {
				list = append(list, p.Verdict)
			}
		}
		if tcp := e.totals[TCP]; others && (tcp.Requests != 500 || tcp.Of(Lost) < 50 || tcp.Of(RateLimited) < 50) {
			t.Errorf("TCP: %+v", tcp)
		}
		return list
	}
	if !slices.Equal(run(false), run(true)) {
		t.Error("they differ")
	}
}

func TestDatagramsToClosedPortsAreUnreachable(t *testing.T) {
	for to, want := range map[string][2]byte{"192.0.2.7:33434": {3, 3}, "[2001:db8::7]:33434": {1, 4}} {
		e := simulate(t, "prefixes: [192.0.2.0/24, '2001:db8::/120']\nrules: [{delay: 2ms}]")
		sent := datagram(to, 6000, payload56)
		e.receive(sent, epoch0, 0)
		got := written(e)[0]
		h := headerLen(got)
		if header, sum := valid(t, got); !header || !sum || [2]byte(got[h:]) != want || !slices.Equal(got[h+8:], sent) {
			t.Errorf("%s: %x", to, got)
		}
		p := packets(e)[0]
		if p.Verdict != Refused || p.Protocol != UDP || p.SrcPort != 6000 || p.DstPort != 33434 || p.Size != 56 || p.Head != [16]byte(payload56) || p.Delay() != 2*time.Millisecond {
			t.Errorf("%+v", p)
		}
	}
}

// datagram is an IP packet with a UDP datagram.
func datagram(to string, port uint16, payload []byte) []byte {
	from, dst := client(to, port)
	length := udpHeaderLen + len(payload)
	p := appendHeader(nil, from.Addr(), dst.Addr(), protoUDP, length)
	h := len(p)
	p = binary.BigEndian.AppendUint16(p, port)
	p = binary.BigEndian.AppendUint16(p, dst.Port())
	p = binary.BigEndian.AppendUint16(p, uint16(length))
	p = append(append(p, 0, 0), payload...)
	addrs := p[12:20]
	if dst.Addr().Is6() {
		addrs = p[8:40]
	}
	binary.BigEndian.PutUint16(p[h+6:], checksum(p[h:], pseudoSum(addrs, length, protoUDP)))
	return p
}

func TestSteadyConnectingAllocatesNothing(t *testing.T) {
	e := simulate(t, "prefixes: [192.0.2.0/24]\nrules: [{delay: 5ms, jitter: 1ms, loss: 1%, duplicate: 1%, tcp: open}]")
	first := syn("192.0.2.7:80", 5000, 1)
	from, to := client("192.0.2.7:80", 5000)
	reset := Segment(from, to, 2, 0, flagRST)
	now := epoch0
	step := func() {
		for _, p := range [][]byte{first, reset} {
			now = now.plus(100 * time.Microsecond)
			e.receive(p, now, 0)
			for e.pop(now) != nil {
			}
		}
	}
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(5000, step); n != 0 {
		t.Errorf("%v allocations per connection", n)
	}
}

// BenchmarkConnect is a SYN, the ACK and the reset of each connection, from ever changing ports to 65,536 addresses.
func BenchmarkConnect(b *testing.B) {
	e := simulate(b, "prefixes: [10.0.0.0/16]\nrules: [{delay: 20ms, jitter: 5ms, loss: 1%, tcp: open}]")
	b.ReportAllocs()
	now := epoch0
	first := syn("10.0.0.0:80", 5000, 1)
	from, to := client("10.0.0.0:80", 5000)
	reset := Segment(from, to, 2, 0, flagRST)
	patch := func(p []byte, i int) { // the address and the port, whose changes the checksums must follow
		binary.BigEndian.PutUint16(p[18:], uint16(i))
		binary.BigEndian.PutUint16(p[ipv4HeaderLen:], uint16(i>>16)+1024)
		p[10], p[11], p[ipv4HeaderLen+16], p[ipv4HeaderLen+17] = 0, 0, 0, 0
		binary.BigEndian.PutUint16(p[10:], checksum(p[:ipv4HeaderLen], 0))
		binary.BigEndian.PutUint16(p[ipv4HeaderLen+16:], checksum(p[ipv4HeaderLen:], pseudoSum(p[12:20], len(p)-ipv4HeaderLen, protoTCP)))
	}
	for i := 0; b.Loop(); i++ {
		for _, p := range [][]byte{first, reset} {
			patch(p, i)
			now = now.plus(time.Second / 65536)
			e.receive(p, now, 0)
			for e.pop(now) != nil {
			}
		}
		if i%100_000 == 99_999 {
			e.truth.forget(e.truth.packets.end() - 50_000)
		}
	}
}
