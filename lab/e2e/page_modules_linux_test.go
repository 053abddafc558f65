package e2e

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pageModules tests modules that know nothing of the page, in the browser that they are for.
func pageModules(t *testing.T, b *browser) {
	t.Run("a search means what docs/page.md says", func(t *testing.T) { b.t = t; pageQueries(t, b) })
	t.Run("every encoding of a frame is read", func(t *testing.T) { b.t = t; pageFrames(t, b) })
	t.Run("a code has the class of the ladder", func(t *testing.T) { b.t = t; pageClasses(t, b) })
	t.Run("a code says how an address is, and what was measured", func(t *testing.T) { b.t = t; pageCodes(t, b) })
	t.Run("a cause is said in plain words", func(t *testing.T) { b.t = t; pageWords(t, b) })
	t.Run("a route says how it ends, and how old it is", func(t *testing.T) { b.t = t; pageRouteStates(t, b) })
	t.Run("a heatmap shows why a minute was lost", func(t *testing.T) { b.t = t; pageHeatmap(t, b) })
	t.Run("every module is announced, so that none waits for another", func(t *testing.T) {
		b.t = t
		late := eval[[]string](b, `(() => {
			const announced = [...document.querySelectorAll("link[rel=modulepreload], script[src]")].map((e) => e.href ?? e.src);
			return performance.getEntriesByType("resource").map((e) => e.name)
				.filter((name) => /\/assets\/\w+\.js$/.test(name) && !announced.includes(name));
		})()`)
		if len(late) > 0 {
			t.Errorf("index.html lacks a modulepreload of %v", late)
		}
	})
}

