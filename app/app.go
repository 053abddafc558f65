// Package app is the whole program without its command line: Options go in, Run
// does everything until its context ends. Nothing is decided here that another
// package could decide; this is where they are put together, started, reloaded and ended.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"prefix_exporter/config"
	"prefix_exporter/event"
	"prefix_exporter/frame"
	"prefix_exporter/prefix"
	"prefix_exporter/probe"
	"prefix_exporter/route"
	"prefix_exporter/web"
)

// The program promises to be gone five seconds after SIGTERM.
const (
	// drainTimeout is what running HTTP requests get: a scrape takes less than a second.
	drainTimeout = 3 * time.Second
	// endTimeout is what everything gets, the file of known addresses excepted, which
	// is written last. Whatever has not ended by then is left behind, and said so.
	endTimeout = 4 * time.Second
)

// Options is what the command line says, and what tests put in its place.
type Options struct {
	// ConfigFile is read at the start and at each reload.
	ConfigFile string
	// ConfigOptional allows ConfigFile to be absent at the start: then the built-in
	// configuration is used.
	ConfigOptional bool
	// StoragePath is a folder for what outlives a restart; empty: nothing is written.
	StoragePath string
	// Engine is auto, batch or pro-bing.
	Engine string
	// TelemetryPath is where the metrics are; empty: /metrics.
	TelemetryPath string
	// EnableLifecycle allows reload and trace over HTTP.
	EnableLifecycle bool
	// AllowedHosts are names by which clients may ask, beside the machine's own.
	AllowedHosts []string
	// Web says where to listen, and with what certificates and users.
	Web *toolkit.FlagConfig
	// LogChanges is how changes of state are logged: none, prefix or address; empty: prefix.
	LogChanges string
	// Logger takes everything that is logged, levels included (see NewLogger).
	Logger log.Logger
	// Reload asks for a reload with each value: SIGHUP. Nil: nobody asks.
	Reload <-chan os.Signal
	// Started is told, if it is not nil, where the program listens, as soon as it does.
	Started func([]net.Addr)
	// NewEngine, NewTCP and NewTrace make the engines; nil: those of package probe.
	NewEngine func(name string, o probe.Options) (probe.Engine, error)
	NewTCP    func(name string, o probe.Options) (probe.TCPEngine, error)
	NewTrace  func(o probe.TraceOptions) (probe.TraceEngine, error)

	load func(context.Context, string) (*config.Config, error) // nil: config.LoadContext; tests let it hang
}

// app is the program between its start and its end.
type app struct {
	Options
	registry     *prometheus.Registry
	events       *event.Log
	pump         *pump
	table        *prefix.Table
	frames       *frame.Recorder
	routes       *route.Table
	destinations *destinations
	health       *probe.Health
	engines      *engines
	reloader     *reloader
	store        *store // nil: nothing is kept
	listeners    []net.Listener
	probing      atomic.Bool
	closers      []func() error
	group        *errgroup.Group
}

// Run is the program. It returns nil when the context has ended and everything has
// been put away, or an error: of the start, config.Errors among them, when not one
// packet has been sent yet, or of a part that failed, which ends all others.
func Run(ctx context.Context, o Options) (err error) {
	a := &app{Options: o}
	defer func() { err = errors.Join(err, a.close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.group, ctx = errgroup.WithContext(ctx)
	if err := a.open(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			level.Info(a.Logger).Log("msg", "Ended before it had started")
			return nil
		}
		for _, one := range lines(err) {
			level.Error(a.Logger).Log("msg", "Cannot start", "err", one)
		}
		return err
	}
	return a.run(ctx)
}

// open does all that can fail, the most likely first, and sends nothing.
func (a *app) open(ctx context.Context) error {
	level.Info(a.Logger).Log("msg", "Starting prefix_exporter", "version", version.Info(), "build", version.BuildContext())
	if a.NewEngine == nil {
		a.NewEngine = probe.New
	}
	if a.NewTCP == nil {
		a.NewTCP = probe.NewTCP
	}
	if a.NewTrace == nil {
		a.NewTrace = probe.NewTrace
	}
	loader := newLoader(a.ConfigFile)
	if a.load != nil {
		loader.read = a.load
	}
	first, err := loader.load(ctx, a.ConfigOptional)
	if err != nil {
		return err
	}
	if err := a.checkWebConfig(ctx); err != nil {
		return err
	}
	if err := a.listen(); err != nil {
		return err
	}
	a.registry = newRegistry()
	a.events = event.New(event.Options{Registerer: a.registry, FirstID: firstEventID(time.Now())})
	a.pump = &pump{log: a.events}
	a.table = prefix.NewTable(a.pump.add)
	a.destinations = newDestinations(a.table, time.Now)
	a.routes = route.NewTable(func(c route.Change) { a.events.Publish(newRouteEvent(c)) })
	if a.StoragePath != "" {
		if err := a.openStore(ctx); err != nil {
			return err
		}
	}
	a.health = probe.NewHealth(time.Now)
	a.registry.MustRegister(a.health)
	a.frames = frame.New(frame.Options{
		Table: a.table, Registerer: a.registry,
		Troubled: a.health.Troubled,
	})
	if err := a.makeEngines(); err != nil {
		return err
	}
	a.pump.follow = (&hurry{table: a.table, trace: a.engines.trace.Hurry}).follow
	a.reloader = newReloader(ctx, loader, a)
	return a.reloader.start(first)
}

func (a *app) makeEngines() error {
	o := probe.Options{Recorder: a.table, Logger: a.Logger, Registerer: a.registry, Health: a.health}
	icmp, err := a.NewEngine(a.Engine, o)
	if err != nil {
		return err
	}
	tcp, err := a.NewTCP(a.Engine, o)
	if err != nil {
		return err
	}
	trace, err := a.NewTrace(probe.TraceOptions{
		Record: a.routes.Record,
		NoRoute: func(k route.Key, dst netip.Addr, at time.Time) {
			a.routes.RecordNoRoute(k, dst, at, a.health.Offline())
		},
		Destination: a.destinations.choose,
		Logger:      a.Logger, Registerer: a.registry, Health: a.health,
	})
	if err != nil {
		return err
	}
	a.engines = &engines{icmp: icmp, tcp: tcp, trace: trace}
	return nil
}

// openStore locks the storage folder and reads it, however long that takes.
func (a *app) openStore(ctx context.Context) error {
	s, err := bounded(ctx, 0, "", func(context.Context) (*store, error) {
		s, err := openStore(a.StoragePath, a.table, a.Logger, a.registry)
		if err != nil {
			return nil, err
		}
		return s, s.restore()
	})
	if s != nil {
		a.store = s
		a.closers = append(a.closers, s.close)
	}
	return err
}

// spare is how many goroutines may run beside those that the processors can: as many as
// scrapes are served at once.
const spare = 4

// sparePlaces lets more goroutines run at once than there are processors (or than the
// container may use), unless the operator has said how many. A probing loop keeps its place
// while it sleeps, and must not be held up where the runtime needs that place: then two
// scrapes on two processors would keep it waiting until one is taken off its own, 10 ms later.
func sparePlaces() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spare)
	}
}

