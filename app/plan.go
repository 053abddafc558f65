package app

import (
	"net/netip"

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
		targets := make([]prefix.Target, len(blocks[i].Targets))
		for j, t := range blocks[i].Targets {
			t.Probes = probed(t.Probes)
			targets[j] = t
		}
		blocks[i].Targets = targets
	}
	return blocks
}

// probed returns those probes that an engine carries out, the ICMP ones, which stand
// first. The others of a configuration are valid but would stay dark for ever.
func probed(probes []prefix.TargetProbe) []prefix.TargetProbe {
	for i, p := range probes {
		if p.Kind != prefix.ICMP {
			return probes[:i:i]
		}
	}
	return probes
}

// handles looks up where the results of an address go. *prefix.Table is one.
type handles interface {
	Handle(addr netip.Addr, p prefix.Probe) (prefix.Handle, bool)
}

var _ handles = (*prefix.Table)(nil)

// targetsOf returns the targets of a configuration for the engine. complete is
// false if some of them have no slot in the table yet; their results go nowhere.
func targetsOf(c *config.Config, slots handles) (targets []probe.Target, complete bool) {
	n := 0
	for i := range c.Blocks {
		n += len(c.Blocks[i].Targets)
	}
	targets, complete = make([]probe.Target, 0, n), true
	for i := range c.Blocks {
		b := &c.Blocks[i]
		for j, t := range b.Targets {
			handle, ok := slots.Handle(t.Addr, prefix.Probe{Kind: prefix.ICMP})
			complete = complete && ok
			if !ok {
				handle = prefix.Handle{}
			}
			s := b.Settings[j]
			targets = append(targets, probe.Target{
				Addr: t.Addr, ID: prefix.TargetID(t.Addr), Handle: handle,
				Interval: s.ICMP.Interval, Timeout: s.ICMP.Timeout,
				Size: s.ICMP.Size, TTL: s.ICMP.TTL, TOS: s.ICMP.TOS,
				Source: s.Source, Interface: s.Interface,
			})
		}
	}
	return targets, complete
}
