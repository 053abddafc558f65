package probe

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/prefix"
)

// tcpBench is a TCP engine on the bench.
type tcpBench struct {
	*bench
	tcp  TCPEngine
	list []TCPTarget

	mu       sync.Mutex
	attempts map[netip.AddrPort][]Packet
}

// tcpTarget returns the usual target of a port.
func tcpTarget(a netip.Addr, port uint16) TCPTarget {
	return TCPTarget{Addr: a, Port: port, ID: prefix.TargetID(a), Interval: 500 * time.Millisecond, Timeout: 400 * time.Millisecond}
}

// tcpTargets returns targets for all ports of all addresses, changed by mend.
func tcpTargets(addrs []netip.Addr, mend func(*TCPTarget), ports ...uint16) (list []TCPTarget) {
	for _, a := range addrs {
		for _, port := range ports {
			t := tcpTarget(a, port)
			if mend != nil {
				mend(&t)
			}
			list = append(list, t)
		}
	}
	return list
}

// newTCPBench makes a TCP engine that is not running yet.
func newTCPBench(t testing.TB, name string) *tcpBench {
	t.Helper()
	netsim.RequireLab(t)
	b := &tcpBench{
		bench:    bareBench(t),
		attempts: map[netip.AddrPort][]Packet{},
	}
	b.table = prefix.NewTable(nil)
	var err error
	b.tcp, err = NewTCP(name, Options{
		Recorder: b.table, Logger: log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr)),
		Registerer: b.registry, Health: b.health, Trace: b.note,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *tcpBench) note(p Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := netip.AddrPortFrom(p.Addr, p.Port)
	b.attempts[key] = append(b.attempts[key], p)
}

// asked waits until so many attempts at every port have ended in one way or another.
func (b *tcpBench) asked(n uint64) {
	b.t.Helper()
	waitFor(b.t, func() bool {
		counts := b.counts()
		return !slices.ContainsFunc(b.list, func(t TCPTarget) bool { return sum(counts[t.key()]) < n })
	})
}

// until waits until so many attempts at every one of these ports have ended in this way.
func (b *tcpBench) until(n uint64, o prefix.Outcome, list []TCPTarget) {
	b.t.Helper()
	waitFor(b.t, func() bool {
		counts := b.counts()
		return !slices.ContainsFunc(list, func(t TCPTarget) bool { return counts[t.key()][o] < n })
	})
}

