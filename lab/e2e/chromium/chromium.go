// Package chromium starts a headless Chromium, as Debian and others package it, for tests,
// pictures and measurements of the live page.
package chromium

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Screen is what the page believes to be shown on.
type Screen struct {
	Width, Height int64   // in CSS pixels
	Scale         float64 // device pixels in each of them
	Dark          bool    // what the reader prefers
	Mobile        bool    // a phone, which lays pages out for its own width
}

// Start starts a browser that keeps its files in a folder, and opens an empty page. The context
// that it returns is for chromedp; stop ends the browser and waits for it. The error wraps
// exec.ErrNotFound if there is no Chromium.
func Start(ctx context.Context, dir string) (page context.Context, stop func() error, err error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, nil, fmt.Errorf("chromium: %w", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // which root cannot have
		chromedp.DisableGPU,
		chromedp.WindowSize(1600, 1000),
		chromedp.UserDataDir(dir),
	)
	allocator, endAllocator := chromedp.NewExecAllocator(ctx, options...)
	page, endPage := chromedp.NewContext(allocator)
	stop = func() error {
		err := chromedp.Cancel(page)
		endPage()
		endAllocator()
		return err
	}
	if err := chromedp.Do(page); err != nil {
		_ = stop() // that it did not start is what matters
		return nil, nil, fmt.Errorf("chromium: %w", err)
	}
	return page, stop, nil
}

// Show puts the page on a screen.
func Show(page context.Context, s Screen) error {
	_, err := chromedp.Call(page, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: s.Width, Height: s.Height, DeviceScaleFactor: s.Scale, Mobile: s.Mobile,
	})
	if err != nil {
		return fmt.Errorf("screen: %w", err)
	}
	scheme := "light"
	if s.Dark {
		scheme = "dark"
	}
	_, err = chromedp.Call(page, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		return fmt.Errorf("colour scheme: %w", err)
	}
	return nil
}
