package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"prefix_exporter/lab/netsim"
)

// set chooses what one of the controls offers.
func (b *browser) set(control, value string) {
	b.t.Helper()
	eval[any](b, fmt.Sprintf(`{ const e = document.querySelector("#%s"); e.value = %q; e.dispatchEvent(new Event("change", { bubbles: true })); null }`, control, value))
}

// pageOrder pins and sorts.
func pageOrder(t *testing.T, b *browser) {
	b.open("/")
	b.untilClass(far, 9, pingHalf, "slow3")
	b.set("sort", "worst")
	b.untilShown(far + " " + near) // all of far is far above its reference
	b.set("sort", "given")
	b.untilShown(near + " " + far)
	eval[any](b, `{ document.querySelector('#wall canvas[tabindex="0"]').focus(); null }`)
	b.press(kb.PageDown)
	b.strike("p")
	b.untilShown(far + " " + near)
	b.set("sort", "prefix")
	b.open(eval[string](b, "location.pathname + location.search"))
	b.untilShown(far + " " + near) // the link has the pin
	eval[any](b, `{ document.querySelector('#wall canvas[tabindex="0"]').focus(); null }`)
	b.until("the first block has the keyboard", `document.activeElement.closest(".block")?.dataset.prefix === "198.51.100.0/24"`)
	b.strike("p")
	b.untilShown(near + " " + far)
}

// pageReferences makes an address slower and compares it with everything that it can be
// compared with: the cell has the colour that follows from the numbers of the API.
func pageReferences(t *testing.T, b *browser, lab *netsim.Lab) {
	const place, ip = 40, "192.0.2.40"
	b.open("/")
	b.untilClass(near, place, pingHalf, "ok")
	setRule(t, lab, netsim.Rule{
		Prefixes: []netip.Prefix{netip.MustParsePrefix(ip + "/32")}, Delay: &netsim.Delay{Constant: 100 * time.Millisecond},
	})
	b.untilClass(near, place, pingHalf, "red") // 100 ms against 4 ms
	told := `(async () => {
		const one = await (await fetch("/api/v1/ips/192.0.2.40")).json();
		const n = one.probes[0].numbers;
		const rtts = one.probes[0].seconds.rtt_seconds.filter((v) => v !== null);
		const x = {
			nominal: n.last_seconds / one.nominal_rtt_seconds, min: n.last_seconds / n.min_seconds, mean: n.last_seconds / n.mean_seconds,
			max: n.last_seconds / n.max_seconds, last: rtts.at(-1) / rtts.at(-2), variation: Math.abs(n.last_seconds - n.mean_seconds) / n.variation_seconds,
		}[%q];
		return ["ok", "slow1", "slow2", "slow3", "red"][[2, 4, 8, 16, Infinity].findIndex((step) => x <= step)];
	})()`
	seen := map[string]bool{}
	for _, reference := range []string{"nominal", "min", "mean", "max", "last", "variation"} {
		b.set("ref", reference)
		until(t, "the colour by the "+reference, func() string {
			// The mean moves on while one looks: it must hold before and after.
			before := eval[string](b, fmt.Sprintf(told, reference))
			got := b.class(near, place, pingHalf)
			if after := eval[string](b, fmt.Sprintf(told, reference)); got != before || got != after {
				return fmt.Sprintf("it is %s, and by the API %s, then %s", got, before, after)
			}
			seen[got] = true
			return ""
		})
		if want := map[string]string{"nominal": "red", "min": "red", "max": "ok", "last": "ok"}[reference]; want != "" {
			b.untilClass(near, place, pingHalf, want)
		}
	}
	if len(seen) < 2 {
		t.Errorf("all references give the same colour: %v", seen)
	}
	setRule(t, lab, netsim.Rule{
		Prefixes: []netip.Prefix{netip.MustParsePrefix(ip + "/32")}, Delay: &netsim.Delay{Constant: 4 * time.Millisecond},
	})
	b.set("ref", "nominal")
	b.untilClass(near, place, pingHalf, "ok")
}

