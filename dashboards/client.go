package dashboards

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Client asks a Prometheus what Grafana would ask it for a dashboard.
type Client struct {
	API v1.API
	// From and To are the time range of the dashboard, Scrape the scrape interval that
	// the data source was told.
	From, To time.Time
	Scrape   time.Duration
}

// Choice is a value for each variable of a dashboard. About says what is special about it.
type Choice struct {
	About  string
	Values map[string]Value
}

// Choices returns what users can choose: first what Grafana chooses at first, then each
// other value of each variable, one at a time, with the variables behind it asked again. Those
// that have values only then, as the port has with TCP, are gone through as well.
func (c Client) Choices(ctx context.Context, d Dashboard) ([]Choice, error) {
	first, options, err := c.choose(ctx, d, nil)
	if err != nil {
		return nil, err
	}
	choices := []Choice{{About: "at first", Values: first}}
	for _, v := range d.Templating.List {
		for _, o := range options[v.Name] {
			chosen := map[string]Option{v.Name: o}
			values, now, err := c.choose(ctx, d, chosen)
			if err != nil {
				return nil, err
			}
			about := v.Name + "=" + o.Value
			choices = append(choices, Choice{About: about, Values: values})
			for _, u := range d.Templating.List {
				if len(options[u.Name]) > 0 || len(now[u.Name]) < 2 {
					continue
				}
				for _, p := range now[u.Name][1:] {
					chosen[u.Name] = p
					values, _, err := c.choose(ctx, d, chosen)
					if err != nil {
						return nil, err
					}
					choices = append(choices, Choice{About: about + ", " + u.Name + "=" + p.Value, Values: values})
				}
				delete(chosen, u.Name)
			}
		}
	}
	return choices, nil
}

// choose chooses these options, of other variables All where that can be, or the first one.
func (c Client) choose(ctx context.Context, d Dashboard, chosen map[string]Option) (map[string]Value, map[string][]Option, error) {
	values := map[string]Value{}
	all := map[string][]Option{}
	for _, v := range d.Templating.List {
		options, err := c.options(ctx, v, values)
		if err != nil {
			return nil, nil, fmt.Errorf("%s, variable %s: %w", d.UID, v.Name, err)
		}
		all[v.Name] = options
		o, isChosen := chosen[v.Name]
		switch {
		case isChosen:
			values[v.Name] = v.Choose(o)
		case v.IncludeAll:
			values[v.Name] = v.ChooseAll(options)
		case len(options) == 0: // Grafana writes nothing
			values[v.Name] = v.Choose(Option{})
		default:
			values[v.Name] = v.Choose(options[0])
		}
	}
	return values, all, nil
}

// options returns what can be chosen for a variable.
func (c Client) options(ctx context.Context, v Variable, values map[string]Value) ([]Option, error) {
	switch v.Type {
	case "datasource":
		return []Option{{Text: "Prometheus", Value: "prometheus"}}, nil
	case "custom":
		return v.Options, nil
	}
	span := Window{Range: c.To.Sub(c.From), Step: c.Scrape, Rate: 4 * c.Scrape}.Values()
	maps.Copy(span, values)
	query, err := Interpolate(v.Query(), span)
	if err != nil {
		return nil, err
	}
	raw, err := c.raw(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	options, err := v.Pick(raw)
	slices.SortFunc(options, func(a, b Option) int {
		m, errM := strconv.Atoi(a.Text)
		n, errN := strconv.Atoi(b.Text)
		if v.Sort == numerical && errM == nil && errN == nil {
			return m - n
		}
		return strings.Compare(a.Text, b.Text)
	})
	return options, err
}

// raw asks label_values or query_result.
func (c Client) raw(ctx context.Context, query string) ([]string, error) {
	if selector, label, ok := LabelQuery(query); ok {
		found, _, _, err := c.API.LabelValues(ctx, label, []string{selector}, c.From, c.To)
		var raw []string
		for _, s := range found {
			raw = append(raw, string(s))
		}
		return raw, err
	}
	expr, ok := ResultQuery(query)
	if !ok {
		return nil, fmt.Errorf("is neither label_values nor query_result")
	}
	answer, _, _, err := c.API.Query(ctx, expr, c.To)
	if err != nil {
		return nil, err
	}
	vector, ok := answer.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("is no vector")
	}
	var raw []string
	for _, s := range vector {
		labels := map[string]string{}
		for l, v := range s.Metric {
			labels[string(l)] = string(v)
		}
		raw = append(raw, ResultText(labels["__name__"], labels, s.Value.String(), s.Timestamp.String()))
	}
	return raw, nil
}

// Prepare puts a choice into a query: what is sent, and over which time.
func (c Client) Prepare(q Query, choice Choice) (expr string, w Window, err error) {
	values := maps.Clone(choice.Values)
	if v, ok := values[q.Repeat]; ok && v.All && len(v.Options) > 0 {
		values[q.Repeat] = Value{Options: v.Options[:1], Regex: true} // the first of the repeated panels
	}
	step, err := Interpolate(q.MinStep, values)
	if err != nil {
		return "", Window{}, err
	}
	q.MinStep = step
	if w, err = q.Window(c.From, c.To, c.Scrape); err != nil {
		return "", Window{}, err
	}
	maps.Copy(values, w.Values())
	expr, err = Interpolate(q.Expr, values)
	return expr, w, err
}

// Run sends a query with a choice, and returns what comes back.
func (c Client) Run(ctx context.Context, q Query, choice Choice) (model.Value, error) {
	expr, w, err := c.Prepare(q, choice)
	if err != nil {
		return nil, err
	}
	var answer model.Value
	var warnings v1.Warnings
	if q.Instant {
		answer, warnings, _, err = c.API.Query(ctx, expr, w.To)
	} else {
		answer, warnings, _, err = c.API.QueryRange(ctx, expr, v1.Range{Start: w.From, End: w.To, Step: w.Step})
	}
	if err == nil && len(warnings) > 0 {
		err = fmt.Errorf("warnings: %s", strings.Join(warnings, "; ")) // Grafana shows them on the panel
	}
	if err != nil {
		return nil, fmt.Errorf("%v, %s: %w\n%s", q, choice.About, err, expr)
	}
	return answer, nil
}

// Samples counts the values of an answer that can be drawn: all but NaN.
func Samples(answer model.Value) (n int) {
	count := func(v model.SampleValue) {
		if !math.IsNaN(float64(v)) {
			n++
		}
	}
	switch a := answer.(type) {
	case model.Vector:
		for _, s := range a {
			count(s.Value)
		}
	case model.Matrix:
		for _, s := range a {
			for _, p := range s.Values {
				count(p.Value)
			}
		}
	case *model.Scalar:
		count(a.Value)
	}
	return n
}
