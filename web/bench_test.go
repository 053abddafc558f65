package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

// BenchmarkAnswers asks for each answer of the API over and over, with an hour of history behind it, while
// as many results are recorded as each second has, and somebody wants the lock of the frames each millisecond. It reports
// what an answer takes, how large it is, and how long the recording of a result took at most, and getting the lock: but for
// the longest 0.1 % and 1 % of the times, in most of which it was the machine that did something else.
func BenchmarkAnswers(b *testing.B) {
	for _, prefixes := range []int{40, 256} {
		h, frames, record := history(b, prefixes)
		// The hour has been added up, which the first one who asks in a minute does: BenchmarkHour of package frame.
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", pathAPI+"summary", nil))
		for _, path := range []string{
			"summary", "prefixes", "prefixes/10.0.7.0/24", "ips/10.0.7.9", "history/10.0.7.0/24", "history/10.0.7.0/24?span=minute",
			"references/mean", "events?follow=false&ip=10.0.7.9", "events?follow=false",
		} {
			b.Run(fmt.Sprintf("addresses=%d/%s", prefixes*prefix.BlockSize, strings.ReplaceAll(path, "/", "_")), func(b *testing.B) {
				recorded, locked := repeat(100, record), repeat(1, func(int) { frames.Minute() })
				request := httptest.NewRequest("GET", pathAPI+path, nil)
				size := 0
				b.ReportAllocs()
				for b.Loop() {
					answer := httptest.NewRecorder()
					h.ServeHTTP(answer, request)
					if answer.Code != http.StatusOK {
						b.Fatalf("%d: %s", answer.Code, answer.Body)
					}
					size = answer.Body.Len()
				}
				b.ReportMetric(float64(size), "answer-B")
				b.ReportMetric(recorded(0.999), "record-p999-µs")
				b.ReportMetric(locked(0.99), "locked-p99-µs")
			})
		}
	}
}

// repeat does something over and over, with a pause of a millisecond after every so many times, until what it returns is called,
// which returns how long it took, microseconds, in this share of the times at most.
func repeat(every int, do func(i int)) func(share float64) float64 {
	stop, result := make(chan struct{}), make(chan []time.Duration)
	go func() {
		var took []time.Duration
		for i := 0; ; i++ {
			if i%every == 0 {
				select {
				case <-stop:
					slices.Sort(took)
					result <- took
					return
				case <-time.After(time.Millisecond):
				}
			}
			begin := time.Now()
			do(i)
			took = append(took, time.Since(begin))
		}
	}()
	return func(share float64) float64 {
		close(stop)
		all := <-result
		return float64(all[int(share*float64(len(all)))].Nanoseconds()) / 1e3
	}
}

// history is a handler of so many /24s with three probes, all of which have answered for an hour. record records
// the i-th of further results, one of a thousand of which is a loss that makes an event.
func history(b *testing.B, prefixes int) (h http.Handler, frames *frame.Recorder, record func(i int)) {
	b.Helper()
	events := event.New(event.Options{Registerer: prometheus.NewRegistry()})
	table := prefix.NewTable(func(c prefix.Change) {
		events.Publish(event.Event{Type: c.To.String(), Prefix: c.Prefix, IP: c.Addr, TargetID: prefix.TargetID(c.Addr), From: c.From.String(), To: c.To.String()})
	})
	probes := []prefix.Probe{{}, {Kind: prefix.TCP, Port: 80}, {Kind: prefix.TCP, Port: 443}}
	handles := fill(table, prefixes, probes...)
	frames = frame.New(frame.Options{Table: table})
	now := time.Unix(ahead+20, 0) // a minute begins
	for i := range frame.HistoryMinutes + 2 {
		frames.Tick(now)
		for k, handle := range handles {
			table.Record(handle, now, prefix.Answered, time.Duration(k+i)*time.Microsecond)
			if k%len(probes) == 0 { // else one a minute
				table.Record(handle, now, prefix.Answered, time.Duration(k+2*i)*time.Microsecond)
			}
		}
		now = now.Add(time.Minute)
	}
	frames.Tick(now)
	for range event.Capacity {
		events.Publish(event.Event{Type: event.TypeUp, Prefix: netip.MustParsePrefix("10.0.7.0/24"), IP: netip.MustParseAddr("10.0.7.8"), Detail: "answered"})
	}
	record = func(i int) {
		if i %= len(handles); i == 0 {
			frames.Tick(now)
		}
		outcome := prefix.Answered
		if i%1000 == 999 {
			outcome = prefix.Timeout
		}
		table.Record(handles[i], now, outcome, time.Millisecond)
	}
	return newHandler(b, Options{Table: table, Frames: frames, Events: events}), frames, record
}