// run owns everything that runs until the context ends or a part fails.
func (a *app) run(ctx context.Context) error {
	sparePlaces()
	g := a.group
	// What the engines say last is still logged: the changes are read until the log
	// of events is closed, whatever the context says.
	if a.LogChanges != LogChangesNone {
		changes := newChangeLogger(a.Logger, a.events.Subscribe(0), a.LogChanges)
		g.Go(func() error { return changes.run(context.WithoutCancel(ctx)) })
	}
	a.probing.Store(true)
	g.Go(func() error { return a.probe(ctx) })
	g.Go(func() error { return a.pump.run(ctx) })
	g.Go(func() error { return a.table.Run(ctx) })
	g.Go(func() error { return a.frames.Run(ctx) })
	g.Go(func() error { return a.reloader.run(ctx, a.Reload) })
	if a.store != nil {
		g.Go(func() error { return a.store.run(ctx, saveInterval) })
	}
	a.serve(ctx)
	err := a.wait(ctx)
	if err != nil {
		level.Error(a.Logger).Log("msg", "Ended by an error", "err", err)
		return err
	}
	level.Info(a.Logger).Log("msg", "Ended")
	return nil
}

// probe runs the engines.
func (a *app) probe(ctx context.Context) error {
	defer a.events.Close()
	defer a.pump.flush()
	defer a.probing.Store(false)
	defer context.AfterFunc(ctx, func() { a.probing.Store(false) })()
	return a.engines.run(ctx)
}

// serve starts the web servers.
func (a *app) serve(ctx context.Context) {
	handler, err := web.New(web.Options{
		TelemetryPath:   a.TelemetryPath,
		Metrics:         metricsHandler(a.registry, a.table, a.routes, a.Logger),
		Table:           a.table,
		Frames:          a.frames,
		Events:          a.events,
		Routes:          a.routes,
		Prober:          &control{a},
		EnableLifecycle: a.EnableLifecycle,
		AllowedHosts:    a.AllowedHosts,
		Login:           login{*a.Web.WebConfigFile}.required,
		Version:         version.Version,
		Logger:          a.Logger,
	})
	if err != nil {
		a.group.Go(func() error { return err })
		return
	}
	s := &servers{flags: a.Web, logger: slog.New(whereToLook{newSlog(a.Logger).Handler()}), handler: a.fresh(handler)}
	s.serve(ctx, a.group, a.listeners)
}

// fresh serves requests after a look at the age of what is known: after a pause of the whole process
// nobody is shown what was believed before it.
func (a *app) fresh(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.table.Fresh(time.Now())
		next.ServeHTTP(w, r)
	})
}

// wait waits for the group, but not for ever once it is to end.
func (a *app) wait(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- a.group.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	level.Info(a.Logger).Log("msg", "Stopping")
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("not everything ended within %s", endTimeout)
	}
}

// closeTimeout is how long the file of known addresses may take: the rest of what systemd waits for, less some.
const closeTimeout = 5 * time.Second

// close puts away what open opened, the last first. It does not wait for a disk that does not answer.
func (a *app) close() (err error) {
	for len(a.closers) > 0 {
		last := len(a.closers) - 1
		closer := a.closers[last]
		_, one := bounded(context.Background(), closeTimeout, "putting things away", func(context.Context) (struct{}, error) {
			return struct{}{}, closer()
		})
		if one != nil {
			level.Error(a.Logger).Log("msg", "Cannot put everything away", "err", one)
		}
		err = errors.Join(err, one)
		a.closers = a.closers[:last]
	}
	return err
}
