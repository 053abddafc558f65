// Package prefix is the state of every monitored address: a table of blocks (an
// IPv4 /24, or up to 256 IPv6 addresses), each with one slot per address and probe.
// Results go in through Table.Record, snapshots come out; it knows no network and
// no exposition format.
package prefix

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// BlockSize is the largest number of addresses in one block: the 256 addresses of
// an IPv4 /24, which is what operators announce, draw and talk about.
const BlockSize = 256

// Expect says what an address owes us.
type Expect uint8

const (
	// ExpectSeen counts an address as up or down once it has answered. The default.
	ExpectSeen Expect = iota
	// ExpectAll counts an address always, also one that has never answered.
	ExpectAll
	// ExpectNone never counts an address as up, down or lost; it stays dark.
	ExpectNone
)

// String returns the word used in the configuration file: seen, all or none.
func (e Expect) String() string {
	switch e {
	case ExpectSeen:
		return "seen"
	case ExpectAll:
		return "all"
	case ExpectNone:
		return "none"
	}
	return fmt.Sprintf("Expect(%d)", uint8(e))
}

// PerAddress says which histogram of RTTs each address of a block keeps of its own.
type PerAddress uint8

const (
	// PerAddressNone keeps a sum and a count only. The default.
	PerAddressNone PerAddress = iota
	// PerAddressNative keeps a native (sparse, exponential) histogram.
	PerAddressNative
	// PerAddressClassic keeps a histogram with the buckets of the block.
	PerAddressClassic
)

// String returns the word used in the configuration file: none, native or classic.
func (p PerAddress) String() string {
	switch p {
	case PerAddressNone:
		return "none"
	case PerAddressNative:
		return "native"
	case PerAddressClassic:
		return "classic"
	}
	return fmt.Sprintf("PerAddress(%d)", uint8(p))
}

// Kind is what is sent to an address.
type Kind uint8

const (
	// ICMP is an echo request (RFC 792, RFC 4443 section 4.1).
	ICMP Kind = iota
	// TCP is a connection attempt to one port.
	TCP
)

// String returns the value of the label probe: icmp or tcp.
func (k Kind) String() string {
	switch k {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Probe names one way to ask an address whether it is there.
type Probe struct {
	Kind Kind
	Port uint16 // TCP only; 0 for ICMP
}

// Outcome is how one probe ended.
type Outcome uint8

// The outcomes, in the order of the reasons of prefix_target_lost_total.
const (
	Answered    Outcome = iota
	Timeout             // no answer within the timeout
	Unreachable         // an ICMP destination unreachable of any code (RFC 792; RFC 4443 section 3.1)
	TTLExceeded         // an ICMP time exceeded (RFC 792; RFC 4443 section 3.3)
	Refused             // TCP: the port answered with a reset to the SYN
	Reset               // TCP: reset after the handshake began
	NoRoute             // this machine has no way to the destination: no route, or one that rejects

	// Outcomes is how many there are; it bounds arrays indexed by Outcome.
	Outcomes = int(NoRoute) + 1
)

// String returns answered, or the value of the label reason.
func (o Outcome) String() string {
	switch o {
	case Answered:
		return "answered"
	case Timeout:
		return "timeout"
	case Unreachable:
		return "unreachable"
	case TTLExceeded:
		return "ttl_exceeded"
	case Refused:
		return "refused"
	case Reset:
		return "reset"
	case NoRoute:
		return "no_route"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// State is what is believed of an address, per probe.
type State uint8

const (
	// Dark is an address that never answered, or not for dark_after.
	Dark State = iota
	// Up is an address that answers.
	Up
	// Down is a known address that stopped answering.
	Down
	// Unknown is an address of which nothing has been measured for longer than
	// TargetProbe.patience: it is none of the others, because nobody looked.
	Unknown

	// States is how many there are; it bounds arrays indexed by State.
	States = int(Unknown) + 1
)

// String returns the value of the label state: dark, up, down or unknown.
func (s State) String() string {
	switch s {
	case Dark:
		return "dark"
	case Up:
		return "up"
	case Down:
		return "down"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Label is one extra label of prefix_info.
type Label struct{ Name, Value string }

// Block describes one block of the table and everything that is said of it.
type Block struct {
	// Prefix is the label "prefix": an IPv4 /24, or an IPv6 prefix.
	Prefix netip.Prefix
	Name   string // free text; empty: none
	Router string // free text; empty: none
	// NominalRTT is the reference of the colour scale; 0: learned.
	NominalRTT time.Duration
	Tenants    []string // sorted
	Labels     []Label  // sorted by name
	PerAddress PerAddress
	// Buckets are the upper bounds of prefix_rtt_seconds in seconds, ascending, without +Inf.
	Buckets []float64
	// Targets are the addresses, ascending, at most BlockSize, all inside Prefix.
	Targets []Target
}

// Target describes one address of a block.
type Target struct {
	Addr   netip.Addr
	Name   string // free text; empty: none
	Probes []TargetProbe
}

// TargetProbe is one probe of one address, and what its outcomes mean.
type TargetProbe struct {
	Probe
	// DownAfter is how many probes in a row must be lost, and UpAfter how many
	// answered, before the state changes. Range 1 to 255.
	DownAfter, UpAfter uint8
	// Interval between two probes; 0 counts as one second or less.
	Interval time.Duration
	Expect   Expect
	// DarkAfter is the silence after which a known address is forgotten (ExpectSeen only). 0: never.
	DarkAfter time.Duration
}

// patience is how old the newest evidence of an address may be before its state is unknown:
// two intervals more than it takes to be down, so that no single missed probe is doubt, and at
// least minPatience, so that a pause of the prober that costs no decision is none either.
func (t *TargetProbe) patience() time.Duration {
	return max(time.Duration(t.DownAfter+2)*t.Interval, minPatience)
}

const minPatience = 10 * time.Second

// namespace is the UUID namespace of target IDs: a UUIDv5 of the project's name in
// the DNS namespace (RFC 9562 section 5.5), so that anyone can compute them.
var namespace = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("prefix_exporter"))

// TargetID returns the identity of an address, a UUIDv5 (RFC 9562 section 5.5) of
// its canonical text. It is the same in metrics, logs, events and alerts, on every
// machine and after every restart.
func TargetID(addr netip.Addr) string {
	return uuid.NewSHA1(namespace, []byte(addr.String())).String()
}
