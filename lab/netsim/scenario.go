package netsim

import (
	"net/netip"
	"slices"
	"time"
)

// Scenario says how a simulated internet behaves. The zero value has no address at all.
type Scenario struct {
	// Seed of every draw. The n-th request of a protocol to an address meets the same fate in every run
	// with the same seed and rules, whatever happens at other addresses.
	Seed uint64
	// Source is the local end, at most one address per family, from which the code under test probes.
	// Absent: 198.18.0.1 (RFC 2544) and fd00:c612::1 for the families that Prefixes has.
	Source []netip.Addr
	// Prefixes are routed to the lab; every address of them answers at once unless a rule says otherwise.
	Prefixes []netip.Prefix
	// MTU of the TUN device, 1280 to 65535 bytes; 0: 1500.
	MTU int
	// Stamp lets the lab write its times into echo replies, see Stamps.
	Stamp bool
	// Rules in the order of the file. For every property the most specific active rule that names it
	// decides, the last one among equals.
	Rules []Rule
	// Routes in the order of the file. The most specific active route of an address is its way, the last
	// one among equals.
	Routes []Route
}

// Rule says how the addresses of some prefixes behave for a while. A nil property is left to less specific rules.
type Rule struct {
	// Prefixes that it is about; none: every address.
	Prefixes []netip.Prefix
	// Protocols that it is about; none: all of them.
	Protocols []Protocol
	// Ports of destination that it is about, of TCP and UDP; none: all packets, also those without ports.
	Ports []PortRange
	// From and Until count from the start of the lab (for Lab.Apply and Lab.SetRule: from the call).
	// Until 0: for ever.
	From, Until time.Duration

	Delay       *Delay
	Spread      *time.Duration // a constant extra delay per address, drawn from [0, Spread)
	Jitter      *time.Duration // an extra delay per reply, uniform in ±Jitter; never below zero in all
	Loss        *Loss
	Duplicate   *Duplicate
	Reorder     *Reorder
	Corrupt     *Corrupt
	Silent      *bool
	Unreachable *ICMPError
	TTLExceeded *ICMPError
	RateLimit   *RateLimit
	AnswerFrom  *netip.Addr // the source of echo replies instead of the address asked; the zero Addr: off
	TCP         *Service    // what a SYN meets that gets so far
}

// Protocol is what a request to the lab is made of.
type Protocol uint8

// The protocols that the lab answers; the zero value is ICMP.
const (
	ICMP Protocol = iota // echo requests
	TCP                  // SYNs
	UDP                  // datagrams
	protocols
)

var protocolNames = [...]string{"icmp", "tcp", "udp"}

func (p Protocol) String() string { return protocolNames[p] }

// PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// Delay is the time from the arrival of a request at the device to writing its reply: Constant, unless Normal or Ramp is there.
type Delay struct {
	Constant time.Duration
	Normal   *Normal
	Ramp     *Ramp
}

// Normal is a normal distribution, cut off below at Min.
type Normal struct {
	Mean, Stddev, Min time.Duration
}

// Ramp is a delay that changes linearly over the time Over from the beginning of the rule, and then stays.
type Ramp struct {
	From, To, Over time.Duration
}

// Loss is which requests vanish. The kinds add up: any of them loses the packet.
type Loss struct {
	Probability float64
	Burst       *Burst
	Periodic    *Periodic
}

// Burst is the Gilbert-Elliott model, advanced once per request of an address: Enter and Leave are the
// probabilities of going into and out of the bad state, in which a request is lost with probability Bad
// (nil: 1), while in the good state it is lost with probability Good.
type Burst struct {
	Enter, Leave, Good float64
	Bad                *float64
}

// Periodic loses everything during the first Length of every Period from the beginning of the rule.
type Periodic struct {
	Period, Length time.Duration
}

// Duplicate is how often a request is answered more than once: Copies more replies (0: one), each After later than the one before.
type Duplicate struct {
	Probability float64
	Copies      int
	After       time.Duration
}

// Reorder is how often a reply is held back by Delay, so that later ones overtake it.
type Reorder struct {
	Probability float64
	Delay       time.Duration
}

// Corrupt is how often a reply is damaged, and how.
type Corrupt struct {
	Probability float64
	Mode        CorruptMode
}

// CorruptMode is a kind of damage.
type CorruptMode uint8

// The kinds of damage.
const (
	Intact   CorruptMode = iota
	Flip                 // one bit of the ICMP message is wrong, and so its checksum
	Payload              // one bit of the first 16 payload bytes is wrong under a valid checksum (the sequence when there is no payload)
	Truncate             // the payload is shorter than it was, under a valid checksum
)

// ICMPError is an ICMP error instead of a reply.
type ICMPError struct {
	Off bool // none, although a less specific rule has one
	// Code by its name (see docs/lab.md) or number; "" is host for unreachable and 0 for TTL exceeded.
	Code string
	// From is the router that sends it; the zero Addr: the address asked.
	From netip.Addr
	// Short quotes the IP header and 8 bytes of the request; else as much as the RFCs let.
	Short bool
	// Probability that a request meets it; nil: 1.
	Probability *float64
}

// RateLimit is a token bucket of requests let through; the others vanish.
type RateLimit struct {
	Rate  float64 // requests a second; 0: no limit
	Burst int     // depth of the bucket, full at first; 0: 1
	Share bool    // one bucket for all addresses of the rule; else one for each address
}

const (
	defaultMTU = 1500
	maxMTU     = 65535
	minMTU     = 1280 // RFC 8200 section 5
)

var (
	defaultSource4 = netip.AddrFrom4([4]byte{198, 18, 0, 1})
	defaultSource6 = netip.MustParseAddr("fd00:c612::1")
)

// sources returns the local ends, defaults filled in.
func (s *Scenario) sources() []netip.Addr {
	out := append([]netip.Addr(nil), s.Source...)
	for _, d := range []netip.Addr{defaultSource4, defaultSource6} {
		if s.has(d.Is4()) && !hasFamily(out, d.Is4()) {
			out = append(out, d)
		}
	}
	return out
}

// has tells whether a prefix is of the family.
func (s *Scenario) has(v4 bool) bool {
	for _, p := range s.Prefixes {
		if p.Addr().Is4() == v4 {
			return true
		}
	}
	return false
}

// reach returns the prefixes and the routers outside of them: all that is routed to the lab.
func (s *Scenario) reach() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s.Prefixes {
		out = append(out, p.Masked())
	}
	for _, r := range s.Routes {
		for _, p := range r.Paths {
			for _, h := range p.Hops {
				if !h.Router.IsValid() || slices.ContainsFunc(out, func(p netip.Prefix) bool { return p.Contains(h.Router) }) {
					continue
				}
				out = append(out, netip.PrefixFrom(h.Router, h.Router.BitLen()))
			}
		}
	}
	return out
}

func hasFamily(list []netip.Addr, v4 bool) bool {
	for _, a := range list {
		if a.Is4() == v4 {
			return true
		}
	}
	return false
}

func (s *Scenario) mtu() int {
	if s.MTU == 0 {
		return defaultMTU
	}
	return s.MTU
}
