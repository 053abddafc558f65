package probe

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sourceTo returns the source address that the kernel chooses for a destination: checksums cover it. It asks a
// socket that leaves by the same interface, and is used once: one that is connected keeps the source of
// its first connection, and one whose connection is dissolved is not bound to the interface any more
// (__udp_disconnect of Linux).
func (s *traceSocket) sourceTo(dst netip.Addr) (netip.Addr, error) {
	if s.key.source.IsValid() {
		return s.key.source, nil
	}
	fd, err := ordinary(s.key.socketKey, unix.SOCK_DGRAM)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unix.Close(fd)
	var name unix.RawSockaddrInet6
	length := putSockaddr(&name, dst, s.index)
	if errno := connectTo(fd, &name, length); errno != 0 {
		return netip.Addr{}, errno
	}
	addr, err := unix.Getsockname(fd)
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
