package prefix

import "time"

// Reject counts a probe that was lost, as Record does, and that somebody declared lost.
func (t *Table) Reject(h Handle, sent time.Time, why Cause) { t.record(h, sent, why, 0) }

// Unmeasured notes why a probe could not be sent, or why its outcome cannot be known: one of
// a few words that never change, which becomes a label. It is neither a loss nor an answer.
func (t *Table) Unmeasured(h Handle, obstacle string) {
	h.with(func(s *Series, slot *Slot) { slot.Obstacle = obstacle })
}

// ObstacleLeftOut is the obstacle of a change to Dark that LeaveOut made.
const ObstacleLeftOut = "left_out"

// LeaveOut notes that an address is not to be probed, whatever the configuration says: that it
// is the broadcast address of a subnet of this machine, say. It is dark until a result of it
// is recorded all the same.
func (t *Table) LeaveOut(h Handle) {
	var c Change
	h.with(func(s *Series, slot *Slot) {
		if from := slot.State; from != Dark && !slot.untold {
			c = Change{At: time.Now(), Prefix: s.block.prefix, Addr: s.addrs[h.index], Probe: s.probe, From: from, To: Dark, Obstacle: ObstacleLeftOut}
		}
		if s.results.open && !slot.LeftOut {
			s.results.add(Result{time.Now().UnixNano(), 0, slot.generation, NoSample, h.index, newFlags(Dark, false)})
		}
		slot.LeftOut, slot.Known, slot.State, slot.untold, slot.oks, slot.fails = true, false, Dark, false, 0, 0
		slot.Obstacle = "" // nothing stands in the way of what is not to be done
	})
	if c.Addr.IsValid() {
		t.onChange(c)
	}
}

// with calls f with the slot of a handle and its series locked, unless its address is gone.
func (h Handle) with(f func(*Series, *Slot)) {
	if h.series == nil {
		return
	}
	h.series.mu.Lock()
	defer h.series.mu.Unlock()
	if slot := &h.series.slots[h.index]; slot.Configured && slot.generation == h.generation {
		f(h.series, slot)
	}
}

// Age makes every address Unknown of which nothing has been measured for too long: two intervals
// more than it takes to be down, and at least ten seconds. now must be of the
// clock by which probes are recorded, and have a monotonic reading where that has. Run calls it each second; who
// shows states to others calls Fresh before.
func (t *Table) Age(now time.Time) {
	t.aged.Store(int64(now.Sub(t.start)))
	var changes []Change
	for _, s := range t.Series() {
		changes = s.age(now, changes[:0])
		for _, c := range changes {
			t.onChange(c)
		}
	}
}

// ageEvery is how old what Age has found may be.
const ageEvery = time.Second

// Fresh calls Age unless that was done within the last second: after a pause of the whole process,
// who asks first must not be shown what was believed before it.
func (t *Table) Fresh(now time.Time) {
	if int64(now.Sub(t.start))-t.aged.Load() >= int64(ageEvery) {
		t.Age(now)
	}
}

// age makes slots Unknown and appends what has changed.
func (s *Series) age(now time.Time, changes []Change) []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aged = s.since(now)
	for i := range s.slots {
		slot := &s.slots[i]
		from, isNew := slot.forget(s.aged)
		if !isNew {
			continue
		}
		if s.results.open {
			s.results.add(Result{now.UnixNano(), 0, slot.generation, NoSample, uint8(i), newFlags(Unknown, false)})
		}
		changes = append(changes, Change{
			At: now, Prefix: s.block.prefix, Addr: s.addrs[i], Probe: s.probe, From: from, To: Unknown, Obstacle: slot.Obstacle,
		})
	}
	return changes
}
