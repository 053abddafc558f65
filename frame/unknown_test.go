package frame

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/prefix"
)

// pass lets seconds pass in which nothing is recorded, up to a frame of which the table knows how old
// its evidence is.
func (w *world) pass(seconds int) {
	w.now = w.now.Add(time.Duration(seconds) * time.Second)
	w.table.Age(w.now)
	w.Tick(w.now)
}

// numbersOf returns those of an address that a page would show.
func (w *world) numbersOf(ip string) Numbers {
	w.t.Helper()
	place := int(ip[len(ip)-1] - '0')
	return w.NumbersAt(w.table.Series()[0], place)
}

func TestAnAddressThatIsUnknownShowsNoOldResult(t *testing.T) {
	const answers, silent = "192.0.2.1", "192.0.2.2"
	w := newWorld(t, block("192.0.2.0/24", []int{1, 2}, ping))
	s := w.Subscribe(0)
	defer s.Close()
	next(t, s)
	w.record(answers, ping, 10*time.Millisecond, prefix.Answered)
	w.record(silent, ping, 20*time.Millisecond, prefix.Answered)
	w.tick()
	for range 2 {
		w.record(answers, ping, 10*time.Millisecond, prefix.Answered)
		w.record(silent, ping, 0, prefix.Unreachable)
		w.tick()
	}
	check(t, next(t, s), "3 @1 0/1:10ms 0/2:20ms", "3 @2 0/1:10ms 0/2:2", "3 @3 0/1:10ms 0/2:18")
	w.pass(11)
	check(t, next(t, s), "3 @14 0/1:48 0/2:48")
	full := w.Subscribe(0)
	defer full.Close()
	check(t, next(t, full), "1 @0", "2 @14 0/1:48 0/2:48")
	for _, ip := range []string{answers, silent} {
		n := w.numbersOf(ip)
		if rtt, ok := n.Last(); ok || n.Error() != prefix.Answered {
			t.Errorf("%s: last %v, error %v", ip, rtt, n.Error())
		}
		if _, ok := n.Mean(); !ok {
			t.Errorf("%s: the last hour is gone", ip)
		}
	}
	total := w.Total(w.table.Series()[0])
	if rtt, ok := total.Last(); ok || total.Error() != prefix.Answered {
		t.Errorf("all: last %v, error %v", rtt, total.Error())
	}
	w.record(answers, ping, 30*time.Millisecond, prefix.Answered)
	w.record(silent, ping, 0, prefix.Timeout)
	w.tick()
	check(t, next(t, s), "3 @15 0/1:30ms 0/2:17")
	n := w.numbersOf(answers)
	if rtt, ok := n.Last(); !ok || rtt != 30*time.Millisecond {
		t.Errorf("when it answers again: last %v, %v", rtt, ok)
	}
}

func TestAResultWinsOverThatThereWasNone(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1, 2, 3}, ping))
	s := w.Subscribe(0)
	defer s.Close()
	for _, ip := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		w.record(ip, ping, 10*time.Millisecond, prefix.Answered)
	}
	w.tick()
	next(t, s)
	sent := w.now
	w.now = w.now.Add(20 * time.Second)
	w.table.Age(w.now)
	w.record("192.0.2.1", ping, 11*time.Millisecond, prefix.Answered)
	w.record("192.0.2.2", ping, 0, prefix.Timeout)
	h, _ := w.table.Handle(w.table.Series()[0].Prefix().Addr().Next().Next().Next(), ping)
	w.table.Record(h, sent, prefix.Answered, 12*time.Millisecond) // it was in a queue all the time
	w.tick()
	check(t, next(t, s), "3 @22 0/1:11ms 0/2:49 0/3:48")
}

func TestAnAddressThatIsLeftOutIsDark(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1}, ping))
	s := w.Subscribe(0)
	defer s.Close()
	w.record("192.0.2.1", ping, 10*time.Millisecond, prefix.Answered)
	w.tick()
	next(t, s)
	h, _ := w.table.Handle(w.table.Series()[0].Prefix().Addr().Next(), ping)
	w.table.LeaveOut(h)
	w.tick()
	check(t, next(t, s), "3 @2 0/1:32")
	n := w.numbersOf("192.0.2.1")
	if rtt, ok := n.Last(); ok {
		t.Errorf("last %v", rtt)
	}
	w.table.Apply([]prefix.Block{block("192.0.2.0/24", []int{1, 2}, ping)})
	w.tick()
	check(t, next(t, s), "1 @3", "2 @3 0/1:32")
}

