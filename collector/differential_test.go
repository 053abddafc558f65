package collector

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"prefix_exporter/prefix"
)

// plain exposes a table as an ordinary exporter would, with constant metrics: what
// the encoders are compared with.
type plain struct{ table *prefix.Table }

func (p plain) Describe(chan<- *prometheus.Desc) {}

func (p plain) Collect(ch chan<- prometheus.Metric) {
	histograms := slices.ContainsFunc(p.table.Infos(), func(b *prefix.Block) bool {
		return b.PerAddress != prefix.PerAddressNone && slices.ContainsFunc(b.Targets, func(t prefix.Target) bool { return len(t.Probes) > 0 })
	})
	for _, b := range p.table.Infos() {
		for _, t := range b.Targets {
			if t.Name == "" && !p.known(t.Addr) {
				continue
			}
			send(ch, prometheus.GaugeValue, TargetInfo, 1, "prefix", b.Prefix.String(), "ip", t.Addr.String(), "name", t.Name, "target_id", prefix.TargetID(t.Addr))
		}
	}
	for _, s := range p.table.Series() {
		var snap prefix.Snapshot
		s.Snapshot(&snap)
		for place, slot := range snap.Slots {
			if slot.Configured {
				p.target(ch, &snap, place, histograms)
			}
		}
	}
}

// known says whether an address is known under any probe.
func (p plain) known(addr netip.Addr) bool {
	var snap prefix.Snapshot
	for _, s := range p.table.Series() {
		s.Snapshot(&snap)
		if place := slices.Index(snap.Addrs, addr); place >= 0 && snap.Slots[place].Configured && snap.Slots[place].Known {
			return true
		}
	}
	return false
}

func (p plain) target(ch chan<- prometheus.Metric, snap *prefix.Snapshot, place int, histograms bool) {
	slot := snap.Slots[place]
	labels := []string{"prefix", snap.Info.Prefix.String(), "ip", snap.Addrs[place].String(), "probe", snap.Probe.Kind.String()}
	if snap.Probe.Kind == prefix.TCP {
		labels = append(labels, "port", strconv.Itoa(int(snap.Probe.Port)))
	}
	up := 0.0
	if slot.State == prefix.Up {
		up = 1
	}
	if slot.State != prefix.Unknown {
		send(ch, prometheus.GaugeValue, TargetUp, up, labels...)
	}
	if !slot.Known {
		return
	}
	send(ch, prometheus.CounterValue, TargetSentTotal, float64(slot.Sent()), labels...)
	n := slot.Counts
	lost := map[string]uint64{"timeout": n[prefix.Timeout], "unreachable": n[prefix.Unreachable] + n[prefix.Refused] + n[prefix.Reset], "ttl_exceeded": n[prefix.TTLExceeded]}
	if snap.Probe.Kind == prefix.TCP {
		lost = map[string]uint64{"timeout": n[prefix.Timeout], "unreachable": n[prefix.Unreachable] + n[prefix.TTLExceeded], "refused": n[prefix.Refused], "reset": n[prefix.Reset]}
	}
	if snap.Counts[prefix.NoRoute] > 0 {
		lost["no_route"] = n[prefix.NoRoute]
	}
	for reason, n := range lost {
		send(ch, prometheus.CounterValue, TargetLostTotal, float64(n), append(labels, "reason", reason)...)
	}
	ch <- rtt(snap, place, histograms, labels)
}

func rtt(snap *prefix.Snapshot, place int, histograms bool, labels []string) prometheus.Metric {
	slot := snap.Slots[place]
	d, values := description(TargetRTT, labels)
	sum, count := float64(slot.RTTSum)/1e9, slot.Counts[prefix.Answered]
	if !histograms {
		return prometheus.MustNewConstSummary(d, count, sum, nil, values...)
	}
	var h prefix.Histogram
	if len(snap.PerAddress) > 0 && snap.PerAddress[place] != nil {
		h = *snap.PerAddress[place]
	}
	switch snap.Info.PerAddress {
	case prefix.PerAddressNative:
		buckets := map[int]int64{}
		for i, n := range h.Native {
			if n > 0 {
				buckets[prefix.NativeOffset+h.First+i] = int64(n)
			}
		}
		return prometheus.MustNewConstNativeHistogram(d, count, sum, buckets, nil, h.Zero, prefix.NativeSchema, prefix.NativeZeroThreshold, epoch, values...)
	case prefix.PerAddressClassic:
		buckets, below := map[float64]uint64{}, uint64(0)
		for i, bound := range snap.Info.Buckets {
			if h.Classic != nil {
				below += h.Classic[i]
			}
			buckets[bound] = below
		}
		return prometheus.MustNewConstHistogram(d, count, sum, buckets, values...)
	}
	return prometheus.MustNewConstHistogram(d, count, sum, nil, values...)
}

// description splits pairs of a name and a value.
func description(name string, pairs []string) (*prometheus.Desc, []string) {
	var names, values []string
	for i := 0; i < len(pairs); i += 2 {
		names, values = append(names, pairs[i]), append(values, strings.ToValidUTF8(pairs[i+1], "\uFFFD"))
	}
	return prometheus.NewDesc(name, metric(name).Help, names, nil), values
}

