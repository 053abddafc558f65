package probe

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/prefix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(netsim.Inside(m)) }

// patience bounds every wait for something that must come, on a machine that pauses for seconds, too. It is no
// expectation: a wait ends as soon as what it waits for is there.
const patience = 90 * time.Second

// bench is an engine on the bench: with a table, every packet written down, and every
// self metric at hand.
type bench struct {
	t        testing.TB
	control  *testenv.Control // of what the test says of the pace; nil in benchmarks
	registry *prometheus.Registry
	health   *Health
	engine   Engine
	table    *prefix.Table
	targets  []Target
	stop     func()

	mu      sync.Mutex
	packets map[probeKey][]Packet
	sent    map[netip.Addr]int // probes that have left
	flying  map[netip.Addr]int // those of them whose outcome is open
	timeout map[netip.Addr]time.Duration
	changes []prefix.Change
}

// probeKey names one probe as the lab sees it.
type probeKey struct {
	addr     netip.Addr
	sequence uint16
}

// often is the interval and the timeout of the usual target.
const often = 400 * time.Millisecond

// target returns the usual target of an address.
func target(a netip.Addr) Target {
	return Target{Addr: a, ID: prefix.TargetID(a), Interval: often, Timeout: often, Size: 56, TTL: 64}
}

// eachSecond asks once a second.
func eachSecond(t *Target) { t.Interval, t.Timeout = time.Second, time.Second }

// targets returns targets for all addresses, changed by mend.
func targets(addrs []netip.Addr, mend func(*Target)) []Target {
	list := make([]Target, len(addrs))
	for i, a := range addrs {
		list[i] = target(a)
		if mend != nil {
			mend(&list[i])
		}
	}
	return list
}

// bareBench makes a bench without an engine.
func bareBench(t testing.TB) *bench {
	t.Helper()
	netsim.RequireLab(t) // an engine has sockets
	b := &bench{
		t: t, registry: prometheus.NewRegistry(), health: NewHealth(time.Now),
		packets: map[probeKey][]Packet{}, sent: map[netip.Addr]int{}, flying: map[netip.Addr]int{},
		timeout: map[netip.Addr]time.Duration{},
	}
	if _, benchmark := t.(*testing.B); !benchmark {
		b.control = testenv.StartControl(t)
	}
	return b
}

// newBench makes an engine that is not running yet.
func newBench(t testing.TB, name string) *bench {
	t.Helper()
	b := bareBench(t)
	b.table = prefix.NewTable(func(c prefix.Change) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changes = append(b.changes, c)
	})
	engine, err := New(name, Options{
		Recorder: b.table, Logger: log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr)),
		Registerer: b.registry, Health: b.health, Trace: b.note,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.engine = engine
	return b
}

func (b *bench) note(p Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := probeKey{p.Addr, p.Sequence}
	b.packets[k] = append(b.packets[k], p)
	switch p.Event {
	case "sent":
		b.sent[p.Addr]++
		b.flying[p.Addr]++
	case "answered", "timeout", "unreachable", "ttl_exceeded", "discarded":
		b.flying[p.Addr]--
	}
}

// asked waits until so many probes have left for every target.
func (b *bench) asked(n int) {
	b.t.Helper()
	waitFor(b.t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return !slices.ContainsFunc(b.targets, func(t Target) bool { return b.sent[t.Addr] < n })
	})
}

// turned waits until the loop of the batch engine has begun another turn and ended it: what had arrived before is read.
func (b *bench) turned() {
	b.t.Helper()
	engine, ok := b.engine.(*batch)
	if !ok {
		return // pro-bing reads nothing behind the end of a probe
	}
	engine.mu.Lock()
	now := engine.clock.monotonic()
	engine.mu.Unlock()
	waitFor(b.t, func() bool {
		engine.mu.Lock()
		defer engine.mu.Unlock()
		return engine.ticked > now
	})
}

// apply gives the targets to table and engine, and follows all of them.
func (b *bench) apply(expect prefix.Expect, list []Target) {
	b.t.Helper()
	b.table.Apply(blocksOf(expect, list))
	for i := range list {
		list[i].Handle, _ = b.table.Handle(list[i].Addr, prefix.Probe{})
		b.timeout[list[i].Addr] = list[i].Timeout
	}
	if err := b.engine.Apply(b.t.Context(), list); err != nil {
		b.t.Fatal(err)
	}
	for i := range list {
		if err := b.engine.Trace(b.t.Context(), list[i].Addr, time.Hour); err != nil {
			b.t.Fatal(err)
		}
	}
	b.targets = list
}

