// Command trace measures what following routes costs: 256 routes of ten hops through a simulated
// internet, alone and beside 10,240 echo requests a second of the same process, in a network
// namespace of its own. The simulation is another process. It prints one line of JSON for each turn.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"prefix_exporter/lab/bench/bareloop/namespace"
	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
	"prefix_exporter/probe"
	"prefix_exporter/route"
)

// base is the first of 256 /24s.
const base = "10.64.0.0/16"

// maxRoutes is how many /24s there are in base.
const maxRoutes = 256

// scenario is a way of ten hops with what real ones have: one router that is silent, one that limits
// its rate, labels. The destinations in its %s are an eighth, for which all 30 TTLs are asked.
const scenario = `
prefixes: [10.64.0.0/16]
rules: [{delay: 10ms}, {prefix: [%s], silent: true}]
routes:
  - prefix: 10.64.0.0/16
    hops: [10.0.0.1, {router: 10.0.0.2, delay: 1ms}, '*', {router: 10.0.0.4, delay: 5ms, mpls: [16000, 17]}, {router: 10.0.0.5, delay: 5ms},
      {router: 10.0.0.6, rate_limit: 2/s}, {router: 10.0.0.7, delay: 10ms}, {router: 10.0.0.8, quote: 8}, 10.0.0.9]
`

type options struct {
	role     string
	protocol string
	routes   int
	echoes   int
	interval time.Duration
	warmup   time.Duration
	duration time.Duration
	turns    int
	ceiling  float64
}

func main() {
	var o options
	app := kingpin.New("trace", "Measure what following routes costs, in a network namespace of its own.")
	app.HelpFlag.Short('h')
	app.Flag("routes", "How many routes.").Default("256").IntVar(&o.routes)
	app.Flag("protocol", "What they are traced by.").Default("icmp").EnumVar(&o.protocol, "icmp", "tcp", "udp")
	app.Flag("interval", "Time between two rounds of a route.").Default("60s").DurationVar(&o.interval)
	app.Flag("echoes", "How many addresses are sent an echo request a second beside it; 0: a measurement alone.").Default("0").IntVar(&o.echoes)
	app.Flag("warmup", "How long each turn runs before it is measured.").Default("5s").DurationVar(&o.warmup)
	app.Flag("duration", "How long each turn is measured.").Default("60s").DurationVar(&o.duration)
	app.Flag("turns", "How many turns; with --echoes each of them is two, with and without routes.").Default("1").IntVar(&o.turns)
	app.Flag("ceiling", "Fail if a turn takes more than so many percent of a core; 0: never.").Default("0").Float64Var(&o.ceiling)
	app.Flag("role", "What this process is.").Hidden().Default("parent").EnumVar(&o.role, "parent", "lab", "prober", "bare")
	kingpin.MustParse(app.Parse(os.Args[1:]))
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "trace:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.routes < 1 || o.routes > maxRoutes || o.echoes < 0 || o.echoes > maxRoutes*256 || o.interval <= 0 || o.duration <= 0 || o.ceiling < 0 {
		return fmt.Errorf("--routes must be 1 to %d, --echoes 0 to %d, --interval and --duration above 0, --ceiling not below", maxRoutes, maxRoutes*256)
	}
	switch o.role {
	case "lab":
		return lab()
	case "prober", "bare":
		r, err := prober(o)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return err
		}
		return r.under(o.ceiling)
	}
	inside, err := netsim.Prepare()
	switch {
	case err != nil:
		return err
	case inside:
		return parent(o)
	}
	code, err := netsim.Reexec(nil)
	if err == nil && code != 0 {
		os.Exit(code) // the other one has said why
	}
	return err
}

