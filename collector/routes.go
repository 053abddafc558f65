package collector

import (
	"net/netip"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/route"
)

// routes exposes the current paths: 12 hops or so of one address per prefix, little enough
// for client_golang. Each route is shown as it is at one moment.
type routes struct {
	table *route.Table
	*descs
}

var _ prometheus.Collector = routes{}

// Describe describes nothing, which makes this an unchecked collector: as that of prefixes
// it is registered anew for each scrape's memory.
func (r routes) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of all routes.
func (r routes) Collect(ch chan<- prometheus.Metric) {
	type labels struct {
		prefix netip.Prefix
		dst    netip.Addr
	}
	shown := map[labels]bool{}
	for _, one := range r.table.Current() {
		// The lowest address that answers may be one that is configured, too: the same path.
		key := labels{one.Prefix, one.Dst}
		if one.Rounds == 0 || one.Stale || shown[key] {
			continue
		}
		shown[key] = true
		r.route(ch, &one)
	}
}

func (r routes) route(ch chan<- prometheus.Metric, one *route.Route) {
	prefix, ip := one.Prefix.String(), one.Dst.String()
	ch <- counter(r.routeChanges, one.ChangesTotal, prefix, ip)
	if one.Path.Status == route.Reached {
		ch <- gauge(r.routeHops, float64(len(one.Hops)), prefix, ip)
	}
	if last := lastHop(one.Hops); one.Path.Status != route.Pending {
		router := ""
		if last.Router.IsValid() {
			router = last.Router.String()
		}
		ch <- gauge(r.routeLastHop, float64(last.TTL), prefix, ip, router, one.Path.Status.String())
	}
	for _, h := range one.Hops {
		if h.Answered == 0 {
			continue
		}
		ttl, router := strconv.Itoa(h.TTL), h.Router.String()
		ch <- gauge(r.routeHopLoss, h.Loss, prefix, ip, ttl, router)
		if h.Last > 0 {
			ch <- gauge(r.routeHopRTT, h.Last.Seconds(), prefix, ip, ttl, router)
		}
	}
}

// lastHop is the last hop of a path that answered in the newest round; the zero Hop if none did.
func lastHop(hops []route.Hop) (last route.Hop) {
	for _, h := range hops {
		if h.Last > 0 {
			last = h
		}
	}
	return last
}