// sum is how many attempts have ended.
func sum(counts [prefix.Outcomes]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// apply gives the targets to table and engine, and follows all of them.
func (b *tcpBench) apply(list []TCPTarget) {
	b.t.Helper()
	b.table.Apply(tcpBlocks(list))
	for i := range list {
		list[i].Handle, _ = b.table.Handle(list[i].Addr, prefix.Probe{Kind: prefix.TCP, Port: list[i].Port})
	}
	if err := b.tcp.Apply(b.t.Context(), list); err != nil {
		b.t.Fatal(err)
	}
	for i := range list {
		if err := b.tcp.Trace(b.t.Context(), list[i].Addr, time.Hour); err != nil {
			b.t.Fatal(err)
		}
	}
	b.list = list
}

// tcpBlocks sorts targets, the ports of one address together, into the blocks of a table.
func tcpBlocks(list []TCPTarget) []prefix.Block {
	byPrefix := map[netip.Prefix]*prefix.Block{}
	var order []netip.Prefix
	for i := range list {
		bits := 24
		if list[i].Addr.Is6() {
			bits = 120
		}
		p, _ := list[i].Addr.Prefix(bits)
		b := byPrefix[p]
		if b == nil {
			b = &prefix.Block{Prefix: p, Buckets: []float64{.001, .01, .1, 1}}
			byPrefix[p] = b
			order = append(order, p)
		}
		if n := len(b.Targets); n == 0 || b.Targets[n-1].Addr != list[i].Addr {
			b.Targets = append(b.Targets, prefix.Target{Addr: list[i].Addr})
		}
		last := &b.Targets[len(b.Targets)-1]
		last.Probes = append(last.Probes, prefix.TargetProbe{
			Probe:     prefix.Probe{Kind: prefix.TCP, Port: list[i].Port},
			DownAfter: 2, UpAfter: 1, Expect: prefix.ExpectAll,
		})
	}
	blocks := make([]prefix.Block, len(order))
	for i, p := range order {
		blocks[i] = *byPrefix[p]
	}
	return blocks
}

// run starts the engine; it ends with the test, or by calling b.stop.
func (b *tcpBench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.tcp.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(b.stop)
}

// settle waits until every attempt that has begun has its outcome, and ends the engine.
func (b *tcpBench) settle() {
	b.t.Helper()
	slow := slices.Clone(b.list)
	for i := range slow {
		slow[i].Interval = 1000 * time.Hour
	}
	if err := b.tcp.Apply(b.t.Context(), slow); err != nil {
		b.t.Fatal(err)
	}
	waitFor(b.t, func() bool {
		switch e := b.tcp.(type) {
		case *connector:
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.open == 0 && e.waiting == 0
		case *dialer:
			return e.flying.Load() == 0
		}
		return false
	})
	b.stop()
}

// counts returns the counters of a table by port.
func (b *tcpBench) counts() map[netip.AddrPort][prefix.Outcomes]uint64 {
	counts := map[netip.AddrPort][prefix.Outcomes]uint64{}
	var snap prefix.Snapshot
	for _, s := range b.table.Series() {
		s.Snapshot(&snap)
		for i, slot := range snap.Slots {
			if slot.Configured {
				counts[netip.AddrPortFrom(snap.Addrs[i], s.Probe().Port)] = slot.Counts
			}
		}
	}
	return counts
}

// all checks that every probe of every port ended in one way, and that there were some.
func (b *tcpBench) all(o prefix.Outcome, list []TCPTarget) {
	b.t.Helper()
	b.allOf(b.t, o, list)
}

func (b *tcpBench) allOf(t testing.TB, o prefix.Outcome, list []TCPTarget) {
	t.Helper()
	counts := b.counts()
	for i := range list {
		key := list[i].key()
		got := counts[key]
		var want, late [prefix.Outcomes]uint64
		want[o] = got[o]
		late[o], late[prefix.Timeout] = got[o], got[prefix.Timeout]
		switch {
		case got == want && got[o] > 0:
		case got == late && got[o] > 0: // the clock of the process, or what answers here, was late
			b.control.Pace(t, "%s: counters %v, want %s only", key, got, o)
		default:
			t.Errorf("%s: counters %v, want %s only", key, got, o)
		}
	}
}

// longestRTT returns the longest RTT that was recorded.
func (b *tcpBench) longestRTT() (longest time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, packets := range b.attempts {
		for _, p := range packets {
			longest = max(longest, p.RTT)
		}
	}
	return longest
}

// server takes connections on a port of all loopback addresses and closes them. It
// allocates nothing per connection.
type server struct {
	fds      []int
	accepted atomic.Int64
	done     sync.WaitGroup
}

// serve starts a server for the length of the test.
func serve(t testing.TB, ports ...uint16) *server {
	t.Helper()
	netsim.RequireLab(t)
	s := &server{}
	for _, port := range ports {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // both families
		if err != nil {
			t.Fatal(err)
		}
		s.fds = append(s.fds, fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet6{Port: int(port)}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(fd, 4096); err != nil {
			t.Fatal(err)
		}
		s.done.Go(func() { s.accept(fd) })
	}
	t.Cleanup(func() {
		for _, fd := range s.fds {
			_ = unix.Shutdown(fd, unix.SHUT_RDWR) // wakes who accepts
		}
		s.done.Wait()
		for _, fd := range s.fds {
			_ = unix.Close(fd)
		}
	})
	return s
}

func (s *server) accept(fd int) {
	for {
		conn, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			s.accepted.Add(1)
			_ = unix.Close(int(conn))
		case unix.EINVAL, unix.EBADF:
			return
		}
	}
}

// nft adds rules to the firewall of the lab, a chain for each hook, until the end of the test.
func nft(t testing.TB, rules string) {
	t.Helper()
	netsim.RequireLab(t)
	path := testenv.RequireProgram(t, "nft", "nftables")
	script := `add table inet t
add chain inet t in { type filter hook input priority 0; }
add chain inet t out { type filter hook output priority 0; }
` + rules
	cmd := exec.Command(path, "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command(path, "delete table inet t").Run() })
}

// sockets counts the TCP sockets of the lab in a state of /proc/net/tcp (06: TIME_WAIT).
func sockets(t testing.TB, state string) (n int) {
	t.Helper()
	for _, name := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); len(fields) > 3 && fields[3] == state {
				n++
			}
		}
	}
	return n
}
