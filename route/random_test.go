package route

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// truth is a real path, as opposed to what rounds show of it.
type truth struct {
	routers []netip.Addr // the zero Addr: never answers
	status  Status
	again   int // of a Loop: the TTL that follows the last router
}

// hops is how many TTLs the rounds of the random tests ask.
const hops = 24

// randomTruth makes a path of routers of which some also stand in other random paths.
func randomTruth(r *rand.Rand) truth {
	w := truth{status: []Status{Reached, Reached, Reached, Incomplete, Blocked, Loop}[r.IntN(6)]}
	used := map[int]bool{}
	for range 2 + r.IntN(8) {
		n := len(w.routers)*3 + r.IntN(3) // another path may have the same one at the same TTL
		if r.IntN(8) == 0 {
			n = r.IntN(60) // or at any
		}
		switch {
		case used[n]:
		case r.IntN(7) == 0:
			w.routers = append(w.routers, netip.Addr{})
		default:
			used[n] = true
			w.routers = append(w.routers, netip.AddrFrom4([4]byte{10, 0, 0, byte(n + 1)}))
		}
	}
	last := len(w.routers) - 1
	if last < 1 {
		w.status = Reached
	}
	switch w.status {
	case Blocked:
		w.routers[last] = netip.AddrFrom4([4]byte{10, 0, 1, 1})
	case Loop: // of two routers at least, of which the rounds can see each
		w.again = 1 + r.IntN(last)
		for i := w.again - 1; i <= last; i++ {
			w.routers[i] = netip.AddrFrom4([4]byte{10, 0, 2, byte(100*r.IntN(2) + i)})
		}
	}
	return w
}

func (w truth) answer(ttl int) Answer {
	a := Answer{RTT: time.Duration(ttl) * time.Millisecond}
	n := len(w.routers)
	if ttl > n && w.status == Loop {
		ttl = w.again + (ttl-w.again)%(n-w.again+1)
	}
	switch {
	case ttl > n && w.status == Reached:
		a.Kind, a.From = Arrived, target
	case ttl >= n && w.status == Blocked:
		a.Kind, a.From, a.Code = Unreachable, w.routers[n-1], 13
	case ttl <= n && w.routers[ttl-1].IsValid():
		a.Kind, a.From = Exceeded, w.routers[ttl-1]
	default:
		return Answer{}
	}
	return a
}

// noise is how a round loses answers.
type noise struct {
	routers     [hops + 1]float64 // by TTL: the share that a router leaves unanswered
	destination float64
	unasked     float64
	nothing     float64 // rounds of which nothing is seen
}

func randomNoise(r *rand.Rand) (n noise) {
	worst := r.Float64() * 0.6
	for i := range n.routers {
		n.routers[i] = r.Float64() * worst
	}
	n.destination, n.unasked, n.nothing = r.Float64()*0.3, r.Float64()*0.1, r.Float64()*0.1
	return n
}

func (w truth) round(r *rand.Rand, n noise) []Answer {
	list := make([]Answer, hops)
	nothing := r.Float64() < n.nothing
	for i := range list {
		a := w.answer(i + 1)
		lost := n.routers[i+1]
		if a.Kind == Arrived {
			lost = n.destination
		}
		switch {
		case r.Float64() < n.unasked:
			list[i] = Answer{Kind: Unasked}
		case !nothing && r.Float64() >= lost:
			list[i] = a
		}
	}
	return list
}

func TestAPathThatStaysIsNeverAChange(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w, n := randomTruth(r), randomNoise(r)
		f := follow("")
		for range 120 {
			f.record(w.round(r, n))
		}
		if len(f.changes) > 0 {
			t.Fatalf("seed %d: %+v: %q", seed, w, f.changes)
		}
		if p := f.route(t).Path; w.status == Loop && (p.Status != Loop || len(p.Hops) != len(w.routers)) {
			t.Fatalf("seed %d: %+v: ends as %q", seed, w, p)
		}
	}
}

// A visit of ten rounds or more is not brief, so that up to sixteen changes may be told before all is known.
func TestWaysOfUnequalLengthAreToldAFewTimesADay(t *testing.T) {
	paths := [][]Answer{answers("a b c D"), answers("a x y c D")}
	for _, share := range []float64{.1, .3, .5} {
		for seed := range uint64(300) {
			r := rand.New(rand.NewPCG(seed, 5))
			f := follow("")
			for range 1440 {
				longer := 0
				if r.Float64() < share {
					longer = 1
				}
				f.record(paths[longer])
			}
			if n := len(f.changes); n < 4 || n > 4*maxVisits {
				t.Errorf("%g of the packets take the longer way, seed %d: %d changes: %q", share, seed, n, f.changes)
			}
		}
	}
}

