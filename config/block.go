package config

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"prefix_exporter/prefix"
)

// trait is a key that describes a block, not single addresses. Entries that share a
// block must agree about it, or leave it to one of them.
type trait struct {
	key  string
	same func(a, b *entry) bool
	take func(to, from *entry)
}

func traits() []trait {
	return []trait{
		{"name",
			func(a, b *entry) bool { return a.name == b.name },
			func(to, from *entry) { to.name = from.name }},
		{"router",
			func(a, b *entry) bool { return a.router == b.router },
			func(to, from *entry) { to.more().router = from.router }},
		{"nominal_rtt",
			func(a, b *entry) bool { return a.nominalRTT == b.nominalRTT },
			func(to, from *entry) { to.more().nominalRTT = from.nominalRTT }},
		{"tenants",
			func(a, b *entry) bool { return slices.Equal(a.tenantNames(), b.tenantNames()) },
			func(to, from *entry) { to.more().tenants = from.tenants }},
		{"labels",
			func(a, b *entry) bool { return slices.Equal(a.labelList(), b.labelList()) },
			func(to, from *entry) { to.more().labels = from.labels }},
		{"trace",
			func(a, b *entry) bool { return a.probing.trace.equal(&b.probing.trace) },
			func(to, from *entry) { to.own().trace = from.probing.trace }},
		{"histograms",
			func(a, b *entry) bool { return a.probing.histograms.equal(&b.probing.histograms) },
			func(to, from *entry) { to.own().histograms = from.probing.histograms }},
	}
}

func (t *traceGroup) equal(u *traceGroup) bool {
	if t.off || u.off {
		return t.off == u.off
	}
	return t.Interval == u.Interval && t.Timeout == u.Timeout && t.MaxHops == u.MaxHops && t.Port == u.Port &&
		t.protocol == u.protocol && slices.Equal(sortedValues(t.addresses, netip.Addr.Compare), sortedValues(u.addresses, netip.Addr.Compare))
}

func (h *histogramGroup) equal(i *histogramGroup) bool {
	return h.perAddress == i.perAddress && slices.Equal(values(h.buckets), values(i.buckets))
}

// groups returns the entries that share a block, in the order in which they were
// read, block by block. The entries must be sorted and not overlap.
func groups(entries []*entry) iter.Seq[[]*entry] {
	return func(yield func([]*entry) bool) {
		for len(entries) > 0 {
			n := 1
			for n < len(entries) && entries[n].around() == entries[0].around() {
				n++
			}
			group := slices.Clone(entries[:n])
			slices.SortFunc(group, func(a, b *entry) int { return a.order - b.order })
			if !yield(group) {
				return
			}
			entries = entries[n:]
		}
	}
}

// checkTraits notes where entries that share a block describe it differently.
func checkTraits(p *problems, group []*entry) {
	for _, t := range traits() {
		var holder *entry
		for _, e := range group {
			switch {
			case !e.has(t.key):
			case holder == nil:
				holder = e
			case e.prefix.Overlaps(holder.prefix): // noted already, and the larger mistake
			case !t.same(holder, e):
				where := holder.written.at(t.key)
				p.add(e.written.at(t.key), "", "must be the same for all of %s: it is different at %s: %s", e.around(), where, where.path())
			}
		}
	}
}

// describeGroup returns one entry that says what the group says of its block.
func describeGroup(group []*entry) *entry {
	if len(group) == 1 {
		return group[0]
	}
	all := *group[0]
	all.owned = false // what it is given is not given to the first of the group
	for _, t := range traits() {
		if i := slices.IndexFunc(group, func(e *entry) bool { return e.has(t.key) }); i >= 0 {
			t.take(&all, group[i])
		}
	}
	return &all
}

// blocks expands entries without mistakes into sorted blocks.
func blocks(entries []*entry) []Block {
	entries = slices.Clone(entries)
	byPrefix(entries)
	var all []Block
	for group := range groups(entries) {
		said := describeGroup(group)
		byPrefix(group)
		first := len(all)
		for _, e := range group {
			settings, probes := e.settings(), e.probes()
			e.each(func(a netip.Addr) {
				within := e.prefix
				if a.Is4() {
					within = netip.PrefixFrom(a, blockBits).Masked()
				}
				if len(all) == first || all[len(all)-1].Prefix != within {
					all = append(all, said.block(within))
				}
				b := &all[len(all)-1]
				b.Targets = append(b.Targets, prefix.Target{Addr: a, Name: e.named[a], Probes: probes})
				b.Settings = append(b.Settings, settings)
			})
		}
	}
	return all
}

