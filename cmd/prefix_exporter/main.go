// Command prefix_exporter measures the round-trip time of every address of some
// prefixes and shows it to Prometheus. Here are only its command line and its
// signals; package app does the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/prometheus/common/version"

	"prefix_exporter/app"
	"prefix_exporter/config"
	"prefix_exporter/file"
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
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// nameVersion gives the program the version that the go command knows, where none was
// set by the linker (-X github.com/prometheus/common/version.Version=…), as a release does.
func nameVersion() {
	if info, ok := debug.ReadBuildInfo(); ok && version.Version == "" {
		version.Version = strings.Trim(info.Main.Version, "()")
	}
}

// The exit statuses.
const (
	statusOK = 0
	// statusError is for everything but statusConfig: mistakes that check finds, and flags that are wrong, too.
	statusError = 1
	// statusConfig is for an exporter that does not start because of its configuration file: EX_CONFIG of
	// sysexits.h. Trying again does no good until somebody has mended the file, which a supervisor must be able to tell
	// from a network that is not there yet (RestartPreventExitStatus= of systemd).
	statusConfig = 78
)

// run is the program; it returns its exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a, err := parse(args, stdout, stderr)
	if err != nil {
		fatal(args, stderr, err)
		return statusError
	}
	switch a.command {
	case "check":
		err = check(a.check, stdin, stdout, stderr)
	case "schema":
		_, err = stdout.Write(config.JSONSchema())
	case "trace":
		err = traceRoute(a, stdout, stderr)
	case "healthy":
		err = healthy(context.Background(), a.healthURL)
	default:
		return serve(a, stderr)
	}
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintln(stderr, err) // config.Errors: one line each
	}
	if err != nil {
		return statusError
	}
	return statusOK
}

// errSaid is an error of which everything has been said.
var errSaid = errors.New("said already")

// serve runs the exporter until SIGINT or SIGTERM, and returns its exit status. After the first of them they have
// their default effect again, so that the second ends the process at once. What goes wrong is in the log.
func serve(a arguments, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	reload := make(chan os.Signal, 1) // one that is waiting stands for all
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)

	o := a.options
	o.Reload = reload
	var err error
	if o.Logger, err = app.NewLogger(stderr, a.logLevel, a.logFormat); err != nil {
		fmt.Fprintln(stderr, err)
		return statusError
	}
	switch err := app.Run(ctx, o); {
	case err == nil:
		return statusOK
	case isMistake(err):
		return statusConfig
	}
	return statusError
}

// isMistake says whether an error lasts until somebody mends the configuration: a mistake in it, or a file that is not
// there or may not be read. A file system that does not answer may answer later.
func isMistake(err error) bool {
	var mistakes config.Errors
	var unread *config.ReadError
	if !errors.As(err, &unread) {
		return errors.As(err, &mistakes)
	}
	return unread.Path == "" || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, file.ErrNotRegular)
}
