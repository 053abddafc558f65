package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
)

// world is all that the API shows: two prefixes of which something is known, and one of which nothing is.
type world struct {
	table   *prefix.Table
	frames  *frame.Recorder
	events  *event.Log
	prober  prober
	handler http.Handler
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{prober: prober{ready: true}}
	w.events = event.New(event.Options{Capacity: 64, Registerer: prometheus.NewRegistry()})
	w.table = prefix.NewTable(func(c prefix.Change) { // as package app tells of them
		detail := c.Cause.Outcome.String()
		if c.To == prefix.Unknown {
			detail = c.Obstacle
		}
		w.events.Publish(event.Event{
			Time: c.At.UTC(), Type: c.To.String(), Prefix: c.Prefix, IP: c.Addr, TargetID: prefix.TargetID(c.Addr),
			Probe: c.Probe.Kind.String(), Port: c.Probe.Port, From: c.From.String(), To: c.To.String(),
			Detail: detail, Cause: c.Cause.Detail(), By: c.Cause.By,
		})
	})
	w.frames = frame.New(frame.Options{Table: w.table})
	w.table.Apply(blocks())
	var err error
	w.handler, err = New(Options{
		Metrics: http.NotFoundHandler(), Table: w.table, Frames: w.frames, Events: w.events, Routes: tracedRoutes(),
		Prober: &w.prober, Version: "1.2.3", Logger: log.NewNopLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// blocks are a /24 with two probes of which not every address has both, and two IPv6 prefixes.
func blocks() []prefix.Block {
	icmp := prefix.TargetProbe{DownAfter: 2, UpAfter: 1, Interval: time.Second}
	https := icmp
	https.Probe, https.Interval = tls, time.Minute
	target := func(ip, name string, probes ...prefix.TargetProbe) prefix.Target {
		return prefix.Target{Addr: netip.MustParseAddr(ip), Name: name, Probes: probes}
	}
	return []prefix.Block{
		{
			Prefix: netip.MustParsePrefix("192.0.2.0/24"), Name: `<PAR & "1">`, Router: "PA2", NominalRTT: 2 * time.Millisecond,
			Tenants: []string{"team-a", "team-b"}, Labels: []prefix.Label{{Name: "site", Value: "paris"}},
			Targets: []prefix.Target{
				target("192.0.2.1", "", icmp, https), target("192.0.2.2", "mail", icmp, https), target("192.0.2.3", "", icmp),
				target("192.0.2.4", "", icmp), target("192.0.2.255", "", icmp),
			},
		},
		{Prefix: netip.MustParsePrefix("2001:db8::/64"), Targets: []prefix.Target{target("2001:db8::1", "", icmp)}},
		{Prefix: netip.MustParsePrefix("2001:db8:0:1::/64"), Targets: []prefix.Target{target("2001:db8:0:1::1", "", icmp)}},
	}
}

var (
	ping = prefix.Probe{Kind: prefix.ICMP}
	tls  = prefix.Probe{Kind: prefix.TCP, Port: 443}
)

// handle is that of a slot that is there.
func (w *world) handle(t *testing.T, ip string, p prefix.Probe) prefix.Handle {
	t.Helper()
	h, ok := w.table.Handle(netip.MustParseAddr(ip), p)
	if !ok {
		t.Fatalf("no slot for %s", ip)
	}
	return h
}

// record puts a result into the table that was sent now.
func (w *world) record(t *testing.T, ip string, p prefix.Probe, o prefix.Outcome, rtt time.Duration) {
	t.Helper()
	w.table.Record(w.handle(t, ip, p), time.Now(), o, rtt)
}

// reject is a loss of now that a router declares, by an ICMP destination unreachable of this code.
func (w *world) reject(t *testing.T, ip string, code uint8) {
	t.Helper()
	w.table.Reject(w.handle(t, ip, ping), time.Now(), prefix.Cause{
		Outcome: prefix.Unreachable, By: netip.MustParseAddr("198.51.100.1"), Type: 3, Code: code,
	})
}

// live lets some minutes pass: 192.0.2.1 answers, 192.0.2.2 stops to, 192.0.2.3 is silent, 192.0.2.4 is
// rejected, 192.0.2.255 is left out, there is no route to 2001:db8::1, and 2001:db8:0:1::1 cannot be asked.
func (w *world) live(t *testing.T) {
	t.Helper()
	w.frames.Tick(time.Now())
	w.table.LeaveOut(w.handle(t, "192.0.2.255", ping))
	w.record(t, "2001:db8::1", ping, prefix.Answered, 5*time.Millisecond)
	for second := range 150 {
		time.Sleep(100 * time.Millisecond)
		w.record(t, "192.0.2.1", ping, prefix.Answered, time.Duration(10+second%3)*time.Millisecond)
		if second < 148 {
			w.record(t, "192.0.2.2", ping, prefix.Answered, 20*time.Millisecond)
		} else {
			w.reject(t, "192.0.2.2", 0)
		}
		w.record(t, "192.0.2.3", ping, prefix.Timeout, 0)
		w.reject(t, "192.0.2.4", 13)
		w.record(t, "2001:db8::1", ping, prefix.NoRoute, 0)
		w.table.Unmeasured(w.handle(t, "2001:db8:0:1::1", ping), "interface_absent")
		if second%60 == 30 {
			w.record(t, "192.0.2.1", tls, prefix.Answered, 12*time.Millisecond)
			w.record(t, "192.0.2.2", tls, prefix.Refused, 0)
		}
		time.Sleep(900 * time.Millisecond)
		w.table.Age(time.Now())
		w.frames.Tick(time.Now())
	}
}

func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // for a clock that stands still
		w := newWorld(t)
		w.live(t)
		w.prober.troubles = []Trouble{{Reason: "clock_step", Detail: "the clock went back by <2s>", Last: time.Now().Add(-time.Second)}}
		for name, target := range map[string]string{
			"summary":        "/api/v1/summary",
			"prefixes":       "/api/v1/prefixes",
			"prefix":         "/api/v1/prefixes/192.0.2.0/24",
			"prefix-ipv6":    "/api/v1/prefixes/2001:db8::%2F64",
			"prefix-unknown": "/api/v1/prefixes/2001:db8:0:1::/64",
			"ip":             "/api/v1/ips/192.0.2.2",
			"ip-rejected":    "/api/v1/ips/192.0.2.4",
			"ip-left-out":    "/api/v1/ips/192.0.2.255",
			"ip-no-route":    "/api/v1/ips/2001:db8::1",
			"ip-unknown":     "/api/v1/ips/2001:db8:0:1::1",
			"history-hour":   "/api/v1/history/192.0.2.0/24",
			"history-minute": "/api/v1/history/192.0.2.0%2f24?probe=tcp&port=443&span=minute",
			"events":         "/api/v1/events?follow=false",
		} {
			got := request(w.handler, "GET", target, "")
			if got.Code != 200 {
				t.Errorf("%s: status %d: %s", name, got.Code, got.Body)
				continue
			}
			if name == "events" {
				golden(t, "api-events.ndjson", got.Body.Bytes())
				continue
			}
			if ct := got.Header().Get("Content-Type"); ct != "application/json" || got.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: header %v", name, got.Header())
			}
			golden(t, "api-"+name+".json", indent(t, got.Body.Bytes()))
		}
	})
}

