package frame

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"prefix_exporter/prefix"
)

var (
	epoch = time.Unix(1_800_000_000, 0) // the beginning of a minute
	ping  = prefix.Probe{}
	https = prefix.Probe{Kind: prefix.TCP, Port: 443}
)

// block makes a prefix whose addresses, by their last octet, all have these probes.
func block(p string, places []int, probes ...prefix.Probe) prefix.Block {
	b := prefix.Block{Prefix: netip.MustParsePrefix(p)}
	for _, i := range places {
		ip := b.Prefix.Addr().AsSlice()
		ip[len(ip)-1] = byte(i)
		addr, _ := netip.AddrFromSlice(ip)
		target := prefix.Target{Addr: addr}
		for _, probe := range probes {
			target.Probes = append(target.Probes, prefix.TargetProbe{Probe: probe, DownAfter: 2, UpAfter: 1})
		}
		b.Targets = append(b.Targets, target)
	}
	return b
}

// world is a Recorder with its table, and a clock that the test moves.
type world struct {
	t     *testing.T
	table *prefix.Table
	*Recorder
	now time.Time
}

func newWorld(t *testing.T, blocks ...prefix.Block) *world {
	t.Helper()
	w := &world{t: t, table: prefix.NewTable(nil), now: epoch}
	w.table.Apply(blocks)
	w.Recorder = New(Options{Table: w.table, Registerer: prometheus.NewRegistry()})
	w.Tick(w.now)
	return w
}

// record puts a result into the table; no RTT: a loss by this outcome.
func (w *world) record(ip string, p prefix.Probe, rtt time.Duration, o prefix.Outcome) {
	w.t.Helper()
	h, ok := w.table.Handle(netip.MustParseAddr(ip), p)
	if !ok {
		w.t.Fatalf("no slot for %s", ip)
	}
	w.table.Record(h, w.now, o, rtt)
}

// tick makes the frame of a second later.
func (w *world) tick() {
	w.now = w.now.Add(time.Second)
	w.Tick(w.now)
}

