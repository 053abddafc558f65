//go:build !race

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"prefix_exporter/dashboards"
	"prefix_exporter/lab/e2e/tools"
)

const (
	twinAddress       = "127.0.0.1:9091"
	unmeasuredAddress = "127.0.0.1:10241"

	unmeasuredPrefix = "100.64.0.0/24"
	routelessPrefix  = "100.64.1.0/24"

	minuteByMinute                      = "Minute by minute, the worst (a click opens the prefix)"
	firstBlock, secondBlock, thirdBlock = ".0 – .63, :0 – :3f", ".64 – .127, :40 – :7f", ".128 – .191, :80 – :bf"
)

// twinJobs scrape the exporter as if there were a second one that calls a prefix by another name, and one that cannot
// measure what it has to.
const twinJobs = `
  - job_name: twin
    relabel_configs: [{target_label: job, replacement: prefix_exporter}, {target_label: instance, replacement: twin}]
    metric_relabel_configs: [{source_labels: [name], regex: Well, target_label: name, replacement: Elsewhere}]
    static_configs: [{targets: ["` + exporterAddress + `"]}]
  - job_name: unmeasured
    relabel_configs: [{target_label: job, replacement: prefix_exporter}]
    static_configs: [{targets: ["` + unmeasuredAddress + `"]}]
`

// foreignAlerts are those of somebody else who uses the same Prometheus.
const foreignAlerts = `
groups:
  - name: foreign
    rules:
      - {alert: DiskFull, expr: vector(1), labels: {severity: critical, job: node}}
      - {alert: SessionDown, expr: vector(1), labels: {severity: critical, job: bgp, prefix: 192.0.2.0/24}}
`

// startTwinPrometheus starts a second Prometheus, with two exporters of each prefix.
func startTwinPrometheus(t *testing.T) *prometheus {
	t.Helper()
	program := tools.Require(t, "prometheus")
	serveUnmeasured(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prometheus.yml"), shipped(t, "prometheus.yml",
		`"exporter:10240"`, `"`+exporterAddress+`"`, `"alertmanager:9093"`, `"127.0.0.1:9"`, "localhost:9090", twinAddress)+twinJobs)
	copyFolder(t, dir, "rules/*.yml")
	write(t, filepath.Join(dir, "rules/foreign.yml"), foreignAlerts)
	p := &prometheus{process: spawn(t, dir, program, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
		"--web.listen-address="+twinAddress, "--log.level=warn")}
	c, err := api.NewClient(api.Config{Address: "http://" + twinAddress, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	p.api = v1.NewAPI(c)
	p.untilReady(twinAddress)
	return p
}

// serveUnmeasured has the metrics of an exporter that has not measured one prefix for a while, and has no route to half
// of another one, which has no reference yet.
func serveUnmeasured(t *testing.T) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", unmeasuredAddress)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		probed := int(time.Since(start).Seconds())
		target := func(prefix, ip string) string { return fmt.Sprintf(`{prefix=%q,ip=%q,probe="icmp"`, prefix, ip) }
		fmt.Fprintf(w, "prefix_info{prefix=%q,name=\"\",router=\"LO1\",tenants=\"\"} 1\n", unmeasuredPrefix)
		fmt.Fprintf(w, "prefix_info{prefix=%q,name=\"\",router=\"LO1\",tenants=\"\"} 1\n", routelessPrefix)
		for i, state := range []string{"up", "down", "dark", "unknown"} {
			fmt.Fprintf(w, "prefix_targets{prefix=%q,probe=\"icmp\",state=%q} %d\n", unmeasuredPrefix, state, []int{0, 0, 253, 3}[i])
			fmt.Fprintf(w, "prefix_targets{prefix=%q,probe=\"icmp\",state=%q} %d\n", routelessPrefix, state, []int{1, 1, 254, 0}[i])
		}
		for _, ip := range []string{"100.64.0.0", "100.64.0.1", "100.64.0.2"} {
			fmt.Fprintf(w, "prefix_target_sent_total%s} 100\n", target(unmeasuredPrefix, ip))
			fmt.Fprintf(w, "prefix_target_rtt_seconds_count%s} 100\nprefix_target_rtt_seconds_sum%[1]s} 1\n", target(unmeasuredPrefix, ip))
		}
		fmt.Fprintf(w, "prefix_target_up%s} 0\n", target(unmeasuredPrefix, "100.64.0.3"))
		answers, silent := target(routelessPrefix, "100.64.1.0"), target(routelessPrefix, "100.64.1.1")
		fmt.Fprintf(w, "prefix_target_up%s} 1\nprefix_target_up%s} 0\n", answers, silent)
		fmt.Fprintf(w, "prefix_target_sent_total%s} %d\nprefix_target_sent_total%s} %[2]d\n", answers, probed, silent)
		fmt.Fprintf(w, "prefix_target_rtt_seconds_count%s} %d\nprefix_target_rtt_seconds_sum%[1]s} %d.5\n", answers, probed, probed/100)
		fmt.Fprintf(w, "prefix_target_rtt_seconds_count%s} 0\nprefix_target_rtt_seconds_sum%[1]s} 0\n", silent)
		fmt.Fprintf(w, "prefix_target_lost_total%s,reason=\"no_route\"} %d\n", silent, probed)
		fmt.Fprintf(w, "prefix_sent_total{prefix=%q,probe=\"icmp\"} %d\n", routelessPrefix, 2*probed)
		fmt.Fprintf(w, "prefix_lost_total{prefix=%q,probe=\"icmp\",reason=\"no_route\"} %d\n", routelessPrefix, probed)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with an error, always
	}()
	t.Cleanup(func() {
		_ = server.Close() // what it would say is of no interest any more
		<-done
	})
}

