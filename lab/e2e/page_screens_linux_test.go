package e2e

import (
	"fmt"
	"strings"
	"testing"

	"prefix_exporter/lab/e2e/chromium"
)

// Screens that people have.
var (
	phone  = chromium.Screen{Width: 390, Height: 844, Scale: 2, Dark: true, Mobile: true}
	tablet = chromium.Screen{Width: 820, Height: 1180, Scale: 1, Dark: true}
	laptop = chromium.Screen{Width: 1280, Height: 720, Scale: 1}
)

// on puts the page on a screen.
func (b *browser) on(s chromium.Screen) {
	b.t.Helper()
	if err := chromium.Show(b.ctx, s); err != nil {
		b.t.Fatal(err)
	}
}

// overflowing tells what is wider than the screen, without what scrolls by itself.
const overflowing = `(() => {
	const wide = document.documentElement.scrollWidth;
	return wide <= innerWidth ? "" : wide + " px of " + innerWidth + ": " + [...document.querySelectorAll("body *")]
		.filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.tagName + "#" + e.id + "." + e.className).slice(0, 5).join(", ");
})()`

// pageScreens opens every view on a phone, a tablet and a laptop.
func pageScreens(t *testing.T, b *browser) {
	const block, opened = `document.querySelector(".block canvas")?.width > 0`, `document.querySelector("#address .chart canvas") !== null`
	for name, screen := range map[string]chromium.Screen{"a phone": phone, "a tablet": tablet, "a laptop": laptop} {
		b.on(screen)
		for path, ready := range map[string]string{
			"/": block, "/?view=strips": block, "/?view=mosaic": block, "/ip/192.0.2.9": opened,
			"/?prefix=192.0.2.0/24&tab=hour":  `document.querySelector("[data-unfolded] canvas")?.height > 200`,
			"/?prefix=192.0.2.0/24&tab=table": `document.querySelector("[data-unfolded] table") !== null`,
		} {
			b.open(path)
			b.until(path+" is shown on "+name, ready)
			if wide := eval[string](b, overflowing); wide != "" {
				t.Errorf("%s on %s is too wide: %s", path, name, wide)
			}
			// No text lies on a line.
			b.until("the graphs are drawn", `document.querySelector(".trend .chart canvas") !== null`)
			covered := eval[int](b, `[...document.querySelectorAll(".trend")].filter((trend) => {
				const [a, b] = [trend.querySelector("p"), trend.querySelector(".chart canvas")].map((e) => e.getBoundingClientRect());
				return a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
			}).length`)
			if covered > 0 {
				t.Errorf("%s on %s: %d graphs are covered by their text", path, name, covered)
			}
		}
	}
	b.on(chromium.Screen{Width: 1600, Height: 1000, Scale: 1})
}

// TestPageOfFortyPrefixes shows all addresses of forty /24s at one glance.
func TestPageOfFortyPrefixes(t *testing.T) {
	prefixes := largeNetwork()
	startLab(t, fmt.Sprintf("prefixes: [%s]\nrules: [{delay: 2ms}]\n", strings.Join(prefixes, ", ")))
	startExporter(t, "defaults: {tcp: off, trace: off}\nprefixes:\n"+blocks(prefixes...))
	b := startBrowser(t)
	for _, look := range []struct {
		view   string
		screen chromium.Screen
	}{{"strips", tablet}, {"mosaic", laptop}, {"blocks", laptop}} {
		b.on(look.screen)
		b.open("/?view=" + look.view)
		for _, i := range []int{0, large - 1} {
			b.until(prefixes[i]+" is drawn", fmt.Sprintf(`document.querySelector('[data-prefix=%q] canvas')?.width > 0`, prefixes[i]))
		}
		// A machine that is busy has a line about it above the blocks.
		below := eval[int](b, fmt.Sprintf(`[...document.querySelectorAll(".block")].filter((e) => e.getBoundingClientRect().bottom > innerHeight).length
			+ (document.querySelectorAll(".block").length === %d ? 0 : 1000)`, large))
		if below > 0 {
			t.Errorf("%s: %d blocks are not on the screen", look.view, below)
		}
	}
	b.untilClass(prefixes[large-1], 255, 0.5, "ok")
	b.quiet()
}
