package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// What the configurations of these tests say of every address: the defaults.
const (
	interval  = time.Second
	timeout   = time.Second
	downAfter = 3
)

// outcome is how one probe ended, by the lab's record.
type outcome struct {
	sequence uint16
	sent     time.Time // when it came to the lab: a moment after it was sent
	known    time.Time // when its outcome is: the reply, or the end of the timeout
	kind     prefix.Outcome
	rtt      bounds // of an answered one
}

// bounds are the shortest and the longest that a duration may be.
type bounds struct{ shortest, longest time.Duration }

// clockError is how far stamps of one moment may be apart, on two processors.
const clockError = 2 * time.Microsecond

func (b bounds) String() string { return fmt.Sprintf("%v to %v", b.shortest, b.longest) }

// outside returns how much a duration is longer than it may be, negative if it is shorter, 0 if it is right.
func (b bounds) outside(d, tolerance time.Duration) time.Duration {
	return min(0, d-b.shortest+tolerance) + max(0, d-b.longest-tolerance)
}

// outcomes sorts the record by address, in the order of sending. Probes whose outcome
// is still open are left out.
func outcomes(truth []netsim.Packet, now time.Time) map[netip.Addr][]outcome {
	all := map[netip.Addr][]outcome{}
	for i := range truth {
		p := &truth[i]
		o := outcome{sequence: p.Seq, sent: time.Unix(0, p.Arrived), kind: prefix.Timeout}
		o.known = o.sent.Add(timeout)
		if hold := p.Hold(); len(p.Replies) > 0 && hold <= timeout { // 0: not written yet
			switch p.Verdict {
			case netsim.Answered:
				o.kind = prefix.Answered
			case netsim.Unreachable:
				o.kind = prefix.Unreachable
			case netsim.TTLExceeded:
				o.kind = prefix.TTLExceeded
			}
			if o.kind != prefix.Timeout {
				o.known = o.sent.Add(hold)
				o.rtt.shortest, o.rtt.longest = p.Bounds()
				if p.Replies[0].WrittenMono == 0 {
					continue
				}
			}
		}
		if o.known.Before(now) {
			all[p.Dst] = append(all[p.Dst], o)
		}
	}
	return all
}

// flip is a change of what prefix_target_up must show.
type flip struct {
	at time.Time
	up bool
}

// account is what an exporter must say of an address, reckoned from the record by the
// words of the documentation, not by the code of package prefix.
type account struct {
	known  bool
	counts [prefix.Outcomes]uint64
	rtts   []bounds
	flips  []flip // beginning with the first answer; before, it is 0
}

func (a *account) up() bool { return len(a.flips) > 0 && a.flips[len(a.flips)-1].up }

// sent is what prefix_target_sent_total must be.
func (a *account) sent() (sum uint64) {
	for _, n := range a.counts {
		sum += n
	}
	return sum
}

// accountOf keeps the account of one address. With expectAll it is known from the first
// outcome on, else from the first answer on.
func accountOf(list []outcome, expectAll bool) *account {
	a := &account{}
	lostInARow := 0
	for _, o := range list {
		if !a.known && o.kind != prefix.Answered && !expectAll {
			continue // dark
		}
		a.known = true
		a.counts[o.kind]++
		if o.kind == prefix.Answered {
			lostInARow = 0
			a.rtts = append(a.rtts, o.rtt)
		} else {
			lostInARow++
		}
		switch {
		case !a.up() && o.kind == prefix.Answered:
			a.flips = append(a.flips, flip{o.known, true})
		case a.up() && lostInARow >= downAfter:
			a.flips = append(a.flips, flip{o.known, false})
		}
	}
	return a
}

// book is the accounts of all addresses.
type book map[netip.Addr]*account

// bookOf keeps the accounts of those addresses that are the exporter's for the whole
// time, by what the lab has recorded until now.
func bookOf(lab *netsim.Lab, members []netip.Prefix, expectAll netip.Prefix) book {
	now := time.Now() // before the record is read, so that no probe is judged too early
	b := book{}
	all := outcomes(lab.Truth(), now)
	for _, p := range members {
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			b[a] = accountOf(all[a], expectAll.IsValid() && expectAll.Contains(a))
		}
	}
	return b
}

// shows says whether an address is up at a moment. It is not sure close to a flip: a
// sample has the time at which its scrape began, so what it shows may be as much newer
// as the scrape lasted; and what has happened shows as soon as the exporter has noticed.
func (a *account) shows(at time.Time, scraped, notices time.Duration) (up, sure bool) {
	for _, f := range a.flips {
		if at.After(f.at.Add(-scraped)) && at.Before(f.at.Add(notices)) {
			return false, false
		}
		if at.After(f.at) {
			up = f.up
		}
	}
	return up, true
}

// quantile is the value below which a share of the sorted durations is, as
// histogram_quantile understands it.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// rtts returns the shortest and the longest RTTs that all answered probes of a prefix may have had, sorted.
func (b book) rtts(p netip.Prefix) (shortest, longest []time.Duration) {
	for a, account := range b {
		if p.Contains(a) {
			for _, rtt := range account.rtts {
				shortest, longest = append(shortest, rtt.shortest), append(longest, rtt.longest)
			}
		}
	}
	slices.Sort(shortest)
	slices.Sort(longest)
	return shortest, longest
}

// differences compares two sets of values by name, and returns the first few.
func differences(what string, want, got map[string]float64) string {
	text, n := "", 0
	note := func(format string, args ...any) {
		if n++; n <= 5 {
			text += fmt.Sprintf(format, args...)
		}
	}
	for name, w := range want {
		if g, ok := got[name]; !ok {
			note("%s of %s is not there, want %v\n", what, name, w)
		} else if g != w {
			note("%s of %s is %v, want %v\n", what, name, g, w)
		}
	}
	for name, g := range got {
		if _, ok := want[name]; !ok {
			note("%s of %s is %v, but should not be there\n", what, name, g)
		}
	}
	if n > 5 {
		text += fmt.Sprintf("… and %d more\n", n-5)
	}
	return text
}
