package collector

import "prefix_exporter/prefix"

// maxReasons is how many reasons a kind of probe has at most.
const maxReasons = 5

// reasons are the values of the label reason, in the order that they are exposed in.
// All of them exist from the first probe on, so that the first loss is an increase.
func reasons(k prefix.Kind) []prefix.Outcome {
	if k == prefix.TCP {
		return tcpReasons[:]
	}
	return icmpReasons[:]
}

var (
	icmpReasons = [...]prefix.Outcome{prefix.Timeout, prefix.Unreachable, prefix.TTLExceeded, prefix.NoRoute}
	tcpReasons  = [...]prefix.Outcome{prefix.Timeout, prefix.Unreachable, prefix.Refused, prefix.Reset, prefix.NoRoute}
)

// targetReasons are the values of the label reason that the addresses of a series have. No
// route is rare and hits all addresses of a prefix at once: they have it once one of them had it,
// so that 30,000 series are not always 0. The sums of a prefix always have it.
func (s *series) targetReasons() []prefix.Outcome {
	all := reasons(s.probe.Kind)
	last := len(all) - 1
	if s.lost[last] == 0 {
		return all[:last]
	}
	return all
}

// losses sums lost probes up by the reasons of the kind. What is no reason of its own
// counts as unreachable, so that nothing that was sent is missing: the time exceeded
// that ends a connection attempt, which the kernel reports like an unreachable.
func losses(k prefix.Kind, counts *[prefix.Outcomes]uint64) (lost [maxReasons]uint64) {
	const unreachable = 1 // its place in both lists
	for o := prefix.Timeout; int(o) < prefix.Outcomes; o++ {
		place := unreachable
		for i, r := range reasons(k) {
			if r == o {
				place = i
			}
		}
		lost[place] += counts[o]
	}
	return lost
}
