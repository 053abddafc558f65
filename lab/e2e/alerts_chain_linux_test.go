//go:build !race

// The tests of alerts take minutes, and run programs of others: of ours only the exporter, which
// other tests run with the race detector.

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/prefix"
)

// Where the second of each listens.
const (
	secondExporter     = "127.0.0.1:10241"
	thirdExporter      = "127.0.0.1:10242"
	firstAlertmanager  = "127.0.0.1:9093"
	secondAlertmanager = "127.0.0.1:9094"
	thirdAlertmanager  = "127.0.0.1:9095"
)

// bar is how long it may take from the first lost echo until the SMS, with the
// intervals as shipped.
const bar = 90 * time.Second

// attempts is how often the story may begin anew because this machine was too busy for a
// prober: nothing can be judged then. An attempt takes five minutes, if all are well at once, and ends as
// soon as it is spoiled.
const (
	attempts    = 3
	attemptTime = 6 * time.Minute
)

// alertScenario is a network without fault.
const alertScenario = `
seed: 4
prefixes: [192.0.2.0/24, 198.18.7.0/24, 198.18.8.0/24, 198.18.9.0/24, 198.51.100.0/24, 203.0.113.0/24]
rules:
  - {delay: 20ms, spread: 20ms}
routes:
  - {prefix: 198.18.8.0/24, hops: [10.0.0.1, 10.0.0.2]}
`

// sharedConfig is of the first exporter: a /24 that two tenants share, another of one, one whose
// path is going to change, and one without a tenant, to which the machine is going to have no route.
const sharedConfig = `
defaults: {tcp: off, trace: off}
prefixes:
  - {prefix: 192.0.2.0/24, name: PAR-1, router: PA2, tenants: [team-a, team-b], names: {192.0.2.10: mail}}
  - {prefix: 203.0.113.0/24, name: NYC-1, router: NY1, tenants: [team-a]}
  - {prefix: 198.18.8.0/24, name: SYD-1, tenants: [team-a], trace: {interval: 2s, timeout: 500ms}}
  - {prefix: 198.18.9.0/24, name: TYO-1}
`

// lonelyConfig is of the second, which is going to be ended.
const lonelyConfig = `
defaults: {tcp: off, trace: off}
prefixes:
  - {prefix: 198.51.100.0/24, name: LON-1, tenants: [team-b]}
`

// The telephones and mailboxes, as shipped.
const (
	phoneA, phoneB, phoneNOC = "+33611111111", "+33622222222", "+33600000000"
	boxA, boxB, boxNOC       = "team-a@example.net", "team-b@example.net", "noc@example.net"
)

// wrong is what is wrong with something, and the parts of what is said of it.
type wrong struct {
	subject, resolved, detail, cause string
}

// What is told, as clockless has it, in the order in which it happens.
var (
	hostDown  = isDown("PAR-1 192.0.2.10 mail", "", "timeout")
	otherDown = isDown("PAR-1 192.0.2.20", "", "") // only an address that has a name has a cause
	blipDown  = isDown("NYC-1 203.0.113.30", "", "")
	lonDown   = isDown("LON-1 198.51.100.0/24", "N/256 IPs", "timeout")
	romDown   = isDown("ROM-1 "+stumblerPrefix, "N/256 IPs", "timeout (prober busy)")
	tyoDown   = isDown("TYO-1 198.18.9.0/24", "N/256 IPs", "no route from the prober")
	parDown   = isDown("PAR-1 192.0.2.0/24", "N/256 IPs", "timeout")
	gone      = wrong{"EXPORTER 127.0.0.1:10241 GONE", "EXPORTER 127.0.0.1:10241 was GONE", "1 prefixes unwatched", ""}
	rerouted  = wrong{"SYD-1 198.18.8.0/24 ROUTE CHANGED", "SYD-1 198.18.8.0/24 ROUTE had CHANGED", "", ""}
	failing   = wrong{"MESSAGES FAILING in Alertmanager 127.0.0.1:9095", "MESSAGES were FAILING in Alertmanager 127.0.0.1:9095", "", "email"}
)

func isDown(what, detail, cause string) wrong {
	return wrong{what + " DOWN", what + " was DOWN", detail, cause}
}

// sms is what an SMS says of it.
func (w wrong) sms() string {
	return w.told(" since HH:MM ZONE")
}

// mail is the subject of a mail about it.
func (w wrong) mail() string { return w.told("") }

