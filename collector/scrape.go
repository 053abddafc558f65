package collector

import (
	"bytes"
	"cmp"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// scrape is the memory that one scrape needs. It is kept for the next one.
type scrape struct {
	state    state
	registry *prometheus.Registry // of what exists once per prefix, and of routes
	families []Metric             // of what exists once per address, sorted by name
	writer   writer
	general  bytes.Buffer // one family of what exists once per prefix
	protobuf protobuf
	gzip     *gzip.Writer
}

func newScrape(c *Collector) *scrape {
	s := &scrape{registry: prometheus.NewRegistry()}
	s.registry.MustRegister(prefixes{&s.state, c.descs})
	if c.routes != nil {
		s.registry.MustRegister(routes{c.routes, c.descs})
	}
	for _, name := range []string{TargetInfo, TargetLostTotal, TargetRTT, TargetSentTotal, TargetUp} {
		s.families = append(s.families, metric(name))
	}
	// BestSpeed: a tenth of the time of the standard library's default, and a text that
	// repeats itself so much shrinks to a fifteenth all the same.
	s.gzip, _ = gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // fails for unknown levels only
	return s
}

// write writes what has been read from the table, and what has been gathered, in the
// order of names. It returns the size before compression and the first error of dst.
// A family that cannot be encoded is left out and reported.
func (s *scrape) write(dst io.Writer, compress bool, format expfmt.Format, gathered []*dto.MetricFamily, report func(error)) (int64, error) {
	if compress {
		s.gzip.Reset(dst)
		s.writer.reset(s.gzip)
	} else {
		s.writer.reset(dst)
	}
	defer func() { // nothing of the client's may be kept
		s.gzip.Reset(io.Discard)
		s.writer.reset(io.Discard)
	}()
	var own encoder = text{openMetrics: format.FormatType() == expfmt.TypeOpenMetrics}
	if format.FormatType() == expfmt.TypeProtoDelim {
		own = &s.protobuf
	}
	s.general.Reset()
	general := expfmt.NewEncoder(&s.general, format)
	rest := s.families
	for _, family := range gathered {
		for len(rest) > 0 && rest[0].Name < family.GetName() {
			s.own(own, rest[0])
			rest = rest[1:]
		}
		if err := general.Encode(family); err != nil {
			s.general.Reset()
			report(fmt.Errorf("metric %s: %w", family.GetName(), err))
		}
		err := s.writer.append(s.general.Bytes())
		s.general.Reset()
		if err != nil {
			return s.writer.n, err
		}
	}
	for _, m := range rest {
		s.own(own, m)
	}
	if closer, ok := general.(expfmt.Closer); ok {
		if err := closer.Close(); err != nil {
			report(err)
		}
	}
	_ = s.writer.append(s.general.Bytes())
	err := s.writer.drain()
	if compress && err == nil {
		err = s.gzip.Close()
	}
	return s.writer.n, err
}

// own writes one family with a series per address, unless nothing is in it.
func (s *scrape) own(e encoder, m Metric) {
	st := &s.state
	switch m.Name {
	case TargetInfo:
		if !st.described {
			return
		}
	case TargetUp:
		if !st.measured {
			return
		}
	default:
		if !st.known {
			return
		}
	}
	if m.Name == TargetRTT {
		m.Type = cmp.Or(st.rttType, m.Type)
	}
	e.encode(&s.writer, st, m)
}
