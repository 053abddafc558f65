package frame

import (
	"net/netip"
	"slices"
	"time"

	"prefix_exporter/prefix"
)

// track follows one series. It is guarded by Recorder.mu.
type track struct {
	series *prefix.Series
	info   *prefix.Block
	addrs  []netip.Addr // by place, as all that follow
	slots  []slot
	latest []Code // the newest result, or that there is none that may be shown
	news   []Code // what was decided since the last frame: a loss, if there was one
	isNew  bool   // news has something
	second Second // what was decided since the last frame

	history [HistoryMinutes]column // the minute m is at m % HistoryMinutes
	// hours are the sums over history, which are made when somebody asks, and are good
	// until the minute hoursUntil begins.
	hours      []sums
	allHours   sums // of hours
	hoursUntil int64
}

// slot is one address under the probe of its track.
type slot struct {
	generation uint32 // that of the prefix.Slot
	configured bool
	before     time.Duration // the newest RTT; 0: none
	answered   int64         // when the probe was sent that before is of, in Unix seconds
	now        sums          // of the minute that runs
}

// only returns the sample of a minute of at most one result.
func (s *slot) only() prefix.Sample {
	switch {
	case s.now.answered > 0:
		return s.now.min
	case s.now.lost > 0:
		return prefix.Sample(s.now.cause)
	}
	return prefix.NoSample
}

// fit makes the places those of the series as it is now. An address that stays at its
// place keeps what is known of it.
func (t *track) fit(snap *prefix.Snapshot) {
	t.series.Snapshot(snap)
	t.info, t.addrs = snap.Info, snap.Addrs
	for len(t.slots) < len(snap.Slots) {
		t.slots = append(t.slots, slot{})
		t.latest = append(t.latest, None)
		t.news = append(t.news, None)
	}
	for i := range snap.Slots {
		to, from := &t.slots[i], &snap.Slots[i]
		if !to.configured || !from.Configured || to.generation != from.Generation() {
			*to = slot{configured: from.Configured, generation: from.Generation()}
			t.latest[i], t.news[i] = None, None
			for m := range t.history {
				t.history[m].forget(i)
			}
		}
		if from.Configured {
			t.latest[i] = t.latest[i].as(from)
		}
	}
	t.hoursUntil = 0
}

// follows says whether a result is of an address that is followed, and not of one that was at its
// place before a reload.
func (t *track) follows(r *prefix.Result) bool {
	place := int(r.Place)
	return place < len(t.slots) && t.slots[place].configured && t.slots[place].generation == r.Generation
}

// take adds one result, if it is of an address that is followed.
func (t *track) take(r *prefix.Result) {
	if !t.follows(r) {
		return
	}
	place := int(r.Place)
	s := &t.slots[place]
	c := NewCode(r.Sample, r.State())
	t.latest[place] = c
	t.isNew = true
	answered := r.Sample >= prefix.FirstRTT
	if !answered || !t.news[place].isLoss() {
		t.news[place] = c
	}
	switch {
	case answered:
		rtt := max(r.RTT, 1) // 0 stands for none
		s.now.answer(r.Sample, rtt, s.before)
		t.second.add(Second{Answered: 1, Sum: rtt})
		s.before, s.answered = rtt, r.Sent/int64(time.Second)
	case r.Counted():
		s.now.lose(r.Sample)
		t.second.add(Second{Lost: 1})
	}
}

// addTo adds the second that ends to that of its probe, and begins a new one.
func (t *track) addTo(totals []total) []total {
	if t.second == (Second{}) {
		return totals
	}
	probe := t.series.Probe()
	i := slices.IndexFunc(totals, func(o total) bool { return o.probe == probe })
	if i < 0 {
		i = len(totals)
		totals = append(totals, total{probe: probe})
	}
	totals[i].add(t.second)
	t.second = Second{}
	return totals
}

// turn ends the minute from and begins the minute to, which comes after it.
func (t *track) turn(from, to int64) {
	t.history[from%HistoryMinutes].fill(t.slots)
	for m := from + 1; m < to && m <= from+HistoryMinutes; m++ {
		t.history[m%HistoryMinutes] = column{}
	}
}

// reset forgets all minutes.
func (t *track) reset() {
	t.history = [HistoryMinutes]column{}
	t.hoursUntil = 0
	for i := range t.slots {
		t.slots[i].now = sums{}
	}
}

// sumUp adds up the whole minutes before now for all places, unless that has been done.
func (t *track) sumUp(now int64) {
	if t.summedUp(now) {
		return
	}
	hours := slices.Grow(t.hours[:0], len(t.slots))
	t.allHours = sums{}
	for i := range t.slots {
		hours = append(hours, t.hour(i, now))
		t.allHours.add(&hours[i])
	}
	t.hours, t.hoursUntil = hours, now+1
}

func (t *track) summedUp(now int64) bool { return t.hoursUntil == now+1 }

// hour adds up the whole minutes before now of one place.
func (t *track) hour(place int, now int64) (s sums) {
	if t.summedUp(now) {
		return t.hours[place]
	}
	var before time.Duration
	for m := now; m < now+HistoryMinutes; m++ { // the oldest is where the one that runs will be
		before = t.history[m%HistoryMinutes].addTo(&s, place, before)
	}
	return s
}

// numbers returns those of one place in the hour up to now.
func (t *track) numbers(place int, now int64) Numbers {
	hour := t.hour(place, now)
	n := t.running(place, &hour)
	hour.add(&n.sums)
	n.sums = hour
	return n
}

// total returns those of all places in the hour up to now.
func (t *track) total(now int64) (n Numbers) {
	t.sumUp(now)
	n.sums = t.allHours
	for i := range t.slots {
		one := t.running(i, &t.hours[i])
		n.Add(&one)
	}
	return n
}

// running returns the minute that runs of one place and what its newest result says; hour is what came before it.
func (t *track) running(place int, hour *sums) (n Numbers) {
	s := &t.slots[place]
	n.sums = s.now
	code := t.latest[place]
	if code.isUnknown() || code == LeftOut { // what was measured last is not how it is now
		n.stale = true
		return n
	}
	if hour.answered+s.now.answered > 0 && s.before > 0 {
		n.last, n.lasts, n.lastSent = float64(s.before), 1, s.answered
	}
	if o, state, ok := code.Lost(); ok {
		n.stale = true
		if state != prefix.Dark {
			n.causes[o] = 1
		}
	}
	return n
}

// minutes appends HistoryMinutes minutes of one place, oldest first, of which the last is now.
func (t *track) minutes(dst []Minute, place int, now int64) []Minute {
	var before time.Duration
	for m := now + 1; m < now+HistoryMinutes; m++ {
		var s sums
		before = t.history[m%HistoryMinutes].addTo(&s, place, before)
		dst = append(dst, newMinute(&s))
	}
	return append(dst, newMinute(&t.slots[place].now))
}
