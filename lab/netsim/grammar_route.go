package netsim

import (
	"errors"
	"strconv"
)

// This file is the part of the grammar that is about routes.

func routeKeys(r *Route) []key {
	own := -1
	path := func() *Path { // that of the keys hops and loop
		if own < 0 {
			own = len(r.Paths)
			r.Paths = append(r.Paths, Path{})
		}
		return &r.Paths[own]
	}
	return []key{
		{name: "prefix", value: "a prefix, an address, or a list of them", meaning: "where the route leads to; default everywhere", item: takePrefix(&r.Prefixes)},
		{name: "from", value: isDuration, meaning: "when the route begins, from the start of the lab; default 0s", scalar: takeDuration(&r.From)},
		{name: "until", value: isDuration, meaning: "when it ends; default never", scalar: takeDuration(&r.Until)},
		{name: "hops", value: "a list of hops", meaning: "a path: a router after the other, each an address, `*`, or a mapping",
			item: func(s string) error { return takeHop(path())(s) }, each: func() []key { return nextHop(path()) }},
		{name: "loop", value: "a whole number", meaning: "the last so many hops repeat for ever, and nothing arrives; default 0",
			scalar: func(s string) error { return takeInt(&path().Loop)(s) }},
		{name: "paths", value: "a list of paths", meaning: "more of them: flows are balanced by a hash of addresses, protocol and ports, of ICMP identifier and checksum",
			each: func() []key {
				r.Paths = append(r.Paths, Path{})
				p := &r.Paths[len(r.Paths)-1]
				return []key{
					{name: "hops", value: "a list of hops", meaning: "as above", known: true, item: takeHop(p), each: func() []key { return nextHop(p) }},
					{name: "loop", value: "a whole number", meaning: "as above", scalar: takeInt(&p.Loop)},
				}
			}},
	}
}

// takeHop takes a router's address or an asterisk, and appends it.
func takeHop(to *Path) func(string) error {
	return func(s string) error {
		var h Hop
		if s != "*" && takeAddr(&h.Router)(s) != nil {
			return errors.New("must be an address, * or a mapping")
		}
		to.Hops = append(to.Hops, h)
		return nil
	}
}

func nextHop(p *Path) []key {
	p.Hops = append(p.Hops, Hop{})
	return hopKeys(&p.Hops[len(p.Hops)-1])
}

func hopKeys(h *Hop) []key {
	var anonymous bool
	unreachable := new(ICMPError)
	return []key{
		{name: "router", value: "an address or `off`", meaning: "the source of its errors; default off: it never says anything", scalar: orOff(&anonymous, takeAddr(&h.Router))},
		{name: "delay", value: isDuration, meaning: "there and back, added to the delay of everything that ends here or passes; default 0s", scalar: takeDuration(&h.Delay)},
		{name: "jitter", value: isDuration, meaning: "an extra delay of each request, uniform in plus or minus this; no hop takes less than 0s", scalar: takeDuration(&h.Jitter)},
		{name: "loss", value: isProbability, meaning: "that a request on its way to the router vanishes, whether it should end here or pass", scalar: takeProbability(&h.Loss)},
		{name: "silent", value: "true, false, or a probability", meaning: "that the router says nothing about a request that ends here; default false", scalar: takeSilent(&h.Silent)},
		{name: "rate_limit", value: "a rate such as 10/s, or a mapping", meaning: "of the errors of the router, about whatever route; the others are not sent",
			scalar: takeRate(&h.RateLimit.Rate), keys: func() []key { return limitKeys(&h.RateLimit)[:2] }},
		{name: "quote", value: "`8` or `full`", meaning: "what its errors quote, as above; default full", scalar: takeQuote(&h.Short)},
		{name: "mpls", value: "a label, or a list of them", meaning: "a label stack in its errors (RFC 4884, RFC 4950), outermost first", item: takeLabel(&h.MPLS)},
		{name: "unreachable", value: "a code as above", meaning: "an ICMP destination unreachable to everything that should pass", begin: func() { h.Unreachable = unreachable },
			scalar: takeCode(unreachableCodes, &unreachable.Code)},
	}
}

func takeSilent(to *float64) func(string) error {
	return func(s string) error {
		switch s {
		case "true":
			*to = 1
		case "false":
			*to = 0
		default:
			if takeProbability(to)(s) != nil {
				return errors.New("must be true, false, or a probability such as 0.01 or 1%")
			}
		}
		return nil
	}
}

func takeLabel(to *[]int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil {
			return errors.New("must be a label, a whole number")
		}
		*to = append(*to, n)
		return nil
	}
}
