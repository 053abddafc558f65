package collector

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

const (
	// maxInFlight is the default of Options.MaxInFlight: a pair of Prometheus servers,
	// and someone who looks on.
	maxInFlight = 4
	// maxWait is how long a scrape waits for its turn while others run, half of the timeout
	// that Prometheus has by default: each of them takes less than a second, unless its
	// client does not read.
	maxWait = 5 * time.Second
	// patience is what a client may take to read a chunk when somebody else needs its place.
	patience = time.Second
	// maxWrite is how long a client may take to read a scrape if it does not say: the
	// longest scrape interval in common use.
	maxWrite = time.Minute
	// scrapeTimeout is the header in which Prometheus says how long it will wait.
	scrapeTimeout = "X-Prometheus-Scrape-Timeout-Seconds"
)

// Options of a Handler. The zero value is good.
type Options struct {
	// MaxInFlight is how many scrapes may be encoded at once; others wait for their turn, for 5 s
	// at most, and then get status 503. Each needs about 100 bytes per address and probe, and
	// twice as many answers wait for their clients with 4 MiB each at most. 0: 4.
	MaxInFlight int
	// Logger is told of what is missing from a scrape, and why. Nil: nobody is.
	Logger log.Logger
}

// handler serves scrapes.
type handler struct {
	*Collector
	gatherer prometheus.Gatherer
	options  Options

	duration *prometheus.HistogramVec
	size     *prometheus.GaugeVec
	errors   *prometheus.CounterVec

	places   chan struct{} // holds a token for each scrape that is being encoded
	outboxes outboxes

	mu   sync.Mutex
	idle *scrape // one is kept; a second one is rare enough to be made anew
}

// Handler serves everything that the table holds together with what gatherer gathers:
// metrics of other names, usually about the exporter itself. Its own metrics about
// scrapes are registered with self. It answers in the text format, OpenMetrics or
// delimited protobuf, as the client accepts, compressed with gzip if it may be.
// A slow client blocks nobody: neither a lock nor a place among the running scrapes is held
// while it is written to, and what waits for it is bounded.
func (c *Collector) Handler(gatherer prometheus.Gatherer, self prometheus.Registerer, o Options) http.Handler {
	if o.MaxInFlight == 0 {
		o.MaxInFlight = maxInFlight
	}
	if o.Logger == nil {
		o.Logger = log.NewNopLogger()
	}
	duration, size, failed := metric(ScrapeDuration), metric(ScrapeSize), metric(ScrapeErrors)
	h := &handler{
		Collector: c, gatherer: gatherer, options: o,
		places:   make(chan struct{}, o.MaxInFlight),
		outboxes: outboxes{most: outboxesEach * o.MaxInFlight, bytes: outboxBytes},
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: duration.Name, Help: duration.Help,
			// From a small table on an idle machine to Prometheus' default timeout.
			Buckets:                        []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor:    1.1,
			NativeHistogramMaxBucketNumber: 100,
		}, duration.Labels),
		size:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: size.Name, Help: size.Help}, size.Labels),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: failed.Name, Help: failed.Help}, failed.Labels),
	}
	for _, cause := range []string{causeBusy, causeGather, causeEncode, causeWrite} {
		h.errors.WithLabelValues(cause)
	}
	self.MustRegister(h.duration, h.size, h.errors)
	return h
}

// The values of the label cause.
const (
	causeBusy   = "busy"
	causeGather = "gather"
	causeEncode = "encode"
	causeWrite  = "write"
)

// ServeHTTP answers one scrape.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if !h.enter(r.Context()) {
		h.errors.WithLabelValues(causeBusy).Inc()
		http.Error(w, "too many scrapes at once: at most "+strconv.Itoa(h.options.MaxInFlight), http.StatusServiceUnavailable)
		return
	}
	// A client that never reads must not be waited for for ever. Not every ResponseWriter
	// has deadlines; then the server's own ones must do.
	control := http.NewResponseController(w)
	if control.SetWriteDeadline(start.Add(writeTimeout(r.Header))) == nil {
		// What the server itself writes at the end has one as well.
		defer func() { _ = control.SetWriteDeadline(time.Now().Add(maxWrite)) }()
	}
	out := h.outboxes.to(w.Write, func() {
		_ = control.SetWriteDeadline(start)
		_ = control.SetReadDeadline(start) // the server reads what the client should have sent before it writes
	})
	defer out.end()
	name, n := h.encode(out, w.Header(), r.Header)
	if err := out.finish(); err != nil {
		h.failed(causeWrite, err)
		return
	}
	h.size.WithLabelValues(name).Set(float64(n))
	h.duration.WithLabelValues(name).Observe(time.Since(start).Seconds())
}

