package dashboards

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

// Window is when a query is about, and how finely.
type Window struct {
	From, To time.Time
	Range    time.Duration // $__range
	Step     time.Duration // between two columns: $__interval
	Rate     time.Duration // $__rate_interval
}

// panelWidth stands in for the pixels of a panel without MaxDataPoints: as wide as half
// of a full HD screen.
const panelWidth = 940

// maxPoints is how many points of a series Prometheus gives at most.
const maxPoints = 11000

// Window reckons the window of a query on a dashboard that shows the time from one moment
// to another, as Grafana's Prometheus data source does with the scrape interval that it was told.
func (q Query) Window(from, to time.Time, scrape time.Duration) (Window, error) {
	if q.TimeFrom != "" {
		last, err := duration(q.TimeFrom)
		if err != nil {
			return Window{}, fmt.Errorf("%v: %w", q, err)
		}
		from = to.Add(-last)
	}
	points := q.MaxDataPoints
	if points == 0 {
		points = panelWidth
	}
	least := scrape
	for _, s := range []string{q.Interval, q.MinStep} {
		if s == "" {
			continue
		}
		d, err := duration(s)
		if err != nil {
			return Window{}, fmt.Errorf("%v: %w", q, err)
		}
		least = max(least, d)
	}
	step := max(round(to.Sub(from)/time.Duration(points)), least, round(to.Sub(from)/maxPoints))
	if q.MinStep != "" {
		scrape = least
	}
	w := Window{From: from, To: to, Range: to.Sub(from), Step: step, Rate: max(step+scrape, 4*scrape)}
	if !q.Instant {
		w.From, w.To = from.Truncate(step), to.Truncate(step)
	}
	return w, nil
}

// Values are Grafana's own variables of this window.
func (w Window) Values() map[string]Value {
	text := func(s string) Value { return Value{Options: []Option{{s, s}}} }
	return map[string]Value{
		"__interval":      text(model.Duration(w.Step).String()),
		"__interval_ms":   text(strconv.FormatInt(w.Step.Milliseconds(), 10)),
		"__rate_interval": text(model.Duration(w.Rate).String()),
		"__range":         text(fmt.Sprintf("%ds", int(w.Range.Seconds()))),
		"__range_s":       text(strconv.Itoa(int(w.Range.Seconds()))),
		"__range_ms":      text(strconv.FormatInt(w.Range.Milliseconds(), 10)),
	}
}

func duration(s string) (time.Duration, error) {
	d, err := model.ParseDuration(s)
	return time.Duration(d), err
}

// round is the step that Grafana takes for a range divided by the points it may have:
// the next one of a list, up or down.
func round(d time.Duration) time.Duration {
	for _, s := range []struct{ below, step time.Duration }{
		{1500 * time.Millisecond, time.Second},
		{3500 * time.Millisecond, 2 * time.Second},
		{7500 * time.Millisecond, 5 * time.Second},
		{12500 * time.Millisecond, 10 * time.Second},
		{17500 * time.Millisecond, 15 * time.Second},
		{25 * time.Second, 20 * time.Second},
		{45 * time.Second, 30 * time.Second},
		{90 * time.Second, time.Minute},
		{210 * time.Second, 2 * time.Minute},
		{450 * time.Second, 5 * time.Minute},
		{750 * time.Second, 10 * time.Minute},
		{1050 * time.Second, 15 * time.Minute},
		{25 * time.Minute, 20 * time.Minute},
		{45 * time.Minute, 30 * time.Minute},
		{90 * time.Minute, time.Hour},
		{150 * time.Minute, 2 * time.Hour},
		{270 * time.Minute, 3 * time.Hour},
		{9 * time.Hour, 6 * time.Hour},
		{24 * time.Hour, 12 * time.Hour},
	} {
		if d < s.below {
			return s.step
		}
	}
	return 24 * time.Hour
}
