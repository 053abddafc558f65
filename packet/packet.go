// Package packet is the wire: ICMP echo messages and ICMP errors, for IPv4 and IPv6,
// written and read in place, without allocation. It knows neither sockets nor targets.
package packet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
)

// ICMP message types.
const (
	EchoReply   = 0  // RFC 792, page 14
	Unreachable = 3  // RFC 792, page 4
	EchoRequest = 8  // RFC 792, page 14
	TimeExceed  = 11 // RFC 792, page 6

	Unreachable6 = 1   // RFC 4443 section 3.1
	TooBig6      = 2   // RFC 4443 section 3.2
	TimeExceed6  = 3   // RFC 4443 section 3.3
	EchoRequest6 = 128 // RFC 4443 section 4.1
	EchoReply6   = 129 // RFC 4443 section 4.2
)

const (
	// HeaderLen is the length of an ICMP echo header: type, code, checksum, identifier, sequence.
	HeaderLen = 8
	// TagLen is the length of a Tag on the wire: target, serial and cookie.
	TagLen = 16
	// MinEcho is the shortest echo message that carries a Tag.
	MinEcho = HeaderLen + TagLen
)

// Errors of the parsers. They are values, not wrapped: parsing a hostile packet allocates nothing.
var (
	ErrShort  = errors.New("packet too short")
	ErrType   = errors.New("not a message that we read")
	ErrCookie = errors.New("cookie does not match")
)

// Tag names a probe, in the first 16 data bytes of its echo request: the number of
// the target, the serial number of the probe of that target, and a cookie over both
// that nobody else can make.
type Tag struct {
	Target uint32
	Serial uint32
}

// Sequence is the echo sequence number of the probe: the low 16 bits of its serial.
func (t Tag) Sequence() uint16 { return uint16(t.Serial) }

// Key makes and checks cookies: the first 8 bytes of the AES-128 encryption (a
// pseudo-random function, FIPS 197) of the rest of the tag under a random key of this
// process. Not for concurrent use.
type Key struct {
	block   cipher.Block
	in, out [aes.BlockSize]byte // fields, so that nothing escapes per packet
}

// NewKey makes a random key.
func NewKey() *Key {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails: crypto/rand
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 16 bytes are a good key length
	}
	return &Key{block: block}
}

func (k *Key) cookie(t Tag) uint64 {
	binary.BigEndian.PutUint32(k.in[0:], t.Target)
	binary.BigEndian.PutUint32(k.in[4:], t.Serial)
	k.block.Encrypt(k.out[:], k.in[:])
	return binary.BigEndian.Uint64(k.out[:])
}

// Fill writes the constant part of an echo request into b: the type and a data
// pattern that is easy to see in a capture (the low byte of each offset, as ping does).
func Fill(b []byte, requestType byte) {
	for i := range b {
		b[i] = byte(i)
	}
	clear(b[:HeaderLen])
	b[0] = requestType
}

// PutEcho patches what varies from probe to probe into b, an echo request made by
// Fill of at least MinEcho bytes: identifier, sequence and tag. The checksum is left as it is.
func (k *Key) PutEcho(b []byte, identifier uint16, t Tag) {
	_ = b[MinEcho-1]
	binary.BigEndian.PutUint16(b[4:], identifier)
	binary.BigEndian.PutUint16(b[6:], t.Sequence())
	k.PutTag(b[HeaderLen:], t)
}

// PutTag writes a tag with its cookie into b, at least TagLen bytes.
func (k *Key) PutTag(b []byte, t Tag) {
	_ = b[TagLen-1]
	binary.BigEndian.PutUint32(b[0:], t.Target)
	binary.BigEndian.PutUint32(b[4:], t.Serial)
	binary.BigEndian.PutUint64(b[8:], k.cookie(t))
}

// ParseTag reads a tag, and believes it only if the cookie is ours: ErrShort or ErrCookie otherwise.
func (k *Key) ParseTag(b []byte) (t Tag, err error) {
	if len(b) < TagLen {
		return t, ErrShort
	}
	t = Tag{Target: binary.BigEndian.Uint32(b[0:]), Serial: binary.BigEndian.Uint32(b[4:])}
	if binary.BigEndian.Uint64(b[8:]) != k.cookie(t) {
		return t, ErrCookie
	}
	return t, nil
}

