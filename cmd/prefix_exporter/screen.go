package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"prefix_exporter/probe"
	"prefix_exporter/route"
)

// screen shows a route as a table, on a terminal over the one before.
type screen struct {
	out io.Writer
	// size is that of the terminal in characters and lines; nil: it is none.
	size  func() (width, height int)
	lines int // of the table that is on the terminal now
}

// show draws the table anew if somebody watches.
func (s *screen) show(r route.Route, troubles []probe.Trouble) error {
	if s.size == nil {
		return nil
	}
	width, height := s.size()
	return s.draw(fit(traceTable(r, troubles), width, height))
}

// end draws the table for the last time, all of it.
func (s *screen) end(r route.Route, troubles []probe.Trouble) error {
	return s.draw(traceTable(r, troubles))
}

// upAndClear is in ECMA-48, which every terminal of this century knows.
const upAndClear = "\x1b[%dF\x1b[J" // CPL: to the beginning of so many lines above; ED: clear what is below

func (s *screen) draw(table string) error {
	var b bytes.Buffer
	if s.lines > 0 {
		fmt.Fprintf(&b, upAndClear, s.lines)
	}
	s.lines = strings.Count(table, "\n")
	b.WriteString(table)
	_, err := s.out.Write(b.Bytes()) // in one piece, so that nothing flickers
	return err
}

// fit cuts a table at the edges of the terminal: a line that is wrapped would be two to go
// back, and what has scrolled out at the top cannot be gone back to. The last line is the cursor's.
func fit(table string, width, height int) string {
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if most := max(height-1, 1); len(lines) > most {
		lines = append(lines[:most-1], fmt.Sprintf("… %d lines more", len(lines)-most+1))
	}
	for i, line := range lines {
		text := []rune(line)
		lines[i] = string(text[:min(len(text), max(width, 1))])
	}
	return strings.Join(lines, "\n") + "\n"
}

// traceTable is a route as text, with the columns of mtr(8). Times are milliseconds.
func traceTable(r route.Route, troubles []probe.Trouble) string {
	var b strings.Builder
	protocol := r.Protocol
	if r.Port != 0 {
		protocol = fmt.Sprintf("%s/%d", protocol, r.Port)
	}
	fmt.Fprintf(&b, "route to %s by %s, round %d", r.Addr, protocol, r.Rounds)
	if !r.Last.IsZero() {
		fmt.Fprintf(&b, " of %s", r.Last.Format(time.DateTime))
	}
	wide := len("router")
	for _, h := range r.Hops {
		wide = max(wide, len(routerOf(h)))
	}
	fmt.Fprintf(&b, "\n%3s  %-*s %6s %5s %8s %8s %8s %8s %8s\n", "", wide, "router", "Loss%", "Snt", "Last", "Avg", "Best", "Wrst", "StDev")
	for _, h := range r.Hops {
		fmt.Fprintf(&b, "%3d. %-*s %5.1f%% %5d", h.TTL, wide, routerOf(h), 100*lossOf(h), h.Sent)
		if h.Answered > 0 {
			last := "*"
			if h.Last > 0 {
				last = milliseconds(h.Last)
			}
			fmt.Fprintf(&b, " %8s %8s %8s %8s %8s", last, milliseconds(h.Mean), milliseconds(h.Best), milliseconds(h.Worst), milliseconds(h.StdDev))
		}
		if h.RateLimited {
			b.WriteString("  rate limited")
		}
		for _, l := range h.Labels {
			fmt.Fprintf(&b, "  [%s]", l)
		}
		b.WriteByte('\n')
	}
	if end := r.Path.Status; end != route.Reached && end != route.Pending {
		fmt.Fprintf(&b, "not reached: %s\n", r.Path)
	}
	for _, t := range troubles {
		fmt.Fprintf(&b, "not to be trusted: %s: %s\n", t.Reason, t.Detail)
	}
	for _, c := range slices.Backward(r.Changes) { // the newest first: the others may be cut off
		fmt.Fprintf(&b, "%s  %s\n", c.At.Format(time.TimeOnly), c)
	}
	return b.String()
}

func routerOf(h route.Hop) string {
	if !h.Router.IsValid() {
		return "*"
	}
	return h.Router.String()
}

// lossOf is the loss of a hop since it was first asked, 0 to 1.
func lossOf(h route.Hop) float64 {
	if h.Sent == 0 {
		return 0
	}
	return 1 - float64(h.Answered)/float64(h.Sent)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/1e6) }
