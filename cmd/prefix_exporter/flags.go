package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"prefix_exporter/app"
	"prefix_exporter/config"
	"prefix_exporter/probe"
	"prefix_exporter/web"
)

// arguments is the command line, parsed.
type arguments struct {
	command   string
	check     checkArguments
	healthURL string
	logLevel  string
	logFormat string
	trace     traceArguments
	options   app.Options
}

// parse reads the command line. It ends the process itself for --help and --version. Every flag has an environment
// variable, PREFIX_EXPORTER_CONFIG_FILE for --config.file, that stands in for it where it is not given.
func parse(args []string, stdout, stderr io.Writer) (a arguments, err error) {
	cli := kingpin.New(name, help).UsageWriter(stdout).ErrorWriter(stderr).DefaultEnvars().UsageTemplate(usageTemplate())
	cli.Version(version.Print(name))
	cli.HelpFlag.Short('h').NoEnvar()
	cli.VersionFlag.NoEnvar() // compose files use PREFIX_EXPORTER_VERSION for the tag of the image
	cli.Flag("log.level", "Only log messages with the given severity or above. One of: debug, info, warn, error.").
		Default("info").EnumVar(&a.logLevel, app.LogLevels...)
	cli.Flag("log.format", "Output format of log messages. One of: logfmt, json.").
		Default("logfmt").EnumVar(&a.logFormat, app.LogFormats...)

	explicit := runCommand(cli, &a.options)
	checkCommand(cli, &a.check)
	cli.Command("schema", "Print a JSON Schema of the configuration file, for editors.")
	traceCommand(cli, &a.trace)
	healthCommand(cli, &a.healthURL)

	a.command, err = cli.Parse(withoutDash(args))
	for _, value := range []*string{
		&a.check.file, &a.check.against, &a.check.explain, &a.healthURL, &a.trace.address, &a.trace.source, &a.trace.target.Interface,
		&a.options.ConfigFile, &a.options.StoragePath, &a.options.TelemetryPath, a.options.Web.WebConfigFile,
	} {
		*value = strings.ReplaceAll(*value, dash, "-")
	}
	a.options.ConfigOptional = !explicit()
	if err == nil && a.command == "run" && a.options.ConfigFile == "-" {
		err = errors.New("config.file \"-\": standard input cannot be read again at a reload: must be the name of a file (of one that is called so: ./-)")
	}
	if err != nil {
		err = advise(cli.Model(), args, errors.New(strings.ReplaceAll(err.Error(), dash, "-")))
	}
	return a, err
}

// dash stands for an argument that is a dash alone, which kingpin makes an empty text of. No argument can have
// a NUL in it.
const dash = "\x00-"

func withoutDash(args []string) []string {
	args = slices.Clone(args)
	for i := range args {
		if args[i] == "-" {
			args[i] = dash
		}
	}
	return args
}

// runCommand adds the exporter itself to the command line. It returns a function that says, after the command line was
// parsed, whether somebody named the configuration file.
func runCommand(cli *kingpin.Application, o *app.Options) (explicit func() bool) {
	cmd := cli.Command("run", "Probe and serve (the default).").Default()
	set := false
	file := cmd.Flag("config.file", "Configuration file. If it is absent and not given here, a built-in configuration probes 127.0.0.0/24.")
	file.Default("prefix_exporter.yml").IsSetByUser(&set).StringVar(&o.ConfigFile)
	o.Web = kingpinflag.AddFlags(cmd, defaultAddress)
	cmd.Flag("web.telemetry-path", "Path under which to expose metrics.").
		Default(web.DefaultTelemetryPath).StringVar(&o.TelemetryPath)
	cmd.Flag("web.enable-lifecycle", "Allow POST /-/reload and POST /-/trace.").
		BoolVar(&o.EnableLifecycle)
	cmd.Flag("web.allowed-hosts", "Host name that clients may use, besides localhost, IP addresses and the machine's own name (repeatable, without a port). Requests for other names get status 421: WebSockets and all that may change something always, everything with --web.enable-lifecycle and no login.").
		PlaceHolder("NAME").StringsVar(&o.AllowedHosts)
	cmd.Flag("storage.path", "Folder that remembers which addresses ever answered. Empty: nothing is written.").
		Default("").StringVar(&o.StoragePath)
	engines := []string{probe.EngineAuto, probe.EngineBatch, probe.EngineProBing}
	cmd.Flag("probe.engine", "How to probe: batch (Linux), pro-bing (portable), or auto, the best there is. One of: auto, batch, pro-bing.").
		Default(probe.EngineAuto).EnumVar(&o.Engine, engines...)
	cmd.Flag("log.changes", "How to log changes of state: one line for what happens to a prefix at once, one for each address, or none. One of: none, prefix, address.").
		Default(app.LogChangesPrefix).EnumVar(&o.LogChanges, app.LogChanges...)
	return func() bool { return set || file.HasEnvarValue() }
}

