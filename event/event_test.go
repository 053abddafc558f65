package event

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newLog(capacity int) *Log {
	return New(Options{Capacity: capacity, Registerer: prometheus.NewRegistry()})
}

func publish(l *Log, n int) {
	for range n {
		l.Publish(Event{Type: TypeUp})
	}
}

func ids(events []Event) (list []uint64) {
	for _, e := range events {
		list = append(list, e.ID)
	}
	return list
}

func TestEventAsJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for name, test := range map[string]struct {
		event Event
		want  string
	}{
		"a change of state": {
			Event{
				ID: 7, Time: at, Type: TypeDown, Prefix: netip.MustParsePrefix("192.0.2.0/24"),
				IP: netip.MustParseAddr("192.0.2.9"), TargetID: "id", Probe: "tcp", Port: 443,
				From: "up", To: "down", Detail: "refused",
			},
			`{"id":7,"time":"2026-01-02T03:04:05.678Z","type":"down","prefix":"192.0.2.0/24","ip":"192.0.2.9",` +
				`"target_id":"id","probe":"tcp","port":443,"from":"up","to":"down","detail":"refused"}`,
		},
		"fields that do not apply are left out": {
			Event{ID: 8, Time: at, Type: "other"},
			`{"id":8,"time":"2026-01-02T03:04:05.678Z","type":"other"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(test.event)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSince(t *testing.T) {
	for name, test := range map[string]struct {
		published int
		id        uint64
		limit     int
		want      []uint64
	}{
		"an empty log has none":           {0, 0, 10, nil},
		"all, oldest first":               {3, 0, 10, []uint64{1, 2, 3}},
		"those after an ID":               {3, 2, 10, []uint64{3}},
		"none after the last":             {3, 3, 10, nil},
		"none after one yet to come":      {3, 99, 10, nil},
		"as many as asked for":            {3, 0, 2, []uint64{1, 2}},
		"none if none are asked for":      {3, 0, 0, nil},
		"the oldest are forgotten":        {6, 0, 10, []uint64{3, 4, 5, 6}},
		"across the end of the ring":      {6, 3, 10, []uint64{4, 5, 6}},
		"limited across the end":          {6, 2, 3, []uint64{3, 4, 5}},
		"the largest ID begins anew":      {3, math.MaxUint64, 10, []uint64{1, 2, 3}},
		"many rounds of the ring":         {4003, 4000, 10, []uint64{4001, 4002, 4003}},
		"a negative limit asks for none":  {3, 0, -1, nil},
		"exactly as many as the ring has": {4, 0, 4, []uint64{1, 2, 3, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(4)
			publish(l, test.published)
			if diff := cmp.Diff(test.want, ids(l.Since(test.id, test.limit))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFirstIDContinuesAnEarlierRun(t *testing.T) {
	l := New(Options{Capacity: 4, FirstID: 1000, Registerer: prometheus.NewRegistry()})
	if got := l.Publish(Event{Type: TypeUp}); got != 1000 {
		t.Errorf("first ID: got %d", got)
	}
	for _, id := range []uint64{0, 5, 999} { // of the earlier run
		if diff := cmp.Diff([]uint64{1000}, ids(l.Since(id, 10))); diff != "" {
			t.Errorf("since %d: %s", id, diff)
		}
		s := l.SubscribeSince(id, 0)
		if n, missed, err := s.Read(t.Context(), make([]Event, 4)); n != 1 || missed != 0 || err != nil {
			t.Errorf("subscribed since %d: got %d events, %d missed, %v", id, n, missed, err)
		}
		s.Close()
	}
}

func TestReadWaitsForTheNextEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog(8)
		publish(l, 2)
		got := make(chan []uint64, 2)
		read := func(s *Subscription) {
			defer s.Close()
			events := make([]Event, 4)
			n, _, err := s.Read(t.Context(), events)
			if err != nil {
				t.Error(err)
			}
			got <- ids(events[:n])
		}
		go read(l.Subscribe(0))
		go read(l.Subscribe(0))
		synctest.Wait()
		l.Publish(Event{Type: TypeDown})
		for range 2 {
			if diff := cmp.Diff([]uint64{3}, <-got); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func TestReadEnds(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		end  func(*Log, *Subscription)
		want error
	}{
		"with the context":      {cancelled, func(*Log, *Subscription) {}, context.Canceled},
		"with the log":          {context.Background(), func(l *Log, _ *Subscription) { l.Close(); l.Close() }, ErrClosed},
		"with the subscription": {context.Background(), func(_ *Log, s *Subscription) { s.Close(); s.Close() }, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLog(8)
				s := l.Subscribe(0)
				ended := make(chan error)
				go func() {
					_, _, err := s.Read(test.ctx, make([]Event, 1))
					ended <- err
				}()
				synctest.Wait()
				test.end(l, s)
				if err := <-ended; !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			})
		})
	}
}

func TestAClosedLogIsReadToItsEnd(t *testing.T) {
	l := newLog(8)
	s := l.Subscribe(0)
	defer s.Close()
	publish(l, 3)
	l.Close()
	if id := l.Publish(Event{Type: TypeUp}); id != 0 {
		t.Errorf("published %d after the end", id)
	}
	events := make([]Event, 2)
	for _, want := range []int{2, 1} {
		if n, _, err := s.Read(t.Context(), events); n != want || err != nil {
			t.Fatalf("got %d, %v, want %d", n, err, want)
		}
	}
	if _, _, err := s.Read(t.Context(), events); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestASlowReaderIsToldWhatItMissed(t *testing.T) {
	for name, test := range map[string]struct {
		buffer, published int
		wantMissed        uint64
		wantFirst         uint64
	}{
		"nothing while it fits":               {3, 3, 0, 1},
		"the oldest beyond its buffer":        {3, 5, 2, 3},
		"no buffer given is that of the log":  {0, 10, 2, 3},
		"a buffer larger than that is cut":    {100, 10, 2, 3},
		"many rounds of the ring are counted": {8, 8000, 7992, 7993},
	} {
		t.Run(name, func(t *testing.T) {
			r := prometheus.NewRegistry()
			l := New(Options{Capacity: 8, Registerer: r})
			s := l.Subscribe(test.buffer)
			publish(l, test.published)
			if got := l.Drops(); got != test.wantMissed {
				t.Errorf("drops before it reads: got %d, want %d", got, test.wantMissed)
			}
			events := make([]Event, 16)
			n, missed, err := s.Read(t.Context(), events)
			if err != nil || missed != test.wantMissed || events[0].ID != test.wantFirst {
				t.Errorf("got first %d, missed %d, %v; want %d, %d", events[0].ID, missed, err, test.wantFirst, test.wantMissed)
			}
			if want := test.published - int(test.wantMissed); n != want {
				t.Errorf("got %d events, want %d", n, want)
			}
			if got := l.Drops(); got != test.wantMissed {
				t.Errorf("drops after it has read: got %d, want %d", got, test.wantMissed)
			}
			publish(l, 20)
			missedLater := l.Drops()
			s.Close()
			publish(l, 20)
			if got := l.Drops(); got != missedLater {
				t.Errorf("drops of one that has gone: got %d, want %d", got, missedLater)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	l := New(Options{Capacity: 8, Registerer: r})
	defer l.Subscribe(2).Close()
	publish(l, 5)
	l.Publish(Event{Type: TypeDown})
	const want = `
# HELP prefix_exporter_event_drops_total Events that a subscriber missed because it read too slowly.
# TYPE prefix_exporter_event_drops_total counter
prefix_exporter_event_drops_total 4
# HELP prefix_exporter_events_total Events by type, such as changes of an address's state.
# TYPE prefix_exporter_events_total counter
prefix_exporter_events_total{type="dark"} 0
prefix_exporter_events_total{type="down"} 1
prefix_exporter_events_total{type="route"} 0
prefix_exporter_events_total{type="unknown"} 0
prefix_exporter_events_total{type="up"} 5
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// A thousand readers that never read must cost next to nothing: 64 KiB is one place
// each, and far from one queue each.
func TestReadersThatNeverReadCostNoMemory(t *testing.T) {
	l := newLog(1000)
	publish(l, 2000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	subs := make([]*Subscription, 1000)
	for i := range subs {
		subs[i] = l.Subscribe(0)
	}
	publish(l, 20_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("heap grew by %d bytes", grown)
	}
	if got, want := l.Drops(), uint64(1000*19_000); got != want {
		t.Errorf("drops: got %d, want %d", got, want)
	}
	for _, s := range subs {
		s.Close()
	}
}

func TestEveryReaderSeesEveryEventOrIsToldOfIt(t *testing.T) {
	const publishers, each, readers = 4, 2000, 8
	l := newLog(64)
	var reading, publishing sync.WaitGroup
	for i := range readers {
		s := l.Subscribe(8 << (i % 4))
		reading.Go(func() {
			defer s.Close()
			events := make([]Event, 7)
			var seen, missed, last uint64
			for {
				n, m, err := s.Read(context.Background(), events)
				missed += m
				for _, e := range events[:n] {
					if e.ID <= last {
						t.Errorf("event %d after %d", e.ID, last)
					}
					last = e.ID
					seen++
				}
				if err != nil {
					break
				}
			}
			if seen+missed != publishers*each || last != publishers*each {
				t.Errorf("seen %d, missed %d, last %d", seen, missed, last)
			}
		})
	}
	for range publishers {
		publishing.Go(func() {
			for i := range each {
				publish(l, 1)
				if i%100 == 0 {
					l.Drops()
					l.Since(uint64(i), 10)
				}
			}
		})
	}
	publishing.Wait()
	l.Close()
	reading.Wait()
}

func BenchmarkPublish(b *testing.B) {
	for name, readers := range map[string]int{"nobody": 0, "1000 that never read": 1000} {
		b.Run(name, func(b *testing.B) {
			l := newLog(0)
			for range readers {
				defer l.Subscribe(0).Close()
			}
			e := Event{Type: TypeDown, Probe: "icmp", From: "up", To: "down", Detail: "timeout"}
			b.ReportAllocs()
			for b.Loop() {
				l.Publish(e)
			}
		})
	}
}
