// Command tools builds the Prometheus and Alertmanager programs that the tests run,
// once, into the cache of the project, and prints their paths. Without arguments
// it builds all of them; with names, those.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"prefix_exporter/lab/e2e/tools"
)

func main() {
	app := kingpin.New("tools", "Build the programs that the tests need at their pinned versions. The directory is that of "+tools.DirEnv+", else the user's cache.")
	app.HelpFlag.Short('h')
	names := app.Arg("name", "Programs to build; default all.").Enums(tools.Names()...)
	kingpin.MustParse(app.Parse(os.Args[1:]))
	if len(*names) == 0 {
		*names = tools.Names()
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, name := range *names {
		start := time.Now()
		path, err := tools.Path(ctx, name, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, "tools:", err)
			os.Exit(1)
		}
		fmt.Fprintf(os.Stderr, "tools: %s ready after %.1fs\n", name, time.Since(start).Seconds())
		fmt.Println(path)
	}
}
