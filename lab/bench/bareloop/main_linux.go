// Command bareloop is the floor that the exporter's cost is measured against: it
// sends ICMP echo requests to consecutive loopback addresses at an even rate from
// one socket in one loop, drains replies and kernel stamps on each tick, and does
// nothing else. It prints one line of JSON.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"prefix_exporter/lab/bench/bareloop/namespace"
)

// maxAddresses is what 16 bits of sequence number and 127.0.0.0/8 leave room for.
const maxAddresses = 1 << 16

type options struct {
	addresses      int
	first          string
	interval, tick time.Duration
	duration       time.Duration
	namespace, raw bool
	stampID        string
}

// result is the line that the program prints. Times are in the unit of their name.
type result struct {
	Addresses   int     `json:"addresses"`
	Seconds     float64 `json:"seconds"` // of wall clock, first tick to last reply
	TickMs      float64 `json:"tick_ms"`
	Socket      string  `json:"socket"`   // datagram or raw
	StampID     string  `json:"stamp_id"` // key or counter
	Sent        uint64  `json:"sent"`
	Received    uint64  `json:"received"`
	Lost        uint64  `json:"lost"`
	Late        uint64  `json:"late"`
	Duplicate   uint64  `json:"duplicate"`
	Strange     uint64  `json:"strange"`
	Unstamped   uint64  `json:"unstamped"`
	KernelDrops uint32  `json:"kernel_drops"`

	CPUSeconds     float64 `json:"cpu_seconds"` // of the loop, by the process clock
	UserSeconds    float64 `json:"user_seconds"`
	SystemSeconds  float64 `json:"system_seconds"`
	CPUPercent     float64 `json:"cpu_percent"` // of one core
	CPUMicrosEcho  float64 `json:"cpu_us_per_echo"`
	RTTp50         float64 `json:"rtt_p50_us"`
	RTTp99         float64 `json:"rtt_p99_us"`
	RTTp999        float64 `json:"rtt_p999_us"`
	RTTMax         float64 `json:"rtt_max_us"`
	MaxTickLateUs  float64 `json:"max_tick_late_us"`
	Ticks          uint64  `json:"ticks"`
	PeakRSSMiB     float64 `json:"peak_rss_mib"`
	RTTSampleBytes int     `json:"rtt_sample_bytes"` // part of the RSS that only the percentiles need
}

func main() {
	var o options
	app := kingpin.New("bareloop", "Send ICMP echo requests to loopback addresses in the leanest loop there is, and say what it cost.")
	app.HelpFlag.Short('h')
	app.Flag("addresses", "How many consecutive addresses, each probed once an interval.").Default("10240").IntVar(&o.addresses)
	app.Flag("first", "The first address.").Default("127.1.0.0").StringVar(&o.first)
	app.Flag("interval", "Time between two probes of an address.").Default("1s").DurationVar(&o.interval)
	app.Flag("duration", "How long to send.").Default("60s").DurationVar(&o.duration)
	app.Flag("tick", "Time between two wake-ups.").Default("4ms").DurationVar(&o.tick)
	app.Flag("namespace", "Run in a fresh network namespace; needs root.").Default("true").BoolVar(&o.namespace)
	app.Flag("raw", "Use a raw socket instead of a datagram one.").BoolVar(&o.raw)
	app.Flag("stamp-id", "How transmit stamps name their packet: key (Linux 6.13), counter, or auto.").Default("auto").EnumVar(&o.stampID, "auto", "key", "counter")
	kingpin.MustParse(app.Parse(os.Args[1:]))
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bareloop:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	first, err := netip.ParseAddr(o.first)
	switch {
	case err != nil || !first.Is4() || !first.IsLoopback():
		return fmt.Errorf("--first %q: must be an address of 127.0.0.0/8", o.first)
	case o.addresses < 1 || o.addresses > maxAddresses:
		return fmt.Errorf("--addresses %d: must be between 1 and %d", o.addresses, maxAddresses)
	case o.interval <= 0 || o.tick <= 0 || o.duration <= 0:
		return fmt.Errorf("--interval, --tick and --duration must be above 0")
	}
	if o.namespace {
		if err := namespace.Enter(); err != nil {
			return err
		}
	}
	s, err := openSocket(o.raw, o.stampID)
	if err != nil {
		return err
	}
	defer unix.Close(s.fd)

	var stop atomic.Bool
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		stop.Store(true)
	}()

	total := uint64(float64(o.addresses) * float64(o.duration) / float64(o.interval))
	ip := first.As4()
	l := newLoop(s, binary.BigEndian.Uint32(ip[:]), o.addresses, o.interval, o.tick, int(total))

	runtime.LockOSThread()
	runtime.GC() // so that none has a reason to run later: the loop allocates nothing
	before, start := usage(), time.Now()
	if err := l.run(total, &stop); err != nil {
		return err
	}
	wall, after := time.Since(start), usage()
	return json.NewEncoder(os.Stdout).Encode(l.result(o, wall, before, after))
}

// cpu is what the process has used of the processors.
type cpu struct{ total, user, system float64 }

// usage reads the process clock, which is exact, and getrusage, whose split into
// user and system time is sampled by the kernel's tick and only a hint.
func usage() cpu {
	var ts unix.Timespec
	var ru unix.Rusage
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic("CLOCK_PROCESS_CPUTIME_ID: " + err.Error())
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		panic("getrusage: " + err.Error())
	}
	return cpu{float64(ts.Nano()) / 1e9, float64(ru.Utime.Nano()) / 1e9, float64(ru.Stime.Nano()) / 1e9}
}

func (l *loop) result(o options, wall time.Duration, before, after cpu) result {
	c := l.counts
	r := result{
		Addresses: o.addresses, Seconds: wall.Seconds(), TickMs: o.tick.Seconds() * 1e3,
		Socket: "datagram", StampID: "counter",
		Sent: c.sent, Received: c.received, Lost: c.sent - c.received, Late: c.late, Duplicate: c.duplicate,
		Strange: c.strange, Unstamped: c.received - uint64(l.measured), KernelDrops: l.socket.drops(),
		CPUSeconds: after.total - before.total, UserSeconds: after.user - before.user, SystemSeconds: after.system - before.system,
		MaxTickLateUs: float64(c.maxLate) / 1e3, Ticks: c.ticks, RTTSampleBytes: 4 * len(l.rtts),
		PeakRSSMiB: peakRSS(), // before sorting, which is not part of the loop
	}
	if l.socket.raw {
		r.Socket = "raw"
	}
	if l.socket.keyed {
		r.StampID = "key"
	}
	r.CPUPercent = 100 * r.CPUSeconds / r.Seconds
	if c.sent > 0 {
		r.CPUMicrosEcho = 1e6 * r.CPUSeconds / float64(c.sent)
	}
	if rtts := l.rtts[:l.measured]; len(rtts) > 0 {
		slices.Sort(rtts)
		at := func(q float64) float64 { return float64(rtts[int(q*float64(len(rtts)-1))]) / 1e3 }
		r.RTTp50, r.RTTp99, r.RTTp999, r.RTTMax = at(0.5), at(0.99), at(0.999), at(1)
	}
	return r
}

// peakRSS returns VmHWM of proc_pid_status(5) in MiB, 0 if it cannot be read.
func peakRSS() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		return 0
	}
	return kib / 1024
}