func (w wrong) told(since string) string {
	text := w.subject
	if w.detail != "" {
		text += " " + w.detail
	}
	text += since
	if w.cause != "" {
		text += ": " + w.cause
	}
	return text
}

// over is what both say once it is over.
func (w wrong) over() string { return w.resolved + " HH:MM-HH:MM ZONE (LASTED)" }

// critical is what one of the tenants gets for a critical alert: an SMS by each
// way, and a mail by each Alertmanager.
func critical(phone, box string, w wrong) []string {
	return []string{
		"sms to " + phone + ": " + w.sms(),
		"sns to " + phone + ": " + w.sms(),
		"mail to " + box + ": [CRITICAL] " + w.mail(),
		"second mail to " + box + ": [CRITICAL] " + w.mail(),
	}
}

// recovered is what follows on the same ways.
func recovered(phone, box string, w wrong) []string {
	return []string{
		"sms to " + phone + ": " + w.over(),
		"sns to " + phone + ": " + w.over(),
		"mail to " + box + ": [RESOLVED] " + w.over(),
		"second mail to " + box + ": [RESOLVED] " + w.over(),
	}
}

// byPhone makes an SMS of the second Alertmanager one of the provider: those to the NOC
// go that way there, too.
func byPhone(texts []string) []string {
	for i := range texts {
		if text, ok := strings.CutPrefix(texts[i], "sns"); ok {
			texts[i] = "sms" + text
		}
	}
	return texts
}

// chain is the whole chain of programs, and what has been told.
type chain struct {
	t          *testing.T
	lab        *netsim.Lab
	exporter   *exporter
	lonely     *process
	stumbler   *process
	prometheus *prometheus
	inbox      *inbox
	troubled   *troubled
	started    time.Time
	began      time.Time // of what is judged: all is well by then
	want       []string  // all messages so far
	spoiled    bool      // a prober was late: this attempt says nothing
}

// TestAlertsReachWhomTheyShould breaks things in the lab and reads everybody's mails and
// SMS. The first Alertmanager is as shipped, in the daytime; the second has its SMS sent by SNS, and
// it is night; the third cannot send mail. Steps that have nothing to do with each other happen at the
// same time, since the intervals are those that are shipped: the second exporter and the third have stories
// of their own.
func TestAlertsReachWhomTheyShould(t *testing.T) {
	testenv.RequireTime(t, 15*time.Minute) // five for itself, the rest for the tests behind it
	netsim.RequireLab(t)
	for n := range attempts {
		if deadline, ok := t.Deadline(); ok && n > 0 && time.Until(deadline) < attemptTime {
			break // -timeout, which would end all tests of the package
		}
		var c *chain
		if !t.Run(fmt.Sprintf("attempt %d", n+1), func(t *testing.T) {
			c = startChain(t)
			c.story()
		}) || !c.spoiled {
			return
		}
	}
	t.Errorf("a prober was late in each of %d attempts, or there was no time for another: this machine is too busy to judge anything", attempts)
}

func (c *chain) story() {
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"an address, and the /24 of the other exporter", c.single},
		{"the whole /24, and the other exporter ends", c.whole},
		{"it recovers, and the other exporter comes back", c.recovery},
		{"everything was told once, and nothing else", c.onceAndNothingElse},
	} {
		c.step(part.name, part.run)
		if c.spoiled {
			c.t.Logf("a prober was late, which inhibits for two minutes all that it would say: from the beginning")
			return
		}
	}
}

func (c *chain) step(name string, part func()) {
	outer := c.t
	adopt := func(t *testing.T) { c.t, c.exporter.t, c.prometheus.t, c.stumbler.t = t, t, t, t }
	outer.Run(name, func(t *testing.T) {
		adopt(t)
		defer adopt(outer)
		part()
	})
	if outer.Failed() {
		outer.Logf("all messages:\n%s", strings.Join(c.told(), "\n"))
		outer.FailNow()
	}
}

