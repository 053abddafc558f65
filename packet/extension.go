package packet

import "encoding/binary"

const (
	// quoteMin is how much of a packet is quoted at least where extensions follow, padded with
	// zeros where the packet is shorter (RFC 4884 sections 4.1 and 4.2).
	quoteMin = 128
	// extensionVersion is the only version of the extension structure (RFC 4884 section 7).
	extensionVersion = 2
	// The lengths of IP headers without options (RFC 791 section 3.1, RFC 8200 section 3).
	ipv4Len, ipv6Len = 20, 40
	extensionHeader  = 4 // version, reserved, checksum
	objectHeader     = 4 // length, class, type
	// The class and type of an incoming MPLS label stack (RFC 4950 section 4).
	mplsClass, mplsType = 1, 1
	labelLen            = 4 // RFC 3032 section 2.1
)

// QuotedExtension returns the extension structure of an ICMP error (RFC 4884 section 7); nil if there
// is none, or a damaged one. b is what the error quotes, from behind the IP header on, and what
// follows. end is where in b the quotation ends, if the router says how long it is; 0 if it does not:
// then it may be one from before RFC 4884, whose extensions begin behind exactly 128 bytes,
// the IP header included (section 5.5). We send no IP options, so that header has its least length.
func QuotedExtension(b []byte, end int, v6 bool) []byte {
	if end <= 0 {
		end = quoteMin - ipv4Len
		if v6 {
			end = quoteMin - ipv6Len
		}
	}
	if len(b)-extensionHeader < end {
		return nil
	}
	b = b[end:]
	if b[0]>>4 != extensionVersion {
		return nil
	}
	// A checksum of zero says that there is none (RFC 4884 section 7).
	if binary.BigEndian.Uint16(b[2:]) != 0 && checksum(b) != 0 {
		return nil
	}
	return b
}

// LabelStack returns the MPLS label stack that an extension structure holds, 4 bytes for each
// label, outermost first; nil if it holds none. Objects of other kinds are skipped; what
// follows a malformed one is not read.
func LabelStack(extension []byte) []byte {
	if len(extension) < extensionHeader {
		return nil
	}
	for b := extension[extensionHeader:]; len(b) >= objectHeader; {
		n := int(binary.BigEndian.Uint16(b))
		if n < objectHeader || n > len(b) {
			return nil
		}
		if b[2] == mplsClass && b[3] == mplsType {
			stack := b[objectHeader:n]
			return stack[:len(stack)/labelLen*labelLen]
		}
		b = b[n:]
	}
	return nil
}

// ParseLabel reads one entry of a label stack, of at least 4 bytes (RFC 3032 section 2.1).
func ParseLabel(b []byte) (value uint32, class uint8, bottom bool, ttl uint8) {
	entry := binary.BigEndian.Uint32(b)
	return entry >> 12, uint8(entry >> 9 & 7), entry>>8&1 == 1, uint8(entry)
}
