package probe

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// network is a pretended machine with its routes, and the targets that it probes.
type network struct {
	reach  reach[*place]
	places []*place
	now    int64
	got    map[string]int // verdicts by "prefix verdict"
	order  []string       // the same, one after the other
	looks  int
}

// place is one target.
type place struct {
	addr     netip.Addr
	block    netip.Prefix
	interval time.Duration
	way      way
}

// prefixOf is a prefix with so many targets that are asked so often.
type prefixOf struct {
	prefix   string
	targets  int
	interval time.Duration
}

// without is the set of prefixes to which there is no route.
type without map[string]bool

func newNetwork(list ...prefixOf) *network {
	n := &network{got: map[string]int{}, now: int64(time.Hour)}
	n.reach = reach[*place]{
		way:    func(p *place) *way { return &p.way },
		settle: n.settle,
	}
	n.apply(list...)
	return n
}

func (n *network) settle(d denial[*place], offline bool) {
	verdict := fmt.Sprintf("%v %v", d.target.block, map[bool]string{true: "offline", false: "lost"}[offline])
	n.got[verdict]++
	n.order = append(n.order, fmt.Sprintf("%v %d", verdict, d.sequence))
}

// apply replaces the targets; those that are there already stay what they are.
func (n *network) apply(list ...prefixOf) {
	n.reach.flush(n.now)
	before := map[netip.Addr]*place{}
	for _, p := range n.places {
		before[p.addr] = p
	}
	n.places = nil
	for _, g := range list {
		block := netip.MustParsePrefix(g.prefix)
		for _, a := range addresses(block.Addr().String(), g.targets) {
			p := before[a]
			if p == nil {
				p = &place{addr: a, block: block}
			}
			p.interval = g.interval
			n.places = append(n.places, p)
		}
	}
	n.reach.apply(n.places, func(p *place) netip.Prefix { return p.block })
}

// run asks every target when it is due, for so long.
func (n *network) run(d time.Duration, gone without) {
	hasWay := func(p *place) bool {
		for prefix := range gone {
			if netip.MustParsePrefix(prefix).Contains(p.addr) {
				return false
			}
		}
		return true
	}
	n.reach.look = func(p *place) bool { n.looks++; return hasWay(p) }
	const step = int64(10 * time.Millisecond)
	for end := n.now + int64(d); n.now < end; n.now += step {
		for i, p := range n.places {
			phase := int64(i) * 7919 * int64(time.Millisecond) % int64(p.interval)
			if (n.now-phase)/int64(p.interval) == (n.now-step-phase)/int64(p.interval) {
				continue
			}
			switch {
			case !hasWay(p):
				n.reach.deny(denial[*place]{target: p, at: n.now, sequence: uint16(n.now / int64(time.Second))})
			case p.way != wayOpen:
				n.reach.left(p)
			}
		}
		if n.reach.active() {
			n.reach.step(n.now)
		}
	}
}

// verdicts returns which verdicts there were, without their numbers.
func (n *network) verdicts() map[string]bool {
	set := map[string]bool{}
	for v := range maps.Keys(n.got) {
		set[v] = true
	}
	return set
}

