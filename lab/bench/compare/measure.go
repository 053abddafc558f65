//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
)

// readyPatience is how long a program may take until its endpoint accepts; one that
// opens a socket for each of 10,000 addresses was seen to take half a minute.
const readyPatience = 2 * time.Minute

// plan is how each program is measured.
type plan struct {
	warmup, window time.Duration
	scrapeEvery    time.Duration
	tick           time.Duration // of the bare loop; the same as the exporter's
}

// result is one program with one number of addresses.
type result struct {
	program     string
	addresses   int
	cpuPercent  float64 // of one core, within the window
	rate        float64 // echo requests a second that it really sent
	microsEcho  float64 // processor time per echo request
	peakRSS     float64 // MiB, at the end of the window
	scrapeTimes []time.Duration
	scrapeBytes int   // compressed
	scrapeErr   error // of the last scrape that failed; the others are still figures
	tally       tally
	err         error // why some or all figures are missing
}

// measure runs one program alone and returns what it cost. Only an interruption is
// an error; a program that fails is a result that says so.
func measure(ctx context.Context, p program, addresses int, how plan) (result, error) {
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	r := result{program: p.name, addresses: addresses}
	t := task{addresses: addresses, tick: how.tick, dir: dir, atMost: how.warmup + how.window + readyPatience}
	r.err = r.run(ctx, p, t, how)
	return r, ctx.Err()
}

func (r *result) run(ctx context.Context, p program, t task, how plan) (err error) {
	args, err := p.args(t)
	if err != nil {
		return err
	}
	process, err := startProcess(p.path, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.stop()) }()

	if p.listen != "" {
		if err := ready(ctx, process, p.listen); err != nil {
			return err
		}
	}
	if err := sleep(ctx, how.warmup); err != nil {
		return err
	}
	if p.listen == "" {
		err = r.listen(ctx, p, process, how)
	} else {
		err = r.scrape(ctx, p, process, how)
	}
	if r.rate > 0 {
		r.microsEcho = r.cpuPercent / 100 / r.rate * 1e6
	}
	return err
}

// listen measures a program that tells its sums when it ends.
func (r *result) listen(ctx context.Context, p program, process *process, how plan) error {
	if err := r.window(ctx, p, process, how); err != nil {
		return err
	}
	if err := process.stop(); err != nil {
		return err
	}
	var err error
	r.tally, err = p.parse(process.stdout.String(), process.stderr.String())
	r.rate = r.tally.sent / process.ended.Sub(process.began).Seconds()
	return err
}

// scrape measures a program that has an endpoint. What it cost is known also when
// it is too busy to answer.
func (r *result) scrape(ctx context.Context, p program, process *process, how plan) error {
	before, beforeAt, askErr := p.ask(ctx)
	if err := r.window(ctx, p, process, how); err != nil {
		return err
	}
	after, afterAt, err := p.ask(ctx)
	if err := errors.Join(askErr, err); err != nil {
		return err
	}
	r.tally, r.rate = after, (after.sent-before.sent)/afterAt.Sub(beforeAt).Seconds()
	if p.settles {
		r.tally.sent -= before.sent
		// Echoes in flight at either scrape may make it look like a gain.
		r.tally.lost = max(r.tally.lost-before.lost, 0)
	}
	return p.rtt(ctx, &r.tally)
}

// window measures the processor time of the process over the window, in which its
// endpoint is scraped as a Prometheus would.
func (r *result) window(ctx context.Context, p program, process *process, how plan) error {
	start := time.Now()
	cpu0, err := process.cpu()
	if err != nil {
		return err
	}
	if p.listen != "" {
		// In the middle of each period, so that the window holds whole scrapes.
		every := min(how.scrapeEvery, how.window)
		for at := every / 2; at < how.window; at += every {
			if err := sleep(ctx, time.Until(start.Add(at))); err != nil {
				return err
			}
			s, err := fetch(ctx, p.url(), textFormat, scrapeTimeout)
			if err != nil {
				r.scrapeErr = err
				continue
			}
			r.scrapeTimes, r.scrapeBytes = append(r.scrapeTimes, s.took), len(s.body)
		}
	}
	if err := sleep(ctx, time.Until(start.Add(how.window))); err != nil {
		return err
	}
	if err := process.gone(); err != nil {
		return err
	}
	cpu1, err := process.cpu()
	if err != nil {
		return err
	}
	r.cpuPercent = 100 * float64(cpu1-cpu0) / float64(time.Since(start))
	r.peakRSS, err = process.peakRSS()
	return err
}

// ask scrapes the program and counts.
func (p program) ask(ctx context.Context) (tally, time.Time, error) {
	s, err := fetch(ctx, p.url(), textFormat, countTimeout)
	if err != nil {
		return tally{}, time.Time{}, err
	}
	sums, err := s.sums()
	if err != nil {
		return tally{}, time.Time{}, err
	}
	return p.count(sums), s.at, nil
}

// medianScrape returns the middle scrape time, 0 if there was no scrape.
func (r result) medianScrape() time.Duration {
	if len(r.scrapeTimes) == 0 {
		return 0
	}
	times := slices.Sorted(slices.Values(r.scrapeTimes))
	return times[len(times)/2]
}

// ready waits until the program accepts connections.
func ready(ctx context.Context, process *process, address string) error {
	for end := time.Now().Add(readyPatience); ; {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		if gone := process.gone(); gone != nil {
			return gone
		}
		if time.Now().After(end) {
			return fmt.Errorf("not ready after %v: %w", readyPatience, err)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
