package web

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"

	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// tracedAt is when the first round of the tests began.
var tracedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("CET", 3600))

// tracedRoutes has two routes of one prefix, of which one has not been traced yet, one of an IPv6 prefix, and one of
// another to which there is no way, and of which nothing has been heard for a while.
func tracedRoutes() *route.Table {
	table := route.NewTable(nil)
	v4 := route.Key{Prefix: netip.MustParsePrefix("192.0.2.0/24")}
	v6 := route.Key{Prefix: netip.MustParsePrefix("2001:db8::/64"), Addr: netip.MustParseAddr("2001:db8::1")}
	noWay := route.Key{Prefix: netip.MustParsePrefix("2001:db8:0:1::/64"), Addr: netip.MustParseAddr("2001:db8:0:1::1")}
	table.Apply([]route.Spec{
		{Key: v4, Protocol: "icmp"},
		{Key: route.Key{Prefix: v4.Prefix, Addr: netip.MustParseAddr("192.0.2.9")}, Protocol: "tcp", Port: 443},
		{Key: v6, Protocol: "udp", Port: 33434},
		{Key: noWay, Protocol: "icmp", Interval: time.Minute},
	})
	answer := func(kind route.Kind, from string, rtt time.Duration, labels ...route.Label) route.Answer {
		return route.Answer{Kind: kind, From: netip.MustParseAddr(from), RTT: rtt, Labels: labels}
	}
	record := func(k route.Key, dst string, minute int, answers ...route.Answer) {
		table.Record(k, netip.MustParseAddr(dst), route.Round{Started: tracedAt.Add(time.Duration(minute) * time.Minute), Answers: answers})
	}
	mpls := route.Label{Value: 16001, Class: 3, Bottom: true, TTL: 1}
	record(v4, "192.0.2.1", 0, answer(route.Exceeded, "10.0.0.1", time.Millisecond), route.Answer{}, answer(route.Arrived, "192.0.2.1", 3*time.Millisecond))
	for minute := 1; minute <= 2; minute++ {
		record(v4, "192.0.2.1", minute,
			answer(route.Exceeded, "10.0.0.7", time.Duration(minute)*time.Millisecond, mpls), route.Answer{}, answer(route.Arrived, "192.0.2.1", 3*time.Millisecond))
	}
	record(v4, "192.0.2.1", 3, answer(route.Exceeded, "10.0.0.7", 3*time.Millisecond, mpls), route.Answer{}, route.Answer{})
	record(v6, "2001:db8::1", 0, answer(route.Unreachable, "fe80::1", time.Millisecond))
	for minute := range 2 {
		table.RecordNoRoute(noWay, noWay.Addr, tracedAt.Add(time.Duration(minute)*time.Minute), false)
	}
	return table
}

