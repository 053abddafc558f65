package frame

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/prefix"
)

// TestNumbersAreThoseOfTheLastHour compares with what one gets by keeping every result.
func TestNumbersAreThoseOfTheLastHour(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1, 2}, ping))
	r := rand.New(rand.NewPCG(3, 4))
	type result struct {
		minute int64
		rtt    float64 // 0: lost
		before float64
	}
	results := map[string][]result{}
	before := map[string]float64{}
	for range 100 * 60 { // longer than an hour
		w.now = w.now.Add(time.Second)
		for _, ip := range []string{"192.0.2.1", "192.0.2.2"} {
			if ip == "192.0.2.2" && w.now.Unix()%60 != 7 { // one that is probed once a minute
				continue
			}
			one := result{minute: (w.now.Unix() - 1) / 60} // the results of a minute end with its last second
			if r.IntN(10) > 0 {
				rtt := time.Duration(10e6 + r.ExpFloat64()*1e6)
				one.rtt, one.before = float64(rtt), before[ip]
				before[ip] = float64(rtt)
				w.record(ip, ping, rtt, prefix.Answered)
			} else {
				w.record(ip, ping, 0, prefix.Timeout)
			}
			results[ip] = append(results[ip], one)
		}
		w.Tick(w.now)
	}
	series := w.table.Series()[0]
	alone := map[int]Numbers{1: w.NumbersAt(series, 1), 2: w.NumbersAt(series, 2)} // before all are added up
	numbers := w.Numbers(nil, series)
	minutes, _, newest := w.Minutes(nil, series)
	for place, ip := range map[int]string{1: "192.0.2.1", 2: "192.0.2.2"} {
		var n, lost, sum, squares, diff, diffs float64
		low, high := math.Inf(1), 0.0
		for _, one := range results[ip] {
			switch {
			case one.minute < newest-HistoryMinutes:
			case one.rtt == 0:
				lost++
			default:
				n++
				sum += one.rtt
				squares += one.rtt * one.rtt
				low, high = min(low, one.rtt), max(high, one.rtt)
				if one.before > 0 {
					diff += math.Abs(one.rtt - one.before)
					diffs++
				}
			}
		}
		got := numbers[place]
		if got != alone[place] || got != w.NumbersAt(series, place) {
			t.Errorf("%s: %+v alone, %+v among all", ip, alone[place], got)
		}
		if got.Samples() != int(n+lost) || got.Lost() != int(lost) {
			t.Errorf("%s: %d of %d lost, want %v of %v", ip, got.Lost(), got.Samples(), lost, n+lost)
		}
		near(t, ip+": mean", got.Mean, sum/n, 0.0002)
		near(t, ip+": min", got.Min, low, 0.0002)
		near(t, ip+": max", got.Max, high, 0.0002)
		near(t, ip+": variation", got.Variation, diff/diffs, 0.02) // that of a minute stands for all its RTTs
		near(t, ip+": deviation", got.Deviation, math.Sqrt(squares/n-sum/n*sum/n), 0.002)
		ofPlace := minutes[place*HistoryMinutes:][:HistoryMinutes]
		if one, last := w.MinutesAt(series, place); !slices.Equal(one, ofPlace) || last != newest {
			t.Errorf("%s: other minutes alone than among all", ip)
		}
		total := 0
		for _, m := range ofPlace {
			total += m.Answered + m.Lost
		}
		if want := int(n + lost); total > want || total < want-60 { // the hour less its first minute
			t.Errorf("%s: %d results in the minutes, %d in the numbers", ip, total, want)
		}
	}
}

func TestAPlaceThatIsNotRecordedHasNothing(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1}, ping))
	known, unknown := w.table.Series()[0], newWorld(t, block("198.51.100.0/24", []int{1}, ping)).table.Series()[0]
	for _, test := range []struct {
		name   string
		series *prefix.Series
		place  int
	}{{"a place that is not configured", known, 0}, {"a place beyond the last one", known, prefix.BlockSize}, {"another series", unknown, 1}} {
		t.Run(test.name, func(t *testing.T) {
			if n := w.NumbersAt(test.series, test.place); n != (Numbers{}) {
				t.Errorf("%+v", n)
			}
			minutes, newest := w.MinutesAt(test.series, test.place)
			if want := make([]Minute, HistoryMinutes); !slices.Equal(minutes, want) || newest != w.now.Unix()/60 {
				t.Errorf("%v at %d", minutes, newest)
			}
		})
	}
}

