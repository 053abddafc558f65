package probe

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sourceTo returns the source address that the kernel chooses for a destination: checksums cover it. A
// socket keeps the source of its first connection until that is dissolved (udp(7), AF_UNSPEC); and one whose connection
// is dissolved is not bound to its interface any more (__udp_disconnect of Linux).
func (s *traceSocket) sourceTo(dst netip.Addr) (netip.Addr, error) {
	if s.key.source.IsValid() {
		return s.key.source, nil
	}
	var none unix.RawSockaddrInet6
	_ = connectTo(s.finder, &none, unix.SizeofSockaddrInet6) // AF_UNSPEC is 0
	if err := bindToDevice(s.finder, s.key.device); err != nil {
		return netip.Addr{}, err
	}
	var name unix.RawSockaddrInet6
	length := putSockaddr(&name, dst, s.index)
	if errno := connectTo(s.finder, &name, length); errno != 0 {
		return netip.Addr{}, errno
	}
	addr, err := unix.Getsockname(s.finder)
	if err != nil {
		return netip.Addr{}, err
	}
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr), nil
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr), nil
	}
	return netip.Addr{}, unix.EAFNOSUPPORT
}

// connectTo connects a UDP socket, which never waits.
func connectTo(fd int, name *unix.RawSockaddrInet6, length uint32) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(name)), uintptr(length))
	return errno
}

// appendSource appends a control message that binds a packet to a source address (ip(7) IP_PKTINFO, ipv6(7)
// IPV6_PKTINFO). The kernel refuses the packet with EINVAL if the address is not its own.
func appendSource(c []byte, source netip.Addr) []byte {
	start := len(c)
	level, kind, size := int32(unix.IPPROTO_IP), int32(unix.IP_PKTINFO), unix.SizeofInet4Pktinfo
	if source.Is6() {
		level, kind, size = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo
	}
	c = c[:start+unix.CmsgSpace(size)]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c[start]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(size))
	body := unsafe.Pointer(&c[start+unix.CmsgLen(0)])
	if source.Is4() {
		*(*unix.Inet4Pktinfo)(body) = unix.Inet4Pktinfo{Spec_dst: source.As4()}
	} else {
		*(*unix.Inet6Pktinfo)(body) = unix.Inet6Pktinfo{Addr: source.As16()}
	}
	return c
}

// arrivedAt returns the address of this machine to which message i was sent, where the socket asks for it.
func (b *inBatch) arrivedAt(i int) netip.Addr {
	c := b.control[i][:min(int(b.msgs[i].Controllen), controlLen)]
	for len(c) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		length := int(h.Len)
		if length < unix.SizeofCmsghdr || length > len(c) {
			break
		}
		body := c[unix.CmsgLen(0):length]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(body) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&body[0])).Addr)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(body) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&body[0])).Addr)
		}
		space := unix.CmsgSpace(length - unix.CmsgLen(0))
		if space >= len(c) {
			break
		}
		c = c[space:]
	}
	return netip.Addr{}
}

// misled says that an answer to a probe of the newest round came to another address than the one that its
// checksum covers: the checksum was wrong, and who looks at it, as destinations do, has not answered. It cannot
// be; if it is, it must be seen.
func (t *tracer) misled(r *trail, at netip.Addr) bool {
	if !r.source.IsValid() || !at.IsValid() || at == r.source {
		return false
	}
	t.metrics.malformed.Inc()
	t.report.trouble(ReasonSocket, fmt.Sprintf("probes to %s left from %s with a checksum for %s", r.dst, at, r.source))
	return true
}
