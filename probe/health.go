package probe

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
)

// Reasons are all reasons, in the order in which they are shown.
var Reasons = []Reason{ReasonStalled, ReasonSkipped, ReasonKernelDrop, ReasonSendError, ReasonClockStep, ReasonFlood, ReasonSocket}

// healthHold is how long a trouble is remembered: two scrapes at the usual longest
// interval of a minute, so that no trouble passes unseen between scrapes.
const healthHold = 2 * time.Minute

// Health remembers what is wrong with the prober. Its methods may be called from
// any goroutine and do not block.
type Health struct {
	now func() time.Time

	mu       sync.Mutex
	troubles map[Reason]Trouble
}

// Trouble is one thing that is wrong.
type Trouble struct {
	Reason Reason
	Detail string    // one sentence for a human
	Last   time.Time // when it was seen last
}

// NewHealth makes a Health without troubles. now is the clock.
func NewHealth(now func() time.Time) *Health {
	return &Health{now: now, troubles: map[Reason]Trouble{}}
}

// Report notes a trouble; it returns true if it is new, so that the caller logs it once.
func (h *Health) Report(r Reason, detail string) (isNew bool) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	before, had := h.troubles[r]
	h.troubles[r] = Trouble{Reason: r, Detail: detail, Last: now}
	return !had || now.Sub(before.Last) >= healthHold
}

// Troubles returns what went wrong in the last two minutes, in the order of Reasons.
// None: the prober is healthy.
func (h *Health) Troubles() []Trouble {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Trouble
	for _, r := range Reasons {
		if t, ok := h.troubles[r]; ok && now.Sub(t.Last) < healthHold {
			list = append(list, t)
		}
	}
	return list
}

var (
	healthyDesc = prometheus.NewDesc("prefix_exporter_healthy",
		"Whether the prober itself can be trusted: 0 if anything went wrong in the last two minutes, see prefix_exporter_unhealthy.", nil, nil)
	unhealthyDesc = prometheus.NewDesc("prefix_exporter_unhealthy",
		"Whether the prober had this trouble in the last two minutes.", []string{"reason"}, nil)
)

var _ prometheus.Collector = (*Health)(nil)

// Describe implements prometheus.Collector.
func (h *Health) Describe(ch chan<- *prometheus.Desc) {
	ch <- healthyDesc
	ch <- unhealthyDesc
}

// Collect implements prometheus.Collector.
func (h *Health) Collect(ch chan<- prometheus.Metric) {
	troubles := h.Troubles()
	ch <- prometheus.MustNewConstMetric(healthyDesc, prometheus.GaugeValue, boolValue(len(troubles) == 0))
	for _, r := range Reasons {
		has := slices.ContainsFunc(troubles, func(t Trouble) bool { return t.Reason == r })
		ch <- prometheus.MustNewConstMetric(unhealthyDesc, prometheus.GaugeValue, boolValue(has), string(r))
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
