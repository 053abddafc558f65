package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// reloadConfig writes a configuration of some prefixes of pageScenario.
func reloadConfig(prefixes ...string) string {
	config := `
defaults:
  icmp: {interval: 1s, timeout: 1s}
  tcp: {ports: [80], interval: 2s, timeout: 1s}
  trace: off
prefixes:
`
	for _, p := range prefixes {
		config += "  - {" + p + "}\n"
	}
	return config
}

// The prefixes of these tests, as they are at first.
const (
	nearPrefix = "prefix: 192.0.2.0/24, name: PAR-1, nominal_rtt: 4ms, names: {192.0.2.10: mail}"
	farPrefix  = "prefix: 198.51.100.0/24, name: NYC-1, nominal_rtt: 2ms"
)

// TestPageThroughReloads reloads the configuration while the page is in use: who reads, points or types
// stays where that is, and what has gone is said.
func TestPageThroughReloads(t *testing.T) {
	startLab(t, pageScenario)
	e := startExporter(t, reloadConfig(nearPrefix, farPrefix))
	b := startBrowser(t)
	b.open("/")
	b.untilClass(far, 9, pingHalf, "slow3")
	for _, step := range []struct {
		name string
		run  func(*testing.T, *exporter, *browser)
	}{
		{"nothing that stays turns another colour", reloadCalmly},
		{"the keyboard stays where it is", reloadFocused},
		{"the tip tells of what is under the pointer", reloadPointed},
		{"a block that is unfolded changes, goes, and comes back", reloadUnfolded},
		{"an address that is open changes, goes, and comes back", reloadOpened},
		{"a pinned block goes and comes back", reloadPinned},
		{"a probe goes", reloadProbe},
	} {
		t.Run(step.name, func(t *testing.T) {
			e.t, b.t = t, t
			step.run(t, e, b)
		})
	}
	b.t = t
	// A question may be under way while what it is about goes.
	b.quiet("status of 404")
	b.faithful()
}

// untilTitle waits until a block has a title, which is when the page has the layout of a reload.
func (b *browser) untilTitle(block, want string) {
	b.t.Helper()
	b.until("the title is "+want, fmt.Sprintf(`document.querySelector('[data-prefix=%q] .title b').textContent === %q || document.querySelector('[data-prefix=%[1]q] .title').textContent`, block, want))
}

// focus gives the keyboard to an element.
func (b *browser) focus(selector string) {
	b.t.Helper()
	b.until(selector+" has the keyboard", fmt.Sprintf(`(() => { const e = document.querySelector(%q); e?.focus(); return e !== null && document.activeElement === e; })()`, selector))
}

func reloadCalmly(t *testing.T, e *exporter, b *browser) {
	eval[any](b, `{
		window.colours = new Set();
		const watch = () => {
			const canvas = document.querySelector('[data-prefix="198.51.100.0/24"] canvas');
			const cell = Math.ceil(canvas.width / 16);
			const [r, g, b, a] = canvas.getContext("2d").getImageData(9.25 * cell, 0.3 * cell, 1, 1).data;
			if (a > 0) { // a new canvas is drawn before the screen is
				colours.add([r, g, b].join());
			}
			window.watching = requestAnimationFrame(watch);
		};
		watch();
		null
	}`)
	e.reload(reloadConfig(nearPrefix, `prefix: 198.51.100.0/24, name: NYC-2, nominal_rtt: 2ms`))
	b.untilTitle(far, "NYC-2")
	b.untilClass(far, 9, pingHalf, "slow3")
	// On a busy machine it may be slower than it is, but never faster.
	wrong := eval[[]string](b, `(() => {
		cancelAnimationFrame(watching);
		const style = getComputedStyle(document.documentElement);
		const rgb = (name) => style.getPropertyValue("--" + name).trim().match(/[0-9a-f]{2}/g).map((v) => parseInt(v, 16)).join();
		return ["waiting", "dark", "ok", "slow1", "slow2"].filter((name) => colours.has(rgb(name)));
	})()`)
	if len(wrong) > 0 {
		t.Errorf("the cell was %v for a moment", wrong)
	}
}