// parent starts the lab and lets the prober have its turns.
func parent(o options) error {
	simulated := namespace.Again("--role", "lab")
	if err := simulated.Start(); err != nil {
		return err
	}
	defer func() {
		_ = simulated.Process.Signal(syscall.SIGTERM)
		_ = simulated.Wait()
	}()
	time.Sleep(time.Second)
	for range o.turns {
		roles := []string{"prober"}
		if o.echoes > 0 {
			roles = []string{"bare", "prober"}
		}
		for _, role := range roles {
			cmd := namespace.Again("--role", role)
			cmd.Stdout = os.Stdout
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s: %w", role, err)
			}
		}
	}
	return nil
}

// lab simulates the internet until it is told to end.
func lab() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var silent []string
	for i := 0; i < maxRoutes; i += 8 {
		silent = append(silent, fmt.Sprintf("10.64.%d.1", i))
	}
	s, err := netsim.Parse("", fmt.Appendf(nil, scenario, strings.Join(silent, ", ")))
	if err != nil {
		return err
	}
	l, err := netsim.Start(ctx, s, netsim.Options{})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
			l.Drain() // the truth of all that is too much to keep
		}
	}
	return l.Close()
}

// result is what a turn says of its measured time.
type result struct {
	Routes   int     `json:"routes"`
	Protocol string  `json:"protocol"`
	Echoes   float64 `json:"echoes"`
	Rounds   int64   `json:"rounds"`
	Reached  int64   `json:"reached"`
	Probes   float64 `json:"probes"`
	Core     float64 `json:"core_percent"`     // of the whole process
	PerRound float64 `json:"cpu_us_per_round"` // of a turn without echoes
	Late     float64 `json:"echoes_later_than_10ms"`
	Lag      float64 `json:"echo_lag_mean_us"`
	Skipped  float64 `json:"skipped"`  // of both kinds
	Heap     float64 `json:"heap_kib"` // in use at the end
}

// under returns an error if the turn took more than so many percent of a core; 0: it never does.
func (r *result) under(ceiling float64) error {
	if ceiling > 0 && r.Core > ceiling {
		return fmt.Errorf("%.2f %% of a core, above the ceiling of %g %%", r.Core, ceiling)
	}
	return nil
}

// prober runs the engines, and without routes in the role bare.
func prober(o options) (r result, err error) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 4) // as package app does
	registry := prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	var rounds, reached atomic.Int64
	if o.role == "prober" {
		table := follow(o)
		err = trace(ctx, group, o, registry, func(k route.Key, dst netip.Addr, round route.Round) {
			rounds.Add(1)
			if n := len(round.Answers); n > 0 && round.Answers[n-1].Kind == route.Arrived {
				reached.Add(1)
			}
			table(k, dst, round)
		})
		r.Routes, r.Protocol = o.routes, o.protocol
	}
	if err == nil && o.echoes > 0 {
		err = ping(ctx, group, o, registry)
	}
	if err != nil {
		return r, err
	}
	time.Sleep(o.warmup)
	first, n, m, used := read(registry), rounds.Load(), reached.Load(), cpuTime()
	time.Sleep(o.duration)
	used = cpuTime() - used
	last := read(registry)
	since := func(name string) float64 { return last[name] - first[name] }
	r.Rounds, r.Reached, r.Probes, r.Echoes = rounds.Load()-n, reached.Load()-m, since("packets_sent_total trace"), since("packets_sent_total icmp")
	r.Core = 100 * used.Seconds() / o.duration.Seconds()
	if o.echoes == 0 {
		r.PerRound = float64(used.Microseconds()) / float64(r.Rounds)
	} else {
		r.Late = since("late icmp")
		r.Lag = 1e6 * since("lag icmp") / r.Echoes
	}
	r.Skipped = since("skipped_probes_total icmp") + since("skipped_probes_total trace")
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	r.Heap = float64(memory.HeapInuse) / 1024
	cancel()
	return r, group.Wait()
}

