// Command stack runs the exporter, Prometheus and Alertmanager on this machine without any
// container, with the configuration that the project ships, and shows the mails and the
// SMS that would have been sent: for those who have Go and no Docker.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
)

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		// A closed terminal (SIGHUP) ends it, too. After the first signal they have their
		// default effect again, so that the second one ends this program at once.
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer context.AfterFunc(ctx, stop)()
		err = run(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	configFile string // of the exporter, absolute; empty: its built-in configuration
	dataDir    string // absolute
	ports      ports
}

// ports are where the programs listen, on 127.0.0.1 alone; 0: one that is free.
type ports struct{ exporter, prometheus, alertmanager uint16 }

func parse(args []string) (o options, err error) {
	app := kingpin.New("stack", "Run the exporter, Prometheus and Alertmanager of this source tree together, until ^C.")
	app.HelpFlag.Short('h')
	app.Flag("config.file", "Configuration file of the exporter; without it 127.0.0.0/24 is probed.").
		ExistingFileVar(&o.configFile)
	app.Flag("data-dir", "Folder for data, logs and the configuration in use; it is kept. Default: below the user's cache.").
		StringVar(&o.dataDir)
	app.Flag("port.exporter", "Port of the exporter on 127.0.0.1; 0: any.").Default("10240").Uint16Var(&o.ports.exporter)
	app.Flag("port.prometheus", "Port of Prometheus; 0: any.").Default("9090").Uint16Var(&o.ports.prometheus)
	app.Flag("port.alertmanager", "Port of Alertmanager; 0: any.").Default("9093").Uint16Var(&o.ports.alertmanager)
	if _, err = app.Parse(args); err != nil {
		return o, err
	}
	if o.configFile != "" {
		if o.configFile, err = filepath.Abs(o.configFile); err != nil {
			return o, err
		}
	}
	if o.dataDir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("no cache folder, set --data-dir: %w", err)
		}
		o.dataDir = filepath.Join(cache, "prefix_exporter-stack")
	}
	o.dataDir, err = filepath.Abs(o.dataDir)
	return o, err
}