// usageTemplate is that of kingpin, with the flags of the default command where no command was named: they are what
// most people look for.
func usageTemplate() string {
	return strings.Replace(kingpin.DefaultUsageTemplate, "{{else if .App.Commands -}}\n", `{{else if .App.Commands -}}
{{range .App.Commands}}{{if .Default -}}
Flags of {{.Name}}:
{{.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{end}}{{end -}}
`, 1)
}

// advise adds to an error of the command line what was most likely meant.
func advise(cli *kingpin.ApplicationModel, args []string, err error) error {
	text := err.Error()
	typed, isFlag := strings.CutPrefix(text, "unknown long flag '--")
	if !isFlag {
		if typed, ok := strings.CutPrefix(text, "unexpected "); ok {
			var names []string
			for _, c := range cli.Commands {
				names = append(names, c.Name)
			}
			return didYouMean(err, typed, names, "")
		}
		return wrongValue(cli, args, err)
	}
	typed = strings.TrimSuffix(typed, "'")
	typed, _, _ = strings.Cut(typed, "=")
	own := flagNames(cli.FlagGroupModel)
	var others []string
	for _, c := range cli.Commands {
		switch names := flagNames(c.FlagGroupModel); {
		case c.Name == commandOf(cli, args):
			own = append(own, names...)
		case slices.Contains(names, typed):
			others = append(others, c.Name)
		}
	}
	if len(others) > 0 {
		return fmt.Errorf("%w: it is a flag of the command %s", err, strings.Join(others, ", "))
	}
	return didYouMean(err, strings.TrimPrefix(typed, "no-"), own, "--")
}

// wrongValue says which flag or variable has the value that an error is about, and what it may be: kingpin says
// neither where a value comes from nor, of some types, what it must be.
func wrongValue(cli *kingpin.ApplicationModel, args []string, err error) error {
	flags := cli.Flags
	for _, c := range cli.Commands {
		if c.Name == commandOf(cli, args) {
			flags = append(flags[:len(flags):len(flags)], c.Flags...)
		}
	}
	for _, f := range flags {
		place, value, given := "--"+f.Name, "", false
		if value, given = valueOf(args, f.Name); !given {
			place, value = f.Envar, os.Getenv(f.Envar)
		}
		if value == "" {
			continue
		}
		if e := f.Value.Set(value); e != nil && e.Error() == err.Error() {
			return fmt.Errorf("%s %q: %s", place, value, allowed(f.Value, e))
		}
	}
	return err
}

// allowed says what a value must be, from the error of its type.
func allowed(v kingpin.Value, err error) string {
	if b, ok := v.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
		return "must be true or false"
	}
	if list, ok := strings.CutPrefix(err.Error(), "enum value must be one of "); ok {
		list, _, _ = strings.Cut(list, ", got ")
		return "must be one of " + strings.ReplaceAll(list, ",", ", ")
	}
	if number := (*strconv.NumError)(nil); errors.As(err, &number) {
		return "must be a number: " + number.Err.Error()
	}
	return err.Error()
}

// valueOf returns the last value that the command line has for a flag.
func valueOf(args []string, name string) (value string, given bool) {
	for i, arg := range args {
		if v, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			value, given = v, true
		} else if arg == "--"+name && i+1 < len(args) {
			value, given = args[i+1], true
		}
	}
	return value, given
}

// didYouMean adds the nearest name, if one is near.
func didYouMean(err error, typed string, names []string, dashes string) error {
	if near := config.Nearest(typed, names); near != "" {
		return fmt.Errorf("%w: did you mean %s%s?", err, dashes, near)
	}
	return err
}

// commandOf returns the command that the command line names, or the default.
func commandOf(cli *kingpin.ApplicationModel, args []string) string {
	def := ""
	for _, c := range cli.Commands {
		if slices.Contains(args, c.Name) {
			return c.Name
		}
		if c.Default {
			def = c.Name
		}
	}
	return def
}

func flagNames(g *kingpin.FlagGroupModel) (names []string) {
	for _, f := range g.Flags {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	}
	return names
}

// fatal says why there is nothing to run. Somebody who reads logs by a program gets a line of the log.
func fatal(args []string, stderr io.Writer, err error) {
	format, given := valueOf(args, "log.format")
	if !given {
		format = os.Getenv("PREFIX_EXPORTER_LOG_FORMAT")
	}
	if format == "json" {
		if logger, e := app.NewLogger(stderr, "error", "json"); e == nil {
			level.Error(logger).Log("msg", "Cannot start", "err", err)
			return
		}
	}
	fmt.Fprintf(stderr, "%s: error: %v, try --help\n", name, err)
}
