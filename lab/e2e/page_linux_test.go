package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
)

// pageScenario is near, and serves HTTP; what happens to single addresses the tests say.
const pageScenario = `
prefixes: [192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24]
rules:
  - {delay: 4ms}
  - {port: 80, tcp: open}
  - {prefix: 198.51.100.0/24, delay: 20ms}
  - {prefix: 198.51.100.128/25, silent: true}
`

// pageConfig has names that would run if the page took them for markup. Connects are made every
// two seconds, so that tests need not wait a minute for them.
const pageConfig = `
defaults:
  icmp: {interval: 1s, timeout: 1s}
  tcp: {ports: [80], interval: 2s, timeout: 1s}
  trace: off
prefixes:
  - prefix: 192.0.2.0/24
    name: PAR-1
    router: PA2
    nominal_rtt: 4ms
    labels: {site: paris}
    names: {192.0.2.10: mail}
  - prefix: 198.51.100.0/24
    name: '<img src=x onerror="console.error(1)">'
    router: NY1
    nominal_rtt: 2ms
    names: {198.51.100.7: '<script>console.error(2)</script>'}
`

const (
	near = "192.0.2.0/24"
	far  = "198.51.100.0/24"
)

// The middle of the halves of a cell.
const (
	pingHalf = 0.25
	tcpHalf  = 0.7
)

