package collector

import (
	"bytes"
	"strconv"
	"strings"

	"prefix_exporter/prefix"
)

// encoder writes one family of per-address metrics in one format, byte for byte as
// client_golang's expfmt would.
type encoder interface {
	encode(w *writer, st *state, m Metric)
}

var (
	_ encoder = text{}
	_ encoder = (*protobuf)(nil)
)

// text is the Prometheus text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/)
// and, with little difference, OpenMetrics 1.0.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/).
type text struct{ openMetrics bool }

func (e text) encode(w *writer, st *state, m Metric) {
	e.header(w, m)
	switch {
	case m.Name == TargetInfo:
		e.info(w, st, m)
	case m.Name == TargetUp:
		open := m.Name + `{ip="`
		st.eachMeasured(w, func(s *series, t *target, up uint64) {
			w.buf = e.line(w.buf, open, s, t, "} ", up)
		})
	case m.Name == TargetSentTotal:
		open := m.Name + `{ip="`
		st.eachKnown(w, func(s *series, t *target) {
			w.buf = e.line(w.buf, open, s, t, "} ", t.sent())
		})
	case m.Name == TargetLostTotal:
		e.lost(w, st, m)
	case m.Type == typeHistogram:
		e.histogram(w, st, m)
	default:
		e.summary(w, st, m)
	}
}

// eachKnown calls f for each target in order that is known.
func (st *state) eachKnown(w *writer, f func(*series, *target)) {
	st.each(w, func(s *series, t *target) {
		if t.known {
			f(s, t)
		}
	})
}

// eachMeasured calls f for each target in order whose state is not unknown, with 1 if it is up.
func (st *state) eachMeasured(w *writer, f func(s *series, t *target, up uint64)) {
	st.each(w, func(s *series, t *target) {
		switch t.state {
		case prefix.Up:
			f(s, t, 1)
		case prefix.Dark, prefix.Down:
			f(s, t, 0)
		case prefix.Unknown:
		}
	})
}

// each calls f for each target in order.
func (st *state) each(w *writer, f func(*series, *target)) {
	for i := range st.series {
		s := &st.series[i]
		for j := s.from; j < s.to; j++ {
			f(s, &st.targets[j])
			if w.flush() != nil {
				return
			}
		}
	}
}

// header appends the lines HELP and TYPE. OpenMetrics names the family of a counter
// without _total.
func (e text) header(w *writer, m Metric) {
	name := m.Name
	if e.openMetrics && m.Type == typeCounter {
		name = strings.TrimSuffix(name, "_total")
	}
	w.buf = append(append(append(append(w.buf, "# HELP "...), name...), ' '), m.Help...)
	w.buf = append(append(append(append(w.buf, "\n# TYPE "...), name...), ' '), m.Type...)
	w.buf = append(w.buf, '\n')
}

// labels appends the name, the labels of a target, and what follows them.
func (e text) labels(dst []byte, open string, s *series, t *target, end string) []byte {
	dst = append(append(append(dst, open...), s.labels.ip(t.place)...), '"')
	return append(append(dst, s.labels.text...), end...)
}

// line appends a whole line.
func (e text) line(dst []byte, open string, s *series, t *target, end string, n uint64) []byte {
	return append(e.number(e.labels(dst, open, s, t, end), n), '\n')
}

func (e text) lost(w *writer, st *state, m Metric) {
	open := m.Name + `{ip="`
	ends := make([]string, prefix.Outcomes)
	for o := range ends {
		ends[o] = `,reason="` + prefix.Outcome(o).String() + `"} `
	}
	st.eachKnown(w, func(s *series, t *target) {
		for i, reason := range s.targetReasons() {
			w.buf = e.line(w.buf, open, s, t, ends[reason], t.lost[i])
		}
	})
}

func (e text) summary(w *writer, st *state, m Metric) {
	sum, count := m.Name+`_sum{ip="`, m.Name+`_count{ip="`
	st.eachKnown(w, func(s *series, t *target) {
		w.buf = e.labels(w.buf, sum, s, t, "} ")
		w.buf = append(e.float(w.buf, seconds(t.sum)), '\n')
		w.buf = append(e.count(e.labels(w.buf, count, s, t, "} "), t.answered), '\n')
	})
}

func (e text) histogram(w *writer, st *state, m Metric) {
	bucket, sum, count := m.Name+`_bucket{ip="`, m.Name+`_sum{ip="`, m.Name+`_count{ip="`
	st.eachKnown(w, func(s *series, t *target) {
		if s.perAddress == prefix.PerAddressClassic {
			var below uint64
			counts := st.of(t)
			for i, bound := range s.info.Buckets {
				if len(counts) > 0 {
					below += counts[i]
				}
				w.buf = e.labels(w.buf, bucket, s, t, `,le="`)
				w.buf = append(e.float(w.buf, bound), `"} `...)
				w.buf = append(e.count(w.buf, below), '\n')
			}
		}
		w.buf = e.labels(w.buf, bucket, s, t, `,le="+Inf"} `)
		w.buf = append(e.count(w.buf, t.answered), '\n')
		w.buf = e.labels(w.buf, sum, s, t, "} ")
		w.buf = append(e.float(w.buf, seconds(t.sum)), '\n')
		w.buf = append(e.count(e.labels(w.buf, count, s, t, "} "), t.answered), '\n')
	})
}

func (e text) info(w *writer, st *state, m Metric) {
	open := m.Name + `{ip="`
	for _, i := range st.infos {
		block := string(append(appendTextLabel([]byte(`,`), "prefix", i.block.Prefix.String()), `,target_id="`...))
		for n := range i.block.Targets {
			if !st.describes(i, n) {
				continue
			}
			target := &i.block.Targets[n]
			w.buf = append(target.Addr.AppendTo(append(w.buf, open...)), `",`...)
			w.buf = append(appendTextLabel(w.buf, "name", target.Name), block...)
			w.buf = append(append(w.buf, i.id(n)...), `"} `...)
			w.buf = append(e.number(w.buf, 1), '\n')
			if w.flush() != nil {
				return
			}
		}
	}
}

// number appends the value of a counter or gauge. Both are floating-point numbers.
func (e text) number(dst []byte, n uint64) []byte {
	if n >= 1e6 { // strconv begins to use an exponent here
		return strconv.AppendFloat(dst, float64(n), 'g', -1, 64)
	}
	dst = strconv.AppendUint(dst, n, 10)
	if e.openMetrics {
		dst = append(dst, ".0"...)
	}
	return dst
}

// count appends a number of observations. OpenMetrics writes it as an integer.
func (e text) count(dst []byte, n uint64) []byte {
	if e.openMetrics {
		return strconv.AppendUint(dst, n, 10)
	}
	return e.number(dst, n)
}

// float appends any finite number.
func (e text) float(dst []byte, f float64) []byte {
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
	if e.openMetrics && !bytes.ContainsAny(dst[from:], "e.") {
		dst = append(dst, ".0"...)
	}
	return dst
}

// seconds converts nanoseconds.
func seconds(ns uint64) float64 { return float64(ns) / 1e9 }
