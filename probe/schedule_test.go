package probe

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// addresses returns n addresses from first on.
func addresses(first string, n int) []netip.Addr {
	addrs := make([]netip.Addr, n)
	a := netip.MustParseAddr(first)
	for i := range addrs {
		addrs[i] = a
		a = a.Next()
	}
	return addrs
}

func TestPhasesSpreadEvenly(t *testing.T) {
	scattered := make([]netip.Addr, 0, 40*256)
	for i := range 40 { // forty /24s that are no neighbours
		block := netip.AddrFrom4([4]byte{byte(20 + 5*i), byte(37 * i), byte(91 * i), 0})
		scattered = append(scattered, addresses(block.String(), 256)...)
	}
	for name, addrs := range map[string][]netip.Addr{
		"10,240 neighbours":   addresses("127.1.0.0", 10240),
		"40 scattered blocks": scattered,
		"one block":           addresses("192.0.2.0", 256),
		"65,536 neighbours":   addresses("127.3.0.0", 65536),
		"IPv6":                addresses("2001:db8::", 10240),
	} {
		t.Run(name, func(t *testing.T) {
			const windows = 100
			var count [windows]int
			for _, a := range addrs {
				count[phase(a, time.Second)*windows/time.Second]++
			}
			share := float64(len(addrs)) / windows
			for i, n := range count {
				// A share of less than three cannot be told from the next whole number above it.
				if float64(n) > max(1.25*share, share+2) {
					t.Errorf("%d ms: %d probes, the even share is %.1f", 10*i, n, share)
				}
			}
		})
	}
}

func TestPhaseIsTheSameAfterARestart(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.7")
	const interval = int64(time.Second)
	var dues [2]int64
	for i, started := range []int64{1_700_000_000_123_456_789, 1_700_000_777_987_654_321} { // Unix ns
		g := newGroup(time.Second, -started, 0)
		g.fill([]uint32{0}, func(uint32) time.Duration { return phase(a, time.Second) }, 0)
		_, due, _ := g.peek()
		dues[i] = (started + due) % interval
	}
	if dues[0] != dues[1] {
		t.Errorf("due at %d ns of a second, after a restart at %d", dues[0], dues[1])
	}
}

// take takes everything that is due until now off a group.
func take(g *group, now int64) (slots []uint32) {
	for {
		s, due, ok := g.peek()
		if !ok || due > now {
			break
		}
		slots = append(slots, s)
		g.advance()
	}
	return slots
}

func TestEveryTargetIsDueOnceAnInterval(t *testing.T) {
	addrs := addresses("192.0.2.0", 256)
	slots := make([]uint32, len(addrs))
	for i := range slots {
		slots[i] = uint32(i)
	}
	phaseOf := func(s uint32) time.Duration { return phase(addrs[s], time.Second) }
	g := newGroup(time.Second, 12345, 0)
	g.fill(slots, phaseOf, 0)
	count := make([]int, len(addrs))
	for now := int64(0); now <= int64(10*time.Second); now += int64(tick4) {
		for _, s := range take(g, now) {
			count[s]++
		}
		if now%int64(700*time.Millisecond) == 0 { // a reload that changes nothing
			g.fill(slots, phaseOf, g.doneUntil(now))
		}
	}
	for s, n := range count {
		if n != 10 {
			t.Errorf("address %d was due %d times in 10 s, want 10", s, n)
		}
	}
}

const tick4 = 4 * time.Millisecond

func TestDeadlinesComeInOrderAndGrow(t *testing.T) {
	var d deadlines
	for i := range int64(1000) {
		d.push(expiry{deadline: i, slot: uint32(i)})
		if i%3 == 0 { // let the head walk around the ring
			if e, ok := d.pop(i); !ok || e.deadline != i/3 {
				t.Fatalf("popped %+v %v, want deadline %d", e, ok, i/3)
			}
		}
	}
	if _, ok := d.pop(333); ok {
		t.Error("popped what is not due")
	}
	for want := int64(334); want < 1000; want++ {
		if e, ok := d.pop(5000); !ok || e.deadline != want {
			t.Fatalf("popped %+v %v, want deadline %d", e, ok, want)
		}
	}
	if _, ok := d.pop(5000); ok {
		t.Error("popped from an empty queue")
	}
}

