package alertmanager

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/e2e/tools"
)

const configFile = "alertmanager.yml"

// amtool runs it, in the time zone of Paris, and returns what it says.
func amtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(tools.Require(t, "amtool"), args...)
	cmd.Env = append(os.Environ(), "TZ=Europe/Paris")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestCheckConfig(t *testing.T) {
	if out, err := amtool(t, "check-config", configFile); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRoutes says who is told of what. Receivers are shared by all tenants, so the
// addresses are checked as well: amtool tells which route it is by its receiver only.
func TestRoutes(t *testing.T) {
	for name, tc := range map[string]struct {
		labels    []string
		receivers string
	}{
		"critical of a tenant: SMS and mail":       {[]string{"tenant=team-a", "severity=critical", "prefix=192.0.2.0/24", "alertname=PrefixDown"}, "sms,mail"},
		"critical of another tenant: SMS and mail": {[]string{"tenant=team-b", "severity=critical", "prefix=192.0.2.0/24", "alertname=IPDown"}, "sms,mail"},
		"a warning: mail":                          {[]string{"tenant=team-a", "severity=warning", "prefix=192.0.2.0/24", "alertname=IPDown"}, "mail"},
		"critical without tenant: SMS and mail":    {[]string{"severity=critical", "prefix=192.0.2.0/24", "alertname=PrefixDown"}, "sms,mail"},
		"a tenant that nobody has entered":         {[]string{"tenant=team-z", "severity=critical", "prefix=192.0.2.0/24", "alertname=PrefixDown"}, "sms,mail"},
		"an unhealthy prober":                      {[]string{"severity=critical", "alertname=ProberUnhealthy", "instance=a"}, "sms-and-mail"},
		"an exporter that is gone":                 {[]string{"severity=critical", "alertname=ExporterGone", "instance=a"}, "sms-and-mail"},
		"what only inhibits: nobody":               {[]string{"tenant=team-a", "severity=none", "prefix=192.0.2.0/24", "alertname=PrefixDownInhibitor"}, "nobody"},
		"a reload that failed":                     {[]string{"severity=warning", "alertname=ReloadFailed", "instance=a"}, "mail"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"config", "routes", "test", "--config.file=" + configFile, "--verify.receivers=" + tc.receivers}, tc.labels...)
			if out, err := amtool(t, args...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Run("a wrong receiver is found out", func(t *testing.T) {
		if out, err := amtool(t, "config", "routes", "test", "--config.file="+configFile, "--verify.receivers=sms", "severity=warning"); err == nil {
			t.Errorf("no error:\n%s", out)
		}
	})
}

// alert and data are what Alertmanager gives to a template.
type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

type data struct {
	Status            string            `json:"status"`
	Alerts            []alert           `json:"alerts"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
}

// began is five to three in the afternoon in Paris, of a day that is long ago.
var began = time.Date(2026, 3, 2, 13, 55, 0, 0, time.UTC)

func firing(name, ip, summary string) alert {
	a := alert{
		Status:      "firing",
		Labels:      map[string]string{"alertname": name, "severity": "critical", "prefix": "192.0.2.0/24", "name": "PAR-1", "router": "PA2", "tenant": "team-a"},
		Annotations: map[string]string{"summary": summary, "description": "What it means.", "dashboard_url": "https://g/d/x?a=1&b=2", "runbook_url": "https://r/" + name + ".md"},
		StartsAt:    began,
	}
	if ip != "" {
		a.Labels["ip"] = ip
	}
	return a
}

func resolved(a alert) alert {
	a.Status, a.EndsAt = "resolved", a.StartsAt.Add(12*time.Minute)
	return a
}

// message puts alerts together as Alertmanager does.
func message(alerts ...alert) data {
	d := data{Status: "resolved", Alerts: alerts, GroupLabels: map[string]string{"prefix": "192.0.2.0/24", "tenant": "team-a"}, ExternalURL: "http://localhost:9093"}
	d.CommonLabels, d.CommonAnnotations = common(alerts, func(a alert) map[string]string { return a.Labels }), common(alerts, func(a alert) map[string]string { return a.Annotations })
	for _, a := range alerts {
		if a.Status == "firing" {
			d.Status = "firing"
		}
	}
	return d
}

func common(alerts []alert, of func(alert) map[string]string) map[string]string {
	all := map[string]string{}
	for name, value := range of(alerts[0]) {
		all[name] = value
		for _, a := range alerts {
			if of(a)[name] != value {
				delete(all, name)
			}
		}
	}
	return all
}

// render renders a template. Route labels exist in Alertmanager only, so `sms.json` is
// rendered with a file in which they stand already.
func render(t *testing.T, name, kind string, d data) string {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "data.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"sms.tmpl", "mail.tmpl"} {
		b, err := os.ReadFile(filepath.Join("templates", path))
		if err != nil {
			t.Fatal(err)
		}
		b = []byte(strings.ReplaceAll(string(b), `{{ routeLabels "sms_to" }}`, "+33611111111"))
		if err := os.WriteFile(filepath.Join(dir, path), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := amtool(t, "template", "render", "--template.glob="+filepath.Join(dir, "*.tmpl"), "--template.type="+kind,
		"--template.data="+file, "--template.text", fmt.Sprintf("{{ template %q . }}", name))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSuffix(out, "\n")
}

// storm is an outage of forty prefixes, in which an address was down before.
func storm() (alerts []alert) {
	alerts = append(alerts, firing("IPDown", "192.0.2.10", "PAR-1 192.0.2.10 mail DOWN"))
	for i := range 40 {
		alerts = append(alerts, firing("PrefixDown", "", fmt.Sprintf("PAR-%d 192.0.%d.0/24 DOWN: 256/256 IPs", i+1, i)))
	}
	return alerts
}

func TestSMS(t *testing.T) {
	now := firing("PrefixDown", "", "PAR-1 192.0.2.0/24 DOWN: 182/256 IPs")
	now.StartsAt = time.Now()
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	down := firing("PrefixDown", "", "PAR-1 192.0.2.0/24 DOWN: 182/256 IPs")
	for name, tc := range map[string]struct {
		alerts []alert
		want   string
	}{
		"one of today":                   {[]alert{now}, "PAR-1 192.0.2.0/24 DOWN: 182/256 IPs since " + now.StartsAt.In(paris).Format("15:04")},
		"one of another day has a date":  {[]alert{down}, "PAR-1 192.0.2.0/24 DOWN: 182/256 IPs since 2 Mar 14:55"},
		"a recovery":                     {[]alert{resolved(down)}, "RESOLVED 15:07: PAR-1 192.0.2.0/24 DOWN: 182/256 IPs since 2 Mar 14:55"},
		"the prefix is back, one is not": {[]alert{firing("IPDown", "192.0.2.10", "PAR-1 192.0.2.10 mail DOWN"), resolved(down)}, "1 ALERT, PAR-1 192.0.2.10 mail DOWN; 1 RESOLVED, PAR-1 192.0.2.0/24 DOWN"},
		"two recoveries":                 {[]alert{resolved(down), resolved(down)}, "2 RESOLVED, PAR-1 192.0.2.0/24 DOWN, PAR-1 192.0.2.0/24 DOWN"},
		"forty are cut off, prefixes first": {storm(), "41 ALERTS, PAR-1 192.0.0.0/24 DOWN, PAR-2 192.0.1.0/24 DOWN, PAR-3 192.0.2.0/24 DOWN, PAR-4 192.0.3.0/24 DOWN, " +
			"PAR-5 192.0.4.0/24 DOWN, PAR-6 192.0.5.0/24 DOWN"},
		"what a telephone or JSON cannot take": {[]alert{resolved(firing("IPDown", "", "Zür\"ich\\ 192.0.2.0/24\nDOWN"))}, "RESOLVED 15:07: Z?r'ich' 192.0.2.0/24 DOWN since 2 Mar 14:55"},
	} {
		t.Run(name, func(t *testing.T) {
			got := render(t, "sms.text", "text", message(tc.alerts...))
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if len(got) >= 160 {
				t.Errorf("%d characters", len(got))
			}
			var body map[string]string
			if err := json.Unmarshal([]byte(render(t, "sms.json", "text", message(tc.alerts...))), &body); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(map[string]string{"to": "+33611111111", "text": tc.want}, body); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestMail checks that two hundred addresses are one table, with a subject of one line.
func TestMail(t *testing.T) {
	var many []alert
	for i := range 200 {
		ip := fmt.Sprintf("192.0.2.%d", i)
		many = append(many, firing("IPDown", ip, "PAR-1 "+ip+" DOWN"))
	}
	many[7] = resolved(many[7])
	many[8].Labels["host"] = `<script>alert("host")</script>`
	one := message(firing("PrefixDown", "", "PAR-1 192.0.2.0/24 DOWN: 182/256 IPs"))
	for subject, d := range map[string]data{
		"[CRITICAL] PAR-1 192.0.2.0/24 DOWN: 182/256 IPs": one,
		"[RESOLVED] PAR-1 192.0.2.0/24 DOWN: 182/256 IPs": message(resolved(one.Alerts[0])),
		"[199 FIRING, 1 RESOLVED] PAR-1 192.0.2.0/24":     message(many...),
		"[2 RESOLVED] PAR-1 192.0.2.0/24":                 message(many[7], many[7]),
		"[2 FIRING] PAR-1 192.0.2.0/24":                   message(many[:2]...),
	} {
		if got := render(t, "prefix.subject", "text", d); got != subject {
			t.Errorf("the subject is %q, want %q", got, subject)
		}
	}
	html, text := render(t, "prefix.html", "html", message(many...)), render(t, "prefix.text", "text", message(many...))
	if n := strings.Count(html, "<tr"); n != 201 {
		t.Errorf("the table has %d rows, want a header and 200", n)
	}
	if strings.Contains(html, "<script") {
		t.Error("a name is HTML")
	}
	for _, part := range []string{"PAR-1", "PA2", "team-a", "192.0.2.199", "14:55", "15:07:00"} {
		if !strings.Contains(html, part) || !strings.Contains(text, part) {
			t.Errorf("the mail lacks %q", part)
		}
	}
	if !strings.Contains(text, "/#/silences/new?filter=%7Bprefix%3D%22192.0.2.0%2F24%22%2Ctenant%3D%22team-a%22%7D") {
		t.Errorf("no link to silence it:\n%s", text[max(0, len(text)-300):])
	}
}

// TestNoSecret checks that what must stay secret is named as a file, by an absolute path.
func TestNoSecret(t *testing.T) {
	text, err := os.ReadFile(configFile)
	if err != nil {
		t.Fatal(err)
	}
	secret := regexp.MustCompile(`(?m)(password|credentials|token|secret_key|access_key|secret_access_key)(_file)?: *['"]?([^\s'",}]+)`)
	found := secret.FindAllStringSubmatch(string(text), -1)
	if len(found) != 2 {
		t.Errorf("%d secrets, want the password of mail and the token of SMS: %q", len(found), found)
	}
	for _, m := range found {
		if m[2] != "_file" || !strings.HasPrefix(m[3], "/etc/alertmanager/secrets/") {
			t.Errorf("%s", m[0])
		}
	}
}
