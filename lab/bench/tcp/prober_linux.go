package main

import (
	"context"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/errgroup"

	"prefix_exporter/prefix"
	"prefix_exporter/probe"
)

// prober runs the exporter's own prober, with its table, and without anybody who asks it.
func prober(o options) (result, error) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 4) // as package app does: the loops keep their places while asleep
	registry := prometheus.NewRegistry()
	table := prefix.NewTable(nil)
	with := probe.Options{Recorder: table, Logger: log.NewNopLogger(), Registerer: registry, Health: probe.NewHealth(time.Now)}
	targets := o.targets()
	table.Apply(blocks(targets, o.echoes))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	if err := start(ctx, group, o, with, table, targets); err != nil {
		return result{}, err
	}
	time.Sleep(o.warmup)
	first, used := read(registry, table), cpuTime()
	most := 0.0
	for end := time.Now().Add(o.duration); time.Now().Before(end); {
		time.Sleep(o.duration / 10)
		most = max(most, read(registry, table)["connections tcp"])
	}
	used = cpuTime() - used
	last := read(registry, table)
	since := func(name string) uint64 { return uint64(last[name] - first[name]) }
	r := result{
		What: "prober", Begun: since("packets_sent_total tcp"), Open: int(most), RSS: rss(),
		Answered: since("answered tcp"), TimedOut: since("timeout tcp"), Failed: since("failed tcp"), FalseLoss: since("loud tcp"),
		Skipped: since("skipped_probes_total tcp"), Errors: since("send_errors_total tcp"),
		Echoes: since("packets_sent_total icmp"), EchoesLost: since("loud icmp"), EchoesSkipped: since("skipped_probes_total icmp"),
		EchoesLate: since("late icmp"),
	}
	r.CPUMicros = float64(used.Nanoseconds()) / 1e3 / float64(r.Begun)
	cancel()
	return r, group.Wait()
}

// start starts the engines.
func start(ctx context.Context, group *errgroup.Group, o options, with probe.Options, table *prefix.Table, targets []netip.AddrPort) error {
	engine, err := probe.NewTCP(probe.EngineBatch, with)
	if err != nil {
		return err
	}
	list := make([]probe.TCPTarget, len(targets))
	for i, t := range targets {
		h, _ := table.Handle(t.Addr(), prefix.Probe{Kind: prefix.TCP, Port: t.Port()})
		list[i] = probe.TCPTarget{Addr: t.Addr(), Port: t.Port(), Handle: h, Interval: o.interval, Timeout: o.timeout}
	}
	if err := engine.Apply(ctx, list); err != nil {
		return err
	}
	group.Go(func() error { return engine.Run(ctx) })
	if !o.echoes {
		return nil
	}
	pinger, err := probe.New(probe.EngineBatch, with)
	if err != nil {
		return err
	}
	var pinged []probe.Target
	for i, t := range targets {
		if i > 0 && targets[i-1].Addr() == t.Addr() {
			continue
		}
		h, _ := table.Handle(t.Addr(), prefix.Probe{})
		pinged = append(pinged, probe.Target{Addr: t.Addr(), Handle: h, Interval: time.Second, Timeout: time.Second, Size: 56, TTL: 64})
	}
	if err := pinger.Apply(ctx, pinged); err != nil {
		return err
	}
	group.Go(func() error { return pinger.Run(ctx) })
	return nil
}

// blocks sorts the targets, ascending and the ports of an address together, into blocks.
func blocks(targets []netip.AddrPort, echoes bool) (list []prefix.Block) {
	for _, t := range targets {
		p, _ := t.Addr().Prefix(24)
		if n := len(list); n == 0 || list[n-1].Prefix != p {
			list = append(list, prefix.Block{Prefix: p, Buckets: []float64{.001, .01, .1, 1}})
		}
		b := &list[len(list)-1]
		if n := len(b.Targets); n == 0 || b.Targets[n-1].Addr != t.Addr() {
			b.Targets = append(b.Targets, prefix.Target{Addr: t.Addr()})
			if echoes {
				b.Targets[n].Probes = []prefix.TargetProbe{{DownAfter: 3, UpAfter: 1, Expect: prefix.ExpectAll}}
			}
		}
		last := &b.Targets[len(b.Targets)-1]
		last.Probes = append(last.Probes, prefix.TargetProbe{
			Probe: prefix.Probe{Kind: prefix.TCP, Port: t.Port()}, DownAfter: 2, UpAfter: 1, Expect: prefix.ExpectAll,
		})
	}
	return list
}

// read sums what the exporter says up, by name and kind of probe.
func read(registry *prometheus.Registry, table *prefix.Table) map[string]float64 {
	values := map[string]float64{}
	families, _ := registry.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			kind := label(m, "probe")
			values[strings.TrimPrefix(f.GetName(), "prefix_exporter_")+" "+kind] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if f.GetName() == "prefix_exporter_send_lag_seconds" {
				values["late "+kind] += later(m.GetHistogram(), 0.01)
			}
		}
	}
	var snap prefix.Snapshot
	for _, s := range table.Series() {
		s.Snapshot(&snap)
		kind := s.Probe().Kind.String()
		for o, n := range snap.Counts {
			switch prefix.Outcome(o) {
			case prefix.Answered:
				values["answered "+kind] += float64(n)
				continue
			case prefix.Timeout:
				values["timeout "+kind] += float64(n)
			default:
				values["failed "+kind] += float64(n)
			}
			if s.Prefix().Addr().IsLoopback() {
				values["loud "+kind] += float64(n)
			}
		}
	}
	return values
}

// later counts what a histogram has above one of its bounds.
func later(h *dto.Histogram, bound float64) float64 {
	for _, b := range h.GetBucket() {
		if b.GetUpperBound() == bound {
			return float64(h.GetSampleCount() - b.GetCumulativeCount())
		}
	}
	return 0
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