func near(t *testing.T, name string, value func() (time.Duration, bool), want, tolerance float64) {
	t.Helper()
	got, ok := value()
	if !ok || math.Abs(float64(got)/want-1) > tolerance {
		t.Errorf("%s: %v, %v; want %v", name, got, ok, time.Duration(want))
	}
}

func TestNumbersOfMany(t *testing.T) {
	w := newWorld(t, block("192.0.2.0/24", []int{1, 2, 3, 4}, ping))
	for range 3 { // 192.0.2.4 is dark, and does not count
		w.record("192.0.2.1", ping, 10*time.Millisecond, prefix.Answered)
		w.record("192.0.2.2", ping, 30*time.Millisecond, prefix.Answered)
		w.record("192.0.2.3", ping, 90*time.Millisecond, prefix.Answered)
		w.record("192.0.2.4", ping, 0, prefix.Timeout)
		w.tick()
	}
	w.record("192.0.2.3", ping, 0, prefix.Unreachable)
	w.tick()
	var sum Numbers
	for _, n := range w.Numbers(nil, w.table.Series()[0]) {
		sum.Add(&n)
	}
	if sum.Samples() != 10 || sum.Lost() != 1 || sum.Error() != prefix.Unreachable {
		t.Errorf("%d of %d lost by %v", sum.Lost(), sum.Samples(), sum.Error())
	}
	near(t, "last of those that answer", sum.Last, 20e6, 1e-9)
	near(t, "mean", sum.Mean, 130e6/3, 1e-4)
	near(t, "deviation", sum.Deviation, math.Sqrt((1e14+9e14+81e14)/3-130e6/3*130e6/3), 1e-4)
	one := w.Numbers(nil, w.table.Series()[0])[3]
	near(t, "last of one that was lost", one.Last, 90e6, 1e-9)
	var none Numbers
	for name, value := range map[string]func() (time.Duration, bool){
		"min": none.Min, "mean": none.Mean, "max": none.Max, "last": none.Last, "variation": none.Variation, "deviation": none.Deviation,
	} {
		if got, ok := value(); ok {
			t.Errorf("%s of nothing is %v", name, got)
		}
	}
}

func TestHistory(t *testing.T) {
	answered := func(w *world) int {
		minutes, _, _ := w.Minutes(nil, w.table.Series()[0])
		sum := 0
		for _, m := range minutes[HistoryMinutes:][:HistoryMinutes] {
			sum += m.Answered
		}
		return sum
	}
	both := []int{1, 2}
	for _, test := range []struct {
		name  string
		after func(*world)
		want  int
	}{
		{"is kept", func(*world) {}, 120},
		{"is kept over a reload of other addresses", func(w *world) {
			w.table.Apply([]prefix.Block{block("192.0.2.0/24", []int{1, 3}, ping), block("198.51.100.0/24", both, ping)})
		}, 120},
		{"goes with its address", func(w *world) {
			w.table.Apply([]prefix.Block{block("192.0.2.0/24", []int{2}, ping)})
			w.tick()
			w.table.Apply([]prefix.Block{block("192.0.2.0/24", both, ping)})
		}, 0},
		{"goes with its address, also between two frames", func(w *world) {
			w.table.Apply([]prefix.Block{block("192.0.2.0/24", []int{2}, ping)})
			w.table.Apply([]prefix.Block{block("192.0.2.0/24", both, ping)})
		}, 0},
		{"goes with time", func(w *world) { w.now = w.now.Add(58 * time.Minute) }, 60},
		{"goes with more time", func(w *world) { w.now = w.now.Add(30 * time.Hour) }, 0},
		{"is kept while the clock goes back a little", func(w *world) { w.now = w.now.Add(-30 * time.Second) }, 120},
		{"means nothing when the clock goes back far", func(w *world) { w.now = w.now.Add(-time.Hour) }, 0},
		{"means nothing before 1970", func(w *world) { w.now = time.Unix(-1000, 0) }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, block("192.0.2.0/24", both, ping))
			for range 120 {
				w.record("192.0.2.1", ping, time.Millisecond, prefix.Answered)
				w.tick()
			}
			test.after(w)
			w.tick()
			if got := answered(w); got != test.want {
				t.Errorf("%d answers, want %d", got, test.want)
			}
		})
	}
}

