package alertmanager

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

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
	RouteLabels       map[string]string `json:"routeLabels"`
	ExternalURL       string            `json:"externalURL"`
}

// began is five to three in the afternoon in Paris, of a day that is long ago.
var began = time.Date(2026, 3, 2, 13, 55, 0, 0, time.UTC)

// down is the outage of an address, or without one of a prefix, as rules/alerts.yml has it. about is
// who is down.
func down(about, ip, detail, cause string) alert {
	a := alert{
		Status: "firing",
		Labels: map[string]string{"alertname": "PrefixDown", "severity": "critical", "prefix": "192.0.2.0/24", "name": "PAR-1", "router": "PA2", "tenant": "team-a", "instance": "exporter:10240"},
		Annotations: map[string]string{
			"subject": about + " DOWN", "resolved": about + " was DOWN", "detail": detail, "cause": cause,
			"summary": strings.TrimSuffix(about+" DOWN "+detail, " ") + ": " + cause, "description": "What it means.",
			"lingers": "00:01:00", "page_url": "https://p/?prefix=192.0.2.0%2F24", "dashboard_url": "https://g/d/x?a=1&ip=" + ip, "runbook_url": "https://r/x.md",
		},
		StartsAt: began,
	}
	if ip != "" {
		a.Labels["alertname"], a.Labels["ip"] = "IPDown", ip
	}
	return a
}

// after is an alert that ended so long after it began: its trouble a minute before, as `lingers` says.
func after(d time.Duration, a alert) alert {
	a.Status, a.EndsAt = "resolved", a.StartsAt.Add(d+time.Minute)
	return a
}

// without is an alert that lacks some annotations.
func without(a alert, names ...string) alert {
	a.Annotations = maps.Clone(a.Annotations)
	for _, name := range names {
		delete(a.Annotations, name)
	}
	return a
}

// message puts alerts together as Alertmanager does.
func message(alerts ...alert) data {
	d := data{
		Status: "resolved", Alerts: alerts, GroupLabels: map[string]string{"prefix": "192.0.2.0/24", "tenant": "team-a"},
		RouteLabels: map[string]string{"sms_to": "+33611111111"}, ExternalURL: "http://localhost:9093",
	}
	d.CommonLabels, d.CommonAnnotations = common(alerts, func(a alert) map[string]string { return a.Labels }), common(alerts, func(a alert) map[string]string { return a.Annotations })
	for _, a := range alerts {
		if a.Status == "firing" {
			d.Status = "firing"
		}
	}
	return d
}

func common(alerts []alert, of func(alert) map[string]string) map[string]string {
	all := maps.Clone(of(alerts[0]))
	for _, a := range alerts {
		maps.DeleteFunc(all, func(name, value string) bool { return of(a)[name] != value })
	}
	return all
}

