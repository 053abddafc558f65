package prefix

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestAReloadKeepsWhatIsUnchanged(t *testing.T) {
	table, h := one(t, rule(ping, ExpectSeen), nil)
	table.Record(h, epoch, Answered, time.Millisecond)
	before := table.Series()[0]
	changed := rule(ping, ExpectSeen)
	changed.DownAfter = 1
	table.Apply([]Block{
		blockOf("192.0.1.0/24", []string{"192.0.1.1"}, rule(http, ExpectSeen)),
		blockOf("192.0.2.0/24", []string{"192.0.2.1", "192.0.2.7"}, changed, rule(http, ExpectSeen)),
	})
	if got := slot(t, table, "192.0.2.7", ping); got.Sent() != 1 || got.State != Up || !got.LastAnswer.Equal(epoch) {
		t.Errorf("sent %d, %v, last answer %v", got.Sent(), got.State, got.LastAnswer)
	}
	table.Record(h, epoch.Add(time.Second), Timeout, 0) // the old Handle
	if got := slot(t, table, "192.0.2.7", ping); got.Sent() != 2 || got.State != Down {
		t.Errorf("after a loss: sent %d, %v; want 2, down by the new rule", got.Sent(), got.State)
	}
	var ring []Sample
	_, place, _ := table.Find(ip("192.0.2.7"), ping)
	if ring = before.Ring(ring, place); ring[RingSeconds-2] == NoSample {
		t.Error("the ring was lost")
	}
	if got := slot(t, table, "192.0.2.7", http); got.Sent() != 0 || got.State != Dark {
		t.Errorf("the new probe: sent %d, %v", got.Sent(), got.State)
	}
}

func TestGenerationChangesWithEveryReload(t *testing.T) {
	table, _ := one(t, rule(ping, ExpectSeen), nil)
	var first, second Snapshot
	table.Series()[0].Snapshot(&first)
	table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.7"}, rule(ping, ExpectSeen))})
	table.Series()[0].Snapshot(&second)
	if first.Generation == second.Generation || first.Info == second.Info {
		t.Error("a reload left generation or description as they were")
	}
}

func TestWhatIsRemovedIsRememberedButCountsAnewWhenItComesBack(t *testing.T) {
	with := func() []Block {
		return []Block{blockOf("192.0.2.0/24", []string{"192.0.2.7", "192.0.2.8"}, rule(ping, ExpectSeen), rule(http, ExpectSeen))}
	}
	for _, test := range []struct {
		name    string
		without []Block
	}{
		{"an address", []Block{blockOf("192.0.2.0/24", []string{"192.0.2.8"}, rule(ping, ExpectSeen), rule(http, ExpectSeen))}},
		{"a probe", []Block{blockOf("192.0.2.0/24", []string{"192.0.2.7", "192.0.2.8"}, rule(http, ExpectSeen))}},
		{"a prefix", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			changes := 0
			table := NewTable(func(Change) { changes++ })
			table.Apply(with())
			h := handle(t, table, "192.0.2.7", ping)
			table.Record(h, epoch, Answered, time.Millisecond)
			table.Apply(test.without)
			if _, ok := table.Handle(ip("192.0.2.7"), ping); ok {
				t.Error("it still has a Handle")
			}
			changes = 0
			for range 5 {
				table.Record(h, epoch, Timeout, 0) // on its way when it was removed
			}
			if changes > 0 {
				t.Errorf("%d changes of what is gone were told", changes)
			}
			table.Apply(with())
			table.Record(h, epoch, Answered, time.Millisecond) // of the time before
			if got := slot(t, table, "192.0.2.7", ping); !got.Known || got.State != Unknown || got.believed() != Up || got.Sent() != 0 {
				t.Errorf("known %v, %v, sent %d; want a known address that was up, unknown until it is probed, and counters of 0", got.Known, got.State, got.Sent())
			}
		})
	}
}

