//go:build linux

// Command lab measures how true the exporter is: the whole program, in a process of its
// own, probes ten thousand addresses of a simulated internet (package netsim), and every
// packet that it tells of is compared with the record of the lab. It prints Markdown
// tables of RTT error, loss and send lag, with and without scrapes. It needs root.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"prefix_exporter/lab/netsim"
)

// maxPrefixes is what the second byte of 10.64.0.0/16 leaves room for.
const maxPrefixes = 256

type options struct {
	prefixes int
	duration time.Duration
	scrapers int
	spin     time.Duration
}

func main() {
	var o options
	var p prober
	cli := kingpin.New("lab", "Compare every packet of the exporter with the record of the lab that it probes. Needs root.")
	cli.HelpFlag.Short('h')
	cli.Command("run", "Measure (the default).").Default()
	cli.Flag("prefixes", "How many /24s, each address of which is probed once a second.").Default("40").IntVar(&o.prefixes)
	cli.Flag("duration", "How long each of the three phases lasts: no scrapes, one every 5 s, many without a pause.").Default("30s").DurationVar(&o.duration)
	cli.Flag("scrapers", "How many scrape at once in the last phase.").Default("8").IntVar(&o.scrapers)
	cli.Flag("spin", "How long the lab watches the clock before each reply, to hit the moment more exactly. It costs up to a core, which then lacks the exporter; what is compared is the time that the lab really took, so 0 is as good.").Default("0s").DurationVar(&o.spin)
	child := cli.Command("prober", "The exporter, with a record of all packets; started by run.").Hidden()
	child.Flag("config", "Configuration file.").Required().StringVar(&p.config)
	child.Flag("record", "File that the record is written to at the end.").Required().StringVar(&p.record)
	child.Flag("capacity", "How many packets to have memory for.").Required().IntVar(&p.capacity)

	run := func(ctx context.Context) error { return measure(ctx, o) }
	if kingpin.MustParse(cli.Parse(os.Args[1:])) == child.FullCommand() {
		run = p.run
	} else if code, err := enter(o); code >= 0 {
		fail(err)
		os.Exit(code)
	}
	runtime.LockOSThread() // the exporter is to die with the thread that starts it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fail(run(ctx))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// enter goes into a network namespace, by running the program again in there. The code
// is that of the other run, or below 0 when this is the other run.
func enter(o options) (code int, err error) {
	switch {
	case o.prefixes < 1 || o.prefixes > maxPrefixes:
		return 1, fmt.Errorf("--prefixes %d: must be between 1 and %d", o.prefixes, maxPrefixes)
	case o.duration < time.Second || o.scrapers < 1 || o.spin < 0:
		return 1, fmt.Errorf("--duration must be at least 1s, --scrapers at least 1, --spin not below 0")
	}
	inside, err := netsim.Prepare()
	if inside && err == nil {
		return -1, nil
	}
	if !inside {
		code, err = netsim.Reexec(nil)
	}
	return code, err
}

// measure starts the lab and the exporter, lets the phases pass, and reports.
func measure(ctx context.Context, o options) error {
	n := newNetwork(o.prefixes)
	scenario, err := netsim.Parse("scenario.yml", []byte(n.scenario()))
	if err != nil {
		return err
	}
	lab, err := netsim.Start(context.WithoutCancel(ctx), scenario, netsim.Options{Spin: o.spin})
	if err != nil {
		return err
	}
	defer lab.Close()
	describe(os.Stdout, strings.Join(os.Args[1:], " "), o, lab.Priority())

	exporter, err := startExporter(ctx, n, 3*o.duration)
	if err != nil {
		return err
	}
	defer exporter.kill()
	phases, err := exporter.phases(ctx, o)
	if err != nil {
		return err
	}
	notes, err := exporter.settle(ctx, lab)
	if err != nil {
		return err
	}
	if dropped := lab.Stats().Dropped; dropped > 0 {
		fmt.Printf("\n%d packets overflowed the queue of the lab: it was too slow, and no loss below can be trusted.\n", dropped)
	}
	c := compare(n, lab.Truth(), notes, exporter.settled)
	c.report(os.Stdout, phases)
	return nil
}