func startChain(t *testing.T) *chain {
	certificate := authority(t)
	in := &inbox{}
	sms, sns := startSink(t, certificate, smsProvider(t, in)), startSNS(t, in, certificate)
	replaced := func(via string) []string {
		return []string{
			"smtp.example.net:587", startMailServer(t, in, via, certificate),
			"https://sms.example.net", sms,
			"https://sns.eu-west-3.amazonaws.com", sns,
		}
	}
	quiet := "{start_time: '22:00', end_time: '24:00'}, {start_time: '00:00', end_time: '07:00'}"
	weekend := "weekdays: [saturday, sunday]"
	startShippedAlertmanager(t, firstAlertmanager, append(replaced("mail"),
		quiet, "{start_time: '00:00', end_time: '24:00'}]\n        years: ['1970'", weekend, "years: ['1970']")...)
	startShippedAlertmanager(t, secondAlertmanager, append(replaced("second mail"),
		quiet, "{start_time: '00:00', end_time: '24:00'}", "receiver: sms\n", "receiver: sms-aws\n")...)

	c := &chain{t: t, started: time.Now(), inbox: in, lab: startLab(t, alertScenario), troubled: startTroubled(t, certificate)}
	c.exporter = startExporter(t, sharedConfig)
	c.lonely = startOtherExporter(t, secondExporter, lonelyConfig, filepath.Join(t.TempDir(), "storage"))
	c.stumbler = startOtherExporter(t, thirdExporter, stumblerConfig, filepath.Join(t.TempDir(), "storage"))
	c.prometheus = startShippedPrometheus(t, []string{exporterAddress, secondExporter, thirdExporter},
		[]string{firstAlertmanager, secondAlertmanager, thirdAlertmanager})
	await(t, time.Minute, "Prometheus knows all prefixes, their tenants and a path", func() string {
		if n, _ := c.prometheus.number(`sum(prefix:targets_expected:count) + count(prefix:tenant:nth) + count(prefix:tenant:info) + count(prefix_route_changes_total)`); n != 6*256+7+7+1 {
			return fmt.Sprint(n)
		}
		return ""
	})
	// A machine that is still busy with compiling this makes the prober late, which
	// inhibits for two minutes whatever it would say.
	await(t, 4*time.Minute, "the exporters are healthy", func() string {
		if n, _ := c.prometheus.number(`sum(prefix_exporter_healthy)`); n != 3 {
			return fmt.Sprintf("%v of 3", n)
		}
		return ""
	})
	c.began = time.Now()
	return c
}

// single takes one address with a name away, and two without, a /24 of the other exporter, and that of the third
// after it stumbled. And it changes a path. That the third has stumbled holds its outage back for seconds, and stands
// behind it for two minutes, but silences nothing.
func (c *chain) single() {
	c.stumble()
	cut := setRule(c.t, c.lab, silence(true, "192.0.2.10/32", "192.0.2.20/32", "203.0.113.30/32", "198.51.100.0/24", stumblerPrefix))
	c.reroute()
	c.unroute("add")
	if !c.expect(slices.Concat(
		critical(phoneA, boxA, hostDown), critical(phoneB, boxB, hostDown), critical(phoneB, boxB, lonDown),
		critical(phoneB, boxB, romDown), critical(phoneNOC, boxNOC, tyoDown),
		[]string{ // at night nobody is told of these
			"mail to " + boxA + ": [WARNING] " + otherDown.mail(),
			"mail to " + boxB + ": [WARNING] " + otherDown.mail(),
			"mail to " + boxA + ": [WARNING] " + blipDown.mail(),
			"mail to " + boxA + ": [WARNING] " + rerouted.mail(),
		})) {
		return
	}
	for _, phone := range []string{phoneA, phoneB} {
		c.inTime("192.0.2.10", cut, "sms to "+phone+": "+hostDown.sms(), `ALERTS{alertname="IPDown",ip="192.0.2.10",alertstate=%q}`)
	}
	c.inTime("198.51.100.0", cut, "sms to "+phoneB+": "+lonDown.sms(), `ALERTS{alertname="PrefixDown",name="LON-1",alertstate=%q}`)
	c.inTime("198.51.100.0", cut, "sns to "+phoneB+": "+lonDown.sms(), `ALERTS{alertname="PrefixDown",name="LON-1",alertstate=%q}`)
	c.inTime("198.18.7.0", cut, "sms to "+phoneB+": "+romDown.sms(), `ALERTS{alertname="PrefixDown",name="ROM-1",alertstate=%q}`)
	if m, _ := c.inbox.find("sms to " + phoneNOC + ": " + tyoDown.sms()); m.at.Sub(cut) > bar {
		c.t.Errorf("%q took %v, want %v at most", m.text, m.at.Sub(cut), bar)
	} else {
		c.t.Logf("%.1f s for %q", m.at.Sub(cut).Seconds(), m.text)
	}
}

// unroute takes the way to one prefix away ("add" of routes that reject), or gives it back ("del").
func (c *chain) unroute(what string) {
	c.t.Helper()
	for _, half := range []string{"198.18.9.0/25", "198.18.9.128/25"} {
		ip(c.t, "route", what, "unreachable", half)
	}
}

