package web

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"prefix_exporter/prefix"
)

// standingJSON is how an address is under one probe, and why.
type standingJSON struct {
	State string `json:"state"`
	// Cause is why the newest probe was lost, in words, and By who says so. Empty and null if it
	// was answered, or says nothing of now: the address is unknown or left out.
	Cause string      `json:"cause"`
	By    *netip.Addr `json:"by"`
	// Obstacle is why nothing can be measured; of an address that is not unknown: just now.
	Obstacle string `json:"obstacle"`
	LeftOut  bool   `json:"left_out"`
}

func newStanding(s *prefix.Slot) standingJSON {
	j := standingJSON{State: s.State.String(), LeftOut: s.LeftOut}
	switch {
	case s.LeftOut:
	case s.State == prefix.Unknown:
		j.Obstacle = s.WhyUnknown()
	default:
		j.Cause, j.By, j.Obstacle = s.Cause.Detail(), addrJSON(s.Cause.By), s.Obstacle
	}
	return j
}

// maxCauses is how many causes of each kind are told apart: outages have few, and more are no answer.
const maxCauses = 8

// cause is why addresses are as they are; of those that are unknown a reason only.
type cause struct {
	reason, detail string
	by             netip.Addr // the zero Addr: nobody, the address itself, or one of many
}

// counted is how many addresses there are of each cause.
type counted map[cause]int

func (c counted) add(o counted) {
	for k, n := range o {
		c[k] += n
	}
}

// causes are why addresses are not up.
type causes struct {
	down     counted
	rejected counted // dark, and somebody says why
	unknown  counted
}

func newCauses() causes { return causes{counted{}, counted{}, counted{}} }

func (c *causes) add(o *causes) {
	c.down.add(o.down)
	c.rejected.add(o.rejected)
	c.unknown.add(o.unknown)
}

// take counts one address.
func (c *causes) take(addr netip.Addr, s *prefix.Slot) {
	why := cause{s.Cause.Outcome.String(), s.Cause.Detail(), s.Cause.By}
	if why.by == addr {
		why.by = netip.Addr{}
	}
	switch {
	case s.LeftOut:
	case s.State == prefix.Down:
		c.down[why]++
	case s.State == prefix.Unknown:
		c.unknown[cause{reason: s.WhyUnknown()}]++
	case s.State == prefix.Dark && s.Cause.Outcome > prefix.Timeout:
		c.rejected[why]++
	}
}

type causesJSON struct {
	Down     []causeJSON  `json:"down"`
	Rejected []causeJSON  `json:"rejected"`
	Unknown  []reasonJSON `json:"unknown"`
}

// causeJSON is one cause and the number of addresses that have it.
type causeJSON struct {
	Reason string      `json:"reason"`
	Detail string      `json:"detail"`
	By     *netip.Addr `json:"by"`
	Count  int         `json:"count"`
}

type reasonJSON struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

func (c *causes) json() causesJSON {
	j := causesJSON{Down: c.down.json(), Rejected: c.rejected.json(), Unknown: []reasonJSON{}}
	for _, o := range c.unknown.json() {
		j.Unknown = append(j.Unknown, reasonJSON{o.Reason, o.Count})
	}
	return j
}

// json returns the causes, the most frequent one first. Those that are too many count together, by
// what is said and no matter who says it.
func (c counted) json() []causeJSON {
	few := counted{}
	for i, k := range c.sorted() {
		n := c[k]
		if i >= maxCauses {
			k.by = netip.Addr{}
		}
		few[k] += n
	}
	list := make([]causeJSON, 0, len(few))
	for _, k := range few.sorted() {
		list = append(list, causeJSON{k.reason, k.detail, addrJSON(k.by), few[k]})
	}
	return list
}

// sorted returns the causes, the most frequent one first.
func (c counted) sorted() []cause {
	return slices.SortedFunc(maps.Keys(c), func(a, b cause) int {
		return cmp.Or(cmp.Compare(c[b], c[a]), cmp.Compare(a.reason, b.reason), cmp.Compare(a.detail, b.detail), a.by.Compare(b.by))
	})
}
