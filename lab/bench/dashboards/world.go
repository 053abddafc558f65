package main

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// world is what the exporter would have seen.
type world struct {
	prefixes, known, ports int
	span, scrape           time.Duration
	end                    time.Time
}

// series is one series: its labels, by name and value in turn, and its value so many
// seconds after the exporter has started.
type series struct {
	labels []string
	value  func(seconds float64) float64
}

// all returns every series of the world.
func (w world) all() (all []series) {
	add := func(value func(float64) float64, name string, labels ...string) {
		labels = append([]string{"__name__", name, "instance", "exporter:10240", "job", "prefix_exporter"}, labels...)
		all = append(all, series{labels, value})
	}
	w.exporter(add)
	for i := range w.prefixes {
		prefix := fmt.Sprintf("198.18.%d.0/24", i)
		w.prefix(add, i, prefix)
		for a := range 256 {
			ip := fmt.Sprintf("198.18.%d.%d", i, a)
			w.address(add, i, a, "prefix", prefix, "ip", ip, "probe", "icmp")
			for port := range w.ports {
				w.address(add, i, a, "prefix", prefix, "ip", ip, "probe", "tcp", "port", strconv.Itoa(80+port))
			}
		}
	}
	return all
}

type adder = func(value func(float64) float64, name string, labels ...string)

func constant(v float64) func(float64) float64 { return func(float64) float64 { return v } }

// rate makes a counter of so many a second, in whole numbers as probes are counted.
func rate(perSecond float64) func(float64) float64 {
	return func(s float64) float64 { return math.Floor(s * perSecond) }
}

// swing makes a counter that grows by perSecond on average, and by half to one and a half
// times as much over 20 minutes: an RTT that comes and goes.
func swing(perSecond float64) func(float64) float64 {
	return func(s float64) float64 { return perSecond * (s - 100*math.Cos(s/200)) }
}

// address has the series of one probe of an address. The known ones lie scattered.
func (w world) address(add adder, i, a int, labels ...string) {
	with := func(more ...string) []string { return append(append([]string{}, labels...), more...) }
	if a*101%256 >= w.known { // 101 is odd: each remainder is there once
		add(constant(0), "prefix_target_up", labels...)
		return
	}
	loss := 0.001 * float64(a%7)
	if a%50 == 0 {
		loss = 0.05
	}
	rtt := 0.005 + 0.004*float64(i) + 0.0001*float64(a)
	add(constant(1), "prefix_target_up", labels...)
	add(rate(1), "prefix_target_sent_total", labels...)
	add(rate(1-loss), "prefix_target_rtt_seconds_count", labels...)
	add(swing(rtt*(1-loss)), "prefix_target_rtt_seconds_sum", labels...)
	add(rate(loss), "prefix_target_lost_total", with("reason", "timeout")...)
	add(constant(0), "prefix_target_lost_total", with("reason", "unreachable")...)
	add(constant(0), "prefix_target_lost_total", with("reason", "ttl_exceeded")...)
	if len(labels) > 6 {
		return // a port
	}
	name := ""
	if a == 0 {
		name = "gateway"
	}
	add(constant(1), "prefix_target_info", append([]string{"prefix", labels[1], "ip", labels[3]}, "name", name, "target_id", fmt.Sprintf("00000000-0000-5000-8000-%06d%06d", i, a))...)
}

// prefix has the series of a prefix: of ping, of two ports, and of the path to it.
func (w world) prefix(add adder, i int, prefix string) {
	name := fmt.Sprintf("POP-%d", i)
	rtt := 0.005 + 0.004*float64(i)
	add(constant(1), "prefix_info", "prefix", prefix, "name", name, "router", fmt.Sprintf("R%d", i%4), "tenants", ",noc,")
	add(constant(1), "prefix_tenant_info", "prefix", prefix, "tenant", "noc")
	add(constant(rtt), "prefix_nominal_rtt_seconds", "prefix", prefix)
	for _, probe := range [][]string{{"prefix", prefix, "probe", "icmp"}, {"prefix", prefix, "probe", "tcp", "port", "80"}, {"prefix", prefix, "probe", "tcp", "port", "443"}} {
		with := func(more ...string) []string { return append(append([]string{}, probe...), more...) }
		perSecond := float64(w.known)
		if len(probe) > 4 {
			perSecond /= 60
		}
		add(rate(perSecond), "prefix_sent_total", probe...)
		for j, reason := range []string{"timeout", "unreachable", "ttl_exceeded"} {
			add(rate(perSecond*0.01/math.Pow(10, float64(j))), "prefix_lost_total", with("reason", reason)...)
		}
		add(rate(perSecond*0.99), "prefix_rtt_seconds_count", probe...)
		add(swing(perSecond*0.99*rtt), "prefix_rtt_seconds_sum", probe...)
		for _, le := range bounds() {
			add(rate(perSecond*0.99*(1-math.Exp(-le/rtt))), "prefix_rtt_seconds_bucket", with("le", strconv.FormatFloat(le, 'g', -1, 64))...)
		}
		add(rate(perSecond*0.99), "prefix_rtt_seconds_bucket", with("le", "+Inf")...)
		for state, n := range map[string]int{"up": w.known - 2, "down": 2, "dark": 256 - w.known, "unknown": 0} {
			add(constant(float64(n)), "prefix_targets", with("state", state)...)
		}
		w.recorded(add, i, rtt, probe)
	}
	add(constant(12), "prefix_route_hops", "prefix", prefix, "ip", "198.18.0.1")
	add(rate(0.0005), "prefix_route_changes_total", "prefix", prefix, "ip", "198.18.0.1")
	for ttl := range 12 {
		hop := []string{"prefix", prefix, "ip", "198.18.0.1", "ttl", strconv.Itoa(ttl + 1), "router", fmt.Sprintf("10.%d.%d.1", ttl, i)}
		add(constant(rtt*float64(ttl+1)/12), "prefix_route_hop_rtt_seconds", hop...)
		add(constant(0), "prefix_route_hop_loss_ratio", hop...)
	}
}

