package route

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAPathIsStaleWhenItsNewestRoundIsOld(t *testing.T) {
	for _, test := range []struct {
		name     string
		interval time.Duration
		age      time.Duration
		want     bool
	}{
		{"three intervals are not too old", time.Minute, 3 * time.Minute, false},
		{"more than three are", time.Minute, 3*time.Minute + time.Second, true},
		{"with short intervals ten seconds are not too old", time.Second, 10 * time.Second, false},
		{"more than ten seconds are", time.Second, 11 * time.Second, true},
		{"without an interval nothing is too old", 0, 1000 * time.Hour, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := NewTable(nil)
				s := spec
				s.Interval = test.interval
				table.Apply([]Spec{s})
				if table.Current()[0].Stale {
					t.Error("stale before the first round")
				}
				table.Record(key, target, Round{Started: time.Now(), Answers: answers("a D")})
				time.Sleep(test.age)
				if got := table.Current()[0]; got.Stale != test.want || got.Path.Status != Reached {
					t.Errorf("stale %v, %v; want %v", got.Stale, got.Path.Status, test.want)
				}
				table.Record(key, target, Round{Started: time.Now(), Answers: answers("a D")})
				if table.Current()[0].Stale {
					t.Error("stale after a new round")
				}
			})
		})
	}
}

func TestAnotherIntervalIsNoOtherRoute(t *testing.T) {
	table := NewTable(nil)
	table.Apply([]Spec{spec})
	table.Record(key, target, Round{Started: epoch, Answers: answers("a D")})
	s := spec
	s.Interval = time.Second
	table.Apply([]Spec{s})
	if got := table.Current()[0]; got.Rounds != 1 || got.Interval != time.Second {
		t.Errorf("%d rounds, interval %v; want 1, 1s", got.Rounds, got.Interval)
	}
}

func TestNoRouteFromTheProber(t *testing.T) {
	// A word is a round: x could not be sent, o neither, for the machine was offline, else as answers reads it, with + for blanks.
	for _, test := range []struct {
		name, rounds string
		status       Status
		hops         int
		told         []string
	}{
		{"no hop is shown from the first round on", "a+D x", NoRoute, 0, nil},
		{"what is seen twice is a change", "a+D x x", NoRoute, 0, []string{"this machine has no route to 192.0.2.1"}},
		{"it is told once", "a+D x x x x", NoRoute, 0, []string{"this machine has no route to 192.0.2.1"}},
		{"a single round is no change", "a+D x a+D", Reached, 2, nil},
		{"the path is what it was before", "a+D x x a+D", Reached, 2, []string{"this machine has no route to 192.0.2.1", "this machine has a route to 192.0.2.1 again"}},
		{"from the start on", "x x", NoRoute, 0, []string{"this machine has no route to 192.0.2.1"}},
		{"a machine that is offline shows no hop, and tells no change", "a+D o o o", NoRoute, 0, nil},
		{"nor one when it is back", "a+D o o a+D", Reached, 2, nil},
		{"nor one if that is known only after the first round", "a+D x o o a+D", Reached, 2, nil},
		{"what was told before is over when it is back", "a+D x x o a+D", Reached, 2, []string{"this machine has no route to 192.0.2.1", "this machine has a route to 192.0.2.1 again"}},
		{"that it alone has no route afterwards is told", "a+D o o x x", NoRoute, 0, []string{"this machine has no route to 192.0.2.1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var told []string
			table := NewTable(func(c Change) { told = append(told, c.String()) })
			table.Apply([]Spec{spec})
			for i, word := range strings.Fields(test.rounds) {
				at := epoch.Add(time.Duration(i) * time.Minute)
				if word == "x" || word == "o" {
					table.RecordNoRoute(key, target, at, word == "o")
				} else {
					table.Record(key, target, Round{Started: at, Answers: answers(strings.ReplaceAll(word, "+", " "))})
				}
			}
			got := table.Routes()[0]
			if got.Path.Status != test.status || len(got.Hops) != test.hops || int(got.ChangesTotal) != len(test.told) || len(got.Changes) != len(test.told) {
				t.Errorf("%v, %d hops, %d changes", got.Path.Status, len(got.Hops), got.ChangesTotal)
			}
			if diff := cmp.Diff(test.told, told); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestARoundThatCouldNotBeSentToWhatIsGoneIsIgnored(t *testing.T) {
	table := NewTable(nil)
	table.RecordNoRoute(key, target, epoch, false)
	table.Apply([]Spec{spec})
	table.RecordNoRoute(key, target.Prev().Next(), epoch, false)
	table.RecordNoRoute(key, Spec{}.Addr, epoch, false)
	if got := table.Current()[0].Rounds; got != 1 {
		t.Errorf("%d rounds, want 1", got)
	}
}