func TestAChangeIsToldOnceAndInTheSecondRoundThatShowsIt(t *testing.T) {
	shown, slow := 0, 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 2))
		before, after := randomTruth(r), randomTruth(r)
		f := follow("")
		for range 30 {
			f.record(before.round(r, noise{}))
		}
		informative := 0
		n := randomNoise(r)
		for range 120 {
			a := after.round(r, n)
			if before.contradicts(a) {
				informative++
			}
			f.record(a)
			if informative >= 2 && len(f.changes) != 1 {
				t.Fatalf("seed %d: %d rounds show %+v instead of %+v: %q", seed, informative, after, before, f.changes)
			}
		}
		switch {
		case len(f.changes) > 1:
			t.Fatalf("seed %d: %+v instead of %+v: %q", seed, after, before, f.changes)
		case informative >= 2:
			shown++
		case len(f.changes) == 1:
			slow++ // only silence was there before, or is now
		}
	}
	if shown < 700 || slow == 0 {
		t.Errorf("%d changes were shown, %d followed from silence: this test tests little", shown, slow)
	}
}

// contradicts says whether a round shows another answer than the path would give.
func (w truth) contradicts(round []Answer) bool {
	arrived := false
	for i, a := range round {
		was := w.answer(i + 1)
		if arrived {
			a = Answer{Kind: Arrived, From: target}
		}
		arrived = a.Kind == Arrived
		if a.Kind <= Unasked || was.Kind <= Unasked {
			continue
		}
		if a.From != was.From {
			return true
		}
	}
	return false
}

// FuzzSilenceIsNoChange lets the fuzzer choose which routers are silent when. The destination
// answers, for how long it may not is a question of chance.
func FuzzSilenceIsNoChange(f *testing.F) {
	f.Add(uint64(1), []byte("\x00\x01\x02\xff\x00\x7f"))
	f.Fuzz(func(t *testing.T, seed uint64, masks []byte) {
		w := randomTruth(rand.New(rand.NewPCG(seed, 3)))
		w.status = Reached
		fo := follow("")
		for i := 0; i+1 < len(masks) && i < 500; i += 2 {
			a := make([]Answer, hops)
			for ttl := 1; ttl <= hops; ttl++ {
				a[ttl-1] = w.answer(ttl)
				silent := masks[i+ttl/8%2]>>(ttl%8)&1 != 0
				if silent && a[ttl-1].Kind != Arrived {
					a[ttl-1] = Answer{}
				}
			}
			fo.record(a)
		}
		if len(fo.changes) > 0 {
			t.Errorf("%+v: %q", w, fo.changes)
		}
	})
}

// FuzzRounds records what no network would answer.
func FuzzRounds(f *testing.F) {
	f.Add([]byte("\x02\x05abcde\x03\x00"))
	f.Add([]byte("\x41\x42\x43\x42\x43\x42\x00\x41\x42\x43\x42\x43\x42\x00\x81\x82\x83"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fo := follow("")
		var round []Answer
		for _, b := range data {
			a := Answer{Kind: Kind(b >> 5), From: netip.AddrFrom4([4]byte{10, 0, 0, b & 7}), RTT: time.Duration(int8(b)), Code: b}
			switch {
			case b&31 == 31:
				a.From = netip.Addr{}
			case b&31 == 30:
				a.From = target
			case b&16 != 0:
				a.From = netip.AddrFrom16([16]byte{0x20, 1, 15: b})
				a.Labels = []Label{{Value: uint32(b)}}
			}
			if b == 0 {
				fo.record(round)
				round = nil
				checkRoute(t, fo)
				continue
			}
			round = append(round, a)
		}
		fo.record(round)
		checkRoute(t, fo)
		if 2*len(fo.changes) > fo.n {
			t.Errorf("%d changes in %d rounds", len(fo.changes), fo.n)
		}
	})
}

// checkRoute holds what is shown against what can be.
func checkRoute(t *testing.T, f *follower) {
	t.Helper()
	r := f.route(t)
	if len(r.Hops) != len(r.Path.Hops) {
		t.Fatalf("%d hops of a path of %d", len(r.Hops), len(r.Path.Hops))
	}
	for i, h := range r.Hops {
		switch {
		case h.TTL != i+1, h.Router != r.Path.Hops[i], h.Answered > h.Sent,
			h.Loss < 0, h.Loss > 1, h.PathLoss < 0, h.PathLoss > h.Loss,
			h.Answered > 0 && (h.Best > h.Mean || h.Mean > h.Worst || h.StdDev < 0),
			h.Answered == 0 && (h.Worst > 0 || h.Last > 0):
			t.Fatalf("hop %d: %+v", i+1, h)
		}
	}
	switch p := r.Path; p.Status {
	case Reached:
		if p.Hops[len(p.Hops)-1] != target {
			t.Fatalf("reached: %v", p)
		}
	case Blocked:
		if p.Hops[len(p.Hops)-1] != p.By {
			t.Fatalf("blocked: %v", p)
		}
	case Loop:
		if p.Again < 1 || p.Again > len(p.Hops) {
			t.Fatalf("loop: %v", p)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Changes {
		if s := fmt.Sprint(c, c.Old, c.New); s == "" {
			t.Fatal("a change says nothing")
		}
	}
}
