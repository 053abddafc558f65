package e2e

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// busy is what is granted to a machine that has more to do than to run this test, where
// the exporter itself needs a few milliseconds.
const busy = 500 * time.Millisecond

// unequal compares every counter with the accounts, and says what differs.
func (s *story) unequal(b book) (text string) {
	sent, answered := map[string]float64{}, map[string]float64{}
	prefixSent, lost, prefixLost := map[string]float64{}, map[string]float64{}, map[string]float64{}
	reasons := []prefix.Outcome{prefix.Timeout, prefix.Unreachable, prefix.TTLExceeded}
	for a, account := range b {
		block, _ := a.Prefix(24)
		if !account.known {
			continue
		}
		sent[a.String()] = float64(account.sent())
		answered[a.String()] = float64(account.counts[prefix.Answered])
		prefixSent[block.String()] += float64(account.sent())
		for _, r := range reasons {
			lost[a.String()+" "+r.String()] = float64(account.counts[r])
			prefixLost[block.String()+" "+r.String()] += float64(account.counts[r])
		}
		prefixLost[block.String()+" "+prefix.NoRoute.String()] = 0 // of addresses it begins with the first
	}
	compare := func(want map[string]float64, promql string, labels ...string) {
		got := map[string]float64{}
		for _, v := range s.prometheus.query(promql) {
			name := string(v.Metric["prefix"])
			if ip := v.Metric["ip"]; ip != "" {
				name = string(ip)
			}
			if reason := v.Metric["reason"]; reason != "" {
				name += " " + string(reason)
			}
			got[name] = float64(v.Value)
		}
		text += differences(promql, want, got)
	}
	compare(sent, "prefix_target_sent_total")
	compare(answered, "prefix_target_rtt_seconds_count")
	compare(lost, "prefix_target_lost_total")
	compare(prefixSent, "prefix_sent_total")
	compare(prefixLost, "prefix_lost_total")
	return text + s.unequalSelf()
}

// unequalSelf compares what the exporter says of itself with the lab's record.
func (s *story) unequalSelf() string {
	truth := s.lab.Truth()
	want := map[string]float64{
		"prefix_exporter_packets_sent_total":      float64(len(truth)),
		"prefix_exporter_late_replies_total":      0,
		"prefix_exporter_kernel_drops_total":      0,
		"prefix_exporter_clock_steps_total":       0,
		"prefix_exporter_log_drops_total":         0,
		"prefix_exporter_discarded_probes_total":  0,
		"prefix_exporter_duplicate_replies_total": 0,
	}
	for i := range truth {
		if truth[i].Verdict == netsim.Answered {
			want["prefix_exporter_duplicate_replies_total"] += float64(truth[i].Duplicates())
		}
	}
	got := map[string]float64{}
	for name := range want {
		got[name], _ = s.prometheus.number("sum(" + name + ")")
	}
	return differences("value", want, got)
}

// balance checks the sums of every scrape that Prometheus has stored.
func (s *story) balance() {
	for sentence, promql := range map[string]string{
		"sent is answered plus lost, for every address": `prefix_target_sent_total - prefix_target_rtt_seconds_count
			- sum without (reason) (prefix_target_lost_total) != 0`,
		"and for every prefix": `prefix_sent_total - histogram_count(prefix_rtt_seconds)
			- sum without (reason) (prefix_lost_total) != 0`,
		"what a prefix has sent is what its addresses have": `prefix_sent_total{prefix!="192.0.3.0/24"}
			- sum by (instance, job, prefix, probe) (prefix_target_sent_total) != 0`,
		"what it has lost is what they have": `prefix_lost_total{prefix!="192.0.3.0/24"}
			- sum by (instance, job, prefix, probe, reason) (prefix_target_lost_total) != 0`,
		"every address is in one state": `sum without (state) (prefix_targets{prefix!="192.0.3.0/24"}) != 256`,
		"and the states are those of the addresses": `prefix_targets{state="up"}
			- ignoring (state) count without (ip) (prefix_target_up == 1) != 0`,
		"the classic histogram counts what the native one does": `prefix_rtt_seconds_count - histogram_count(prefix_rtt_seconds) != 0`,
	} {
		for _, series := range s.prometheus.everyScrape(promql, s.began, s.settled) {
			s.t.Errorf("%s: at %d evaluations it is off by %v: %v", sentence, len(series.Values), series.Values[0], series.Metric)
		}
	}
	// That nothing was found must not be because nothing was there.
	for _, series := range s.prometheus.everyScrape(`count(prefix_target_sent_total - prefix_target_rtt_seconds_count
		- sum without (reason) (prefix_target_lost_total) == 0)`, s.settled.Add(-time.Second), s.settled) {
		for _, v := range series.Values {
			if v.Value != 641 {
				s.t.Errorf("%v addresses were compared, want 641", v.Value)
			}
		}
	}
}

