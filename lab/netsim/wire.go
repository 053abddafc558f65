package netsim

import (
	"encoding/binary"
	"net/netip"
)

// The few numbers of RFC 791, 792, 8200 and 4443 that a responder needs; those of TCP and UDP are in wire_tcp.go.
const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	icmpHeaderLen = 8

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58

	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpEcho         = 8
	icmpTimeExceeded = 11

	icmp6Unreachable  = 1
	icmp6TimeExceeded = 3
	icmp6Echo         = 128
	icmp6EchoReply    = 129

	// replyTTL is what a Linux host sends (net.ipv4.ip_default_ttl).
	replyTTL = 64
	// maxError4 is the most that an ICMP error may be long, RFC 1812 section 4.3.2.3.
	maxError4 = 576
	// maxError6 is the IPv6 minimum MTU, which an ICMPv6 error may not exceed, RFC 4443 section 2.4(c).
	maxError6 = 1280
)

// kind is what a packet read from the TUN turned out to be.
type kind uint8

const (
	kindProbe     kind = iota // what the truth records: an echo request, a SYN, a datagram
	kindSegment               // a TCP segment behind the SYN
	kindOther                 // valid, but nothing that the lab answers
	kindFragment              // a piece of a datagram; the lab does not reassemble
	kindMalformed             // wrong lengths or checksums
)

// request is a packet that may be answered; its slices alias the packet that it was parsed from.
type request struct {
	src, dst         netip.Addr
	protocol         Protocol
	ttl              uint8
	id, seq          uint16 // of an echo request
	srcPort, dstPort uint16 // of TCP and UDP
	tcp              segment
	packet           []byte // the whole IP packet, cut to its own length
	message          []byte // what the IP header carries: the ICMP message, the segment, the datagram
	payload          []byte // behind the header of the message
}

// parseRequest reads one IP packet. Only kindProbe and kindSegment leave a usable request behind.
func parseRequest(p []byte, r *request) kind {
	if len(p) == 0 {
		return kindMalformed
	}
	switch p[0] >> 4 {
	case 4:
		return parseRequest4(p, r)
	case 6:
		return parseRequest6(p, r)
	}
	return kindMalformed
}

