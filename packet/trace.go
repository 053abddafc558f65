package packet

import (
	"encoding/binary"
	"net/netip"
)

// The probes of a traceroute. Balancers choose a path by the addresses and the first bytes of what
// follows the IP header; so of all probes of a route these are the same: ICMP type,
// code, checksum and identifier, ports of TCP and UDP. What tells the probes apart
// stands where nobody balances by: the sequence number of ICMP and TCP, and the checksum of UDP. It
// is in the first 8 bytes, which all routers quote (RFC 792). This is what Paris traceroute found.

const (
	// TraceLen is the length of an echo request or datagram of a traceroute, from its header on:
	// that of ping, so that it travels alike.
	TraceLen = 64
	// balanceAt is where two bytes stand that make the checksum what it shall be: behind the tag.
	balanceAt = HeaderLen + TagLen
	// SYNLen is the length of a SYN: a header with one option, the maximum segment size.
	// Some firewalls drop a SYN without it.
	SYNLen = 24
	// ResetLen is the length of a reset: a TCP header without options (RFC 9293 section 3.1).
	ResetLen = segmentLen
	// segmentLen is the length of a TCP header without options.
	segmentLen = 20
	// segmentSize is the MSS that a SYN offers: that of Ethernet.
	segmentSize = 1460
)

// TCP flags (RFC 9293 section 3.1).
const (
	flagSYN = 1 << 1
	flagRST = 1 << 2
	flagACK = 1 << 4
)

// Pseudo sums up what a checksum of TCP, UDP or ICMPv6 covers beside the message itself: the
// pseudo-header of RFC 768, or of RFC 8200 section 8.1.
func Pseudo(src, dst netip.Addr, protocol byte, length int) uint32 {
	sum := uint32(protocol) + uint32(length)
	for _, a := range [2]netip.Addr{src, dst} {
		if a.Is4() {
			b := a.As4()
			sum += uint32(^checksum(b[:]))
		} else {
			b := a.As16()
			sum += uint32(^checksum(b[:]))
		}
	}
	return sum
}

// fold adds up the halves of a sum of 16-bit words (RFC 1071 section 2).
func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// PutTraceEcho writes an echo request into b, TraceLen bytes long, that has the given checksum, which
// must be neither 0 nor 0xffff. pseudo is Pseudo of ICMPv6, and 0 of ICMP.
func (k *Key) PutTraceEcho(b []byte, requestType byte, identifier, sum uint16, t Tag, pseudo uint32) {
	Fill(b, requestType)
	k.PutEcho(b, identifier, t)
	balance(b, 2, sum, pseudo)
}

