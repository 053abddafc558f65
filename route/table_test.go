package route

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// comparer compares addresses by value.
var comparer = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestARouteIsShownWhole(t *testing.T) {
	f := follow("a b D \n a x D #2 \n a x *")
	want := Route{
		Spec: spec, Dst: target, Rounds: 4, Last: epoch.Add(4 * time.Minute), ChangesTotal: 1,
		Path: Path{Hops: []netip.Addr{letter('a'), letter('x'), target}, Status: Reached},
		Hops: []Hop{
			{TTL: 1, Router: letter('a'), Sent: 4, Answered: 4, Last: ms, Best: ms, Worst: ms, Mean: ms},
			{TTL: 2, Router: letter('x'), Sent: 3, Answered: 3, Last: 2 * ms, Best: 2 * ms, Worst: 2 * ms, Mean: 2 * ms},
			{TTL: 3, Router: target, Sent: 4, Answered: 3, Best: 3 * ms, Worst: 3 * ms, Mean: 3 * ms, Loss: .25, PathLoss: .25},
		},
		Changes: []Change{{
			At: epoch.Add(2 * time.Minute), Key: key, Dst: target, Reason: NewRouter, TTL: 2,
			Old: Path{Hops: []netip.Addr{letter('a'), letter('b'), target}, Status: Reached},
			New: Path{Hops: []netip.Addr{letter('a'), letter('x'), target}, Status: Reached},
		}},
	}
	if diff := cmp.Diff([]Route{want}, f.table.Routes(), comparer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Changes, f.told, comparer); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}
	want.Changes = nil
	if diff := cmp.Diff([]Route{want}, f.table.Current(), comparer); diff != "" {
		t.Errorf("without changes (-want +got):\n%s", diff)
	}
}