func TestARestartBeginsWithWhatIsNotKnownYet(t *testing.T) {
	table := prefix.NewTable(nil)
	memory := `{"format":"prefix_exporter known addresses","version":1}
{"ip":"192.0.2.1","probe":"icmp","state":"up","last_answer":1799999990}
{"ip":"192.0.2.2","probe":"icmp","state":"down","last_answer":1799999990}
`
	if err := table.Restore(strings.NewReader(memory)); err != nil {
		t.Fatal(err)
	}
	table.Apply([]prefix.Block{block("192.0.2.0/24", []int{1, 2, 3}, ping)})
	w := &world{t: t, table: table, Recorder: New(Options{Table: table, Registerer: prometheus.NewRegistry()}), now: epoch}
	w.Tick(w.now)
	s := w.Subscribe(0)
	defer s.Close()
	check(t, next(t, s), "1 @0", "2 @0 0/1:48 0/2:48") // of the third nothing was known before either
	w.record("192.0.2.1", ping, 10*time.Millisecond, prefix.Answered)
	w.record("192.0.2.2", ping, 0, prefix.Timeout)
	w.record("192.0.2.3", ping, 0, prefix.Timeout)
	w.tick()
	check(t, next(t, s), "3 @1 0/1:10ms 0/2:17 0/3:33")
}

func TestAReloadChangesWhatResultsMean(t *testing.T) {
	all := []int{1, 2, 3}
	none := block("192.0.2.0/24", all, ping)
	for i := range none.Targets {
		none.Targets[i].Probes[0].Expect = prefix.ExpectNone
	}
	w := newWorld(t, block("192.0.2.0/24", all, ping))
	s := w.Subscribe(0)
	defer s.Close()
	for _, ip := range []string{"192.0.2.1", "192.0.2.2"} {
		w.record(ip, ping, 10*time.Millisecond, prefix.Answered)
	}
	w.tick()
	w.pass(20)
	w.record("192.0.2.2", ping, 0, prefix.NoRoute)
	w.tick()
	next(t, s)
	w.table.Apply([]prefix.Block{block("192.0.2.0/24", []int{1, 2, 3, 4}, ping)})
	w.tick()
	check(t, next(t, s), "1 @23", "2 @23 0/1:48 0/2:54 0/3:48") // the fourth waits for its first result
	w.table.Apply([]prefix.Block{none})
	w.tick()
	check(t, next(t, s), "1 @24", "2 @24 0/1:48 0/2:54 0/3:48") // that nothing is expected says nothing of how it is
	w.record("192.0.2.2", ping, 0, prefix.NoRoute)
	w.tick()
	check(t, next(t, s), "3 @25 0/2:38")
}

// TestWhoAsksFirstAfterAPauseSeesNothingOld stops everything for two hours, as SIGSTOP does.
func TestWhoAsksFirstAfterAPauseSeesNothingOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := prefix.NewTable(nil)
		table.Apply([]prefix.Block{block("192.0.2.0/24", []int{1}, ping)})
		w := &world{t: t, table: table, Recorder: New(Options{Table: table}), now: time.Now()}
		w.Fresh(time.Now()) // there is no frame to be renewed
		s := w.Subscribe(0)
		defer s.Close()
		w.Tick(time.Now())
		w.record("192.0.2.1", ping, 10*time.Millisecond, prefix.Answered)
		time.Sleep(time.Second)
		w.Tick(time.Now())
		next(t, s)
		begin := time.Now().Unix()
		time.Sleep(2 * time.Hour)
		for range 3 {
			w.Fresh(time.Now()) // many ask at once
		}
		messages, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var types []Type
		for _, data := range messages {
			h, err := ParseHeader(data)
			if err != nil || int64(h.Sequence)-begin != 7200 {
				t.Errorf("sequence %d, %v", int64(h.Sequence)-begin, err)
			}
			types = append(types, h.Type)
		}
		if diff := cmp.Diff([]Type{TypeSecond}, types); diff != "" {
			t.Error(diff)
		}
		n := w.numbersOf("192.0.2.1")
		if rtt, ok := n.Last(); ok || n.Samples() != 0 {
			t.Errorf("last %v, %d samples", rtt, n.Samples())
		}
	})
}

func TestTheNewestRTTSaysHowOldItIs(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1, 2, 3, 4}, ping))
	w.record("192.0.2.1", ping, 10*time.Millisecond, prefix.Answered)
	w.record("192.0.2.3", ping, 70*time.Millisecond, prefix.Answered)
	w.tick()
	w.tick()
	w.record("192.0.2.2", ping, 20*time.Millisecond, prefix.Answered)
	w.record("192.0.2.3", ping, 0, prefix.Timeout)
	w.tick()
	type last struct {
		rtt  time.Duration
		sent int64 // since epoch
	}
	want := map[string]last{
		"answered before":              {10 * time.Millisecond, 0},
		"answered now":                 {20 * time.Millisecond, 2},
		"a loss came after":            {70 * time.Millisecond, 0},
		"all that answered the newest": {15 * time.Millisecond, 0},
	}
	got := map[string]last{}
	for name, n := range map[string]Numbers{
		"answered before": w.numbersOf("192.0.2.1"), "answered now": w.numbersOf("192.0.2.2"), "a loss came after": w.numbersOf("192.0.2.3"),
		"never": w.numbersOf("192.0.2.4"), "all that answered the newest": w.Total(w.table.Series()[0]),
	} {
		rtt, ok := n.Last()
		sent, same := n.LastSent()
		if ok != same {
			t.Errorf("%s: an RTT %v, a time %v", name, ok, same)
		}
		if ok {
			got[name] = last{rtt, sent - epoch.Unix()}
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(last{})); diff != "" {
		t.Error(diff)
	}
}
