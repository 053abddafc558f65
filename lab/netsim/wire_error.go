package netsim

import "encoding/binary"

// The layout of what routers add to their errors, RFC 4884 and RFC 4950.
const (
	// quotedMin is how long a quotation is that extensions follow, RFC 4884 section 4.
	quotedMin        = 128
	extensionVersion = 2 << 4
	mplsClass        = 1 // RFC 4950 section 4
	mplsType         = 1
	extensionHeader  = 4
	objectHeader     = 4
	labelLen         = 4
)

// appendQuote appends what a router quotes of a request that reached it with the given TTL, and its
// extensions; word is what belongs into the second word of the ICMP header.
func appendQuote(b []byte, r *request, h *hop, ttl uint8) (quote []byte, word uint32) {
	most := maxError4 - ipv4HeaderLen - icmpHeaderLen
	if r.dst.Is6() {
		most = maxError6 - ipv6HeaderLen - icmpHeaderLen
	}
	if h.Short {
		most = len(r.packet) - len(r.message) + 8
	}
	if len(h.MPLS) > 0 {
		most = min(most, quotedMin)
	}
	start := len(b)
	b = append(b, r.packet[:min(most, len(r.packet))]...)
	setTTL(b[start:], ttl)
	if len(h.MPLS) == 0 {
		return b, 0
	}
	for len(b)-start < quotedMin {
		b = append(b, 0)
	}
	word = quotedMin / 4 << 16 // RFC 4884 section 4.1: in 32-bit words, the second byte
	if r.dst.Is6() {
		word = quotedMin / 8 << 24 // section 4.2: in 64-bit words, the first byte
	}
	return appendMPLS(b, h.MPLS), word
}

// appendMPLS appends an extension structure with one label stack.
func appendMPLS(b []byte, labels []int) []byte {
	start := len(b)
	b = append(b, extensionVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(objectHeader+labelLen*len(labels)))
	b = append(b, mplsClass, mplsType)
	for i, l := range labels {
		entry := uint32(l)<<12 | 1 // with the TTL of a packet that ends here
		if i == len(labels)-1 {
			entry |= 1 << 8 // bottom of stack
		}
		b = binary.BigEndian.AppendUint32(b, entry)
	}
	binary.BigEndian.PutUint16(b[start+2:], checksum(b[start:], 0))
	return b
}

// setTTL writes the TTL or hop limit into the IP header of a packet whose header is whole.
func setTTL(p []byte, ttl uint8) {
	if p[0]>>4 == 6 {
		p[7] = ttl
		return
	}
	p[8] = ttl
	p[10], p[11] = 0, 0
	header := min(int(p[0]&0x0f)*4, len(p))
	binary.BigEndian.PutUint16(p[10:], checksum(p[:header], 0))
}
