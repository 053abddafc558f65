// Package docs carries the documentation that tests compare the program with.
package docs

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Metrics is metrics.md, the description of all metrics.
//
//go:embed metrics.md
var Metrics string

// Metric is one row of the tables in metrics.md.
type Metric struct {
	Name  string
	Types []string // as in # TYPE; more than one where the configuration decides
	// Labels are the names in the order of the page. More says that the configuration
	// adds others.
	Labels  []string
	More    bool
	Unit    string // empty: none
	Meaning string
}

// ParseMetrics reads the rows of all tables of metrics.md that begin with a column "metric".
func ParseMetrics() ([]Metric, error) {
	var metrics []Metric
	inTable := false
	for line := range strings.Lines(Metrics) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inTable = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == "metric":
			inTable = true
			continue
		case !inTable || strings.HasPrefix(cells[0], "---"):
			continue
		case len(cells) != 5:
			return nil, fmt.Errorf("metrics.md: %q: %d cells: must be metric, type, labels, unit and meaning", line, len(cells))
		}
		m := Metric{
			Name:    strings.Trim(cells[0], "`"),
			Types:   strings.Split(cells[1], " or "),
			Labels:  quoted(cells[2]),
			More:    strings.Contains(cells[2], "…"),
			Unit:    cells[3],
			Meaning: cells[4],
		}
		if slices.ContainsFunc(metrics, func(o Metric) bool { return o.Name == m.Name }) {
			return nil, fmt.Errorf("metrics.md: %s is there twice", m.Name)
		}
		metrics = append(metrics, m)
	}
	return metrics, nil
}

// quoted returns what stands in backticks.
func quoted(s string) (words []string) {
	for i, word := range strings.Split(s, "`") {
		if i%2 == 1 {
			words = append(words, word)
		}
	}
	return words
}

// CompareMetrics compares a scrape with metrics.md. Wrong are families of the exporter's
// own (their names begin with prefix_) that the page does not have, or has with another
// type or without one of the labels. Absent are names on the page that the scrape does
// not have, which may be right: some appear only once something has happened.
func CompareMetrics(families []*dto.MetricFamily) (wrong, absent []string, err error) {
	documented, err := ParseMetrics()
	if err != nil {
		return nil, nil, err
	}
	scraped := map[string]bool{}
	for _, f := range families {
		scraped[f.GetName()] = true
		if !strings.HasPrefix(f.GetName(), "prefix_") {
			continue
		}
		i := slices.IndexFunc(documented, func(m Metric) bool { return m.Name == f.GetName() })
		if i < 0 {
			wrong = append(wrong, f.GetName()+": not documented")
			continue
		}
		wrong = append(wrong, documented[i].compare(f)...)
	}
	for _, m := range documented {
		if !scraped[m.Name] {
			absent = append(absent, m.Name)
		}
	}
	return wrong, absent, nil
}

// compare says what of a family is not as documented.
func (m Metric) compare(f *dto.MetricFamily) (wrong []string) {
	if t := strings.ToLower(f.GetType().String()); !slices.Contains(m.Types, t) {
		wrong = append(wrong, fmt.Sprintf("%s: is a %s, documented as %s", m.Name, t, strings.Join(m.Types, " or ")))
	}
	seen := map[string]bool{}
	for _, metric := range f.Metric {
		for _, l := range metric.Label {
			name := l.GetName()
			if !m.More && !seen[name] && !slices.Contains(m.Labels, name) {
				wrong = append(wrong, fmt.Sprintf("%s: label %s is not documented", m.Name, name))
			}
			seen[name] = true
		}
	}
	for _, name := range m.Labels {
		if !seen[name] && name != "port" { // of tcp only
			wrong = append(wrong, fmt.Sprintf("%s: documented label %s is not there", m.Name, name))
		}
	}
	return wrong
}
