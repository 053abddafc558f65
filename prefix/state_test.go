package prefix

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// outcomes reads a story: . is an answer, anything else a loss.
func outcomes(story string) (os []Outcome) {
	for _, c := range story {
		os = append(os, map[rune]Outcome{'.': Answered, 't': Timeout, 'u': Unreachable, 'x': TTLExceeded, 'r': Refused, 'R': Reset}[c])
	}
	return os
}

func TestStateFollowsTheOutcomes(t *testing.T) {
	seen, all, none := rule(ping, ExpectSeen), rule(ping, ExpectAll), rule(ping, ExpectNone)
	slow := seen
	slow.UpAfter = 2
	for _, test := range []struct {
		name   string
		rule   TargetProbe
		story  string
		states string // after each outcome: d(ark), U(p), D(own)
		sent   uint64 // at the end
		known  bool
	}{
		{"an address that never answers stays dark and loses nothing", seen, "tttuuxttt", "ddddddddd", 0, false},
		{"the first answer makes it known and up", seen, "tt.", "ddU", 1, true},
		{"two losses do not make it down", seen, ".tt.tt", "UUUUUU", 6, true},
		{"three losses in a row of whatever kind make it down", seen, ".tux", "UUUD", 4, true},
		{"one answer makes it up again", seen, ".ttt.", "UUUDU", 5, true},
		{"with up_after 2 one answer is not enough", slow, ".t..", "dddU", 4, true},
		{"with up_after 2 a single answer between losses leaves it down", slow, "..ttt.t", "dUUUDDD", 7, true},
		{"an answer that is not enough to be up is known all the same", slow, ".", "d", 1, true},
		{"a known address that was never up goes down", slow, ".ttt", "dddD", 4, true},
		{"an expected address counts from its first loss", all, "tt", "dd", 2, true},
		{"an expected address goes down without having been up", all, "ttt", "ddD", 3, true},
		{"an address of which nothing is expected stays dark", none, "..tt.", "ddddd", 0, false},
		{"more losses than a byte counts leave it down", seen, "." + strings.Repeat("t", 300), "UUU" + strings.Repeat("D", 298), 301, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, h := one(t, test.rule, nil)
			states := ""
			for i, o := range outcomes(test.story) {
				table.Record(h, epoch.Add(time.Duration(i)*time.Second), o, time.Millisecond)
				states += map[State]string{Dark: "d", Up: "U", Down: "D"}[slot(t, table, "192.0.2.7", ping).State]
			}
			got := slot(t, table, "192.0.2.7", ping)
			if states != test.states {
				t.Errorf("states %s, want %s", states, test.states)
			}
			if got.Sent() != test.sent || got.Known != test.known {
				t.Errorf("sent %d, known %v; want %d, %v", got.Sent(), got.Known, test.sent, test.known)
			}
		})
	}
}

