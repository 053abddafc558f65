package collector

import (
	"math"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"

	"prefix_exporter/prefix"
)

// smallGap is how many empty buckets in a row are written out; more begin a new span.
// client_golang has found that cheaper than a span for each.
const smallGap = 2

// spans are the sparse buckets of a native histogram, as the protobuf format has them:
// runs of buckets, and the difference of each count to the one before.
type spans struct {
	offsets []int32 // from the end of the run before, or from bucket 0
	lengths []uint32
	deltas  []int64

	next int // the bucket behind the last one
	last int64
}

func (s *spans) reset() {
	*s = spans{offsets: s.offsets[:0], lengths: s.lengths[:0], deltas: s.deltas[:0]}
}

// add appends a bucket that is not empty. They come in ascending order.
func (s *spans) add(index int, count uint64) {
	gap := index - s.next
	if len(s.lengths) == 0 || gap > smallGap {
		s.offsets, s.lengths = append(s.offsets, int32(gap)), append(s.lengths, 0)
		gap = 0
	}
	for range gap {
		s.append(0)
	}
	s.append(int64(count))
	s.next = index + 1
}

func (s *spans) append(count int64) {
	s.lengths[len(s.lengths)-1]++
	s.deltas = append(s.deltas, count-s.last)
	s.last = count
}

// dto returns the spans as client_golang's messages.
func (s *spans) dto() (bs []*dto.BucketSpan, deltas []int64) {
	for i := range s.offsets {
		bs = append(bs, &dto.BucketSpan{Offset: new(s.offsets[i]), Length: new(s.lengths[i])})
	}
	return bs, append(deltas, s.deltas...)
}

// histogram makes the value the Histogram of one address: with classic or native
// buckets, or with none if its block keeps none.
func (e *protobuf) histogram(st *state, s *series, t *target) {
	body := observations(e.body[:0], t)
	switch s.perAddress {
	case prefix.PerAddressClassic:
		body = e.classic(body, s.info.Buckets, st.of(t))
	case prefix.PerAddressNative:
		body = e.native(body, st.of(t))
	}
	e.body = body
	e.value = protowire.AppendBytes(append(e.value[:0], metricHistogram), body)
}

func (e *protobuf) classic(dst []byte, bounds []float64, counts []uint64) []byte {
	var below uint64
	for i, bound := range bounds {
		if len(counts) > 0 {
			below += counts[i]
		}
		size := 1 + protowire.SizeVarint(below) + 1 + protowire.SizeFixed64()
		dst = protowire.AppendVarint(append(dst, histogramBucket), uint64(size))
		dst = protowire.AppendVarint(append(dst, bucketCount), below)
		dst = protowire.AppendFixed64(append(dst, bucketBound), math.Float64bits(bound))
	}
	return dst
}

// native appends the native buckets; kept is as appendBuckets wrote it, empty if there
// has been no answer.
func (e *protobuf) native(dst []byte, kept []uint64) []byte {
	e.spans.reset()
	var zero uint64
	if len(kept) > 0 {
		zero, kept = kept[0], kept[1:]
	}
	for i := 0; i < len(kept); i += 2 {
		e.spans.add(prefix.NativeOffset+int(kept[i]), kept[i+1])
	}
	dst = protowire.AppendVarint(append(dst, histogramSchema), protowire.EncodeZigZag(prefix.NativeSchema))
	dst = protowire.AppendFixed64(append(dst, histogramZeroThreshold), math.Float64bits(prefix.NativeZeroThreshold))
	dst = protowire.AppendVarint(append(dst, histogramZeroCount), zero)
	for i, offset := range e.spans.offsets {
		o, l := protowire.EncodeZigZag(int64(offset)), uint64(e.spans.lengths[i])
		dst = append(dst, histogramSpan, byte(2+protowire.SizeVarint(o)+protowire.SizeVarint(l)))
		dst = protowire.AppendVarint(append(dst, spanOffset), o)
		dst = protowire.AppendVarint(append(dst, spanLength), l)
	}
	for _, delta := range e.spans.deltas {
		dst = protowire.AppendVarint(append(dst, histogramDelta), protowire.EncodeZigZag(delta))
	}
	return dst
}
