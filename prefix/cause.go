package prefix

import (
	"fmt"
	"net/netip"
)

// Cause is why a probe was lost, and who says so.
type Cause struct {
	Outcome Outcome
	// By is who declared the probe lost: the sender of an ICMP error. The zero Addr if nobody did,
	// or if it was the destination itself by a reset.
	By netip.Addr
	// Type and Code are those of the ICMP error, if By is valid.
	Type, Code uint8
}

// Detail is what the cause says, in the words of ping(8) and traceroute(8): "net unreachable",
// "timeout", "connection refused". It has no name and no address in it.
func (c Cause) Detail() string {
	switch c.Outcome {
	case Answered:
		return ""
	case Unreachable, TTLExceeded:
		if c.By.IsValid() {
			return icmpText(!c.By.Is4(), c.Type, c.Code)
		}
	case Refused:
		return "connection refused"
	case Reset:
		return "connection reset"
	case NoRoute:
		return "no route from the prober"
	}
	return c.Outcome.String()
}

// String is Detail, and who says so: "net unreachable, says 198.51.100.1".
func (c Cause) String() string {
	if c.By.IsValid() {
		return c.Detail() + ", says " + c.By.String()
	}
	return c.Detail()
}

// unreachable4 are the codes of an ICMP destination unreachable (RFC 792; RFC 1122 section 3.2.2.1;
// RFC 1812 section 5.2.7.1).
var unreachable4 = [...]string{
	"net unreachable", "host unreachable", "protocol unreachable", "port unreachable", "fragmentation needed",
	"source route failed", "net unknown", "host unknown", "host isolated", "net prohibited", "host prohibited",
	"net unreachable for TOS", "host unreachable for TOS", "administratively prohibited", "precedence violation", "precedence cutoff",
}

// unreachable6 are the codes of an ICMPv6 destination unreachable (RFC 4443 section 3.1).
var unreachable6 = [...]string{
	"no route", "administratively prohibited", "beyond scope", "address unreachable", "port unreachable",
	"source address failed policy", "reject route", "source routing error",
}

// icmpText names an ICMP error in the words of traceroute(8).
func icmpText(v6 bool, kind, code uint8) string {
	const (
		unreachable, exceeded   = 3, 11 // RFC 792
		unreachableV6, tooBigV6 = 1, 2  // RFC 4443 sections 3.1, 3.2
		exceededV6              = 3     // RFC 4443 section 3.3
	)
	switch {
	case !v6 && kind == unreachable && int(code) < len(unreachable4):
		return unreachable4[code]
	case v6 && kind == unreachableV6 && int(code) < len(unreachable6):
		return unreachable6[code]
	case v6 && kind == tooBigV6:
		return "packet too big"
	case !v6 && kind == exceeded || v6 && kind == exceededV6:
		if code == 1 {
			return "reassembly time exceeded"
		}
		return "TTL exceeded"
	}
	return fmt.Sprintf("ICMP type %d code %d", kind, code)
}