// blocksOf sorts targets into the blocks of a table.
func blocksOf(expect prefix.Expect, list []Target) []prefix.Block {
	byPrefix := map[netip.Prefix]*prefix.Block{}
	var order []netip.Prefix
	for i := range list {
		a := list[i].Addr
		bits := 24
		if a.Is6() {
			bits = 120
		}
		p, _ := a.Prefix(bits)
		if byPrefix[p] == nil {
			byPrefix[p] = &prefix.Block{Prefix: p, Buckets: []float64{.001, .01, .1, 1}}
			order = append(order, p)
		}
		byPrefix[p].Targets = append(byPrefix[p].Targets, prefix.Target{Addr: a, Probes: []prefix.TargetProbe{
			{DownAfter: 3, UpAfter: 1, Expect: expect},
		}})
	}
	blocks := make([]prefix.Block, len(order))
	for i, p := range order {
		blocks[i] = *byPrefix[p]
	}
	return blocks
}

// run starts the engine; it ends with the test, or by calling b.stop.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.engine.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(b.stop)
}

// value sums a self metric over its series that have all of these label values.
func (b *bench) value(name string, values ...string) (sum float64) {
	b.t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != "prefix_exporter_"+name {
			continue
		}
		found = true
		for _, m := range f.GetMetric() {
			if hasLabels(m, values) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	if !found && len(values) == 0 {
		b.t.Fatalf("no metric %s", name)
	}
	return sum
}

func hasLabels(m *dto.Metric, values []string) bool {
	for _, v := range values {
		if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == v }) {
			return false
		}
	}
	return true
}

// want checks self metrics, given as "name label-value …".
func (b *bench) want(metrics map[string]float64) {
	b.t.Helper()
	for name, want := range metrics {
		words := strings.Fields(name)
		if got := b.value(words[0], words[1:]...); got != want {
			b.t.Errorf("prefix_exporter_%s is %v, want %v", name, got, want)
		}
	}
}

// unhealthy checks that these reasons make the prober unhealthy, and no others. That the machine
// is too busy to send in time may come on top: it is true, and not what is tested.
func (b *bench) unhealthy(reasons ...Reason) {
	b.t.Helper()
	told := map[Reason]bool{}
	for _, t := range b.health.Troubles() {
		b.t.Logf("trouble: %s: %s", t.Reason, t.Detail)
		told[t.Reason] = true
	}
	for _, r := range Reasons {
		switch expected := slices.Contains(reasons, r); {
		case expected == told[r], r == ReasonSkipped && !expected, r == ReasonStalled && !expected:
		case !expected && (r == ReasonKernelDrop || r == ReasonFlood): // a loop that does not run cannot read
			b.control.Pace(b.t, "trouble %s: %v, want %v", r, told[r], expected)
		default:
			b.t.Errorf("trouble %s: %v, want %v", r, told[r], expected)
		}
	}
}

// troubled waits until these reasons make the prober unhealthy, which is judged every second.
func (b *bench) troubled(reasons ...Reason) {
	b.t.Helper()
	waitFor(b.t, func() bool {
		return !slices.ContainsFunc(reasons, func(r Reason) bool {
			return !slices.ContainsFunc(b.health.Troubles(), func(t Trouble) bool { return t.Reason == r })
		})
	})
}

// events returns what happened to one probe, in order, from its being sent on.
func (b *bench) events(k probeKey) (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.packets[k] {
		switch p.Event {
		case "sent", "skipped", "send_error", "no_route": // what was not sent has the sequence of the next that is
		default:
			list = append(list, p.Event)
		}
	}
	return list
}

// lab starts a simulated internet for the length of the test.
func lab(t testing.TB, scenario string) *netsim.Lab {
	t.Helper()
	netsim.RequireLab(t)
	s, err := netsim.Parse("scenario.yml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	l, err := netsim.Start(context.Background(), s, netsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// calm waits until every probe that was sent has its outcome: nothing is sent any more while the last ones come to
// their end.
func (b *bench) calm() {
	b.t.Helper()
	if err := b.engine.Apply(b.t.Context(), slowed(b.targets)); err != nil {
		b.t.Fatal(err)
	}
	waitFor(b.t, func() bool {
		if p, ok := b.engine.(*portable); ok && p.flying.Load() > 0 {
			return false
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		return !slices.ContainsFunc(b.targets, func(t Target) bool { return b.flying[t.Addr] > 0 })
	})
}

// settle waits until every probe that was sent has its outcome, and all that comes later has been read, and ends the engine.
func (b *bench) settle(l *netsim.Lab) {
	b.t.Helper()
	b.calm()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	if err := l.Quiesce(ctx); err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // what the lab has written last may still be on its way
	b.turned()
	b.stop()
}

// slowed returns the same targets with an interval so long that none is due during a test.
func slowed(list []Target) []Target {
	slow := slices.Clone(list)
	for i := range slow {
		slow[i].Interval = 1000 * time.Hour
	}
	return slow
}
