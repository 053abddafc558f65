package collector

import (
	"net/netip"
	"slices"
)

// cause is why an address is as it is: values of labels.
type cause struct {
	reason, detail string
	by             netip.Addr // who says so; the zero Addr: nobody
}

// breakdown counts the addresses of a series by cause. There are few causes in an outage: beyond maxCauses
// it is no longer said who says so.
type breakdown []caused

type caused struct {
	cause
	n uint64
}

// maxCauses bounds the series that the routers of a network can make of one prefix: so many, and one for each thing that
// an ICMP error can say.
const maxCauses = 8

func (b *breakdown) add(c cause) {
	at := slices.IndexFunc(*b, func(o caused) bool { return o.cause == c })
	if at < 0 && len(*b) >= maxCauses {
		c.by = netip.Addr{}
		at = slices.IndexFunc(*b, func(o caused) bool { return o.cause == c })
	}
	if at < 0 {
		*b = append(*b, caused{cause: c})
		at = len(*b) - 1
	}
	(*b)[at].n++
}
