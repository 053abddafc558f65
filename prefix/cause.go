package prefix

import (
	"net/netip"

	"prefix_exporter/packet"
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
			return packet.ErrorText(!c.By.Is4(), c.Type, c.Code)
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
