package probe

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
)

const (
	// batchSize is how many packets one system call sends or receives. Beyond 64 the
	// cost of the call itself is no longer to be seen.
	batchSize = 64
	// maxHeader is the length of an IPv4 header with all options (RFC 791 section 3.1).
	maxHeader = 60
	// inDataLen is how much of a packet is read at least: an IPv4 header, an ICMP error
	// header, the header that it quotes, and an echo header with our tag.
	inDataLen = maxHeader + packet.HeaderLen + maxHeader + packet.MinEcho
	// rawDataLen is how much of a packet is read on a raw socket, where ICMP errors arrive as
	// packets, to be checked whole: RFC 1812 section 4.3.2.3 lets them have 576 bytes,
	// RFC 4443 section 2.4 (c) the minimum MTU of 1280.
	rawDataLen = maxHeader + 1280
	// controlLen holds all control messages of one packet: a timestamping report (64),
	// an extended error with the offender's address (64), and room for what we did not ask for.
	controlLen = 192
	// outControlLen holds SCM_TS_OPT_ID, TTL and TOS, 24 bytes each on 64-bit machines.
	outControlLen = 96
)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// outBatch is a batch of echo requests being filled. Its slots and flights are parallel to
// its messages.
type outBatch struct {
	n       int
	size    int // room for an ICMP message in each packet
	msgs    [batchSize]mmsghdr
	iovs    [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet6 // large enough for RawSockaddrInet4
	control [batchSize][outControlLen]byte
	packets [batchSize][]byte
	slots   [batchSize]*slot
	flights [batchSize]*flight
	dues    [batchSize]int64
}

// grow makes room for ICMP messages of size bytes.
func (b *outBatch) grow(size int, requestType byte) {
	if size <= b.size {
		return
	}
	b.size = size
	for i := range b.packets {
		b.packets[i] = make([]byte, size)
		packet.Fill(b.packets[i], requestType)
		b.iovs[i].Base = &b.packets[i][0]
		h := &b.msgs[i].Msghdr
		h.Iov = &b.iovs[i]
		h.Iovlen = 1
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	}
}

// add appends one echo request. The batch must have room.
func (s *socket) add(key *packet.Key, sl *slot, f *flight, due int64) {
	b := &s.out
	i := b.n
	b.n++
	b.slots[i], b.flights[i], b.dues[i] = sl, f, due
	length := packet.HeaderLen + sl.target.Size
	p := b.packets[i][:length]
	key.PutEcho(p, s.identifier, packet.Tag{Target: sl.index, Serial: f.serial})
	if s.raw && !s.key.v6 { // the kernel does it for the others
		packet.PutChecksum(p)
	}
	b.iovs[i].SetLen(length)
	h := &b.msgs[i].Msghdr
	h.Namelen = putSockaddr(&b.names[i], sl.target.Addr, s.index)
	s.putControl(i, sl)
}

// putSockaddr writes an address as a sockaddr and returns its length. index is the interface to which the
// socket is bound.
func putSockaddr(name *unix.RawSockaddrInet6, addr netip.Addr, index int) uint32 {
	if addr.Is4() {
		n := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		*n = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.As4()}
		return unix.SizeofSockaddrInet4
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16(), Scope_id: zone(addr, index)}
	return unix.SizeofSockaddrInet6
}

// putControl writes the control messages of message i.
func (s *socket) putControl(i int, sl *slot) {
	c := s.out.control[i][:0]
	if s.transmit == transmitByID {
		c = appendControl(c, unix.SOL_SOCKET, scmTSOptID, sl.index)
	}
	level, ttl, tos := int32(unix.IPPROTO_IP), int32(unix.IP_TTL), int32(unix.IP_TOS)
	if s.key.v6 {
		level, ttl, tos = unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, unix.IPV6_TCLASS
	}
	if sl.target.TTL != defaultTTL {
		c = appendControl(c, level, ttl, uint32(sl.target.TTL))
	}
	if sl.target.TOS != defaultTOS {
		c = appendControl(c, level, tos, uint32(sl.target.TOS))
	}
	h := &s.out.msgs[i].Msghdr
	h.Control = nil
	if len(c) > 0 {
		h.Control = &s.out.control[i][0]
	}
	h.SetControllen(len(c))
}

// appendControl appends a control message with a 32-bit value (cmsg(3)).
func appendControl(c []byte, level, kind int32, value uint32) []byte {
	start := len(c)
	c = c[:start+unix.CmsgSpace(4)]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c[start]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(4))
	binary.NativeEndian.PutUint32(c[start+unix.CmsgLen(0):], value)
	return c
}

