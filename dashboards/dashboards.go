// Package dashboards carries the Grafana dashboards, and does with their queries what
// Grafana does before it sends them, so that tests and benchmarks can run each one.
package dashboards

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
)

//go:embed *.json
var files embed.FS

// Dashboard is one file, as far as queries, links and places are concerned.
type Dashboard struct {
	File          string `json:"-"`
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Time          struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"time"`
	Links      []Link `json:"links"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []Annotation `json:"list"`
	} `json:"annotations"`
	Panels []Panel `json:"panels"`
}

// Link leads to another dashboard.
type Link struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// DataSource names where a query goes.
type DataSource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is one picture, or a row that holds some.
type Panel struct {
	ID          int         `json:"id"`
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	GridPos     Place       `json:"gridPos"`
	DataSource  *DataSource `json:"datasource"`
	// Interval is the least step between two columns, MaxDataPoints how many columns
	// there may be; 0: as many as the panel has pixels. TimeFrom replaces the time
	// range of the dashboard by the last so many minutes.
	Interval      string `json:"interval"`
	MaxDataPoints int    `json:"maxDataPoints"`
	TimeFrom      string `json:"timeFrom"`
	Repeat        string `json:"repeat"`
	Links         []Link `json:"links"`
	Targets       []Target
	FieldConfig   json.RawMessage `json:"fieldConfig"`
	Options       json.RawMessage `json:"options"`
	// Transformations make of the answers what a table shows.
	Transformations []struct {
		ID      string          `json:"id"`
		Options json.RawMessage `json:"options"`
	} `json:"transformations"`
	Panels []Panel `json:"panels"` // of a collapsed row
}

// Place is where a panel is, in 24 columns and rows of 38 pixels.
type Place struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

// Target is one query of a panel.
type Target struct {
	RefID      string      `json:"refId"`
	DataSource *DataSource `json:"datasource"`
	Expr       string      `json:"expr"`
	Instant    bool        `json:"instant"`
	Range      bool        `json:"range"`
	Interval   string      `json:"interval"` // the least step, as Panel.Interval, but may be a variable
	Legend     string      `json:"legendFormat"`
}

// Annotation is a query whose results are marked in all graphs.
type Annotation struct {
	Name       string          `json:"name"`
	DataSource *DataSource     `json:"datasource"`
	BuiltIn    json.RawMessage `json:"builtIn"` // there: Grafana's own
	Expr       string          `json:"expr"`
	Step       string          `json:"step"`
}

// Load returns all dashboards in the order of their file names.
func Load() ([]Dashboard, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	var all []Dashboard
	for _, name := range names {
		text, err := Text(name)
		if err != nil {
			return nil, err
		}
		d := Dashboard{File: name}
		if err := json.NewDecoder(bytes.NewReader(text)).Decode(&d); err != nil {
			return nil, fmt.Errorf("dashboards/%s: %w", name, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// Text returns one file as it is.
func Text(name string) ([]byte, error) { return files.ReadFile(path.Clean(name)) }

// AllPanels returns the panels in the order of the file, those of collapsed rows
// behind their row.
func (d Dashboard) AllPanels() (all []Panel) {
	for _, p := range d.Panels {
		all = append(all, p)
		all = append(all, p.Panels...)
	}
	return all
}

// Query is one question to Prometheus, before its variables have values.
type Query struct {
	Dashboard string // its UID
	Place     string // the panel or the annotation that asks
	Expr      string
	Legend    string
	Instant   bool
	Repeat    string // the variable whose values the panel is repeated for
	// The rest decides over the step of a range query; see Panel and Target.
	Interval, MinStep, TimeFrom string
	MaxDataPoints               int
}

// String says which query it is, in the words of the dashboard.
func (q Query) String() string { return q.Dashboard + ", " + q.Place }

// Queries returns the queries of all panels and annotations.
func (d Dashboard) Queries() (all []Query) {
	for _, p := range d.AllPanels() {
		for _, t := range p.Targets {
			all = append(all, Query{
				Dashboard: d.UID, Place: fmt.Sprintf("panel %d %q %s", p.ID, p.Title, t.RefID),
				Expr: t.Expr, Legend: t.Legend, Instant: t.Instant, Repeat: p.Repeat,
				Interval: p.Interval, MinStep: t.Interval, TimeFrom: p.TimeFrom, MaxDataPoints: p.MaxDataPoints,
			})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			all = append(all, Query{Dashboard: d.UID, Place: fmt.Sprintf("annotation %q", a.Name), Expr: a.Expr, MinStep: a.Step})
		}
	}
	return all
}
