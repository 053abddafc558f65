// Command tcp measures what a connection of the exporter costs beside the least that it can
// cost: a bare loop of non-blocking connects on one epoll, and the exporter's own prober,
// connect to the same ports of loopback addresses, one after the other, in a network
// namespace of their own. It prints one line of JSON for each, and the ratios.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"prefix_exporter/lab/bench/bareloop/namespace"
)

const (
	// loud is the first address that a server answers, silent the first one behind a device
	// that swallows everything. 65,536 addresses fit behind either.
	loud, silent = "127.1.0.0", "198.51.0.0"
	// quiet is the network that is routed to the device that swallows.
	quiet, device = "198.51.0.0/16", "quiet0"
	// maxAddresses is what fits.
	maxAddresses = 1 << 16
)

// ports are those of the server.
var ports = []uint16{80, 443}

type options struct {
	role             string
	addresses, pairs int
	silent           int // percent
	interval         time.Duration
	timeout          time.Duration
	tick             time.Duration
	warmup, duration time.Duration
	echoes           bool
}

func main() {
	var o options
	app := kingpin.New("tcp", "Measure the exporter's TCP prober beside a bare loop of non-blocking connects, in a network namespace of its own. Needs root.")
	app.HelpFlag.Short('h')
	app.Flag("addresses", "How many addresses, two ports each.").Default("10240").IntVar(&o.addresses)
	app.Flag("silent", "How many of a hundred addresses swallow the SYN.").Default("0").IntVar(&o.silent)
	app.Flag("interval", "Time between two connections to a port.").Default("10s").DurationVar(&o.interval)
	app.Flag("timeout", "How long a handshake may take.").Default("4s").DurationVar(&o.timeout)
	app.Flag("tick", "The tick of the bare loop; a ratio is only fair with that of the exporter.").Default("10ms").DurationVar(&o.tick)
	app.Flag("warmup", "How long each runs before it is measured.").Default("5s").DurationVar(&o.warmup)
	app.Flag("duration", "How long each is measured.").Default("10s").DurationVar(&o.duration)
	app.Flag("pairs", "How many turns.").Default("3").IntVar(&o.pairs)
	app.Flag("echoes", "Let the prober send an echo request a second to each address meanwhile; no ratio then.").BoolVar(&o.echoes)
	app.Flag("role", "What this process is.").Hidden().Default("parent").EnumVar(&o.role, "parent", "server", "bare", "prober")
	kingpin.MustParse(app.Parse(os.Args[1:]))
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "tcp:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	switch {
	case o.addresses < 1 || o.addresses > maxAddresses:
		return fmt.Errorf("--addresses %d: must be between 1 and %d", o.addresses, maxAddresses)
	case o.silent < 0 || o.silent > 100:
		return fmt.Errorf("--silent %d: must be between 0 and 100", o.silent)
	case o.interval <= 0 || o.tick <= 0 || o.duration <= 0 || o.timeout <= 0 || o.timeout > o.interval:
		return fmt.Errorf("--interval, --tick, --duration and --timeout must be above 0, --timeout at most --interval")
	}
	switch o.role {
	case "server":
		return serve(o.silent > 0)
	case "bare":
		return print(bare(o))
	case "prober":
		return print(prober(o))
	}
	if err := namespace.Enter(); err != nil {
		return err
	}
	return parent(o)
}

// targets are the ports that are connected to: those that answer, then those that do not.
func (o options) targets() (list []netip.AddrPort) {
	n := o.addresses * o.silent / 100
	for _, part := range []struct {
		first string
		n     int
	}{{loud, o.addresses - n}, {silent, n}} {
		a := netip.MustParseAddr(part.first)
		for range part.n {
			for _, port := range ports {
				list = append(list, netip.AddrPortFrom(a, port))
			}
			a = a.Next()
		}
	}
	return list
}

// result is what one of the two says of its measured time.
type result struct {
	What      string  `json:"what"`
	Begun     uint64  `json:"begun"`
	Answered  uint64  `json:"answered"`
	TimedOut  uint64  `json:"timed_out"`
	Failed    uint64  `json:"failed"` // any other way
	CPUMicros float64 `json:"cpu_us_per_connect"`
	Open      int     `json:"most_open"`
	RSS       float64 `json:"rss_mib"`
	// Of the prober only.
	FalseLoss     uint64 `json:"false_loss"` // of addresses that answer
	Skipped       uint64 `json:"skipped"`
	Errors        uint64 `json:"send_errors"`
	Echoes        uint64 `json:"echoes,omitempty"`
	EchoesLost    uint64 `json:"echoes_lost"`
	EchoesSkipped uint64 `json:"echoes_skipped"`
	EchoesLate    uint64 `json:"echoes_later_than_10ms"`
}

func print(r result, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// parent starts the server and lets the two have their turns.
func parent(o options) error {
	server := namespace.Again("--role", "server")
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	time.Sleep(200 * time.Millisecond)
	if o.silent > 0 {
		for _, args := range [][]string{
			{"address", "add", "198.18.0.1/32", "dev", device}, {"link", "set", device, "up"},
			{"route", "add", quiet, "dev", device, "src", "198.18.0.1"},
		} {
			if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %v: %w: %s", args, err, out)
			}
		}
	}
	if o.echoes {
		_, err := o.turn("prober")
		return err
	}
	var ratios []float64
	for range o.pairs {
		b, err := o.turn("bare")
		if err != nil {
			return err
		}
		p, err := o.turn("prober")
		if err != nil {
			return err
		}
		ratios = append(ratios, p.CPUMicros/b.CPUMicros)
	}
	slices.Sort(ratios)
	fmt.Printf("ratio of processor time per connection, of %d turns: median %.2f, all %.2f\n", o.pairs, ratios[len(ratios)/2], ratios)
	return nil
}

// turn lets one of the two run.
func (o options) turn(role string) (r result, err error) {
	var out bytes.Buffer
	cmd := namespace.Again("--role", role)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("%s: %w", role, err)
	}
	fmt.Print(out.String())
	return r, json.Unmarshal(out.Bytes(), &r)
}