// indent makes JSON readable: one line for each list of numbers.
func indent(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", " "); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	var out bytes.Buffer
	for line := range bytes.Lines(b.Bytes()) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) > 0 && bytes.ContainsAny(trimmed[:1], `0123456789n"`) && !bytes.Contains(trimmed, []byte(":")) {
			line = append(bytes.TrimSuffix(trimmed, []byte("\n")), ' ')
		}
		out.Write(line)
	}
	return out.Bytes()
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.frames.Tick(time.Now())
	for target, test := range map[string]struct {
		status int
		want   string
	}{
		"/api/v1/summary?x=1":                               {400, `query "x": this path takes no query`},
		"/api/v1/nothing":                                   {404, `path "/api/v1/nothing": is not part of the API`},
		"/api/v1/prefixes/192.0.2.0":                        {400, `prefix "192.0.2.0": must be an IPv4 or IPv6 prefix, such as 192.0.2.0/24`},
		"/api/v1/prefixes/198.51.100.0/24":                  {404, `prefix "198.51.100.0/24": is not a prefix of this exporter`},
		"/api/v1/prefixes/192.0.2.0/24?probe=icmp":          {400, `query "probe": this path takes no query`},
		"/api/v1/ips/example.net":                           {400, `ip "example.net": must be an IPv4 or IPv6 address without a zone`},
		"/api/v1/ips/192.0.2.9":                             {404, `ip "192.0.2.9": is not a target of this exporter`},
		"/api/v1/history/192.0.2.0/24?span=day":             {400, `span "day": must be one of hour, minute`},
		"/api/v1/history/192.0.2.0/24?probe=udp":            {400, `probe "udp": must be one of icmp, tcp`},
		"/api/v1/history/192.0.2.0/24?probe=tcp":            {400, `port "0": must be from 1 to 65535, probe tcp needs one`},
		"/api/v1/history/192.0.2.0/24?port=443":             {400, `port "443": must be 0 or absent, probe icmp has no ports`},
		"/api/v1/history/192.0.2.0/24?probe=tcp&port=65536": {400, `port "65536": must be a whole number from 0 to 65535`},
		"/api/v1/history/192.0.2.0/24?probe=tcp&port=80":    {404, `prefix "192.0.2.0/24": has no address with probe tcp, port 80`},
		"/api/v1/history/192.0.2.0/24?probe=tcp&probe=icmp": {400, `query "probe": is given 2 times: must be given once`},
		"/api/v1/history/192.0.2.0/24?from=1":               {400, `query "from": must be one of probe, port, span`},
		"/api/v1/references/median":                         {404, `reference "median": must be one of ["nominal" "min" "mean" "max" "variation"]`},
		"/api/v1/references/mean?ip=1":                      {400, `query "ip": this path takes no query`},
		"/api/v1/frames?after=x":                            {400, `after "x": must be a whole number from 0 to 9223372036854775807`},
		"/api/v1/frames?since=1":                            {400, `query "since": must be one of after`},
		"/api/v1/events?after=-1":                           {400, `after "-1": must be a whole number from 0 to 9223372036854775807`},
		"/api/v1/events?limit=0":                            {400, `limit "0": must be a whole number from 1 to 1000000000`},
		"/api/v1/events?follow=yes":                         {400, `follow "yes": must be one of true, false`},
		"/api/v1/events?probes=2":                           {400, `probes "2": must be one of 0, 1`},
		"/api/v1/events?probes=1":                           {400, `probes "1": must come with prefix or ip, which say whose`},
		"/api/v1/events?probes=1&ip=192.0.2.1&follow=false": {400, `probes "1": must come with follow=true, single results are not kept`},
		"/api/v1/events?ip=192.0.2.99":                      {404, `ip "192.0.2.99": is not a target of this exporter`},
		"/api/v1/events?ip=x":                               {400, `ip "x": must be an IPv4 or IPv6 address without a zone`},
		"/api/v1/events?prefix=":                            {400, `prefix "": must be an IPv4 or IPv6 prefix, such as 192.0.2.0/24`},
		"/api/v1/events?prefix=198.51.100.0/24":             {404, `prefix "198.51.100.0/24": is not a prefix of this exporter`},
		"/api/v1/events?ip=192.0.2.1&prefix=2001:db8::/64":  {404, `ip "192.0.2.1": is not a target of this exporter in prefix 2001:db8::/64`},
		"/api/v1/events?limit=18446744073709551616":         {400, `limit "18446744073709551616": must be a whole number from 1 to 1000000000`},
	} {
		t.Run(target, func(t *testing.T) {
			got := request(w.handler, "GET", target, "")
			var answer struct{ Error string }
			if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil {
				t.Fatalf("%v: %s", err, got.Body)
			}
			if got.Code != test.status || got.Header().Get("Content-Type") != "application/json" {
				t.Errorf("status %d, want %d; %v", got.Code, test.status, got.Header())
			}
			if diff := cmp.Diff(test.want, answer.Error); diff != "" {
				t.Error(diff)
			}
		})
	}
}