func reloadFocused(t *testing.T, e *exporter, b *browser) {
	b.focus(`[data-prefix="198.51.100.0/24"] canvas`)
	b.press(kb.ArrowRight, kb.ArrowDown)
	b.until("the address is announced", `document.querySelector("#announcer").textContent.startsWith("198.51.100.17:")`)
	b.strike("s")
	e.reload(reloadConfig(nearPrefix, farPrefix))
	b.untilTitle(far, "NYC-1")
	at := `document.activeElement.closest(".block")?.dataset.prefix === "198.51.100.0/24"`
	b.until("the block still has it", at)
	b.until("the numbers are of the same probe", `document.querySelector("#inspector").dataset.ip + document.querySelector("#inspector").dataset.probe === "198.51.100.17tcp/80"`)
	b.press(kb.ArrowRight)
	b.until("it goes on from there", `document.querySelector("#announcer").textContent.startsWith("198.51.100.18:") && `+at)
	// Other blocks before it.
	b.set("sort", "worst")
	b.untilShown(far + " " + near)
	b.until("it stays through a sort", at)
	b.set("sort", "given")
	b.press(kb.ArrowLeft)
	b.until("and goes on", `document.querySelector("#announcer").textContent.startsWith("198.51.100.17:") && `+at)
	// A block of its own is made for whoever tabs through the numbers.
	eval[any](b, `{ document.activeElement.blur(); null }`)
	b.until("the numbers are of everything", `document.querySelector("#inspector").dataset.ip === ""`)
	b.focus("#inspector .tabs button:nth-child(2)")
	b.until("numbers that come in do not take the keyboard away", `(async () => {
		const panel = document.querySelector("#inspector .tabs");
		while (panel.isConnected) {
			await new Promise((done) => setTimeout(done, 50));
		}
		return document.activeElement.textContent === "tcp/80" && document.activeElement.isConnected;
	})()`)
}

func reloadPointed(t *testing.T, e *exporter, b *browser) {
	tip := func(want string) string {
		return fmt.Sprintf(`!document.querySelector("#tip").hidden && document.querySelector("#tip").textContent.startsWith(%q) || document.querySelector("#tip").textContent`, want)
	}
	b.point(near, 10, pingHalf)
	b.until("the tip is there", tip("192.0.2.10 mailPAR-1"))
	e.reload(reloadConfig(`prefix: 192.0.2.0/24, name: PAR-2, nominal_rtt: 4ms, names: {192.0.2.10: post}`, farPrefix))
	b.untilTitle(near, "PAR-2")
	b.until("it has the new names", tip("192.0.2.10 postPAR-2"))
	b.until("the ring is there", `!document.querySelector('[data-prefix="192.0.2.0/24"] .ring').hidden`)
	b.picture("tip")
	e.reload(reloadConfig(farPrefix))
	b.untilShown(far)
	b.until("another block has come under the pointer", tip("198.51.100."))
	b.until("so have its numbers", `document.querySelector("#inspector").dataset.ip.startsWith("198.51.100.")`)
	b.do(chromedp.MouseEvent(chromedp.MouseMoved, 700, 8))
	b.until("a pointer that leaves takes the tip along", `document.querySelector("#tip").hidden && document.querySelectorAll(".ring:not([hidden])").length === 0`)
	b.until("the numbers are of everything", `document.querySelector("#inspector").dataset.ip === ""`)
	e.reload(reloadConfig(nearPrefix, farPrefix))
	b.untilShown(near + " " + far)
	if eval[bool](b, `!document.querySelector("#tip").hidden`) {
		t.Error("the tip has come back without a pointer")
	}
}

func reloadUnfolded(t *testing.T, e *exporter, b *browser) {
	b.open("/?prefix=198.51.100.0/24&tab=minute")
	b.until("the block is unfolded", `document.querySelector("[data-unfolded] .heatmap canvas")?.height > 200`)
	b.focus("[data-unfolded] .tabs button:nth-child(2)")
	eval[any](b, `{ scrollTo(0, 333); null }`)
	e.reload(reloadConfig(nearPrefix, `prefix: 198.51.100.0/24, name: NYC-3, nominal_rtt: 2ms`))
	b.untilTitle(far, "NYC-3")
	b.until("it still is, with its new name", `document.querySelector("[data-unfolded] h2").textContent.startsWith("NYC-3") && document.querySelector("[data-unfolded] .heatmap canvas")?.height > 200`)
	b.until("and the reader is where the reader was", `document.activeElement.textContent + " " + scrollY === "60 seconds 333" || document.activeElement.textContent + " " + scrollY`)
	e.reload(reloadConfig(nearPrefix))
	b.untilShown(near)
	b.until("that it has gone is said", `document.querySelector("[data-unfolded]") === null && document.querySelector("main > .note:not([hidden])")?.textContent.startsWith("198.51.100.0/24 is not in the configuration")`)
	b.picture("gone")
	e.reload(reloadConfig(nearPrefix, farPrefix))
	b.until("it is unfolded again", `document.querySelector("[data-unfolded] h2")?.textContent.startsWith("NYC-1") && document.querySelector("main > .note:not([hidden])") === null`)

	// Step by step back.
	b.until("a row leads to an address", `(() => { document.querySelector("[data-unfolded] .tabs button:nth-child(3)").click(); const a = document.querySelector("[data-unfolded] a[data-ip='198.51.100.3']"); a?.click(); return location.pathname === "/ip/198.51.100.3"; })()`)
	b.press(kb.Escape)
	b.until("Escape goes back to the block", `location.search.includes("prefix=198.51.100.0/24") && document.querySelector("[data-unfolded] tbody tr") !== null && document.querySelector("#address").hidden`)
	b.focus(`[data-unfolded] a[data-ip="198.51.100.4"]`)
	b.until("the table moves on under the keyboard", `(async () => {
		const table = document.querySelector("[data-unfolded] table.grid");
		while (table.isConnected) {
			await new Promise((done) => setTimeout(done, 50));
		}
		return document.activeElement.dataset.ip === "198.51.100.4";
	})()`)
	b.search("state:up")
	b.press(kb.Escape)
	b.until("then folds it", `document.querySelector("[data-unfolded]") === null && document.activeElement.closest(".block")?.dataset.prefix === "198.51.100.0/24"`)
	b.press(kb.Escape)
	b.until("then clears the search", `document.querySelector("#q").value === "" && location.search.indexOf("q=") < 0`)
}

