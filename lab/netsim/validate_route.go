package netsim

import (
	"fmt"
	"net/netip"
	"slices"
)

const (
	// maxHops is what a TTL can count.
	maxHops = 255
	// maxRoutes and maxPaths fit what the truth has for their numbers.
	maxRoutes = 65535
	maxPaths  = 255
	// maxLabel is what 20 bits hold, RFC 3032 section 2.1.
	maxLabel = 1<<20 - 1
	// maxLabels is more than any network stacks.
	maxLabels = 16
)

func (v *validator) route(path string, s *Scenario, r *Route) {
	v.times(path, r.From, r.Until)
	for i, p := range r.Prefixes {
		at := fmt.Sprintf("%s.prefix[%d]", path, i)
		v.prefix(at, p)
		if p.IsValid() && !slices.ContainsFunc(s.Prefixes, p.Overlaps) {
			v.add(at, "%q has no address in the prefixes of the scenario", p)
		}
	}
	if len(s.Routes) > maxRoutes {
		v.add(path, "there must be no more than %d routes", maxRoutes)
	}
	if len(r.Paths) == 0 || len(r.Paths) > maxPaths {
		v.add(path, "there must be hops, or 1 to %d paths", maxPaths)
	}
	families := r.Prefixes
	if len(families) == 0 {
		families = s.Prefixes
	}
	for i := range r.Paths {
		at := path
		if len(r.Paths) > 1 {
			at = fmt.Sprintf("%s.paths[%d]", path, i)
		}
		v.path(at, &r.Paths[i], families)
	}
}

func (v *validator) path(path string, p *Path, to []netip.Prefix) {
	if len(p.Hops) == 0 || len(p.Hops) > maxHops {
		v.add(path+".hops", "there must be 1 to %d hops", maxHops)
	}
	if p.Loop < 0 || p.Loop > len(p.Hops) {
		v.add(path+".loop", "%d must be between 0 and the number of hops (%d)", p.Loop, len(p.Hops))
	}
	for i := range p.Hops {
		v.hop(fmt.Sprintf("%s.hops[%d]", path, i), &p.Hops[i], to)
	}
}

func (v *validator) hop(path string, h *Hop, to []netip.Prefix) {
	if h.Router.IsValid() {
		for _, p := range to {
			if p.IsValid() && p.Addr().Is4() != h.Router.Is4() {
				v.add(path+".router", "%s and %s are not of one family", h.Router, p)
				break
			}
		}
	}
	v.duration(path+".delay", h.Delay)
	v.duration(path+".jitter", h.Jitter)
	v.probability(path+".loss", h.Loss)
	v.probability(path+".silent", h.Silent)
	v.limit(path+".rate_limit", &h.RateLimit)
	if len(h.MPLS) > maxLabels {
		v.add(path+".mpls", "there must be no more than %d labels", maxLabels)
	}
	for i, l := range h.MPLS {
		if l < 0 || l > maxLabel {
			v.add(fmt.Sprintf("%s.mpls[%d]", path, i), "%d must be between 0 and %d", l, maxLabel)
		}
	}
	if e := h.Unreachable; e != nil {
		if _, ok := findCode(unreachableCodes, e.Code); !ok {
			v.add(path+".unreachable", "%q must be a number from 0 to 255 or one of %s", e.Code, codeNames(unreachableCodes))
		}
	}
}

func (v *validator) limit(path string, l *RateLimit) {
	if !(l.Rate >= 0 && l.Rate <= maxRate) { // NaN as well
		v.add(path+".rate", "%g must be between 0 and %g a second", l.Rate, float64(maxRate))
	}
	if l.Burst < 0 || l.Burst > maxRate {
		v.add(path+".burst", "%d must be between 0 and %d", l.Burst, maxRate)
	}
}