// TestPage tells one story of the live page: the parts build on each other.
func TestPage(t *testing.T) {
	lab := startLab(t, pageScenario)
	e := startExporter(t, pageConfig)
	b := startBrowser(t)
	b.open("/")

	pageModules(t, b)
	t.Run("every address has a cell with the colour of its RTT", func(t *testing.T) {
		b.t = t
		b.untilShown(near + " " + far)
		b.untilClass(near, 9, pingHalf, "ok")
		b.untilClass(near, 9, tcpHalf, "ok")
		b.untilClass(far, 9, pingHalf, "slow3") // 20 ms against 2 ms
		b.untilClass(far, 200, pingHalf, "dark")
	})
	t.Run("names of the configuration stay text", func(t *testing.T) {
		b.t = t
		title := eval[string](b, `document.querySelector('[data-prefix="198.51.100.0/24"] .title b').textContent`)
		if want := `<img src=x onerror="console.error(1)">`; title != want {
			t.Errorf("the title is %q, want %q", title, want)
		}
		b.point(far, 7, pingHalf)
		b.until("the tip names the address", `document.querySelector("#tip").textContent.includes("<script>console.error(2)</script>")`)
		if n := eval[int](b, `document.querySelectorAll("main img, aside img, #tip img, main script, #tip script").length`); n != 0 {
			t.Errorf("%d elements were made of names", n)
		}
	})
	t.Run("the cell of an address that is cut off turns, and turns back", func(t *testing.T) {
		b.t = t
		b.untilClass(near, 33, pingHalf, "ok") // what has never answered would be dark
		b.untilClass(near, 33, tcpHalf, "ok")
		setRule(t, lab, silence(true, "192.0.2.33/32"))
		b.untilClass(near, 33, pingHalf, "down")
		b.untilClass(near, 33, tcpHalf, "down")
		b.untilClass(near, 34, pingHalf, "ok")
		b.until("the event is in the list", `[...document.querySelectorAll('#event-list [data-type="down"] a')].some((a) => a.textContent === "192.0.2.33")`)
		setRule(t, lab, silence(false, "192.0.2.33/32"))
		b.untilClass(near, 33, pingHalf, "ok")
		b.untilClass(near, 33, tcpHalf, "ok")
	})
	t.Run("what happens to many addresses at once is one event", func(t *testing.T) {
		b.t = t
		setRule(t, lab, silence(true, "192.0.2.64/27"))
		// One that went down just before may be among them, or their ten seconds have ended in their midst.
		b.until("32 addresses are down in a row or two", `(() => {
			const rows = [...document.querySelectorAll('#event-list [data-type="down"]:has(a[data-prefix="192.0.2.0/24"])')]
				.filter((e) => /^PAR-1 \d+ addresses ping$/.test(e.querySelector(".to").textContent));
			const addresses = rows.reduce((n, e) => n + Number(e.dataset.count), 0);
			return (rows.length === 1 || rows.length === 2) && addresses >= 28 && addresses <= 33 || rows.map((e) => e.textContent).join("; ");
		})()`)
		if n := eval[int](b, `document.querySelectorAll('#event-list [data-type="down"] a[data-ip^="192.0.2.7"]').length`); n > 3 {
			t.Errorf("%d of them have a row besides", n)
		}
		setRule(t, lab, silence(false, "192.0.2.64/27"))
		b.untilClass(near, 70, pingHalf, "ok")
		b.untilClass(near, 70, tcpHalf, "ok")
	})
	t.Run("the numbers are those of the API", func(t *testing.T) { b.t = t; pageNumbers(t, b) })
	t.Run("the search shows what it means, also after a reload of the page", func(t *testing.T) {
		b.t = t
		for text, want := range map[string]string{
			"router:NY1": far, "par": near, "mail": near, "site:paris": near, "198.51.100.0/25": far, "-router:NY1": near,
			"state:dark": far, "": near + " " + far,
		} {
			b.search(text)
			b.untilShown(want)
		}
		b.search("router:NY1")
		b.untilShown(far)
		b.open(eval[string](b, "location.pathname + location.search"))
		b.untilShown(far)
		b.search("")
		b.untilShown(near + " " + far)
	})
	t.Run("the keyboard moves, opens an address and comes back", func(t *testing.T) { b.t = t; pageKeyboard(t, b) })
	t.Run("blocks are pinned, and sorted by the worst", func(t *testing.T) { b.t = t; pageOrder(t, b) })
	t.Run("each reference colours as the numbers of the API say", func(t *testing.T) { b.t = t; pageReferences(t, b, lab) })
	t.Run("a touch looks, a second one opens", func(t *testing.T) { b.t = t; pageTouch(t, b) })
	t.Run("a connection that breaks goes on where it was", func(t *testing.T) { b.t = t; pageResumes(t, b) })
	t.Run("every view fits on every screen", func(t *testing.T) { b.t = t; pageScreens(t, b) })
	t.Run("a link leads to an address and a block", func(t *testing.T) {
		b.t = t
		b.open("/ip/192.0.2.10")
		b.until("the address is shown", `document.querySelector("#address h2")?.textContent === "192.0.2.10" && document.querySelector("#address .name").textContent === "mail"`)
		b.until("there is a dial for each probe", `document.querySelectorAll("#address .dial canvas").length === 2`)
		b.until("the chart is there", `document.querySelector("#address .chart canvas") !== null`)
		b.open("/?prefix=198.51.100.0/24&tab=minute")
		b.until("the block is unfolded", `document.querySelector('[data-unfolded="198.51.100.0/24"] .heatmap canvas')?.height > 200`)
	})
	t.Run("a reload of the configuration adds a block", func(t *testing.T) {
		b.t = t
		b.open("/")
		e.t = t
		e.reload(pageConfig + "  - {prefix: 203.0.113.0/24, name: SIN-1, nominal_rtt: 4ms}\n")
		b.untilShown(near + " " + far + " 203.0.113.0/24")
		b.untilClass("203.0.113.0/24", 1, pingHalf, "ok")
		b.untilClass(near, 9, pingHalf, "ok")
	})
	b.t = t
	b.quiet()
	t.Run("the connection breaks and comes back", func(t *testing.T) {
		b.t, e.t = t, t
		e.end()
		b.until("the page says so", `document.querySelector("#connection").dataset.state === "reconnecting"`)
		startExporter(t, pageConfig)
		b.live()
		b.untilShown(near + " " + far)
		b.untilClass(near, 9, pingHalf, "ok")
	})
	b.t = t
	b.faithful()
}