// upAndDown compares every stored sample of every address with the record.
func (s *story) upAndDown() {
	b, wrong, compared := s.book(), 0, 0
	for _, series := range s.prometheus.samples("prefix_target_up", s.began) {
		ip := netip.MustParseAddr(string(series.Metric["ip"]))
		account := b[ip]
		if account == nil {
			continue // a visitor
		}
		for _, v := range series.Values {
			at := v.Timestamp.Time()
			if at.After(s.stopped.Add(-scrapeInterval)) && at.Before(s.resume.Add(busy)) {
				continue // the process could not know
			}
			up, sure := account.shows(at, scrapeInterval, busy)
			if !sure {
				continue
			}
			compared++
			if got := v.Value == 1; got != up {
				if wrong++; wrong <= 10 {
					s.t.Errorf("%s at %v: up is %v, want %v: %v", ip, at, got, up, account.flips)
				}
			}
		}
	}
	s.t.Logf("%d samples compared, %d wrong", compared, wrong)
	if compared < 768*10 {
		s.t.Errorf("only %d samples could be compared", compared)
	}
}

// staysUnhealthy checks that the stop is not forgotten at once: whoever scrapes once a
// minute must see it, too.
func (s *story) staysUnhealthy() {
	end := s.resume.Add(2 * time.Minute)
	if s.settled.Before(end) {
		end = s.settled
	}
	for _, series := range s.prometheus.everyScrape(`prefix_exporter_healthy != 0`, s.unhealthy, end) {
		s.t.Errorf("it was healthy at %v", series.Values[0].Timestamp.Time())
	}
}

// nativeWidth is how wide the buckets of a native histogram of schema 3 are.
var nativeWidth = math.Pow(2, 1.0/8)

// quantiles compares those that Prometheus reckons from histograms with those of the
// record: it is right to a bucket.
func (s *story) quantiles() {
	b := s.book()
	for _, p := range []string{"192.0.2.0/24", outage} {
		shortest, longest := b.rtts(netip.MustParsePrefix(p))
		buckets := s.classicBounds(p)
		for _, q := range []float64{0.05, 0.5, 0.9, 0.99} {
			truth := bounds{quantile(shortest, q) - clockError, quantile(longest, q) + clockError}
			low, high := truth.shortest.Seconds(), truth.longest.Seconds()
			native, _ := s.prometheus.number(fmt.Sprintf("histogram_quantile(%v, prefix_rtt_seconds{prefix=%q})", q, p))
			if native < low/nativeWidth || native > high*nativeWidth {
				s.t.Errorf("quantile %v of %s is %v by the native histogram, %v by the record", q, p, native, truth)
			}
			classic, _ := s.prometheus.number(fmt.Sprintf("histogram_quantile(%v, prefix_rtt_seconds_bucket{prefix=%q})", q, p))
			under, _ := slices.BinarySearch(buckets, low)
			over, _ := slices.BinarySearch(buckets, high)
			if under == 0 || over == len(buckets) || classic < buckets[under-1] || classic > buckets[over] {
				s.t.Errorf("quantile %v of %s is %v by the classic histogram, %v by the record, with buckets %v", q, p, classic, truth, buckets)
			}
			s.t.Logf("%s %v: record %v, native %.4f s, classic %.4f s", p, q, truth, native, classic)
		}
	}
}

// classicBounds returns the finite upper bounds of the buckets of a prefix, sorted.
func (s *story) classicBounds(p string) (bounds []float64) {
	for _, v := range s.prometheus.query(fmt.Sprintf("prefix_rtt_seconds_bucket{prefix=%q}", p)) {
		if le, err := strconv.ParseFloat(string(v.Metric["le"]), 64); err == nil && !math.IsInf(le, 1) {
			bounds = append(bounds, le)
		}
	}
	slices.Sort(bounds)
	return bounds
}