func TestWhatIsShownBelongsToTheCaller(t *testing.T) {
	f := follow("a b D \n a x D #3")
	want := f.route(t)
	r := f.route(t)
	r.Path.Hops[0], r.Hops[0].Router, r.Changes[0].Old.Hops[0], r.Changes[0].New.Hops[0] = target, target, target, target
	f.told[0].Old.Hops[0] = target
	if diff := cmp.Diff(want, f.route(t), comparer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRoutesAreSortedByPrefixAndAddress(t *testing.T) {
	table := NewTable(nil)
	var specs []Spec
	for _, k := range []struct{ prefix, addr string }{
		{"203.0.113.0/24", ""}, {"2001:db8::/64", ""}, {"192.0.2.0/24", "192.0.2.9"}, {"192.0.2.0/24", "192.0.2.10"}, {"192.0.2.0/24", ""}, {"192.0.2.0/25", ""},
	} {
		s := Spec{Key: Key{Prefix: netip.MustParsePrefix(k.prefix)}, Protocol: "icmp"}
		if k.addr != "" {
			s.Addr = netip.MustParseAddr(k.addr)
		}
		specs = append(specs, s)
	}
	table.Apply(specs)
	var got []string
	for _, r := range table.Routes() {
		got = append(got, r.Prefix.String()+" "+name(r.Dst))
	}
	want := []string{
		"192.0.2.0/24 *", "192.0.2.0/24 192.0.2.9", "192.0.2.0/24 192.0.2.10",
		"192.0.2.0/25 *", "203.0.113.0/24 *", "2001:db8::/64 *",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := len(table.Prefix(netip.MustParsePrefix("192.0.2.0/24"))); got != 3 {
		t.Errorf("%d routes of the prefix, want 3", got)
	}
	if got := table.Prefix(netip.MustParsePrefix("192.0.3.0/24")); len(got) != 0 {
		t.Errorf("a prefix that is not there has %v", got)
	}
}

func TestAReload(t *testing.T) {
	other := Spec{Key: Key{Prefix: netip.MustParsePrefix("203.0.113.0/24")}, Protocol: "icmp"}
	tcp := Spec{Key: key, Protocol: "tcp", Port: 443}
	from, out := spec, spec
	from.Source, out.Interface = netip.MustParseAddr("198.51.100.1"), "eth1"
	for name, test := range map[string]struct {
		specs  []Spec
		rounds uint64 // kept
		there  bool
	}{
		"keeps what is unchanged":       {[]Spec{other, spec}, 3, true},
		"begins anew with a protocol":   {[]Spec{tcp}, 0, true},
		"begins anew with a source":     {[]Spec{from}, 0, true},
		"begins anew with an interface": {[]Spec{out}, 0, true},
		"forgets what is not in it":     {[]Spec{other}, 0, false},
		"takes the last one of a pair":  {[]Spec{tcp, spec}, 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := follow("a b D \n a x D #2")
			f.table.Apply(test.specs)
			routes := f.table.Prefix(key.Prefix)
			if len(routes) > 0 != test.there {
				t.Fatalf("%d routes", len(routes))
			}
			if test.there && (routes[0].Rounds != test.rounds || len(routes[0].Changes) > 0 != (test.rounds > 0)) {
				t.Errorf("%d rounds and %d changes, want %d rounds", routes[0].Rounds, len(routes[0].Changes), test.rounds)
			}
			f.record(answers("a x D")) // must not panic, nor bring it back
			if got := len(f.table.Prefix(key.Prefix)); got != len(routes) {
				t.Errorf("%d routes after one more round", got)
			}
		})
	}
}

func TestWhatIsOnItsWayToARouteThatHasGoneIsIgnored(t *testing.T) {
	f := follow("a b D \n a x D")
	e := f.table.routes[key]
	f.table.Apply(nil)
	if c, changed := e.record(target, Round{Answers: answers("a x D")}); changed {
		t.Errorf("a change is told: %v", c)
	}
}

func TestAnotherDestinationBeginsANewPath(t *testing.T) {
	f := follow("a b D \n a x D #2")
	second := netip.MustParseAddr("192.0.2.2")
	for range 3 {
		a := answers("c d D")
		a[2].From = second
		f.table.Record(key, second, Round{Started: epoch.Add(time.Hour), Answers: a})
	}
	r := f.route(t)
	if r.Dst != second || r.Rounds != 3 || r.ChangesTotal != 0 || len(r.Changes) != 1 || r.Hops[2].Router != second {
		t.Errorf("%+v", r)
	}
	if len(f.changes) != 1 {
		t.Errorf("changes: %q", f.changes)
	}
}

func TestWhatSaysNothingIsIgnored(t *testing.T) {
	f := follow(". . . #3")
	f.table.Record(key, netip.Addr{}, Round{Answers: answers("a b D")})
	f.table.Record(Key{Prefix: netip.MustParsePrefix("203.0.113.0/24")}, target, Round{Answers: answers("a b D")})
	f.record(nil)
	want := Route{Spec: spec}
	if diff := cmp.Diff([]Route{want}, f.table.Routes(), comparer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheLastChangesAreKept(t *testing.T) {
	f := follow("a b D")
	for i := range MaxChanges + 5 {
		for range LossRounds {
			f.record(answers(fmt.Sprintf("a %c D", 'c'+i%2)))
		}
	}
	r := f.route(t)
	if r.ChangesTotal != uint64(len(f.told)) || len(f.told) != MaxChanges+5 || len(r.Changes) != MaxChanges {
		t.Fatalf("%d counted, %d told, %d kept", r.ChangesTotal, len(f.told), len(r.Changes))
	}
	if diff := cmp.Diff(f.told[len(f.told)-MaxChanges:], r.Changes, comparer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestManyRecordWhileOthersReadAndReload is for the race detector; onChange reads the
// table, so that a lock that is held would show as a deadlock.
func TestManyRecordWhileOthersReadAndReload(t *testing.T) {
	var table *Table
	table = NewTable(func(Change) { table.Routes() })
	specs := make([]Spec, 8)
	for i := range specs {
		specs[i] = Spec{Key: Key{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i), 0}), 24)}, Protocol: "icmp"}
	}
	table.Apply(specs)
	paths := [][]Answer{answers("a b c D"), answers("a x c d D"), answers("a b c b c b"), answers("a b!")}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				table.Record(specs[i%8].Key, target, Round{Started: epoch, Answers: paths[(worker+i/16)%4]})
			}
		})
	}
	wg.Go(func() {
		for i := range 200 {
			table.Apply(specs[i%2 : 4+i%5])
			for _, r := range table.Routes() {
				if len(r.Hops) != len(r.Path.Hops) || uint64(len(r.Changes)) < min(r.ChangesTotal, MaxChanges) {
					t.Errorf("%+v", r)
				}
			}
		}
	})
	wg.Wait()
}

func BenchmarkRecord(b *testing.B) {
	table := NewTable(nil)
	table.Apply([]Spec{spec})
	r := Round{Started: epoch, Answers: answers("a b c d e f g h i j k l m * o D")}
	b.ReportAllocs()
	for b.Loop() {
		table.Record(key, target, r)
	}
}
