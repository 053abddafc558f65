package event

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestLast(t *testing.T) {
	odd := func(e *Event) bool { return e.ID%2 == 1 }
	all := func(*Event) bool { return true }
	for name, test := range map[string]struct {
		published, limit int
		match            func(*Event) bool
		want             []uint64
	}{
		"of an empty log":              {0, 3, all, nil},
		"as many as asked for":         {4, 2, all, []uint64{3, 4}},
		"as many as there are":         {2, 5, all, []uint64{1, 2}},
		"as many as are kept":          {9, 9, all, []uint64{6, 7, 8, 9}},
		"those that match":             {9, 9, odd, []uint64{7, 9}},
		"the newest of those":          {9, 1, odd, []uint64{9}},
		"none":                         {9, 0, all, nil},
		"none matches":                 {9, 9, func(*Event) bool { return false }, nil},
		"across the end of the ring":   {6, 3, all, []uint64{4, 5, 6}},
		"a negative limit is for none": {9, -1, all, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLog(4)
			publish(l, test.published)
			if diff := cmp.Diff(test.want, ids(l.Last(test.limit, test.match))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGone(t *testing.T) {
	l := New(Options{Capacity: 4, FirstID: 100, Registerer: prometheus.NewRegistry()})
	publish(l, 10) // 100 to 109, of which 106 to 109 are kept
	for id, want := range map[uint64]uint64{0: 6, 99: 6, 100: 5, 104: 1, 105: 0, 109: 0, 200: 0} {
		if got := l.Gone(id); got != want {
			t.Errorf("after %d: %d gone, want %d", id, got, want)
		}
	}
}