// story reads messages: type, sequence since epoch and flags, and the codes of the rest.
func story(t *testing.T, messages [][]byte) (lines []string) {
	t.Helper()
	for _, data := range messages {
		m, err := NewDecoder(bytes.NewReader(data)).Next()
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%d @%d", m.Type, int64(m.Sequence)-epoch.Unix())
		if m.Flags != 0 {
			line += fmt.Sprintf(" flags %d", m.Flags)
		}
		if m.Type != TypeLayout {
			if err := Decode(m.Body, func(series int, place uint8, c Code) {
				line += fmt.Sprintf(" %d/%d:", series, place)
				if rtt, ok := c.RTT(); ok {
					line += rtt.Round(time.Millisecond).String()
				} else {
					line += fmt.Sprint(c)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// next reads what there is, without waiting.
func next(t *testing.T, s *Subscription) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	messages, err := s.Next(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return story(t, messages)
}

func check(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestASecondIsWhatWasDecidedInIt(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1, 2, 3}, ping, https))
	s := w.Subscribe(0)
	defer s.Close()
	check(t, next(t, s), "1 @0", "2 @0")
	check(t, next(t, s)) // nothing twice
	w.record("192.0.2.1", ping, 10*time.Millisecond, prefix.Answered)
	w.record("192.0.2.2", ping, 20*time.Millisecond, prefix.Answered)
	w.record("192.0.2.3", ping, 0, prefix.Timeout)
	w.tick()
	check(t, next(t, s), "3 @1 0/1:10ms 0/2:20ms 0/3:33") // dark
	w.record("192.0.2.2", ping, 0, prefix.Unreachable)
	w.record("192.0.2.2", https, 5*time.Millisecond, prefix.Answered)
	w.tick()
	check(t, next(t, s), "3 @2 0/2:2 1/2:5ms") // lost once, and still up
	w.record("192.0.2.2", ping, 0, prefix.Unreachable)
	w.tick()
	check(t, next(t, s), "3 @3 0/2:18") // lost twice, and down
	w.tick()
	check(t, next(t, s), "3 @4") // a second without news is told, too
	late := w.Subscribe(0)
	defer late.Close()
	check(t, next(t, late), "1 @0", "2 @4 0/1:10ms 0/2:18 0/3:33 1/2:5ms")
}

func TestALossWinsOverAnAnswerOfTheSameSecond(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1, 2}, ping))
	s := w.Subscribe(0)
	defer s.Close()
	next(t, s)
	for _, ip := range []string{"192.0.2.1", "192.0.2.2"} {
		w.record(ip, ping, 10*time.Millisecond, prefix.Answered)
	}
	w.record("192.0.2.1", ping, 0, prefix.Timeout)
	w.record("192.0.2.1", ping, 11*time.Millisecond, prefix.Answered)
	w.record("192.0.2.2", ping, 12*time.Millisecond, prefix.Answered)
	w.tick()
	check(t, next(t, s), "3 @1 0/1:1 0/2:12ms")
	full := w.Subscribe(0)
	defer full.Close()
	check(t, next(t, full), "1 @0", "2 @1 0/1:11ms 0/2:12ms") // the newest
}

func TestSubscribers(t *testing.T) {
	answer := func(w *world) {
		w.record("192.0.2.1", ping, 10*time.Millisecond, prefix.Answered)
		w.tick()
	}
	start := func(t *testing.T) *world { return newWorld(t, block("192.0.2.0/24", []int{1}, ping)) }
	t.Run("one that resumes gets the seconds since", func(t *testing.T) {
		w := start(t)
		for range 5 {
			answer(w)
		}
		s := w.Subscribe(uint64(epoch.Unix() + 3))
		defer s.Close()
		check(t, next(t, s), "1 @0", "3 @4 0/1:10ms", "3 @5 0/1:10ms")
		answer(w)
		check(t, next(t, s), "3 @6 0/1:10ms")
	})
	t.Run("one that resumes at the newest second gets the next one", func(t *testing.T) {
		w := start(t)
		answer(w)
		s := w.Subscribe(uint64(epoch.Unix() + 1))
		defer s.Close()
		answer(w)
		check(t, next(t, s), "1 @0", "3 @2 0/1:10ms")
	})
	for name, after := range map[string]int64{"too long ago": 1, "in the future": 1000, "before the first frame": -10} {
		t.Run("one that resumes "+name+" begins anew", func(t *testing.T) {
			w := start(t)
			for range kept + 5 {
				answer(w)
			}
			s := w.Subscribe(uint64(epoch.Unix() + after))
			defer s.Close()
			check(t, next(t, s), "1 @0", "2 @65 0/1:10ms")
		})
	}
	t.Run("one that resumes a minute ago gets all of it in portions", func(t *testing.T) {
		w := start(t)
		for range kept {
			answer(w)
		}
		s := w.Subscribe(uint64(epoch.Unix() + 1))
		defer s.Close()
		var all []string
		for range kept {
			all = append(all, next(t, s)...)
		}
		if len(all) != 1+kept-1 || all[1] != "3 @2 0/1:10ms" || all[kept-1] != "3 @60 0/1:10ms" {
			t.Errorf("%d messages: %v", len(all), all)
		}
	})
	t.Run("one that is slow is skipped forward and told so", func(t *testing.T) {
		w := start(t)
		s := w.Subscribe(0)
		defer s.Close()
		next(t, s)
		for range maxLag {
			answer(w)
		}
		if got := next(t, s); len(got) != maxLag {
			t.Errorf("within its lag: %v", got)
		}
		for range maxLag + 1 {
			answer(w)
		}
		check(t, next(t, s), "2 @21 flags 1 0/1:10ms")
		answer(w)
		check(t, next(t, s), "3 @22 0/1:10ms")
		if w.skipped != maxLag {
			t.Errorf("%d seconds skipped, want %d", w.skipped, maxLag)
		}
	})
	t.Run("one gets the new layout after a reload", func(t *testing.T) {
		w := start(t)
		s := w.Subscribe(0)
		defer s.Close()
		next(t, s)
		answer(w)
		next(t, s)
		w.table.Apply([]prefix.Block{block("192.0.2.0/24", []int{1}, ping), block("198.51.100.0/24", []int{9}, ping)})
		w.record("198.51.100.9", ping, time.Second, prefix.Answered)
		w.tick()
		w.record("198.51.100.9", ping, time.Second, prefix.Answered)
		check(t, next(t, s), "1 @2", "2 @2 0/1:10ms")
		w.tick()
		check(t, next(t, s), "3 @3 1/9:1s")
		resumed := w.Subscribe(uint64(epoch.Unix() + 1))
		defer resumed.Close()
		check(t, next(t, resumed), "1 @2", "2 @3 0/1:10ms 1/9:1s") // what was before is of another layout
	})
	t.Run("one begins anew when the clock is set back", func(t *testing.T) {
		w := start(t)
		s := w.Subscribe(0)
		defer s.Close()
		next(t, s)
		answer(w)
		next(t, s)
		w.now = w.now.Add(-time.Hour)
		w.tick()
		check(t, next(t, s), "2 @-3598 0/1:10ms")
		answer(w)
		check(t, next(t, s), "3 @-3597 0/1:10ms")
	})
}

func TestTroublesAreFlagged(t *testing.T) {
	troubled := false
	table := prefix.NewTable(nil)
	r := New(Options{Table: table, Troubled: func() bool { return troubled }})
	s := r.Subscribe(0)
	defer s.Close()
	check(t, next(t, s)) // no frame yet
	r.Tick(epoch)
	check(t, next(t, s), "1 @0", "2 @0")
	troubled = true
	r.Tick(epoch.Add(time.Second))
	check(t, next(t, s), "3 @1 flags 2")
}

func TestLayout(t *testing.T) {
	b := block("192.0.2.0/24", []int{0, 1, 2, 9, 255}, ping, https)
	b.Name, b.Router, b.Tenants, b.Labels = "<PAR>", "PA2", []string{"a"}, []prefix.Label{{Name: "site", Value: "x"}}
	b.Targets[3].Name = "mail"
	b.Targets[4].Probes = b.Targets[4].Probes[:1]
	w := newWorld(t, b, block("2001:db8::/64", []int{7, 8}, ping))
	s := w.Subscribe(0)
	defer s.Close()
	messages, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got Layout
	if err := json.Unmarshal(messages[0][headerSize:], &got); err != nil {
		t.Fatal(err)
	}
	if got.Scale.First != 64 || got.Scale.MinSeconds != 1e-6 {
		t.Errorf("scale %+v", got.Scale)
	}
	for _, rtt := range []time.Duration{time.Microsecond, 12345 * time.Microsecond, 60 * time.Second} {
		code := Code(prefix.NewSample(prefix.Answered, rtt))
		seconds := got.Scale.MinSeconds * math.Pow(got.Scale.Ratio, float64(code-got.Scale.First))
		if math.Abs(seconds/rtt.Seconds()-1) > 0.0002 {
			t.Errorf("%v is %v s by the scale", rtt, seconds)
		}
	}
	want := Layout{
		Revision: uint32(epoch.Unix()), Scale: got.Scale,
		Prefixes: []LayoutPrefix{
			{
				Prefix: b.Prefix, Name: "<PAR>", Router: "PA2", Tenants: []string{"a"}, Labels: map[string]string{"site": "x"},
				Size: 256, Places: "0-2,9,255", Names: map[int]string{9: "mail"},
			},
			{
				Prefix: netip.MustParsePrefix("2001:db8::/64"), Tenants: []string{}, Labels: map[string]string{},
				Size: 2, Places: "0-1", Names: map[int]string{}, IPs: []string{"2001:db8::7", "2001:db8::8"},
			},
		},
		Series: []LayoutSeries{
			{Prefix: 0, Probe: "icmp"}, {Prefix: 0, Probe: "tcp", Port: 443, Places: "0-2,9"}, {Prefix: 1, Probe: "icmp"},
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestTap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, block("192.0.2.0/24", []int{1}, ping), block("198.51.100.0/24", []int{1}, ping))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		tap := w.Tap(netip.MustParsePrefix("192.0.2.0/24"), netip.Addr{})
		time.Sleep(10 * time.Millisecond)
		w.now = time.Now()
		w.record("192.0.2.1", ping, 5*time.Millisecond, prefix.Answered)
		w.record("198.51.100.1", ping, 5*time.Millisecond, prefix.Answered)
		w.record("192.0.2.1", ping, 0, prefix.Timeout)
		got := make([]Probe, 4)
		n, missed, err := tap.Read(ctx, got)
		if time.Since(w.now) > tapInterval {
			t.Errorf("told after %v", time.Since(w.now))
		}
		addr := netip.MustParseAddr("192.0.2.1")
		want := []Probe{
			{Sent: w.now, Addr: addr, Probe: ping, Outcome: prefix.Answered, RTT: 5 * time.Millisecond},
			{Sent: w.now, Addr: addr, Probe: ping, Outcome: prefix.Timeout},
		}
		same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
		if diff := cmp.Diff(want, got[:n], same, cmpopts.IgnoreUnexported(Probe{})); diff != "" || missed != 0 || err != nil {
			t.Errorf("%s; %d missed, %v", diff, missed, err)
		}
		for range tapCapacity/10 + 1 {
			for range 10 {
				w.record("192.0.2.1", ping, time.Millisecond, prefix.Answered)
			}
			time.Sleep(tapInterval)
		}
		time.Sleep(tapInterval / 2) // not at the instant in which they are read
		if n, missed, err = tap.Read(ctx, got); n != 4 || missed != 10-tapCapacity%10 || err != nil {
			t.Errorf("after too much: %d results, %d missed, %v", n, missed, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for err = nil; err == nil; {
			_, _, err = tap.Read(t.Context(), got)
		}
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		tap.Close()
		tap.Close()
		if len(w.taps) != 0 {
			t.Error("the ring stays")
		}
	})
}

func TestTapOfOneAddress(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1, 2}, ping))
	w.tick()
	tap := w.Tap(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddr("192.0.2.2"))
	defer tap.Close()
	w.record("192.0.2.1", ping, time.Millisecond, prefix.Answered)
	w.record("192.0.2.2", ping, 2*time.Millisecond, prefix.Answered)
	w.record("192.0.2.1", ping, 3*time.Millisecond, prefix.Answered)
	w.tick()
	got := make([]Probe, 3)
	n, missed, err := tap.Read(t.Context(), got)
	if n != 1 || missed != 0 || err != nil || got[0].RTT != 2*time.Millisecond {
		t.Errorf("%d results, %d missed, %v: %v", n, missed, err, got[:n])
	}
}

