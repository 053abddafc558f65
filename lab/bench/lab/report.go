//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"
)

// describe writes what the figures depend on: the machine, and how to repeat it.
func describe(w io.Writer, args string, o options, priority error) {
	var name unix.Utsname
	kernel := "unknown"
	if unix.Uname(&name) == nil {
		kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])
	}
	load, _, _ := strings.Cut(firstLine("/proc/loadavg", ""), " ")
	how := "under SCHED_FIFO"
	if priority != nil {
		how = "without priority (" + priority.Error() + ")"
	}
	fmt.Fprintf(w, "- %s, %s, %d processors (%s), load %s at the start\n", time.Now().Format("2006-01-02"),
		kernel, runtime.NumCPU(), firstLine("/proc/cpuinfo", "model name"), load)
	fmt.Fprintf(w, "- %s; %d addresses, one echo a second each; three phases of %s; the lab %s, spinning %s\n",
		runtime.Version(), 256*o.prefixes, o.duration, how, o.spin)
	fmt.Fprintf(w, "- `go run ./lab/bench/lab %s`\n", args)
}

// firstLine returns the value of the first line of a file of proc(5) with the key,
// or the whole first line.
func firstLine(file, key string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, key) {
			if _, value, found := strings.Cut(line, ":"); found && key != "" {
				line = value
			}
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return "unknown"
}

// report writes the tables.
func (c *comparison) report(w io.Writer, phases []phase) {
	fmt.Fprint(w, "\n| RTT against the lab's record, µs | probes | median error | p99 | p99.9 | largest | largest below the truth |\n|---|--:|--:|--:|--:|--:|--:|\n")
	row := func(name string, fits func(measured) bool) {
		off, below := c.errors(fits)
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %s |\n", name, len(off), micros(percentile(off, .5)),
			micros(percentile(off, .99)), micros(percentile(off, .999)), micros(percentile(off, 1)), micros(below))
	}
	row("**all**", func(measured) bool { return true })
	for _, d := range decades() {
		row("held for "+d.name, d.fits)
	}
	for _, p := range phases {
		row(p.name, p.holds)
	}

	fmt.Fprint(w, "\n| what the lab does | addresses | probes | lost by its record | by the exporter | duplicates by its record | by the exporter | probes that differ |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	var all ledger
	for _, k := range kinds() {
		if l := c.ledgers[k.name]; l != nil {
			l.row(w, k.name)
			all.add(l)
		}
	}
	all.row(w, "**all**")
	if all.late > 0 {
		fmt.Fprintf(w, "\nThe lab itself was held up: it answered %d of the lost after their timeout.\n", all.late)
	}
	if all.differ > 0 || c.phantoms > 0 {
		fmt.Fprintf(w, "\nOf %d probes the exporter does not tell the end, of %d it tells another one; %d of its packets are not in the record.\n",
			all.unknown, all.unexpected, c.phantoms)
	}

	fmt.Fprint(w, "\n| phase | scrapes | echoes | skipped | send lag, ms: median | p99 | p99.9 | over 10 ms | fullest 10 ms, times its share | 10 ms with over 1.5 times |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, p := range phases {
		h := lagOf(p)
		fullest, tooFull := c.evenness(p.began, p.ended)
		fmt.Fprintf(w, "| %s | %d | %.0f | %.0f | %.2f | %.2f | %.2f | %.3f %% | %.2f | %.2f %% |\n", p.name, p.scrapes, h.count,
			p.rise("prefix_exporter_skipped_probes_total"), 1e3*h.quantile(.5), 1e3*h.quantile(.99), 1e3*h.quantile(.999),
			100*h.over(.01), fullest, 100*tooFull)
	}
}

func micros(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/1e3) }

func (l *ledger) add(m *ledger) {
	l.addresses += m.addresses
	l.probes += m.probes
	l.lost += m.lost
	l.lostSeen += m.lostSeen
	l.late += m.late
	l.copies += m.copies
	l.copiesSeen += m.copiesSeen
	l.differ += m.differ
	l.unknown += m.unknown
	l.unexpected += m.unexpected
}

func (l *ledger) row(w io.Writer, name string) {
	fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %d | %d | %d |\n", name, l.addresses, l.probes, l.lost, l.lostSeen, l.copies, l.copiesSeen, l.differ)
}

// holds says whether a probe was sent in the phase.
func (p *phase) holds(m measured) bool { return m.sent.After(p.began) && m.sent.Before(p.ended) }

// rise returns by how much a counter has risen in the phase.
func (p *phase) rise(name string) float64 { return sum(p.after, name, "") - sum(p.before, name, "") }

// histogram is what was observed between two scrapes.
type histogram struct {
	count  float64
	bounds []float64 // ascending, the last one infinite
	below  []float64 // observations up to each bound
}

// lagOf returns by how much probes of a phase were late.
func lagOf(p phase) (h histogram) {
	const name = "prefix_exporter_send_lag_seconds"
	before, after := only(p.before[name]), only(p.after[name])
	h.count = float64(after.GetSampleCount() - before.GetSampleCount())
	for i, b := range after.GetBucket() {
		h.bounds = append(h.bounds, b.GetUpperBound())
		h.below = append(h.below, float64(b.GetCumulativeCount()-before.GetBucket()[i].GetCumulativeCount()))
	}
	return h
}

func only(f *dto.MetricFamily) *dto.Histogram { return f.GetMetric()[0].GetHistogram() }

// quantile interpolates within a bucket, as histogram_quantile of Prometheus does. Beyond
// the last finite bound it is infinite.
func (h histogram) quantile(q float64) float64 {
	rank, low, under := q*h.count, 0.0, 0.0
	for i, bound := range h.bounds {
		if h.below[i] >= rank {
			if math.IsInf(bound, 1) || h.below[i] == under {
				return bound
			}
			return low + (bound-low)*(rank-under)/(h.below[i]-under)
		}
		low, under = bound, h.below[i]
	}
	return math.Inf(1)
}

// over returns the share of observations above one of the bounds.
func (h histogram) over(bound float64) float64 {
	for i, b := range h.bounds {
		if b >= bound {
			return 1 - h.below[i]/h.count
		}
	}
	return 0
}