// sums compares the RTTs of every address, added up, with the record: neither the stop of
// the process nor a reload may be in it. The record is younger than the last scrape, which
// has the first RTTs of each address only.
func (s *story) sums() {
	got, count := map[netip.Addr]time.Duration{}, map[netip.Addr]int{}
	for _, v := range s.prometheus.query(`{__name__=~"prefix_target_rtt_seconds_(sum|count)"}`) { // of one scrape
		a := netip.MustParseAddr(string(v.Metric["ip"]))
		if strings.HasSuffix(string(v.Metric["__name__"]), "_sum") {
			got[a] = time.Duration(v.Value * 1e9)
		} else {
			count[a] = int(v.Value)
		}
	}
	var widths []time.Duration
	for a, account := range s.book() {
		n := time.Duration(count[a])
		if int(n) > len(account.rtts) {
			s.t.Errorf("%s: %d RTTs, the lab answered %d probes", a, n, len(account.rtts))
			continue
		}
		var want bounds
		for _, rtt := range account.rtts[:n] {
			want.shortest += rtt.shortest
			want.longest += rtt.longest
			widths = append(widths, rtt.longest-rtt.shortest)
		}
		if off := want.outside(got[a], n*clockError); off != 0 {
			s.t.Errorf("%s: the sum of %d RTTs is %v, %v off what it may be", a, n, got[a], off)
		}
	}
	slices.Sort(widths)
	middle := widths[len(widths)/2]
	s.t.Logf("the record knows RTTs to %v to %v, half of them to %v", widths[0], widths[len(widths)-1], middle)
	if middle > time.Millisecond {
		s.t.Error("that is not exact enough")
	}
}

// noGap checks that the reloads neither left out nor doubled a probe. A machine that was
// too busy to send in time may leave one out, and says so.
func (s *story) noGap() {
	longest := interval + busy
	if n := s.skippedInReloads(); n > 0 {
		s.t.Logf("%v probes were skipped: this machine is too busy to judge the longest gap", n)
		longest = time.Minute
	}
	all := outcomes(s.lab.Truth(), time.Now())
	for _, p := range members() {
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			for i, o := range all[a] {
				if i == 0 || o.sent.Before(s.reloads[0]) || o.sent.After(s.reloads[1].Add(interval)) {
					continue
				}
				before := all[a][i-1]
				if o.sequence != before.sequence+1 {
					s.t.Errorf("%s: sequence %d follows %d", a, o.sequence, before.sequence)
				}
				if gap := o.sent.Sub(before.sent); gap < interval-busy || gap > longest {
					s.t.Errorf("%s: %v from one probe to the next", a, gap)
				}
			}
		}
	}
}

// skippedInReloads returns how many probes were left out around the reloads.
func (s *story) skippedInReloads() float64 {
	from, to := s.reloads[0].Add(-2*scrapeInterval), s.reloads[1].Add(2*interval+2*scrapeInterval)
	var skipped float64
	for _, series := range s.prometheus.samples("prefix_exporter_skipped_probes_total", from) { // by kind of probe
		first := float64(series.Values[0].Value)
		last := first
		for _, v := range series.Values {
			if v.Timestamp.Time().Before(to) {
				last = float64(v.Value)
			}
		}
		skipped += last - first
	}
	return skipped
}

// logOfPackets compares the lines about the followed addresses with the record.
func (s *story) logOfPackets() {
	lines := s.exporter.logged("packet")
	all := outcomes(s.lab.Truth(), time.Now())
	for _, ip := range []string{lossy, doubled} {
		events := map[uint16][]map[string]any{}
		for _, line := range lines {
			if line["ip"] == ip && line["event"] != "skipped" {
				sequence := uint16(line["sequence"].(float64))
				events[sequence] = append(events[sequence], line)
			}
		}
		compared := 0
		for _, o := range all[netip.MustParseAddr(ip)] {
			if o.sent.Before(s.traced) || o.sent.After(s.settled) {
				continue
			}
			compared++
			s.compareLines(ip, o, events[o.sequence])
		}
		if compared < 10 {
			s.t.Errorf("%s: only %d packets could be compared", ip, compared)
		}
	}
}

// compareLines compares what was logged of one packet with its outcome.
func (s *story) compareLines(ip string, o outcome, lines []map[string]any) {
	var told []string
	for _, line := range lines {
		event := fmt.Sprint(line["event"])
		if event != "duplicate" {
			told = append(told, event)
		}
		if want := prefix.TargetID(netip.MustParseAddr(ip)); line["target_id"] != want {
			s.t.Errorf("%s: target_id %v, want %v", ip, line["target_id"], want)
		}
		if event != "answered" {
			continue
		}
		rtt, err := time.ParseDuration(fmt.Sprint(line["rtt"]))
		if err != nil || o.rtt.outside(rtt, clockError) != 0 {
			s.t.Errorf("%s sequence %d: RTT %v (%v), the lab held it for %v", ip, o.sequence, line["rtt"], err, o.rtt)
		}
	}
	if want := []string{"sent", o.kind.String()}; !slices.Equal(told, want) {
		s.t.Errorf("%s sequence %d: the log says %v, want %v", ip, o.sequence, told, want)
	}
}
