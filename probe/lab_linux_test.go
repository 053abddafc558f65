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
	"prefix_exporter/prefix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(netsim.Inside(m)) }

// bench is an engine on the bench: with a table, every packet written down, and every
// self metric at hand.
type bench struct {
	t        testing.TB
	registry *prometheus.Registry
	health   *Health
	engine   Engine
	table    *prefix.Table
	targets  []Target
	stop     func()

	mu      sync.Mutex
	packets map[probeKey][]Packet
	changes []prefix.Change
}

// probeKey names one probe as the lab sees it.
type probeKey struct {
	addr     netip.Addr
	sequence uint16
}

// target returns the usual target of an address.
func target(a netip.Addr) Target {
	return Target{Addr: a, ID: prefix.TargetID(a), Interval: time.Second, Timeout: time.Second, Size: 56, TTL: 64}
}

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

// newBench makes an engine that is not running yet.
func newBench(t testing.TB, name string) *bench {
	t.Helper()
	b := &bench{t: t, registry: prometheus.NewRegistry(), health: NewHealth(time.Now), packets: map[probeKey][]Packet{}}
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
}

// apply gives the targets to table and engine, and follows all of them.
func (b *bench) apply(expect prefix.Expect, list []Target) {
	b.t.Helper()
	b.table.Apply(blocksOf(expect, list))
	for i := range list {
		list[i].Handle, _ = b.table.Handle(list[i].Addr, prefix.Probe{})
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

// unhealthy checks that just these reasons make the prober unhealthy. That the machine
// is too busy to send in time may come on top: it is true, and not what is tested.
func (b *bench) unhealthy(reasons ...Reason) {
	b.t.Helper()
	var got []Reason
	for _, t := range b.health.Troubles() {
		b.t.Logf("trouble: %s: %s", t.Reason, t.Detail)
		if t.Reason != ReasonSkipped && t.Reason != ReasonStalled || slices.Contains(reasons, t.Reason) {
			got = append(got, t.Reason)
		}
	}
	if !slices.Equal(got, reasons) {
		b.t.Errorf("troubles %v, want %v", got, reasons)
	}
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

// settle waits until every probe that was sent has its outcome, and ends the engine:
// nothing is sent any more while the last ones come to their end.
func (b *bench) settle(l *netsim.Lab) {
	b.t.Helper()
	if err := b.engine.Apply(b.t.Context(), slowed(b.targets)); err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Quiesce(ctx); err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // what the lab has written last is read on the next tick
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
