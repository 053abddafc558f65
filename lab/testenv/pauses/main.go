// Command pauses only sleeps, and writes a line for each time that it overslept: the Unix time in seconds and by how many
// milliseconds. What fails beside a pause of the machine may have failed because of it.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"prefix_exporter/lab/testenv"
)

func main() {
	least := flag.Duration("least", 50*time.Millisecond, "the shortest pause that is written")
	flag.Parse()
	runtime.LockOSThread()
	hurry() // before everything else that runs beside it
	testenv.Sleep(nil, func(overslept time.Duration) {
		if overslept >= *least {
			fmt.Fprintf(os.Stdout, "%d %d\n", time.Now().Unix(), overslept.Milliseconds())
		}
	})
}
