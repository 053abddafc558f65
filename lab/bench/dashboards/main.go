// Command dashboards measures what the queries of the Grafana dashboards cost. It fills
// a Prometheus of its own with what an exporter of 10,240 addresses, and the shipped
// rules, would have written in three hours, runs each query as Grafana would, and prints
// the slowest ones in Markdown.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"prefix_exporter/dashboards"
)

type options struct {
	world  world
	runs   int
	bar    time.Duration
	show   int
	choice bool
	only   string
}

func main() {
	var o options
	app := kingpin.New("dashboards", "Measure the queries of the Grafana dashboards against a Prometheus that is filled for it.")
	app.HelpFlag.Short('h')
	app.Flag("prefixes", "How many /24s.").Default("40").IntVar(&o.world.prefixes)
	app.Flag("known", "Of the 256 addresses of each, how many answer.").Default("164").IntVar(&o.world.known)
	app.Flag("span", "How long the exporter has been running; also the time range of each dashboard.").Default("3h").DurationVar(&o.world.span)
	app.Flag("scrape", "The scrape interval.").Default("15s").DurationVar(&o.world.scrape)
	app.Flag("ports", "Also the series of so many TCP ports.").Default("2").IntVar(&o.world.ports)
	app.Flag("runs", "How often each query is run; the fastest counts.").Default("3").IntVar(&o.runs)
	app.Flag("bar", "What no query may take. Exit status 1 if one does.").Default("250ms").DurationVar(&o.bar)
	app.Flag("show", "How many of the slowest queries are printed.").Default("20").IntVar(&o.show)
	app.Flag("choices", "With every value of every variable, not only the first ones. Default true.").Default("true").BoolVar(&o.choice)
	app.Flag("only", "Only the dashboard with this uid.").StringVar(&o.only)
	kingpin.MustParse(app.Parse(os.Args[1:]))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	p, err := startPrometheus(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	o.world.end = time.Now().Truncate(time.Second)
	begin := time.Now()
	n, err := o.world.write(ctx, p.address)
	if err != nil {
		return fmt.Errorf("filling Prometheus: %w", err)
	}
	fmt.Printf("%d series, %d samples, written in %.0f s.\n\n", n.series, n.samples, time.Since(begin).Seconds())
	all, err := dashboards.Load()
	if err != nil {
		return err
	}
	var costs []cost
	for _, d := range all {
		if o.only != "" && d.UID != o.only {
			continue
		}
		c, err := measure(ctx, p, d, o)
		if err != nil {
			return err
		}
		costs = append(costs, c...)
	}
	return report(os.Stdout, costs, o)
}