// pageQueries asks how many addresses of an IPv4 and an IPv6 block a search means.
func pageQueries(t *testing.T, b *browser) {
	const ask = `(async () => {
		const { parseQuery, matchBlock } = await import("/assets/query.js");
		const { Model } = await import("/assets/model.js");
		const model = new Model();
		model.layout({
			revision: 1, scale: { first: 64, min_seconds: 1e-6, ratio: 1.000275 },
			prefixes: [
				{ prefix: "192.0.2.0/24", name: "PAR-1", router: "PA2", tenants: ["team-a"], labels: { site: "paris", Rack: "B7" }, size: 256, places: "0-254", names: { 10: "mail server" } },
				{ prefix: "2001:db8::/120", name: "LAB", router: "NY1", tenants: [], labels: {}, size: 4, places: "1-3", names: {}, ips: ["", "2001:db8::1", "2001:db8::2", "2001:db8::3"] },
			],
			series: [{ prefix: 0, probe: "icmp", port: 0 }, { prefix: 1, probe: "icmp", port: 0 }],
		});
		const { terms, problems } = parseQuery(%q);
		const hits = model.blocks.map((block) => {
			const hit = matchBlock(terms, block);
			return hit === null ? "none" : hit === true ? "all" : String(hit.reduce((a, v) => a + v, 0));
		});
		return [...hits, ...problems].join(", ");
	})()`
	for text, want := range map[string]string{
		"":                    "all, all",
		"par":                 "all, none",
		"mail":                "1, none",
		`"mail server"`:       "1, none",
		`name:"mail s"`:       "1, none",
		"router:ny":           "none, all",
		"-router:ny":          "all, none",
		"tenant:team-a":       "all, none",
		"site:paris":          "all, none",
		"label:site=par":      "all, none",
		"rack:b7":             "all, none",
		"192.0.2.0/25":        "128, none",
		"192.0.2.255":         "none, none", // not configured
		"192.0.0.0/16":        "all, none",
		"2001:db8::2":         "none, 1",
		"2001:db8::2/127":     "none, 2",
		"state:waiting -mail": "254, 3",
		"par 192.0.2.0/30":    "4, none",
		// What every object of the language has is no label and no state.
		"constructor:o": "none, none",
		"state:constructor": "none, none, state:constructor: must be one of up, ok, slow, red, error, lost, down, " +
			"dark, rejected, no_route, unknown, waiting, trouble",
		"state:gone": "none, none, state:gone: must be one of up, ok, slow, red, error, lost, down, " +
			"dark, rejected, no_route, unknown, waiting, trouble",
	} {
		if diff := cmp.Diff(want, eval[string](b, fmt.Sprintf(ask, text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// pageFrames reads a message with a block of each encoding, and messages that are none.
func pageFrames(t *testing.T, b *browser) {
	const ask = `(async () => {
		const { parse, eachCode } = await import("/assets/frame.js");
		const body = [
			1, 0, 1, 0, 2, 0, 7, 0, 8, 1, // series 1, dense: 7, 264
			2, 0, 2, 0, 1, 0, 200, 9, 0,  // series 2, sparse: place 200 is 9
			3, 0, 3, 0, 2, 0, 1, 5, 0, 0, 6, 0, // series 3, runs: two of 5, one of 6
		];
		const message = (change) => {
			const bytes = [0x50, 0x58, 0x46, 1, 3, 2, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, body.length, 0, 0, 0, ...body];
			return Uint8Array.from(change ? change(bytes) ?? bytes : bytes).buffer;
		};
		const read = (buffer) => {
			try {
				const { type, flags, sequence, revision, body } = parse(buffer);
				const codes = [];
				eachCode(body, (...code) => codes.push(code.join(" ")));
				return [type, flags, sequence, revision, ...codes].join(", ");
			} catch (error) {
				return error.message;
			}
		};
		return [
			read(message()), read(message((m) => { m[0] = 0; })), read(message((m) => { m[3] = 2; })), read(message((m) => m.slice(0, -1))),
			read(message((m) => { m[26] = 4; })), read(new ArrayBuffer(3)),
		];
	})()`
	want := []string{
		"3, 2, 513, 9, 1 0 7, 1 1 264, 2 200 9, 3 0 5, 3 1 5, 3 2 6",
		"frame: does not begin with PXF",
		"frame: version 2: must be 1; load the page again",
		"frame: body of 30 bytes: must be 31",
		"frame: encoding 4: must be 1, 2 or 3",
		"frame: 3 bytes: must be at least 24",
	}
	if diff := cmp.Diff(want, eval[[]string](b, ask)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// pageClasses asks for the class of results, each against a reference of 10 ms.
func pageClasses(t *testing.T, b *browser) {
	const ask = `(async () => {
		const { Scale, CLASSES } = await import("/assets/ladder.js");
		const scale = new Scale({ first: 64, min_seconds: 1e-6, ratio: Math.pow(2, 26 / 65471) });
		const rtts = [0.001, 0.0199, 0.0201, 0.0399, 0.0401, 0.0799, 0.0801, 0.1599, 0.1601, 60];
		const codes = [0, 1, 2, 4, 6, 17, 18, 22, 32, 33, 34, 38, 48, 49, 54];
		return [...rtts.map((s) => CLASSES[scale.classify(scale.code(s), scale.code(0.01))]),
			...codes.map((code) => CLASSES[scale.classify(code, scale.code(0.01))]),
			CLASSES[scale.classify(scale.code(1), 0)],
			CLASSES[scale.classifyVariation(scale.code(0.013), scale.code(0.01), scale.code(0.001))]];
	})()`
	want := []string{
		"ok", "ok", "slow1", "slow1", "slow2", "slow2", "slow3", "slow3", "red", "red",
		"waiting", "lost", "error", "error", "error", "down", "error", "error", "dark", "dark", "dark", "dark", "unknown", "unknown", "unknown",
		"ok",    // nothing to compare with
		"slow1", // three variations away from the mean
	}
	if diff := cmp.Diff(want, eval[[]string](b, ask)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// pageCodes asks for what codes without an RTT say: the state, the result, whether it is a loss that counts, and whether
// somebody rejects the address.
func pageCodes(t *testing.T, b *browser) {
	const ask = `(async () => {
		const { Scale } = await import("/assets/ladder.js");
		const scale = new Scale({ first: 64, min_seconds: 1e-6, ratio: Math.pow(2, 26 / 65471) });
		return [0, 1, 6, 17, 22, 32, 33, 34, 38, 48, 49, 54, 64].map((code) => [String(code), scale.state(code), scale.result(code)?.cause ?? scale.result(code)?.rtt ?? "-",
			scale.counts(code) ? "counts" : "", scale.rejected(code) ? "rejected" : ""].filter(Boolean).join(" "));
	})()`
	want := []string{
		"0 waiting -", "1 up timeout counts", "6 up no_route counts", "17 down timeout counts", "22 down no_route counts",
		"32 dark -", "33 dark timeout", "34 dark unreachable rejected", "38 dark no_route rejected",
		"48 unknown -", "49 unknown timeout counts", "54 unknown no_route counts", "64 up 0.000001",
	}
	if diff := cmp.Diff(want, eval[[]string](b, ask)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// pageWords puts answers of the API into words.
func pageWords(t *testing.T, b *browser) {
	const ask = `(async () => {
		const { explain, largest, because, obstacle } = await import("/assets/words.js");
		const { age } = await import("/assets/format.js");
		const one = (state, cause = "", by = null, name = "", leftOut = false) => explain({ state, cause, by, obstacle: name, left_out: leftOut }, "192.0.2.7");
		const router = "198.51.100.1";
		const cause = (count, detail, by = null) => ({ reason: "unreachable", detail, by, count });
		return [
			one("up"), one("up", "timeout"), one("up", "", null, "ENOBUFS"), one("down", "timeout"), one("down", "net unreachable", router),
			one("down", "host prohibited", "192.0.2.7"), one("dark"), one("dark", "timeout"), one("dark", "administratively prohibited", router),
			one("unknown", "", null, "interface_absent"), one("unknown", "", null, "no_result"), one("dark", "", null, "", true),
			...largest({ causes: { down: [cause(1250, "net unreachable", router), cause(2, "timeout"), cause(1, "TTL exceeded", router)], rejected: [cause(3, "connection refused")], unknown: [{ reason: "ENODEV", count: 7 }] } }).map((l) => l.kind + ": " + l.text),
			because({ type: "up", detail: "answered" }), because({ type: "down", detail: "timeout", cause: "timeout" }),
			because({ type: "down", detail: "no_route", cause: "no route from the prober" }), because({ type: "down", detail: "unreachable", cause: "net unreachable", by: router }),
			because({ type: "down", detail: "ttl_exceeded" }), because({ type: "unknown" }), because({ type: "unknown", detail: "offline" }), because({ type: "route", detail: "hop 3 is new" }),
			obstacle("something_new"), age(1000, 1009), age(1000, 1010), age(null, 1010),
		];
	})()`
	want := []string{
		"up", "up, the newest probe was lost: timeout", "up, not measured now: cannot be sent (ENOBUFS)", "down: timeout", "down: net unreachable, says 198.51.100.1",
		"down: host prohibited, says the address itself", "dark", "dark", "dark: rejected: administratively prohibited, says 198.51.100.1",
		"unknown: interface absent", "unknown: no result yet", "left out: broadcast address",
		"down: 1\u202f250 down: net unreachable, says 198.51.100.1; 3 for other reasons", "unknown: 7 unknown: cannot be sent (ENODEV)", "rejected: 3 dark, rejected: connection refused",
		"", "", "no route from the prober", "net unreachable, says 198.51.100.1", "TTL exceeded", "", "the prober is offline", "hop 3 is new",
		"something new", "", "10 s ago", "",
	}
	if diff := cmp.Diff(want, eval[[]string](b, ask)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// pageRouteStates shows routes of which nothing new is known.
func pageRouteStates(t *testing.T, b *browser) {
	const ask = `(async () => {
		const { routeSection } = await import("/assets/routes.js");
		const ago = (seconds) => new Date(Date.now() - 1000 * seconds).toISOString();
		const route = { ip: "192.0.2.7", protocol: "icmp", port: 0, hops: [], changes: [] };
		return [
			{ ...route, status: "reached", last: ago(20) }, { ...route, status: "reached", stale: true, last: ago(600) },
			{ ...route, status: "no_route", status_detail: "no route from the prober", last: ago(20) }, { ...route, status: "pending", stale: true, last: null },
		].map((r) => {
			const section = routeSection([r]);
			return [section.querySelector("h3 small").textContent, section.querySelector(".doubt")?.textContent, section.querySelector(".stale") && "faded"].filter(Boolean).join(" | ");
		});
	})()`
	want := []string{
		"to 192.0.2.7 · by ping · reached · traced 20 s ago",
		"to 192.0.2.7 · by ping · reached | Nothing has been traced for a while: this is the path of 10 min ago. | faded",
		"to 192.0.2.7 · by ping · no route from the prober · traced 20 s ago",
		"to 192.0.2.7 · by ping · pending | Nothing has been traced yet. | faded",
	}
	if diff := cmp.Diff(want, eval[[]string](b, ask)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// pageHeatmap draws minutes of one address, and reads the colours at the left and at the right of each.
func pageHeatmap(t *testing.T, b *browser) {
	const ask = `(async () => {
		const { Heatmap } = await import("/assets/heatmap.js");
		const { Model } = await import("/assets/model.js");
		const { CLASSES } = await import("/assets/ladder.js");
		const model = new Model();
		model.layout({
			revision: 1, scale: { first: 64, min_seconds: 1e-6, ratio: 1.000275 },
			prefixes: [{ prefix: "192.0.2.0/24", name: "", router: "", tenants: [], labels: {}, size: 2, places: "1", names: {} }],
			series: [{ prefix: 0, probe: "icmp", port: 0 }],
		});
		const minutes = [[null, 1, "timeout"], [null, 1, "unreachable"], [0.01, 0, ""], [0.01, 0.5, "refused"], [0.01, 0.5, "timeout"], [null, null, ""]];
		while (minutes.length < 60) minutes.push([null, null, ""]);
		const canvas = document.createElement("canvas");
		const heatmap = new Heatmap(canvas, model, model.series[0], {
			ips: ["192.0.2.1"], from_unix: 0, step_seconds: 60, rtt_seconds: [minutes.map((m) => m[0])], loss_ratio: [minutes.map((m) => m[1])], error: [minutes.map((m) => m[2])],
		});
		const width = 510; // eight pixels for a minute
		const palette = { classes: CLASSES.map((_, i) => "rgb(" + 20 * i + ", 0, 1)"), quiet: "white" };
		heatmap.draw(width, palette);
		const context = canvas.getContext("2d");
		const at = (x) => {
			const [red, , blue] = context.getImageData(Math.round(x * devicePixelRatio), 2, 1, 1).data;
			return blue ? CLASSES[red / 20] : "";
		};
		const read = (i) => at(30 + 8 * i + 1) + " " + at(30 + 8 * i + 6) + " " + heatmap.at(30 + 8 * i + 1, 2).text.split(": ")[1];
		const known = minutes.slice(0, 6).map((_, i) => read(i));
		model.series[0].classes[1] = CLASSES.indexOf("unknown");
		heatmap.draw(width, palette);
		return [...known, read(4), read(5)];
	})()`
	want := []string{
		"down down no answer", "error error no answer (unreachable)", "ok ok 10.0 ms", "ok error 10.0 ms, 50.0 % lost (refused)",
		"ok lost 10.0 ms, 50.0 % lost", "  no probe",
		"ok lost 10.0 ms, 50.0 % lost", "unknown unknown unknown", // once nothing is known any more
	}
	if diff := cmp.Diff(want, eval[[]string](b, ask)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
