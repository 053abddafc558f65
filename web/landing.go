package web

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"net/netip"
	"time"

	"github.com/go-kit/log/level"

	"prefix_exporter/prefix"
)

var (
	//go:embed landing.html
	landingHTML string
	//go:embed landing.css
	landingCSS []byte
)

// landing is the page at /: what is probed, how it is, and where to look further.
type landing struct {
	Options
	page *template.Template
}

// landingData is what the template shows.
type landingData struct {
	Version       string
	TelemetryPath string
	Ready         bool
	Troubles      []landingTrouble
	Prefixes      int
	Rows          []landingRow
	Total         landingRow
}

type landingTrouble struct {
	Reason, Detail, Ago string
}

// landingRow counts the addresses of one prefix under one probe.
type landingRow struct {
	Prefix         netip.Prefix
	Name, Router   string
	Probe          string
	Port           uint16
	Up, Down, Dark int
}

// Targets is how many addresses the row counts.
func (r landingRow) Targets() int { return r.Up + r.Down + r.Dark }

func newLanding(o Options) *landing {
	return &landing{Options: o, page: template.Must(template.New("landing").Parse(landingHTML))}
}

// ServeHTTP shows the page as of now.
func (l *landing) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	var page bytes.Buffer
	if err := l.page.Execute(&page, l.data(time.Now())); err != nil {
		level.Error(l.Logger).Log("msg", "Cannot make the landing page", "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(page.Bytes()) // a client that has gone is no error
}

func (l *landing) data(now time.Time) landingData {
	d := landingData{Version: l.Version, TelemetryPath: l.TelemetryPath, Ready: l.Prober.Ready()}
	for _, t := range l.Prober.Troubles() {
		d.Troubles = append(d.Troubles, landingTrouble{t.Reason, t.Detail, now.Sub(t.Last).Round(time.Second).String()})
	}
	prefixes := map[netip.Prefix]bool{}
	var snap prefix.Snapshot
	for _, s := range l.Table.Series() {
		s.Snapshot(&snap)
		row := newRow(s.Prefix(), &snap)
		prefixes[row.Prefix] = true
		d.Rows = append(d.Rows, row)
		d.Total.Up += row.Up
		d.Total.Down += row.Down
		d.Total.Dark += row.Dark
	}
	d.Prefixes = len(prefixes)
	return d
}

func newRow(p netip.Prefix, snap *prefix.Snapshot) landingRow {
	row := landingRow{
		Prefix: p, Name: snap.Info.Name, Router: snap.Info.Router,
		Probe: snap.Probe.Kind.String(), Port: snap.Probe.Port,
	}
	for i := range snap.Slots {
		slot := &snap.Slots[i]
		if !slot.Configured {
			continue
		}
		switch slot.State {
		case prefix.Up:
			row.Up++
		case prefix.Down:
			row.Down++
		case prefix.Dark:
			row.Dark++
		}
	}
	return row
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600") // it changes with the version only
	_, _ = w.Write(landingCSS)
}
