package route

import (
	"fmt"
	"net/netip"
	"strings"

	"prefix_exporter/packet"
)

// String returns one word: silent, unasked, exceeded, arrived or unreachable.
func (k Kind) String() string {
	switch k {
	case Silent:
		return "silent"
	case Unasked:
		return "unasked"
	case Exceeded:
		return "exceeded"
	case Arrived:
		return "arrived"
	case Unreachable:
		return "unreachable"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MarshalText returns what String does.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String returns the word of the JSON API: pending, reached, incomplete, blocked, loop or no_route.
func (s Status) String() string {
	switch s {
	case Pending:
		return "pending"
	case Reached:
		return "reached"
	case Incomplete:
		return "incomplete"
	case Blocked:
		return "blocked"
	case Loop:
		return "loop"
	case NoRoute:
		return "no_route"
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// MarshalText returns what String does.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the word of the JSON API: new_router, longer, shorter, loop_began,
// loop_ended, block_began, block_ended, no_route_began or no_route_ended.
func (r Reason) String() string {
	switch r {
	case NewRouter:
		return "new_router"
	case Longer:
		return "longer"
	case Shorter:
		return "shorter"
	case LoopBegan:
		return "loop_began"
	case LoopEnded:
		return "loop_ended"
	case BlockBegan:
		return "block_began"
	case BlockEnded:
		return "block_ended"
	case NoRouteBegan:
		return "no_route_began"
	case NoRouteEnded:
		return "no_route_ended"
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// MarshalText returns what String does.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String returns the entry as traceroute -e prints it: L=16001,E=0,S=1,T=1.
func (l Label) String() string {
	bottom := 0
	if l.Bottom {
		bottom = 1
	}
	return fmt.Sprintf("L=%d,E=%d,S=%d,T=%d", l.Value, l.Class, bottom, l.TTL)
}

// String returns the hops in one line, * for one that has never answered, and how
// the path ends if it is not Reached: 10.0.0.1 * 10.0.0.3 192.0.2.1.
func (p Path) String() string {
	hops := strings.Join(names(p.Hops), " ")
	detail := p.Detail()
	if hops != "" && detail != "" {
		hops += ": "
	}
	return hops + detail
}

// Detail says in a few words how a path ends; empty if it is Reached.
func (p Path) Detail() string {
	switch p.Status {
	case Reached:
		return ""
	case Pending:
		return "not asked yet"
	case Incomplete:
		return "then silence"
	case Blocked:
		return fmt.Sprintf("%s says %s", name(p.By), unreachable(p.By, p.Code))
	case Loop:
		if p.Again >= 1 && p.Again <= len(p.Hops) {
			return fmt.Sprintf("loops back to hop %d, %s", p.Again, name(p.Hops[p.Again-1]))
		}
		return "loops"
	case NoRoute:
		return "no route from the prober"
	}
	return p.Status.String()
}

// String says in one sentence without a full stop what has changed:
// "hop 3 of the path to 192.0.2.7 is 10.0.0.9 instead of 10.0.0.3".
func (c Change) String() string {
	switch c.Reason {
	case NewRouter:
		return fmt.Sprintf("hop %d of the path to %s is %s instead of %s", c.TTL, name(c.Dst), c.New.hop(c.TTL), c.Old.hop(c.TTL))
	case Longer, Shorter:
		s := fmt.Sprintf("the path to %s is %s and another one from hop %d on", name(c.Dst), c.Reason, c.TTL)
		if c.Old.Status == Reached && c.New.Status == Reached {
			s += fmt.Sprintf(": %d hops instead of %d", len(c.New.Hops), len(c.Old.Hops))
		}
		return s
	case LoopBegan:
		return fmt.Sprintf("the path to %s %s", name(c.Dst), c.New.Detail())
	case LoopEnded:
		return fmt.Sprintf("the path to %s no longer %s", name(c.Dst), c.Old.Detail())
	case BlockBegan:
		return fmt.Sprintf("%s is unreachable: %s", name(c.Dst), c.New.Detail())
	case BlockEnded:
		return fmt.Sprintf("%s is no longer unreachable", name(c.Dst))
	case NoRouteBegan:
		return fmt.Sprintf("this machine has no route to %s", name(c.Dst))
	case NoRouteEnded:
		return fmt.Sprintf("this machine has a route to %s again", name(c.Dst))
	}
	return c.Reason.String()
}

// hop returns the name of the router at a TTL.
func (p Path) hop(ttl int) string {
	if ttl < 1 || ttl > len(p.Hops) {
		return "*"
	}
	return name(p.Hops[ttl-1])
}

// names returns the names of hops.
func names(hops []netip.Addr) []string {
	list := make([]string, len(hops))
	for i, h := range hops {
		list[i] = name(h)
	}
	return list
}

// name returns the text of an address, * for none.
func name(a netip.Addr) string {
	if !a.IsValid() {
		return "*"
	}
	return a.String()
}

// unreachable returns the meaning of a code of an ICMP destination unreachable.
func unreachable(by netip.Addr, code uint8) string {
	if by.Is6() && !by.Is4In6() {
		return packet.ErrorText(true, packet.Unreachable6, code)
	}
	return packet.ErrorText(false, packet.Unreachable, code)
}