// TestTextOfAProbe lets many readers ask for the text of the same results: it is made once, but for
// results that are too old to have kept it.
func TestTextOfAProbe(t *testing.T) {
	const readers, results = 20, tapTexts + 7
	w := newWorld(t, block("192.0.2.0/24", []int{1}, ping))
	w.tick()
	var taps []*Tap
	for range readers {
		tap := w.Tap(netip.MustParsePrefix("192.0.2.0/24"), netip.Addr{})
		defer tap.Close()
		taps = append(taps, tap)
	}
	for i := range results {
		w.record("192.0.2.1", ping, time.Duration(i+1)*time.Millisecond, prefix.Answered)
		if i%100 == 99 { // as many as are kept until they are read
			w.tick()
		}
	}
	w.tick()
	var made atomic.Int32
	write := func(p *Probe) []byte {
		made.Add(1)
		return []byte(p.RTT.String())
	}
	var all sync.WaitGroup
	for _, tap := range taps {
		all.Go(func() {
			got := make([]Probe, results)
			if n, missed, err := tap.Read(t.Context(), got); n != results || missed != 0 || err != nil {
				t.Errorf("%d results, %d missed, %v", n, missed, err)
			}
			for i := range got {
				if text := string(got[i].Text(write)); text != (time.Duration(i+1) * time.Millisecond).String() {
					t.Errorf("result %d is %q", i, text)
				}
			}
		})
	}
	all.Wait()
	if want := tapTexts + 7*readers; int(made.Load()) != want {
		t.Errorf("made %d times, want %d", made.Load(), want)
	}
}

func TestRunMakesAFrameEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := prefix.NewTable(nil)
		r := New(Options{Table: table})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		s := r.Subscribe(0)
		var times []int64
		begin := time.Now().Unix()
		for range 5 {
			messages, err := s.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			h, err := ParseHeader(messages[len(messages)-1])
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, int64(h.Sequence)-begin)
		}
		if diff := cmp.Diff([]int64{0, 1, 2, 3, 4}, times); diff != "" {
			t.Error(diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		s.Close()
		s.Close()
	})
}

func TestResultsThatWereNotReadAreCounted(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1}, ping))
	for range 128*prefix.BlockSize + 3 {
		w.record("192.0.2.1", ping, time.Millisecond, prefix.Answered)
	}
	w.tick()
	if got := testutil.ToFloat64(w.missed); got != 3 {
		t.Errorf("%v missed, want 3", got)
	}
}
