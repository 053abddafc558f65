package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// slice is how much time is written of every series before the next slice: Prometheus
	// takes samples up to an hour older than its newest one.
	slice = 30 * time.Minute
	// batch is how many series one request has: 250 kB, far from any limit.
	batch = 200
)

// written says how much was.
type written struct{ series, samples int }

// write sends the samples of all series by remote write, protocol 1.0.
func (w world) write(ctx context.Context, address string) (n written, err error) {
	all := w.all()
	for _, s := range all {
		sortPairs(s.labels)
	}
	n.series = len(all)
	start := w.end.Add(-w.span)
	for from := start; from.Before(w.end); from = from.Add(slice) {
		to := from.Add(slice)
		if !to.Before(w.end) {
			to = w.end.Add(time.Nanosecond) // the last scrape is that of now
		}
		for some := range slices.Chunk(all, batch) {
			var request []byte
			for _, s := range some {
				one, samples := w.encode(s, start, from, to)
				request = protowire.AppendTag(request, 1, protowire.BytesType)
				request = protowire.AppendBytes(request, one)
				n.samples += samples
			}
			if err := send(ctx, address, request); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// sortPairs sorts labels by name, as the protocol demands.
func sortPairs(labels []string) {
	type pair struct{ name, value string }
	var pairs []pair
	for i := 0; i < len(labels); i += 2 {
		pairs = append(pairs, pair{labels[i], labels[i+1]})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	for i, p := range pairs {
		labels[2*i], labels[2*i+1] = p.name, p.value
	}
}

// encode writes a TimeSeries message with the samples of [from, to), and counts them.
func (w world) encode(s series, start, from, to time.Time) (b []byte, samples int) {
	for i := 0; i < len(s.labels); i += 2 {
		if s.labels[i+1] == "" {
			continue // an empty label is no label
		}
		var label []byte
		label = protowire.AppendString(protowire.AppendTag(label, 1, protowire.BytesType), s.labels[i])
		label = protowire.AppendString(protowire.AppendTag(label, 2, protowire.BytesType), s.labels[i+1])
		b = protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), label)
	}
	var sample []byte
	for t := from; t.Before(to); t = t.Add(w.scrape) {
		value := s.value(t.Sub(start).Seconds())
		sample = protowire.AppendFixed64(protowire.AppendTag(sample[:0], 1, protowire.Fixed64Type), math.Float64bits(value))
		sample = protowire.AppendVarint(protowire.AppendTag(sample, 2, protowire.VarintType), uint64(t.UnixMilli()))
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), sample)
		samples++
	}
	return b, samples
}

func send(ctx context.Context, address string, request []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, request)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return err
}
