package prefix

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// every is a rule of probes at an interval.
func every(interval time.Duration, e Expect) TargetProbe {
	r := rule(ping, e)
	r.Interval = interval
	return r
}

// tell plays a story: . is an answer, t a loss, each a second after the one before; = is a second
// without a probe. It returns the state after each second, as one letter.
func tell(t *testing.T, table *Table, h Handle, story string) (states string) {
	t.Helper()
	for _, c := range story {
		time.Sleep(time.Second)
		if c != '=' {
			table.Record(h, time.Now(), outcomes(string(c))[0], time.Millisecond)
		}
		table.Age(time.Now())
		states += map[State]string{Dark: "d", Up: "U", Down: "D", Unknown: "?"}[slot(t, table, "192.0.2.7", ping).State]
	}
	return states
}

func TestNoStateIsOlderThanItsEvidence(t *testing.T) {
	gap := strings.Repeat("=", 10)
	same := func(s string) string { return strings.Repeat(s, 10) }
	for _, test := range []struct {
		name          string
		rule          TargetProbe
		story, states string
	}{
		{"an address that is up is unknown after ten seconds without a result", every(time.Second, ExpectSeen), "." + gap + "==", "U" + same("U") + "??"},
		{"an address that is down is unknown as well", every(time.Second, ExpectSeen), ".ttt" + gap + "=", "UUUD" + same("D") + "?"},
		{"an address that is dark is unknown as well", every(time.Second, ExpectSeen), "t" + gap + "=", "d" + same("d") + "?"},
		{"of a slow probe it takes two intervals more than to be down", every(3*time.Second, ExpectSeen), "." + gap + "======", "U" + same("U") + "UUUUU?"},
		{"one answer after the gap makes it up again", every(time.Second, ExpectSeen), "." + gap + "=.", "U" + same("U") + "?U"},
		{"losses after the gap decide like any others", every(time.Second, ExpectSeen), "." + gap + "=ttt", "U" + same("U") + "???D"},
		{"a loss agrees with an address that was down", every(time.Second, ExpectSeen), ".ttt" + gap + "=t", "UUUD" + same("D") + "?D"},
		{"a loss agrees with an address that was dark", every(time.Second, ExpectSeen), "t" + gap + "=t", "d" + same("d") + "?d"},
		{"losses before the gap are not in a row with those after it", every(time.Second, ExpectSeen), ".tt" + gap + "=tt", "UUU" + same("U") + "???"},
		{"an address of which nothing is expected is dark again after any result", every(time.Second, ExpectNone), "t" + gap + "=.", "d" + same("d") + "?d"},
		{"each result counts, whatever the state", every(time.Second, ExpectSeen), "...", "UUU"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, h := one(t, test.rule, nil)
				if got := tell(t, table, h, test.story); got != test.states {
					t.Errorf("%s\ngot  %s\nwant %s", test.story, got, test.states)
				}
			})
		})
	}
}

func TestAnAddressThatIsNeverMeasuredIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Change
		table, h := one(t, every(time.Second, ExpectSeen), func(c Change) { got = append(got, c) })
		table.Unmeasured(h, "ENODEV")
		tell(t, table, h, "===========")
		want := []Change{{
			At: time.Now(), Prefix: netip.MustParsePrefix("192.0.2.0/24"), Addr: ip("192.0.2.7"), Probe: ping,
			From: Dark, To: Unknown, Obstacle: "ENODEV",
		}}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAnAnswerFromBeforeThePauseIsNoEvidenceAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, h := one(t, every(time.Second, ExpectSeen), nil)
		tell(t, table, h, ".")
		sent := time.Now()
		time.Sleep(time.Hour) // the process is stopped
		table.Fresh(time.Now())
		table.Record(h, sent, Answered, time.Millisecond) // it was in a queue
		got := slot(t, table, "192.0.2.7", ping)
		if got.State != Unknown || got.Sent() != 2 {
			t.Errorf("%v, sent %d; want unknown, 2", got.State, got.Sent())
		}
		if got := tell(t, table, h, "."); got != "U" {
			t.Errorf("the next answer: %s, want U", got)
		}
	})
}