func parseRequest4(p []byte, r *request) kind {
	if len(p) < ipv4HeaderLen {
		return kindMalformed
	}
	header := int(p[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(p[2:]))
	if header < ipv4HeaderLen || total < header || total > len(p) || checksum(p[:header], 0) != 0 {
		return kindMalformed
	}
	p = p[:total]
	r.dst = netip.AddrFrom4([4]byte(p[16:20]))
	r.src = netip.AddrFrom4([4]byte(p[12:16]))
	if binary.BigEndian.Uint16(p[6:])&0x3fff != 0 { // more fragments, or an offset
		return kindFragment
	}
	r.ttl, r.packet, r.message = p[8], p, p[header:]
	return r.parseMessage(p[9], protoICMP, icmpEcho, p[12:20])
}

func parseRequest6(p []byte, r *request) kind {
	if len(p) < ipv6HeaderLen {
		return kindMalformed
	}
	total := ipv6HeaderLen + int(binary.BigEndian.Uint16(p[4:]))
	if total > len(p) {
		return kindMalformed
	}
	p = p[:total]
	r.src = netip.AddrFrom16([16]byte(p[8:24]))
	r.dst = netip.AddrFrom16([16]byte(p[24:40]))
	const fragmentHeader = 44 // RFC 8200 section 4.5
	if p[6] == fragmentHeader {
		return kindFragment
	}
	r.ttl, r.packet, r.message = p[7], p, p[ipv6HeaderLen:]
	return r.parseMessage(p[6], protoICMPv6, icmp6Echo, p[8:40])
}

// parseMessage reads what the IP header carries; addrs are its two addresses, as the pseudo-header has them.
func (r *request) parseMessage(proto, icmp, echo uint8, addrs []byte) kind {
	switch proto {
	case protoTCP:
		return r.parseTCP(addrs)
	case protoUDP:
		return r.parseUDP(addrs)
	case icmp:
	default:
		return kindOther
	}
	m := r.message
	var pseudo uint64
	if icmp == protoICMPv6 {
		pseudo = pseudoSum(addrs, len(m), protoICMPv6)
	}
	if len(m) < icmpHeaderLen || checksum(m, pseudo) != 0 {
		return kindMalformed
	}
	if m[0] != echo || m[1] != 0 {
		return kindOther
	}
	r.protocol, r.srcPort, r.dstPort = ICMP, 0, 0
	r.id, r.seq = binary.BigEndian.Uint16(m[4:]), binary.BigEndian.Uint16(m[6:])
	r.payload = m[icmpHeaderLen:]
	return kindProbe
}

// EchoRequest returns an IP packet with an echo request, as for Lab.Inject. Both addresses must be of one family.
func EchoRequest(from, to netip.Addr, id, seq uint16, payload []byte) []byte {
	typ := uint8(icmpEcho)
	if to.Is6() {
		typ = icmp6Echo
	}
	return appendEcho(nil, from, to, typ, id, seq, payload)
}

// EchoReply returns an IP packet with an echo reply, as for Lab.Inject. Both addresses must be of one family.
func EchoReply(from, to netip.Addr, id, seq uint16, payload []byte) []byte {
	return appendEcho(nil, from, to, replyType(to), id, seq, payload)
}

// ErrorMessage returns an IP packet with the ICMP error typ/code (numbers of the family of the addresses)
// that quotes the bytes quoted, which should begin with the IP header of the packet in question.
func ErrorMessage(from, to netip.Addr, typ, code uint8, quoted []byte) []byte {
	return appendICMP(nil, from, to, typ, code, 0, quoted)
}

func replyType(a netip.Addr) uint8 {
	if a.Is6() {
		return icmp6EchoReply
	}
	return icmpEchoReply
}

func appendEcho(b []byte, from, to netip.Addr, typ uint8, id, seq uint16, payload []byte) []byte {
	return appendICMP(b, from, to, typ, 0, uint32(id)<<16|uint32(seq), payload)
}

// appendError appends an ICMP error from a router about the request r, that quotes the IP header and
// eight bytes when short, else as much as RFC 1812 and RFC 4443 let it.
func appendError(b []byte, from netip.Addr, typ, code uint8, r *request, short bool) []byte {
	header := len(r.packet) - len(r.message)
	quote := maxError4 - ipv4HeaderLen - icmpHeaderLen
	if r.dst.Is6() {
		quote = maxError6 - ipv6HeaderLen - icmpHeaderLen
	}
	if short {
		quote = header + 8
	}
	return appendICMP(b, from, r.src, typ, code, 0, r.packet[:min(quote, len(r.packet))])
}

// appendICMP appends an IP packet with one ICMP message whose second header word is word.
func appendICMP(b []byte, from, to netip.Addr, typ, code uint8, word uint32, body []byte) []byte {
	start := len(b)
	length := icmpHeaderLen + len(body)
	proto := uint8(protoICMP)
	if to.Is6() {
		proto = protoICMPv6
	}
	b = appendHeader(b, from, to, proto, length)
	header := len(b) - start
	b = append(b, typ, code, 0, 0)
	b = binary.BigEndian.AppendUint32(b, word)
	b = append(b, body...)
	sealICMP(b[start:], header)
	return b
}

// appendHeader appends the IP header of a packet that carries length bytes.
func appendHeader(b []byte, from, to netip.Addr, proto uint8, length int) []byte {
	if to.Is6() {
		return appendHeader6(b, from, to, proto, length)
	}
	return appendHeader4(b, from, to, proto, length)
}

func appendHeader4(b []byte, from, to netip.Addr, proto uint8, length int) []byte {
	const dontFragment = 0x4000
	start := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(ipv4HeaderLen+length))
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, dontFragment)
	b = append(b, replyTTL, proto, 0, 0)
	src, dst := from.As4(), to.As4()
	b = append(b, src[:]...)
	b = append(b, dst[:]...)
	binary.BigEndian.PutUint16(b[start+10:], checksum(b[start:], 0))
	return b
}

