package app

import (
	"net/http"

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
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("prefix_exporter"),
	)
	return r
}

// metricsHandler serves a scrape: the tables and the registry together.
func metricsHandler(r *prometheus.Registry, table *prefix.Table, routes *route.Table, logger log.Logger) http.Handler {
	return collector.New(table, routes).Handler(r, r, collector.Options{Logger: logger})
}
