package packet

import "fmt"

// codes4 are those of Unreachable (RFC 792; RFC 1122 section 3.2.2.1; RFC 1812 section 5.2.7.1).
var codes4 = [...]string{
	"net unreachable", "host unreachable", "protocol unreachable", "port unreachable",
	"fragmentation needed", "source route failed", "net unknown", "host unknown",
	"source host isolated", "net prohibited", "host prohibited", "net unreachable for this type of service",
	"host unreachable for this type of service", "administratively prohibited", "precedence violation", "precedence cutoff",
}

// codes6 are those of Unreachable6 (RFC 4443 section 3.1; RFC 6554 section 3).
var codes6 = [...]string{
	"no route", "administratively prohibited", "beyond the scope of the source", "address unreachable",
	"port unreachable", "source address prohibited", "route rejected", "source routing error",
}

// ErrorText names an ICMP error by its type and code, in the words of ping(8) and traceroute(8), such as
// "net unreachable". v6 says that it is an ICMPv6 error.
func ErrorText(v6 bool, kind, code uint8) string {
	switch {
	case !v6 && kind == Unreachable && int(code) < len(codes4):
		return codes4[code]
	case v6 && kind == Unreachable6 && int(code) < len(codes6):
		return codes6[code]
	case !v6 && kind == Unreachable, v6 && kind == Unreachable6:
		return fmt.Sprintf("unreachable, code %d", code)
	case v6 && kind == TooBig6:
		return "packet too big"
	case !v6 && kind == TimeExceed, v6 && kind == TimeExceed6:
		if code == 1 {
			return "fragment reassembly time exceeded"
		}
		return "TTL exceeded"
	}
	return fmt.Sprintf("ICMP type %d code %d", kind, code)
}
