package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is the number of messages per system call. Beyond 64 nothing is
	// gained any more; one tick of 65,536 addresses at 4 ms is two full batches.
	batchSize = 128

	// maxBacklog is how many packets may go out before the replies are read: a
	// loop that is behind must not overflow its own receive buffer.
	maxBacklog = 8 * batchSize

	payloadLen = 56 // what ping sends

	// Where the probe says who it is, behind the ICMP header.
	indexOffset = headerLen
	roundOffset = headerLen + 4
)

// counts is what the loop knows at its end.
type counts struct {
	sent, received, late, duplicate, strange uint64

	ticks   uint64
	maxLate time.Duration // the worst wake-up after its tick
}

// loop sends what is due on each tick and drains what has come, and does nothing
// else. One probe per address is in flight, so its state is an element of an array.
type loop struct {
	socket   socket
	first    uint32 // the first address, as a number
	interval time.Duration
	tick     time.Duration

	out, replies, reports *batch
	dataAt                int // where the ICMP header begins in a received packet

	next     int      // address that is due next
	current  uint32   // round that next is in, from 1
	rounds   []uint32 // by address: the round of the last probe, 0 before the first
	tx, rx   []int64  // by address: kernel stamps of that probe, 0 until known
	rtts     []uint32 // of every answered probe, nanoseconds
	measured int
	counts   counts
}

func newLoop(s socket, first uint32, addresses int, interval, tick time.Duration, samples int) *loop {
	l := &loop{
		socket: s, first: first, interval: interval, tick: tick,
		replies: newBatch(batchSize, ipv4Len+headerLen+payloadLen, stampLen, false),
		reports: newBatch(batchSize, 0, stampLen+errorLen, false),
		current: 1,
		rounds:  make([]uint32, addresses),
		tx:      make([]int64, addresses),
		rx:      make([]int64, addresses),
		rtts:    make([]uint32, samples),
	}
	controlLen := 0
	if s.keyed {
		controlLen = keyLen
	}
	l.out = newBatch(batchSize, headerLen+payloadLen, controlLen, true)
	for i, p := range l.out.data {
		p[0] = 8 // echo request
		binary.BigEndian.PutUint16(p[4:], s.id)
		if s.keyed {
			putKey(l.out.control[i], 0)
		}
	}
	if s.raw {
		l.dataAt = ipv4Len // replies to packets without options have none either
	}
	return l
}

// run sends total probes, evenly spread, and waits for their replies for at most
// one interval more. It must be called on a locked thread; stop ends it early.
func (l *loop) run(total uint64, stop *atomic.Bool) error {
	start := now()
	deadline := int64(math.MaxInt64)
	for wake := start; ; {
		t := now()
		l.counts.ticks++
		l.counts.maxLate = max(l.counts.maxLate, time.Duration(t-wake))

		due := min(total, uint64(float64(t-start)*float64(len(l.rounds))/float64(l.interval)))
		if stop.Load() {
			due, total = l.counts.sent, l.counts.sent
		}
		for more := true; more; more = l.counts.sent < due {
			if err := l.send(int(min(due-l.counts.sent, maxBacklog))); err != nil {
				return err
			}
			if err := l.drain(); err != nil {
				return err
			}
		}
		if l.counts.sent == total {
			deadline = min(deadline, t+int64(l.interval))
			if t >= deadline || uint64(l.measured) == total {
				return nil
			}
		}
		// Ticks that were missed are skipped; what they owed is due at the next.
		wake += int64(l.tick) * max(1, (now()-wake)/int64(l.tick)+1)
		sleepUntil(wake)
	}
}

// send sends the next n probes.
func (l *loop) send(n int) error {
	for n > 0 {
		size := min(n, batchSize)
		for i := range size {
			l.fill(i)
		}
		for first := 0; first < size; {
			sent, errno := l.out.send(l.socket.fd, first, size)
			switch errno {
			case 0:
				first += sent
			case unix.EAGAIN, unix.EINTR:
				// The send buffer is full of packets whose stamps we have not read.
				if err := l.drain(); err != nil {
					return err
				}
			default:
				return fmt.Errorf("sending: %w", errno)
			}
		}
		l.counts.sent += uint64(size)
		n -= size
	}
	return nil
}