func send(ch chan<- prometheus.Metric, t prometheus.ValueType, name string, v float64, pairs ...string) {
	d, values := description(name, pairs)
	ch <- prometheus.MustNewConstMetric(d, t, v, values...)
}

// gathered returns what an ordinary exporter would show, as families.
func gathered(t testing.TB, cs ...prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(cs...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// encode writes a scrape of a table in one format.
func encode(t testing.TB, c *Collector, format expfmt.Format, more ...*dto.MetricFamily) []byte {
	t.Helper()
	s := newScrape(c)
	s.state.read(c.table, c.cache)
	var out bytes.Buffer
	if _, err := s.write(&out, false, format, more, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func checkAgainstPlain(t *testing.T, table *prefix.Table) {
	t.Helper()
	c := New(table, nil)
	families := gathered(t, plain{table})
	for _, format := range formats {
		var out bytes.Buffer
		e := expfmt.NewEncoder(&out, format)
		for _, f := range families {
			if err := e.Encode(f); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.(expfmt.Closer).Close(); err != nil {
			t.Fatal(err)
		}
		got, want := encode(t, c, format), out.Bytes()
		if format.FormatType() != expfmt.TypeOpenMetrics { // which expfmt does not decode
			want, got := decode(t, format, want), decode(t, format, got)
			if !slices.EqualFunc(want, got, func(a, b *dto.MetricFamily) bool { return proto.Equal(a, b) }) { // far cheaper than Diff
				t.Fatalf("%s (-client_golang +ours):\n%s", format, cmp.Diff(want, got, protocmp.Transform()))
			}
		}
		if format.FormatType() != expfmt.TypeProtoDelim {
			want, got := sortedLines(want), sortedLines(got)
			if !slices.Equal(want, got) {
				t.Fatalf("%s (-client_golang +ours):\n%s", format, cmp.Diff(want, got))
			}
		}
	}
}

// decode reads what was encoded and sorts it.
func decode(t testing.TB, format expfmt.Format, data []byte) []*dto.MetricFamily {
	t.Helper()
	families := read(t, format, data)
	for _, f := range families {
		slices.SortFunc(f.Metric, func(a, b *dto.Metric) int {
			return strings.Compare(labelKey(a), labelKey(b))
		})
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families
}

// read reads what was encoded.
func read(t testing.TB, format expfmt.Format, data []byte) (families []*dto.MetricFamily) {
	t.Helper()
	d := expfmt.NewDecoder(bytes.NewReader(data), format)
	for {
		f := new(dto.MetricFamily)
		err := d.Decode(f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if len(f.Metric) == 0 {
			t.Errorf("%s: family %s is empty", format, f.GetName())
		}
		for _, m := range f.Metric {
			if m.Histogram != nil {
				m.Histogram.CreatedTimestamp = nil
			}
		}
		families = append(families, f)
	}
	return families
}

func labelKey(m *dto.Metric) string {
	set := model.Metric{}
	for _, l := range m.Label {
		set[model.LabelName(l.GetName())] = model.LabelValue(l.GetValue())
	}
	return set.String()
}

// sortedLines sorts the samples of each family; the families remain where they are.
func sortedLines(data []byte) []string {
	lines := strings.Split(string(data), "\n")
	for from := 0; from < len(lines); {
		to := from + 1
		for to < len(lines) && strings.HasPrefix(lines[to], "#") == strings.HasPrefix(lines[from], "#") {
			to++
		}
		if !strings.HasPrefix(lines[from], "#") {
			slices.Sort(lines[from:to])
		}
		from = to
	}
	return lines
}

func TestExpositionIsThatOfClientGolang(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			checkAgainstPlain(t, randomTable(t, rand.New(rand.NewPCG(seed, 0))))
		})
	}
}

func FuzzExpositionIsThatOfClientGolang(f *testing.F) {
	f.Add(uint64(1), "mail\n\"\\\xff")
	f.Fuzz(func(t *testing.T, seed uint64, name string) {
		r := rand.New(rand.NewPCG(seed, 1))
		table := randomTable(t, r)
		var blocks []prefix.Block
		for _, b := range table.Infos() {
			blocks = append(blocks, *b)
			for i := range b.Targets {
				if r.IntN(2) == 0 {
					b.Targets[i].Name = name
				}
			}
		}
		table.Apply(blocks)
		checkAgainstPlain(t, table)
	})
}

func TestLargeCountersAreWrittenAsClientGolangDoes(t *testing.T) {
	for _, e := range []text{{openMetrics: false}, {openMetrics: true}} {
		format := formats[len(formats)-1]
		if e.openMetrics {
			format = formats[0]
		}
		for _, n := range []uint64{0, 1, 2, 10, 999_999, 1_000_000, 1_000_001, 1_234_567, 100_000_000, 1<<53 - 1, 1<<53 + 1, 1e18} {
			var out bytes.Buffer
			err := expfmt.NewEncoder(&out, format).Encode(&dto.MetricFamily{
				Name: new("x_total"), Type: dto.MetricType_COUNTER.Enum(), Metric: []*dto.Metric{{Counter: &dto.Counter{Value: new(float64(n))}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			_, want, _ := strings.Cut(out.String(), "\nx_total ")
			if got := string(e.number(nil, n)) + "\n"; got != want {
				t.Errorf("%d as %s: got %q, want %q", n, format, got, want)
			}
		}
	}
}
