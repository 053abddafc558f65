package probe

import (
	"math"
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
func take(g *group, now int64) []uint32 { return takeAtMost(g, now, math.MaxInt) }

func takeAtMost(g *group, now int64, n int) (slots []uint32) {
	for len(slots) < n {
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

// TestNoTenMillisecondsCarryMoreThanTheirShare plays ten seconds of ticks, some of them late,
// and looks at every span of 10 ms that begins with a tick.
func TestNoTenMillisecondsCarryMoreThanTheirShare(t *testing.T) {
	addrs := addresses("127.1.0.0", 10240)
	g := newGroup(time.Second, -987654321, 0)
	slots := make([]uint32, len(addrs))
	for i := range slots {
		slots[i] = uint32(i)
	}
	g.fill(slots, func(s uint32) time.Duration { return phase(addrs[s], time.Second) }, 0)
	const window = 10 * time.Millisecond
	share := float64(len(addrs)) * window.Seconds()
	type tick struct {
		at   int64
		sent int
	}
	var recent []tick
	random := rand.New(rand.NewPCG(1, 2))
	total := 0
	for now := int64(0); now < int64(10*time.Second); now += int64(tick4) {
		if random.IntN(20) == 0 {
			now += random.Int64N(int64(20 * time.Millisecond))
		}
		sent := len(takeAtMost(g, now, g.quota(int64(tick4))))
		total += sent
		recent = append(recent, tick{now, sent})
		for now-recent[0].at >= int64(window) {
			recent = recent[1:]
		}
		sum := 0
		for _, r := range recent {
			sum += r.sent
		}
		if float64(sum) > 1.5*share {
			t.Errorf("%v: %d packets in 10 ms, the even share is %.0f", time.Duration(now), sum, share)
		}
	}
	if total < 99*len(addrs)/10 {
		t.Errorf("%d packets in 10 s, want %d: what was late is not caught up", total, 10*len(addrs))
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