func TestWhatHasNoWayIsLostUnlessTheMachineIsOffline(t *testing.T) {
	const a, b, c, six = "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/120"
	second, minute := time.Second, time.Minute
	three := []prefixOf{{a, 256, second}, {b, 256, second}, {c, 256, second}}
	odd := without{}
	for _, a := range addresses("192.0.2.1", 255) {
		if a.As4()[3]%2 == 1 {
			odd[a.String()+"/32"] = true
		}
	}
	for name, test := range map[string]struct {
		list    []prefixOf
		before  without // for ten seconds, when the program starts
		gone    without // then, for ten seconds
		want    map[string]bool
		offline bool
	}{
		"one of three prefixes":                   {three, nil, without{b: true}, map[string]bool{b + " lost": true}, false},
		"two of three prefixes":                   {three, nil, without{a: true, b: true}, map[string]bool{a + " lost": true, b + " lost": true}, false},
		"all of three prefixes":                   {three, nil, without{a: true, b: true, c: true}, map[string]bool{a + " offline": true, b + " offline": true, c + " offline": true}, true},
		"the only prefix":                         {three[:1], nil, without{a: true}, map[string]bool{a + " offline": true}, true},
		"half of the only prefix":                 {three[:1], nil, without{"192.0.2.128/25": true}, map[string]bool{a + " lost": true}, false},
		"every second address of the only prefix": {three[:1], nil, odd, map[string]bool{a + " lost": true}, false},
		"one address of the only prefix":          {three[:1], nil, without{"192.0.2.9/32": true}, map[string]bool{a + " lost": true}, false},
		"a large prefix beside a small one":       {[]prefixOf{{a, 256, second}, {b, 1, second}}, nil, without{a: true}, map[string]bool{a + " lost": true}, false},
		"a small prefix beside a large one":       {[]prefixOf{{a, 256, second}, {b, 1, second}}, nil, without{b: true}, map[string]bool{b + " lost": true}, false},
		"a prefix asked each minute stays":        {[]prefixOf{{a, 16, second}, {b, 16, minute}}, nil, without{a: true}, map[string]bool{a + " lost": true}, false},
		"a prefix asked each minute goes as well": {[]prefixOf{{a, 16, second}, {b, 1, minute}}, nil, without{a: true, b: true}, map[string]bool{a + " offline": true}, true},
		"a prefix asked each minute goes alone":   {[]prefixOf{{a, 16, second}, {b, 64, minute}}, nil, without{b: true}, map[string]bool{b + " lost": true}, false},
		"IPv6 has never had a way, IPv4 has one":  {[]prefixOf{{a, 64, second}, {six, 64, second}}, without{six: true}, nil, map[string]bool{six + " lost": true}, false},
		"IPv6 has never had a way, IPv4 loses its own": {
			[]prefixOf{{a, 64, second}, {six, 64, second}}, without{six: true}, without{a: true, six: true},
			map[string]bool{six + " lost": true, six + " offline": true, a + " offline": true}, true,
		},
		"the machine starts offline": {three, without{a: true, b: true, c: true}, without{a: true, b: true, c: true}, map[string]bool{a + " offline": true, b + " offline": true, c + " offline": true}, true},
		"nothing is wrong":           {three, nil, nil, map[string]bool{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(test.list...)
			n.run(10*time.Second, test.before)
			n.run(10*time.Second, test.gone)
			if diff := cmp.Diff(test.want, n.verdicts()); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			if n.reach.offline != test.offline {
				t.Errorf("offline is %v", n.reach.offline)
			}
		})
	}
}

// TestANetworkOfTheMachineItselfDoesNotKeepItOnline has 40 prefixes, of which one keeps its route: a network of the
// machine's own.
func TestANetworkOfTheMachineItselfDoesNotKeepItOnline(t *testing.T) {
	var list []prefixOf
	gone := without{}
	for i := range 40 {
		p := fmt.Sprintf("10.0.%d.0/24", i)
		list = append(list, prefixOf{p, 32, time.Second})
		gone[p] = i > 0
	}
	delete(gone, "10.0.0.0/24")
	n := newNetwork(list...)
	n.run(5*time.Second, nil)
	n.run(5*time.Second, gone)
	for v := range n.verdicts() {
		if want := v[:len(v)-len("offline")] + "offline"; v != want {
			t.Errorf("%s, want offline", v)
		}
	}
	if len(n.got) != 39 {
		t.Errorf("verdicts on %d prefixes, want 39", len(n.got))
	}
}