// twoExporters runs all queries where each prefix is measured twice, and has two names. None may be many-to-many, and no
// row may be there twice.
func twoExporters(t *testing.T, twins *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	c := twins.now()
	for _, d := range all {
		for _, q := range queriesOf(t, twins, d) {
			if strings.HasPrefix(q.choice.About, "ip=") {
				continue // all addresses are alike
			}
			answer, err := c.Run(t.Context(), q.query, q.choice)
			if err != nil {
				t.Error(err)
				continue
			}
			m, _ := answer.(model.Matrix)
			for _, s := range m {
				labels := map[string]string{}
				for l, v := range s.Metric {
					labels[string(l)] = string(v)
				}
				if q.query.Legend != "" && dashboards.LegendText(q.query.Legend, labels) == "" {
					t.Errorf("%v: calls %v nothing", q.query, s.Metric)
				}
			}
		}
	}
	// The five of the exporter, of which one is dark, and two of the one that cannot measure.
	for panel, want := range map[string]int{"Now, worst first": 7, minuteByMinute: 6} {
		if got := lastColumn(t, twins, all, "prefix-overview", panel, "at first"); len(got) != want {
			t.Errorf("%s: %d rows, want %d: %v", panel, len(got), want, got)
		}
	}
	alertsAreCountedOnce(t, twins, all)
}