func TestTheSumsOfABlockKeepWhatRemovedAddressesContributed(t *testing.T) {
	table := NewTable(nil)
	table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.7", "192.0.2.8"}, rule(ping, ExpectSeen))})
	table.Record(handle(t, table, "192.0.2.7", ping), epoch, Answered, time.Millisecond)
	table.Record(handle(t, table, "192.0.2.8", ping), epoch, Answered, time.Millisecond)
	table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.8"}, rule(ping, ExpectSeen))})
	var snap Snapshot
	table.Series()[0].Snapshot(&snap)
	if snap.Counts[Answered] != 2 || snap.Histogram.Count != 2 {
		t.Errorf("answered %d, histogram of %d; want 2 and 2", snap.Counts[Answered], snap.Histogram.Count)
	}
}

func TestExpectationsThatChangeAreHeeded(t *testing.T) {
	apply := func(table *Table, e Expect) {
		table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.7"}, rule(ping, e))})
	}
	t.Run("all to seen forgets an address that never answered", func(t *testing.T) {
		table, h := one(t, rule(ping, ExpectAll), nil)
		table.Record(h, epoch, Timeout, 0)
		apply(table, ExpectSeen)
		if got := slot(t, table, "192.0.2.7", ping); got.Known || got.State != Dark {
			t.Errorf("known %v, %v", got.Known, got.State)
		}
	})
	t.Run("all to seen keeps an address that answered", func(t *testing.T) {
		table, h := one(t, rule(ping, ExpectAll), nil)
		table.Record(h, epoch, Answered, 0)
		apply(table, ExpectSeen)
		if got := slot(t, table, "192.0.2.7", ping); !got.Known || got.State != Up {
			t.Errorf("known %v, %v", got.Known, got.State)
		}
	})
	t.Run("seen to none makes it dark", func(t *testing.T) {
		table, h := one(t, rule(ping, ExpectSeen), nil)
		table.Record(h, epoch, Answered, 0)
		apply(table, ExpectNone)
		if got := slot(t, table, "192.0.2.7", ping); got.Known || got.State != Dark {
			t.Errorf("known %v, %v", got.Known, got.State)
		}
	})
}

func TestPlacesInABlock(t *testing.T) {
	places := func(table *Table, addrs ...string) (ps []int) {
		for _, a := range addrs {
			_, place, ok := table.Find(ip(a), ping)
			if !ok {
				place = -1
			}
			ps = append(ps, place)
		}
		return ps
	}
	check := func(t *testing.T, got []int, want ...int) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("places %v, want %v", got, want)
		}
	}
	table := NewTable(nil)
	apply := func(p string, addrs ...string) {
		table.Apply([]Block{blockOf(p, addrs, rule(ping, ExpectSeen))})
	}
	apply("192.0.2.0/24", "192.0.2.0", "192.0.2.9", "192.0.2.255")
	check(t, places(table, "192.0.2.0", "192.0.2.9", "192.0.2.255", "192.0.2.1"), 0, 9, 255, -1)

	apply("2001:db8::/64", "2001:db8::a", "2001:db8::b", "2001:db8::c")
	check(t, places(table, "2001:db8::a", "2001:db8::b", "2001:db8::c"), 0, 1, 2)
	table.Record(handle(t, table, "2001:db8::c", ping), epoch, Answered, 0)
	// The first goes, two come in front: the free place is filled first, and nobody moves.
	apply("2001:db8::/64", "2001:db8::1", "2001:db8::2", "2001:db8::b", "2001:db8::c")
	check(t, places(table, "2001:db8::1", "2001:db8::2", "2001:db8::b", "2001:db8::c"), 0, 3, 1, 2)
	if got := slot(t, table, "2001:db8::c", ping); got.Sent() != 1 {
		t.Error("an address that stayed lost its counters")
	}
	late := handle(t, table, "2001:db8::2", ping)
	apply("2001:db8::/64", "2001:db8::b") // shrinks
	table.Record(late, epoch, Answered, 0)
	check(t, places(table, "2001:db8::b", "2001:db8::2"), 1, -1)
}

func TestAnIPv6AddressIsFoundInTheBlockThatHoldsIt(t *testing.T) {
	table := NewTable(nil)
	table.Apply([]Block{
		blockOf("2001:db8::/64", []string{"2001:db8::1"}, rule(ping, ExpectSeen)),
		blockOf("2001:db8::/120", []string{"2001:db8::2"}, rule(ping, ExpectSeen)),
	})
	for addr, want := range map[string]string{"2001:db8::1": "2001:db8::/64", "2001:db8::2": "2001:db8::/120"} {
		if s, _, ok := table.Find(ip(addr), ping); !ok || s.Prefix() != netip.MustParsePrefix(want) {
			t.Errorf("%s: not found in %s", addr, want)
		}
	}
}

