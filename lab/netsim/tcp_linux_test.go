package netsim_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
)

// open connects, and returns what the kernel knows of the connection.
func open(t *testing.T, to string, linger int) *unix.TCPInfo {
	t.Helper()
	c, err := net.DialTimeout("tcp", to, 5*time.Second)
	if err != nil {
		t.Errorf("%s: %v", to, err)
		return new(unix.TCPInfo)
	}
	defer c.Close()
	c.(*net.TCPConn).SetLinger(linger)
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestKernelMeasuresTheHandshakeThatTheTruthHas connects with the real TCP of Linux.
func TestKernelMeasuresTheHandshakeThatTheTruthHas(t *testing.T) {
	lab := start(t, "prefixes: [192.0.2.0/24, '2001:db8::/120']\nrules: [{delay: 8ms, jitter: 2ms, spread: 5ms, tcp: open}]", netsim.Options{})
	for _, c := range []struct {
		to     string
		linger int
		end    netsim.End
	}{
		{"192.0.2.7:80", 0, netsim.EndRST},
		{"192.0.2.7:80", -1, netsim.EndFIN},
		{"[2001:db8::7]:443", 0, netsim.EndRST},
		{"[2001:db8::7]:443", -1, netsim.EndFIN},
	} {
		begin := time.Now()
		info := open(t, c.to, c.linger)
		time.Sleep(5 * time.Millisecond) // the FIN is answered late, as everything
		quiesce(t, lab)
		truth := lab.Since(begin, netsim.TCP)
		if len(truth) != 1 {
			t.Fatalf("%s: %d SYNs", c.to, len(truth))
		}
		p := truth[0]
		over := time.Duration(info.Rtt)*time.Microsecond - p.Hold()
		if p.Verdict != netsim.Answered || p.End != c.end || p.Established == 0 || p.Ended == 0 || over < -10*time.Microsecond || over > 5*time.Millisecond {
			t.Errorf("%s: the kernel measured %d µs, held %s; %+v", c.to, info.Rtt, p.Hold(), p)
		}
		t.Logf("%s: held %s, the kernel measured %s more", c.to, p.Hold(), over)
		if info.Options&1 == 0 { // TCPI_OPT_TIMESTAMPS
			t.Errorf("%s: no timestamps", c.to)
		}
	}
	if n := len(lab.Truth()) + int(lab.Stats().Malformed+lab.Stats().Other); n != 0 {
		t.Errorf("%d echo requests and odd packets", n)
	}
}

func TestDialFailsAsWithRealHosts(t *testing.T) {
	const scenario = `
prefixes: [192.0.2.0/24, '2001:db8::/120']
rules:
  - {delay: 3ms}
  - {port: 25, tcp: silent}
  - {port: 26, unreachable: {code: host, from: 192.0.2.1}}
  - {port: 27, unreachable: {code: prohibited, quote: 8}}
  - {port: 28, unreachable: net}
  - {port: 29, ttl_exceeded: transit}
  - {port: 30, tcp: open, loss: 1, until: 500ms}
`
	lab := start(t, scenario, netsim.Options{})
	for _, c := range []struct {
		port    int
		want    error
		verdict netsim.Verdict
	}{
		{80, unix.ECONNREFUSED, netsim.Refused},
		{25, os.ErrDeadlineExceeded, netsim.Silent},
		{26, unix.EHOSTUNREACH, netsim.Unreachable},
		{27, unix.EHOSTUNREACH, netsim.Unreachable},
		{28, unix.ENETUNREACH, netsim.Unreachable},
		{29, unix.EHOSTUNREACH, netsim.TTLExceeded},
	} {
		for _, host := range []string{"192.0.2.7", "2001:db8::7"} {
			want := c.want
			if host != "192.0.2.7" && c.port == 27 {
				want = unix.EACCES // icmpv6_err_convert of Linux
			}
			begin := time.Now()
			d := net.Dialer{Timeout: 100 * time.Millisecond}
			conn, err := d.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(c.port)))
			if err == nil {
				conn.Close()
			}
			timeout := false
			if e, ok := errors.AsType[net.Error](err); ok {
				timeout = e.Timeout()
			}
			if !errors.Is(err, want) && (!errors.Is(want, os.ErrDeadlineExceeded) || !timeout) {
				t.Errorf("%s port %d: %v, want %v", host, c.port, err, want)
			}
			quiesce(t, lab)
			if p := lab.Since(begin, netsim.TCP); len(p) != 1 || p[0].Verdict != c.verdict || int(p[0].DstPort) != c.port {
				t.Errorf("%s port %d: %+v", host, c.port, p)
			}
		}
	}
}

func TestLostSYNComesAgain(t *testing.T) {
	lab := start(t, "prefixes: [192.0.2.0/24]\nrules: [{delay: 2ms, tcp: open}, {protocol: tcp, loss: 1, until: 500ms}]", netsim.Options{})
	info := open(t, "192.0.2.7:80", 0)
	if info.Total_retrans != 1 {
		t.Errorf("%d retransmissions", info.Total_retrans)
	}
	quiesce(t, lab)
	p := lab.Truth(netsim.TCP)
	if len(p) != 2 || p[0].Verdict != netsim.Lost || p[0].Retransmit || p[1].Verdict != netsim.Answered || !p[1].Retransmit || p[0].ISN != p[1].ISN {
		t.Errorf("%+v", p)
	}
}