// encode encodes the answer, and gives the place of this scrape free. It returns the format
// and the size before compression.
func (h *handler) encode(out *outbox, answer, request http.Header) (name string, n int64) {
	s := h.begin()
	defer h.leave(s)
	s.state.read(h.table, h.cache)
	gathered, err := prometheus.Gatherers{h.gatherer, s.registry}.Gather()
	if err != nil {
		h.failed(causeGather, err) // what could be gathered is served
	}
	format := expfmt.NegotiateAccept(request, formats[:]...)
	compress := acceptsGzip(request)
	answer.Set("Content-Type", string(format))
	if compress {
		answer.Set("Content-Encoding", "gzip")
	}
	n, _ = s.write(out, compress, format, gathered, func(err error) { h.failed(causeEncode, err) })
	return formatName(format), n // the error is that of the outbox, which keeps it
}

func (h *handler) failed(cause string, err error) {
	h.errors.WithLabelValues(cause).Inc()
	_ = level.Warn(h.options.Logger).Log("msg", "scrape failed or lacks something", "cause", cause, "err", err)
}

// enter takes a place among the running scrapes, or says false if there is none in time. Those
// who wait for their clients make room: at once if these have read nothing for a while, else
// after a while.
func (h *handler) enter(ctx context.Context) bool {
	select {
	case h.places <- struct{}{}:
		return true
	default:
	}
	end := time.NewTimer(maxWait)
	defer end.Stop()
	h.outboxes.giveWay(patience)
	again := time.NewTicker(patience)
	defer again.Stop()
	for {
		select {
		case h.places <- struct{}{}:
			return true
		case <-again.C:
			h.outboxes.giveWay(0)
		case <-ctx.Done():
			return false
		case <-end.C:
			return false
		}
	}
}

// begin returns memory for a scrape.
func (h *handler) begin() (s *scrape) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, h.idle = h.idle, nil
	if s == nil {
		s = newScrape(h.Collector)
	}
	return s
}

// leave gives the memory and the place of a scrape free.
func (h *handler) leave(s *scrape) {
	h.mu.Lock()
	h.idle = s
	h.mu.Unlock()
	<-h.places
}

// formats are what is served, in the order of preference among those that a client
// likes equally well. The formats of protobuf as text are for debugging only and left out.
var formats = [...]expfmt.Format{
	expfmt.FmtOpenMetrics_1_0_0,
	expfmt.FmtOpenMetrics_0_0_1,
	expfmt.FmtProtoDelim,
	expfmt.FmtText,
}

// formatName is the value of the label format.
func formatName(f expfmt.Format) string {
	switch f.FormatType() {
	case expfmt.TypeProtoDelim:
		return "protobuf"
	case expfmt.TypeOpenMetrics:
		return "openmetrics"
	}
	return "text"
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3).
func acceptsGzip(header http.Header) bool {
	accepted := false
	for part := range strings.SplitSeq(strings.Join(header.Values("Accept-Encoding"), ","), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if coding != "gzip" && coding != "*" {
			continue
		}
		_, q, weighted := strings.Cut(strings.ToLower(strings.TrimSpace(weight)), "q=")
		value, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
		accepted = !weighted || err == nil && value > 0
		if coding == "gzip" { // says more than *
			return accepted
		}
	}
	return accepted
}

// writeTimeout is how long the client will wait.
func writeTimeout(header http.Header) time.Duration {
	s, err := strconv.ParseFloat(header.Get(scrapeTimeout), 64)
	if err != nil || !(s > 0) || s > maxWrite.Seconds() {
		return maxWrite
	}
	return time.Duration(s * float64(time.Second))
}
