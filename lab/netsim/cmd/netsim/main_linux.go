// Command netsim runs a command on a simulated internet: inside a network namespace of its own, whose
// prefixes answer as a scenario file says. At the end it prints what really happened.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sync/errgroup"

	"prefix_exporter/lab/netsim"
)

type options struct {
	scenario string
	command  []string
	truth    string
	publish  []string
	spin     time.Duration
}

func parse(args []string) (options, error) {
	var o options
	app := kingpin.New("netsim", "Runs a command on a simulated internet and tells what really happened.")
	app.HelpFlag.Short('h')
	app.Flag("truth", "Write the truth about every request to this file, JSON lines.").PlaceHolder("FILE").StringVar(&o.truth)
	app.Flag("publish", "Forward TCP from this port of 127.0.0.1 outside to the same port (or the second one) of 127.0.0.1 inside. Repeatable.").
		PlaceHolder("PORT[:PORT]").StringsVar(&o.publish)
	app.Flag("spin", "Watch the clock for so long before each reply, for accuracy; costs up to a core.").Default("0s").DurationVar(&o.spin)
	app.Arg("scenario", "Scenario file, see docs/lab.md.").Required().StringVar(&o.scenario)
	app.Arg("command", "The command and its arguments, after --; a shell when absent.").StringsVar(&o.command)
	if _, err := app.Parse(args); err != nil {
		return o, err
	}
	if len(o.command) == 0 {
		o.command = []string{"/bin/sh"}
		if shell := os.Getenv("SHELL"); shell != "" {
			o.command[0] = shell
		}
	}
	return o, nil
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "netsim: %v\n", err)
		code = 1
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	o, err := parse(args)
	if err != nil {
		return 0, err
	}
	scenario, err := netsim.Load(o.scenario)
	if err != nil {
		return 0, err
	}
	ports, err := parsePorts(o.publish)
	if err != nil {
		return 0, err
	}
	inside, err := netsim.Prepare()
	if err != nil {
		return 0, err
	}
	if inside {
		return within(o, scenario, ports)
	}
	// The sockets that listen outside stay there when the process inside accepts from them.
	listeners, err := listenOutside(ports)
	if err != nil {
		return 0, err
	}
	return netsim.Reexec(listeners)
}

// within starts the lab, the forwarders and the command, in this order, and ends them in the other.
func within(o options, scenario netsim.Scenario, ports []port) (code int, err error) {
	var log io.Writer
	if o.truth != "" {
		f, err := os.Create(o.truth)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		log = f
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lab, err := netsim.Start(ctx, scenario, netsim.Options{Spin: o.spin})
	if err != nil {
		return 0, err
	}
	defer lab.Close()
	if err := lab.Priority(); err != nil {
		fmt.Fprintf(os.Stderr, "netsim: delays will be less exact: %v\n", err)
	}
	jobs, ctx := errgroup.WithContext(ctx)
	s := newSummary(scenario.Prefixes)
	jobs.Go(func() error { return record(ctx, lab, s, log) })
	if err := forwardAll(ctx, jobs, ports); err != nil {
		return 0, err
	}

	cmd := exec.Command(o.command[0], o.command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	code, err = netsim.Supervise(cmd)
	if err != nil {
		err = fmt.Errorf("run the command: %w", err)
	}
	cancel()
	if failed := jobs.Wait(); err == nil {
		err = failed
	}
	if err == nil {
		s.print(os.Stderr, lab.Stats())
	}
	return code, err
}

// record moves the truth from the lab into the summary and the log, until ctx ends; then also what is
// still on its way.
func record(ctx context.Context, lab *netsim.Lab, s *summary, log io.Writer) error {
	w := newLog(log)
	tick := time.NewTicker(250 * time.Millisecond) // some thousand packets at a time
	defer tick.Stop()
	for {
		var packets []netsim.Packet
		select {
		case <-tick.C:
			packets = lab.Drain()
		case <-ctx.Done():
			packets = append(lab.Drain(), lab.Truth()...)
		}
		s.addAll(packets)
		if err := w.write(packets); err != nil || ctx.Err() != nil {
			return err
		}
	}
}