func TestDataAreTakenAndResetsArrive(t *testing.T) {
	lab := start(t, "prefixes: [192.0.2.0/24]\nrules: [{delay: 2ms, tcp: open}, {port: 83, tcp: reset}, {port: 84, tcp: reset_early}]", netsim.Options{})
	c, err := net.Dial("tcp", "192.0.2.7:80")
	if err != nil {
		t.Fatal(err)
	}
	c.Write(make([]byte, 100_000))
	c.(*net.TCPConn).CloseWrite()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v", n, err)
	}
	c.Close()
	for _, port := range []string{"83", "84"} {
		c, err := net.Dial("tcp", "192.0.2.7:"+port)
		if err == nil {
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("port %s: %v", port, err)
		}
	}
	quiesce(t, lab)
	p := lab.Truth(netsim.TCP)
	if len(p) != 3 || p[0].End != netsim.EndFIN || p[1].Verdict != netsim.Reset || p[2].Verdict != netsim.Reset || len(p[2].Replies) != 2 {
		t.Errorf("%+v", p)
	}
}

// synSent is the state of a connection that nothing has answered yet (linux/include/net/tcp_states.h).
const synSent = 2

// connector opens connections without blocking and polls them, as a prober does.
type connector struct {
	poll  int
	total map[unix.Errno]int
	fds   map[int]bool
}

func (c *connector) connect(t testing.TB, to netip.AddrPort) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
	c.fds[fd] = true
	if err := unix.EpollCtl(c.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)}); err != nil {
		t.Fatal(err)
	}
}

func (c *connector) collect(t testing.TB, wait int) {
	t.Helper()
	var events [256]unix.EpollEvent
	n, _ := unix.EpollWait(c.poll, events[:], wait)
	for _, e := range events[:max(n, 0)] {
		// Linux tells an ICMP error a moment before the connection has ended by it: that one comes again.
		info, err := unix.GetsockoptTCPInfo(int(e.Fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		code, err := unix.GetsockoptInt(int(e.Fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			t.Fatal(err)
		}
		if code == 0 && info.State == synSent {
			continue
		}
		c.total[unix.Errno(code)]++
		unix.SetsockoptLinger(int(e.Fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(int(e.Fd))
		delete(c.fds, int(e.Fd))
	}
}

// run opens count connections, at most so many at a time, and waits for all.
func (c *connector) run(t testing.TB, to []netip.AddrPort, count, atOnce int) {
	for n := 0; n < count || len(c.fds) > 0; {
		for ; n < count && len(c.fds) < atOnce; n++ {
			c.connect(t, to[n%len(to)])
		}
		c.collect(t, 100)
	}
}

func newConnector(t testing.TB) *connector {
	t.Helper()
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	c := &connector{poll, map[unix.Errno]int{}, map[int]bool{}}
	t.Cleanup(func() {
		for fd := range c.fds {
			unix.Close(fd)
		}
		unix.Close(poll)
	})
	return c
}

func endpoints(first string, hostCount int, ports ...uint16) (list []netip.AddrPort) {
	for _, a := range hosts(first, hostCount) {
		for _, p := range ports {
			list = append(list, netip.AddrPortFrom(a, p))
		}
	}
	return list
}

func TestConnectionsAndTruthAgree(t *testing.T) {
	lab := start(t, "prefixes: [10.1.0.0/16]\nrules: [{delay: 3ms, jitter: 1ms}, {port: 80, tcp: open}, {port: 81, unreachable: host}]", netsim.Options{})
	c := newConnector(t)
	const count = 6000
	c.run(t, endpoints("10.1.0.0", 2000, 80, 443, 81), count, 500)
	quiesce(t, lab)
	sum := lab.Totals(netsim.TCP)
	open, refused, unreachable := c.total[0], c.total[unix.ECONNREFUSED], c.total[unix.EHOSTUNREACH]
	if open != count/3 || refused != count/3 || unreachable != count/3 || sum.Of(netsim.Answered) != count/3 || sum.Of(netsim.Refused) != count/3 || sum.Of(netsim.Unreachable) != count/3 {
		t.Errorf("%v, the truth has %+v", c.total, sum)
	}
	for _, p := range lab.Truth(netsim.TCP) {
		if p.Verdict == netsim.Answered && (p.End != netsim.EndRST || p.Established == 0) || p.Verdict != netsim.Answered && p.End != netsim.NoEnd || p.Retransmit {
			t.Errorf("%+v", p)
		}
	}
	if a := netip.MustParseAddr("10.1.0.7"); lab.Counters(a, netsim.TCP).Requests != 3 || lab.Counters(a).Requests != 0 || lab.Counters(a, netsim.ICMP, netsim.TCP, netsim.UDP).Replies != 3 {
		t.Errorf("%+v", lab.Counters(a, netsim.TCP))
	}
}

// BenchmarkConnects opens and resets connections through the device, 1,000 at a time.
func BenchmarkConnects(b *testing.B) {
	lab := start(b, "prefixes: [10.1.0.0/16]\nrules: [{tcp: open}]", netsim.Options{})
	to, c := endpoints("10.1.0.0", 65536, 80), newConnector(b)
	before, begin := cpu(), time.Now()
	c.run(b, to, b.N, 1000)
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "SYN/s")
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/connect")
	if sum := lab.Totals(netsim.TCP); c.total[0] != b.N || sum.Of(netsim.Answered) < uint64(b.N) {
		b.Errorf("%v", c.total)
	}
	var waited []int64
	for _, p := range lab.Truth(netsim.TCP) {
		waited = append(waited, p.Read-p.Arrived)
	}
	slices.Sort(waited)
	b.ReportMetric(float64(waited[len(waited)*99/100])/1e3, "waited-p99-µs")
}