// PutTraceDatagram writes a datagram into b, TraceLen bytes long, that has the given checksum,
// which must be neither 0 nor 0xffff. pseudo is Pseudo of UDP.
func (k *Key) PutTraceDatagram(b []byte, src, dst, sum uint16, t Tag, pseudo uint32) {
	Fill(b, 0)
	binary.BigEndian.PutUint16(b[0:], src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	k.PutTag(b[HeaderLen:], t)
	balance(b, 6, sum, pseudo)
}

// balance gives b a checksum, at offset at, and makes it right by two bytes of the data.
func balance(b []byte, at int, sum uint16, pseudo uint32) {
	binary.BigEndian.PutUint16(b[at:], sum)
	b[balanceAt], b[balanceAt+1] = 0, 0
	binary.BigEndian.PutUint16(b[balanceAt:], ^fold(uint32(^checksum(b))+pseudo))
}

// PutSYN writes a SYN into b, SYNLen bytes long. pseudo is Pseudo of TCP.
func PutSYN(b []byte, src, dst uint16, sequence uint32, pseudo uint32) {
	clear(b)
	binary.BigEndian.PutUint16(b[0:], src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint32(b[4:], sequence)
	b[12] = SYNLen / 4 << 4
	b[13] = flagSYN
	binary.BigEndian.PutUint16(b[14:], 0xffff) // window
	b[20], b[21] = 2, 4                        // maximum segment size, RFC 9293 section 3.2
	binary.BigEndian.PutUint16(b[22:], segmentSize)
	binary.BigEndian.PutUint16(b[16:], ^fold(uint32(^checksum(b))+pseudo))
}

// PutReset writes a reset into b, ResetLen bytes long, of the connection that a SYN with this sequence number
// would begin: what answers a SYN/ACK that nobody wants (RFC 9293 section 3.5.2). pseudo is Pseudo of TCP.
func PutReset(b []byte, src, dst uint16, sequence uint32, pseudo uint32) {
	clear(b)
	binary.BigEndian.PutUint16(b[0:], src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint32(b[4:], sequence+1)
	b[12] = ResetLen / 4 << 4
	b[13] = flagRST
	binary.BigEndian.PutUint16(b[16:], ^fold(uint32(^checksum(b))+pseudo))
}

// Acknowledged reads a segment that answers a SYN, a SYN/ACK or a reset, and returns its ports and
// the sequence number of the SYN. ErrType if it is another one.
func Acknowledged(b []byte) (src, dst uint16, sequence uint32, err error) {
	if len(b) < segmentLen {
		return 0, 0, 0, ErrShort
	}
	if flags := b[13]; flags&flagACK == 0 || flags&(flagSYN|flagRST) == 0 {
		return 0, 0, 0, ErrType
	}
	return binary.BigEndian.Uint16(b[0:]), binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[8:]) - 1, nil
}

// Opens says whether a segment that Acknowledged has read is a SYN/ACK: the other side takes the connection for
// begun.
func Opens(b []byte) bool { return b[13]&flagSYN != 0 }

// Name is what the first 8 bytes of a probe say of it.
type Name struct {
	// Constant is what all probes of a route share, beside Own: the identifier of an echo
	// request in the low 16 bits, the source port (high) and destination port (low) of TCP and UDP.
	Constant uint32
	// Own is what a probe has for itself: the checksum (high) and sequence number (low) of an
	// echo request, the sequence number of a SYN, the length (high) and checksum (low) of a datagram.
	Own uint32
}

// ParseName reads the name of a probe that is quoted, from behind its IP header on: ErrShort, or ErrType
// if it is no probe of a traceroute.
func ParseName(b []byte, protocol byte) (n Name, err error) {
	if len(b) < HeaderLen {
		return n, ErrShort
	}
	switch protocol {
	case ProtocolICMP, ProtocolICMPv6:
		if b[0] != EchoRequest && b[0] != EchoRequest6 || b[1] != 0 {
			return n, ErrType
		}
		n.Constant = uint32(binary.BigEndian.Uint16(b[4:]))
		n.Own = uint32(binary.BigEndian.Uint16(b[2:]))<<16 | uint32(binary.BigEndian.Uint16(b[6:]))
	case ProtocolTCP, ProtocolUDP:
		n = Name{Constant: binary.BigEndian.Uint32(b), Own: binary.BigEndian.Uint32(b[4:])}
	default:
		return n, ErrType
	}
	return n, nil
}

// ParseQuotedTag reads the tag of a quoted echo request or datagram, from behind its IP header on. ErrShort
// if it is not quoted, or only as zeros: a router that quotes 8 bytes and has
// something to add must fill the rest (RFC 4884 section 4).
func (k *Key) ParseQuotedTag(b []byte) (t Tag, err error) {
	if len(b) < HeaderLen+TagLen {
		return t, ErrShort
	}
	b = b[HeaderLen : HeaderLen+TagLen]
	if binary.BigEndian.Uint64(b)|binary.BigEndian.Uint64(b[8:]) == 0 {
		return t, ErrShort
	}
	return k.ParseTag(b)
}

// Sequence is the sequence number of the SYN with this tag: a cookie, as all of it that is quoted.
func (k *Key) Sequence(t Tag) uint32 { return uint32(k.cookie(t)) }