func TestTheFirstSecondOfAnOfflineIsNoLoss(t *testing.T) {
	const a, b = "192.0.2.0/24", "198.51.100.0/24"
	n := newNetwork(prefixOf{a, 256, time.Second}, prefixOf{b, 256, time.Second})
	n.run(5*time.Second, nil)
	n.run(time.Second, without{a: true}) // a routing daemon takes them away one after the other
	n.run(5*time.Second, without{a: true, b: true})
	if diff := cmp.Diff(map[string]bool{a + " offline": true, b + " offline": true}, n.verdicts()); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	n.run(time.Second, nil)
	if n.reach.offline || n.reach.active() {
		t.Errorf("offline %v, %d wait: all ways are back", n.reach.offline, len(n.reach.waiting))
	}
	clear(n.got)
	n.run(5*time.Second, without{a: true})
	if diff := cmp.Diff(map[string]bool{a + " lost": true}, n.verdicts()); diff != "" {
		t.Errorf("afterwards one goes: verdicts (-want +got):\n%s", diff)
	}
}

func TestAWayThatComesBackIsRecordedInOrder(t *testing.T) {
	const a, b = "192.0.2.0/24", "198.51.100.0/24"
	n := newNetwork(prefixOf{a, 1, time.Second}, prefixOf{b, 1, time.Second})
	n.run(5*time.Second, nil)
	n.run(time.Second, without{a: true})
	if len(n.order) != 0 {
		t.Fatalf("%v before it is decided", n.order)
	}
	n.run(time.Second, nil) // the next attempt leaves
	if len(n.order) != 1 || n.reach.active() {
		t.Errorf("verdicts %v, %d wait", n.order, len(n.reach.waiting))
	}
	if n.places[0].way != wayOpen {
		t.Errorf("the way is %d", n.places[0].way)
	}
}

func TestWhatIsLostForLongDoesNotWait(t *testing.T) {
	const a, b = "192.0.2.0/24", "198.51.100.0/24"
	n := newNetwork(prefixOf{a, 16, time.Second}, prefixOf{b, 16, time.Second})
	n.run(10*time.Second, without{a: true})
	n.looks = 0
	n.run(10*time.Second, without{a: true})
	if n.reach.active() || n.looks != 0 {
		t.Errorf("%d wait, and the kernel was asked %d times, want none: nothing is to be decided", len(n.reach.waiting), n.looks)
	}
	if got := n.got[a+" lost"]; got != 16*20 {
		t.Errorf("%d lost, want 320: each attempt counts once", got)
	}
}

func TestAReloadDecidesWhatWaits(t *testing.T) {
	const a, b = "192.0.2.0/24", "198.51.100.0/24"
	for name, test := range map[string]struct {
		gone without
		want map[string]int
	}{
		"one prefix without a way": {without{a: true}, map[string]int{a + " lost": 16}},
		"offline":                  {without{a: true, b: true}, map[string]int{a + " offline": 16, b + " offline": 16}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(prefixOf{a, 16, time.Second}, prefixOf{b, 16, time.Second})
			n.run(5*time.Second, nil)
			n.run(time.Second, test.gone)
			n.apply(prefixOf{b, 16, time.Second})
			if diff := cmp.Diff(test.want, n.got); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			n.run(2*time.Second, nil)
			if n.reach.active() {
				t.Error("something is to be decided still")
			}
		})
	}
}

// TestALookCostsTheSameHoweverMuchIsProbed has more prefixes than the kernel is asked about at a time.
func TestALookCostsTheSameHoweverMuchIsProbed(t *testing.T) {
	var list []prefixOf
	gone := without{}
	for i := range 1000 {
		p := fmt.Sprintf("10.%d.%d.0/24", i/250, i%250)
		list = append(list, prefixOf{p, 1, time.Second})
		gone[p] = true
	}
	n := newNetwork(list...)
	n.run(time.Second, nil)
	n.run(300*time.Millisecond, gone)
	if !n.reach.offline {
		t.Error("it is not offline")
	}
	if n.looks > 3*maxReachLooks {
		t.Errorf("the kernel was asked %d times in 0.3 s", n.looks)
	}
}
