package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// The namespace is ours alone, so every port in it is free.
const (
	exporterAddress   = "127.0.0.1:10240"
	prometheusAddress = "127.0.0.1:9090"
)

// exporter is the real program in a process of its own.
type exporter struct {
	*process
	config string // its configuration file
}

// startExporter starts the exporter with a configuration and waits until it probes.
func startExporter(t *testing.T, config string, args ...string) *exporter {
	t.Helper()
	file := filepath.Join(t.TempDir(), "prefix_exporter.yml")
	args = append(args, "--config.file="+file, "--web.listen-address="+exporterAddress, "--web.enable-lifecycle", "--log.format=json", "--log.changes=address")
	e := &exporter{config: file}
	e.configure(t, config)
	e.process = spawn(t, t.TempDir(), os.Getenv(binaryEnv), args...)
	e.untilReady(exporterAddress)
	return e
}

func (e *exporter) configure(t *testing.T, config string) {
	t.Helper()
	if err := os.WriteFile(e.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// client keeps no connection open, so that nothing is left behind when a test ends.
var client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

// get returns what is under a path, in the format that is asked for.
func (e *exporter) get(path, accept string) (body, contentType string) {
	e.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+exporterAddress+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	answer, err := client.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		e.t.Fatalf("GET %s: %s, %v: %s", path, answer.Status, err, text)
	}
	return string(text), answer.Header.Get("Content-Type")
}

// post sends a request without a body and returns the answer.
func (e *exporter) post(path string) (status int, body string) {
	e.t.Helper()
	answer, err := client.Post("http://"+exporterAddress+path, "", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// The formats, as a scraper asks for them.
const (
	textFormat  = "text/plain;version=0.0.4"
	openMetrics = "application/openmetrics-text;version=1.0.0"
	protobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// scrape returns all metrics, by name. The format is protobuf: it says most.
func (e *exporter) scrape() map[string]*dto.MetricFamily {
	e.t.Helper()
	body, contentType := e.get("/metrics", protobuf)
	decoder := expfmt.NewDecoder(strings.NewReader(body), expfmt.ResponseFormat(http.Header{"Content-Type": {contentType}}))
	families := map[string]*dto.MetricFamily{}
	for {
		f := new(dto.MetricFamily)
		if err := decoder.Decode(f); errors.Is(err, io.EOF) {
			return families
		} else if err != nil {
			e.t.Fatal(err)
		}
		families[f.GetName()] = f
	}
}

// value sums up a counter or gauge over its series that have all of these labels.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (sum float64) {
	for _, m := range families[name].GetMetric() {
		if hasLabels(m, labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// hasLabels says whether a metric has all of these labels, written name=value.
func hasLabels(m *dto.Metric, labels []string) bool {
	has := map[string]bool{}
	for _, l := range m.GetLabel() {
		has[l.GetName()+"="+l.GetValue()] = true
	}
	for _, l := range labels {
		if !has[l] {
			return false
		}
	}
	return true
}

// reload puts a configuration into force by SIGHUP and waits until it is. The log says
// so: metrics cannot tell the second of two equal reloads.
func (e *exporter) reload(config string) {
	e.t.Helper()
	e.configure(e.t, config)
	before := len(e.logged("Configuration loaded"))
	e.signal(syscall.SIGHUP)
	until(e.t, "reload", func() string {
		e.alive()
		if len(e.logged("Configuration loaded")) > before {
			return ""
		}
		return "not yet"
	})
}

// logged returns the lines of the log with this message, in whatever case.
func (e *exporter) logged(msg string) (lines []map[string]any) {
	e.t.Helper()
	scanner := bufio.NewScanner(strings.NewReader(e.said()))
	for scanner.Scan() {
		var line map[string]any
		if json.Unmarshal(scanner.Bytes(), &line) != nil {
			continue
		}
		if said, _ := line["msg"].(string); strings.EqualFold(said, msg) {
			lines = append(lines, line)
		}
	}
	return lines
}

// end stops the exporter as an operator does. It has promised to be gone within 5 s,
// in peace.
func (e *exporter) end() {
	e.t.Helper()
	if took := e.terminate(); took > 5*time.Second {
		e.t.Errorf("it took %v to end, promised are 5 s", took)
	}
	if e.exit != nil {
		e.t.Errorf("it ended with %v, want exit status 0", e.exit)
	}
	if strings.Contains(e.said(), "DATA RACE") {
		e.t.Errorf("a data race:\n%s", e.said())
	}
}

// blocks writes the prefixes of a configuration, all probed alike.
func blocks(prefixes ...string) string {
	var b strings.Builder
	for _, p := range prefixes {
		fmt.Fprintf(&b, "  - {prefix: %s}\n", p)
	}
	return b.String()
}
