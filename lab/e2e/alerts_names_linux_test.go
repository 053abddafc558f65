//go:build !race

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
)

// TestNastyNames gives alerts about prefixes with names that could break a message to Alertmanager as it is
// shipped, and reads the SMS and the mail that become of them. The templates alone have more of such names
// in their own tests: here each passes through a payload that is read as YAML and JSON, and through the
// headers and parts of a mail.
func TestNastyNames(t *testing.T) {
	netsim.RequireLab(t)
	names := map[string]struct {
		name, sms string
	}{
		"a colon":         {"DC1: core", "DC1: core"},
		"quotes":          {`a "b" 'c' \`, "a 'b' 'c' /"},
		"several lines":   {"a line\r\nBcc: x@example.net\tand a tab", "a line Bcc: x@example.net and a tab"},
		"JSON":            {`", "to": "+33600000000`, "', 'to': '+33600000000"},
		"a template":      {`{{ .Labels }} {{ template "sms.json" . }}`, "(( .Labels )) (( template 'sms.json' . ))"},
		"YAML":            {"- a: [1, *b] # c", "- a: (1, *b) # c"},
		"other languages": {"Zürich \u6771\u4eac €", "Zurich ?? EUR"},
	}
	certificate := authority(t)
	in := &inbox{}
	startShippedAlertmanager(t, firstAlertmanager, "smtp.example.net:587", startMailServer(t, in, "mail", certificate),
		"https://sms.example.net", startSink(t, certificate, smsProvider(t, in)), "group_wait: 10s", "group_wait: 1s")

	type alert struct {
		Labels      labels            `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
	}
	var alerts []alert
	var want []string
	for instance, tc := range names { // each has an SMS of its own
		l := of("PrefixDown", "critical", instance, "2001:db8:1::/120", "team-a", "")
		l["name"] = tc.name
		alerts = append(alerts, alert{l, map[string]string{
			"subject": tc.name + " DOWN", "detail": "256/256 IPs", "cause": "timeout", "summary": tc.name + " DOWN 256/256 IPs: timeout",
		}, time.Now()})
		want = append(want, "sms to "+phoneA+": "+tc.sms+" DOWN N/256 IPs since HH:MM ZONE: timeout",
			"mail to "+boxA+": [CRITICAL] "+tc.name+" DOWN N/256 IPs: timeout")
	}
	post(t, alerts)
	await(t, time.Minute, "an SMS and a mail for each name", func() string { return in.lacks(want) })
	for _, m := range in.all() {
		if m.via != "mail" {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(m.text, "[CRITICAL] "), " DOWN")
		if d := cmp.Diff(1, strings.Count(m.plain, name+" 2001:db8:1::/120")); d != "" {
			t.Errorf("%q: its name is not in the text of the mail (-want +got):\n%s\n%s", m.text, d, m.plain)
		}
	}
}
