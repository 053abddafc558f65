//go:build !race

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
)

// labels of an alert.
type labels map[string]string

// of returns an alert about a prefix, or about an address of it.
func of(name, severity, instance, prefix, tenant, ip string) labels {
	l := labels{"alertname": name, "severity": severity, "instance": instance, "prefix": prefix, "tenant": tenant, "ip": ip}
	maps.DeleteFunc(l, func(_, value string) bool { return value == "" })
	return l
}

// probing returns an alert about a kind of probe of an exporter.
func probing(name, severity, instance, probe string) labels {
	l := of(name, severity, instance, "", "", "")
	l["probe"] = probe
	return l
}

// TestInhibition gives alerts to Alertmanager as it is shipped, and asks which of them it
// would not tell. It has no time to tell any: group_wait is longer than the test.
func TestInhibition(t *testing.T) {
	netsim.RequireLab(t)
	startShippedAlertmanager(t, firstAlertmanager)
	const one, other = "192.0.2.0/24", "198.51.100.0/24"
	// The last word of the instance keeps what one case has fired from all others.
	cases := map[string]struct {
		source, told, silent []labels
	}{
		"a prefix that is down silences its addresses, loss and RTT": {
			source: []labels{of("PrefixDown", "critical", "1", one, "team-a", "")},
			silent: []labels{
				of("IPDown", "critical", "1", one, "team-a", "192.0.2.1"), of("IPTCPDown", "warning", "1", one, "team-a", "192.0.2.1"),
				of("IPFlapping", "warning", "1", one, "team-a", "192.0.2.1"), of("PrefixLoss", "critical", "1", one, "team-a", ""),
				of("PrefixRTTHigh", "warning", "1", one, "team-a", ""), of("PrefixRTTRising", "warning", "1", one, "team-a", ""),
			},
			told: []labels{
				of("IPDown", "critical", "1", one, "team-b", "192.0.2.1"), of("IPDown", "critical", "1", other, "team-a", "198.51.100.1"),
				of("IPDown", "critical", "1 too", one, "team-a", "192.0.2.1"), of("PrefixRouteChanged", "warning", "1", one, "team-a", ""),
			},
		},
		"and so it does for a while after": {
			source: []labels{of("PrefixDownInhibitor", "none", "6", one, "team-a", "")},
			silent: []labels{of("IPDown", "warning", "6", one, "team-a", "192.0.2.1")},
			told:   []labels{of("IPDown", "warning", "6", one, "team-b", "192.0.2.1")},
		},
		"an unhealthy prober silences warnings that its echoes may cause, never an outage": {
			source: []labels{probing("ProberUnhealthyInhibitor", "none", "2", "icmp"), of("ProberUnhealthy", "critical", "2", "", "", "")},
			silent: []labels{
				of("PrefixLoss", "warning", "2", one, "team-a", ""), of("PrefixRTTHigh", "warning", "2", one, "team-a", ""),
				of("PrefixRTTRising", "warning", "2", one, "team-a", ""), of("IPFlapping", "warning", "2", one, "team-a", "192.0.2.1"),
			},
			told: []labels{
				of("PrefixDown", "critical", "2", one, "team-a", ""), of("PrefixDown", "critical", "2", other, "", ""),
				of("IPDown", "warning", "2", one, "team-b", "192.0.2.1"), of("IPTCPDown", "critical", "2", one, "team-b", "192.0.2.1"),
				of("PrefixUnmeasured", "critical", "2", one, "team-b", ""), of("PrefixLoss", "critical", "2", other, "team-a", ""),
				of("PrefixRouteChanged", "warning", "2", one, "team-a", ""), of("PrefixLoss", "warning", "2 too", one, "team-a", ""),
				of("ReloadFailed", "warning", "2", "", "", ""),
			},
		},
		"trouble of traceroute silences what it says, nothing else": {
			source: []labels{probing("ProberUnhealthyInhibitor", "none", "7", "trace")},
			silent: []labels{of("PrefixRouteChanged", "warning", "7", one, "team-a", ""), of("PrefixRouteFlapping", "warning", "7", other, "team-a", "")},
			told:   []labels{of("PrefixLoss", "warning", "7", one, "team-a", ""), of("PrefixDown", "critical", "7", other, "team-a", "")},
		},
		"trouble of TCP silences nothing": {
			source: []labels{probing("ProberUnhealthyInhibitor", "none", "8", "tcp"), probing("ProberDoubtInhibitor", "none", "8", "tcp")},
			told:   []labels{of("PrefixLoss", "critical", "8", one, "team-a", ""), of("IPTCPDown", "critical", "8", one, "team-a", "192.0.2.1")},
		},
		"a prober in doubt silences loss, which may be its own": {
			source: []labels{probing("ProberDoubtInhibitor", "none", "9", "icmp"), probing("ProberInDoubt", "critical", "9", "icmp")},
			silent: []labels{of("PrefixLoss", "critical", "9", one, "team-a", ""), of("PrefixLoss", "warning", "9", other, "team-a", "")},
			told:   []labels{of("PrefixDown", "critical", "9", one, "team-a", ""), of("IPDown", "critical", "9", other, "team-a", "198.51.100.1")},
		},
		"a prober that is offline is one message, and outages go on": {
			source: []labels{of("ProberOffline", "critical", "10", "", "", "")},
			silent: []labels{
				of("PrefixUnmeasured", "critical", "10", one, "team-a", ""), of("PrefixUnmeasured", "warning", "10", other, "team-b", ""),
				of("PrefixLoss", "critical", "10", one, "team-a", ""), of("ProberUnhealthy", "critical", "10", "", "", ""),
				probing("ProberInDoubt", "critical", "10", "icmp"),
			},
			told: []labels{of("PrefixDown", "critical", "10", one, "team-a", ""), of("PrefixUnmeasured", "critical", "10 too", one, "team-a", "")},
		},
		"loss of a prefix that is not measured any more is not over": {
			source: []labels{of("PrefixUnmeasured", "critical", "11", one, "team-a", "")},
			silent: []labels{
				of("PrefixLoss", "critical", "11", one, "team-a", ""), of("PrefixRTTHigh", "warning", "11", one, "team-a", ""),
				of("PrefixUnmeasured", "warning", "11", one, "team-a", ""),
			},
			told: []labels{of("PrefixLoss", "critical", "11", other, "team-a", ""), of("PrefixDown", "critical", "11", one, "team-a", "")},
		},
		"an exporter that is gone says nothing of its prefixes, nor of itself": {
			source: []labels{of("ExporterGone", "critical", "3", "", "", "")},
			silent: []labels{
				of("PrefixDown", "critical", "3", one, "team-a", ""), of("IPDown", "warning", "3", one, "team-b", "192.0.2.1"),
				of("ProberOffline", "critical", "3", "", "", ""), of("ProberUnhealthy", "critical", "3", "", "", ""),
			},
			told: []labels{of("PrefixDown", "critical", "3 too", one, "team-a", ""), of("ProberUnhealthy", "critical", "3 too", "", "", "")},
		},
		"critical silences the same as a warning, not another address": {
			source: []labels{of("PrefixLoss", "critical", "4", one, "team-a", ""), of("PrefixRTTHigh", "critical", "4", one, "team-a", ""), of("IPDown", "critical", "4", one, "team-a", "192.0.2.1")},
			silent: []labels{of("PrefixLoss", "warning", "4", one, "team-a", ""), of("PrefixRTTHigh", "warning", "4", one, "team-a", "")},
			told:   []labels{of("IPDown", "warning", "4", one, "team-a", "192.0.2.2"), of("PrefixLoss", "warning", "4", other, "team-a", "")},
		},
		"a route that flaps has changed": {
			source: []labels{of("PrefixRouteFlapping", "warning", "5", one, "team-a", "")},
			silent: []labels{of("PrefixRouteChanged", "warning", "5", one, "team-a", "")},
			told:   []labels{of("PrefixRouteChanged", "warning", "5", other, "team-a", "")},
		},
	}
	want := map[string]string{}
	for _, tc := range cases {
		for _, l := range append(tc.source, tc.told...) {
			want[fmt.Sprint(l)] = "active"
		}
		for _, l := range tc.silent {
			want[fmt.Sprint(l)] = "suppressed"
		}
		fire(t, tc.source, tc.told, tc.silent)
	}
	until(t, "Alertmanager knows what is silent", func() string { return cmp.Diff(want, states(t)) })
}

// fire gives alerts to Alertmanager.
func fire(t *testing.T, lists ...[]labels) {
	t.Helper()
	type alert struct {
		Labels   labels    `json:"labels"`
		StartsAt time.Time `json:"startsAt"`
	}
	var alerts []alert
	for _, list := range lists {
		for _, l := range list {
			alerts = append(alerts, alert{l, time.Now()})
		}
	}
	post(t, alerts)
}

// post hands alerts to the first Alertmanager, in the form of its API.
func post(t *testing.T, alerts any) {
	t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Post("http://"+firstAlertmanager+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
}

// states asks for the state of all alerts.
func states(t *testing.T) map[string]string {
	t.Helper()
	answer, err := client.Get("http://" + firstAlertmanager + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var alerts []struct {
		Labels labels
		Status struct{ State string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&alerts); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range alerts {
		got[fmt.Sprint(a.Labels)] = a.Status.State
	}
	return got
}
