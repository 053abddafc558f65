// Package collector turns the state of a prefix.Table and a route.Table into Prometheus metrics
// at scrape time. What exists once per address is written by encoders of its own, a
// hundred times faster than general ones; everything else goes through client_golang.
package collector

import (
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// Collector shows one table of each. Its Handler may be scraped from any goroutine.
type Collector struct {
	table  *prefix.Table
	routes *route.Table // nil: none
	cache  *cache
	descs  *descs
}

// New makes a collector of a table of prefixes and one of routes; nil: there are no routes. It
// reads them only while it is scraped.
func New(table *prefix.Table, routes *route.Table) *Collector {
	return &Collector{table: table, routes: routes, cache: newCache(), descs: newDescs()}
}

// descs describe, for client_golang, the families with one series per prefix, and probe, and those
// of routes.
type descs struct {
	rtt, sent, lost, targets map[prefix.Kind]*prometheus.Desc
	targetsDown              map[prefix.Kind]*prometheus.Desc
	targetsUnknown           map[prefix.Kind]*prometheus.Desc
	tenant, nominal          *prometheus.Desc

	routeHops, routeChanges, routeHopRTT, routeHopLoss, routeLastHop *prometheus.Desc
}

func newDescs() *descs {
	return &descs{
		rtt:     descByKind(metric(RTT)),
		sent:    descByKind(metric(SentTotal)),
		lost:    descByKind(metric(LostTotal)),
		targets: descByKind(metric(Targets)),
		tenant:  desc(metric(TenantInfo)),

		targetsDown:    descByKind(metric(TargetsDown)),
		targetsUnknown: descByKind(metric(TargetsUnknown)),

		nominal: desc(metric(NominalRTT)),

		routeHops:    desc(metric(RouteHops)),
		routeChanges: desc(metric(RouteChanges)),
		routeHopRTT:  desc(metric(RouteHopRTT)),
		routeHopLoss: desc(metric(RouteHopLoss)),
		routeLastHop: desc(metric(RouteLastHop)),
	}
}

func desc(m Metric) *prometheus.Desc {
	return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
}

// descByKind describes a family whose series have a port only for TCP.
func descByKind(m Metric) map[prefix.Kind]*prometheus.Desc {
	var portless []string
	for _, l := range m.Labels {
		if l != labelPort {
			portless = append(portless, l)
		}
	}
	return map[prefix.Kind]*prometheus.Desc{
		prefix.TCP:  desc(m),
		prefix.ICMP: prometheus.NewDesc(m.Name, m.Help, portless, nil),
	}
}