// fill writes the probe of the next address into message i: only what varies.
func (l *loop) fill(i int) {
	a, p := l.next, l.out.data[i]
	binary.BigEndian.PutUint16(p[6:], uint16(a))
	binary.BigEndian.PutUint32(p[indexOffset:], uint32(a))
	binary.BigEndian.PutUint32(p[roundOffset:], l.current)
	binary.BigEndian.PutUint32(l.out.names[i].Addr[:], l.first+uint32(a))
	if l.socket.keyed {
		binary.NativeEndian.PutUint32(l.out.control[i][cmsgHeader:], uint32(a))
	}
	if l.socket.raw {
		p[2], p[3] = 0, 0
		binary.BigEndian.PutUint16(p[2:], checksum(p))
	}
	l.rounds[a], l.tx[a], l.rx[a] = l.current, 0, 0
	if l.next++; l.next == len(l.rounds) {
		l.next = 0
		l.current++
	}
}

// drain reads the replies, then the transmit stamps, until both queues are empty.
func (l *loop) drain() error {
	for n := batchSize; n == batchSize; {
		var errno unix.Errno
		if n, errno = l.replies.receive(l.socket.fd, 0); errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
			return fmt.Errorf("receiving: %w", errno)
		}
		for i := range n {
			l.reply(i)
		}
		l.replies.reuse(n)
	}
	for n := batchSize; n == batchSize; {
		var errno unix.Errno
		if n, errno = l.reports.receive(l.socket.fd, unix.MSG_ERRQUEUE); errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
			return fmt.Errorf("receiving stamps: %w", errno)
		}
		for i := range n {
			l.report(i)
		}
		l.reports.reuse(n)
	}
	return nil
}

// reply takes received message i to the probe that it answers.
func (l *loop) reply(i int) {
	p := l.replies.data[i][:l.replies.messages[i].n]
	if len(p) < l.dataAt+roundOffset+4 || p[l.dataAt] != 0 {
		l.counts.strange++
		return
	}
	p = p[l.dataAt:]
	a := binary.BigEndian.Uint32(p[indexOffset:])
	if a >= uint32(len(l.rounds)) {
		l.counts.strange++
		return
	}
	if l.rounds[a] != binary.BigEndian.Uint32(p[roundOffset:]) {
		l.counts.late++
		return
	}
	if l.rx[a] != 0 {
		l.counts.duplicate++
		return
	}
	l.rx[a], _ = l.replies.ancillary(i)
	l.counts.received++
	l.match(a)
}

// report takes transmit stamp i to the probe that it is of.
func (l *loop) report(i int) {
	stamp, key := l.reports.ancillary(i)
	if !l.socket.keyed {
		key %= uint32(len(l.rounds)) // the kernel counts as we do, in the order of sending
	}
	if key >= uint32(len(l.rounds)) {
		l.counts.strange++
		return
	}
	l.tx[key] = stamp
	l.match(key)
}

// match takes the RTT once both stamps of a probe are there.
func (l *loop) match(a uint32) {
	if l.tx[a] == 0 || l.rx[a] == 0 || l.measured == len(l.rtts) {
		return
	}
	// 32 bits hold 4.2 s, and no answer may take longer than the interval.
	l.rtts[l.measured] = uint32(min(max(l.rx[a]-l.tx[a], 0), math.MaxUint32))
	l.measured++
}

// now reads CLOCK_MONOTONIC, the clock that sleepUntil sleeps by.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("CLOCK_MONOTONIC: " + err.Error())
	}
	return ts.Nano()
}

// sleepUntil sleeps to an absolute time, so that ticks do not drift. The raw call
// keeps the processor from the Go scheduler, which has nothing else to run on it.
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
