package collector

import (
	"strconv"

	"prefix_exporter/route"
)

// The names of the metrics of this package, as users query them.
const (
	LostTotal       = "prefix_lost_total"
	NominalRTT      = "prefix_nominal_rtt_seconds"
	PrefixInfo      = "prefix_info"
	RTT             = "prefix_rtt_seconds"
	RouteChanges    = "prefix_route_changes_total"
	RouteHopLoss    = "prefix_route_hop_loss_ratio"
	RouteHopRTT     = "prefix_route_hop_rtt_seconds"
	RouteHops       = "prefix_route_hops"
	RouteLastHop    = "prefix_route_last_hop"
	SentTotal       = "prefix_sent_total"
	TargetInfo      = "prefix_target_info"
	TargetLostTotal = "prefix_target_lost_total"
	TargetRTT       = "prefix_target_rtt_seconds"
	TargetSentTotal = "prefix_target_sent_total"
	TargetUp        = "prefix_target_up"
	Targets         = "prefix_targets"
	TargetsDown     = "prefix_targets_down"
	TargetsUnknown  = "prefix_targets_unknown"
	TenantInfo      = "prefix_tenant_info"
	ScrapeDuration  = "prefix_exporter_scrape_duration_seconds"
	ScrapeErrors    = "prefix_exporter_scrape_errors_total"
	ScrapeSize      = "prefix_exporter_scrape_size_bytes"
)

const (
	typeCounter   = "counter"
	typeGauge     = "gauge"
	typeHistogram = "histogram"
	typeSummary   = "summary"

	labelPort   = "port" // of tcp only
	labelReason = "reason"
)

// Metric describes one family of metrics.
type Metric struct {
	Name string
	// Type is what stands behind # TYPE. TargetRTT is a histogram instead once a block
	// keeps histograms per address.
	Type string
	// Labels are in the order of the documentation. A port is there for tcp only;
	// PrefixInfo also has the extra labels of the configuration.
	Labels []string
	Unit   string // seconds, bytes or ratio; empty: a number or a yes or no
	Help   string // one sentence without backslashes, quotes and newlines
}

// Metrics returns the families that this package exposes, sorted by name: the one
// table that the code, its tests and docs/metrics.md are checked against.
func Metrics() []Metric {
	probe := []string{"prefix", "probe", labelPort}
	target := []string{"prefix", "ip", "probe", labelPort}
	hop := []string{"prefix", "ip", "ttl", "router"}
	return []Metric{
		{ScrapeDuration, typeHistogram, []string{"format"}, "seconds", "Time from a scrape's arrival until its last byte was handed to the network."},
		{ScrapeErrors, typeCounter, []string{"cause"}, "", "Scrapes that failed or lack something: busy (turned away, too many at once), gather, encode or write."},
		{ScrapeSize, typeGauge, []string{"format"}, "bytes", "Size of the last scrape before compression."},
		{PrefixInfo, typeGauge, []string{"prefix", "name", "router", "tenants"}, "", "What the configuration says of a prefix; always 1."},
		{LostTotal, typeCounter, append(probe, labelReason), "", "Lost probes, by reason, summed over the known addresses of a prefix."},
		{NominalRTT, typeGauge, []string{"prefix"}, "seconds", "Reference RTT of a prefix, configured or learned."},
		{RouteChanges, typeCounter, []string{"prefix", "ip"}, "", "Changes of the path to an address, each seen in two rounds."},
		{RouteHopLoss, typeGauge, hop, "ratio", "Share of the last " + strconv.Itoa(route.LossRounds) + " rounds in which a router on the current path did not answer, though others behind it may have."},
		{RouteHopRTT, typeGauge, hop, "seconds", "Round-trip time to a router on the current path in the newest round; absent if it did not answer."},
		{RouteHops, typeGauge, []string{"prefix", "ip"}, "", "Hops of the current path to an address that is reached."},
		{RouteLastHop, typeGauge, []string{"prefix", "ip", "router", "status"}, "", "TTL of the last router on the current path that answers, 0 if none does, and how the path ends."},
		{RTT, typeHistogram, probe, "seconds", "Round-trip times of all addresses of a prefix."},
		{SentTotal, typeCounter, probe, "", "Probes whose outcome is known, summed over the known addresses of a prefix."},
		{TargetInfo, typeGauge, []string{"prefix", "ip", "name", "target_id"}, "", "What the configuration says of an address that is known or has a name; always 1."},
		{TargetLostTotal, typeCounter, append(target, labelReason), "", "Lost probes to a known address, by reason."},
		{TargetRTT, typeSummary, target, "seconds", "Round-trip times of the answered probes to a known address."},
		{TargetSentTotal, typeCounter, target, "", "Probes to a known address whose outcome is known: always answered plus lost."},
		{TargetUp, typeGauge, target, "", "Whether an address answers: 1 up, 0 down or dark. Absent while that is unknown, because nothing has been measured for too long."},
		{Targets, typeGauge, append(probe, "state"), "", "Addresses of a prefix by state: up, down, dark or unknown."},
		{TargetsDown, typeGauge, append(probe, labelReason, "detail", "by"), "", "Addresses of a prefix that are down, by why their newest probe was lost and by who says so: the sender of an ICMP error."},
		{TargetsUnknown, typeGauge, append(probe, labelReason), "", "Addresses of a prefix whose state is unknown, by why they could not be measured."},
		{TenantInfo, typeGauge, []string{"prefix", "tenant"}, "", "A tenant that a prefix belongs to; always 1."},
	}
}

// metric returns the description of one family of the table.
func metric(name string) Metric {
	for _, m := range Metrics() {
		if m.Name == name {
			return m
		}
	}
	panic("collector: no metric " + name) // a constant of this file without its row
}