// recorded has what rules/recording.yml makes of a prefix.
func (w world) recorded(add adder, i int, rtt float64, probe []string) {
	wave := func(v float64) func(float64) float64 {
		return func(s float64) float64 { return v * (1 + 0.5*math.Sin(s/200+float64(i))) }
	}
	for name, value := range map[string]func(float64) float64{
		"prefix:availability:ratio":        constant(0.99),
		"prefix:availability:ratio_avg1h":  constant(0.99),
		"prefix:availability:ratio_avg1d":  constant(0.99),
		"prefix:availability:ratio_avg7d":  constant(0.99),
		"prefix:availability:ratio_avg30d": constant(0.99),
		"prefix:loss:ratio_rate1m":         wave(0.01),
		"prefix:rtt_seconds:mean1m":        wave(rtt),
		"prefix:rtt_seconds:p50_1m":        wave(rtt),
		"prefix:rtt_seconds:p95_1m":        wave(2 * rtt),
		"prefix:rtt_seconds:p99_1m":        wave(3 * rtt),
		"prefix:rtt_nominal:ratio_mean1m":  wave(1 + float64(i)/10),
		"prefix:rtt_nominal:ratio_p50_1m":  wave(1 + float64(i)/10),
		"prefix:score:worst":               wave(1 + float64(i)/5),
	} {
		add(value, name, probe...)
	}
	if len(probe) > 4 {
		return // a port
	}
	name := fmt.Sprintf("POP-%d", i)
	add(constant(1), "prefix:tenant:info", "prefix", probe[1], "name", name, "router", fmt.Sprintf("R%d", i%4), "tenant", "noc")
	for a := range 2 {
		add(constant(0), "prefix_target:down:icmp", append([]string{"ip", fmt.Sprintf("198.18.%d.%d", i, 100+a)}, probe...)...)
	}
	if i%10 == 0 {
		add(constant(1), "ALERTS", append([]string{"alertname", "PrefixLoss", "alertstate", "firing", "severity", "critical", "name", name}, probe...)...)
	}
}

// exporter has what tells of the exporter itself, as far as it is more than one series.
func (w world) exporter(add adder) {
	add(constant(1), "up")
	add(constant(1), "prefix_exporter_healthy")
	for _, kind := range []string{"icmp", "tcp", "trace"} {
		for _, reason := range []string{"stalled", "skipped", "kernel_drop", "send_error", "clock_step", "flood", "socket", "offline"} {
			add(constant(0), "prefix_exporter_unhealthy", "reason", reason, "probe", kind)
		}
		for _, reason := range []string{"stalled", "kernel_drop", "flood", "offline"} {
			add(constant(0), "prefix_exporter_doubt", "reason", reason, "probe", kind)
		}
	}
	for _, le := range bounds() {
		add(rate(10240*(1-math.Exp(-le/0.001))), "prefix_exporter_send_lag_seconds_bucket", "probe", "icmp", "le", strconv.FormatFloat(le, 'g', -1, 64))
	}
	add(rate(10240), "prefix_exporter_packets_sent_total", "probe", "icmp")
	add(rate(7000), "prefix_exporter_packets_received_total", "probe", "icmp")
}

// bounds are the default buckets of the exporter, in seconds.
func bounds() []float64 {
	return []float64{.0001, .00025, .0005, .001, .002, .003, .005, .0075, .01, .015, .02, .03, .05, .075, .1, .15, .2, .3, .5, 1, 2.5, 10}
}
