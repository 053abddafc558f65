package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"prefix_exporter/lab/e2e/chromium"
	"prefix_exporter/prefix"
)

// The prefixes of these tests.
const (
	routedOff = "192.0.2.0/24"
	notAsked  = "198.51.100.0/24"
	turnedOff = "203.0.113.0/24"
	noRoute   = "2001:db8:0:10::/64"
)

// stateBlocks are four prefixes, each of which fares in its own way.
func stateBlocks() []prefix.Block {
	v6 := prefix.Block{Prefix: netip.MustParsePrefix(noRoute), Name: "V6-1", NominalRTT: 10 * time.Millisecond}
	for addr := v6.Prefix.Addr().Next(); len(v6.Targets) < 40; addr = addr.Next() {
		v6.Targets = append(v6.Targets, prefix.Target{Addr: addr, Probes: []prefix.TargetProbe{{DownAfter: 3, UpAfter: 1, Interval: time.Second}}})
	}
	return []prefix.Block{played24(routedOff, "PAR-1"), played24(notAsked, "NYC-1"), played24(turnedOff, "SIN-1"), v6}
}

// TestPageSaysWhy has a prefix that a router declares unreachable, one that cannot be asked, one of which half was
// rejected from the start, and one to which there is no route: the page says how each is, why, and who says so.
func TestPageSaysWhy(t *testing.T) {
	p := play(t, stateBlocks(), `{"format":"prefix_exporter known addresses","version":1}
{"ip":"198.51.100.9","probe":"icmp","state":"up","last_answer":1799999990}
`)
	p.fare(routedOff, answers(10*time.Millisecond))
	p.fare(turnedOff, from(128, rejected("203.0.113.1", 13), answers(12*time.Millisecond)))
	p.fare(noRoute, answers(11*time.Millisecond))
	p.leaveOut("203.0.113.255")
	b := startBrowser(t)
	b.open("/")
	b.untilClass(routedOff, 9, pingHalf, "ok")
	t.Run("what an earlier run knew is unknown until it is asked", func(t *testing.T) {
		b.t = t
		b.untilClass(notAsked, 9, pingHalf, "unknown")
	})
	p.fare(notAsked, answers(10*time.Millisecond))
	b.untilClass(notAsked, 9, pingHalf, "ok")
	p.fare(routedOff, rejected("198.51.100.1", 0))
	p.fare(notAsked, unmeasured("interface_absent"))
	p.fare(noRoute, lost(prefix.NoRoute))
	for _, test := range []struct {
		name, block string
		place       int
		class       string
		tip         string
	}{
		{"a router says so", routedOff, 7, "red", "down: net unreachable, says 198.51.100.1"},
		{"nothing can be measured", notAsked, 7, "unknown", "unknown: interface absent"},
		{"rejected from the start", turnedOff, 200, "dark", "dark: rejected: administratively prohibited, says 203.0.113.1"},
		{"left out", turnedOff, 255, "dark", "left out: broadcast address"},
		{"no route", noRoute, 7, "red", "down: no route from the prober"},
	} {
		t.Run("a cell and its tip: "+test.name, func(t *testing.T) {
			b.t = t
			b.untilClass(test.block, test.place, 0.2, test.class)
			b.point(test.block, test.place, pingHalf)
			b.until("the tip says "+test.tip, fmt.Sprintf(`document.querySelector("#tip .why")?.textContent === %q || document.querySelector("#tip").textContent`, test.tip))
			b.until("so do the numbers", fmt.Sprintf(`document.querySelector("#inspector .why")?.textContent === %q || document.querySelector("#inspector").textContent`, test.tip))
		})
	}
	t.Run("the block that is asked for says the largest cause", func(t *testing.T) { b.t = t; stateLinks(b) })
	t.Run("what happens to many at once is one row that says why", func(t *testing.T) { b.t = t; stateEvents(b) })
	t.Run("an address says why, and shows no RTT as of now", func(t *testing.T) { b.t = t; stateAddress(b) })
	t.Run("a search finds states and causes", func(t *testing.T) {
		b.t = t
		b.open("/")
		for text, want := range map[string]string{
			"state:unknown": notAsked, "state:no_route": noRoute, "state:rejected": turnedOff, "state:down": routedOff + " " + noRoute,
		} {
			b.search(text)
			b.untilShown(want)
		}
		b.search("")
	})
	t.Run("the sums and graphs know it", func(t *testing.T) {
		b.t = t
		b.until("the sums", `/ 296 down .* 256 unknown$/.test(document.querySelector("#totals").textContent) || document.querySelector("#totals").textContent`)
		b.until("the graphs", `document.querySelector("#trends .doubt").textContent.startsWith("256 unknown") || document.querySelector("#trends").textContent`)
	})
	b.t = t
	statePictures(b)
	t.Run("it is over when it is measured again", func(t *testing.T) {
		b.t = t
		b.open("/")
		p.fare(notAsked, answers(10*time.Millisecond))
		b.untilClass(notAsked, 7, pingHalf, "ok")
		b.until("nothing is unknown", `document.querySelector("#totals .doubt") === null`)
	})
	b.t = t
	b.quiet()
	b.faithful()
}

