package docs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
)

func TestEveryRowOfThePageIsRead(t *testing.T) {
	metrics, err := ParseMetrics()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Metric{}
	for _, m := range metrics {
		byName[m.Name] = m
		if m.Meaning == "" || len(m.Types) == 0 {
			t.Errorf("%s: no meaning or no type", m.Name)
		}
		for _, typ := range m.Types {
			if _, ok := dto.MetricType_value[map[string]string{"counter": "COUNTER", "gauge": "GAUGE", "histogram": "HISTOGRAM", "summary": "SUMMARY"}[typ]]; !ok {
				t.Errorf("%s: type %q", m.Name, typ)
			}
		}
	}
	want := Metric{Name: "prefix_target_lost_total", Types: []string{"counter"}, Labels: []string{"prefix", "ip", "probe", "port", "reason"}, Meaning: byName["prefix_target_lost_total"].Meaning}
	if diff := cmp.Diff(want, byName["prefix_target_lost_total"]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !byName["prefix_info"].More {
		t.Error("prefix_info: extra labels are not allowed")
	}
}

func TestAScrapeThatDiffersFromThePageIsFound(t *testing.T) {
	family := func(name string, typ dto.MetricType, labels ...string) *dto.MetricFamily {
		m := &dto.Metric{}
		for _, l := range labels {
			m.Label = append(m.Label, &dto.LabelPair{Name: new(l), Value: new("x")})
		}
		return &dto.MetricFamily{Name: new(name), Type: typ.Enum(), Metric: []*dto.Metric{m}}
	}
	wrong, absent, err := CompareMetrics([]*dto.MetricFamily{
		family("prefix_target_up", dto.MetricType_GAUGE, "ip", "prefix", "probe"),
		family("prefix_info", dto.MetricType_GAUGE, "name", "prefix", "router", "tenants", "site"),
		family("prefix_nominal_rtt_seconds", dto.MetricType_COUNTER, "prefix", "name"),
		family("prefix_tenant_info", dto.MetricType_GAUGE, "prefix"),
		family("prefix_unheard_of", dto.MetricType_GAUGE),
		family("go_goroutines", dto.MetricType_GAUGE),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"prefix_nominal_rtt_seconds: is a counter, documented as gauge",
		"prefix_nominal_rtt_seconds: label name is not documented",
		"prefix_tenant_info: documented label tenant is not there",
		"prefix_unheard_of: not documented",
	}
	if diff := cmp.Diff(want, wrong); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	metrics, _ := ParseMetrics()
	if len(absent) != len(metrics)-4 {
		t.Errorf("%d of %d are absent: %q", len(absent), len(metrics), absent)
	}
}
