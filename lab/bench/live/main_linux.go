// Command live measures what open pages cost: the whole program, in a process of its own,
// probes ten thousand addresses of a simulated internet (package netsim), once a second by ICMP and
// once a minute by TCP, while nobody looks, while pages are open, and while there are also
// a thousand subscribers of events that never read. Or it probes loopback addresses, by ICMP only: then no lab
// takes a share of the machine. Beside the exporter runs a loop that only sleeps: what is late there, too, the machine
// is to blame for. It prints a Markdown table. It needs root.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"prefix_exporter/app"
	"prefix_exporter/lab/netsim"
	"prefix_exporter/probe"
)

// address is where the exporter listens. The namespace is ours alone.
const address = "127.0.0.1:10240"

type options struct {
	prefixes, pages, silent int
	turns                   int
	duration                time.Duration
	loopback                bool
	profile                 string
}

// prefix is the i-th /24.
func (o *options) prefix(i int) string {
	if o.loopback {
		return fmt.Sprintf("127.64.%d.0/24", i)
	}
	return fmt.Sprintf("10.64.%d.0/24", i)
}

func main() {
	var o options
	var config string
	cli := kingpin.New("live", "Measure what open pages cost the exporter. Needs root.")
	cli.HelpFlag.Short('h')
	cli.Command("run", "Measure (the default).").Default()
	cli.Flag("prefixes", "How many /24s.").Default("40").IntVar(&o.prefixes)
	cli.Flag("pages", "How many pages are open: WebSockets that read all frames, and ask for the summary.").Default("20").IntVar(&o.pages)
	cli.Flag("silent", "How many subscribers of events never read.").Default("1000").IntVar(&o.silent)
	cli.Flag("duration", "How long each of the three phases lasts.").Default("30s").DurationVar(&o.duration)
	cli.Flag("turns", "How many times the three phases pass.").Default("1").IntVar(&o.turns)
	cli.Flag("loopback", "Probe loopback addresses, which the kernel answers, instead of those of a lab; no TCP.").BoolVar(&o.loopback)
	cli.Flag("profile", "Write a CPU profile of the exporter, from its start to its end, to this file.").StringVar(&o.profile)
	child := cli.Command("prober", "The exporter; started by run.").Hidden()
	child.Flag("config", "Configuration file.").Required().StringVar(&config)
	idle := cli.Command("twin", "A loop that only sleeps; started by run.").Hidden()
	rate := idle.Flag("rate", "Probes a second.").Int()

	run := func(ctx context.Context) error { return measure(ctx, o) }
	switch kingpin.MustParse(cli.Parse(os.Args[1:])) {
	case child.FullCommand():
		run = func(ctx context.Context) error { return prober(ctx, config, o.profile) }
	case idle.FullCommand():
		run = func(context.Context) error { return beTwin(o.duration, *rate) }
	default:
		inside, err := netsim.Prepare()
		if !inside {
			code, err := netsim.Reexec(nil)
			fail(err)
			os.Exit(code)
		}
		fail(err)
	}
	runtime.LockOSThread() // the exporter is to die with the thread that starts it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fail(run(ctx))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "live:", err)
		os.Exit(1)
	}
}

// prober is the exporter. profile is the file of its CPU profile, if there is to be one.
func prober(ctx context.Context, config, profile string) (err error) {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		defer pprof.StopCPUProfile()
	}
	logger, err := app.NewLogger(os.Stderr, "warn", "logfmt")
	if err != nil {
		return err
	}
	listen, none := []string{address}, ""
	return app.Run(ctx, app.Options{
		ConfigFile: config, Engine: probe.EngineBatch, Logger: logger,
		Web: &toolkit.FlagConfig{WebListenAddresses: &listen, WebConfigFile: &none},
	})
}

// configuration is that of the exporter.
func (o *options) configuration() string {
	tcp := "{ports: [80, 443], interval: 60s}"
	if o.loopback {
		tcp = "off" // nobody listens
	}
	text := "limits: {packets_per_second: 100000}\ndefaults: {trace: off, expect: all, tcp: " + tcp + "}\nprefixes:\n"
	for i := range o.prefixes {
		text += fmt.Sprintf("  - {prefix: %s}\n", o.prefix(i))
	}
	return text
}

// lab starts the simulated internet: each /24 has a delay of its own, and everything answers.
func (o *options) lab(ctx context.Context) (*netsim.Lab, error) {
	var list, rules strings.Builder
	for i := range o.prefixes {
		p := o.prefix(i)
		fmt.Fprintf(&list, "  - %s\n", p)
		fmt.Fprintf(&rules, "  - {prefix: %s, delay: %dms, jitter: 500us}\n", p, 1+i*5%200)
	}
	text := "seed: 1\nprefixes:\n" + list.String() + "rules:\n  - {port: [80, 443], tcp: open}\n" + rules.String()
	scenario, err := netsim.Parse("scenario.yml", []byte(text))
	if err != nil {
		return nil, err
	}
	return netsim.Start(context.WithoutCancel(ctx), scenario, netsim.Options{})
}

// measure starts the lab and the exporter, and lets the phases pass.
func measure(ctx context.Context, o options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !o.loopback {
		lab, err := o.lab(ctx)
		if err != nil {
			return err
		}
		defer lab.Close()
		go forget(ctx, lab)
	}
	dir, err := os.MkdirTemp("", "live-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, []byte(o.configuration()), 0o600); err != nil {
		return err
	}
	cmd, err := itself(context.WithoutCancel(ctx), "prober", "--config="+config, "--profile="+o.profile)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	if err := ready(ctx); err != nil {
		return err
	}
	return phases(ctx, o)
}

// itself makes the command that runs this program once more, as another part of it. It is killed when the
// context ends, and dies with us.
func itself(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// forget throws away what the lab remembers of each packet until the context ends: at 65,536 addresses, a
// gigabyte in a minute, and the lab would spend its time collecting garbage.
func forget(ctx context.Context, lab *netsim.Lab) {
	for sleep(ctx, time.Second) == nil {
		lab.Drain()
	}
}

// ready waits until the exporter has been probing for a while: the first TCP probes of all
// addresses are new connections everywhere.
func ready(ctx context.Context) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, err := scrape(); err == nil {
			return sleep(ctx, 5*time.Second)
		} else if time.Now().After(deadline) {
			return fmt.Errorf("the exporter does not serve: %w", err)
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
