package netsim

import (
	"encoding/binary"
	"net/netip"
)

// The few numbers of RFC 9293, 7323 and 768 that a responder needs.
const (
	tcpHeaderLen = 20
	udpHeaderLen = 8

	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagPSH = 0x08
	flagACK = 0x10

	optionEnd        = 0
	optionNop        = 1
	optionMSS        = 2
	optionTimestamps = 8
	mssLen           = 4
	timestampsLen    = 10

	// window is what the lab offers; it keeps nothing, so any will do.
	window = 65535
)

// segment is what the lab needs of a TCP header.
type segment struct {
	seq, ack uint32
	flags    uint8
	stamped  bool   // it has timestamps, RFC 7323
	tsval    uint32 // when stamped
}

// length is how much sequence space the segment takes besides its payload.
func (s *segment) length() uint32 {
	var n uint32
	if s.flags&flagSYN != 0 {
		n++
	}
	if s.flags&flagFIN != 0 {
		n++
	}
	return n
}

func (r *request) parseTCP(addrs []byte) kind {
	m := r.message
	if len(m) < tcpHeaderLen || checksum(m, pseudoSum(addrs, len(m), protoTCP)) != 0 {
		return kindMalformed
	}
	header := int(m[12]>>4) * 4
	if header < tcpHeaderLen || header > len(m) {
		return kindMalformed
	}
	r.protocol, r.id, r.seq = TCP, 0, 0
	r.srcPort, r.dstPort = binary.BigEndian.Uint16(m), binary.BigEndian.Uint16(m[2:])
	r.payload = m[header:]
	r.tcp = segment{seq: binary.BigEndian.Uint32(m[4:]), ack: binary.BigEndian.Uint32(m[8:]), flags: m[13]}
	r.tcp.parseOptions(m[tcpHeaderLen:header])
	if r.tcp.flags&(flagSYN|flagACK|flagRST|flagFIN) == flagSYN {
		return kindProbe
	}
	return kindSegment
}

// parseOptions looks for timestamps; it stops at the first option that is broken.
func (s *segment) parseOptions(o []byte) {
	for len(o) > 0 && o[0] != optionEnd {
		if o[0] == optionNop {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return
		}
		if o[0] == optionTimestamps && o[1] == timestampsLen {
			s.stamped, s.tsval = true, binary.BigEndian.Uint32(o[2:])
		}
		o = o[o[1]:]
	}
}

func (r *request) parseUDP(addrs []byte) kind {
	m := r.message
	if len(m) < udpHeaderLen || int(binary.BigEndian.Uint16(m[4:])) != len(m) {
		return kindMalformed
	}
	// RFC 768: no checksum is 0; RFC 8200 section 8.1 forbids that in IPv6.
	none := m[6] == 0 && m[7] == 0
	if none && r.dst.Is6() || !none && checksum(m, pseudoSum(addrs, len(m), protoUDP)) != 0 {
		return kindMalformed
	}
	r.protocol, r.id, r.seq = UDP, 0, 0
	r.srcPort, r.dstPort = binary.BigEndian.Uint16(m), binary.BigEndian.Uint16(m[2:])
	r.payload = m[udpHeaderLen:]
	return kindProbe
}

// appendSegment appends an IP packet with a segment that answers r. A SYN carries the largest segment
// that the MTU of Ethernet lets through; timestamps are there when r has them and this is no reset.
func appendSegment(b []byte, r *request, s segment) []byte {
	var room [mssLen + 2 + timestampsLen]byte
	options := room[:0]
	if s.flags&flagSYN != 0 {
		mss := uint16(defaultMTU - ipv4HeaderLen - tcpHeaderLen)
		if r.dst.Is6() {
			mss = defaultMTU - ipv6HeaderLen - tcpHeaderLen
		}
		options = append(options, optionMSS, mssLen)
		options = binary.BigEndian.AppendUint16(options, mss)
	}
	if s.stamped {
		options = append(options, optionNop, optionNop, optionTimestamps, timestampsLen)
		options = binary.BigEndian.AppendUint32(options, s.tsval)
		options = binary.BigEndian.AppendUint32(options, r.tcp.tsval)
	}
	return appendTCP(b, r.dst, r.src, r.dstPort, r.srcPort, s, options)
}

// appendTCP appends an IP packet with one segment; the length of the options is a multiple of four.
func appendTCP(b []byte, from, to netip.Addr, srcPort, dstPort uint16, s segment, options []byte) []byte {
	start, length := len(b), tcpHeaderLen+len(options)
	b = appendHeader(b, from, to, protoTCP, length)
	header := len(b) - start
	b = binary.BigEndian.AppendUint16(b, srcPort)
	b = binary.BigEndian.AppendUint16(b, dstPort)
	b = binary.BigEndian.AppendUint32(b, s.seq)
	b = binary.BigEndian.AppendUint32(b, s.ack)
	b = append(b, byte(length/4)<<4, s.flags)
	offer := uint16(window)
	if s.flags&flagRST != 0 {
		offer = 0
	}
	b = binary.BigEndian.AppendUint16(b, offer)
	b = append(b, 0, 0, 0, 0) // checksum, urgent pointer
	b = append(b, options...)
	p := b[start:]
	addrs := p[12:20]
	if header == ipv6HeaderLen {
		addrs = p[8:40]
	}
	binary.BigEndian.PutUint16(p[header+16:], checksum(p[header:], pseudoSum(addrs, length, protoTCP)))
	return b
}

// Segment returns an IP packet with a TCP segment without options, as for Lab.Inject: a forged SYN/ACK, a
// reset. The flags are those of RFC 9293 section 3.1. Both addresses must be of one family.
func Segment(from, to netip.AddrPort, seq, ack uint32, flags uint8) []byte {
	return appendTCP(nil, from.Addr(), to.Addr(), from.Port(), to.Port(), segment{seq: seq, ack: ack, flags: flags}, nil)
}
