package collector

import (
	"math"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"

	"prefix_exporter/prefix"
)

// protobuf is the delimited protobuf format: each family is the length of a
// MetricFamily message and the message
// (https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto).
// The length is needed first, so each family is gone through twice, which is cheaper
// than to hold it in memory.
type protobuf struct {
	w      *writer
	sizing bool   // the first time
	size   int    // of all Metric fields
	value  []byte // scratch: the field that is the value of one metric
	body   []byte // scratch: the message in it
	spans  spans  // scratch
}

// Fields of the messages in metrics.proto, as tags ready to be written.
const (
	bytesField   = byte(protowire.BytesType)
	varintField  = byte(protowire.VarintType)
	fixed64Field = byte(protowire.Fixed64Type)

	familyName   = 1<<3 | bytesField
	familyHelp   = 2<<3 | bytesField
	familyType   = 3<<3 | varintField
	familyMetric = 4<<3 | bytesField

	metricGauge     = 2<<3 | bytesField
	metricCounter   = 3<<3 | bytesField
	metricSummary   = 4<<3 | bytesField
	metricHistogram = 7<<3 | bytesField

	valueValue = 1<<3 | fixed64Field // Gauge and Counter

	sampleCount = 1<<3 | varintField // Summary and Histogram
	sampleSum   = 2<<3 | fixed64Field

	histogramBucket        = 3<<3 | bytesField
	histogramSchema        = 5<<3 | varintField
	histogramZeroThreshold = 6<<3 | fixed64Field
	histogramZeroCount     = 7<<3 | varintField
	histogramSpan          = 12<<3 | bytesField
	histogramDelta         = 13<<3 | varintField // not packed: proto2

	bucketCount = 1<<3 | varintField
	bucketBound = 2<<3 | fixed64Field
	spanOffset  = 1<<3 | varintField
	spanLength  = 2<<3 | varintField
)

func (e *protobuf) encode(w *writer, st *state, m Metric) {
	e.w, e.sizing, e.size = w, true, 0
	e.metrics(st, m)
	kind := dto.MetricType(dto.MetricType_value[strings.ToUpper(m.Type)])
	length := 1 + protowire.SizeBytes(len(m.Name)) + 1 + protowire.SizeBytes(len(m.Help)) +
		1 + protowire.SizeVarint(uint64(kind)) + e.size
	w.buf = protowire.AppendVarint(w.buf, uint64(length))
	w.buf = protowire.AppendString(append(w.buf, familyName), m.Name)
	w.buf = protowire.AppendString(append(w.buf, familyHelp), m.Help)
	w.buf = protowire.AppendVarint(append(w.buf, familyType), uint64(kind))
	e.sizing = false
	e.metrics(st, m)
}

// metrics goes through the metrics of a family.
func (e *protobuf) metrics(st *state, m Metric) {
	switch {
	case m.Name == TargetInfo:
		e.info(st)
	case m.Name == TargetUp:
		st.eachMeasured(e.w, func(s *series, t *target, up uint64) {
			e.number(metricGauge, up)
			e.metric(s.labels.ip(t.place), s.labels.proto, nil)
		})
	case m.Name == TargetSentTotal:
		st.eachKnown(e.w, func(s *series, t *target) {
			e.number(metricCounter, t.sent())
			e.metric(s.labels.ip(t.place), s.labels.proto, nil)
		})
	case m.Name == TargetLostTotal:
		e.lost(st)
	case m.Type == typeHistogram:
		st.eachKnown(e.w, func(s *series, t *target) {
			e.histogram(st, s, t)
			e.metric(s.labels.ip(t.place), s.labels.proto, nil)
		})
	default:
		st.eachKnown(e.w, func(s *series, t *target) {
			e.summary(t)
			e.metric(s.labels.ip(t.place), s.labels.proto, nil)
		})
	}
}

// metric sizes or writes one Metric: the label ip, two runs of labels as
// appendProtoLabel wrote them, and the value.
func (e *protobuf) metric(ip, labels, more []byte) {
	pair := 6 + len(ip) // the message in appendProtoLabel; no address reaches 128 bytes
	size := 2 + pair + len(labels) + len(more) + len(e.value)
	if e.sizing {
		e.size += 1 + protowire.SizeVarint(uint64(size)) + size
		return
	}
	dst := protowire.AppendVarint(append(e.w.buf, familyMetric), uint64(size))
	dst = append(dst, 1<<3|bytesField, byte(pair), 1<<3|bytesField, 2, 'i', 'p', 2<<3|bytesField, byte(len(ip)))
	dst = append(append(append(dst, ip...), labels...), more...)
	e.w.buf = append(dst, e.value...)
}

// number makes the value a Gauge or a Counter.
func (e *protobuf) number(field byte, n uint64) {
	e.value = append(e.value[:0], field, 9, valueValue)
	e.value = protowire.AppendFixed64(e.value, math.Float64bits(float64(n)))
}

func (e *protobuf) lost(st *state) {
	labels := make([][]byte, prefix.Outcomes)
	for o := range labels {
		labels[o] = appendProtoLabel(nil, labelReason, prefix.Outcome(o).String())
	}
	st.eachKnown(e.w, func(s *series, t *target) {
		for i, reason := range s.targetReasons() {
			e.number(metricCounter, t.lost[i])
			e.metric(s.labels.ip(t.place), s.labels.proto, labels[reason])
		}
	})
}

// observations appends the fields that Summary and Histogram have in common.
func observations(dst []byte, t *target) []byte {
	dst = protowire.AppendVarint(append(dst, sampleCount), t.answered)
	return protowire.AppendFixed64(append(dst, sampleSum), math.Float64bits(seconds(t.sum)))
}

func (e *protobuf) summary(t *target) {
	e.body = observations(e.body[:0], t)
	e.value = protowire.AppendBytes(append(e.value[:0], metricSummary), e.body)
}

func (e *protobuf) info(st *state) {
	e.number(metricGauge, 1)
	var ip, labels []byte
	for _, i := range st.infos {
		block := appendProtoLabel(nil, "prefix", i.block.Prefix.String())
		for n := range i.block.Targets {
			if !st.describes(i, n) {
				continue
			}
			target := &i.block.Targets[n]
			ip = target.Addr.AppendTo(ip[:0])
			labels = append(appendProtoLabel(labels[:0], "name", target.Name), block...)
			labels = appendProtoLabel(labels, "target_id", i.id(n))
			e.metric(ip, labels, nil)
			if e.w.flush() != nil {
				return
			}
		}
	}
}
