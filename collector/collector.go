// Package collector turns the state of a prefix.Table into Prometheus metrics at
// scrape time. What exists once per address is written by encoders of its own, a
// hundred times faster than general ones; everything else goes through client_golang.
package collector

import (
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/prefix"
)

// Collector shows one table. Its Handler may be scraped from any goroutine.
type Collector struct {
	table *prefix.Table
	cache *cache
	descs *descs
}

// New makes a collector of a table. It reads the table only while it is scraped.
func New(table *prefix.Table) *Collector {
	return &Collector{table: table, cache: newCache(), descs: newDescs()}
}

// descs describe the families with one series per prefix, and probe, for client_golang.
type descs struct {
	rtt, sent, lost, targets map[prefix.Kind]*prometheus.Desc
	tenant, nominal          *prometheus.Desc
}

func newDescs() *descs {
	return &descs{
		rtt:     descByKind(metric(RTT)),
		sent:    descByKind(metric(SentTotal)),
		lost:    descByKind(metric(LostTotal)),
		targets: descByKind(metric(Targets)),
		tenant:  desc(metric(TenantInfo)),
		nominal: desc(metric(NominalRTT)),
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
