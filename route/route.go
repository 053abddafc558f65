// Package route is what is known of the ways to addresses: rounds of answers from
// routers go in; paths, their changes and the numbers of each hop come out. It knows no
// network and no exposition format.
package route

import (
	"net/netip"
	"time"
)

// Kind is what became of the probe of one TTL.
type Kind uint8

const (
	// Silent is a probe that nobody answered within the timeout.
	Silent Kind = iota
	// Unasked is a probe that says nothing: it was not sent, could not be, or its answer
	// may have been lost on our own side.
	Unasked
	// Exceeded is an ICMP time exceeded: a router on the way (RFC 792, RFC 4443 section 3.3).
	Exceeded
	// Arrived is an answer of the destination itself: an echo reply, a SYN/ACK or RST, an
	// ICMP port unreachable, or any ICMP error that the destination itself sent.
	Arrived
	// Unreachable is an ICMP destination unreachable of a router.
	Unreachable
)

// Label is one entry of an MPLS label stack (RFC 3032 section 2.1), as quoted by a
// router in its ICMP error (RFC 4950 section 3).
type Label struct {
	Value  uint32 // 20 bits
	Class  uint8  // 3 bits: experimental, or traffic class
	Bottom bool   // of the stack
	TTL    uint8
}

// Answer is what became of the probe of one TTL.
type Answer struct {
	Kind Kind
	Code uint8 // of Unreachable: the ICMP code
	// From is who answered; the zero Addr of Silent and Unasked.
	From netip.Addr
	// RTT of an answer.
	RTT time.Duration
	// Labels are the label stack that the router quoted, outermost first.
	Labels []Label
}

// Round is one traceroute: all TTLs, asked in one go.
type Round struct {
	Started time.Time
	// Answers are by TTL: that of TTL 1 first. What lies behind the first answer of the
	// destination is ignored.
	Answers []Answer
}

// Key names one route of the configuration.
type Key struct {
	Prefix netip.Prefix
	// Addr is the configured address; the zero Addr stands for the lowest one that answers.
	Addr netip.Addr
}

// Spec is one route to be followed.
type Spec struct {
	Key
	// Protocol is icmp, tcp or udp, and Port that of tcp and udp; Source and Interface are what
	// probes leave by, the zero values leave it to the kernel. What leaves in another way
	// may take another path, so a route of which any of these changes begins anew.
	Protocol  string
	Port      uint16
	Source    netip.Addr
	Interface string
	// Interval between two rounds. A path is stale when its newest round is more than three of them
	// old, and at least ten seconds. 0: never.
	Interval time.Duration
}

// patience is how old the newest round may be for its path to be shown as the current one: as for
// the states of addresses, a single missed round is no doubt.
func (s *Spec) patience() time.Duration { return max(3*s.Interval, 10*time.Second) }

// sameWay says whether probes leave in the same way.
func (s Spec) sameWay(o Spec) bool {
	s.Interval = o.Interval
	return s == o
}

// Status is how a path ends.
type Status uint8

// The ends of a path.
const (
	Pending    Status = iota // no round yet
	Reached                  // the destination answers
	Incomplete               // silence after the last hop
	Blocked                  // a router says that the destination is unreachable
	Loop                     // the last hops repeat
	NoRoute                  // this machine has no way to the destination: nothing could be sent
)

// Path is one way, as seen from here.
type Path struct {
	// Hops are the routers by TTL, that of TTL 1 first; the zero Addr is a router that has
	// never answered. The destination itself is the last one if the path is Reached; of a
	// Loop the routers stand there once.
	Hops   []netip.Addr
	Status Status
	// By is the router that says that the destination is unreachable, Code the ICMP code
	// with which it does, if the path is Blocked. It is the last of Hops.
	By   netip.Addr
	Code uint8
	// Again is the TTL of the hop that follows behind the last one, if the path is a Loop.
	Again int
}

// Reason is in what way a path has changed.
type Reason uint8

// What can change.
const (
	NewRouter Reason = iota // another router at a hop
	Longer                  // more hops to the destination
	Shorter                 // fewer
	LoopBegan               // the path has become a loop
	LoopEnded
	BlockBegan // a router says that the destination is unreachable
	BlockEnded
	NoRouteBegan // this machine has no way to the destination
	NoRouteEnded
)

// Change is one change of a path, seen twice.
type Change struct {
	At time.Time // when the first round that showed it began
	Key
	Dst    netip.Addr
	Reason Reason // the most important of all that apply
	TTL    int    // of the first hop that is different
	Old    Path
	New    Path
}

// Hop is what is known of one router on the current path.
type Hop struct {
	TTL    int
	Router netip.Addr // the zero Addr: has never answered, or not for an hour in which hops behind it did
	Labels []Label    // of the last answer
	// Sent and Answered count since the router was first seen here.
	Sent, Answered uint64
	// Last is 0 if the router did not answer in the last round. All are 0 as long as nothing is answered.
	Last, Best, Worst, Mean, StdDev time.Duration
	// Loss is the share of the last LossRounds rounds in which the router did not answer, 0 to 1.
	Loss float64
	// PathLoss is that part of it which all hops behind it share: what really is lost on the way.
	PathLoss float64
	// RateLimited says that the router leaves some probes unanswered that reach the hops behind it.
	RateLimited bool
}

// LossRounds is over how many rounds loss is told: ten minutes at the default interval.
const LossRounds = 10

// MaxChanges is how many changes of each route are kept.
const MaxChanges = 20

// Route is all that is known of one route. It is a copy and belongs to the caller.
type Route struct {
	Spec
	// Dst is the address that is traced: Key.Addr, or the one that was chosen; the zero
	// Addr if none has answered yet.
	Dst  netip.Addr
	Path Path
	Hops []Hop // as long as Path.Hops
	// Rounds counts those of Dst. Last is when the newest one began.
	Rounds uint64
	Last   time.Time
	// Stale says that the newest round is too old: Path and Hops are what was known then.
	Stale bool
	// ChangesTotal counts the changes of the path to Dst; Changes are the last
	// MaxChanges of the route, oldest first, earlier destinations included.
	ChangesTotal uint64
	Changes      []Change
}
