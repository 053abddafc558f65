// Command pictures takes the pictures of the live page that the README and docs/page.md show, of
// an exporter that is running. docs/pictures/make.sh calls it inside the lab.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"prefix_exporter/lab/e2e/chromium"
)

// patience is how long a page may take until it shows what the picture is of.
const patience = 30 * time.Second

// picture is one picture: a path of the page on a screen.
type picture struct {
	name   string
	path   string
	screen chromium.Screen
	// ready is an expression in the page that is true when there is something to see.
	ready string
	// settle is how long the page then runs on, so that its graphs have something to show.
	settle time.Duration
}

// pictures returns all of them, by what the exporter probes: the lively /24s, or forty.
func pictures() map[string][]picture {
	const (
		drawn    = `document.querySelector("#connection").dataset.state === "live"`
		unfolded = `document.querySelector("[data-unfolded] canvas")?.height > 200`
		opened   = `document.querySelector("#address .chart canvas") !== null`
	)
	wide := chromium.Screen{Width: 1280, Height: 720, Scale: 1.5, Dark: true}
	light := wide
	light.Dark = false
	phone := chromium.Screen{Width: 390, Height: 844, Scale: 2, Dark: true, Mobile: true}
	full := chromium.Screen{Width: 1440, Height: 810, Scale: 4. / 3, Dark: true}
	return map[string][]picture{"forty": {{"forty.png", "/", full, drawn, 25 * time.Second}}, "lively": {
		{"page.png", "/", wide, drawn, 25 * time.Second},
		{"page-light.png", "/?sort=worst", light, drawn, 10 * time.Second},
		{"page-phone.png", "/", phone, drawn, 4 * time.Second},
		{"block.png", "/?prefix=203.0.113.0/24&tab=minute", wide, unfolded, 3 * time.Second},
		{"address.png", "/ip/198.51.100.7", chromium.Screen{Width: 1280, Height: 860, Scale: 1.5, Dark: true}, opened, 3 * time.Second},
	}}
}

func main() {
	url := flag.String("url", "http://127.0.0.1:10240", "the exporter")
	dir := flag.String("dir", "docs/pictures", "where the pictures go")
	set := flag.String("set", "lively", "which pictures: lively, forty")
	flag.Parse()
	if err := run(*url, *dir, *set); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func run(url, dir, set string) (err error) {
	wanted, ok := pictures()[set]
	if !ok {
		return fmt.Errorf("set %q: must be lively or forty", set)
	}
	profile, err := os.MkdirTemp("", "pictures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	ctx, stop, err := chromium.Start(context.Background(), profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, p := range wanted {
		if err := p.take(ctx, url, dir); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// take takes the picture and writes it.
func (p *picture) take(ctx context.Context, url, dir string) error {
	if err := chromium.Show(ctx, p.screen); err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(url+p.path)); err != nil {
		return err
	}
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](p.ready, chromedp.WithPollingTimeout(patience))); err != nil {
		return fmt.Errorf("waiting for %s: %w", p.ready, err)
	}
	time.Sleep(p.settle)
	shot, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, p.name), shot.Data, 0o644)
}