// whole takes the rest of the /24 away while its first address is down still, and ends the
// other exporter while its /24 is.
func (c *chain) whole() {
	cut := setRule(c.t, c.lab, silence(true, "192.0.2.0/24"))
	setRule(c.t, c.lab, silence(false, "203.0.113.30/32", stumblerPrefix))
	c.unroute("del")
	c.lonely.t = c.t
	c.lonely.terminate()
	if !c.expect(slices.Concat(critical(phoneA, boxA, parDown), critical(phoneB, boxB, parDown),
		byPhone(critical(phoneNOC, boxNOC, gone)))) {
		return
	}
	for _, phone := range []string{phoneA, phoneB} {
		c.inTime("192.0.2.30", cut, "sms to "+phone+": "+parDown.sms(), `ALERTS{alertname="PrefixDown",name="PAR-1",alertstate=%q}`)
	}
	c.inhibited()
}

// inhibited asks Alertmanager for the alerts about the addresses of the /24 that is down:
// those that were told before, and are not told as recovered. The others did not begin.
func (c *chain) inhibited() {
	var alerts []struct {
		Labels map[string]string
		Status struct{ State string }
	}
	answer, err := client.Get("http://" + firstAlertmanager + `/api/v2/alerts?filter=alertname%3D%22IPDown%22&filter=prefix%3D%22192.0.2.0%2F24%22`)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&alerts); err != nil {
		c.t.Fatal(err)
	}
	if len(alerts) != 2*2 {
		c.t.Errorf("%d alerts about addresses, want two for each of both tenants", len(alerts))
	}
	for _, a := range alerts {
		if a.Status.State != "suppressed" {
			c.t.Errorf("%v is %s", a.Labels, a.Status.State)
		}
	}
}

// recovery gives the /24 back, but for one address, of which everybody has been told already. Of the other exporter,
// which is gone, all alerts about addresses must be over in Prometheus without anybody being told that they
// recovered: nobody knows. By then it is told that the third Alertmanager cannot send mail.
func (c *chain) recovery() {
	setRule(c.t, c.lab, silence(false, "192.0.2.0/24", "192.0.2.10/32"))
	await(c.t, 2*time.Minute, "the exporter that is gone claims nothing any more", func() string {
		if n, ok := c.prometheus.number(`count(ALERTS{prefix="198.51.100.0/24",severity!="none"})`); ok {
			return fmt.Sprintf("%v alerts", n)
		}
		return ""
	})
	// As long as an SMS may wait (group_interval), so that a wrong one would have come.
	time.Sleep(30 * time.Second)
	c.lonely = startOtherExporter(c.t, secondExporter, lonelyConfig, c.storageOf(c.lonely))
	c.expect(slices.Concat(recovered(phoneA, boxA, parDown), recovered(phoneB, boxB, parDown), recovered(phoneB, boxB, romDown), recovered(phoneNOC, boxNOC, tyoDown),
		byPhone(recovered(phoneNOC, boxNOC, gone)), byPhone(critical(phoneNOC, boxNOC, failing)),
		[]string{"mail to " + boxA + ": [RESOLVED] " + blipDown.over()}))
}

// storageOf returns where an exporter keeps what it remembers.
func (c *chain) storageOf(p *process) string {
	for _, arg := range p.cmd.Args {
		if dir, ok := strings.CutPrefix(arg, "--storage.path="); ok {
			return dir
		}
	}
	c.t.Fatalf("%v has no storage", p.cmd.Args)
	return ""
}

// expect waits for messages, and says whether they can be judged. Others are found at the end.
func (c *chain) expect(texts []string) bool {
	c.t.Helper()
	c.want = append(c.want, texts...)
	// The longest way is that of the recovery of an address that was a warning: 15 s to scrape, 15 s
	// to evaluate, 1 m that IPDown keeps firing, 2 m between two mails of warnings.
	await(c.t, 4*time.Minute, fmt.Sprintf("%d messages", len(texts)), func() string {
		if c.spoiled = c.unhealthy(c.began); c.spoiled {
			return ""
		}
		return c.inbox.lacks(texts)
	})
	return !c.spoiled
}

func (c *chain) told() (texts []string) {
	for _, m := range c.inbox.all() {
		texts = append(texts, m.String())
	}
	return texts
}

