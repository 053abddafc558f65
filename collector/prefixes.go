package collector

import (
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"

	"prefix_exporter/prefix"
)

// prefixes exposes what exists once per prefix, from a state that was read before. So
// the sums of a prefix are those of its addresses in the same scrape.
type prefixes struct {
	st *state
	*descs
}

var _ prometheus.Collector = prefixes{}

// Describe describes nothing, which makes this an unchecked collector: the labels of
// prefix_info follow the configuration.
func (p prefixes) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of all prefixes.
func (p prefixes) Collect(ch chan<- prometheus.Metric) {
	for i := range p.st.series {
		p.series(ch, &p.st.series[i])
	}
	extra := extraLabels(p.st.infos)
	m := metric(PrefixInfo)
	described := prometheus.NewDesc(m.Name, m.Help, append(m.Labels, extra...), nil)
	for i, info := range p.st.infos {
		b := info.block
		name := b.Prefix.String()
		ch <- gauge(described, 1, append([]string{name, b.Name, b.Router, joinTenants(b.Tenants)}, values(b, extra)...)...)
		for _, tenant := range slices.Compact(slices.Sorted(slices.Values(b.Tenants))) {
			ch <- gauge(p.tenant, 1, name, tenant)
		}
		if rtt := p.st.nominal[i]; rtt > 0 {
			ch <- gauge(p.nominal, rtt.Seconds(), name)
		}
	}
}

func (p prefixes) series(ch chan<- prometheus.Metric, s *series) {
	labels := []string{s.info.Prefix.String(), s.probe.Kind.String()}
	if s.probe.Kind == prefix.TCP {
		labels = append(labels, strconv.Itoa(int(s.probe.Port)))
	}
	with := func(value string) []string { return append(slices.Clone(labels), value) }
	kind := s.probe.Kind
	ch <- rttMetric{p.rtt[kind], prometheus.MakeLabelPairs(p.rtt[kind], labels), &s.histogram}
	ch <- counter(p.sent[kind], s.sent, labels...)
	for i, reason := range reasons(kind) {
		ch <- counter(p.lost[kind], s.lost[i], with(reason.String())...)
	}
	for state, n := range s.states {
		ch <- gauge(p.targets[kind], float64(n), with(prefix.State(state).String())...)
	}
	for _, c := range s.down {
		by := ""
		if c.by.IsValid() {
			by = c.by.String()
		}
		ch <- gauge(p.targetsDown[kind], float64(c.n), append(with(c.reason), c.detail, by)...)
	}
	for _, c := range s.unknown {
		ch <- gauge(p.targetsUnknown[kind], float64(c.n), with(c.reason)...)
	}
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return constMetric(d, prometheus.GaugeValue, v, labels)
}

func counter(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return constMetric(d, prometheus.CounterValue, float64(n), labels)
}

func constMetric(d *prometheus.Desc, t prometheus.ValueType, v float64, labels []string) prometheus.Metric {
	for i := range labels {
		labels[i] = valid(labels[i])
	}
	m, err := prometheus.NewConstMetric(d, t, v, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(d, err) // is reported by Gather, and counted
	}
	return m
}

// joinTenants puts a comma around every tenant, so that one is found by =~".*,a,.*".
func joinTenants(tenants []string) string {
	if len(tenants) == 0 {
		return ""
	}
	return "," + strings.Join(tenants, ",") + ","
}

// extraLabels are the names of the extra labels of any block. All of prefix_info have
// all of them, empty where a block has none, as the labels of a family should be the
// same. A name that may not be used, which the configuration forbids, is left out.
func extraLabels(infos []*info) (names []string) {
	own := metric(PrefixInfo).Labels
	for _, i := range infos {
		for _, l := range i.block.Labels {
			if model.LegacyValidation.IsValidLabelName(l.Name) && !strings.HasPrefix(l.Name, model.ReservedLabelPrefix) && !slices.Contains(own, l.Name) {
				names = append(names, l.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// values are those of the extra labels of one block.
func values(b *prefix.Block, names []string) []string {
	vs := make([]string, len(names))
	for _, l := range b.Labels {
		if i, ok := slices.BinarySearch(names, l.Name); ok {
			vs[i] = l.Value
		}
	}
	return vs
}

// rttMetric is the histogram of a prefix with classic and native buckets, which
// client_golang's constant metrics cannot have both.
type rttMetric struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	h      *prefix.Histogram
}

var _ prometheus.Metric = rttMetric{}

// Desc implements prometheus.Metric.
func (m rttMetric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m rttMetric) Write(out *dto.Metric) error {
	out.Label = m.labels
	out.Histogram = histogramDTO(m.h)
	return nil
}

// histogramDTO converts the histogram of a prefix.
func histogramDTO(h *prefix.Histogram) *dto.Histogram {
	his := &dto.Histogram{SampleCount: new(h.Count), SampleSum: new(seconds(h.Sum))}
	var below uint64
	for i, bound := range h.Bounds {
		below += h.Classic[i]
		his.Bucket = append(his.Bucket, &dto.Bucket{CumulativeCount: new(below), UpperBound: new(bound)})
	}
	var sparse spans
	for i, n := range h.Native {
		if n > 0 {
			sparse.add(prefix.NativeOffset+h.First+i, n)
		}
	}
	his.Schema = new(int32(prefix.NativeSchema))
	his.ZeroThreshold, his.ZeroCount = new(prefix.NativeZeroThreshold), new(h.Zero)
	his.PositiveSpan, his.PositiveDelta = sparse.dto()
	return his
}
