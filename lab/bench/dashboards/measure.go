package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"prefix_exporter/dashboards"
)

// cost is what one query takes with one choice of variables.
type cost struct {
	query   dashboards.Query
	about   string
	took    time.Duration // the fastest of all runs
	samples int
	bytes   int64 // of the answer, as JSON
}

// measure runs all queries of a dashboard. Of those that come out the same with two
// choices only the first is run.
func measure(ctx context.Context, p *prometheus, d dashboards.Dashboard, o options) ([]cost, error) {
	c := p.client(o.world)
	choices, err := c.Choices(ctx, d)
	if err != nil {
		return nil, err
	}
	if !o.choice {
		choices = choices[:1]
	}
	choices = slices.DeleteFunc(choices, func(c dashboards.Choice) bool { return more(c, choices[0]) })
	var costs []cost
	seen := map[string]bool{}
	for _, q := range d.Queries() {
		for _, choice := range choices {
			expr, w, err := c.Prepare(q, choice)
			if err != nil {
				return nil, err
			}
			key := fmt.Sprint(expr, w, q.Instant)
			if seen[key] {
				continue
			}
			seen[key] = true
			one := cost{query: q, about: choice.About, took: time.Hour}
			for range o.runs {
				begin, read := time.Now(), p.answers.bytes.Load()
				answer, err := c.Run(ctx, q, choice)
				if err != nil {
					return nil, err
				}
				one.took = min(one.took, time.Since(begin))
				one.samples, one.bytes = dashboards.Samples(answer), p.answers.bytes.Load()-read
			}
			costs = append(costs, one)
		}
	}
	return costs, nil
}

// more says whether a choice is about yet another prefix, address or router: they all
// cost the same.
func more(c, first dashboards.Choice) bool {
	for _, name := range []string{"prefix", "ip", "router", "instance"} {
		if v, ok := c.Values[name]; ok && !v.All && !first.Values[name].All && v.Options[0] != first.Values[name].Options[0] {
			return true
		}
		if v, ok := c.Values[name]; ok && !v.All && first.Values[name].All {
			return true
		}
	}
	return false
}

// report prints the slowest queries, and fails if one is over the bar.
func report(w io.Writer, costs []cost, o options) error {
	slices.SortStableFunc(costs, func(a, b cost) int { return int(b.took - a.took) })
	var sum time.Duration
	over := 0
	for _, c := range costs {
		sum += c.took
		if c.took > o.bar {
			over++
		}
	}
	fmt.Fprintf(w, "%d queries, %.1f s together, over %v of %d addresses.\n\n", len(costs), sum.Seconds(), o.world.span, 256*o.world.prefixes)
	fmt.Fprintf(w, "| query | with | ms | samples | kB |\n|---|---|---|---|---|\n")
	shown := map[string]bool{}
	for _, c := range costs {
		if len(shown) == o.show || shown[c.query.String()] {
			continue // of each query the slowest choice is enough
		}
		shown[c.query.String()] = true
		fmt.Fprintf(w, "| %v | %s | %.0f | %d | %d |\n", c.query, c.about, c.took.Seconds()*1000, c.samples, c.bytes/1000)
	}
	if over > 0 {
		return fmt.Errorf("%d queries took more than %v", over, o.bar)
	}
	return nil
}
