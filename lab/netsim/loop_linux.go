package netsim

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many packets are handled under one hold of the lock: some 300 µs of work.
	batch = 64
	// priority of the loop under SCHED_FIFO: above all ordinary work, below the kernel's own threads (50).
	priority = 20
	// spareWait is the shortest sleep that is worth its system call.
	spareWait = 5_000 // ns
)

// run is the loop of the lab: read, answer, sleep until a packet comes or a reply is due.
func (l *Lab) run(prioritise bool, ready chan<- error) {
	// The thread is never unlocked, so that it ends with the goroutine and takes its priority with it.
	runtime.LockOSThread()
	defer close(l.done)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // 1 ns instead of 50 µs; for when SCHED_FIFO is refused
	var err error
	if prioritise {
		err = setPriority()
	}
	ready <- err
	buffer := make([]byte, maxMTU)
	for {
		l.mu.Lock()
		busy := l.turn(buffer)
		wait, closing, paused := l.plan(), l.closing, l.paused
		l.mu.Unlock()
		if closing {
			return
		}
		if !busy {
			l.sleep(wait, paused)
		}
	}
}

// setPriority puts the calling thread under SCHED_FIFO. Children of the thread do not inherit it.
func setPriority() error {
	const resetOnFork = 0x40000000 // SCHED_RESET_ON_FORK, sched(7)
	param := struct{ priority int32 }{priority}
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO|resetOnFork, uintptr(unsafe.Pointer(&param)))
	if errno != 0 {
		return fmt.Errorf("ask for SCHED_FIFO: %w", errno)
	}
	return nil
}

// turn reads up to a batch of packets and writes every reply that is due, and tells whether there may be
// more to read at once.
func (l *Lab) turn(buffer []byte) (busy bool) {
	empty := l.paused
	for range batch {
		l.flush()
		if empty {
			break
		}
		n, err := l.tun.read(buffer)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			empty = true
		case err != 0:
			l.failure = fmt.Errorf("read %s: %w", l.tun.name, err)
			l.closing = true
			return false
		default:
			p, now := buffer[:n], l.now()
			l.engine.receive(p, now, l.waited(p, now))
		}
	}
	if empty && !l.paused && l.engine.queue.len() == 0 {
		for _, w := range l.waiters {
			close(w)
		}
		l.waiters = nil
	}
	return !empty
}

// waited returns how long a packet that has just been read had been in the queue, ns. When the tap does
// not know, or the clock has been set since, it is 0.
func (l *Lab) waited(packet []byte, now moment) int64 {
	const tooLong = 4_000_000_000 // what the truth has room for
	at := l.tap.arrival(packet)
	if w := now.wall - at; at != 0 && w > 0 && w < tooLong {
		return w
	}
	return 0
}

// flush writes what is due.
func (l *Lab) flush() {
	if l.engine.queue.len() == 0 {
		return
	}
	for now := l.now(); ; {
		p := l.engine.pop(now)
		if p == nil {
			return
		}
		if l.tun.write(p) != 0 {
			l.engine.stats.Refused++
		}
		now = l.now()
		l.engine.wrote(now)
	}
}

// forever is a wait without a deadline.
const forever = -1

// plan returns how long the loop may sleep, ns; l.mu is held.
func (l *Lab) plan() int64 {
	due, ok := l.engine.next()
	if !ok {
		return forever
	}
	return max(0, due-l.now().mono-int64(l.spin))
}

// sleep waits for a packet, an interrupt, or the time to pass.
func (l *Lab) sleep(wait int64, paused bool) {
	if wait >= 0 && wait < spareWait {
		return
	}
	fds := [2]unix.PollFd{{Fd: int32(l.wake), Events: unix.POLLIN}, {Fd: int32(l.tun.fd), Events: unix.POLLIN}}
	watched := fds[:]
	if paused {
		watched = fds[:1]
	}
	var timeout *unix.Timespec
	if wait >= 0 {
		ts := unix.NsecToTimespec(wait)
		timeout = &ts
	}
	_, _ = unix.Ppoll(watched, timeout, nil) // EINTR and all else: look again
	if fds[0].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(l.wake, count[:])
	}
}
