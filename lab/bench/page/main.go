// Command page measures what the live page of a running exporter costs a browser: how long until
// the first picture, how much of a core the main thread takes, and how much memory. docs/page.md says
// how to run it against any number of addresses.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"

	"prefix_exporter/lab/e2e/chromium"
)

// patience is how long the first picture may take before it is given up.
const patience = 60 * time.Second

// warmup is how long the page runs before it is measured: the first seconds load and compile.
const warmup = 5 * time.Second

// drawn is true as soon as a cell has the colour of a result. It is asked once for each frame of the screen.
const drawn = `(() => {
	const canvas = document.querySelector("#wall canvas");
	if (!canvas?.width) return false;
	const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
	return data.some((v) => v > 0) && performance.now();
})()`

func main() {
	url := flag.String("url", "http://127.0.0.1:10240/", "the page")
	length := flag.Duration("for", 15*time.Second, "how long is measured, 1s to 10m")
	flag.Parse()
	if *length < time.Second || *length > 10*time.Minute {
		fmt.Fprintf(os.Stderr, "page: --for %v: must be between 1s and 10m\n", *length)
		os.Exit(2)
	}
	if err := run(*url, *length); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func run(url string, length time.Duration) (err error) {
	profile, err := os.MkdirTemp("", "page-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	ctx, stop, err := chromium.Start(context.Background(), profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := chromium.Show(ctx, chromium.Screen{Width: 1920, Height: 1080, Scale: 1, Dark: true}); err != nil {
		return err
	}
	if _, err := chromedp.Call(ctx, performance.Enable, performance.EnableParams{}); err != nil {
		return err
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		return err
	}
	first, err := chromedp.Run(ctx, chromedp.Poll[float64](drawn, chromedp.WithPollingTimeout(patience)))
	if err != nil {
		return fmt.Errorf("no picture within %v: %w", patience, err)
	}
	time.Sleep(warmup)
	before, err := metrics(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	time.Sleep(length)
	after, err := metrics(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	share := func(name string) float64 { return 100 * (after[name] - before[name]) / took }
	state, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector("#connection").dataset.state + ", " + document.querySelector("#totals").textContent`))
	if err != nil {
		return err
	}
	fmt.Printf("first picture after %.0f ms\n", first)
	fmt.Printf("main thread %.1f %% of a core over %.0f s: script %.1f %%, style and layout %.1f %%\n",
		share("TaskDuration"), took, share("ScriptDuration"), share("LayoutDuration")+share("RecalcStyleDuration"))
	fmt.Printf("JavaScript heap %.1f MB\n", after["JSHeapUsedSize"]/1e6)
	fmt.Printf("at the end: %s\n", state)
	return nil
}

// metrics returns what Chromium has counted so far, times in seconds.
func metrics(ctx context.Context) (map[string]float64, error) {
	result, err := chromedp.Call(ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for _, m := range result.Metrics {
		all[m.Name] = m.Value
	}
	return all, nil
}
