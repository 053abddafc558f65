package app

import (
	"net/http"
	"regexp"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"prefix_exporter/collector"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// newRegistry makes the registry of all metrics that are not of the table, with those
// of the process in it.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		// Without the set that is like runtime.MemStats: it has go_memstats_alloc_bytes as a gauge and as a counter, which
		// are one name in OpenMetrics, so that strict readers refuse the whole scrape. The runtime has the same and more.
		collectors.NewGoCollector(
			collectors.WithGoCollectorMemStatsMetricsDisabled(),
			collectors.WithGoCollectorRuntimeMetrics(
				collectors.MetricsMemory,
				collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/(?:allocs|frees|live|goal|objects):`)},
			),
		),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("prefix_exporter"),
	)
	return r
}

// metricsHandler serves a scrape: the tables and the registry together.
func metricsHandler(r *prometheus.Registry, table *prefix.Table, routes *route.Table, logger log.Logger) http.Handler {
	return collector.New(table, routes).Handler(r, r, collector.Options{Logger: logger})
}