// pageTouch looks at a cell and opens it with a finger.
func pageTouch(t *testing.T, b *browser) {
	touch := func(on bool) {
		if _, err := chromedp.Call(b.ctx, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: on}); err != nil {
			t.Fatal(err)
		}
	}
	touch(true)
	defer touch(false)
	b.open("/")
	b.untilClass(near, 9, pingHalf, "ok")
	tap := func() {
		at := eval[[]float64](b, `(() => {
			const box = document.querySelector('[data-prefix="192.0.2.0/24"] canvas').getBoundingClientRect();
			return [box.left + box.width / 16 * 9.25, box.top + box.height / 32];
		})()`)
		for _, e := range []input.DispatchTouchEventParams{
			{Type: input.DispatchTouchEventTypeTouchStart, TouchPoints: []*input.TouchPoint{{X: at[0], Y: at[1]}}},
			{Type: input.DispatchTouchEventTypeTouchEnd, TouchPoints: []*input.TouchPoint{}},
		} {
			if _, err := chromedp.Call(b.ctx, input.DispatchTouchEvent, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	tap()
	b.until("the first touch shows the numbers", `document.querySelector("#inspector").classList.contains("sheet") && document.querySelector("#inspector").dataset.ip === "192.0.2.9"`)
	if path := eval[string](b, "location.pathname"); path != "/" {
		t.Errorf("the first touch led to %s", path)
	}
	tap()
	b.until("the second touch opens the address", `location.pathname === "/ip/192.0.2.9"`)
}

// spy notes the WebSockets of a page, and the type and second of what they bring. What is pushed
// to window.changes changes the next second before the page has it.
const spy = `
	window.sockets = [];
	window.messages = [];
	window.changes = [];
	window.WebSocket = class extends WebSocket {
		constructor(...args) {
			super(...args);
			window.sockets.push(this);
			this.addEventListener("message", ({ data }) => {
				const view = new DataView(data);
				window.messages.push([view.getUint8(4), Number(view.getBigUint64(8, true))]);
				if (view.getUint8(4) === 3) {
					window.changes.shift()?.(view);
				}
			});
		}
	};`

// pageResumes breaks the connection of a page while the exporter goes on: no second is
// missing, and nothing begins anew. Then it is told that it was too slow.
func pageResumes(t *testing.T, b *browser) {
	script, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: spy})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_, err := chromedp.Call(b.ctx, page.RemoveScriptToEvaluateOnNewDocument, page.RemoveScriptToEvaluateOnNewDocumentParams(script))
		if err != nil {
			t.Error(err)
		}
	}()
	b.open("/")
	b.until("there are some seconds", `messages.length > 4`)
	b.until("the graph has the minute before the page", `Number(document.querySelector('#trends [data-probe="icmp/0"]').dataset.seconds) > messages.length + 10`)
	eval[any](b, `{ sockets[0].close(); null }`)
	b.until("the page has connected again", `sockets.length === 2 && messages.length > 9`)
	if url := eval[string](b, `sockets[1].url`); !strings.Contains(url, "?after=") {
		t.Errorf("it asked for %s", url)
	}
	types, seconds := []int{}, []int{}
	for _, m := range eval[[][]int](b, "messages") {
		if m[0] != 1 {
			types, seconds = append(types, m[0]), append(seconds, m[1])
		}
	}
	if types[0] != 2 || slices.Contains(types[1:], 2) {
		t.Errorf("types of messages are %v: must be one full frame, and seconds", types)
	}
	for i := 1; i < len(seconds); i++ {
		if seconds[i] != seconds[i-1]+1 {
			t.Errorf("second %d follows %d", seconds[i], seconds[i-1])
		}
	}
	b.until("nothing was skipped", `!document.querySelector("#connection-text").textContent.includes("skipped")`)
	// A frame that says so, as the one after a pause of four seconds.
	eval[any](b, `{ changes.push((view) => { view.setUint8(5, 1); view.setBigUint64(8, view.getBigUint64(8, true) + 4n, true); }); null }`)
	b.until("the page says that it was too slow", `document.querySelector("#connection-text").textContent.endsWith("4 s skipped")`)
}