func appendHeader6(b []byte, from, to netip.Addr, proto uint8, length int) []byte {
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, proto, replyTTL)
	src, dst := from.As16(), to.As16()
	b = append(b, src[:]...)
	return append(b, dst[:]...)
}

// sealICMP writes the checksum of the ICMP message behind a header of the given length.
func sealICMP(p []byte, header int) {
	m := p[header:]
	m[2], m[3] = 0, 0
	var pseudo uint64
	if header == ipv6HeaderLen {
		pseudo = pseudoSum(p[8:40], len(m), protoICMPv6)
	}
	binary.BigEndian.PutUint16(m[2:], checksum(m, pseudo))
}

// headerLen is the length of the IP header of a packet that the lab built.
func headerLen(p []byte) int {
	if p[0]>>4 == 6 {
		return ipv6HeaderLen
	}
	return ipv4HeaderLen
}

// shorten cuts a packet that the lab built by n bytes and puts lengths and checksums right again.
func shorten(p []byte, n int) []byte {
	p = p[:len(p)-n]
	header := headerLen(p)
	if header == ipv6HeaderLen {
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-ipv6HeaderLen))
	} else {
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], checksum(p[:ipv4HeaderLen], 0))
	}
	sealICMP(p, header)
	return p
}

// stampOffset is where in the ICMP payload the lab writes its times: behind the 16 bytes that ping keeps
// its own time in, and behind the first 32, which it leaves to the prober.
const stampOffset = 32

// stampLen is two int64: arrived and written, nanoseconds since the epoch, big endian.
const stampLen = 16

// stamp writes the times of arrival and writing into the payload of an echo reply, when it is long enough,
// and mends the checksum by the difference alone (RFC 1624), so that a broken one stays broken.
func stamp(p []byte, arrived, written int64) {
	header := headerLen(p)
	at := header + icmpHeaderLen + stampOffset
	if len(p) < at+stampLen {
		return
	}
	field := p[at : at+stampLen]
	before := fold(sum(field, 0))
	binary.BigEndian.PutUint64(field, uint64(arrived))
	binary.BigEndian.PutUint64(field[8:], uint64(written))
	after := fold(sum(field, 0))
	m := p[header:]
	old := binary.BigEndian.Uint16(m[2:])
	mended := ^fold(uint64(^old) + uint64(^before) + uint64(after))
	binary.BigEndian.PutUint16(m[2:], mended)
}

// Stamps returns what the lab wrote into the payload of an echo reply under `stamp: true`: the times at
// which the request arrived and the reply was written, in nanoseconds since the epoch. False when the
// payload is shorter than 48 bytes.
func Stamps(payload []byte) (arrived, written int64, ok bool) {
	if len(payload) < stampOffset+stampLen {
		return 0, 0, false
	}
	arrived = int64(binary.BigEndian.Uint64(payload[stampOffset:]))
	written = int64(binary.BigEndian.Uint64(payload[stampOffset+8:]))
	return arrived, written, true
}

// pseudoSum is the sum over the pseudo-header, RFC 9293 section 3.1 and RFC 8200 section 8.1; addrs are both addresses.
func pseudoSum(addrs []byte, length int, proto uint8) uint64 {
	return sum(addrs, uint64(length)+uint64(proto))
}

// checksum is the Internet checksum of RFC 1071; over data that carries its checksum it is 0.
func checksum(b []byte, initial uint64) uint16 { return ^fold(sum(b, initial)) }

// sum adds b as big-endian 16-bit words; 2^48 words fit before it overflows.
func sum(b []byte, s uint64) uint64 {
	for len(b) >= 4 {
		v := binary.BigEndian.Uint32(b)
		s += uint64(v>>16) + uint64(v&0xffff)
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
