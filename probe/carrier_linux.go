package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// carrierEvery is how often it is asked whether an interface has lost its carrier. An address is down after several
	// intervals of 0.2 s or more, so this is early enough.
	carrierEvery = 100 * time.Millisecond
	// carrierAgain is how long the interface that a route leads over is believed to be the same, while none gains or loses its
	// carrier.
	carrierAgain = 10 * time.Second
)

// carriers knows which interfaces have no carrier, and which destinations the kernel would send over one of these. The kernel
// tells of changes (rtnetlink(7)), so that the loop never waits for the lock under which interfaces are configured. Where there
// is no netlink, in a sandbox, nothing is known of carriers.
type carriers struct {
	events int // a socket to which changes of interfaces are told; -1: none
	ask    int // one for questions about routes
	out    map[int32]bool
	epoch  uint32 // changes with out; 0: never begun
	seen   int64
	buffer []byte
}

// carrier is what is known of the one that a target needs.
type carrier struct {
	epoch uint32
	asked int64
	out   bool
}

func newCarriers() carriers { return carriers{events: -1, ask: -1} }

// start opens the sockets and reads the state of all interfaces.
func (c *carriers) start() {
	c.buffer = make([]byte, 32<<10) // more than a message about one interface has
	c.events = netlinkSocket(unix.RTMGRP_LINK)
	c.ask = netlinkSocket(0)
	c.readAll()
}

func (c *carriers) close() {
	for _, fd := range []*int{&c.events, &c.ask} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
	c.out = nil
}

// netlinkSocket returns a socket of rtnetlink(7) to which changes of some groups are told; -1: none is to be had.
func netlinkSocket(groups uint32) int {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return -1
	}
	return fd
}

// readAll reads the state of all interfaces.
func (c *carriers) readAll() {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return
	}
	c.out = nil
	c.epoch++ // what was without carrier may not be any more
	c.note(rib)
}

// step reads what has changed. It costs one system call each carrierEvery.
func (c *carriers) step(now int64) {
	if c.events < 0 || now-c.seen < int64(carrierEvery) {
		return
	}
	c.seen = now
	for range batchSize { // more can wait
		n, _, err := unix.Recvfrom(c.events, c.buffer, unix.MSG_DONTWAIT)
		switch {
		case err == nil:
			c.note(c.buffer[:n])
		case errors.Is(err, unix.ENOBUFS): // more was told than fits
			c.readAll()
		default:
			return
		}
	}
}

// note takes messages about interfaces. One that is switched off is not without carrier: its routes are gone.
func (c *carriers) note(messages []byte) {
	all, err := syscall.ParseNetlinkMessage(messages)
	if err != nil {
		return
	}
	for i := range all {
		m := &all[i]
		if len(m.Data) < unix.SizeofIfInfomsg || m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK {
			continue
		}
		index := int32(binary.NativeEndian.Uint32(m.Data[4:]))
		flags := binary.NativeEndian.Uint32(m.Data[8:])
		out := m.Header.Type == unix.RTM_NEWLINK && flags&unix.IFF_UP != 0 && flags&unix.IFF_LOWER_UP == 0
		if out == c.out[index] {
			continue
		}
		c.epoch++
		if !out {
			delete(c.out, index)
			continue
		}
		if c.out == nil {
			c.out = map[int32]bool{}
		}
		c.out[index] = true
	}
}

// lacks says whether what is sent to a destination would leave by an interface without carrier. It asks the kernel, at some
// microseconds, where any has none, and remembers the answer in known.
func (c *carriers) lacks(known *carrier, k socketKey, index int, dst netip.Addr, now int64) bool {
	if len(c.out) == 0 {
		return false
	}
	if known.epoch == c.epoch && now-known.asked < int64(carrierAgain) {
		return known.out
	}
	by, ok := c.interfaceTo(k.source, index, dst)
	*known = carrier{epoch: c.epoch, asked: now, out: ok && c.out[by]}
	return known.out
}

// interfaceTo asks the kernel by which interface it would send from a source, if that is valid, and over an interface, if that is
// not 0, to a destination. It returns false if there is no route, or no answer.
func (c *carriers) interfaceTo(source netip.Addr, index int, dst netip.Addr) (by int32, ok bool) {
	if c.ask < 0 {
		return 0, false
	}
	if err := unix.Sendto(c.ask, routeQuestion(source, index, dst), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, false
	}
	n, _, err := unix.Recvfrom(c.ask, c.buffer, unix.MSG_DONTWAIT) // the kernel has answered within the call before
	if err != nil {
		return 0, false
	}
	const fixed = unix.SizeofNlMsghdr + unix.SizeofRtMsg
	if n < fixed || binary.NativeEndian.Uint16(c.buffer[4:]) != unix.RTM_NEWROUTE {
		return 0, false
	}
	for b := c.buffer[fixed:n]; len(b) >= unix.SizeofRtAttr; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return 0, false
		}
		if binary.NativeEndian.Uint16(b[2:]) == unix.RTA_OIF && length >= unix.SizeofRtAttr+4 {
			return int32(binary.NativeEndian.Uint32(b[unix.SizeofRtAttr:])), true
		}
		b = b[min(len(b), (length+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1)):]
	}
	return 0, false
}

// routeQuestion writes an RTM_GETROUTE.
func routeQuestion(source netip.Addr, index int, dst netip.Addr) []byte {
	family, bits := unix.AF_INET, 32
	if !dst.Is4() {
		family, bits = unix.AF_INET6, 128
	}
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofRtMsg, 128)
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b[unix.SizeofNlMsghdr], b[unix.SizeofNlMsghdr+1] = byte(family), byte(bits)
	b = appendAttr(b, unix.RTA_DST, dst.AsSlice())
	if source.IsValid() {
		b[unix.SizeofNlMsghdr+2] = byte(bits)
		b = appendAttr(b, unix.RTA_SRC, source.AsSlice())
	}
	if index != 0 {
		b = appendAttr(b, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// appendAttr appends an attribute whose value has a length that is a multiple of four.
func appendAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, value...)
}
