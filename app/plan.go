package app

import (
	"net/netip"
	"slices"

	"prefix_exporter/config"
	"prefix_exporter/prefix"
	"prefix_exporter/probe"
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

// targets are what the engines are given: addresses, and ports of addresses.
type targets struct {
	icmp []probe.Target
	tcp  []probe.TCPTarget
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
	list = targets{make([]probe.Target, 0, n), make([]probe.TCPTarget, 0, ports)}
	handle := func(addr netip.Addr, p prefix.Probe) prefix.Handle {
		h, ok := slots.Handle(addr, p)
		if !ok {
			return prefix.Handle{}
		}
		return h
	}
	for i := range c.Blocks {
		b := &c.Blocks[i]
		for j, t := range b.Targets {
			s := b.Settings[j]
			id := prefix.TargetID(t.Addr)
			list.icmp = append(list.icmp, probe.Target{
				Addr: t.Addr, ID: id, Handle: handle(t.Addr, prefix.Probe{Kind: prefix.ICMP}),
				Interval: s.ICMP.Interval, Timeout: s.ICMP.Timeout,
				Size: s.ICMP.Size, TTL: s.ICMP.TTL, TOS: s.ICMP.TOS,
				Source: s.Source, Interface: s.Interface,
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