func routesHandler(t *testing.T, routes *route.Table) http.Handler {
	t.Helper()
	w := newWorld(t)
	h, err := New(Options{
		Metrics: http.NotFoundHandler(), Table: prefix.NewTable(nil), Frames: w.frames, Events: w.events, Routes: routes,
		Prober: &prober{}, Logger: log.NewNopLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The routes of tracedRoutes, as they are answered without their changes.
const (
	tracedV4 = `"prefix":"192.0.2.0/24","ip":"192.0.2.1","protocol":"icmp","port":0,"status":"reached","rounds":4,
		"last":"2026-01-02T02:07:05Z","stale":false,"changes_total":1,"hops":[
		{"ttl":1,"router":"10.0.0.7","destination":false,"labels":[{"label":16001,"traffic_class":3,"bottom":true,"ttl":1}],
			"sent":3,"answered":3,"loss_ratio":0,"path_loss_ratio":0,"rate_limited":false,
			"last_seconds":0.003,"best_seconds":0.001,"mean_seconds":0.002,"worst_seconds":0.003,"stddev_seconds":0.001},
		{"ttl":2,"router":null,"destination":false,"labels":[],
			"sent":3,"answered":0,"loss_ratio":1,"path_loss_ratio":0.25,"rate_limited":false,
			"last_seconds":null,"best_seconds":null,"mean_seconds":null,"worst_seconds":null,"stddev_seconds":null},
		{"ttl":3,"router":"192.0.2.1","destination":true,"labels":[],
			"sent":4,"answered":3,"loss_ratio":0.25,"path_loss_ratio":0.25,"rate_limited":false,
			"last_seconds":null,"best_seconds":0.003,"mean_seconds":0.003,"worst_seconds":0.003,"stddev_seconds":0}]`
	tracedPending = `"prefix":"192.0.2.0/24","ip":"192.0.2.9","protocol":"tcp","port":443,"status":"pending","status_detail":"not asked yet",
		"rounds":0,"last":null,"stale":false,"changes_total":0,"hops":[]`
	tracedV6 = `"prefix":"2001:db8::/64","ip":"2001:db8::1","protocol":"udp","port":33434,"status":"blocked","status_detail":"fe80::1 says no route",
		"rounds":1,"last":"2026-01-02T02:04:05Z","stale":false,"changes_total":0,"hops":[
		{"ttl":1,"router":"fe80::1","destination":false,"labels":[],
			"sent":1,"answered":1,"loss_ratio":0,"path_loss_ratio":0,"rate_limited":false,
			"last_seconds":0.001,"best_seconds":0.001,"mean_seconds":0.001,"worst_seconds":0.001,"stddev_seconds":null}]`
	tracedNoWay = `"prefix":"2001:db8:0:1::/64","ip":"2001:db8:0:1::1","protocol":"icmp","port":0,"status":"no_route","status_detail":"no route from the prober",
		"rounds":2,"last":"2026-01-02T02:05:05Z","stale":true,"changes_total":1,"hops":[]`
	tracedLoss = `{"time":"2026-01-02T02:05:05Z","ip":"2001:db8:0:1::1","reason":"no_route_began","ttl":0,
		"detail":"this machine has no route to 2001:db8:0:1::1","old":[],"new":[],"old_status":"pending","new_status":"no_route"}`
	tracedChange = `{"time":"2026-01-02T02:05:05Z","ip":"192.0.2.1","reason":"new_router","ttl":1,
		"detail":"hop 1 of the path to 192.0.2.1 is 10.0.0.7 instead of 10.0.0.1",
		"old":["10.0.0.1",null,"192.0.2.1"],"new":["10.0.0.7",null,"192.0.2.1"],"old_status":"reached","new_status":"reached"}`
)

func TestRoutes(t *testing.T) {
	h := routesHandler(t, tracedRoutes())
	v4 := `{"routes":[{` + tracedV4 + `,"changes":[` + tracedChange + `]},{` + tracedPending + `,"changes":[]}]}`
	for name, test := range map[string]struct{ target, want string }{
		"all, without their changes":           {"/api/v1/routes", `{"routes":[{` + tracedV4 + `},{` + tracedPending + `},{` + tracedV6 + `},{` + tracedNoWay + `}]}`},
		"to which there is no way, as of then": {"/api/v1/routes/2001:db8:0:1::/64", `{"routes":[{` + tracedNoWay + `,"changes":[` + tracedLoss + `]}]}`},
		"of a prefix":                          {"/api/v1/routes/192.0.2.0/24", v4},
		"of a prefix whose slash is escaped":   {"/api/v1/routes/192.0.2.0%2F24", v4},
		"of an IPv6 prefix":                    {"/api/v1/routes/2001:db8::/64", `{"routes":[{` + tracedV6 + `,"changes":[]}]}`},
		"of an IPv6 prefix, all of it escaped": {"/api/v1/routes/2001%3adb8%3a%3a%2f64", `{"routes":[{` + tracedV6 + `,"changes":[]}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(h, "GET", test.target, "")
			if got.Code != http.StatusOK || got.Header().Get("Content-Type") != "application/json" || got.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("status %d, header %v", got.Code, got.Header())
			}
			if diff := cmp.Diff(pretty(t, test.want), pretty(t, got.Body.String())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// pretty writes JSON with one line for each value, keys in their order.
func pretty(t *testing.T, text string) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(string(indent(t, []byte(text)))), "\n")
}

func TestRoutesThatAreNotThere(t *testing.T) {
	none, some := routesHandler(t, nil), routesHandler(t, tracedRoutes())
	for name, test := range map[string]struct {
		handler http.Handler
		target  string
		status  int
		want    string
	}{
		"no routes at all":              {none, "/api/v1/routes", 404, "routes: this exporter traces none"},
		"no routes at all, of a prefix": {none, "/api/v1/routes/192.0.2.0/24", 404, `prefix "192.0.2.0/24": is not traced by this exporter`},
		"a prefix that is not traced":   {some, "/api/v1/routes/192.0.3.0/24", 404, `prefix "192.0.3.0/24": is not traced by this exporter`},
		"a prefix with host bits":       {some, "/api/v1/routes/192.0.2.7/24", 404, `prefix "192.0.2.7/24": is not traced by this exporter, did you mean 192.0.2.0/24?`},
		"an address":                    {some, "/api/v1/routes/192.0.2.1", 400, `prefix "192.0.2.1": must be an IPv4 or IPv6 prefix, such as 192.0.2.0/24`},
		"a mask that is too long":       {some, "/api/v1/routes/192.0.2.0%2F33", 400, `prefix "192.0.2.0/33": must be an IPv4 or IPv6 prefix, such as 192.0.2.0/24`},
		"nothing behind the slash":      {some, "/api/v1/routes/", 400, `prefix "": must be an IPv4 or IPv6 prefix, such as 192.0.2.0/24`},
		"a query":                       {some, "/api/v1/routes?x=1", 400, `query "x": this path takes no query`},
	} {
		t.Run(name, func(t *testing.T) {
			got := request(test.handler, "GET", test.target, "")
			var answer struct{ Error string }
			if err := json.Unmarshal(got.Body.Bytes(), &answer); err != nil {
				t.Fatalf("%v: %s", err, got.Body)
			}
			if got.Code != test.status || answer.Error != test.want {
				t.Errorf("got %d %q, want %d %q", got.Code, answer.Error, test.status, test.want)
			}
		})
	}
}