// PutChecksum writes the Internet checksum (RFC 1071) of an ICMPv4 message into it.
func PutChecksum(b []byte) {
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[2:], checksum(b))
}

// ChecksumGood says whether the checksum of an ICMPv4 message is right.
func ChecksumGood(b []byte) bool { return checksum(b) == 0 }

// checksum is the Internet checksum of RFC 1071 section 1.
func checksum(b []byte) uint16 {
	var sum uint64
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b)) << 16
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 24
	}
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Echo is an echo message as read.
type Echo struct {
	Identifier uint16
	Sequence   uint16
	Tag        Tag
}

// ParseEcho reads an echo message of the given type, and believes its tag only if the
// cookie is ours: ErrShort, ErrType or ErrCookie otherwise.
func (k *Key) ParseEcho(b []byte, wantType byte) (e Echo, err error) {
	if len(b) < HeaderLen {
		return e, ErrShort
	}
	if b[0] != wantType || b[1] != 0 {
		return e, ErrType
	}
	e.Identifier = binary.BigEndian.Uint16(b[4:])
	e.Sequence = binary.BigEndian.Uint16(b[6:])
	e.Tag, err = k.ParseTag(b[HeaderLen:])
	return e, err
}

// SkipIPv4 returns what follows the IPv4 header (RFC 791 section 3.1) of b, and its
// protocol; nil if there is no whole header.
func SkipIPv4(b []byte) (payload []byte, protocol byte) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, 0
	}
	n := int(b[0]&0xf) * 4
	if n < 20 || len(b) < n {
		return nil, 0
	}
	return b[n:], b[9]
}

// SkipIPv6 returns what follows the fixed IPv6 header (RFC 8200 section 3) of b, and
// its next header; nil if there is no whole header. Extension headers are not skipped:
// an echo request of ours has none.
func SkipIPv6(b []byte) (payload []byte, next byte) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return nil, 0
	}
	return b[40:], b[6]
}

// Protocol numbers (IANA).
const (
	ProtocolICMP   = 1
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolICMPv6 = 58
)

// Quote is what an ICMP error tells of the packet that caused it.
type Quote struct {
	// Type and Code of the error.
	Type, Code byte
	// Dst is the destination of the quoted packet, 4 or 16 bytes of the buffer that was read.
	Dst []byte
	// ICMP is the quoted ICMP message, at least its 8-byte header; what is behind it
	// depends on the router (RFC 792: 8 bytes; RFC 1812 section 4.3.2.3 and RFC 4884: more).
	ICMP []byte
}

// ParseError4 reads an ICMPv4 error that quotes an ICMP message: b begins with the
// ICMP header. ErrType if it is no error or quotes something else.
func ParseError4(b []byte) (q Quote, err error) {
	if len(b) < HeaderLen {
		return q, ErrShort
	}
	switch b[0] {
	case Unreachable, TimeExceed:
	default:
		return q, ErrType
	}
	inner, protocol := SkipIPv4(b[HeaderLen:])
	if len(inner) < HeaderLen {
		return q, ErrShort
	}
	if protocol != ProtocolICMP || inner[0] != EchoRequest {
		return q, ErrType
	}
	return Quote{Type: b[0], Code: b[1], Dst: b[HeaderLen+16 : HeaderLen+20], ICMP: inner}, nil
}

// ParseError6 reads an ICMPv6 error that quotes an ICMPv6 message: b begins with the
// ICMPv6 header. ErrType if it is no error or quotes something else.
func ParseError6(b []byte) (q Quote, err error) {
	if len(b) < HeaderLen {
		return q, ErrShort
	}
	switch b[0] {
	case Unreachable6, TooBig6, TimeExceed6:
	default:
		return q, ErrType
	}
	inner, next := SkipIPv6(b[HeaderLen:])
	if len(inner) < HeaderLen {
		return q, ErrShort
	}
	if next != ProtocolICMPv6 || inner[0] != EchoRequest6 {
		return q, ErrType
	}
	return Quote{Type: b[0], Code: b[1], Dst: b[HeaderLen+24 : HeaderLen+40], ICMP: inner}, nil
}