// stateLinks opens blocks by links, in the ways in which they may be written.
func stateLinks(b *browser) {
	b.open("/")
	badge := `document.querySelector('[data-prefix="198.51.100.0/24"] .badge').title`
	b.until("the number beside the title says why to those who point at it", `(() => {
		document.querySelector('[data-prefix="198.51.100.0/24"] header').dispatchEvent(new PointerEvent("pointerenter"));
		return `+badge+` === "256 addresses unknown\nping: 256 unknown: interface absent" || `+badge+`;
	})()`)
	for link, want := range map[string]string{
		"/?prefix=192.0.2.0/24":                 routedOff + " ping 256 down: net unreachable, says 198.51.100.1",
		"/?prefix=198.51.100.0%2F24":            notAsked + " ping 256 unknown: interface absent",
		"/?prefix=203.0.113.0/24":               turnedOff + " ping 127 dark, rejected: administratively prohibited, says 203.0.113.1",
		"/?prefix=2001:db8:0:10::/64":           noRoute + " ping 40 down: no route from the prober",
		"/?prefix=2001%3ADB8%3A0%3A10%3A%3A/64": noRoute + " ping 40 down: no route from the prober",
		"/?prefix=2001:db8:0:10:0:0:0:0/64":     noRoute + " ping 40 down: no route from the prober",
	} {
		b.open(link)
		shown := `[document.querySelector("[data-unfolded]")?.dataset.unfolded, ...[...document.querySelectorAll("[data-unfolded] .causes li")].map((e) => e.textContent)].join(" ")`
		b.until(link+" says why", fmt.Sprintf(`%s === %q || %[1]s`, shown, want))
	}
	for link, want := range map[string]string{
		"/?prefix=10.0.0.0/24": "10.0.0.0/24 is not in the configuration: nothing of it is probed.",
		"/?prefix=PAR-1":       `"PAR-1" is no prefix: it must be one such as 192.0.2.0/24.`,
	} {
		b.open(link)
		note := `document.querySelector("main > .note:not([hidden])")?.textContent`
		b.until(link+" says what is wrong", fmt.Sprintf("%s === %q || %[1]s", note, want))
	}
	b.open("/?prefix=192.0.2.0/24&ip=192.0.2.7")
	b.until("a link may have an address as well", `document.querySelector("#address h2")?.textContent === "192.0.2.7"`)
	b.press("\u001b")
	b.until("Escape leads to its block", `document.querySelector("[data-unfolded]")?.dataset.unfolded === "192.0.2.0/24"`)
}

// stateEvents reads the list of events.
func stateEvents(b *browser) {
	b.open("/")
	for typ, want := range map[string]string{
		"unknown": "NYC-1 256 addresses ping interface absent", "down": "PAR-1 256 addresses ping net unreachable, says 198.51.100.1",
	} {
		b.until(want, fmt.Sprintf(`(() => {
			const rows = [...document.querySelectorAll('#event-list [data-type=%q]')].map((e) => e.querySelector(".to").textContent);
			return rows.includes(%q) || rows.join("; ");
		})()`, typ, want))
	}
}

// stateAddress opens addresses.
func stateAddress(b *browser) {
	for ip, want := range map[string]string{
		"192.0.2.7": "ping down: net unreachable, says 198.51.100.1", "198.51.100.7": "ping unknown: interface absent",
		"203.0.113.200": "ping dark: rejected: administratively prohibited, says 203.0.113.1", "2001:db8:0:10::7": "ping down: no route from the prober",
	} {
		b.open("/ip/" + ip)
		b.until(ip+" says "+want, fmt.Sprintf(`document.querySelector("#address .chip")?.textContent === %q || document.querySelector("#address").textContent`, want))
		last := `document.querySelector("#address [data-number=last_seconds]").textContent`
		switch {
		case strings.HasPrefix(want, "ping unknown"), strings.HasPrefix(want, "ping dark"):
			b.until(ip+" has no newest RTT", last+` === "–" || `+last)
		default:
			b.until("the newest RTT of "+ip+" says how old it is", `/^1\d\.\d ms \d+ (s|min) ago$/.test(`+last+`) || `+last)
		}
	}
}

// statePictures takes pictures of all that for somebody to look at.
func statePictures(b *browser) {
	desktop := chromium.Screen{Width: 1440, Height: 900, Scale: 1, Dark: true}
	light := desktop
	light.Dark = false
	for name, shot := range map[string]struct {
		screen chromium.Screen
		path   string
	}{
		"dark": {desktop, "/"}, "light": {light, "/"}, "phone": {phone, "/"}, "safe": {desktop, "/?palette=safe"}, "safe-light": {light, "/?palette=safe"},
		"block-unknown": {desktop, "/?prefix=198.51.100.0/24&tab=minute"}, "block-rejected": {light, "/?prefix=203.0.113.0/24"},
		"block-phone": {phone, "/?prefix=192.0.2.0/24"}, "address-unknown": {desktop, "/ip/198.51.100.7"}, "address-phone": {phone, "/ip/192.0.2.7"},
		"mosaic": {desktop, "/?view=mosaic"}, "strips": {light, "/?view=strips"},
	} {
		b.on(shot.screen)
		b.open(shot.path)
		b.until("the page is drawn", `document.querySelector("#totals .doubt") !== null && document.querySelectorAll("#event-list li").length > 0`)
		b.until("what is asked for is there", `!document.querySelector("#address .note, [data-unfolded] .below:empty, [data-unfolded] .heatmap:empty")`)
		if wide := eval[string](b, overflowing); wide != "" {
			b.t.Errorf("%s is too wide: %s", shot.path, wide)
		}
		b.picture(name)
	}
	b.on(chromium.Screen{Width: 1600, Height: 1000, Scale: 1})
}
