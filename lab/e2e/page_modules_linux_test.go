package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pageModules tests modules that draw, in the browser that they are for. Those that know no element of the page have unit tests
// of their own (web/jstest).
func pageModules(t *testing.T, b *browser) {
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
		const { CLASSES } = await import("/assets/severity.js");
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
