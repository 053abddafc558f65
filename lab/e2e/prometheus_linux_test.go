package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"prefix_exporter/lab/e2e/tools"
)

// scrapeInterval is the shortest that a Prometheus user would choose, and as long as
// the interval of probing: what happens is seen a second later at most.
const scrapeInterval = time.Second

// prometheusConfig scrapes the exporter with native histograms, which come over
// protobuf, and keeps the classic buckets as well, to compare the two.
const prometheusConfig = `
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: prefix_exporter
    scrape_native_histograms: true
    always_scrape_classic_histograms: true
    static_configs: [{targets: ["` + exporterAddress + `"]}]
`

// prometheus is the real one, scraping the exporter.
type prometheus struct {
	*process
	api v1.API
}

// startPrometheus starts it and waits until it answers.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	program := tools.Require(t, "prometheus")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(prometheusConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{process: spawn(t, dir, program, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
		"--web.listen-address="+prometheusAddress, "--log.level=warn")}
	c, err := api.NewClient(api.Config{Address: "http://" + prometheusAddress, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	p.api = v1.NewAPI(c)
	p.untilReady(prometheusAddress)
	return p
}

// query asks for the values of now.
func (p *prometheus) query(promql string) model.Vector {
	p.t.Helper()
	v, ok := p.ask(promql).(model.Vector)
	if !ok {
		p.t.Fatalf("%s: is no vector", promql)
	}
	return v
}

// samples asks for all samples that were stored since a moment, as they were scraped.
func (p *prometheus) samples(selector string, since time.Time) model.Matrix {
	p.t.Helper()
	m, ok := p.ask(fmt.Sprintf("%s[%dms]", selector, time.Since(since).Milliseconds())).(model.Matrix)
	if !ok {
		p.t.Fatalf("%s: is no matrix", selector)
	}
	return m
}

func (p *prometheus) ask(promql string) model.Value {
	p.t.Helper()
	p.alive()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	v, _, _, err := p.api.Query(ctx, promql, time.Now())
	if err != nil {
		p.t.Fatalf("%s: %v", promql, err)
	}
	return v
}

// everyScrape evaluates an expression over every scrape from one moment to another.
func (p *prometheus) everyScrape(promql string, from, to time.Time) model.Matrix {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	// An evaluation sees the newest scrape. Four of them in each scrape interval leave
	// none out, however irregular the scrapes are.
	m, _, _, err := p.api.QueryRange(ctx, promql, v1.Range{Start: from, End: to, Step: scrapeInterval / 4})
	if err != nil {
		p.t.Fatalf("%s: %v", promql, err)
	}
	matrix, ok := m.(model.Matrix)
	if !ok {
		p.t.Fatalf("%s: is no matrix", promql)
	}
	return matrix
}

// number returns the one value of an expression; false if it has none.
func (p *prometheus) number(promql string) (float64, bool) {
	p.t.Helper()
	switch v := p.query(promql); len(v) {
	case 0:
		return 0, false
	case 1:
		return float64(v[0].Value), true
	default:
		p.t.Fatalf("%s: %d values, want one", promql, len(v))
	}
	return 0, false
}

// until waits until an expression has this value.
func (p *prometheus) until(promql string, want float64) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("%s is %v", promql, want), func() string {
		got, ok := p.number(promql)
		if ok && got == want {
			return ""
		}
		return fmt.Sprintf("it is %v (there: %v)", got, ok)
	})
}
