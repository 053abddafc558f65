package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"prefix_exporter/app"
	"prefix_exporter/config"
	"prefix_exporter/probe"
	"prefix_exporter/route"
)

const (
	// leastInterval keeps a slip of the keyboard from being a flood: 30 hops ten times a second.
	leastInterval = 100 * time.Millisecond
	// mostInterval is the longest of the configuration.
	mostInterval = 24 * time.Hour
	// leastTimeout is that of the configuration.
	leastTimeout = 10 * time.Millisecond
	// reportRounds is how many rounds there are when nobody watches, as with mtr --report.
	reportRounds = 10
)

// traceArguments is the command line of trace.
type traceArguments struct {
	address, source string
	port            uint16
	count           uint64
	target          probe.TraceTarget
}

// traceCommand adds the command trace to the command line.
func traceCommand(cli *kingpin.Application, a *traceArguments) {
	t := &a.target
	cmd := cli.Command("trace", "Show the route to an address, hop by hop, with loss and round-trip times, until ^C.")
	cmd.Arg("IP", "IPv4 or IPv6 address.").Required().StringVar(&a.address)
	cmd.Flag("protocol", "What to send. One of: icmp, tcp, udp; the last two need CAP_NET_RAW.").
		Default("icmp").EnumVar(&t.Protocol, "icmp", "tcp", "udp")
	// Kubernetes sets PREFIX_EXPORTER_PORT=tcp://… in pods beside a service that is called prefix-exporter.
	cmd.Flag("port", "Destination port of tcp (default 80) and udp (default 33434).").Envar("PREFIX_EXPORTER_TRACE_PORT").SetValue(decimal[uint16]{&a.port, 16})
	cmd.Flag("interval", "From one round to the next, 100ms to 24h.").Default("1s").DurationVar(&t.Interval)
	cmd.Flag("timeout", "How long to wait for the answer of a hop, 10ms to the interval.").Default("500ms").DurationVar(&t.Timeout)
	cmd.Flag("max-hops", "The longest route, 1 to 64.").Default("30").SetValue(decimal[int]{&t.MaxHops, 31})
	cmd.Flag("count", "Number of rounds; 0: until ^C on a terminal, 10 otherwise.").Default("0").SetValue(decimal[uint64]{&a.count, 64})
	cmd.Flag("source", "Source address.").StringVar(&a.source)
	cmd.Flag("interface", "Interface or VRF to leave by.").StringVar(&t.Interface)
}

// decimal is the value of a flag: a whole number of so many bits. As in the configuration, 0443 is 443; those of
// kingpin take it for octal, 291.
type decimal[N int | uint16 | uint64] struct {
	number *N
	bits   int
}

// Set reads the number.
func (d decimal[N]) Set(text string) error {
	v, err := strconv.ParseUint(text, 10, d.bits)
	if err == nil {
		*d.number = N(v)
	}
	return err
}

// String writes the number.
func (d decimal[N]) String() string { return fmt.Sprint(*d.number) }

