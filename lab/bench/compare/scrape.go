//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

const (
	// scrapeTimeout is Prometheus's own: what takes longer is no sample there.
	scrapeTimeout = 10 * time.Second
	// countTimeout is for the scrapes outside of the measured window that count
	// sent and lost; a program that struggles shall still be able to tell.
	countTimeout = time.Minute

	textFormat     = "text/plain;version=0.0.4"
	protobufFormat = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// scrape is one answer of a metrics endpoint, compressed as Prometheus asks for it.
type scrape struct {
	at   time.Time // when the answer was complete
	took time.Duration
	body []byte // as it came over the wire
	gzip bool
}

func fetch(ctx context.Context, url, accept string, timeout time.Duration) (scrape, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return scrape{}, err
	}
	request.Header.Set("Accept", accept)
	// Set by hand, so that Go leaves the body as it is: unpacking it here would take
	// processor time away from the program that is being measured.
	request.Header.Set("Accept-Encoding", "gzip")
	start := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return scrape{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return scrape{}, fmt.Errorf("reading %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return scrape{}, fmt.Errorf("scraping %s: %s", url, response.Status)
	}
	end := time.Now()
	return scrape{at: end, took: end.Sub(start), body: body, gzip: response.Header.Get("Content-Encoding") == "gzip"}, nil
}

func (s scrape) reader() (io.Reader, error) {
	if !s.gzip {
		return bytes.NewReader(s.body), nil
	}
	return gzip.NewReader(bytes.NewReader(s.body))
}

// sums returns the values of a scrape in text format, added up by metric name. That
// is all a comparison needs, and it copes with half a million series.
func (s scrape) sums() (map[string]float64, error) {
	r, err := s.reader()
	if err != nil {
		return nil, err
	}
	sums := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		end := strings.IndexAny(line, "{ ")
		if end <= 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		sums[line[:end]] += value
	}
	return sums, lines.Err()
}

// nativeMedian returns the median of all histograms of a family in a scrape in
// protobuf format, NaN where there is no native histogram with anything in it.
func (s scrape) nativeMedian(family string) (float64, error) {
	r, err := s.reader()
	if err != nil {
		return 0, err
	}
	decoder := expfmt.NewDecoder(r, expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var mf dto.MetricFamily
		switch err := decoder.Decode(&mf); {
		case errors.Is(err, io.EOF):
			return math.NaN(), nil
		case err != nil:
			return 0, fmt.Errorf("decoding protobuf: %w", err)
		case mf.GetName() == family:
			return median(mf.GetMetric()), nil
		}
	}
}

// bucket is one populated bucket of a native histogram.
type bucket struct{ value, count float64 }

// median merges native histograms and returns the middle of the bucket that holds
// the median, in the geometric sense in which these buckets are spaced.
func median(metrics []*dto.Metric) float64 {
	var buckets []bucket
	var total float64
	for _, m := range metrics {
		h := m.GetHistogram()
		if h == nil || len(h.GetPositiveSpan()) == 0 && h.GetZeroCount() == 0 {
			continue
		}
		if n := float64(h.GetZeroCount()); n > 0 {
			buckets = append(buckets, bucket{0, n})
			total += n
		}
		// Bucket i ends at base^i; counts are deltas, positions are gaps.
		base := math.Exp2(math.Exp2(-float64(h.GetSchema())))
		var index, next, count int
		for _, span := range h.GetPositiveSpan() {
			index += int(span.GetOffset())
			for range span.GetLength() {
				count += int(h.GetPositiveDelta()[next])
				buckets = append(buckets, bucket{math.Pow(base, float64(index)-0.5), float64(count)})
				total += float64(count)
				next++
				index++
			}
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.value, b.value) })
	var seen float64
	for _, b := range buckets {
		if seen += b.count; seen >= total/2 && total > 0 {
			return b.value
		}
	}
	return math.NaN()
}