func TestWhoAsksFirstAfterAPauseSeesNoOldState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, h := one(t, every(time.Second, ExpectSeen), nil)
		tell(t, table, h, ".")
		time.Sleep(time.Minute)
		table.Fresh(time.Now())
		if got := slot(t, table, "192.0.2.7", ping).State; got != Unknown {
			t.Errorf("got %v", got)
		}
	})
}

func TestWhatTheLastRunBelievedIsUnknownUntilAProbeAgrees(t *testing.T) {
	for _, test := range []struct {
		name, remembered, story string
		states                  string
		changes                 []State // from, to, from, to …
	}{
		{"up, and it answers: no news", "up", "..", "UU", nil},
		{"down, and it is silent: no news", "down", "tt", "DD", nil},
		{"down, and it answers", "down", ".", "U", []State{Down, Up}},
		{"up, and it is silent", "up", "ttt", "??D", []State{Up, Down}},
		{"up, and nothing is measured", "up", "===========", "???????????", []State{Up, Unknown}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var changes []State
				table := NewTable(func(c Change) { changes = append(changes, c.From, c.To) })
				file := memoryHead + `{"ip":"192.0.2.7","probe":"icmp","state":"` + test.remembered + `","last_answer":946684700}` + "\n"
				if err := table.Restore(strings.NewReader(file)); err != nil {
					t.Fatal(err)
				}
				table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.7"}, every(time.Second, ExpectSeen))})
				h := handle(t, table, "192.0.2.7", ping)
				if got := slot(t, table, "192.0.2.7", ping).State; got != Unknown {
					t.Errorf("before the first probe: %v", got)
				}
				if got := remembered(t, table); got != file {
					t.Errorf("what is remembered has changed: %s", got)
				}
				if got := tell(t, table, h, test.story); got != test.states {
					t.Errorf("states %s, want %s", got, test.states)
				}
				if diff := cmp.Diff(test.changes, changes); diff != "" {
					t.Errorf("changes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAReloadIsNoEvidence(t *testing.T) {
	for _, test := range []struct {
		name, story string
		after       Expect
	}{
		{"an address that never answered", "t", ExpectSeen},
		{"one that did", ".", ExpectSeen},
		{"one of which nothing is expected any more", ".", ExpectNone},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var changes []State
				table, h := one(t, every(time.Second, ExpectSeen), func(c Change) { changes = append(changes, c.To) })
				tell(t, table, h, test.story+"===========")
				changes = nil
				table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.7"}, every(time.Second, test.after))})
				if got := tell(t, table, h, "=="); got != "??" {
					t.Errorf("states %s, want ??", got)
				}
				if len(changes) > 0 {
					t.Errorf("it is told again: %v", changes)
				}
			})
		})
	}
}

func TestAnAddressThatIsLeftOutIsDark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []State
		table, h := one(t, every(time.Second, ExpectAll), func(c Change) { changes = append(changes, c.To) })
		tell(t, table, h, ".")
		table.Unmeasured(h, "skipped")
		table.LeaveOut(h)
		var snap Snapshot
		table.Series()[0].Snapshot(&snap)
		if slot := snap.Slots[h.index]; !slot.LeftOut || slot.Obstacle != "" {
			t.Errorf("left out %v, obstacle %q, want none", slot.LeftOut, slot.Obstacle)
		}
		if got := tell(t, table, h, "============"); got != strings.Repeat("d", 12) {
			t.Errorf("states %s", got)
		}
		if got := tell(t, table, h, "."); got != "U" {
			t.Errorf("when it answers all the same: %s", got)
		}
		if diff := cmp.Diff([]State{Up, Dark, Up}, changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
}

func TestReadersOfResultsAreToldThatNothingIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, h := one(t, every(time.Second, ExpectSeen), nil)
		s := table.Series()[0]
		s.Results(nil)
		tell(t, table, h, ".===========")
		got, _ := s.Results(nil)
		if len(got) != 2 || got[1].Sample != NoSample || got[1].State() != Unknown || got[1].Counted() {
			t.Errorf("got %+v", got)
		}
	})
}

