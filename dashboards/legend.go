package dashboards

import (
	"regexp"
	"strings"
)

// placeholder is a label in a legend: {{name}}.
var placeholder = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// LegendText returns what a legend calls a series, as Grafana writes it: a label that the series does
// not have is nothing. Where nothing at all remains Grafana writes the labels down instead.
func LegendText(legend string, labels map[string]string) string {
	return strings.TrimSpace(placeholder.ReplaceAllStringFunc(legend, func(s string) string {
		return labels[placeholder.FindStringSubmatch(s)[1]]
	}))
}
