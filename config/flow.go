package config

import "time"

// Sizes of IP packets in bytes, without the frame around them.
const (
	headerIPv4 = 20 // RFC 791 section 3.1, without options
	headerIPv6 = 40 // RFC 8200 section 3
	headerICMP = 8  // RFC 792 echo; RFC 4443 section 4.1

	// What a packet carries on Ethernet (MTU 1500). An IPv6 fragment has a header of 8
	// bytes more, and fragments are cut at multiples of 8.
	roomIPv4         = 1500 - headerIPv4
	roomIPv6         = 1500 - headerIPv6
	fragmentIPv6     = 1448
	fragmentIPv6Head = 8

	// TCP headers as Linux sends them: a SYN or SYN-ACK with all its options, a segment
	// with timestamps, a reset with neither.
	headerSYN = 40
	headerACK = 32
	headerRST = 20

	// bytesTraceEcho and bytesTraceSYN are probes of traceroutes behind their IP header: an echo
	// request or a datagram, and a SYN with one option (packet.TraceLen, packet.SYNLen).
	bytesTraceEcho = 64
	bytesTraceSYN  = 24
	// bytesTraceIn is the answer of a hop behind its IP header: an ICMP header and 28
	// bytes of the quoted packet, the least that RFC 792 asks for.
	bytesTraceIn = 36
)

// Flow is what one kind of probe sends and, when everything answers, receives.
type Flow struct {
	Probes           int     `json:"probes"`              // how many things are probed: addresses, ports or routes
	PacketsPerSecond float64 `json:"packets_per_second"`  // sent
	BitsOut          float64 `json:"bits_per_second_out"` // of IP packets
	BitsIn           float64 `json:"bits_per_second_in"`
}

// plus returns the sum of two flows.
func (f Flow) plus(g Flow) Flow {
	return Flow{f.Probes + g.Probes, f.PacketsPerSecond + g.PacketsPerSecond, f.BitsOut + g.BitsOut, f.BitsIn + g.BitsIn}
}

// times returns n such flows.
func (f Flow) times(n int64) Flow {
	return Flow{f.Probes * int(n), f.PacketsPerSecond * float64(n), f.BitsOut * float64(n), f.BitsIn * float64(n)}
}

// flow returns what probes cost of which each sends so many packets and bytes.
func flow(probes int, every time.Duration, packets, bytesOut, bytesIn int) Flow {
	perSecond := float64(probes) / every.Seconds()
	return Flow{probes, perSecond * float64(packets), perSecond * float64(bytesOut) * 8, perSecond * float64(bytesIn) * 8}
}

// header returns the size of an IP header.
func header(ipv6 bool) int {
	if ipv6 {
		return headerIPv6
	}
	return headerIPv4
}

// echoes returns what the echo requests to one address cost.
func (s *Settings) echoes(ipv6 bool) Flow {
	body := headerICMP + s.ICMP.Size
	packets, each := 1, header(ipv6)
	switch {
	case ipv6 && body > roomIPv6:
		packets, each = (body+fragmentIPv6-1)/fragmentIPv6, headerIPv6+fragmentIPv6Head
	case !ipv6:
		packets = (body + roomIPv4 - 1) / roomIPv4
	}
	bytes := body + packets*each
	return flow(1, s.ICMP.Interval, packets, bytes, bytes)
}

// connects returns what the connections to all ports of one address cost. What is
// counted is what we send: SYN, ACK and RST; or SYN, ACK, FIN and the ACK of the
// other side's FIN.
func (s *Settings) connects(ipv6 bool) Flow {
	if s.TCP == nil {
		return Flow{}
	}
	ip := header(ipv6)
	if s.TCP.OrderlyClose {
		out := (ip + headerSYN) + 3*(ip+headerACK)
		in := (ip + headerSYN) + 2*(ip+headerACK) // SYN-ACK, ACK, FIN
		return flow(len(s.TCP.Ports), s.TCP.Interval, 4, out, in)
	}
	out := (ip + headerSYN) + (ip + headerACK) + (ip + headerRST)
	return flow(len(s.TCP.Ports), s.TCP.Interval, 3, out, ip+headerSYN)
}

// routes returns what the routes to one block cost. Every hop that may be asked is
// counted, though most routes are shorter.
func (t *Trace) routes(ipv6 bool) Flow {
	if t == nil {
		return Flow{}
	}
	ip, out := header(ipv6), bytesTraceEcho
	if t.Protocol == protocolTCP.String() {
		out = bytesTraceSYN
	}
	return flow(max(1, len(t.Addresses)), t.Interval, t.MaxHops, t.MaxHops*(ip+out), t.MaxHops*(ip+bytesTraceIn))
}
