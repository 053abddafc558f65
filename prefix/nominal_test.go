package prefix

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var parisian = netip.MustParsePrefix("192.0.2.0/24")

// learning runs a table in a bubble whose addresses answer once a second after what rtt
// says of the minute; a negative one is silence.
func learning(t *testing.T, minutes int, rtt func(minute int) time.Duration, check func(minute int, got time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		table := NewTable(nil)
		table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, rule(ping, ExpectSeen), rule(http, ExpectSeen))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- table.Run(ctx) }()
		for minute := range minutes {
			for range 60 {
				time.Sleep(time.Second)
				base := rtt(minute)
				if base < 0 {
					continue
				}
				for i, addr := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
					// One address is near, one is far: the median is between them.
					table.Record(handle(t, table, addr, ping), time.Now(), Answered, base*time.Duration(1+i)/2)
				}
				table.Record(handle(t, table, "192.0.2.1", http), time.Now(), Answered, time.Microsecond)
			}
			check(minute, table.NominalRTT(parisian))
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// near is within what samples can tell apart.
func near(got, want time.Duration) bool {
	return (got - want).Abs() <= want/2000
}

func TestReferenceIsTheLowestMedianOfADay(t *testing.T) {
	const day = nominalMinutes
	learning(t, day+40,
		func(minute int) time.Duration {
			if minute == 30 || minute == 31 {
				return 20 * time.Millisecond // two good minutes: one of them is seen as a whole
			}
			return 40 * time.Millisecond
		},
		func(minute int, got time.Duration) {
			switch {
			case minute == 0:
			case minute < 30 || minute > day+33:
				if !near(got, 40*time.Millisecond) {
					t.Fatalf("minute %d: %v, want 40ms", minute, got)
				}
			case minute > 32 && minute < day+30:
				if !near(got, 20*time.Millisecond) {
					t.Fatalf("minute %d: %v, want 20ms", minute, got)
				}
			}
		})
}

// TestTheQuickAnswersOfASecondAreNoReference has one address answer at once and one when the next second
// has begun, as after a start or an outage.
func TestTheQuickAnswersOfASecondAreNoReference(t *testing.T) {
	table := NewTable(nil)
	table.Apply([]Block{blockOf("192.0.2.0/24", []string{"192.0.2.1", "192.0.2.2"}, rule(ping, ExpectSeen))})
	s := table.Series()[0]
	for second := range 5 {
		if second > 0 {
			table.Record(handle(t, table, "192.0.2.2", ping), time.Unix(int64(1000+second-1), 0), Answered, 900*time.Millisecond)
		}
		table.Record(handle(t, table, "192.0.2.1", ping), time.Unix(int64(1000+second), 0), Answered, time.Millisecond)
		got, _ := s.median(nil)
		if rtt, ok := got.RTT(); ok != (second >= openSeconds) || ok && !near(rtt, 900*time.Millisecond) {
			t.Errorf("second %d: %v (%t), want 900ms from second %d on", second, rtt, ok, openSeconds)
		}
	}
}

func TestReferenceIsNeverBelowAMillisecond(t *testing.T) {
	learning(t, 3, func(int) time.Duration { return 10 * time.Microsecond }, func(minute int, got time.Duration) {
		if minute == 2 && got != NominalFloor {
			t.Errorf("got %v", got)
		}
	})
}

func TestThereIsNoReferenceBeforeAnAnswer(t *testing.T) {
	learning(t, 3, func(int) time.Duration { return -1 }, func(_ int, got time.Duration) {
		if got != 0 {
			t.Errorf("got %v", got)
		}
	})
}

func TestAConfiguredReferenceIsTaken(t *testing.T) {
	for configured, want := range map[time.Duration]time.Duration{40 * time.Millisecond: 40 * time.Millisecond, time.Microsecond: NominalFloor} {
		b := blockOf("192.0.2.0/24", []string{"192.0.2.1"}, rule(ping, ExpectSeen))
		b.NominalRTT = configured
		table := NewTable(nil)
		table.Apply([]Block{b})
		if got := table.NominalRTT(parisian); got != want {
			t.Errorf("configured %v: got %v, want %v", configured, got, want)
		}
	}
	if got := NewTable(nil).NominalRTT(parisian); got != 0 {
		t.Errorf("of no such prefix: %v", got)
	}
}
