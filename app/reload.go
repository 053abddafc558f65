package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"prefix_exporter/config"
	"prefix_exporter/prefix"
	"prefix_exporter/route"
)

// reloader puts configurations into force, one at a time.
type reloader struct {
	loader       *loader
	optional     bool // the file may be absent as long as it has never been there
	table        *prefix.Table
	routes       *route.Table
	destinations *destinations
	engines      *engines
	logger       log.Logger
	// ending is the context of the whole program: a reload that has begun ends with
	// the program, not with the request that asked for it.
	ending  context.Context
	turn    chan struct{} // holds one token: who has it may apply
	current loaded        // guarded by turn

	successful, since, targets, removed prometheus.Gauge
}

func newReloader(ending context.Context, l *loader, a *app) *reloader {
	re := &reloader{
		loader: l, optional: a.ConfigOptional, table: a.table, routes: a.routes, destinations: a.destinations, engines: a.engines, logger: a.Logger, ending: ending, turn: make(chan struct{}, 1),
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prefix_exporter_config_last_reload_successful",
			Help: "Whether the last attempt to load the configuration succeeded.",
		}),
		since: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prefix_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration that is in force was loaded, as a Unix time.",
		}),
		targets: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prefix_exporter_config_targets",
			Help: "Addresses that the configuration in force says to probe.",
		}),
		removed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "prefix_exporter_config_last_reload_removed_ratio",
			Help: "Share of the addresses probed before that the last successful reload has taken out, 0 to 1.",
		}),
	}
	a.registry.MustRegister(re.successful, re.since, re.targets, re.removed)
	return re
}

// start applies the first configuration, which nothing has to be kept for.
func (r *reloader) start(first loaded) error {
	if first.builtin {
		level.Info(r.logger).Log("msg", "No configuration file, using the built-in configuration", "file", r.loader.file)
	}
	list := r.fill(first.Config)
	if err := r.engines.apply(r.ending, list, nil); err != nil {
		return err
	}
	r.succeed(first, list)
	r.turn <- struct{}{}
	return nil
}

// run reloads whenever asked is written to.
func (r *reloader) run(ctx context.Context, asked <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			_ = r.reload(ctx) // logged and counted there; nobody waits for an answer
		}
	}
}

// reload loads and applies the file. On an error everything is as it was before.
// The context is that of waiting for other reloads to end.
func (r *reloader) reload(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.turn:
	}
	defer func() { r.turn <- struct{}{} }()
	next, list, err := r.replace(r.ending)
	if err != nil {
		r.successful.Set(0)
		all := lines(err)
		for _, one := range all[:min(len(all), maxLogged)] {
			level.Error(r.logger).Log("msg", "Reload failed, the old configuration stays", "err", one)
		}
		if more := len(all) - maxLogged; more > 0 {
			level.Error(r.logger).Log("msg", "Reload failed, further mistakes are not logged: prefix_exporter check shows them", "more", more)
		}
		return err
	}
	r.succeed(next, list)
	return nil
}

// maxLogged is how many mistakes of a file that fails are logged: enough to know which file, and what is the
// matter with it.
const maxLogged = 10

func (r *reloader) succeed(c loaded, list targets) {
	before := r.current.Config
	r.current = c
	r.successful.Set(1)
	r.since.SetToCurrentTime()
	r.targets.Set(float64(len(list.icmp)))
	level.Info(r.logger).Log("msg", "Configuration loaded",
		"file", r.loader.file, "builtin", c.builtin, "blocks", len(c.Blocks), "targets", len(list.icmp), "ports", len(list.tcp), "routes", len(list.trace))
	for _, w := range c.Warnings {
		level.Warn(r.logger).Log("msg", "Configuration warning", "warning", w)
	}
	if before == nil {
		return
	}
	removed, of := config.Removed(before, c.Config)
	share := float64(removed) / float64(max(of, 1))
	r.removed.Set(share)
	if config.Many(removed, of) {
		level.Warn(r.logger).Log("msg", "More than half of the addresses that were probed are not probed any more", "removed", removed, "before", of, "now", len(list.icmp))
	}
}

// replace does the work of a reload. The engines can refuse a configuration (a source
// address that is not there), the table cannot, and neither may forget anything
// because of a file that fails. But the engines need the handles of new addresses,
// which only exist once the table has them, and a table that has let go of an address
// cannot take it back. Hence three steps:
//
//  1. The engines take the new targets, new addresses with the zero Handle: nothing is
//     recorded of them for the instant until step 3, neither sent nor lost. All that
//     can fail fails here, with the table untouched and the engines' old sets whole.
//  2. The table takes the new blocks. It cannot fail.
//  3. The engines take the same targets with their handles, if any have changed: of new
//     addresses, or of IPv6 addresses that are in another block now. They have all they need
//     from step 1, so only the end of the program stops them here.
//
// A union of old and new in the table instead would show addresses at a scrape that
// no valid configuration has asked for, and does not fit into 256 places.
func (r *reloader) replace(ctx context.Context) (next loaded, list targets, err error) {
	// A file that was there once must be there again: to fall back would be to forget every target.
	next, err = r.loader.load(ctx, r.optional && r.current.builtin)
	if err != nil {
		return next, list, err
	}
	back := func() targets { return targetsOf(r.current.Config, r.table) }
	before := targetsOf(next.Config, r.table)
	if err := r.engines.apply(ctx, before, back); err != nil {
		return next, list, err
	}
	list = r.fill(next.Config)
	if slices.Equal(before.icmp, list.icmp) && slices.Equal(before.tcp, list.tcp) {
		return next, list, nil
	}
	if err := r.engines.apply(ctx, list, nil); err != nil {
		return next, list, errors.Join(err, r.restore(ctx))
	}
	return next, list, nil
}

// fill puts a configuration into the tables, which cannot fail, and returns the targets with
// their handles.
func (r *reloader) fill(c *config.Config) targets {
	r.table.Apply(blocksOf(c))
	list := targetsOf(c, r.table)
	r.routes.Apply(specsOf(list.trace))
	r.destinations.apply(list)
	return list
}

// restore goes back to the current configuration after step 3 has failed: addresses
// that were to go away have lost their counters then, all others have not.
func (r *reloader) restore(ctx context.Context) error {
	list := r.fill(r.current.Config)
	if err := r.engines.apply(ctx, list, nil); err != nil {
		return fmt.Errorf("going back to the old configuration: %w", err)
	}
	return nil
}

// lines returns the errors that an error consists of, each on one line.
func lines(err error) (all []error) {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		return many.Unwrap()
	}
	if !strings.Contains(err.Error(), "\n") {
		return []error{err}
	}
	for line := range strings.Lines(err.Error()) {
		all = append(all, errors.New(strings.TrimRight(line, "\n")))
	}
	return all
}