func TestEveryChangeOfStateIsTold(t *testing.T) {
	var got []Change
	table, h := one(t, rule(ping, ExpectSeen), func(c Change) { got = append(got, c) })
	for i, o := range outcomes("t.ttut.") {
		table.Record(h, epoch.Add(time.Duration(i)*time.Second), o, time.Millisecond)
	}
	change := func(second int, from, to State, o Outcome) Change {
		return Change{At: epoch.Add(time.Duration(second) * time.Second), Prefix: table.Infos()[0].Prefix, Addr: ip("192.0.2.7"), Probe: ping, From: from, To: to, Cause: Cause{Outcome: o}}
	}
	want := []Change{change(1, Dark, Up, Answered), change(4, Up, Down, Unreachable), change(6, Down, Up, Answered)}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Change) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestASilentAddressIsForgottenAfterDarkAfter(t *testing.T) {
	var changes []State
	table, h := one(t, rule(ping, ExpectSeen), func(c Change) { changes = append(changes, c.To) })
	table.Record(h, epoch, Answered, time.Millisecond)
	for i := range 3 {
		table.Record(h, epoch.Add(time.Hour-time.Duration(3-i)*time.Second), Timeout, 0)
	}
	table.Record(h, epoch.Add(time.Hour), Timeout, 0)
	if got := slot(t, table, "192.0.2.7", ping); !got.Known || got.State != Down || got.Sent() != 5 {
		t.Errorf("at dark_after: known %v, %v, sent %d; want known, down, 5", got.Known, got.State, got.Sent())
	}
	table.Record(h, epoch.Add(time.Hour+time.Second), Timeout, 0)
	if got := slot(t, table, "192.0.2.7", ping); got.Known || got.State != Dark || got.Sent() != 5 {
		t.Errorf("after dark_after: known %v, %v, sent %d; want unknown, dark, 5", got.Known, got.State, got.Sent())
	}
	table.Record(h, epoch.Add(2*time.Hour), Answered, time.Millisecond)
	if got := slot(t, table, "192.0.2.7", ping); !got.Known || got.State != Up || got.Sent() != 6 {
		t.Errorf("when it is back: known %v, %v, sent %d; want known, up, 6", got.Known, got.State, got.Sent())
	}
	if diff := cmp.Diff([]State{Up, Down, Dark, Up}, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestAnExpectedAddressIsNeverForgotten(t *testing.T) {
	table, h := one(t, rule(ping, ExpectAll), nil)
	for i := range 3 {
		table.Record(h, epoch.Add(time.Duration(i)*100*time.Hour), Timeout, 0)
	}
	if got := slot(t, table, "192.0.2.7", ping); !got.Known || got.State != Down || got.Sent() != 3 {
		t.Errorf("known %v, %v, sent %d; want known, down, 3", got.Known, got.State, got.Sent())
	}
}

func TestCountsAndSumsAreExact(t *testing.T) {
	table, h := one(t, rule(ping, ExpectSeen), nil)
	for i, o := range outcomes("..tuxrR.") {
		table.Record(h, epoch, o, time.Duration(i)*time.Millisecond)
	}
	want := [Outcomes]uint64{3, 1, 1, 1, 1, 1}
	got := slot(t, table, "192.0.2.7", ping)
	if got.Counts != want || got.RTTSum != uint64(8*time.Millisecond) {
		t.Errorf("counts %v, sum %d", got.Counts, got.RTTSum)
	}
	var snap Snapshot
	table.Series()[0].Snapshot(&snap)
	if snap.Counts != want || snap.Histogram.Count != 3 || snap.Histogram.Sum != uint64(8*time.Millisecond) {
		t.Errorf("of the block: counts %v, histogram of %d, %d ns", snap.Counts, snap.Histogram.Count, snap.Histogram.Sum)
	}
}

func TestANegativeRTTDoesNotWrapTheSum(t *testing.T) {
	table, h := one(t, rule(ping, ExpectSeen), nil)
	table.Record(h, epoch, Answered, -time.Second)
	if got := slot(t, table, "192.0.2.7", ping); got.RTTSum != 0 || got.Sent() != 1 {
		t.Errorf("sum %d, sent %d; want 0, 1", got.RTTSum, got.Sent())
	}
}

func TestAnAddressOfWhichNothingIsExpectedIsInTheHistogramOnly(t *testing.T) {
	table, h := one(t, rule(ping, ExpectNone), nil)
	table.Record(h, epoch, Answered, time.Millisecond)
	table.Record(h, epoch, Timeout, 0)
	var snap Snapshot
	table.Series()[0].Snapshot(&snap)
	if snap.Histogram.Count != 1 || snap.Counts != [Outcomes]uint64{} {
		t.Errorf("histogram of %d, counts %v; want 1 and none", snap.Histogram.Count, snap.Counts)
	}
}

func TestWordsAreThoseOfLabels(t *testing.T) {
	var got []string
	for o := range Outcome(Outcomes) {
		got = append(got, o.String())
	}
	for s := range State(4) {
		got = append(got, s.String())
	}
	for k := range Kind(2) {
		got = append(got, k.String())
	}
	for e := range Expect(3) {
		got = append(got, e.String())
	}
	for p := range PerAddress(3) {
		got = append(got, p.String())
	}
	want := []string{"answered", "timeout", "unreachable", "ttl_exceeded", "refused", "reset", "no_route", "dark", "up", "down", "unknown", "icmp", "tcp", "seen", "all", "none", "none", "native", "classic"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTargetIDIsTheSameForEver(t *testing.T) {
	// uuid5(uuid5(NAMESPACE_DNS, "prefix_exporter"), "192.0.2.1") of any other library
	if got, want := TargetID(ip("192.0.2.1")), "c5a37fd5-f2ea-54fd-a634-2313fb04d518"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
