package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"prefix_exporter/lab/e2e/chromium"
	"prefix_exporter/lab/testenv"
)

// browser is a headless Chromium with one page. It notes what it should not: what the
// page complains about, and whom it asks.
type browser struct {
	t      *testing.T
	ctx    context.Context
	origin string // of the exporter, such as http://127.0.0.1:10240

	mu       sync.Mutex
	consoled []string
	asked    []string // URLs
}

// startBrowser starts Chromium in the network of the test, where nothing can be reached but
// the exporter and the lab.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	ctx, stop, err := chromium.Start(context.Background(), t.TempDir())
	if errors.Is(err, exec.ErrNotFound) {
		testenv.Skip(t, "a browser is needed: "+err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, ctx: ctx, origin: "http://" + exporterAddress}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("ending Chromium: %v", err)
		}
	})
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	err = chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.note(&b.asked, e.Request.URL)
		case *network.EventWebSocketCreated:
			b.note(&b.asked, e.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			// That about reading pixels is about this test, which does.
			if m.Type != "info" && m.Type != "log" && m.Type != "debug" && !strings.Contains(m.Text, "willReadFrequently") {
				b.note(&b.consoled, fmt.Sprintf("%s: %s", m.Type, m.Text))
			}
		}
	}()
	return b
}

func (b *browser) note(list *[]string, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*list = append(*list, text)
}

// noted returns a copy of one of the lists.
func (b *browser) noted(list *[]string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), *list...)
}

// open loads a path of the exporter and waits until it is live.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.origin + path))
	b.live()
}

// live waits until the page has frames.
func (b *browser) live() {
	b.t.Helper()
	b.until("the page is live", `document.querySelector("#connection")?.dataset.state === "live" || document.querySelector("#connection-text")?.textContent`)
}

func (b *browser) do(action chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of an expression in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until an expression is true. What it is instead is said if that is in vain.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	until(b.t, what, func() string {
		if got := fmt.Sprint(eval[any](b, expression)); got != "true" {
			return fmt.Sprintf("%s: %s", expression, got)
		}
		return ""
	})
}

// picture takes a picture of the page for somebody to look at: go test -artifacts keeps it.
func (b *browser) picture(name string) {
	b.t.Helper()
	shot, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), shot.Data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// strike sends a key that the page may take for itself. Chromium then makes no character of
// it, as with a real keyboard; press sends the character whatever the page does.
func (b *browser) strike(key string) {
	b.t.Helper()
	for _, typ := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		e := input.DispatchKeyEventParams{Type: typ, Key: key}
		if typ == input.DispatchKeyEventTypeKeyDown {
			e.Text = key
		}
		if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, e); err != nil {
			b.t.Fatal(err)
		}
	}
}

// press sends keys to the page.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

// point moves the pointer to a cell; u says where in it, from 0 at its left edge to 1.
func (b *browser) point(block string, place int, u float64) {
	b.t.Helper()
	at := eval[[]float64](b, fmt.Sprintf(`(() => {
		const box = document.querySelector('[data-prefix=%q] canvas').getBoundingClientRect();
		return [box.left + box.width / 16 * (%d %% 16 + %v), box.top + box.height / 16 * (Math.floor(%[2]d / 16) + 0.5)];
	})()`, block, place, u))
	b.do(chromedp.MouseEvent(chromedp.MouseMoved, at[0], at[1]))
}

// class returns by which name of the style sheet the pixel of a cell is coloured, in the upper third.
func (b *browser) class(block string, place int, u float64) string {
	b.t.Helper()
	return b.classAt(block, place, u, 0.3)
}

// classAt is the same at a height, from 0 at the upper edge of the cell to 1.
func (b *browser) classAt(block string, place int, u, v float64) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf(`(() => {
		const canvas = document.querySelector('[data-prefix=%q] canvas');
		if (!canvas) return "no block";
		const cell = Math.ceil(canvas.width / 16);
		const [r, g, b] = canvas.getContext("2d").getImageData((%d %% 16 + %v) * cell, (Math.floor(%[2]d / 16) + %[4]v) * cell, 1, 1).data;
		const style = getComputedStyle(document.documentElement);
		const hex = "#" + [r, g, b].map((v) => v.toString(16).padStart(2, "0")).join("");
		return ["ok", "slow1", "slow2", "slow3", "red", "lost", "down", "dark", "waiting", "unknown"].find((n) => style.getPropertyValue("--" + n).trim() === hex) ?? hex;
	})()`, block, place, u, v))
}

// untilClass waits for the colour of a part of a cell.
func (b *browser) untilClass(block string, place int, u float64, want string) {
	b.t.Helper()
	until(b.t, fmt.Sprintf("%s place %d is %s", block, place, want), func() string {
		if got := b.class(block, place, u); got != want {
			return "it is " + got
		}
		return ""
	})
}

// quiet checks that nothing has been complained about so far but what a test expects.
func (b *browser) quiet(expected ...string) {
	b.t.Helper()
	for _, text := range b.noted(&b.consoled) {
		if !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(text, e) }) {
			b.t.Errorf("on the console: %s", text)
		}
	}
}

// faithful checks that nobody was asked but the exporter.
func (b *browser) faithful() {
	b.t.Helper()
	asked := b.noted(&b.asked)
	if len(asked) == 0 {
		b.t.Error("no request was seen at all")
	}
	for _, text := range asked {
		u, err := url.Parse(text)
		if err != nil || (u.Host != exporterAddress && u.Scheme != "data") {
			b.t.Errorf("the page asked for %s (%v)", text, err)
		}
	}
}

// search types into the search box.
func (b *browser) search(text string) {
	b.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		b.t.Fatal(err)
	}
	eval[any](b, fmt.Sprintf(`{ const q = document.querySelector("#q"); q.value = %s; q.dispatchEvent(new Event("input")); null }`, quoted))
}

// shown returns the prefixes that can be seen.
func (b *browser) shown() string {
	b.t.Helper()
	return strings.Join(eval[[]string](b, `[...document.querySelectorAll("#wall .block")].filter((e) => !e.hidden).map((e) => e.dataset.prefix)`), " ")
}

// untilShown waits until exactly these prefixes can be seen.
func (b *browser) untilShown(want string) {
	b.t.Helper()
	until(b.t, "the page shows "+want, func() string {
		if got := b.shown(); got != want {
			return "it shows " + got
		}
		return ""
	})
}
