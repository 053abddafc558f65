package config

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"prefix_exporter/prefix"
)

// blockBits is the mask of an IPv4 block.
const blockBits = 24

// check notes what is wrong between the keys of an entry, between entries, and in all. more says that
// there are further entries, which were not read.
func check(p *problems, more bool, doc *document, entries []*entry) {
	for i, e := range entries {
		e.order = i
		if !e.prefix.IsValid() {
			continue // noted already; nothing can be said about the rest of it
		}
		e.check(p)
	}
	checkTenants(p, doc.tenants, entries)
	entries = slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return !e.prefix.IsValid() })
	byPrefix(entries)
	checkOverlaps(p, entries)
	checkTraced(p, entries)
	for group := range groups(entries) {
		if len(group) > 1 {
			checkTraits(p, group)
		}
	}
	checkBudget(p, more, doc.limits, entries)
}

// byPrefix sorts entries by their first address, the larger first where they overlap,
// and in the order in which they were read where they are equal.
func byPrefix(entries []*entry) {
	slices.SortStableFunc(entries, func(a, b *entry) int {
		if a.prefix.Addr() != b.prefix.Addr() {
			return a.prefix.Addr().Compare(b.prefix.Addr())
		}
		if a.prefix.Bits() != b.prefix.Bits() {
			return a.prefix.Bits() - b.prefix.Bits()
		}
		return a.order - b.order
	})
}

// check notes what is wrong inside one entry, and finds what is to be probed.
func (e *entry) check(p *problems) {
	e.checkSource(p)
	if !e.checkExclude(p) {
		return
	}
	switch {
	case e.has("addresses"):
		e.checkAddresses(p)
	case e.prefix.Addr().Is6() && e.prefix.Bits() < minWholeMask:
		p.add(e.place("prefix"), e.prefix.String(),
			"mask must be between %d and 128, or addresses must list what to probe, up to %d of them", minWholeMask, prefix.BlockSize)
		return
	default:
		if e.whole = len(e.exclude) == 0; !e.whole {
			e.some = without(e.prefix, values(e.exclude))
		}
		for _, s := range e.spans() {
			if why := s.refused(); why != "" {
				p.add(e.place("prefix"), e.prefix.String(), "must not contain %s", why)
				break
			}
		}
		if len(e.spans()) == 0 {
			p.add(e.place("exclude"), "", "excludes all of %s: at least one address must be left", e.prefix)
		}
	}
	e.checkZone(p)
	e.checkNames(p)
}

// checkZone notes IPv6 link-local addresses without an interface, which they need to mean anything (RFC 4007
// section 6): of the prefix, those listed or traced in a shorter one, and the source.
func (e *entry) checkZone(p *problems) {
	if e.iface != "" {
		return
	}
	check := func(at *place, a netip.Addr, text string) bool {
		bad := a.Is6() && a.IsLinkLocalUnicast()
		if bad {
			p.add(at, text, "is link-local: must have an interface")
		}
		return bad
	}
	check(e.place("source"), e.source, e.source.String())
	if check(e.place("prefix"), e.prefix.Addr(), e.prefix.String()) {
		return
	}
	for _, list := range [][]item[netip.Addr]{e.addresses, e.probing.trace.addresses} {
		for i := range list {
			check(&list[i].at, list[i].value, list[i].text)
		}
	}
}

// checkSource notes a source address that cannot send to the prefix.
func (e *entry) checkSource(p *problems) {
	s := e.source
	switch {
	case !s.IsValid():
	case s.Is4() != e.prefix.Addr().Is4():
		p.add(e.place("source"), s.String(), "must be of the same family as %s", e.prefix)
	case span{s, s}.refused() != "":
		p.add(e.place("source"), s.String(), "must not be among %s", span{s, s}.refused())
	}
}

// checkExclude notes exclusions outside the prefix.
func (e *entry) checkExclude(p *problems) bool {
	ok := true
	for _, it := range e.exclude {
		if !inside(it.value, e.prefix) {
			p.add(&it.at, it.text, "must be inside %s", e.prefix)
			ok = false
		}
	}
	return ok
}

// inside says whether all of part is in whole.
func inside(part, whole netip.Prefix) bool {
	return whole.Contains(part.Addr()) && part.Bits() >= whole.Bits()
}

// excluded returns the exclusion that covers an address.
func (e *entry) excluded(a netip.Addr) (item[netip.Prefix], bool) {
	i := slices.IndexFunc(e.exclude, func(it item[netip.Prefix]) bool { return it.value.Contains(a) })
	if i < 0 {
		return item[netip.Prefix]{}, false
	}
	return e.exclude[i], true
}

