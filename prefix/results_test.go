package prefix

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestResultsAreThoseSinceTheLastCall(t *testing.T) {
	table, h := one(t, rule(ping, ExpectSeen), nil)
	s := table.Series()[0]
	table.Record(h, epoch, Answered, time.Millisecond)
	if got, missed := s.Results(nil); len(got) > 0 || missed > 0 {
		t.Errorf("before anybody reads: %v, %d missed", got, missed)
	}
	table.Record(h, epoch.Add(time.Second), Answered, time.Millisecond)
	table.Record(h, epoch.Add(2*time.Second), Timeout, 0)
	first, _ := s.Results(nil)
	table.Record(Handle{series: s, generation: h.generation + 1, index: h.index}, epoch, Answered, 1) // of another address
	table.Record(h, epoch.Add(3*time.Second), Timeout, 0)
	second, missed := s.Results(nil)
	type result struct {
		second  int64
		place   uint8
		outcome Outcome
		rtt     time.Duration
		state   State
		counted bool
	}
	var got []result
	for _, r := range append(first, second...) {
		if r.Generation != h.generation || r.Sample != NewSample(r.Outcome(), r.RTT) {
			t.Errorf("%+v", r)
		}
		got = append(got, result{r.Sent/1e9 - epoch.Unix(), r.Place, r.Outcome(), r.RTT, r.State(), r.Counted()})
	}
	want := []result{
		{1, 7, Answered, time.Millisecond, Up, true},
		{2, 7, Timeout, 0, Up, true},
		{3, 7, Timeout, 0, Up, true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" || missed > 0 {
		t.Errorf("%d missed, (-want +got):\n%s", missed, diff)
	}
}

func TestResultsOfADarkAddressDoNotCount(t *testing.T) {
	for _, expect := range []Expect{ExpectSeen, ExpectNone} {
		table, h := one(t, rule(ping, expect), nil)
		s := table.Series()[0]
		s.Results(nil)
		table.Record(h, epoch, Timeout, 0)
		if got, _ := s.Results(nil); len(got) != 1 || got[0].Counted() || got[0].State() != Dark {
			t.Errorf("%v: %+v", expect, got)
		}
	}
}

func TestResultsThatNobodyReadsAreBounded(t *testing.T) {
	table, h := one(t, rule(ping, ExpectSeen), nil)
	s := table.Series()[0]
	s.Results(nil)
	const most = maxResults * BlockSize
	for i := range most + 5 {
		table.Record(h, epoch.Add(time.Duration(i)*time.Millisecond), Answered, time.Millisecond)
	}
	if got, missed := s.Results(nil); len(got) != most || missed != 5 || got[0].Sent != epoch.UnixNano() {
		t.Errorf("%d results, %d missed", len(got), missed)
	}
	if got, missed := s.Results(nil); len(got) != 0 || missed != 0 {
		t.Errorf("then %d results, %d missed", len(got), missed)
	}
}

func TestRecordAllocatesNothingWhileResultsAreRead(t *testing.T) {
	table := NewTable(nil)
	table.Apply([]Block{fullBlock(2, PerAddressNone, rule(ping, ExpectSeen))})
	h := handle(t, table, "192.0.2.7", ping)
	s := table.Series()[0]
	s.Results(nil)
	s.Results(make([]Result, 0, BlockSize))
	buffer := make([]Result, 0, BlockSize)
	i := 0
	if allocs := testing.AllocsPerRun(1000, func() {
		i++
		table.Record(h, epoch.Add(time.Duration(i)*time.Millisecond), Answered, time.Millisecond)
		if i%BlockSize == 0 {
			buffer, _ = s.Results(buffer)
		}
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestSecondsAreThoseUpToTheOneAskedFor(t *testing.T) {
	table, h := one(t, rule(ping, ExpectSeen), nil)
	s := table.Series()[0]
	for i := range 90 {
		table.Record(h, epoch.Add(time.Duration(i)*time.Second), Answered, time.Duration(i+1)*time.Millisecond)
	}
	for name, test := range map[string]struct {
		newest      int64
		place       int
		first, last int // answers at this index, of 0 to 59; none: -1
	}{
		"the newest":             {89, 7, 0, 59},
		"with some to come":      {99, 7, 0, 49},
		"long after":             {149, 7, -1, -1},
		"before":                 {79, 7, 10, 59},
		"of a place of no use":   {89, 8, -1, -1},
		"of a place not there":   {89, 300, -1, -1},
		"of a place that cannot": {89, -1, -1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			first, last := -1, -1
			samples := s.Seconds(nil, test.place, epoch.Unix()+test.newest)
			if len(samples) != RingSeconds {
				t.Fatalf("%d seconds", len(samples))
			}
			for i, v := range samples {
				rtt, ok := v.RTT()
				if !ok {
					continue
				}
				if first < 0 {
					first = i
				}
				last = i
				if want := test.newest - RingSeconds + 2 + int64(i); rtt.Round(time.Millisecond).Milliseconds() != want {
					t.Errorf("second %d: %v, want %d ms", i, rtt, want)
				}
			}
			if first != test.first || last != test.last {
				t.Errorf("answers from %d to %d, want %d to %d", first, last, test.first, test.last)
			}
		})
	}
}

// BenchmarkRecordWithResults is BenchmarkRecord while somebody reads the results each second.
func BenchmarkRecordWithResults(b *testing.B) {
	for _, reads := range []bool{false, true} {
		b.Run(fmt.Sprintf("read=%v", reads), func(b *testing.B) {
			table := NewTable(nil)
			table.Apply([]Block{fullBlock(2, PerAddressNone, rule(ping, ExpectSeen))})
			s := table.Series()[0]
			var handles []Handle
			for place := range BlockSize {
				h, _ := table.Handle(netip.AddrFrom4([4]byte{192, 0, 2, byte(place)}), ping)
				handles = append(handles, h)
			}
			if reads {
				s.Results(make([]Result, 0, BlockSize))
			}
			buffer := make([]Result, 0, BlockSize)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				table.Record(handles[i%BlockSize], epoch.Add(time.Duration(i/BlockSize)*time.Second), Answered, 20*time.Millisecond)
				if reads && i%BlockSize == BlockSize-1 {
					buffer, _ = s.Results(buffer)
				}
			}
		})
	}
}
