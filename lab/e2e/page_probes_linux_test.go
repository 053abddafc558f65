package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"prefix_exporter/lab/netsim"
)

// probesScenario has hosts of both families. Of three ports one is open, one refused, one silent.
const probesScenario = `
prefixes: [192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, "2001:db8::/120", "2001:db8:1::/48"]
rules:
  - {delay: 4ms}
  - {port: 80, tcp: open}
  - {port: 8080, tcp: silent}
  - {prefix: "2001:db8::/120", delay: 12ms}
  - {prefix: "2001:db8::80/121", silent: true}
routes:
  - {prefix: 192.0.2.0/24, hops: [10.0.0.1, 10.0.0.2]}
`

// probesConfig has three ports, none, some for half of a block, and IPv6. It sends less than most, so
// that also a busy machine is in time.
const probesConfig = `
defaults:
  icmp: {interval: 1s, timeout: 1s}
  tcp: {ports: [80, 443, 8080], interval: 4s, timeout: 1s}
  trace: off
  expect: all
prefixes:
  - {prefix: 192.0.2.0/26, name: Ports, nominal_rtt: 4ms, trace: {interval: 1s, timeout: 400ms}}
  - {prefix: 198.51.100.0/26, name: Ping, nominal_rtt: 4ms, tcp: off}
  - {prefix: 203.0.113.0/28, name: Halves, nominal_rtt: 4ms}
  - {prefix: 203.0.113.128/28, tcp: off}
  - {prefix: "2001:db8::/120", name: Six, nominal_rtt: 2ms, tcp: {ports: [80]}, expect: seen, names: {"2001:db8::35": dns}}
  - {prefix: "2001:db8:1::/48", name: Few, nominal_rtt: 4ms, addresses: ["2001:db8:1::1", "2001:db8:1:10::53"]}
`

// The blocks of probesConfig.
const (
	portsBlock  = "192.0.2.0/24"
	pingBlock   = "198.51.100.0/24"
	halvesBlock = "203.0.113.0/24"
	sixBlock    = "2001:db8::/120"
	fewBlock    = "2001:db8:1::/48"
)

// The middle of what each of three ports has of a cell, from top to bottom.
var thirds = [3]float64{1. / 6, 3. / 6, 5. / 6}

// TestPageOfManyProbes shows what is configured in many ways, each beside the others.
func TestPageOfManyProbes(t *testing.T) {
	lab := startLab(t, probesScenario)
	startExporter(t, probesConfig)
	b := startBrowser(t)
	b.open("/")

	t.Run("a cell has a part for each probe of its address, and no other", func(t *testing.T) { b.t = t; pageParts(t, b) })
	t.Run("the numbers are those of each probe", func(t *testing.T) { b.t = t; pageProbeNumbers(t, b) })
	t.Run("an IPv6 address is found however it is written", func(t *testing.T) { b.t = t; pageSix(t, b) })
	t.Run("blocks of few addresses unfold", func(t *testing.T) { b.t = t; pageFew(t, b) })
	t.Run("a change of a route is told, and leads to the address", func(t *testing.T) { b.t = t; pageRoute(t, b, lab) })
	b.t = t
	b.quiet()
	b.faithful()
}

