package probe

import (
	"errors"
	"syscall"
	"time"

	"prefix_exporter/prefix"
)

const (
	// asideFor is how long a broadcast address is left alone before it is asked again whether it is one.
	asideFor = time.Minute
	// discardPort (RFC 863) is what a look connects to. Nothing is ever sent there.
	discardPort = 9
)

// refusal is what it means that the local system would not send a probe.
type refusal uint8

const (
	refusedHere      refusal = iota // for a reason of this machine: it says nothing about the destination
	refusedNoRoute                  // this machine has no way to the destination: no route, or one that rejects
	refusedBroadcast                // the destination is the broadcast address of a network of this machine
	refusedPending                  // not at all: the socket told of an ICMP error for an earlier packet
)

// errPath wraps what keeps a socket from being opened by the way that a target asks for: its source address
// or its interface is not there.
var errPath = errors.New("no socket")

// errCarrier is why nothing is sent to a destination whose route leads over an interface without carrier: the cable is out,
// or the other end is off. Linux keeps such a route, takes the packet, and drops it without a word.
var errCarrier = errors.New("the interface that the route leads over has no carrier")

// judgeRefusal finds out what an error means, of which pending says whether it may be a socket's memory of
// something else. look asks the kernel for a way to the destination, without sending anything: connect(2) of
// a fresh UDP socket (udp(7)), to a broadcast address if asked to. It returns its error, which wraps errPath if
// there is no socket to ask with. The errors of connect and send alone would be ambiguous:
// EACCES stands for a route that prohibits, a broadcast address and a security module, ENETUNREACH of a TCP
// socket for a broadcast address too, EADDRNOTAVAIL for a family without addresses and for a
// lack of local ports, EINVAL for a black hole and for a mistake of ours.
func judgeRefusal(err error, pending bool, look func(broadcast bool) error) (refusal, error) {
	if errors.Is(err, errCarrier) {
		return refusedNoRoute, err // the kernel, asked for a way, would name the route
	}
	if !pending && !ofDestination(err) {
		return refusedHere, err
	}
	seen := look(false)
	switch {
	case seen == nil && pending:
		return refusedPending, err
	case seen == nil:
		return refusedHere, err
	case errors.Is(seen, errPath):
		return refusedHere, seen // that says more
	case errors.Is(seen, accessDenied) && look(true) == nil:
		return refusedBroadcast, err
	case ofDestination(seen):
		return refusedNoRoute, seen
	}
	return refusedHere, err
}

// ofDestination says whether an error may belong to one destination rather than to the machine.
func ofDestination(err error) bool {
	for _, errno := range noWay {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// hasWay says whether there is a way, by the answer of a look. Without the source address or the interface that a target
// asks for there is none: what takes a line away often takes these with the routes. What cannot be found out
// counts as one: it is no outage.
func hasWay(look func(broadcast bool) error) bool {
	seen := look(false)
	switch {
	case errors.Is(seen, errPath):
		return !errors.Is(seen, syscall.EADDRNOTAVAIL) && !errors.Is(seen, syscall.ENODEV)
	case seen == nil, !ofDestination(seen):
		return true
	}
	return errors.Is(seen, accessDenied) && look(true) == nil
}

// deny records an attempt for which there was no way, and returns what happened to it.
func (o *Options) deny(h prefix.Handle, sent time.Time, offline bool, m *common) (event string) {
	if offline {
		m.discarded.WithLabelValues(string(ReasonOffline)).Inc()
		o.Recorder.Unmeasured(h, string(ReasonOffline))
		return "discarded"
	}
	o.Recorder.Record(h, sent, prefix.NoRoute, 0)
	return prefix.NoRoute.String()
}