func TestSeriesAndInfosAreSorted(t *testing.T) {
	table := NewTable(nil)
	table.Apply([]Block{
		blockOf("2001:db8::/120", []string{"2001:db8::1"}, rule(ping, ExpectSeen)),
		blockOf("192.0.10.0/24", []string{"192.0.10.1"}, rule(http, ExpectSeen), rule(ping, ExpectSeen)),
		blockOf("192.0.9.0/24", []string{"192.0.9.1"}, rule(Probe{TCP, 443}, ExpectSeen), rule(http, ExpectSeen)),
	})
	var got []string
	for _, s := range table.Series() {
		got = append(got, s.Prefix().String()+" "+s.Probe().Kind.String())
	}
	want := []string{"192.0.9.0/24 tcp", "192.0.9.0/24 tcp", "192.0.10.0/24 icmp", "192.0.10.0/24 tcp", "2001:db8::/120 icmp"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if infos := table.Infos(); infos[0].Prefix.String() != "192.0.9.0/24" || infos[2].Prefix.String() != "2001:db8::/120" {
		t.Errorf("infos begin with %v", infos[0].Prefix)
	}
}

func TestTheZeroHandleIsIgnored(t *testing.T) {
	NewTable(nil).Record(Handle{}, epoch, Answered, 0)
}

func TestHistogramsOfAddressesFollowTheConfiguration(t *testing.T) {
	b := func(per PerAddress, bounds ...float64) []Block {
		block := blockOf("192.0.2.0/24", []string{"192.0.2.7"}, rule(ping, ExpectSeen))
		block.PerAddress, block.Buckets = per, bounds
		return []Block{block}
	}
	table := NewTable(nil)
	table.Apply(b(PerAddressNone, 0.1))
	h := handle(t, table, "192.0.2.7", ping)
	var snap Snapshot
	answer := func() {
		table.Record(h, epoch, Answered, time.Millisecond)
		table.Series()[0].Snapshot(&snap)
	}
	check := func(name string, sent, observed, ofBlock uint64, classic int) {
		t.Helper()
		var got *Histogram
		if len(snap.PerAddress) > 0 {
			got = snap.PerAddress[7]
		}
		if n := snap.Slots[7].Sent(); n != sent {
			t.Errorf("%s: sent %d, want %d", name, n, sent)
		}
		if snap.Histogram.Count != ofBlock {
			t.Errorf("%s: histogram of the block of %d, want %d", name, snap.Histogram.Count, ofBlock)
		}
		if got == nil {
			if observed > 0 {
				t.Errorf("%s: no histogram", name)
			}
			return
		}
		if got.Count != observed || len(got.Classic) != classic || (len(got.Native) > 0) == (classic > 0) {
			t.Errorf("%s: histogram of %d with %d classic and %d native buckets, want one of %d with %d classic ones", name, got.Count, len(got.Classic), len(got.Native), observed, classic)
		}
	}
	answer()
	check("none", 1, 0, 1, 0)
	table.Apply(b(PerAddressNative, 0.1))
	answer()
	check("a native one begins, and the counters with it", 1, 1, 2, 0)
	table.Apply(b(PerAddressNative, 0.1))
	answer()
	check("a reload without a change keeps it", 2, 2, 3, 0)
	table.Apply(b(PerAddressNative, 0.1, 0.2))
	answer()
	check("other classic buckets do not concern a native one", 3, 3, 1, 0)
	table.Apply(b(PerAddressClassic, 0.1, 0.2))
	answer()
	check("a classic one begins", 1, 1, 2, 3)
	table.Apply(b(PerAddressClassic, 0.1))
	answer()
	check("other classic buckets begin a new one", 1, 1, 1, 2)
	table.Apply(b(PerAddressNone, 0.1))
	answer()
	check("the counters outlive it", 2, 0, 2, 0)
}