// processor is one that a loop gets in turns: it is stopped, runs, is stopped …
type processor struct {
	now       int64
	stop, run time.Duration
}

// wait waits until it is the loop's turn.
func (p *processor) wait() {
	if p.stop == 0 {
		return
	}
	if at := p.now % int64(p.stop+p.run); at < int64(p.stop) {
		p.now += int64(p.stop) - at
	}
}

// work takes so much of the loop's turns.
func (p *processor) work(d time.Duration) {
	for d > 0 {
		p.wait()
		left := d
		if p.stop > 0 {
			left = min(d, p.stop+p.run-time.Duration(p.now%int64(p.stop+p.run)))
		}
		p.now += int64(left)
		d -= left
	}
}

// ticked is one tick of a loop that was played.
type ticked struct {
	at   int64
	sent int
}

// play turns a loop for so long, as pace and the engines do, on a processor that it gets in turns. It returns the ticks,
// and how many probes were skipped. late makes a tick later still.
func play(g *group, p *processor, tick, length time.Duration, late func() time.Duration) (ticks []ticked, skipped int) {
	const wakeUp, probe = 30 * time.Microsecond, 15 * time.Microsecond // what the batch engine costs on a slow machine
	next := p.now + int64(tick)
	for end := p.now + int64(length); p.now < end; {
		p.now = max(p.now, next)
		p.work(wakeUp + late())
		t := ticked{at: p.now}
		next = p.now + int64(tick)
		g.begin(p.now, int64(tick))
		for {
			_, _, late, ok := g.take()
			if !ok {
				break
			}
			if late {
				skipped++
				continue
			}
			t.sent++
			p.work(probe)
		}
		ticks = append(ticks, t)
	}
	return ticks, skipped
}

func onTime() time.Duration { return 0 }

// neighbours makes a group of so many targets.
func neighbours(n int, interval time.Duration, since int64) *group {
	addrs := addresses("127.1.0.0", n)
	slots := make([]uint32, n)
	for i := range slots {
		slots[i] = uint32(i)
	}
	g := newGroup(interval, -987654321, since)
	g.fill(slots, func(s uint32) time.Duration { return phase(addrs[s], interval) }, since)
	return g
}

// mostWithin returns the most probes that left in so long, from any tick on.
func mostWithin(ticks []ticked, window time.Duration) (most int) {
	sum, first := 0, 0
	for _, t := range ticks {
		sum += t.sent
		for ; t.at-ticks[first].at >= int64(window); first++ {
			sum -= ticks[first].sent
		}
		most = max(most, sum)
	}
	return most
}

func sent(ticks []ticked) (n int) {
	for _, t := range ticks {
		n += t.sent
	}
	return n
}

func TestNoTenMillisecondsCarryMoreThanTheirShare(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, late := range map[string]func() time.Duration{
		"on time":             onTime,
		"up to a millisecond": func() time.Duration { return time.Duration(random.Int64N(int64(950 * time.Microsecond))) },
	} {
		t.Run(name, func(t *testing.T) {
			const n, length = 10240, 10 * time.Second
			g := neighbours(n, time.Second, 0)
			ticks, skipped := play(g, &processor{}, tick4, length, late)
			const share = n / 100
			if got := mostWithin(ticks, 10*time.Millisecond); float64(got) > 1.5*share {
				t.Errorf("%d packets in 10 ms, the even share is %d", got, share)
			}
			if got := sent(ticks); skipped != 0 || got < 10*n-share {
				t.Errorf("%d packets in 10 s, want %d: %d were skipped", got, 10*n, skipped)
			}
		})
	}
}