// inTime holds the time of an SMS against the bar, and tells how much of it each stage took.
func (c *chain) inTime(ip string, cut time.Time, text, alert string) {
	c.t.Helper()
	m, _ := c.inbox.find(text)
	lost := c.firstLost(ip, cut)
	took := m.at.Sub(lost)
	if took > bar {
		c.t.Errorf("%q took %v from the first lost echo, want %v at most", text, took, bar)
	}
	down := c.firstSample(fmt.Sprintf(`prefix_target_up{ip=%q} == 0`, ip), cut)
	var stages []string
	last := lost
	for _, stage := range []struct {
		name string
		at   time.Time
	}{
		{"detection and scrape", down},
		{"evaluation", c.firstSample(`max(`+strings.Replace(alert, "alertstate=%q", "", 1)+`)`, cut)},
		{"for", c.firstSample(fmt.Sprintf(`max(`+alert+`)`, "firing"), cut)},
		{"group_wait and delivery", m.at},
	} {
		stages = append(stages, fmt.Sprintf("%s %.1f s", stage.name, stage.at.Sub(last).Seconds()))
		last = stage.at
	}
	c.t.Logf("%.1f s for %q: %s", took.Seconds(), m.text, strings.Join(stages, ", "))
}

// firstLost returns when the first echo request of an address arrived in the lab and was lost.
func (c *chain) firstLost(ip string, cut time.Time) time.Time {
	c.t.Helper()
	list := outcomes(c.lab.Truth(), time.Now())[netip.MustParseAddr(ip)]
	i := slices.IndexFunc(list, func(o outcome) bool { return !o.sent.Before(cut) && o.kind != prefix.Answered })
	if i < 0 {
		c.t.Fatalf("%s has lost nothing", ip)
	}
	return list[i].sent
}

// unhealthy says whether one of the exporters was since then, but for the one that is made to stumble.
func (c *chain) unhealthy(since time.Time) bool {
	c.t.Helper()
	_, ok := c.prometheus.number(fmt.Sprintf(`count(min_over_time(prefix_exporter_healthy{instance!=%q}[%dms]) == 0)`,
		thirdExporter, time.Since(since).Milliseconds()))
	return ok
}

// firstSample returns when an expression first had a value, to a quarter of a second.
func (c *chain) firstSample(promql string, since time.Time) time.Time {
	c.t.Helper()
	for _, series := range c.prometheus.everyScrape(promql, since, time.Now()) {
		return series.Values[0].Timestamp.Time()
	}
	c.t.Fatalf("%s had no value", promql)
	return time.Time{}
}

// onceAndNothingElse compares all messages with all that were expected.
func (c *chain) onceAndNothingElse() {
	if c.spoiled = c.unhealthy(c.began); c.spoiled {
		return
	}
	want, got := slices.Sorted(slices.Values(c.want)), slices.Sorted(slices.Values(c.told()))
	if c.unhealthy(c.started) {
		// If that lasted for more than three minutes before all was well, the NOC was told, and rightly.
		got = slices.DeleteFunc(got, func(text string) bool {
			return strings.Contains(text, "PROBER ") && !strings.Contains(text, thirdExporter)
		})
	}
	if d := cmp.Diff(want, got); d != "" {
		c.t.Errorf("messages (-want +got):\n%s", d)
	}
	for _, m := range c.inbox.all() {
		if strings.HasPrefix(m.via, "s") && m.via != "second mail" && (len(m.text) > 160 || strings.ContainsAny(m.text, "\n\r\"\\")) {
			c.t.Errorf("not an SMS: %q", m.text)
		}
	}
	c.readable()
	c.troubled.toldOnce(c.t, c.told())
}

// readable looks into mails: both forms have a row for the address, its links and times.
func (c *chain) readable() {
	m, ok := c.inbox.find("mail to " + boxA + ": [CRITICAL] " + hostDown.mail())
	if !ok {
		c.t.Fatal("no mail")
	}
	for what, text := range map[string]string{"text": m.plain, "HTML": m.html} {
		for _, part := range []string{"192.0.2.10", "PAR-1", "PA2", "team-a", "timeout", "http://localhost:10240/?prefix=192.0.2.0%2F24", "http://localhost:3000/d/prefix-ip?var-prefix=192.0.2.0%2F24", "var-ip=192.0.2.10", "IPDown.md"} {
			if !strings.Contains(strings.ReplaceAll(text, "&amp;", "&"), part) {
				c.t.Errorf("the %s of the mail lacks %q:\n%s", what, part, text)
			}
		}
	}
}