// pageParts looks at the cells, and what the tip says of them.
func pageParts(t *testing.T, b *browser) {
	for _, at := range []struct {
		block string
		place int
		u     float64
		want  [3]string // from top to bottom
	}{
		{portsBlock, 9, pingHalf, [3]string{"ok", "ok", "ok"}},
		{portsBlock, 9, tcpHalf, [3]string{"ok", "red", "down"}},
		{pingBlock, 9, tcpHalf, [3]string{"ok", "ok", "ok"}},
		{halvesBlock, 9, tcpHalf, [3]string{"ok", "red", "down"}},
		{halvesBlock, 130, tcpHalf, [3]string{"ok", "ok", "ok"}}, // it has no port
		{sixBlock, 0x35, pingHalf, [3]string{"slow2", "slow2", "slow2"}},
		{sixBlock, 0x35, tcpHalf, [3]string{"slow2", "slow2", "slow2"}},
		{sixBlock, 0x85, pingHalf, [3]string{"dark", "dark", "dark"}},
		{fewBlock, 1, tcpHalf, [3]string{"ok", "red", "down"}},
	} {
		until(t, fmt.Sprintf("%s, place %d at %v", at.block, at.place, at.u), func() string {
			var got [3]string
			for i, v := range thirds {
				got[i] = b.classAt(at.block, at.place, at.u, v)
			}
			return cmp.Diff(at.want, got)
		})
	}
	for place, want := range map[int]string{9: "ping tcp/80 tcp/443 tcp/8080", 130: "ping"} {
		b.point(halvesBlock, place, tcpHalf)
		b.until("the tip has the probes of the address", fmt.Sprintf(
			`[...document.querySelectorAll("#tip .line span:first-of-type")].map((e) => e.textContent).join(" ") === %q`, want))
		b.until("and so has the inspector", fmt.Sprintf(
			`[...document.querySelectorAll("#inspector .tabs button")].map((e) => e.textContent).join(" ") === %q`, want))
	}
	b.picture("parts")
	b.search("state:waiting")
	b.untilShown("")
	b.search("")
}

// pageProbeNumbers compares the inspector of each probe, and the graphs, with the API.
func pageProbeNumbers(t *testing.T, b *browser) {
	b.until("a graph for each probe has how many are up, or down", `(async () => {
		const { probes } = await (await fetch("/api/v1/summary")).json();
		const wrong = probes.filter((p) => {
			const text = document.querySelector('#trends [data-probe="' + p.probe + "/" + p.port + '"] p').textContent;
			return !text.includes(p.down > 0 ? p.down + " down" : p.up + " up");
		});
		return probes.length === 4 && wrong.length === 0 || JSON.stringify(wrong) + document.querySelector("#trends").textContent;
	})()`)
	for probe, at := range map[string]struct {
		block, ip string
		place     int
	}{
		"tcp/443":  {portsBlock, "192.0.2.9", 9},
		"tcp/8080": {fewBlock, "2001:db8:1:10::53", 1},
		"tcp/80":   {sixBlock, "2001:db8::35", 0x35},
	} {
		b.point(at.block, at.place, pingHalf)
		b.until("the inspector is of "+at.ip, fmt.Sprintf(`document.querySelector("#inspector").dataset.ip === %q`, at.ip))
		eval[any](b, fmt.Sprintf(`{ [...document.querySelectorAll("#inspector .tabs button")].find((e) => e.textContent === %q).click(); null }`, probe))
		b.until("it has the numbers of the API", fmt.Sprintf(`(async () => {
			const panel = document.querySelector("#inspector");
			const { probes } = await (await fetch("/api/v1/ips/%s")).json();
			const { numbers } = probes.find((p) => p.probe + "/" + p.port === %q);
			const told = ["min_seconds", "max_seconds", "loss_ratio", "error"].map((k) => String(numbers[k] ?? ""));
			const shown = ["min_seconds", "max_seconds", "loss_ratio", "error"].map((k) => panel.querySelector("tr[data-number=" + k + "] td").dataset.value);
			return numbers.samples > 0 && panel.dataset.probe === %[2]q && told.join() === shown.join() || panel.dataset.probe + ": " + shown + " is not " + told;
		})()`, at.ip, probe))
	}
}

// pageSix leads to an IPv6 address by a link and by the search.
func pageSix(t *testing.T, b *browser) {
	b.open("/ip/2001:DB8:0::0035")
	b.until("the address is shown", `document.querySelector("#address h2")?.textContent === "2001:db8::35" && document.querySelector("#address .name").textContent === "dns"`)
	b.until("with its states", `[...document.querySelectorAll("#address .chip")].map((e) => e.textContent).join() === "ping up,tcp/80 up"`)
	b.until("and the frames move its dial on", `(async () => {
		const text = () => document.querySelector("#address figure canvas").toDataURL();
		const before = text();
		await new Promise((done) => setTimeout(done, 1500));
		return text() !== before;
	})()`)
	b.picture("six")
	b.press(kb.Escape)
	for text, want := range map[string]string{"2001:db8::35": sixBlock, "2001:0db8::1:0:0/96": "", "2001:db8:1:10::/64": fewBlock, "2001:db8::/32": sixBlock + " " + fewBlock} {
		b.search(text)
		b.untilShown(want)
	}
	b.search("2001:db8:1:10:0::53")
	b.untilShown(fewBlock)
	b.strike("/")
	b.press(kb.Enter)
	b.until("Enter opens the address", `document.querySelector("#address h2")?.textContent === "2001:db8:1:10::53"`)
	b.press(kb.Escape)
}

