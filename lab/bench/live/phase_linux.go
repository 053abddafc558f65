package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"prefix_exporter/frame"
)

// page is one WebSocket that reads all frames, and asks for the summary now and then.
type page struct {
	bytes, frames int           // of the phase
	gap           time.Duration // the longest pause between two frames
	late          time.Duration // the longest time from the beginning of a second to its frame
	skipped       int
	err, pollErr  error
}

// read reads until the context ends.
func (p *page) read(ctx context.Context) {
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/api/v1/frames", nil) //nolint:bodyclose // Dial says that there is nothing to be closed
	if err != nil {
		p.err = err
		return
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(16 << 20)
	var before time.Time
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.err = err
			}
			return
		}
		h, err := frame.ParseHeader(data)
		if err != nil {
			p.err = err
			return
		}
		if h.Flags&frame.Skipped != 0 {
			p.skipped++
		}
		if h.Type != frame.TypeSecond {
			continue
		}
		now := time.Now()
		p.bytes += len(data)
		p.frames++
		p.late = max(p.late, now.Sub(time.Unix(int64(h.Sequence), 0)))
		if !before.IsZero() {
			p.gap = max(p.gap, now.Sub(before))
		}
		before = now
	}
}

// summaryInterval is how often a page asks for the summary, beside its frames.
const summaryInterval = 4 * time.Second

// poll asks for what a page asks for beside its frames until the context ends.
func (p *page) poll(ctx context.Context) {
	ticker := time.NewTicker(summaryInterval)
	defer ticker.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/summary", nil)
		if err == nil {
			var answer *http.Response
			if answer, err = http.DefaultClient.Do(r); err == nil {
				_, err = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close() // nothing was written
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				p.pollErr = err
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// subscribe opens event streams that nobody reads.
func subscribe(n int, prefix string) (closeAll func(), err error) {
	var conns []net.Conn
	closeAll = func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	for i := range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return closeAll, err
		}
		conns = append(conns, c)
		// Half of them ask for every single result, so that there is something not to be read.
		query := [...]string{"", "?probes=1&prefix=" + prefix}[i%2]
		if _, err := fmt.Fprintf(c, "GET /api/v1/events%s HTTP/1.1\r\nHost: x\r\n\r\n", query); err != nil {
			return closeAll, err
		}
	}
	return closeAll, nil
}

// phases lets the phases pass, in turns, and prints a row for each.
func phases(ctx context.Context, o options) error {
	probes := "ICMP every second, TCP 80 and 443 every minute"
	if o.loopback {
		probes = "loopback, ICMP every second"
	}
	fmt.Printf("%d addresses, %s; %s each.\n\n", o.prefixes*256, probes, o.duration)
	fmt.Println("| | CPU | memory | echoes | sent > 10 ms late | late in a loop that only sleeps | its longest pause | skipped | lost | B/s per page | frames | longest without a frame | latest frame | skips |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	for range o.turns {
		for _, p := range []struct {
			name          string
			pages, silent int
		}{
			{"nobody looks", 0, 0},
			{fmt.Sprintf("%d pages", o.pages), o.pages, 0},
			{fmt.Sprintf("%d pages, %d silent subscribers", o.pages, o.silent), o.pages, o.silent},
		} {
			if err := phase(ctx, p.name, p.pages, p.silent, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func phase(ctx context.Context, name string, pages, silent int, o options) error {
	closeAll, err := subscribe(silent, o.prefix(0))
	defer closeAll()
	if err != nil {
		return err
	}
	if err := sleep(ctx, 2*time.Second); err != nil { // the beginning is another question
		return err
	}
	before, err := scrape()
	if err != nil {
		return err
	}
	reading, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	wait, err := startTwin(ctx, o.duration, o.prefixes*256)
	if err != nil {
		return err
	}
	all := make([]page, pages)
	var readers sync.WaitGroup
	for i := range all {
		readers.Go(func() { all[i].read(reading) })
		readers.Go(func() { all[i].poll(reading) })
	}
	<-reading.Done()
	readers.Wait()
	beside, err := wait()
	if err != nil {
		return err
	}
	after, err := scrape()
	if err != nil {
		return err
	}
	row(name, before, after, all, beside, o.duration)
	var failures []error
	for i := range all {
		failures = append(failures, all[i].err, all[i].pollErr)
	}
	return errors.Join(append(failures, ctx.Err())...)
}

func row(name string, before, after map[string]*dto.MetricFamily, pages []page, beside twin, duration time.Duration) {
	grown := func(metric string) float64 { return sum(after, metric) - sum(before, metric) }
	probes, late := lags(after)
	probesBefore, lateBefore := lags(before)
	var total page
	for _, p := range pages {
		total.bytes += p.bytes
		total.frames += p.frames
		total.skipped += p.skipped
		total.gap = max(total.gap, p.gap)
		total.late = max(total.late, p.late)
	}
	n := max(1, len(pages))
	fmt.Printf("| %s | %.1f %% | %.0f MB | %d | %d | %.0f | %v | %.0f | %.0f | %.0f | %d | %v | %v | %d |\n", name,
		100*grown("process_cpu_seconds_total")/duration.Seconds(), sum(after, "process_resident_memory_bytes")/1e6,
		probes-probesBefore, late-lateBefore, beside.late, beside.longest.Round(time.Millisecond), grown("prefix_exporter_skipped_probes_total"), grown("prefix_lost_total"),
		float64(total.bytes)/float64(n)/duration.Seconds(), total.frames/n,
		total.gap.Round(time.Millisecond), total.late.Round(time.Millisecond), total.skipped)
}

// lags returns how many echo requests were sent, and how many of them more than 10 ms late.
func lags(families map[string]*dto.MetricFamily) (all, late uint64) {
	for _, m := range families["prefix_exporter_send_lag_seconds"].GetMetric() {
		if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == "icmp" }) {
			continue
		}
		h := m.GetHistogram()
		all += h.GetSampleCount()
		late += h.GetSampleCount()
		for _, b := range h.Bucket {
			if b.GetUpperBound() == lateAfter.Seconds() {
				late -= b.GetCumulativeCount()
			}
		}
	}
	return all, late
}

// sum adds up the series of a metric.
func sum(families map[string]*dto.MetricFamily, name string) (sum float64) {
	for _, m := range families[name].GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum
}

// wanted are the metrics that are read.
var wanted = []string{
	"prefix_exporter_send_lag_seconds", "prefix_exporter_skipped_probes_total", "prefix_lost_total",
	"process_cpu_seconds_total", "process_resident_memory_bytes",
}

// scrape returns the wanted metrics. The others, a million and a half at 65,536 addresses, are not even read as
// metrics: that would take the lab, which is this process too, a minute.
func scrape() (map[string]*dto.MetricFamily, error) {
	r, err := http.NewRequest(http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept-Encoding", "identity") // packing would cost the exporter more than all the rest
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, answer.Body)
		return nil, errors.New(answer.Status)
	}
	var text bytes.Buffer
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name := bytes.TrimPrefix(lines.Bytes(), []byte("# TYPE "))
		if slices.ContainsFunc(wanted, func(w string) bool { return bytes.HasPrefix(name, []byte(w)) }) {
			text.Write(lines.Bytes())
			text.WriteByte('\n')
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(&text)
}