func reloadOpened(_ *testing.T, e *exporter, b *browser) {
	b.open("/ip/192.0.2.10")
	name := `document.querySelector("#address .name")?.textContent + document.querySelector("#address .facts")?.textContent`
	b.until("the address is open", name+` === "mail192.0.2.0/24 · PAR-1 · nominal 4.00 ms" || `+name)
	e.reload(reloadConfig(`prefix: 192.0.2.0/24, name: PAR-2, router: PA2, nominal_rtt: 5ms, names: {192.0.2.10: post}`, farPrefix))
	b.until("it has its new names", name+` === "post192.0.2.0/24 · PAR-2 · router PA2 · nominal 5.00 ms" || `+name)
	e.reload(reloadConfig(farPrefix))
	b.until("that it has gone is said", `/192\.0\.2\.10/.test(document.querySelector("#address .note.bad")?.textContent)`)
	b.picture("gone-address")
	e.reload(reloadConfig(nearPrefix, farPrefix))
	b.until("it comes back", `document.querySelector("#address .name")?.textContent === "mail" && document.querySelectorAll("#address .dial canvas").length === 2`)
	b.press(kb.Escape)
	b.until("Escape leads to its cell", `document.activeElement.closest(".block")?.dataset.prefix === "192.0.2.0/24" && document.querySelector("#inspector").dataset.ip === "192.0.2.10"`)
}

func reloadPinned(_ *testing.T, e *exporter, b *browser) {
	b.open("/?pin=198.51.100.0/24")
	b.untilShown(far + " " + near)
	e.reload(reloadConfig(nearPrefix))
	b.untilShown(near)
	e.reload(reloadConfig(nearPrefix, farPrefix))
	b.untilShown(far + " " + near)
	b.focus(`[data-prefix="198.51.100.0/24"] canvas`)
	b.strike("p")
	b.untilShown(near + " " + far)
}

func reloadProbe(_ *testing.T, e *exporter, b *browser) {
	b.open("/?prefix=192.0.2.0/24&tab=minute&probe=tcp/80")
	pressed := `document.querySelector("[data-unfolded] .tabs[aria-label=Probe] [aria-pressed=true]")?.textContent`
	b.until("the port is shown", pressed+` === "tcp/80"`)
	e.reload(reloadConfig(nearPrefix+", tcp: off", farPrefix))
	b.until("the block shows what it still has", pressed+` === "ping" && document.querySelector("[data-unfolded] .heatmap canvas")?.height > 200`)
	b.untilClass(near, 9, tcpHalf, "ok")
	b.until("the others still have the port", `document.querySelectorAll("#trends .trend").length === 2`)
	b.open("/ip/198.51.100.9")
	b.until("there are two dials", `document.querySelectorAll("#address .dial canvas").length === 2`)
	e.reload(reloadConfig(nearPrefix+", tcp: off", farPrefix+", tcp: off"))
	b.until("one is left", `document.querySelectorAll("#address .dial canvas").length === 1 && document.querySelectorAll("#trends .trend").length === 1`)
	b.press(kb.Escape)
	b.point(near, 9, tcpHalf)
	b.until("the tip has one as well", `[...document.querySelectorAll("#tip .line")].length === 1`)
	b.until("and the numbers", `document.querySelector("#inspector").dataset.ip + document.querySelectorAll("#inspector .tabs button").length === "192.0.2.91"`)
}