// pageFew unfolds blocks in which there is little.
func pageFew(t *testing.T, b *browser) {
	b.open("/?prefix=" + fewBlock + "&tab=minute")
	b.until("there are rows of two addresses, and no more", `document.querySelector("[data-unfolded] .heatmap canvas")?.clientHeight === 2 * 16 + 18`)
	eval[any](b, `{
		const canvas = document.querySelector("[data-unfolded] .heatmap canvas");
		const box = canvas.getBoundingClientRect();
		canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + 60, clientY: box.top + 20 }));
		null
	}`)
	b.until("the second one is named", `document.querySelector("[data-unfolded] > .facts").textContent.startsWith("2001:db8:1:10::53")`)
	b.picture("few")
	b.open("/?prefix=" + halvesBlock + "&tab=table")
	b.until("the table leaves out what an address has not", `document.querySelectorAll("[data-unfolded] tbody tr").length >= 32 &&
		/^up .*, up .*, down: refused, down: timeout$/.test([...document.querySelector('[data-unfolded] tr[data-ip="203.0.113.9"]').cells].slice(2).map((c) => c.textContent).join(", ")) &&
		/^up .*, , , $/.test([...document.querySelector('[data-unfolded] tr[data-ip="203.0.113.130"]').cells].slice(2).map((c) => c.textContent).join(", "))`)
	b.picture("table")
}

// pageRoute changes a path, and sees what the page makes of it.
func pageRoute(t *testing.T, b *browser, lab *netsim.Lab) {
	b.open("/ip/192.0.2.9")
	way := `[...document.querySelectorAll("#address .hops tbody tr")].map((row) => row.cells[1].textContent).join(" ")`
	b.until("the address has the route of its prefix", way+` === "10.0.0.1 10.0.0.2 192.0.2.0"`)
	if n := eval[int](b, `document.querySelectorAll("#address .changes li").length`); n != 0 {
		t.Errorf("there are %d changes before there was one", n)
	}
	if _, err := lab.SetRoute(netsim.Route{
		Prefixes: []netip.Prefix{netip.MustParsePrefix(portsBlock)},
		Paths:    []netsim.Path{{Hops: []netsim.Hop{{Router: netip.MustParseAddr("10.0.0.1")}, {Router: netip.MustParseAddr("10.0.0.7")}}}},
	}); err != nil {
		t.Fatal(err)
	}
	b.until("the new way is shown", way+` === "10.0.0.1 10.0.0.7 192.0.2.0"`)
	b.until("the change is told in words, its paths in full", `(() => {
		const all = document.querySelectorAll("#address .changes li");
		return all.length === 1 && all[0].textContent.includes("10.0.0.7") && all[0].title.endsWith("10.0.0.1 10.0.0.2 192.0.2.0\n→ 10.0.0.1 10.0.0.7 192.0.2.0") ||
			[...all].map((e) => e.textContent + e.title).join("; ");
	})()`)
	b.picture("route")
	b.open("/")
	b.until("it is in the list of events", `document.querySelectorAll('#event-list [data-type="route"] a').length === 1`)
	b.picture("route-event")
	eval[any](b, `{ document.querySelector('#event-list [data-type="route"] a').click(); null }`)
	b.until("the event leads to the prefix and its route", `document.querySelectorAll('[data-unfolded="192.0.2.0/24"] .changes li').length === 1`)
	b.open("/ip/192.0.2.0")
	b.until("it is among the events of the address that is traced", `document.querySelectorAll('#address li[data-type="route"]').length === 1`)
}
