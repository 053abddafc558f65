package probe

import (
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/prefix"
)

// common are the self metrics that every prober has. A probing loop adds to counters that
// it holds, so that nothing is looked up per packet.
type common struct {
	sent, received    prometheus.Counter
	late, skipped     prometheus.Counter
	stalls, unstamped prometheus.Counter
	pending           prometheus.Counter
	logDrops          prometheus.Counter
	sendErrors        *prometheus.CounterVec
	discarded         *prometheus.CounterVec
	lag               prometheus.Histogram
	timestamping      *prometheus.GaugeVec
}

// metrics are the self metrics of an engine that sends echo requests.
type metrics struct {
	common
	duplicate, malformed prometheus.Counter
	drops, clockSteps    prometheus.Counter
	unmatched            *prometheus.CounterVec
	sockets              *prometheus.GaugeVec
	receiveBuffer        prometheus.Gauge

	// The values of unmatched that replies can have, made once.
	unmatchedCookie, unmatchedSource, unmatchedSequence, unmatchedTarget, unmatchedError prometheus.Counter
}

// lagBuckets are those of prefix_exporter_send_lag_seconds: around the tick (4 ms), around
// the promise (10 ms), up to maxLag.
var lagBuckets = []float64{.0005, .001, .002, .004, .006, .008, .01, .015, .02, .03, .05, .1}

// meters makes the self metrics of one kind of probe, the value of their label probe.
type meters struct {
	labels prometheus.Labels
	all    []prometheus.Collector
}

func newMeters(kind string) *meters {
	return &meters{labels: prometheus.Labels{"probe": kind}}
}

func (m *meters) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "prefix_exporter", Name: name, Help: help, ConstLabels: m.labels})
	m.all = append(m.all, c)
	return c
}

func (m *meters) counters(name, help, label string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "prefix_exporter", Name: name, Help: help, ConstLabels: m.labels}, []string{label})
	m.all = append(m.all, c)
	return c
}

func (m *meters) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "prefix_exporter", Name: name, Help: help, ConstLabels: m.labels})
	m.all = append(m.all, g)
	return g
}

func (m *meters) gauges(name, help string, names ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "prefix_exporter", Name: name, Help: help, ConstLabels: m.labels}, names)
	m.all = append(m.all, g)
	return g
}

func (m *meters) common() common {
	c := common{
		sent:       m.counter("packets_sent_total", "Packets that the kernel took; of TCP, connection attempts."),
		received:   m.counter("packets_received_total", "Packets that arrived, replies and errors, believed or not; of TCP, attempts that something answered."),
		late:       m.counter("late_replies_total", "Replies that arrived after the timeout of their probe."),
		sendErrors: m.counters("send_errors_total", "Probes that could not be sent, by error; they are neither sent nor lost.", "error"),
		skipped:    m.counter("skipped_probes_total", "Probes that were left out because their time had passed."),
		discarded:  m.counters("discarded_probes_total", "Probes whose outcome cannot be known for a reason of our own; they are neither sent nor lost.", "reason"),
		pending:    m.counter("pending_errors_total", "Times that a socket told of an ICMP error for an earlier probe when it was to send one, and was asked again."),
		stalls:     m.counter("stalls_total", "Times that the probing loop did not run for more than a second."),
		unstamped:  m.counter("unstamped_replies_total", "Replies whose RTT had to be taken without one of the kernel's timestamps."),
		logDrops:   m.counter("log_drops_total", "Log lines of the probing loop that were dropped because the log was too slow."),
		timestamping: m.gauges("timestamping", "Where timestamps come from: 1 for the source in use of each direction (kernel or user).",
			"direction", "source"),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "prefix_exporter", Name: "send_lag_seconds", ConstLabels: m.labels, Buckets: lagBuckets,
			Help: "How much later than due probes were sent.",
		}),
	}
	m.all = append(m.all, c.lag)
	return c
}

// The self metrics of those who read packets.

func (m *meters) duplicate() prometheus.Counter {
	return m.counter("duplicate_replies_total", "Replies to probes that had been answered already.")
}

func (m *meters) unmatched() *prometheus.CounterVec {
	return m.counters("unmatched_replies_total", "Replies and ICMP errors that match no probe, by what does not match.", "reason")
}

func (m *meters) malformed() prometheus.Counter {
	return m.counter("malformed_packets_total", "Packets that are too short or not of a kind that the socket should deliver.")
}

func (m *meters) drops() prometheus.Counter {
	return m.counter("kernel_drops_total", "Packets that the kernel dropped because a receive queue was full (SO_RXQ_OVFL).")
}

// stampedBy says where all timestamps come from: kernel or user.
func (c *common) stampedBy(source string) {
	for _, direction := range []string{"transmit", "receive"} {
		for _, s := range []string{"kernel", "user"} {
			c.timestamping.WithLabelValues(direction, s).Set(boolValue(s == source))
		}
	}
}

func (m *meters) register(registerer prometheus.Registerer) error {
	for _, c := range m.all {
		if err := registerer.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	made := newMeters(prefix.ICMP.String())
	m := &metrics{
		common:        made.common(),
		duplicate:     made.duplicate(),
		unmatched:     made.unmatched(),
		malformed:     made.malformed(),
		drops:         made.drops(),
		clockSteps:    made.counter("clock_steps_total", "Times that the wall clock was set, forwards or backwards."),
		sockets:       made.gauges("sockets", "Open sockets by kind (dgram or raw).", "kind"),
		receiveBuffer: made.gauge("receive_buffer_bytes", "Size of the smallest receive buffer that the kernel granted."),
	}
	m.unmatchedCookie = m.unmatched.WithLabelValues("cookie")
	m.unmatchedSource = m.unmatched.WithLabelValues("source")
	m.unmatchedSequence = m.unmatched.WithLabelValues("sequence")
	m.unmatchedTarget = m.unmatched.WithLabelValues("target")
	m.unmatchedError = m.unmatched.WithLabelValues("error")
	m.discarded.WithLabelValues(string(ReasonKernelDrop))
	return m, made.register(registerer)
}
