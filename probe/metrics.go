package probe

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the self metrics of an engine. The packet loop adds to counters that it
// holds, so that nothing is looked up per packet.
type metrics struct {
	sent, received       prometheus.Counter
	late, duplicate      prometheus.Counter
	malformed, drops     prometheus.Counter
	skipped, clockSteps  prometheus.Counter
	stalls, unstamped    prometheus.Counter
	unmatched, discarded *prometheus.CounterVec
	sendErrors           *prometheus.CounterVec
	lag                  prometheus.Histogram
	timestamping         *prometheus.GaugeVec
	sockets              *prometheus.GaugeVec
	receiveBuffer        prometheus.Gauge
	logDrops             prometheus.Counter

	// The values of unmatched that replies can have, made once.
	unmatchedCookie, unmatchedSource, unmatchedSequence, unmatchedTarget, unmatchedError prometheus.Counter
}

// lagBuckets are those of prefix_exporter_send_lag_seconds: around the tick (4 ms), around
// the promise (10 ms), up to maxLag.
var lagBuckets = []float64{.0005, .001, .002, .004, .006, .008, .01, .015, .02, .03, .05, .1}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	labels := prometheus.Labels{"probe": "icmp"}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "prefix_exporter", Name: name, Help: help, ConstLabels: labels})
		all = append(all, c)
		return c
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "prefix_exporter", Name: name, Help: help, ConstLabels: labels}, []string{label})
		all = append(all, c)
		return c
	}
	gauges := func(name, help string, names ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "prefix_exporter", Name: name, Help: help, ConstLabels: labels}, names)
		all = append(all, g)
		return g
	}
	m := &metrics{
		sent:       counter("packets_sent_total", "Packets that the kernel took."),
		received:   counter("packets_received_total", "Packets that arrived, replies and errors, believed or not."),
		late:       counter("late_replies_total", "Replies that arrived after the timeout of their probe."),
		duplicate:  counter("duplicate_replies_total", "Replies to probes that had been answered already."),
		unmatched:  counters("unmatched_replies_total", "Replies and ICMP errors that match no probe, by what does not match.", "reason"),
		malformed:  counter("malformed_packets_total", "Packets that are too short or not of a kind that the socket should deliver."),
		drops:      counter("kernel_drops_total", "Packets that the kernel dropped because a receive queue was full (SO_RXQ_OVFL)."),
		sendErrors: counters("send_errors_total", "Probes that could not be sent, by error; they are neither sent nor lost.", "error"),
		skipped:    counter("skipped_probes_total", "Probes that were left out because their time had passed."),
		discarded:  counters("discarded_probes_total", "Probes whose outcome cannot be known for a reason of our own; they are neither sent nor lost.", "reason"),
		clockSteps: counter("clock_steps_total", "Times that the wall clock was set, forwards or backwards."),
		stalls:     counter("stalls_total", "Times that the probing loop did not run for more than a second."),
		unstamped:  counter("unstamped_replies_total", "Replies whose RTT had to be taken without one of the kernel's timestamps."),
		logDrops:   counter("log_drops_total", "Log lines of the probing loop that were dropped because the log was too slow."),
		timestamping: gauges("timestamping", "Where timestamps come from: 1 for the source in use of each direction (kernel or user).",
			"direction", "source"),
		sockets: gauges("sockets", "Open sockets by kind (dgram or raw).", "kind"),
	}
	m.lag = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "prefix_exporter", Name: "send_lag_seconds", ConstLabels: labels, Buckets: lagBuckets,
		Help: "How much later than due probes were sent.",
	})
	m.receiveBuffer = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "prefix_exporter", Name: "receive_buffer_bytes", ConstLabels: labels,
		Help: "Size of the smallest receive buffer that the kernel granted.",
	})
	all = append(all, m.lag, m.receiveBuffer)
	m.unmatchedCookie = m.unmatched.WithLabelValues("cookie")
	m.unmatchedSource = m.unmatched.WithLabelValues("source")
	m.unmatchedSequence = m.unmatched.WithLabelValues("sequence")
	m.unmatchedTarget = m.unmatched.WithLabelValues("target")
	m.unmatchedError = m.unmatched.WithLabelValues("error")
	m.discarded.WithLabelValues(string(ReasonKernelDrop))
	for _, c := range all {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
