//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// describe writes what the figures depend on: the machine, and how to repeat it.
func describe(w io.Writer, args []string, how plan) {
	var name unix.Utsname
	kernel := "unknown"
	if unix.Uname(&name) == nil {
		kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:]) + " " + unix.ByteSliceToString(name.Machine[:])
	}
	load, _, _ := strings.Cut(firstLine("/proc/loadavg", ""), " ")
	fmt.Fprintf(w, "- %s, %s, %d processors (%s), %s memory, load %s at the start\n", time.Now().Format("2006-01-02"),
		kernel, runtime.NumCPU(), firstLine("/proc/cpuinfo", "model name"), firstLine("/proc/meminfo", "MemTotal"), load)
	fmt.Fprintf(w, "- %s; %s after %s of warm-up; endpoints scraped every %s with gzip\n", runtime.Version(), how.window, how.warmup, how.scrapeEvery)
	fmt.Fprintf(w, "- `go run ./lab/bench/compare %s`\n", strings.Join(args, " "))
}

// firstLine returns the value of the first line of a file of proc(5) with the key,
// or the whole first line.
func firstLine(file, key string) string {
	data, err := os.ReadFile(filepath.Clean(file))
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

const tableHeader = `
| addresses | program | echoes/s | CPU, % of a core | CPU, µs/echo | peak RSS, MiB | lost | late | scrape, ms | scrape, KiB gzip | RTT, µs |
|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

// writeHeader begins the table; writeRow adds to it as results come.
func writeHeader(w io.Writer) { fmt.Fprint(w, tableHeader) }

func writeRow(w io.Writer, r result) {
	const unknown = "–"
	cells := []string{fmt.Sprint(r.addresses), r.program, unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown}
	if r.cpuPercent > 0 {
		cells[3], cells[5] = fmt.Sprintf("%.1f", r.cpuPercent), fmt.Sprintf("%.0f", r.peakRSS)
	}
	if r.rate > 0 {
		cells[2], cells[4] = fmt.Sprintf("%.0f", r.rate), fmt.Sprintf("%.1f", r.microsEcho)
		cells[6], cells[7], cells[10] = lost(r.tally), fmt.Sprintf("%.0f", r.tally.late), r.tally.rtt
	}
	if len(r.scrapeTimes) > 0 {
		cells[8], cells[9] = fmt.Sprintf("%.0f", r.medianScrape().Seconds()*1e3), fmt.Sprintf("%.0f", float64(r.scrapeBytes)/1024)
	} else if r.scrapeErr != nil {
		cells[8] = "failed"
	}
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

// lost says how many and, when there are any, what part that is of all.
func lost(t tally) string {
	if t.lost == 0 || t.sent == 0 {
		return fmt.Sprintf("%.0f", t.lost)
	}
	return fmt.Sprintf("%.0f (%.2g %%)", t.lost, 100*t.lost/t.sent)
}

// pair is one run of the floor and one of the exporter, one right after the other.
type pair struct{ bare, exporter result }

// ratio is the exporter's processor time per echo over the floor's.
func (p pair) ratio() float64 { return p.exporter.microsEcho / p.bare.microsEcho }

func (p pair) failed() bool { return p.bare.err != nil || p.exporter.err != nil }

const ratioHeader = `
| addresses | run | bare loop: % of a core | µs/echo | lost | prefix_exporter: % of a core | µs/echo | lost | late | peak RSS, MiB | RTT, µs | ratio |
|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

func writeRatioHeader(w io.Writer) { fmt.Fprint(w, ratioHeader) }

func writePair(w io.Writer, n int, p pair) {
	if p.failed() {
		fmt.Fprintf(w, "| %d | %d | failed, see below |\n", p.bare.addresses, n)
		return
	}
	b, e := p.bare, p.exporter
	fmt.Fprintf(w, "| %d | %d | %.1f | %.2f | %s | %.1f | %.2f | %s | %.0f | %.0f | %s | %.2f |\n", b.addresses, n, b.cpuPercent, b.microsEcho,
		lost(b.tally), e.cpuPercent, e.microsEcho, lost(e.tally), e.tally.late, e.peakRSS, e.tally.rtt, p.ratio())
}

// writeMedian ends the rows of one number of addresses.
func writeMedian(w io.Writer, addresses int, pairs []pair) {
	var ratios []float64
	for _, p := range pairs {
		if !p.failed() {
			ratios = append(ratios, p.ratio())
		}
	}
	if len(ratios) > 0 {
		slices.Sort(ratios)
		middle := (ratios[len(ratios)/2] + ratios[(len(ratios)-1)/2]) / 2
		fmt.Fprintf(w, "| %d | median | | | | | | | | | | **%.2f** |\n", addresses, middle)
	}
}

// writeNotes lists what programs said about themselves beside their results, and
// why figures are missing.
func writeNotes(w io.Writer, results []result) {
	fmt.Fprintln(w)
	for _, r := range results {
		notes := r.tally.notes
		if r.scrapeErr != nil {
			notes = append(notes, "a scrape failed: "+r.scrapeErr.Error())
		}
		if r.err != nil {
			notes = append(notes, r.err.Error())
		}
		if len(notes) > 0 {
			text := strings.ReplaceAll(strings.Join(notes, ", "), "\n", "; ")
			fmt.Fprintf(w, "- %s, %d addresses: %s\n", r.program, r.addresses, text)
		}
	}
}