// each calls f for every address to probe, ascending.
func (e *entry) each(f func(netip.Addr)) {
	for _, s := range e.spans() {
		s.each(f)
	}
}

// block returns a block without targets, described as the entry says.
func (e *entry) block(within netip.Prefix) Block {
	h := &e.probing.histograms
	return Block{
		Block: prefix.Block{
			Prefix:     within,
			Name:       e.name,
			Router:     e.router,
			NominalRTT: e.nominalRTT,
			Tenants:    e.tenantNames(),
			Labels:     e.labelList(),
			PerAddress: h.perAddress,
			Buckets:    values(h.buckets),
		},
		Trace: e.traceOf(within),
	}
}

// tenantNames returns the tenants of an entry, sorted; nil: none.
func (e *entry) tenantNames() []string {
	if len(e.tenants) == 0 {
		return nil
	}
	names := values(e.tenants)
	slices.Sort(names)
	return names
}

// labelList returns the extra labels of an entry, sorted; nil: none.
func (e *entry) labelList() []prefix.Label {
	var list []prefix.Label
	for _, name := range slices.Sorted(maps.Keys(e.labels)) {
		list = append(list, prefix.Label{Name: name, Value: e.labels[name].value})
	}
	return list
}

// settings returns how the addresses of an entry are probed.
func (e *entry) settings() *Settings {
	s := &Settings{ICMP: e.probing.icmp.ICMP, Source: e.source, Interface: e.iface, Where: e.where()}
	if t := &e.probing.tcp; !t.off {
		tcp := t.TCP
		tcp.Ports = t.sortedPorts()
		tcp.OrderlyClose = t.close == closeOrderly
		s.TCP = &tcp
	}
	return s
}

// where names the prefix and the places of its source and interface; empty if it has neither.
func (e *entry) where() string {
	var at []string
	if e.source.IsValid() {
		at = append(at, e.place("source").String())
	}
	if e.iface != "" {
		at = append(at, e.place("interface").String())
	}
	if len(at) == 0 {
		return ""
	}
	return e.prefix.String() + " (" + strings.Join(slices.Compact(at), ", ") + ")"
}

func (t *tcpGroup) sortedPorts() []uint16 {
	return sortedValues(t.ports, func(a, b uint16) int { return int(a) - int(b) })
}

// sortedValues returns the values of items in order.
func sortedValues[E any](items []item[E], compare func(a, b E) int) []E {
	all := values(items)
	slices.SortFunc(all, compare)
	return all
}

// probes returns the probes that every address of an entry has.
func (e *entry) probes() []prefix.TargetProbe {
	probe := func(kind prefix.Kind, port uint16, interval time.Duration, down, up uint8) prefix.TargetProbe {
		t := prefix.TargetProbe{
			Probe:     prefix.Probe{Kind: kind, Port: port},
			DownAfter: down, UpAfter: up, Interval: interval, Expect: e.probing.expect,
		}
		if t.Expect == prefix.ExpectSeen {
			t.DarkAfter = e.probing.darkAfter
		}
		return t
	}
	all := []prefix.TargetProbe{probe(prefix.ICMP, 0, e.probing.icmp.Interval, e.probing.icmp.downAfter, e.probing.icmp.upAfter)}
	if t := &e.probing.tcp; !t.off {
		for _, port := range t.sortedPorts() {
			all = append(all, probe(prefix.TCP, port, t.Interval, t.downAfter, t.upAfter))
		}
	}
	return all
}

// traceOf returns how the route to a block is traced; nil: not at all.
func (e *entry) traceOf(within netip.Prefix) *Trace {
	g := &e.probing.trace
	if g.off {
		return nil
	}
	t := g.Trace
	t.Protocol = g.protocol.String()
	switch {
	case g.protocol == protocolICMP:
		t.Port = 0
	case t.Port == 0 && g.protocol == protocolTCP:
		t.Port = TracePortTCP
	case t.Port == 0 && g.protocol == protocolUDP:
		t.Port = TracePortUDP
	}
	for _, a := range sortedValues(g.addresses, netip.Addr.Compare) {
		if within.Contains(a) {
			t.Addresses = append(t.Addresses, a)
		}
	}
	return &t
}