// pageNumbers compares the table of numbers with the answers of the API that the page had.
func pageNumbers(t *testing.T, b *browser) {
	eval[any](b, `{
		window.answers = {};
		const ask = window.fetch;
		window.fetch = async (path, ...rest) => {
			const answer = await ask(path, ...rest);
			if (!String(path).includes("events")) {
				answer.clone().json().then((body) => (window.answers[new URL(path, location.origin).pathname] ??= []).push(body), () => {});
			}
			return answer;
		};
		null
	}`)
	b.point(near, 9, pingHalf)
	// All three columns, each in one of the answers that the page had: {number: text}.
	type column map[string]any
	read := `[1, 2, 3].map((i) => Object.fromEntries([...document.querySelectorAll("#inspector tbody tr")].map((row) =>
		[row.dataset.number, row.cells[i]?.dataset.value])))`
	until(t, "the numbers of the address, its prefix and everything", func() string {
		if ip := eval[string](b, `document.querySelector("#inspector").dataset.ip + " " + document.querySelector("#inspector").dataset.probe`); ip != "192.0.2.9 icmp/0" {
			return "they are of " + ip
		}
		shown := eval[[]column](b, read)
		numbers := func(path, pick string) []column {
			return eval[[]column](b, fmt.Sprintf(`(window.answers[%q] ?? []).map((a) => {
				const n = (%s).probes.find((p) => p.probe === "icmp").numbers;
				return Object.fromEntries(["samples", "last_seconds", "min_seconds", "mean_seconds", "max_seconds", "variation_seconds",
					"mean_deviation_seconds", "loss_ratio", "error"].map((k) => [k, String(n[k] ?? "")]));
			})`, path, pick))
		}
		for i, told := range [][]column{
			numbers("/api/v1/ips/192.0.2.9", "a"),
			numbers("/api/v1/prefixes", `a.prefixes.find((p) => p.prefix === "192.0.2.0/24")`),
			numbers("/api/v1/summary", "a"),
		} {
			if !slices.ContainsFunc(told, func(c column) bool { return cmp.Equal(c, shown[i]) }) {
				return fmt.Sprintf("column %d: %v is in none of %d answers", i, shown[i], len(told))
			}
		}
		if len(shown[0]) != 9 || shown[0]["samples"] == "0" || shown[0]["mean_seconds"] == "" {
			return fmt.Sprintf("too little: %v", shown[0])
		}
		return ""
	})
	// And what the page had is what others have: the minimum of an address does not rise.
	var api struct {
		Probes []struct {
			Numbers struct {
				Min     float64 `json:"min_seconds"`
				Samples int
			}
		}
	}
	body, _ := (&exporter{process: &process{t: t}}).get("/api/v1/ips/192.0.2.9", "application/json")
	if err := json.Unmarshal([]byte(body), &api); err != nil {
		t.Fatal(err)
	}
	shown := eval[[]float64](b, `["samples", "min_seconds"].map((k) => Number(document.querySelector("#inspector tr[data-number=" + k + "] td").dataset.value))`)
	// The lab takes 4 ms; a code is exact to 0.014 %.
	if n := api.Probes[0].Numbers; float64(n.Samples) < shown[0] || n.Min > shown[1] || shown[1] < 0.0039 {
		t.Errorf("shown are %v samples and a minimum of %v s, the API has %d and %v s", shown[0], shown[1], n.Samples, n.Min)
	}
}

// pageKeyboard walks through the page without a pointer.
func pageKeyboard(t *testing.T, b *browser) {
	b.open("/")
	b.untilClass(near, 0, pingHalf, "ok")
	eval[any](b, `{ document.querySelector('#wall canvas[tabindex="0"]').focus(); null }`)
	b.press(kb.ArrowRight, kb.ArrowDown)
	b.until("the address is announced", `document.querySelector("#announcer").textContent.startsWith("192.0.2.17: ping ")`)
	b.until("the block can be read as a table", `document.querySelectorAll("#table-view tbody tr").length === 256 &&
		document.querySelector('#table-view tr[data-ip="192.0.2.17"] td[data-probe="icmp/0"]').textContent.startsWith("up ")`)
	b.press(kb.Enter)
	b.until("Enter opens the address", `location.pathname === "/ip/192.0.2.17" && document.querySelector("#address h2")?.textContent === "192.0.2.17"`)
	b.press(kb.Escape)
	b.until("Escape goes back", `location.pathname === "/" && document.querySelector("#address").hidden`)
	b.strike("/")
	b.until("a slash goes to the search", `document.activeElement.id === "q"`)
	b.press(strings.Split("router:PA2", "")...)
	b.untilShown(near)
	b.press(kb.Escape)
	b.untilShown(near + " " + far)
	b.press(kb.Escape)
	b.strike("?")
	b.until("the help opens", `document.querySelector("#help").open`)
	b.press(kb.Escape)
	b.until("and closes", `!document.querySelector("#help").open`)
	if t.Failed() {
		t.Log(eval[string](b, "location.href"))
	}
}