// check fills in the target, or says what is wrong with the command line.
func (a *traceArguments) check() error {
	t := &a.target
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	addr, err := netip.ParseAddr(a.address)
	switch {
	case err != nil:
		bad("ip %q: must be an IPv4 or IPv6 address", a.address)
	case addr.IsMulticast() || addr.IsUnspecified() || addr.Zone() != "":
		bad("ip %q: must be the address of one host, without a zone", a.address)
	case addr.Is6() && addr.IsLinkLocalUnicast() && t.Interface == "":
		bad("ip %q: is link-local: must have an --interface", a.address)
	default:
		addr = addr.Unmap()
		t.Key = route.Key{Prefix: netip.PrefixFrom(addr, addr.BitLen()), Addr: addr}
	}
	if a.source != "" {
		if t.Source, err = netip.ParseAddr(a.source); err != nil || t.Source.Is4() != addr.Is4() {
			bad("source %q: must be an address of the same family as the destination", a.source)
		}
	}
	if t.Interval < leastInterval || t.Interval > mostInterval {
		bad("interval %q: must be between %s and %s", t.Interval, leastInterval, mostInterval)
	}
	if t.Timeout < leastTimeout || t.Timeout > t.Interval {
		bad("timeout %q: must be between %s and the interval, %s", t.Timeout, leastTimeout, t.Interval)
	}
	if t.MaxHops < 1 || t.MaxHops > probe.MaxHops {
		bad("max-hops %q: must be between 1 and %d", fmt.Sprint(t.MaxHops), probe.MaxHops)
	}
	switch {
	case t.Protocol == "icmp" && a.port != 0:
		bad("port %q: icmp has no ports", fmt.Sprint(a.port))
	case t.Protocol == "tcp" && a.port == 0:
		a.port = config.TracePortTCP
	case t.Protocol == "udp" && a.port == 0:
		a.port = config.TracePortUDP
	}
	t.Port = a.port
	return errors.Join(errs...)
}

// errNoTrace is for the systems on which nothing can be traced.
var errNoTrace = errors.New("traceroutes need Linux")

// traceRoute traces one route and shows it, live on a terminal, at the end otherwise.
func traceRoute(a arguments, stdout, stderr io.Writer) error {
	if err := a.trace.check(); err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return errNoTrace
	}
	// The exporter waits for what is absent; who waits for this command should know.
	if err := probe.Absent(a.trace.target.Source, a.trace.target.Interface); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	screen := &screen{out: stdout, size: sizeOf(stdout)}
	count := a.trace.count
	logger := log.NewNopLogger() // a line would tear the table, which tells of troubles itself
	if screen.size == nil {
		var err error
		if logger, err = app.NewLogger(stderr, "warn", a.logFormat); err != nil {
			return err
		}
		if count == 0 {
			count = reportRounds
		}
	}

	target := a.trace.target
	routes := route.NewTable(nil)
	routes.Apply([]route.Spec{{Key: target.Key, Protocol: target.Protocol, Port: target.Port}})
	health := probe.NewHealth(time.Now)
	rounds := make(chan struct{}, 1) // one that is waiting stands for all
	var recorded atomic.Uint64       // those in which nothing could be sent are no rounds of the route
	stranded := make(chan struct{}, 1)
	engine, err := probe.NewTrace(probe.TraceOptions{
		Record: func(k route.Key, dst netip.Addr, r route.Round) {
			routes.Record(k, dst, r)
			recorded.Add(1)
			select {
			case rounds <- struct{}{}:
			default:
			}
		},
		NoRoute: func(route.Key, netip.Addr, time.Time) {
			if recorded.Load() == 0 { // one that goes later may come back
				select {
				case stranded <- struct{}{}:
				default:
				}
			}
		},
		Logger: logger, Registerer: prometheus.NewRegistry(), Health: health,
	})
	if err != nil {
		return err
	}
	if err := engine.Apply(ctx, []probe.TraceTarget{target}); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return engine.Run(ctx) })
	g.Go(func() error {
		defer cancel()
		for {
			select {
			case <-ctx.Done():
				return screen.end(routes.Routes()[0], health.Troubles())
			case <-stranded:
				return fmt.Errorf("%s: this machine has no route to it", target.Key.Addr)
			case <-rounds:
			}
			r := routes.Routes()[0]
			if count != 0 && recorded.Load() >= count {
				return screen.end(r, health.Troubles())
			}
			if err := screen.show(r, health.Troubles()); err != nil {
				return err
			}
		}
	})
	return g.Wait()
}

// sizeOf returns a function that says how many lines of how many characters a terminal
// shows; nil: out is none.
func sizeOf(out io.Writer) func() (width, height int) {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return func() (width, height int) {
		width, height, err := term.GetSize(int(file.Fd()))
		if err != nil || width == 0 || height == 0 {
			return 80, 24 // what a terminal that does not tell usually has
		}
		return width, height
	}
}