// checkAddresses notes listed addresses that cannot be probed.
func (e *entry) checkAddresses(p *problems) {
	for _, it := range e.addresses {
		a := it.value
		if !e.prefix.Contains(a) {
			p.add(&it.at, it.text, "must be inside %s", e.prefix)
		} else if by, out := e.excluded(a); out {
			p.add(&it.at, it.text, "must not be excluded, as %s on line %d does", by.text, by.at.line)
		} else if why := (span{a, a}).refused(); why != "" {
			p.add(&it.at, it.text, "must not be among %s", why)
		} else {
			e.some = append(e.some, span{a, a})
		}
	}
	slices.SortFunc(e.some, func(a, b span) int { return a.first.Compare(b.first) })
}

// checkNames notes names of addresses that are not probed.
func (e *entry) checkNames(p *problems) {
	if len(e.names) == 0 {
		return
	}
	e.more().named = make(map[netip.Addr]string, len(e.names))
	listed := make(map[netip.Addr]bool, len(e.addresses))
	for _, it := range e.addresses {
		listed[it.value] = true
	}
	first := make(map[netip.Addr]*place, len(e.names))
	for _, text := range inOrder(e.names) {
		it := e.names[text]
		a, why, ok := parseAddr(text)
		if !ok && why == "" {
			why = "must be the name of an IPv4 or IPv6 address"
		}
		by, out := e.excluded(a)
		switch {
		case !ok:
			p.add(&it.at, "", "%s", why)
		case !e.prefix.Contains(a):
			p.add(&it.at, "", "must be inside %s", e.prefix)
		case out:
			p.add(&it.at, "", "must not be excluded, as %s on line %d does", by.text, by.at.line)
		case len(listed) > 0 && !listed[a]:
			p.add(&it.at, "", "must be one of addresses, on line %d", e.place("addresses").line)
		case first[a] != nil:
			p.add(&it.at, "", "names the same address as line %d", first[a].line)
		default:
			e.named[a], first[a] = it.value, &it.at
		}
	}
}

// inOrder returns the keys of a map in the order in which they were written.
func inOrder(m map[string]item[string]) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a].at.line != m[b].at.line {
			return int(m[a].at.line - m[b].at.line)
		}
		if a < b {
			return -1
		}
		return 1
	})
}

// checkTenants notes tenants that nobody declared. Without any declaration, the names
// are labels and nothing else, so every name is right.
func checkTenants(p *problems, tenants []*tenant, entries []*entry) {
	if len(tenants) == 0 {
		return
	}
	names := make([]string, len(tenants))
	known := make(map[string]bool, len(tenants))
	for i, t := range tenants {
		names[i], known[t.Name] = t.Name, true
	}
	slices.Sort(names)
	for _, e := range entries {
		for _, it := range e.tenants {
			if known[it.value] {
				continue
			}
			if near := Nearest(it.value, names); near != "" {
				p.add(&it.at, it.text, "must be declared in tenants: did you mean %s?", strconv.Quote(near))
			} else {
				p.add(&it.at, it.text, "must be declared in tenants, or none may be")
			}
		}
	}
}

// checkOverlaps notes prefixes that contain each other. The entries are sorted.
func checkOverlaps(p *problems, entries []*entry) {
	var around []*entry // each contains the next
	for _, e := range entries {
		for len(around) > 0 && !around[len(around)-1].prefix.Overlaps(e.prefix) {
			around = around[:len(around)-1]
		}
		if len(around) > 0 {
			first, second := around[len(around)-1], e
			if first.order > second.order {
				first, second = second, first
			}
			where := first.place("prefix")
			if first.prefix == second.prefix {
				p.add(second.place("prefix"), second.prefix.String(), "must be given once, is also at %s: %s", where, where.path())
			} else {
				p.add(second.place("prefix"), second.prefix.String(), "must not overlap %s at %s: %s", first.prefix, where, where.path())
			}
		}
		around = append(around, e)
	}
}

// checkTraced notes addresses to trace outside the block of their prefix. They need
// not be probed.
func checkTraced(p *problems, entries []*entry) {
	for _, e := range entries {
		for _, it := range e.probing.trace.addresses {
			if within := e.around(); !within.Contains(it.value) {
				p.add(&it.at, it.text, "must be inside %s", within)
			}
		}
	}
}

// around returns the prefix, or the block that it is part of.
func (e *entry) around() netip.Prefix {
	if e.prefix.Addr().Is4() && e.prefix.Bits() > blockBits {
		return netip.PrefixFrom(e.prefix.Addr(), blockBits).Masked()
	}
	return e.prefix
}