func TestMinutesKnowTheNewestCause(t *testing.T) {
	const answered, timeout, unreachable, refused = prefix.Answered, prefix.Timeout, prefix.Unreachable, prefix.Refused
	for _, test := range []struct {
		name   string
		minute []prefix.Outcome // all of it
		lost   int
		want   prefix.Outcome
	}{
		{"of one probe", []prefix.Outcome{refused}, 1, refused},
		{"of many", []prefix.Outcome{timeout, timeout, unreachable}, 3, unreachable},
		{"before an answer", []prefix.Outcome{unreachable, timeout, answered}, 2, timeout},
		{"unless nothing was lost", []prefix.Outcome{answered, answered}, 0, answered},
		{"unless there was nothing", nil, 0, answered},
		{"of more than are counted", slices.Repeat([]prefix.Outcome{unreachable}, 9000), 8191, unreachable},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, block("192.0.2.0/24", []int{0}, ping))
			w.record("192.0.2.0", ping, time.Millisecond, answered) // not dark, of which no loss counts
			w.tick()
			w.now = w.now.Truncate(time.Minute).Add(time.Minute)
			w.Tick(w.now)
			for i, outcome := range test.minute {
				w.record("192.0.2.0", ping, time.Millisecond, outcome)
				if i%100 == 99 { // as many as are kept until they are read
					w.Tick(w.now)
				}
			}
			w.Tick(w.now)
			running, _, _ := w.Minutes(nil, w.table.Series()[0])
			w.Tick(w.now.Add(time.Minute))
			whole, _, _ := w.Minutes(nil, w.table.Series()[0])
			for _, m := range []Minute{running[HistoryMinutes-1], whole[HistoryMinutes-2]} {
				lost := min(m.Lost, 8191) // while the minute runs all are counted
				if lost != test.lost || m.Cause != test.want {
					t.Errorf("%d lost by %v, want %d by %v", m.Lost, m.Cause, test.lost, test.want)
				}
			}
		})
	}
}

// TestSecondsAreThoseOfAllAddresses has two prefixes with ICMP, one of which goes with a reload, and
// an address that is dark.
func TestSecondsAreThoseOfAllAddresses(t *testing.T) {
	first := block("192.0.2.0/24", []int{1, 2}, ping, https)
	w := newWorld(t, first, block("198.51.100.0/24", []int{1}, ping))
	w.tick()
	begin := w.now.Unix()
	w.record("192.0.2.1", ping, 10*time.Millisecond, prefix.Answered)
	w.record("192.0.2.1", ping, 20*time.Millisecond, prefix.Answered)
	w.record("198.51.100.1", ping, 60*time.Millisecond, prefix.Answered)
	w.record("192.0.2.2", ping, 0, prefix.Timeout) // dark: it has never answered
	w.record("192.0.2.1", https, 5*time.Millisecond, prefix.Answered)
	w.tick()
	w.record("192.0.2.1", ping, 0, prefix.Timeout)
	w.tick()
	w.table.Apply([]prefix.Block{first})
	w.tick()
	w.record("192.0.2.1", ping, 30*time.Millisecond, prefix.Answered)
	w.tick()
	check := func(p prefix.Probe, want map[int64]Second) {
		t.Helper()
		seconds, from := w.Seconds(p)
		if from != w.now.Unix()-kept {
			t.Errorf("the first second is %d, want %d", from, w.now.Unix()-kept)
		}
		got := map[int64]Second{}
		for i, s := range seconds {
			if s != (Second{}) {
				got[from+int64(i)-begin] = s
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v: %s", p, diff)
		}
	}
	check(ping, map[int64]Second{0: {Answered: 3, Sum: 90 * time.Millisecond}, 1: {Lost: 1}, 3: {Answered: 1, Sum: 30 * time.Millisecond}})
	check(https, map[int64]Second{0: {Answered: 1, Sum: 5 * time.Millisecond}})
	for range kept - 3 {
		w.tick()
	}
	check(ping, map[int64]Second{1: {Lost: 1}, 3: {Answered: 1, Sum: 30 * time.Millisecond}})
	w.now = w.now.Add(-time.Hour) // the clock is set back: what was is not of the last minute
	w.tick()
	check(ping, map[int64]Second{})
}

func TestReferences(t *testing.T) {
	b := block("192.0.2.0/24", []int{1, 2}, ping)
	b.NominalRTT = 40 * time.Millisecond
	w := newWorld(t, b)
	for i := range 3 {
		w.record("192.0.2.1", ping, time.Duration(10+10*i)*time.Millisecond, prefix.Answered)
		w.tick()
	}
	for kind, want := range map[Reference]string{
		Nominal: "4 @3 0/1:40ms 0/2:40ms", Min: "4 @3 0/1:10ms", Mean: "4 @3 0/1:20ms", Max: "4 @3 0/1:30ms", Variation: "4 @3 0/1:10ms",
	} {
		message, err := w.Reference(kind)
		if err != nil {
			t.Fatal(err)
		}
		check(t, story(t, [][]byte{message}), want)
	}
}