// The calls below never wait for anything, so they are made as raw system calls: the
// runtime does not have to watch whether they block.

// send sends the messages from first on, and returns how many the kernel took.
func (s *socket) send(first int) (n int, errno unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.out.msgs[first])),
		uintptr(s.out.n-first), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// inBatch is a batch of packets, or of entries of the error queue, being received.
type inBatch struct {
	msgs    [batchSize]mmsghdr
	iovs    [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet6
	control [batchSize][controlLen]byte
	data    []byte
	length  int
}

// grow makes room for length bytes of each message.
func (b *inBatch) grow(length int) {
	if length <= b.length {
		return
	}
	b.length = length
	b.data = make([]byte, batchSize*length)
	for i := range b.msgs {
		b.iovs[i].Base = &b.data[i*length]
		b.iovs[i].SetLen(length)
		h := &b.msgs[i].Msghdr
		h.Iov = &b.iovs[i]
		h.Iovlen = 1
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.control[i][0]
	}
}

// receive fills the batch without waiting and returns how many messages there are.
func (b *inBatch) receive(fd int, flags int) (n int, errno unix.Errno) {
	for i := range b.msgs {
		h := &b.msgs[i].Msghdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlLen)
	}
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[0])),
		batchSize, uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// message returns the data that was read of message i.
func (b *inBatch) message(i int) []byte {
	return b.data[i*b.length:][:min(int(b.msgs[i].n), b.length)]
}

// cut says whether message i was longer than what was read of it.
func (b *inBatch) cut(i int) bool { return b.msgs[i].Flags&unix.MSG_TRUNC != 0 }

// from returns the address in message i: the sender, or the destination of an error.
func (b *inBatch) from(i int) netip.Addr {
	name := &b.names[i]
	if b.msgs[i].Namelen < unix.SizeofSockaddrInet4 {
		return netip.Addr{}
	}
	if name.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr)
	}
	return netip.AddrFrom16(name.Addr)
}

// report is what the control messages of one message say.
type report struct {
	stamp    int64 // nanoseconds since 1970 on the wall clock; 0: none
	origin   uint8 // SO_EE_ORIGIN_…; 0: no extended error
	icmpType uint8
	icmpCode uint8
	data     uint32     // ee_data: the number of a transmit stamp
	quoteEnd int        // of an ICMP error: where in the data its extensions begin; 0: it does not say
	offender netip.Addr // who sent the ICMP error
}

// report reads the control messages of message i (cmsg(3), ip(7) IP_RECVERR, and the
// kernel's Documentation/networking/timestamping.rst section 2.1.1).
func (b *inBatch) report(i int) (r report) {
	c := b.control[i][:min(int(b.msgs[i].Controllen), controlLen)]
	for len(c) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		length := int(h.Len)
		if length < unix.SizeofCmsghdr || length > len(c) {
			return r
		}
		body := c[unix.CmsgLen(0):length]
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPING && len(body) >= int(unsafe.Sizeof(unix.Timespec{})):
			ts := (*unix.Timespec)(unsafe.Pointer(&body[0])) // the first of three: the software stamp
			r.stamp = ts.Nano()
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_RECVERR,
			h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_RECVERR:
			r.extended(body)
		}
		space := unix.CmsgSpace(length - unix.CmsgLen(0))
		if space >= len(c) {
			return r
		}
		c = c[space:]
	}
	return r
}

// extended reads struct sock_extended_err and the address behind it.
func (r *report) extended(body []byte) {
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	if len(body) < size {
		return
	}
	e := (*unix.SockExtendedErr)(unsafe.Pointer(&body[0]))
	r.origin, r.icmpType, r.icmpCode, r.data = e.Origin, e.Type, e.Code, e.Data
	// struct sock_ee_data_rfc4884 in place of ee_data, where IP_RECVERR_RFC4884 is set
	r.quoteEnd = int(binary.NativeEndian.Uint16(body[unsafe.Offsetof(e.Data):]))
	body = body[size:]
	if len(body) < 2 {
		return
	}
	switch family := binary.NativeEndian.Uint16(body); {
	case family == unix.AF_INET && len(body) >= unix.SizeofSockaddrInet4:
		r.offender = netip.AddrFrom4([4]byte(body[4:8]))
	case family == unix.AF_INET6 && len(body) >= unix.SizeofSockaddrInet6:
		r.offender = netip.AddrFrom16([16]byte(body[8:24]))
	}
}