func TestReadersOfResultsAreToldOnceThatAnAddressIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, h := one(t, every(time.Second, ExpectSeen), nil)
		s := table.Series()[0]
		s.Results(nil)
		tell(t, table, h, ".")
		table.LeaveOut(h)
		table.LeaveOut(h)
		got, _ := s.Results(nil)
		if len(got) != 2 || got[1].Sample != NoSample || got[1].State() != Dark || got[1].Counted() {
			t.Errorf("got %+v", got)
		}
	})
}

func TestTheCauseIsThatOfTheNewestProbe(t *testing.T) {
	router, target := ip("198.51.100.1"), ip("192.0.2.7")
	for _, test := range []struct {
		name   string
		cause  Cause
		detail string
		text   string
	}{
		{"a timeout", Cause{Outcome: Timeout}, "timeout", "timeout"},
		{"a router without a way", Cause{Unreachable, router, 3, 0}, "net unreachable", "net unreachable, says 198.51.100.1"},
		{"a firewall", Cause{Unreachable, router, 3, 13}, "administratively prohibited", "administratively prohibited, says 198.51.100.1"},
		{"the host itself", Cause{Unreachable, target, 3, 3}, "port unreachable", "port unreachable, says 192.0.2.7"},
		{"a loop", Cause{TTLExceeded, router, 11, 0}, "TTL exceeded", "TTL exceeded, says 198.51.100.1"},
		{"an IPv6 router", Cause{Unreachable, ip("2001:db8::1"), 1, 6}, "route rejected", "route rejected, says 2001:db8::1"},
		{"an IPv6 loop", Cause{TTLExceeded, ip("2001:db8::1"), 3, 0}, "TTL exceeded", "TTL exceeded, says 2001:db8::1"},
		{"a code that nobody has named", Cause{Unreachable, router, 3, 99}, "unreachable, code 99", "unreachable, code 99, says 198.51.100.1"},
		{"an error of which no more is known", Cause{Outcome: Unreachable}, "unreachable", "unreachable"},
		{"a reset", Cause{Outcome: Refused}, "connection refused", "connection refused"},
		{"no route", Cause{Outcome: NoRoute}, "no route from the prober", "no route from the prober"},
		{"an answer", Cause{}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, h := one(t, rule(ping, ExpectSeen), nil)
			table.Reject(h, epoch, test.cause)
			got := slot(t, table, "192.0.2.7", ping).Cause
			if got != test.cause || got.Detail() != test.detail || got.String() != test.text {
				t.Errorf("got %+v, %q, %q", got, got.Detail(), got)
			}
			table.Record(h, epoch, Answered, 0)
			if got := slot(t, table, "192.0.2.7", ping).Cause; got != (Cause{}) {
				t.Errorf("after an answer: %+v", got)
			}
		})
	}
}

func TestAReloadThatProbesMoreOftenIsNoDoubt(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, after time.Duration
		silence       int // seconds before the reload
		story, states string
	}{
		{"the first probe of the shorter interval is still to come", time.Minute, time.Second, 55, "==.", "UUU"},
		{"for which it has as long as any other", time.Minute, time.Second, 55, "===========", "UUUUUUUUUU?"},
		{"but not longer than the longer interval allowed", 3 * time.Second, time.Second, 14, "==", "U?"},
		{"with a longer interval the evidence is good for longer", time.Second, 3 * time.Second, 9, "=======", "UUUUUU?"},
		{"what is unknown stays so", 3 * time.Second, time.Second, 16, "==.", "??U"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, h := one(t, every(test.before, ExpectSeen), nil)
				tell(t, table, h, "."+strings.Repeat("=", test.silence))
				table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.7"}, every(test.after, ExpectSeen))})
				if got := tell(t, table, h, test.story); got != test.states {
					t.Errorf("states %s, want %s", got, test.states)
				}
			})
		})
	}
}
