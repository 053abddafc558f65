package probe

import "time"

// The kernel stamps packets with the wall clock, which can be set; RTTs and
// deadlines need a clock that cannot. clock translates one into the other, through the
// difference of the two, and notices when the wall clock is set.
type clock struct {
	read func() (wall time.Time, mono int64) // readClocks, or a test's

	now    int64     // monotonic nanoseconds, at the last update
	wall   time.Time // the same moment
	offset int64     // wall minus monotonic
	before int64     // the offset before the last step
	step   int64     // when that was noticed, monotonic
}

const (
	// stepThreshold is what the difference of the two clocks must change by to count
	// as a step. Slewing (adjtimex) moves both clocks alike; reading them one after the
	// other costs some 50 ns, or more if the thread is interrupted in between: hence the re-reading.
	stepThreshold = int64(100 * time.Microsecond)
	// stepReadings is how many readings must agree that the clock was set.
	stepReadings = 5
	// stampSlack is how far a translated stamp may lie outside of the span of time in
	// which it must have been made: the reading of two clocks and an interrupt.
	stampSlack = int64(200 * time.Microsecond)
)

func newClock(read func() (time.Time, int64)) *clock {
	c := &clock{read: read}
	c.offset = c.reading()
	c.before = c.offset
	return c
}

// readClocks makes a reader of the system's clocks; monotonic time counts from now.
func readClocks() func() (time.Time, int64) {
	base := time.Now()
	return func() (time.Time, int64) {
		now := time.Now()
		return now, int64(now.Sub(base))
	}
}

// monotonic returns the monotonic time now, in nanoseconds.
func (c *clock) monotonic() int64 {
	_, mono := c.read()
	return mono
}

// update reads the clocks, once a tick. step is by how much the wall clock was set
// since the last update; 0: not at all.
func (c *clock) update() (step time.Duration) {
	offset := c.reading()
	if moved(offset, c.offset) {
		// Interrupted between the two clocks, or a step: only a step happens again.
		again := offset
		for range stepReadings {
			again = c.reading()
			if !moved(again, c.offset) {
				return 0
			}
		}
		step = time.Duration(again - c.offset)
		c.before, c.offset, c.step = c.offset, again, c.now
	}
	return step
}

func (c *clock) reading() (offset int64) {
	c.wall, c.now = c.read()
	return c.wall.UnixNano() - c.now
}

func moved(a, b int64) bool { return a-b > stepThreshold || b-a > stepThreshold }

// unsteady is how long after a step there may be stamps of both offsets: longer than any
// timeout.
const unsteady = int64(2 * time.Minute)

// steady says whether all stamps that can still come are of the same offset.
func (c *clock) steady() bool { return c.before == c.offset || c.now-c.step > unsteady }

// translate returns the monotonic time of a kernel stamp that was made after the
// moment since and before now (monotonic); 0 if neither the present offset nor the one
// before the last step makes sense of it.
func (c *clock) translate(stamp, since, now int64) int64 {
	for _, offset := range [2]int64{c.offset, c.before} {
		if m := stamp - offset; m >= since-stampSlack && m <= now+stampSlack {
			return m
		}
	}
	return 0
}

// at returns the moment m (monotonic nanoseconds) as a time, by the wall clock of the last update.
func (c *clock) at(m int64) time.Time { return c.wall.Add(time.Duration(m - c.now)) }