// trace starts the engine for routes.
func trace(ctx context.Context, group *errgroup.Group, o options, registry *prometheus.Registry, record func(route.Key, netip.Addr, route.Round)) error {
	engine, err := probe.NewTrace(probe.TraceOptions{
		Record: record, Logger: log.NewNopLogger(), Registerer: registry, Health: probe.NewHealth(time.Now),
	})
	if err != nil {
		return err
	}
	var list []probe.TraceTarget
	for _, k := range keys(o) {
		t := probe.TraceTarget{
			Key: k, Interval: o.interval, Timeout: min(time.Second, o.interval/2), MaxHops: 30, Protocol: o.protocol,
		}
		if o.protocol != probe.TraceICMP {
			t.Port = 33434
		}
		list = append(list, t)
	}
	if err := engine.Apply(ctx, list); err != nil {
		return err
	}
	group.Go(func() error { return engine.Run(ctx) })
	return nil
}

// keys are the routes: to the host 1 of each /24.
func keys(o options) (list []route.Key) {
	p := netip.MustParsePrefix(base)
	for i := range o.routes {
		b := p.Addr().As4()
		b[2] = byte(i)
		network := netip.PrefixFrom(netip.AddrFrom4(b), 24)
		list = append(list, route.Key{Prefix: network, Addr: network.Addr().Next()})
	}
	return list
}

// follow makes the table that takes the rounds.
func follow(o options) func(route.Key, netip.Addr, route.Round) {
	table := route.NewTable(func(route.Change) {})
	var specs []route.Spec
	for _, k := range keys(o) {
		specs = append(specs, route.Spec{Key: k, Protocol: o.protocol})
	}
	table.Apply(specs)
	return table.Record
}

// ping starts the engine for echo requests.
func ping(ctx context.Context, group *errgroup.Group, o options, registry *prometheus.Registry) error {
	table := prefix.NewTable(nil)
	engine, err := probe.New(probe.EngineBatch, probe.Options{
		Recorder: table, Logger: log.NewNopLogger(), Registerer: registry, Health: probe.NewHealth(time.Now),
	})
	if err != nil {
		return err
	}
	var list []probe.Target
	var blocks []prefix.Block
	a := netip.MustParsePrefix(base).Addr()
	for i := range o.echoes {
		if i%256 == 0 {
			p, _ := a.Prefix(24)
			blocks = append(blocks, prefix.Block{Prefix: p, Buckets: []float64{.001, .01, .1, 1}})
		}
		b := &blocks[len(blocks)-1]
		b.Targets = append(b.Targets, prefix.Target{Addr: a, Probes: []prefix.TargetProbe{{DownAfter: 3, UpAfter: 1, Expect: prefix.ExpectAll}}})
		list = append(list, probe.Target{Addr: a, Interval: time.Second, Timeout: time.Second, Size: 56, TTL: 64})
		a = a.Next()
	}
	table.Apply(blocks)
	for i := range list {
		list[i].Handle, _ = table.Handle(list[i].Addr, prefix.Probe{})
	}
	if err := engine.Apply(ctx, list); err != nil {
		return err
	}
	group.Go(func() error { return engine.Run(ctx) })
	return nil
}

// read sums the self metrics by name and kind of probe.
func read(registry *prometheus.Registry) map[string]float64 {
	values := map[string]float64{}
	families, _ := registry.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			kind := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "probe" {
					kind = l.GetValue()
				}
			}
			values[strings.TrimPrefix(f.GetName(), "prefix_exporter_")+" "+kind] += m.GetCounter().GetValue()
			if h := m.GetHistogram(); h != nil {
				values["lag "+kind] += h.GetSampleSum()
				values["late "+kind] += float64(h.GetSampleCount())
				for _, b := range h.GetBucket() {
					if b.GetUpperBound() == 0.01 {
						values["late "+kind] -= float64(b.GetCumulativeCount())
					}
				}
			}
		}
	}
	return values
}

// cpuTime is the processor time of this process.
func cpuTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}