// TestALoopThatRunsSeldomUsesItsTurn gives a loop a third of a processor and more, in turns. However they fall: nothing is
// skipped, no tick sends more than maxTurn ticks' worth, and no second more than is due in it and in the time that was missed.
func TestALoopThatRunsSeldomUsesItsTurn(t *testing.T) {
	const ms = time.Millisecond
	for _, loop := range []struct {
		name     string
		n        int
		interval time.Duration
		tick     time.Duration
	}{
		{"10,240 addresses a second", 10240, time.Second, tick4},
		{"10,240 addresses in two seconds", 10240, 2 * time.Second, tick4},
		{"20,480 ports in five seconds", 20480, 5 * time.Second, 10 * ms},
		{"256 addresses a second", 256, time.Second, tick4},
	} {
		for _, turns := range [][2]time.Duration{
			{6 * ms, 6 * ms}, {10 * ms, 5 * ms}, {20 * ms, 10 * ms}, {50 * ms, 25 * ms}, {90 * ms, 45 * ms}, // as seen, and on
			{time.Millisecond, ms / 2}, {3 * ms, 1500 * time.Microsecond}, {4 * ms, 2 * ms}, {67 * ms, 33 * ms}, // 1/3 of 100 ms by CPUQuota=
			{16 * ms, 8 * ms}, {30 * ms, 15 * ms}, {35 * ms, 65 * ms},
		} {
			t.Run(fmt.Sprintf("%s, stopped %v, running %v", loop.name, turns[0], turns[1]), func(t *testing.T) {
				const length = 20 * time.Second
				for offset := range int64(7) { // where in the turns the loop begins
					start := offset * int64(turns[0]+turns[1]) / 7
					g := neighbours(loop.n, loop.interval, start)
					ticks, skipped := play(g, &processor{now: start, stop: turns[0], run: turns[1]}, loop.tick, length, onTime)
					due := float64(loop.n) * length.Seconds() / loop.interval.Seconds()
					if got := float64(sent(ticks)); skipped != 0 || got < due*0.99 {
						t.Errorf("%v probes left, %d were skipped, want %v and none", got, skipped, due)
					}
					share := float64(loop.n) / float64(loop.interval) // of a nanosecond
					for _, tick := range ticks {
						if most := max(minQuota, maxTurn*share*float64(loop.tick)); float64(tick.sent) > most {
							t.Fatalf("a tick sent %d, want at most %v", tick.sent, most)
						}
					}
					if got, want := float64(mostWithin(ticks, time.Second)), share*float64(time.Second+maxLag)*1.02; got > want {
						t.Errorf("%v probes left in a second, want at most %v", got, want)
					}
				}
			})
		}
	}
}

// TestAfterAPauseTheRestIsCaughtUpWithoutABurst stops a loop once for longer than maxLag.
func TestAfterAPauseTheRestIsCaughtUpWithoutABurst(t *testing.T) {
	const n, pause = 10240, 250 * time.Millisecond
	g := neighbours(n, time.Second, 0)
	p := &processor{stop: 1, run: time.Second}
	paused := false
	ticks, skipped := play(g, p, tick4, 3*time.Second, func() time.Duration {
		if p.now > int64(time.Second) && !paused {
			paused = true
			return pause
		}
		return 0
	})
	late := 0
	for i, tick := range ticks {
		if i > 0 && tick.at-ticks[i-1].at > int64(pause) {
			late = i
		}
	}
	if late == 0 {
		t.Fatal("there was no pause")
	}
	if want := n * int(pause-maxLag) / int(time.Second); skipped < want || skipped > want+n*8/1000 {
		t.Errorf("%d were skipped, want the %d of the pause that are later than %v", skipped, want, maxLag)
	}
	const turn = maxTurn * n * 4 / 1000 // in one tick
	for i, tick := range ticks[late:] {
		most := turn
		if i >= 8 { // 100 ms are caught up at 16 ms a tick
			most = turn / 4
		}
		if tick.sent > most {
			t.Errorf("tick %d after the pause sent %d, want at most %d", i, tick.sent, most)
		}
	}
}

func TestPortsSpreadEvenlyToo(t *testing.T) {
	addrs := addresses("127.1.0.0", 10240)
	const windows = 1000
	var count [windows]int
	ports := []uint16{80, 443, 22}
	for _, a := range addrs {
		seen := map[time.Duration]bool{}
		for _, port := range ports {
			p := portPhase(a, port, time.Minute)
			if p < 0 || p >= time.Minute || seen[p/time.Second] {
				t.Fatalf("%s: port %d is due at %v, in the second of another port", a, port, p)
			}
			seen[p/time.Second] = true
			count[p*windows/time.Minute]++
		}
	}
	share := float64(len(addrs)*len(ports)) / windows
	for i, n := range count {
		if float64(n) > 1.25*share {
			t.Errorf("window %d: %d connections, the even share is %.1f", i, n, share)
		}
	}
}
