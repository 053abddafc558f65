package netsim

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	local4 = netip.MustParseAddr("198.18.0.1")
	local6 = netip.MustParseAddr("fd00:c612::1")
)

// epoch0 is when simulated labs start; the two clocks differ, so that a mix-up shows.
var epoch0 = moment{wall: 1_700_000_000_000_000_000, mono: 5_000_000_000}

func (m moment) plus(d time.Duration) moment { return moment{m.wall + int64(d), m.mono + int64(d)} }

// simulate makes an engine from a scenario in YAML.
func simulate(t testing.TB, scenario string) *engine {
	t.Helper()
	s, err := Parse("scenario.yml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	return newEngine(&s, epoch0)
}

// payload56 is what ping sends: 56 bytes.
var payload56 = func() []byte {
	b := make([]byte, 56)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()

// ask lets the engine read an echo request at a time after its start.
func ask(e *engine, to string, seq uint16, at time.Duration) {
	a := netip.MustParseAddr(to)
	from := local4
	if a.Is6() {
		from = local6
	}
	e.receive(EchoRequest(from, a, 77, seq, payload56), epoch0.plus(at), 0)
}

// written pops everything in time, each packet exactly when it is due.
func written(e *engine) [][]byte {
	var out [][]byte
	for {
		due, ok := e.next()
		if !ok {
			return out
		}
		p := e.pop(epoch0.plus(time.Duration(due - epoch0.mono)))
		out = append(out, slices.Clone(p))
		e.wrote(epoch0.plus(time.Duration(due-epoch0.mono) + 3*time.Microsecond))
	}
}

func packets(e *engine) []Packet {
	var out []Packet
	for n := range e.truth.packets.end() {
		p, _ := e.truth.packet(n, nil)
		out = append(out, p)
	}
	return out
}

func TestReplyIsTheRequestComingBack(t *testing.T) {
	for _, to := range []string{"192.0.2.7", "2001:db8::7"} {
		e := simulate(t, "prefixes: [192.0.2.0/24, '2001:db8::/120']\nrules: [{delay: 5ms}]")
		ask(e, to, 9, time.Second)
		if p := e.pop(epoch0.plus(time.Second + 5*time.Millisecond - 1)); p != nil {
			t.Errorf("%s: written before it is due", to)
		}
		got := written(e)
		a := netip.MustParseAddr(to)
		from := local4
		if a.Is6() {
			from = local6
		}
		if diff := cmp.Diff([][]byte{EchoReply(a, from, 77, 9, payload56)}, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", to, diff)
		}
		read, due := epoch0.plus(time.Second), epoch0.plus(time.Second+5*time.Millisecond)
		want := []Packet{{
			Arrived: read.wall, ArrivedMono: read.mono, Read: read.wall, ReadMono: read.mono, Src: from, Dst: a, ID: 77, Seq: 9, TTL: 64, Size: 56,
			Head: [16]byte(payload56), Verdict: Answered,
			Replies: []Reply{{From: a, Type: replyType(a), Due: due.mono, Written: due.wall, WrittenMono: due.mono, DoneMono: due.mono + 4000}},
		}}
		if diff := cmp.Diff(want, packets(e), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", to, diff)
		}
	}
}

func TestDelayCountsFromArrivalAlthoughTheLabReadsLater(t *testing.T) {
	e := simulate(t, "stamp: true\nprefixes: [192.0.2.0/24]\nrules: [{delay: 5ms}]")
	arrived, read := epoch0.plus(time.Second), epoch0.plus(time.Second+3*time.Millisecond)
	e.receive(EchoRequest(local4, netip.MustParseAddr("192.0.2.7"), 1, 1, payload56), read, 3_000_000)
	due, _ := e.next()
	at, _, _ := Stamps(written(e)[0][ipv4HeaderLen+icmpHeaderLen:])
	p := packets(e)[0]
	if p.Arrived != arrived.wall || p.ArrivedMono != arrived.mono || p.Read != read.wall || p.Hold() != 5*time.Millisecond || due != arrived.mono+5_000_000 || at != arrived.wall {
		t.Errorf("%+v due %d stamped %d", p, due, at)
	}
	// The prober's stamps are between arrival and reading, and between the begin and the end of writing.
	for rtt, want := range map[time.Duration]time.Duration{
		2*time.Millisecond - clockError - 1:                      -1,
		2*time.Millisecond - clockError:                          0,
		5*time.Millisecond + 4*time.Microsecond:                  0,
		5*time.Millisecond + 4*time.Microsecond + clockError + 1: 1,
	} {
		if got := p.Outside(rtt); got != want {
			t.Errorf("an RTT of %v is outside by %v, want %v", rtt, got, want)
		}
	}
}

func TestMostSpecificActiveRuleDecidesEachProperty(t *testing.T) {
	const scenario = `
prefixes: [192.0.2.0/24]
rules:
  - {prefix: 192.0.2.7, delay: 70ms}
  - {prefix: 192.0.2.8, delay: 80ms, silent: false}
  - {prefix: 192.0.2.0/24, delay: 24ms}
  - {delay: 1ms, loss: 0}
  - {prefix: 192.0.2.0/24, delay: 25ms}
  - {prefix: 192.0.2.0/24, silent: true, from: 10s, until: 20s}
  - {prefix: 192.0.2.9, unreachable: net, from: 5s}
  - {prefix: 192.0.2.9, unreachable: off, from: 6s}
`
	cases := []struct {
		name, to string
		at       time.Duration
		verdict  Verdict
		delay    time.Duration
	}{
		{"the last of equal prefixes wins", "192.0.2.1", 0, Answered, 25 * time.Millisecond},
		{"an address wins over its prefix, wherever it stands", "192.0.2.7", 0, Answered, 70 * time.Millisecond},
		{"a property that it does not name comes from the prefix", "192.0.2.7", 10 * time.Second, Silent, 0},
		{"a property that it names does not", "192.0.2.8", 10 * time.Second, Answered, 80 * time.Millisecond},
		{"a rule holds until just before its end", "192.0.2.1", 20*time.Second - 1, Silent, 0},
		{"and not at its end", "192.0.2.1", 20 * time.Second, Answered, 25 * time.Millisecond},
		{"a rule begins at its moment", "192.0.2.9", 5 * time.Second, Unreachable, 25 * time.Millisecond},
		{"off takes away what a lesser rule gives", "192.0.2.9", 6 * time.Second, Answered, 25 * time.Millisecond},
	}
	for _, c := range cases {
		e := simulate(t, scenario)
		ask(e, "192.0.2.200", 0, 0) // so that the epoch has begun before
		ask(e, c.to, 1, c.at)
		p := packets(e)[1]
		if p.Verdict != c.verdict || p.Delay() != c.delay {
			t.Errorf("%s: %s at %s: got %s after %s, want %s after %s", c.name, c.to, c.at, p.Verdict, p.Delay(), c.verdict, c.delay)
		}
	}
}

func TestFateDependsOnSeedAddressAndNumberOnly(t *testing.T) {
	const scenario = `
prefixes: [192.0.2.0/24]
rules:
  - {delay: {normal: {mean: 20ms, stddev: 3ms}}, jitter: 1ms, spread: 5ms, loss: {probability: 10%, burst: {enter: 5%, leave: 30%}}, duplicate: 10%, corrupt: 5%}
`
	type fate struct {
		verdict Verdict
		delay   time.Duration
		copies  int
	}
	fates := func(seed string, others bool) (list []fate) {
		e := simulate(t, seed+scenario)
		for i := range 500 {
			if others {
				ask(e, "192.0.2.1", 0, 0)
			}
			ask(e, "192.0.2.7", uint16(i), time.Duration(i)*time.Second)
			if others && i%3 == 0 {
				ask(e, "192.0.2.9", 0, 0)
			}
		}
		for _, p := range packets(e) {
			if p.Dst == netip.MustParseAddr("192.0.2.7") {
				list = append(list, fate{p.Verdict, p.Delay(), p.Duplicates()})
			}
		}
		return list
	}
	alone := fates("seed: 1", false)
	if !slices.Equal(alone, fates("seed: 1", false)) {
		t.Error("two runs with one seed differ")
	}
	if !slices.Equal(alone, fates("seed: 1", true)) {
		t.Error("what other addresses receive changes the fate")
	}
	if slices.Equal(alone, fates("seed: 2", false)) {
		t.Error("the seed does not matter")
	}
}

// TestRates asks 256 addresses 400 times each and compares shares with their probability: five standard
// deviations, which a fixed seed either keeps or not for ever.
func TestRates(t *testing.T) {
	const n = 256 * 400
	verdict := func(v Verdict) func(*Packet) bool { return func(p *Packet) bool { return p.Verdict == v } }
	cases := []struct {
		rule string
		want float64
		hit  func(*Packet) bool
	}{
		{"loss: 0.1%", 0.001, verdict(Lost)},
		{"loss: 0.01", 0.01, verdict(Lost)},
		{"loss: 10%", 0.1, verdict(Lost)},
		{"loss: {burst: {enter: 2%, leave: 18%}}", 0.1, verdict(Lost)},
		{"loss: {burst: {enter: 20%, leave: 20%, good: 10%, bad: 50%}}", 0.3, verdict(Lost)},
		{"loss: {periodic: {period: 10s, length: 2s}}", 0.2, verdict(Lost)},
		{"duplicate: 5%", 0.05, func(p *Packet) bool { return p.Duplicates() == 1 }},
		{"duplicate: {probability: 5%, copies: 3}", 0.05, func(p *Packet) bool { return p.Duplicates() == 3 }},
		{"corrupt: 3%", 0.03, verdict(Corrupted)},
		{"unreachable: {code: port, probability: 25%}", 0.25, verdict(Unreachable)},
		{"ttl_exceeded: {probability: 25%}", 0.25, verdict(TTLExceeded)},
		{"{reorder: {probability: 7%, delay: 50ms}, delay: 1ms}", 0.07, func(p *Packet) bool { return p.Delay() == 51*time.Millisecond }},
		{"rate_limit: 0.5/s", 0.5, verdict(RateLimited)},
		{"rate_limit: {rate: 64/s, burst: 1, per: rule}", 0.75, verdict(RateLimited)},
	}
	for _, c := range cases {
		e := simulate(t, "seed: 3\nprefixes: [192.0.2.0/24]\nrules:\n  - "+c.rule)
		hits := 0
		for i := range n {
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			e.receive(EchoRequest(local4, a, 1, 1, nil), epoch0.plus(time.Duration(i)*time.Second/256), 0)
			for e.pop(epoch0.plus(time.Hour)) != nil {
			}
			p, _ := e.truth.packet(uint64(i), nil)
			if c.hit(&p) {
				hits++
			}
		}
		slack := 5 * math.Sqrt(n*c.want*(1-c.want))
		if c.want == 0.1 && c.rule != "loss: 10%" {
			slack *= 4 // losses in bursts vary more
		}
		if diff := float64(hits) - n*c.want; math.Abs(diff) > slack {
			t.Errorf("%s: %d of %d, want %.0f ± %.0f", c.rule, hits, n, n*c.want, slack)
		}
	}
}

func TestDelays(t *testing.T) {
	cases := []struct {
		name, rule string
		at         time.Duration
		low, high  time.Duration // every delay lies between
		mean       time.Duration // within 2 %
	}{
		{"constant", "delay: 5ms", 0, 5 * time.Millisecond, 5 * time.Millisecond, 5 * time.Millisecond},
		{"jitter goes both ways", "{delay: 5ms, jitter: 2ms}", 0, 3 * time.Millisecond, 7 * time.Millisecond, 5 * time.Millisecond},
		{"never below zero", "{delay: 1ms, jitter: 4ms}", 0, 0, 5 * time.Millisecond, 1562500},
		{"normal", "delay: {normal: {mean: 20ms, stddev: 2ms}}", 0, 8 * time.Millisecond, 32 * time.Millisecond, 20 * time.Millisecond},
		{"normal with a floor", "delay: {normal: {mean: 20ms, stddev: 2ms, min: 20ms}}", 0, 20 * time.Millisecond, 32 * time.Millisecond, 20797885},
		{"ramp at its beginning", "{from: 1s, delay: {ramp: {from: 10ms, to: 110ms, over: 10s}}}", time.Second, 10 * time.Millisecond, 10 * time.Millisecond, 10 * time.Millisecond},
		{"ramp half way", "{from: 1s, delay: {ramp: {from: 10ms, to: 110ms, over: 10s}}}", 6 * time.Second, 60 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond},
		{"ramp afterwards", "{from: 1s, delay: {ramp: {from: 10ms, to: 110ms, over: 10s}}}", time.Minute, 110 * time.Millisecond, 110 * time.Millisecond, 110 * time.Millisecond},
		{"ramp downwards", "{delay: {ramp: {from: 30ms, to: 10ms, over: 10s}}}", 5 * time.Second, 20 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond},
		{"spread", "{delay: 1ms, spread: 8ms}", 0, time.Millisecond, 9 * time.Millisecond, 5 * time.Millisecond},
	}
	for _, c := range cases {
		e := simulate(t, "seed: 1\nprefixes: [10.0.0.0/16]\nrules:\n  - "+c.rule)
		var sum time.Duration
		const n = 20000
		for i := range n {
			a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			e.receive(EchoRequest(local4, a, 1, 1, nil), epoch0.plus(c.at), 0)
			p, _ := e.truth.packet(uint64(i), nil)
			sum += p.Delay()
			if p.Delay() < c.low || p.Delay() > c.high {
				t.Errorf("%s: %s is not between %s and %s", c.name, p.Delay(), c.low, c.high)
				break
			}
		}
		if mean := sum / n; mean < c.mean*98/100 || mean > c.mean*102/100 {
			t.Errorf("%s: mean %s, want %s", c.name, mean, c.mean)
		}
	}
}

func TestSpreadIsConstantForAnAddress(t *testing.T) {
	e := simulate(t, "prefixes: [192.0.2.0/24]\nrules: [{spread: 8ms}]")
	for i := range 10 {
		ask(e, "192.0.2.7", uint16(i), time.Duration(i)*time.Second)
	}
	for _, p := range packets(e) {
		if p.Delay() != packets(e)[0].Delay() {
			t.Errorf("%s, then %s", packets(e)[0].Delay(), p.Delay())
		}
	}
}

func TestRateLimitLetsABurstThroughAndThenTheRate(t *testing.T) {
	e := simulate(t, "prefixes: [192.0.2.0/24]\nrules: [{rate_limit: {rate: 2/s, burst: 3}}]")
	var got []Verdict
	for i := range 10 {
		ask(e, "192.0.2.7", 0, time.Duration(i)*250*time.Millisecond)
	}
	for _, p := range packets(e) {
		got = append(got, p.Verdict)
	}
	const a, r = Answered, RateLimited
	if diff := cmp.Diff([]Verdict{a, a, a, a, a, r, a, r, a, r}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestChangedRulesHoldAtOnce(t *testing.T) {
	e := simulate(t, "prefixes: [192.0.2.0/24]\nrules: [{delay: 5ms}]")
	ask(e, "192.0.2.7", 0, time.Second)
	at := epoch0.plus(2 * time.Second).mono
	e.setRules(append(e.rules.rules, timed([]Rule{{Silent: new(true), Until: time.Second}}, at)...), at)
	ask(e, "192.0.2.7", 1, 2*time.Second)
	ask(e, "192.0.2.7", 2, 3*time.Second)
	var got []Verdict
	for _, p := range packets(e) {
		got = append(got, p.Verdict)
	}
	if diff := cmp.Diff([]Verdict{Answered, Silent, Answered}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSteadyLoadAllocatesNothing(t *testing.T) {
	e := simulate(t, "stamp: true\nprefixes: [192.0.2.0/24]\nrules: [{delay: 5ms, jitter: 1ms, loss: 1%, duplicate: 1%, corrupt: 1%}]")
	p := EchoRequest(local4, netip.MustParseAddr("192.0.2.7"), 1, 1, payload56)
	now := epoch0
	step := func() {
		now = now.plus(100 * time.Microsecond)
		e.receive(p, now, 0)
		for e.pop(now) != nil {
		}
	}
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(5000, step); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func BenchmarkEngine(b *testing.B) {
	e := simulate(b, "stamp: true\nprefixes: [10.0.0.0/16]\nrules: [{delay: 300ms, jitter: 100ms, loss: 1%}]")
	b.ReportAllocs()
	now, p := epoch0, EchoRequest(local4, netip.MustParseAddr("10.0.0.0"), 1, 1, payload56)
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint16(p[18:], uint16(i)) // sums stay right, for the header is sealed again
		p[10], p[11] = 0, 0
		binary.BigEndian.PutUint16(p[10:], checksum(p[:ipv4HeaderLen], 0))
		now = now.plus(time.Second / 65536)
		e.receive(p, now, 0)
		for e.pop(now) != nil {
		}
		if i%100_000 == 99_999 {
			e.truth.forget(e.truth.packets.end() - 50_000)
		}
	}
}