// isUnknown looks at what says unknown.
func isUnknown(t *testing.T, twins *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	for labels, v := range lastColumn(t, twins, all, "prefix-overview", "Now, worst first", "at first") {
		if strings.Contains(labels, unmeasuredPrefix) && (v != -2 || !strings.Contains(labels, `a="3"`)) {
			t.Errorf("the tile %s is %v, want -2", labels, v)
		}
	}
	for panel, want := range map[string]float64{"Prefixes": 1, "Addresses": 3} {
		found := false
		for _, q := range open(t, twins, all, "prefix-overview", "at first").columns(panel) {
			found = found || q["{}"] == want
		}
		if !found {
			t.Errorf("%s: nowhere are %v unknown", panel, want)
		}
	}
	cells := map[string]float64{"100.64.0.0": -3, "100.64.0.3": -2, "100.64.1.0": -4, "100.64.1.1": -1}
	for ip, want := range cells {
		prefix := strings.Join(strings.Split(ip, ".")[:3], ".") + ".0/24"
		for labels, v := range lastColumn(t, twins, all, "prefix-24", firstBlock, "prefix="+prefix) {
			if strings.Contains(labels, `ip="`+ip+`"`) && v != want {
				t.Errorf("the cell of %s is %v, want %v", ip, v, want)
			}
		}
	}
	address := open(t, twins, all, "prefix-ip", "prefix="+unmeasuredPrefix)
	for _, panel := range []string{"State", "State of ping and of each port"} {
		got := address.last(panel)
		for labels, v := range got {
			if v != -2 {
				t.Errorf("%s: %s is %v, want -2", panel, labels, v)
			}
		}
		if len(got) == 0 {
			t.Errorf("%s: says nothing", panel)
		}
	}
	reasons := lastColumn(t, twins, all, "prefix-24", "Loss by reason", "prefix="+routelessPrefix)
	if share := reasons[`{reason="no_route"}`]; share < 0.4 || share > 0.6 {
		t.Errorf("lost without a route: %v, want half", reasons)
	}
}

// alertsAreCountedOnce holds the number of alerts on Overview against the table of them.
func alertsAreCountedOnce(t *testing.T, p *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	for _, about := range []string{"at first", "router=LO1", "router=PA2"} {
		// Between the two questions an alert may begin or end.
		await(t, patience, "the tile and the table tell of the same alerts", func() string {
			sum := 0.0
			for labels, n := range lastColumn(t, p, all, "prefix-overview", "Alerts firing", about) {
				if sum += n; strings.Contains(labels, "DiskFull") || strings.Contains(labels, "SessionDown") {
					t.Fatalf("an alert of somebody else: %s", labels)
				}
				if about == "router=PA2" && strings.Contains(labels, "Outage") {
					t.Fatalf("%s: an alert of another router: %s", about, labels)
				}
			}
			if tile := lastColumn(t, p, all, "prefix-overview", "Alerts", about); len(tile) != 1 || tile["{}"] != sum {
				return fmt.Sprintf("%s: the tile says %v, the table %v", about, tile, sum)
			}
			return ""
		})
	}
}

// neverIsNotDown looks at the page of an address that has never answered.
func neverIsNotDown(t *testing.T, p *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	address := open(t, p, all, "prefix-ip", "prefix="+darkPrefix)
	for panel, want := range map[string]string{"State": "-1", "State of ping and of each port": "-1", "Available, range": "", "State since": "", "÷ reference": ""} {
		for labels, v := range address.last(panel) {
			if fmt.Sprint(v) != want {
				t.Errorf("%s of %s: %v, want %q", panel, labels, v, want)
			}
		}
	}
	if got := lastColumn(t, p, all, "prefix-24", "÷ reference", "prefix="+darkPrefix); len(got) != 0 {
		t.Errorf("÷ reference of what has neither: %v, want nothing", got)
	}
}

// downSince looks at the lists of what is down: all of one prefix, since it fell silent.
func downSince(t *testing.T, p *prometheus, all []dashboards.Dashboard) {
	t.Helper()
	list := lastColumn(t, p, all, "prefix-overview", "Down now: every address, the newest first", "router=LO1")
	if len(list) < 256 {
		t.Errorf("%d addresses are down, want all 256", len(list))
	}
	for labels, since := range list {
		ago := time.Since(time.UnixMilli(int64(since)))
		if !strings.Contains(labels, `prefix="`+silentPrefix+`"`) || ago < 0 || ago > time.Hour {
			t.Errorf("down: %s since %v", labels, ago)
		}
	}
}