// render renders a template with amtool.
func render(t *testing.T, name, kind string, d data) string {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "data.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := amtool(t, "template", "render", "--template.glob=templates/*.tmpl", "--template.type="+kind,
		"--template.data="+file, "--template.text", fmt.Sprintf("{{ template %q . }}", name))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSuffix(out, "\n")
}

// storm is an outage of forty prefixes, in which an address was down before.
func storm() []alert {
	alerts := []alert{down("PAR-1 192.0.2.10 mail", "192.0.2.10", "", "timeout")}
	for i := range 40 {
		alerts = append(alerts, down(fmt.Sprintf("PAR-%d 192.0.%d.0/24", i+1, i), "", "256/256 IPs", "timeout"))
	}
	return alerts
}

// over is a storm that is over.
func over(alerts []alert) []alert {
	for i := range alerts {
		alerts[i] = after(12*time.Minute, alerts[i])
	}
	return alerts
}

// The longest that rules/alerts.yml makes: names are cut at 24 characters.
const (
	longName  = "A name of twenty-three …"
	longIP    = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ff11"
	longHost  = "a-host-of-twenty-three-…"
	longCause = "administratively prohibited, says 2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff (prober busy)"
)

func TestSMS(t *testing.T) {
	now := down("PAR-1 192.0.2.0/24", "", "182/256 IPs", "net unreachable, says 198.51.100.1")
	now.StartsAt = time.Now()
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	par := down("PAR-1 192.0.2.0/24", "", "182/256 IPs", "net unreachable, says 198.51.100.1")
	mail := down("PAR-1 192.0.2.10 mail", "192.0.2.10", "", "timeout")
	summary := without(par, "subject", "resolved", "detail", "cause", "lingers")
	core, edge := down("DC1: core 192.0.2.0/24", "", "256/256 IPs", "timeout"), down("DC1: edge 198.51.100.0/24", "", "256/256 IPs", "timeout")
	six := down("2001:db8:1::", "2001:db8:1::", "", "timeout")
	for name, tc := range map[string]struct {
		alerts []alert
		want   string
	}{
		"one of today says since when, in which zone, and why": {[]alert{now}, "PAR-1 192.0.2.0/24 DOWN 182/256 IPs since " + now.StartsAt.In(paris).Format("15:04 MST") + ": net unreachable, says 198.51.100.1"},
		"one of another day has a date":                        {[]alert{par}, "PAR-1 192.0.2.0/24 DOWN 182/256 IPs since 2 Mar 14:55 CET: net unreachable, says 198.51.100.1"},
		"a cause that is not known is left out":                {[]alert{without(par, "cause")}, "PAR-1 192.0.2.0/24 DOWN 182/256 IPs since 2 Mar 14:55 CET"},
		"a recovery says how long it lasted":                   {[]alert{after(12*time.Minute, par)}, "PAR-1 192.0.2.0/24 was DOWN 2 Mar 14:55-15:07 CET (12 min)"},
		"one that was short":                                   {[]alert{after(45*time.Second, par)}, "PAR-1 192.0.2.0/24 was DOWN 2 Mar 14:55-14:55 CET (45 s)"},
		"one that took days":                                   {[]alert{after(50*time.Hour+5*time.Minute, par)}, "PAR-1 192.0.2.0/24 was DOWN 2 Mar 14:55-4 Mar 17:00 CET (50 h 5 min)"},
		"one of whole hours":                                   {[]alert{after(2*time.Hour, par)}, "PAR-1 192.0.2.0/24 was DOWN 2 Mar 14:55-16:55 CET (2 h 0 min)"},
		"an alert that has only a summary":                     {[]alert{summary}, "PAR-1 192.0.2.0/24 DOWN 182/256 IPs: net unreachable, says 198.51.100.1 since 2 Mar 14:55 CET"},
		"its recovery":                                         {[]alert{after(11*time.Minute, summary)}, "RESOLVED PAR-1 192.0.2.0/24 DOWN 182/256 IPs: net unreachable, says 198.51.100.1 2 Mar 14:55-15:07 CET (12 min)"},
		"names and addresses with colons are whole":            {[]alert{core, edge}, "2 ALERTS: DC1: core 192.0.2.0/24 DOWN; DC1: edge 198.51.100.0/24 DOWN"},
		"and so they are once it is over":                      {[]alert{after(4*time.Minute, six), after(19*time.Minute, core)}, "2 RESOLVED: DC1: core 192.0.2.0/24 was DOWN (19 min); 2001:db8:1:: was DOWN (4 min)"},
		"the prefix is back, one is not":                       {[]alert{mail, after(12*time.Minute, par)}, "1 ALERT: PAR-1 192.0.2.10 mail DOWN. 1 RESOLVED: PAR-1 192.0.2.0/24 was DOWN (12 min)"},
		"of forty those that fit, prefixes first": {storm(), "41 ALERTS: PAR-1 192.0.0.0/24 DOWN; PAR-2 192.0.1.0/24 DOWN; PAR-3 192.0.2.0/24 DOWN; PAR-4 192.0.3.0/24 DOWN; " +
			"PAR-5 192.0.4.0/24 DOWN; and 36 more"},
		"and of forty recoveries": {over(storm()), "41 RESOLVED: PAR-1 192.0.0.0/24 was DOWN (12 min); PAR-2 192.0.1.0/24 was DOWN (12 min); PAR-3 192.0.2.0/24 was DOWN (12 min); and 38 more"},
		"both at once": {append(storm(), over(storm())...), "41 ALERTS: PAR-1 192.0.0.0/24 DOWN; PAR-2 192.0.1.0/24 DOWN; PAR-3 192.0.2.0/24 DOWN; PAR-4 192.0.3.0/24 DOWN; " +
			"and 37 more. 41 RESOLVED"},
		"the longest has room for its time, and for the beginning of its cause": {[]alert{down(longName+" "+longIP+" "+longHost+" TCP 65535", longIP, "", longCause)},
			"A name of twenty-three .. " + longIP + " a-host-of-twenty-three-.. TCP 65535 DOWN since 2 Mar 14:55 CET: administratively prohibited,..."},
		"and once it is over": {[]alert{after(99*time.Hour, down(longName+" "+longIP+" "+longHost+" TCP 65535", longIP, "", longCause))},
			"A name of twenty-three .. " + longIP + " a-host-of-twenty-three-.. TCP 65535 was DOWN 2 Mar 14:55-6 Mar 17:55 CET (99 h 0 min)"},
	} {
		t.Run(name, func(t *testing.T) { compareSMS(t, tc.want, message(tc.alerts...)) })
	}
}

// compareSMS checks the text of an SMS, and that a provider gets it as JSON that says the same.
func compareSMS(t *testing.T, want string, d data) {
	t.Helper()
	got := render(t, "sms.text", "text", d)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if len(got) > 160 {
		t.Errorf("%d characters", len(got))
	}
	// What is not in the basic table of GSM 03.38, section 6.2.1, or would have to be escaped in JSON.
	if i := strings.IndexFunc(got, func(r rune) bool { return r < ' ' || r > 'z' || strings.ContainsRune("[\\]^`\"", r) }); i >= 0 {
		t.Errorf("%q: %q is not for an SMS", got, got[i:])
	}
	var body map[string]string
	if err := json.Unmarshal([]byte(render(t, "sms.json", "text", d)), &body); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"to": "+33611111111", "text": want}, body); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// nasty are names that somebody may give, and what an SMS makes of them.
func nasty() map[string]string {
	return map[string]string{
		`quotes "a" 'b' and \`:                        `quotes 'a' 'b' and /`,
		"a line\nand\r\na\ttab":                       "a line and a tab",
		"control \x00\x1b[31m\x7f end":                "control (31m end",
		`braces {{ .Labels }} [x]`:                    "braces (( .Labels )) (x)",
		`{{ template "sms.json" . }}`:                 "(( template 'sms.json' . ))",
		`", "to": "+33600000000`:                      "', 'to': '+33600000000",
		"Zürich, Orléans, Kraków €":                   "Zurich, Orleans, Krakow EUR",
		"Stra\u00dfe \u00c5re \u0130zmir A\u0301vila": "Strasse Are Izmir Avila",
		"no-break\u00a0space – dash…":                 "no-break space - dash..",
		"right\u202eto left\u200b":                    "rightto left",
		"\u6771\u4eac \U0001f4a5 tilde~ a|b ^`":       "?? ? tilde- a/b ''",
		"a: b; c # d & e <f> %41 $x":                  "a: b; c # d & e <f> %41 $x",
		"- yaml: [1, 2]":                              "- yaml: (1, 2)",
	}
}

func TestNastyNames(t *testing.T) {
	for name, want := range nasty() {
		t.Run(want, func(t *testing.T) {
			a := down(name+" 192.0.2.0/24", "", "256/256 IPs", "timeout")
			a.Labels["name"] = name
			compareSMS(t, want+" 192.0.2.0/24 DOWN 256/256 IPs since 2 Mar 14:55 CET: timeout", message(a))
			compareSMS(t, "2 ALERTS: "+want+" 192.0.2.0/24 DOWN; "+want+" 192.0.2.0/24 DOWN", message(a, a))
			html, text := render(t, "prefix.html", "html", message(a, a)), render(t, "prefix.text", "text", message(a, a))
			if !strings.Contains(text, name) {
				t.Errorf("the text of the mail lacks the name:\n%s", text)
			}
			if strings.Contains(html, "<f>") || strings.Contains(html, "ZgotmplZ") {
				t.Errorf("the name is HTML, or nothing is:\n%s", html)
			}
		})
	}
}

// many are two hundred addresses that are down, but for one that is up again.
func many() []alert {
	var alerts []alert
	for i := range 200 {
		ip := fmt.Sprintf("192.0.2.%d", i)
		alerts = append(alerts, down("PAR-1 "+ip, ip, "", "timeout"))
	}
	alerts[7] = after(12*time.Minute, alerts[7])
	alerts[8].Annotations["subject"] = `<script>alert("host")</script>`
	return alerts
}

func TestSubjectOfMail(t *testing.T) {
	par := down("PAR-1 192.0.2.0/24", "", "182/256 IPs", "net unreachable, says 198.51.100.1")
	all := many()
	for subject, d := range map[string]data{
		"[CRITICAL] PAR-1 192.0.2.0/24 DOWN 182/256 IPs: net unreachable, says 198.51.100.1":                                message(par),
		"[RESOLVED] PAR-1 192.0.2.0/24 was DOWN 14:55-15:07 CET (12 min)":                                                   message(after(12*time.Minute, par)),
		"[RESOLVED] PAR-1 192.0.2.0/24 was DOWN 2 Mar 14:55-3 Mar 14:55 CET (24 h 0 min)":                                   message(after(24*time.Hour, par)),
		"[CRITICAL] PAR-1 192.0.2.0/24 DOWN 182/256 IPs: net unreachable, says 198.51.100.1, and that is all that there is": message(only(par, "summary", par.Annotations["summary"]+", and that is all that there is")),
		"[199 FIRING, 1 RESOLVED] PAR-1 192.0.2.0/24":                                                                       message(all...),
		"[2 RESOLVED] PAR-1 192.0.2.0/24":                                                                                   message(all[7], all[7]),
		"[2 FIRING] PAR-1 192.0.2.0/24":                                                                                     message(all[:2]...),
	} {
		if got := render(t, "prefix.subject", "text", d); got != subject {
			t.Errorf("the subject is %q, want %q", got, subject)
		}
	}
}

// only is an alert with one annotation.
func only(a alert, name, value string) alert {
	a.Annotations = map[string]string{name: value}
	return a
}

// TestMail checks what both forms of a mail say, and that two hundred addresses are a table of fifty.
func TestMail(t *testing.T) {
	par := down("PAR-1 192.0.2.0/24", "", "182/256 IPs", "net unreachable, says 198.51.100.1")
	links := []string{"https://p/?prefix=192.0.2.0%2F24", "https://g/d/x?a=1&ip=", "https://r/x.md",
		"http://localhost:9093/#/silences/new?filter=%7Bprefix%3D%22192.0.2.0%2F24%22%2Ctenant%3D%22team-a%22%7D"}
	for name, tc := range map[string]struct {
		alerts []alert
		rows   int // of the HTML, each with a state
		want   []string
		lacks  []string
	}{
		"an outage": {
			alerts: []alert{par},
			want: append(links, "PAR-1 192.0.2.0/24 DOWN", "182/256 IPs", "net unreachable, says 198.51.100.1", "2026-03-02 14:55:00 CET",
				"PA2", "team-a", "exporter:10240", "What it means."),
		},
		"an outage that is over is told in the past tense": {
			alerts: []alert{after(12*time.Minute, par)},
			want:   append(links, "RESOLVED", "PAR-1 192.0.2.0/24 was DOWN", "2026-03-02, 14:55-15:07 CET (12 min)"),
			lacks:  []string{"192.0.2.0/24 DOWN", "What it means."},
		},
		"the outage of a prefix stands above its addresses, with its links": {
			alerts: []alert{down("PAR-1 192.0.2.10 mail", "192.0.2.10", "", "timeout"), par},
			rows:   2,
			want:   append(links, "net unreachable, says 198.51.100.1", "PAR-1 192.0.2.10 mail DOWN", "timeout"),
		},
		"many addresses": {
			alerts: many(),
			rows:   51,
			want:   append(slices.Clone(links[3:]), links[0], "PAR-1 192.0.2.49 DOWN", "PAR-1 192.0.2.7 was DOWN", "14:55-15:07 CET (12 min)"),
			lacks:  []string{"PAR-1 192.0.2.7 DOWN"},
		},
		"an alert that has only a summary": {alerts: []alert{only(par, "summary", "PAR-1 TRY OUT")}, want: []string{"PAR-1 TRY OUT", links[3]}},
	} {
		t.Run(name, func(t *testing.T) {
			html, text := render(t, "prefix.html", "html", message(tc.alerts...)), render(t, "prefix.text", "text", message(tc.alerts...))
			if n := strings.Count(html, "&#9679;"); n != tc.rows {
				t.Errorf("the table has %d rows, want %d", n, tc.rows)
			}
			if strings.Contains(html, "<script") || strings.Contains(html, "ZgotmplZ") {
				t.Error("a name is HTML, or a style is none")
			}
			for what, form := range map[string]string{"text": text, "HTML": strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(html)} {
				for _, part := range tc.want {
					if !strings.Contains(form, part) {
						t.Errorf("the %s lacks %q:\n%s", what, part, form)
					}
				}
				for _, part := range tc.lacks {
					if strings.Contains(form, part) {
						t.Errorf("the %s has %q", what, part)
					}
				}
			}
			if rest := len(tc.alerts) - tc.rows; tc.rows > 50 && !strings.Contains(html, fmt.Sprintf("and %d more", rest)) {
				t.Errorf("the HTML does not say that there are %d more", rest)
			}
		})
	}
}
