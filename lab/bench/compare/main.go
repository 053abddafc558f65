//go:build linux

// Command compare measures prefix_exporter beside what a user would install instead,
// and beside the bare loop that is its floor: all of them, one after the other, ping
// the same loopback addresses once a second in a network namespace of this run. It
// prints Markdown tables of processor time, memory, false loss and scrape cost.
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"prefix_exporter/lab/bench/bareloop/namespace"
)

// binariesEnv carries the folder of the programs that were built into the namespace,
// where nothing could be downloaded for them.
const binariesEnv = "PREFIX_EXPORTER_BENCH_BINARIES"

// maxAddresses is what the bare loop can tell apart.
const maxAddresses = 1 << 16

type options struct {
	addresses []int
	programs  []string
	ratio     bool
	pairs     int
	plan      plan
	exporter  string
}

// programNames are the values of --programs, in the order of the table.
func programNames() []string {
	return []string{"bareloop", "prefix_exporter", "fping", "smokeping", "smokeping-raw"}
}

func main() {
	var o options
	app := kingpin.New("compare", "Measure prefix_exporter, its floor and its alternatives side by side, in a network namespace of its own. Needs root.")
	app.HelpFlag.Short('h')
	app.Flag("addresses", "How many loopback addresses; repeatable. Default 1000 and 10000, with --ratio 10240 and 65536.").IntsVar(&o.addresses)
	app.Flag("programs", "Which programs; repeatable, default all that are installed.").EnumsVar(&o.programs, programNames()...)
	app.Flag("ratio", "Run the bare loop and prefix_exporter in turns and print the ratio of their processor time.").BoolVar(&o.ratio)
	app.Flag("pairs", "With --ratio: how many turns.").Default("2").IntVar(&o.pairs)
	app.Flag("duration", "How long each program is measured.").Default("60s").DurationVar(&o.plan.window)
	app.Flag("warmup", "How long it runs before that.").Default("10s").DurationVar(&o.plan.warmup)
	app.Flag("scrape-every", "Time between two scrapes.").Default("15s").DurationVar(&o.plan.scrapeEvery)
	app.Flag("tick", "The tick of the bare loop; a ratio is only fair with that of the exporter.").Default("4ms").DurationVar(&o.plan.tick)
	app.Flag("prefix-exporter", "A prefix_exporter to measure instead of that of this module.").ExistingFileVar(&o.exporter)
	kingpin.MustParse(app.Parse(os.Args[1:]))
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if len(o.addresses) == 0 {
		o.addresses = []int{1000, 10000}
		if o.ratio {
			o.addresses = []int{10240, 65536}
		}
	}
	for _, n := range o.addresses {
		if n < 1 || n > maxAddresses {
			return fmt.Errorf("--addresses %d: must be between 1 and %d", n, maxAddresses)
		}
	}
	if o.plan.window <= 0 || o.plan.scrapeEvery <= 0 || o.plan.tick <= 0 || o.pairs < 1 {
		return errors.New("--duration, --scrape-every, --tick and --pairs must be above 0")
	}
	binaries := os.Getenv(binariesEnv)
	if binaries == "" {
		return buildAndEnter(o)
	}
	defer os.RemoveAll(binaries)
	if err := namespace.Enter(); err != nil {
		return err
	}
	// A prober with a socket for each address needs as many descriptors as it may
	// have; setting the limit here passes it on to the programs.
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		files.Cur = files.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files) // else those programs will say so
	}
	// Programs are to die with the thread that starts them: that must be this one.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	describe(os.Stdout, os.Args[1:], o.plan)
	if o.ratio {
		return ratio(ctx, o, binaries)
	}
	return compare(ctx, o, binaries)
}

// buildAndEnter builds our own programs and starts over in the namespace.
func buildAndEnter(o options) error {
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return err
	}
	packages := []string{"prefix_exporter/lab/bench/bareloop"}
	if o.exporter == "" {
		packages = append(packages, "prefix_exporter/cmd/prefix_exporter")
	}
	build := exec.Command("go", append([]string{"build", "-o", dir + string(filepath.Separator)}, packages...)...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	err = build.Run()
	if err != nil {
		err = fmt.Errorf("building %s: %w", strings.Join(packages, " and "), err)
	} else if err = os.Setenv(binariesEnv, dir); err == nil {
		err = namespace.Enter() // returns only if it fails
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// programs returns those that were asked for and exist on this machine.
func (o options) choose(binaries string) []program {
	exporter := o.exporter
	if exporter == "" {
		exporter = filepath.Join(binaries, "prefix_exporter")
	}
	prober := installed("prometheus-smokeping-prober")
	all := map[string]program{
		"bareloop":        bareLoop(filepath.Join(binaries, "bareloop")),
		"prefix_exporter": prefixExporter(exporter),
		"fping":           fping(installed("fping")),
		"smokeping":       smokeping(prober, false),
		"smokeping-raw":   smokeping(prober, true),
	}
	var chosen []program
	for _, name := range programNames() {
		if len(o.programs) > 0 && !slices.Contains(o.programs, name) {
			continue
		}
		if all[name].path == "" {
			fmt.Fprintf(os.Stderr, "compare: %s is not installed\n", name)
			continue
		}
		chosen = append(chosen, all[name])
	}
	return chosen
}

func compare(ctx context.Context, o options, binaries string) error {
	var results []result
	writeHeader(os.Stdout)
	for _, addresses := range o.addresses {
		for _, p := range o.choose(binaries) {
			r, err := measureLoudly(ctx, p, addresses, o.plan)
			if err != nil {
				return err
			}
			writeRow(os.Stdout, r)
			results = append(results, r)
		}
	}
	writeNotes(os.Stdout, results)
	return failures(results)
}

// ratio runs floor and exporter in turns, the first of each pair alternating, so
// that a machine that grows slower or faster favours neither.
func ratio(ctx context.Context, o options, binaries string) error {
	o.programs = []string{"bareloop", "prefix_exporter"}
	programs := o.choose(binaries)
	var results []result
	writeRatioHeader(os.Stdout)
	for _, addresses := range o.addresses {
		var pairs []pair
		for n := range o.pairs {
			var both [2]result
			for _, i := range [][]int{{0, 1}, {1, 0}}[n%2] {
				var err error
				if both[i], err = measureLoudly(ctx, programs[i], addresses, o.plan); err != nil {
					return err
				}
			}
			pairs = append(pairs, pair{both[0], both[1]})
			writePair(os.Stdout, n+1, pairs[n])
			results = append(results, both[:]...)
		}
		writeMedian(os.Stdout, addresses, pairs)
	}
	writeNotes(os.Stdout, results)
	return failures(results)
}

// measureLoudly tells on standard error what is being waited for.
func measureLoudly(ctx context.Context, p program, addresses int, how plan) (result, error) {
	fmt.Fprintf(os.Stderr, "compare: %s, %d addresses, %s\n", p.name, addresses, (how.warmup + how.window).Round(time.Second))
	return measure(ctx, p, addresses, how)
}

// failures makes a run fail in which our own programs did; that another one cannot
// do what it was asked to is what the table is there to say.
func failures(results []result) error {
	var errs []error
	for _, r := range results {
		if r.err != nil && (r.program == "prefix_exporter" || r.program == "bare loop") {
			errs = append(errs, fmt.Errorf("%s, %d addresses: %w", r.program, r.addresses, r.err))
		}
	}
	return errors.Join(errs...)
}
