package probe

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/prefix"
)

// A Reason names why the prober itself cannot be trusted.
type Reason string

// The reasons, the values of the label reason of prefix_exporter_unhealthy.
const (
	ReasonStalled    Reason = "stalled"     // the process did not run (stopped, starved, suspended)
	ReasonSkipped    Reason = "skipped"     // probes could not be sent in time
	ReasonKernelDrop Reason = "kernel_drop" // the kernel dropped replies: the receive queue was full
	ReasonSendError  Reason = "send_error"  // the local system refused to send
	ReasonClockStep  Reason = "clock_step"  // the wall clock was set
	ReasonFlood      Reason = "flood"       // more packets arrive than can be read
	ReasonSocket     Reason = "socket"      // what probes are read from failed
	ReasonOffline    Reason = "offline"     // there is no way to (nearly) any target
)

// Reasons are all reasons, in the order in which they are shown.
var Reasons = []Reason{ReasonStalled, ReasonSkipped, ReasonKernelDrop, ReasonSendError, ReasonClockStep, ReasonFlood, ReasonSocket, ReasonOffline}

// doubtful are the reasons that can make a loss of what was none. What is skipped, or refused by
// this machine, is neither sent nor lost, and a clock that is set changes no outcome: they are no reason to
// doubt an outage.
var doubtful = []Reason{ReasonKernelDrop, ReasonFlood, ReasonStalled, ReasonOffline}

// kinds are the values of the label probe: each kind of probe has troubles of its own.
var kinds = []string{prefix.ICMP.String(), prefix.TCP.String(), traceLabel}

// healthHold is how long a trouble is remembered: two scrapes at the usual longest
// interval of a minute, so that no trouble passes unseen between scrapes.
const healthHold = 2 * time.Minute

// doubtHold is how long an outage is doubted behind the end of a trouble: a scrape at the usual
// interval of 15 s must see it, and no outage that comes later may wait for it.
const doubtHold = 20 * time.Second

// Health remembers what is wrong with the prober. Its methods may be called from
// any goroutine and do not block.
type Health struct {
	now func() time.Time

	mu       sync.Mutex
	troubles map[concern]Trouble
}

// concern is what a trouble is about.
type concern struct {
	kind   string
	reason Reason
}

// Trouble is one thing that is wrong.
type Trouble struct {
	Probe  string // the kind of probe that it concerns: icmp, tcp or trace
	Reason Reason
	Detail string    // one sentence for a human, which begins with Probe
	Last   time.Time // when it was seen last
}

// NewHealth makes a Health without troubles. now is the clock.
func NewHealth(now func() time.Time) *Health {
	return &Health{now: now, troubles: map[concern]Trouble{}}
}

// Report notes a trouble of a kind of probe (icmp, tcp, trace); it returns true if it is new, so that the
// caller logs it once.
func (h *Health) Report(kind string, r Reason, detail string) (isNew bool) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	c := concern{kind, r}
	before, had := h.troubles[c]
	h.troubles[c] = Trouble{Probe: kind, Reason: r, Detail: detail, Last: now}
	return !had || now.Sub(before.Last) >= healthHold
}

// Troubles returns what went wrong in the last two minutes, in the order of Reasons, then of the kinds
// of probe. None: the prober is healthy.
func (h *Health) Troubles() []Trouble {
	var list []Trouble
	for _, r := range Reasons {
		for _, kind := range kinds {
			if t, ok := h.within(healthHold, kind, r); ok {
				list = append(list, t)
			}
		}
	}
	return list
}

// Troubled says whether anything went wrong in the last two minutes.
func (h *Health) Troubled() bool { return len(h.Troubles()) > 0 }

// offlineHold is how long ago it may have been judged that this machine is offline: every healthEvery.
const offlineHold = 3 * healthEvery

// Offline says whether this machine has, by the newest judgement of echo requests, no way to (nearly) anything.
func (h *Health) Offline() bool {
	_, is := h.within(offlineHold, prefix.ICMP.String(), ReasonOffline)
	return is
}

// within returns a trouble that there was within that time.
func (h *Health) within(hold time.Duration, kind string, r Reason) (Trouble, bool) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.troubles[concern{kind, r}]
	return t, ok && now.Sub(t.Last) < hold
}

var (
	healthyDesc = prometheus.NewDesc("prefix_exporter_healthy",
		"Whether the prober itself can be trusted: 0 if anything went wrong in the last two minutes, see prefix_exporter_unhealthy.", nil, nil)
	unhealthyDesc = prometheus.NewDesc("prefix_exporter_unhealthy",
		"Whether the prober had this trouble with this kind of probe in the last two minutes.", []string{"reason", "probe"}, nil)
	doubtDesc = prometheus.NewDesc("prefix_exporter_doubt",
		"Whether losses that this kind of probe sees may be the prober's own: 1 while the trouble lasts, and 20 s longer.", []string{"reason", "probe"}, nil)
)

var _ prometheus.Collector = (*Health)(nil)

// Describe implements prometheus.Collector.
func (h *Health) Describe(ch chan<- *prometheus.Desc) {
	ch <- healthyDesc
	ch <- unhealthyDesc
	ch <- doubtDesc
}

// Collect implements prometheus.Collector.
func (h *Health) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(healthyDesc, prometheus.GaugeValue, boolValue(!h.Troubled()))
	h.collect(ch, unhealthyDesc, Reasons, healthHold)
	h.collect(ch, doubtDesc, doubtful, doubtHold)
}

func (h *Health) collect(ch chan<- prometheus.Metric, desc *prometheus.Desc, reasons []Reason, hold time.Duration) {
	for _, r := range reasons {
		for _, kind := range kinds {
			_, has := h.within(hold, kind, r)
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, boolValue(has), string(r), kind)
		}
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
