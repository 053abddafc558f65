package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// serve accepts on the ports of all addresses and closes, until it is killed. It may be
// asked to swallow, too.
func serve(silence bool) error {
	failed := make(chan error)
	if silence {
		tun, err := swallower()
		if err != nil {
			return err
		}
		defer tun.Close()
		go func() {
			buf := make([]byte, 2048)
			for {
				if _, err := tun.Read(buf); err != nil && !errors.Is(err, unix.EIO) { // EIO: not up yet
					failed <- err
				}
			}
		}()
	}
	for _, port := range ports {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)}); err != nil {
			return err
		}
		if err := unix.Listen(fd, 65535); err != nil {
			return err
		}
		go func() {
			for {
				conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
				switch {
				case err == nil:
					_ = unix.Close(conn)
				case !errors.Is(err, unix.ECONNABORTED) && !errors.Is(err, unix.EINTR):
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// swallower makes the device whose packets are read and never answered.
func swallower() (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(device)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, fmt.Errorf("device %s: %w", device, err)
	}
	return os.NewFile(uintptr(fd), device), nil
}

// connection is one port as the bare loop sees it.
type connection struct {
	to       unix.SockaddrInet4
	fd       int // -1: none
	deadline int64
}

// loop connects to what is due on each tick, takes what the epoll has, and does nothing else.
type loop struct {
	epoll       int
	connections []connection
	next        int   // that is due next
	waiting     []int // what has been begun, in order, as a ring
	head, n     int
	events      [256]unix.EpollEvent
	info        unix.TCPInfo
	open, most  int
	rtts        int64 // their sum: to have it used
	result      result
}

// bare runs the bare loop.
func bare(o options) (result, error) {
	targets := o.targets()
	l := &loop{connections: make([]connection, len(targets)), waiting: make([]int, len(targets)+1), result: result{What: "bare loop"}}
	for i, t := range targets {
		// In the order of the golden section, as a phase would have it: loud and silent mixed.
		c := &l.connections[(i*7919)%len(targets)]
		if c.fd != 0 {
			return result{}, fmt.Errorf("%d targets: must not be a multiple of 7919", len(targets))
		}
		c.to, c.fd = unix.SockaddrInet4{Port: int(t.Port()), Addr: t.Addr().As4()}, -1
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return result{}, err
	}
	runtime.LockOSThread()
	begin := now()
	measured := false
	var before time.Duration
	for wake := begin; ; {
		t := now()
		if !measured && t-begin >= int64(o.warmup) {
			measured, before, l.result = true, cpuTime(), result{What: l.result.What}
		}
		if measured && t-begin >= int64(o.warmup+o.duration) {
			break
		}
		l.poll()
		l.expire(t)
		// What is due, of all that has been since the beginning.
		due := int(float64(t-begin) / float64(o.interval) * float64(len(l.connections)))
		for ; l.next < due; l.next++ {
			if err := l.connect(l.next%len(l.connections), t+int64(o.timeout)); err != nil {
				return result{}, err
			}
		}
		wake += int64(o.tick) * max(1, (now()-wake)/int64(o.tick)+1)
		sleepUntil(wake)
	}
	l.result.CPUMicros = float64((cpuTime() - before).Nanoseconds()) / 1e3 / float64(l.result.Begun)
	l.result.Open, l.result.RSS = l.most, rss()
	return l.result, nil
}

func (l *loop) connect(i int, deadline int64) error {
	c := &l.connections[i]
	if c.fd >= 0 {
		return errors.New("a connection is due again before its timeout")
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, &c.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(i)}); err != nil {
		return err
	}
	c.fd, c.deadline = fd, deadline
	l.waiting[(l.head+l.n)%len(l.waiting)] = i
	l.n++
	l.open++
	l.most = max(l.most, l.open)
	l.result.Begun++
	return nil
}

func (l *loop) poll() {
	for {
		n, err := unix.EpollWait(l.epoll, l.events[:], 0)
		if err != nil {
			return
		}
		for _, ev := range l.events[:n] {
			l.finish(&l.connections[ev.Fd], ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0)
		}
		if n < len(l.events) {
			return
		}
	}
}

func (l *loop) finish(c *connection, failed bool) {
	if failed {
		l.result.Failed++
	} else {
		size := uint32(unsafe.Sizeof(l.info))
		_, _, _ = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(c.fd), unix.IPPROTO_TCP, unix.TCP_INFO,
			uintptr(unsafe.Pointer(&l.info)), uintptr(unsafe.Pointer(&size)), 0)
		l.rtts += int64(l.info.Rtt)
		l.result.Answered++
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	l.close(c)
}

func (l *loop) close(c *connection) {
	_ = unix.Close(c.fd)
	c.fd = -1
	l.open--
}

func (l *loop) expire(t int64) {
	for l.n > 0 {
		c := &l.connections[l.waiting[l.head]]
		if c.deadline > t {
			return
		}
		if c.fd >= 0 {
			l.result.TimedOut++
			l.close(c)
		}
		l.head = (l.head + 1) % len(l.waiting)
		l.n--
	}
}

// now reads CLOCK_MONOTONIC, the clock that sleepUntil sleeps by.
func now() int64 { return clock(unix.CLOCK_MONOTONIC) }

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration { return time.Duration(clock(unix.CLOCK_PROCESS_CPUTIME_ID)) }

func clock(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic(fmt.Sprintf("clock %d: %v", id, err))
	}
	return ts.Nano()
}

// sleepUntil sleeps to an absolute time, so that ticks do not drift.
func sleepUntil(t int64) {
	ts := unix.NsecToTimespec(t)
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME,
			uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if errno != unix.EINTR {
			return
		}
	}
}

// rss returns VmRSS of proc_pid_status(5) in MiB, 0 if it cannot be read.
func rss() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib / 1024
}
