package prefix

import (
	"testing"
	"time"
)

// ringOf reads the ring of the only address: . an answer, t a timeout, space nothing.
func ringOf(t *testing.T, table *Table) string {
	t.Helper()
	s, place, _ := table.Find(ip("192.0.2.7"), ping)
	samples := s.Ring(nil, place)
	if len(samples) != RingSeconds {
		t.Fatalf("%d samples", len(samples))
	}
	story := make([]byte, RingSeconds)
	for i, v := range samples {
		story[i] = ' '
		if _, ok := v.RTT(); ok {
			story[i] = '.'
		} else if _, ok := v.Lost(); ok {
			story[i] = 't'
		}
	}
	return string(story)
}

func TestRingIsTheLastMinute(t *testing.T) {
	type result struct {
		second  int
		outcome Outcome
	}
	const gap = "                                                            " // 60
	pad := func(end string) string { return gap[:RingSeconds-len(end)] + end }
	for _, test := range []struct {
		name    string
		results []result
		want    string
	}{
		{"nothing yet", nil, gap},
		{"one second", []result{{0, Answered}}, pad(".")},
		{"seconds in order", []result{{0, Answered}, {1, Timeout}, {2, Answered}}, pad(".t.")},
		{"seconds without a result are empty", []result{{0, Answered}, {5, Answered}}, pad(".    .")},
		{"the later result of a second stands", []result{{0, Answered}, {0, Timeout}}, pad("t")},
		{"a timeout is found at the second in which it was sent", []result{{0, Answered}, {4, Answered}, {2, Timeout}}, pad(". t .")},
		{"after a minute the place is used again", []result{{0, Answered}, {59, Timeout}, {60, Answered}}, pad("t.")},
		{"just within the minute", []result{{0, Answered}, {59, Timeout}}, "." + gap[:58] + "t"},
		{"a pause of more than a minute empties it", []result{{0, Answered}, {1, Answered}, {300, Timeout}}, pad("t")},
		{"a result of a minute ago is too old to be shown", []result{{0, Answered}, {60, Answered}, {0, Timeout}}, pad(".")},
		{"a clock set back a little leaves the newest second at the end", []result{{0, Answered}, {30, Answered}, {10, Timeout}}, gap[:29] + "." + gap[:9] + "t" + gap[:19] + "."},
		{"a clock set back far starts anew", []result{{0, Answered}, {1, Answered}, {-7200, Timeout}}, pad("t")},
		{"and goes on from there", []result{{1, Answered}, {-7200, Timeout}, {-7199, Answered}}, pad("t.")},
		{"a clock set to before 1970", []result{{0, Answered}, {-1_800_000_001, Timeout}, {-1_800_000_000, Answered}}, pad("t.")},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, h := one(t, rule(ping, ExpectSeen), nil)
			for _, r := range test.results {
				table.Record(h, epoch.Add(time.Duration(r.second)*time.Second), r.outcome, time.Millisecond)
			}
			if got := ringOf(t, table); got != test.want {
				t.Errorf("\n got %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestRingOfNoPlaceIsEmpty(t *testing.T) {
	table, _ := one(t, rule(ping, ExpectSeen), nil)
	for _, place := range []int{-1, BlockSize} {
		if got := table.Series()[0].Ring(nil, place); len(got) > 0 {
			t.Errorf("place %d: %d samples", place, len(got))
		}
	}
}

func TestASteppedClockIsNeitherLossNorCountedTwice(t *testing.T) {
	table, h := one(t, rule(ping, ExpectSeen), nil)
	for _, second := range []int{0, 1, 7200, 7201, -7200, -7199, 2} {
		table.Record(h, epoch.Add(time.Duration(second)*time.Second), Answered, time.Millisecond)
	}
	got := slot(t, table, "192.0.2.7", ping)
	if got.Counts != [Outcomes]uint64{7} || got.State != Up {
		t.Errorf("counts %v, %v; want 7 answers, up", got.Counts, got.State)
	}
}
