package netsim_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// prober is the plainest thing that can judge the lab: one datagram ICMP socket with kernel stamps in both
// directions, which sends what is due on a tick, and then reads everything.
type prober struct {
	fd     int
	first  int     // packets sent in earlier runs, which the kernel has numbered on
	sent   []int64 // kernel's time of leaving, by number of the packet; CLOCK_REALTIME ns
	got    []int64 // kernel's time of arrival of the first reply
	copies []int   // replies
	buffer [2048]byte
	oob    [512]byte
}

const probeSize = 56 // as ping has it

func newProber(t testing.TB) *prober {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	const stamps = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE |
		unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamps); err != nil {
		t.Fatal(err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<20)
	}
	return &prober{fd: fd}
}

// run sends count packets, rate a second on a 5 ms tick, round and round the addresses, and waits for
// stragglers. The first 8 payload bytes are the number of the packet, beginning with 0.
func (p *prober) run(t testing.TB, to []netip.Addr, count, rate int, wait time.Duration) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.first += len(p.sent)
	p.sent, p.got, p.copies = make([]int64, count), make([]int64, count), make([]int, count)
	addrs := make([]unix.Sockaddr, len(to))
	for i, a := range to {
		addrs[i] = &unix.SockaddrInet4{Addr: a.As4()}
	}
	packet := make([]byte, 8+probeSize)
	packet[0] = 8
	const tick = 5 * time.Millisecond
	begin := time.Now()
	for n := 0; n < count; {
		due := min(count, int(float64(rate)*time.Since(begin).Seconds())+1)
		for ; n < due; n++ {
			binary.BigEndian.PutUint16(packet[6:], uint16(n))
			binary.BigEndian.PutUint64(packet[8:], uint64(n))
			for {
				err := unix.Sendto(p.fd, packet, 0, addrs[n%len(addrs)])
				if err == nil {
					break
				}
				if err != unix.EAGAIN && err != unix.EHOSTUNREACH { // a pending ICMP error surfaces once
					t.Fatal(err)
				}
				p.drain()
			}
			if n%256 == 0 {
				p.drain()
			}
		}
		p.drain()
		ts := unix.NsecToTimespec(int64(tick))
		unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
	}
	for end := time.Now().Add(wait); time.Now().Before(end); {
		p.drain()
		time.Sleep(tick)
	}
	p.drain()
}

func (p *prober) drain() {
	for p.receive(0) {
	}
	for p.receive(unix.MSG_ERRQUEUE) {
	}
}

// receive takes one reply, or one stamp of leaving from the error queue.
func (p *prober) receive(flags int) bool {
	n, oobn, _, _, err := unix.Recvmsg(p.fd, p.buffer[:], p.oob[:], flags|unix.MSG_DONTWAIT)
	if err != nil {
		return err != unix.EAGAIN
	}
	var stamp int64
	var number uint32
	left := false
	messages, _ := unix.ParseSocketControlMessage(p.oob[:oobn])
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPING:
			stamp = int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR:
			left = m.Data[4] == unix.SO_EE_ORIGIN_TIMESTAMPING
			number = binary.NativeEndian.Uint32(m.Data[12:])
		}
	}
	switch {
	case flags != 0 && left && int(number) >= p.first:
		p.sent[int(number)-p.first] = stamp
	case flags == 0 && n >= 16 && p.buffer[0] == 0:
		if i := binary.BigEndian.Uint64(p.buffer[8:]); i < uint64(len(p.got)) {
			p.copies[i]++
			if p.copies[i] == 1 {
				p.got[i] = stamp
			}
		}
	}
	return true
}
