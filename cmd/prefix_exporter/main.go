// Command prefix_exporter measures the round-trip time of every address of some
// prefixes and shows it to Prometheus. Here are only its command line and its
// signals; package app does the work.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"prefix_exporter/app"
	"prefix_exporter/config"
	"prefix_exporter/probe"
	"prefix_exporter/web"
)

const (
	name = "prefix_exporter"
	help = "Measures the round-trip time of every address of your own prefixes and exposes it to Prometheus."
	// defaultAddress is a port that no other exporter has registered, and the number
	// of addresses in forty /24s.
	defaultAddress = ":10240"
)

func main() {
	nameVersion()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// nameVersion gives the program the version that the go command knows, where none was
// set by the linker (-X github.com/prometheus/common/version.Version=…), as a release does.
func nameVersion() {
	if info, ok := debug.ReadBuildInfo(); ok && version.Version == "" {
		version.Version = strings.Trim(info.Main.Version, "()")
	}
}

// arguments is the command line, parsed.
type arguments struct {
	command   string
	checkFile string
	healthURL string
	logLevel  string
	logFormat string
	trace     traceArguments
	options   app.Options
}

// parse reads the command line. It ends the process itself for --help and --version.
func parse(args []string, stdout, stderr io.Writer) (a arguments, err error) {
	cli := kingpin.New(name, help).UsageWriter(stdout).ErrorWriter(stderr)
	cli.Version(version.Print(name))
	cli.HelpFlag.Short('h')

	explicit := false
	o := &a.options
	cli.Flag("config.file", "Configuration file. If it is absent and not given here, a built-in configuration probes 127.0.0.0/24.").
		Default("prefix_exporter.yml").IsSetByUser(&explicit).StringVar(&o.ConfigFile)
	o.Web = kingpinflag.AddFlags(cli, defaultAddress)
	cli.Flag("web.telemetry-path", "Path under which to expose metrics.").
		Default(web.DefaultTelemetryPath).StringVar(&o.TelemetryPath)
	cli.Flag("web.enable-lifecycle", "Allow POST /-/reload and POST /-/trace.").
		BoolVar(&o.EnableLifecycle)
	cli.Flag("web.allowed-hosts", "Name by which clients may ask, beside localhost, addresses and the machine's own (repeatable); its port does not matter. Others get status 421 with --web.enable-lifecycle and no login, and always for a WebSocket and what is not GET.").
		PlaceHolder("NAME").StringsVar(&o.AllowedHosts)
	cli.Flag("storage.path", "Folder that remembers which addresses ever answered. Empty: nothing is written.").
		Default("").StringVar(&o.StoragePath)
	engines := []string{probe.EngineAuto, probe.EngineBatch, probe.EngineProBing}
	cli.Flag("probe.engine", "How to probe: batch (Linux), pro-bing (portable), or auto, the best there is. One of: auto, batch, pro-bing.").
		Default(probe.EngineAuto).EnumVar(&o.Engine, engines...)
	cli.Flag("log.changes", "How to log changes of state: a line for what happens to a prefix at once, or for each address. One of: none, prefix, address.").
		Default(app.LogChangesPrefix).EnumVar(&o.LogChanges, app.LogChanges...)
	cli.Flag("log.level", "Only log messages with the given severity or above. One of: debug, info, warn, error.").
		Default("info").EnumVar(&a.logLevel, app.LogLevels...)
	cli.Flag("log.format", "Output format of log messages. One of: logfmt, json.").
		Default("logfmt").EnumVar(&a.logFormat, app.LogFormats...)

	cli.Command("run", "Probe and serve (the default).").Default()
	check := cli.Command("check", "Validate a configuration file and say what it will cost.")
	check.Arg("FILE", "Configuration file.").Required().StringVar(&a.checkFile)
	traceCommand(cli, &a.trace)
	healthCommand(cli, &a.healthURL)

	a.command, err = cli.Parse(args)
	o.ConfigOptional = !explicit
	return a, err
}

// run is the program; it returns its exit status.
func run(args []string, stdout, stderr io.Writer) int {
	a, err := parse(args, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: error: %v, try --help\n", name, err)
		return 1
	}
	switch a.command {
	case "check":
		err = check(a.checkFile, stdout)
	case "trace":
		err = traceRoute(a, stdout, stderr)
	case "healthy":
		err = healthy(context.Background(), a.healthURL)
	default:
		err = serve(a, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, err) // config.Errors: one line each
		return 1
	}
	return 0
}

// check validates a file and prints its cost.
func check(file string, stdout io.Writer) error {
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, c.Cost())
	return err
}

// serve runs the exporter until SIGINT or SIGTERM. After the first of them they have
// their default effect again, so that the second ends the process at once.
func serve(a arguments, stderr io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	reload := make(chan os.Signal, 1) // one that is waiting stands for all
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)

	o := a.options
	o.Reload = reload
	if o.Logger, err = app.NewLogger(stderr, a.logLevel, a.logFormat); err != nil {
		return err
	}
	return app.Run(ctx, o)
}
