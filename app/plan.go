package app

import (
	"net/netip"
	"slices"

	"prefix_exporter/config"
	"prefix_exporter/prefix"
	"prefix_exporter/probe"
	"prefix_exporter/route"
)

// blocksOf returns the blocks of a configuration for the table, which owns them from
// then on: each call makes new ones.
func blocksOf(c *config.Config) []prefix.Block {
	blocks := make([]prefix.Block, len(c.Blocks))
	for i := range c.Blocks {
		blocks[i] = c.Blocks[i].Block
		blocks[i].Targets = slices.Clone(blocks[i].Targets)
	}
	return blocks
}

// handles looks up where the results of an address go. *prefix.Table is one.
type handles interface {
	Handle(addr netip.Addr, p prefix.Probe) (prefix.Handle, bool)
}

var _ handles = (*prefix.Table)(nil)

// targets are what the engines are given: addresses, ports of addresses, and routes.
type targets struct {
	icmp  []probe.Target
	tcp   []probe.TCPTarget
	trace []probe.TraceTarget
}

// targetsOf returns the targets of a configuration for the engines. Those that have no slot
// in the table yet have the zero Handle: their results go nowhere.
func targetsOf(c *config.Config, slots handles) (list targets) {
	n, ports := 0, 0
	for i := range c.Blocks {
		for _, s := range c.Blocks[i].Settings {
			n++
			if s.TCP != nil {
				ports += len(s.TCP.Ports)
			}
		}
	}
	list = targets{icmp: make([]probe.Target, 0, n), tcp: make([]probe.TCPTarget, 0, ports)}
	handle := func(addr netip.Addr, p prefix.Probe) prefix.Handle {
		h, ok := slots.Handle(addr, p)
		if !ok {
			return prefix.Handle{}
		}
		return h
	}
	for i := range c.Blocks {
		b := &c.Blocks[i]
		list.trace = append(list.trace, routesOf(b)...)
		for j, t := range b.Targets {
			s := b.Settings[j]
			id := prefix.TargetID(t.Addr)
			list.icmp = append(list.icmp, probe.Target{
				Addr: t.Addr, ID: id, Handle: handle(t.Addr, prefix.Probe{Kind: prefix.ICMP}),
				Interval: s.ICMP.Interval, Timeout: s.ICMP.Timeout,
				Size: s.ICMP.Size, TTL: s.ICMP.TTL, TOS: s.ICMP.TOS,
				Source: s.Source, Interface: s.Interface, Where: s.Where,
			})
			if s.TCP == nil {
				continue
			}
			for _, port := range s.TCP.Ports {
				list.tcp = append(list.tcp, probe.TCPTarget{
					Addr: t.Addr, Port: port, ID: id, Handle: handle(t.Addr, prefix.Probe{Kind: prefix.TCP, Port: port}),
					Interval: s.TCP.Interval, Timeout: s.TCP.Timeout, OrderlyClose: s.TCP.OrderlyClose,
					Source: s.Source, Interface: s.Interface,
				})
			}
		}
	}
	return list
}

// routesOf returns the routes to a block: to the addresses that are configured, or one to
// an address that is chosen later. They leave as the echo requests to the same address do; where
// entries of one block differ in that, one that is chosen later as those to the first address.
func routesOf(b *config.Block) (list []probe.TraceTarget) {
	if b.Trace == nil {
		return nil
	}
	addrs := b.Trace.Addresses
	if len(addrs) == 0 {
		addrs = []netip.Addr{{}}
	}
	for _, addr := range addrs {
		at := max(0, slices.IndexFunc(b.Targets, func(t prefix.Target) bool { return t.Addr == addr }))
		list = append(list, probe.TraceTarget{
			Key:      route.Key{Prefix: b.Prefix, Addr: addr},
			Interval: b.Trace.Interval, Timeout: b.Trace.Timeout, MaxHops: b.Trace.MaxHops,
			Protocol: b.Trace.Protocol, Port: b.Trace.Port,
			Source: b.Settings[at].Source, Interface: b.Settings[at].Interface,
		})
	}
	return list
}

// specsOf returns the routes as the table of routes wants them.
func specsOf(list []probe.TraceTarget) []route.Spec {
	specs := make([]route.Spec, len(list))
	for i, t := range list {
		specs[i] = route.Spec{Key: t.Key, Protocol: t.Protocol, Port: t.Port, Source: t.Source, Interface: t.Interface, Interval: t.Interval}
	}
	return specs
}
