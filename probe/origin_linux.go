package probe

import (
	"errors"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// look sees whether what an origin names is there, by doing with a socket what the engines do. It waits for
// nobody: none of these calls takes the lock under which interfaces are configured (rtnl). err: that cannot be told.
func look(k socketKey) (index int, gone *absence, err error) {
	fd, err := unix.Socket(k.family(), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		gone := absenceOf(k, err)
		return 0, gone, unlessAbsent(gone, err)
	}
	defer unix.Close(fd)
	if k.device != "" {
		if err := unix.BindToDevice(fd, k.device); err != nil {
			gone := absenceOf(k, err)
			return 0, gone, unlessAbsent(gone, err)
		}
		index = boundTo(fd, k.device)
	}
	if !k.source.IsValid() {
		return index, nil, nil
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // or it would take a port
	if err := unix.Bind(fd, k.local(0, index)); err != nil {
		gone := absenceOf(k, err)
		return index, gone, unlessAbsent(gone, err)
	}
	if k.source.Is4() && foreign(k.source) {
		return index, noSource(k.source, unix.EADDRNOTAVAIL), nil
	}
	return index, nil, nil
}

// unlessAbsent returns the error that absenceOf has not explained.
func unlessAbsent(gone *absence, err error) error {
	if gone != nil {
		return nil
	}
	return err
}

// foreign says that no interface has an IPv4 address, though a socket may be bound to it: with
// net.ipv4.ip_nonlocal_bind, as on many machines with a floating address, every address may. Nothing is
// sent: the kernel looks for a route to itself, and has none from a source that is not its own.
func foreign(source netip.Addr) bool {
	return !reachesItself(source) && reachesItself(netip.IPv4Unspecified())
}

// reachesItself says whether there is a route from a source to 127.0.0.1.
func reachesItself(source netip.Addr) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1) // the address may be one of a VRF
	if unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}) != nil {
		return false
	}
	return unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}) == nil // discard
}

func (k socketKey) family() int {
	if k.v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// local returns the address to bind a socket to: the source, or any; port 0 leaves it to the kernel.
func (k socketKey) local(port uint16, index int) unix.Sockaddr {
	source := k.source
	switch {
	case source.IsValid():
	case k.v6:
		source = netip.IPv6Unspecified()
	default:
		source = netip.IPv4Unspecified()
	}
	return sockaddr(source, port, index)
}

// bindAs binds a socket to the source of its key and a port (or identifier) that it had before, if that is
// still free, or one that the kernel chooses.
func (k socketKey) bindAs(fd int, port uint16, index int) error {
	err := unix.Bind(fd, k.local(port, index))
	if port != 0 && errors.Is(err, unix.EADDRINUSE) {
		err = unix.Bind(fd, k.local(0, index))
	}
	return err
}

// boundTo returns the index of the interface to which a socket is bound; 0: that cannot be told.
func boundTo(fd int, device string) int {
	if index, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); err == nil {
		return index
	}
	ifr, err := unix.NewIfreq(device) // before Linux 5.1
	if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr) != nil {
		return 0
	}
	return int(ifr.Uint32())
}

// zone returns the scope of an address, as sockaddr_in6 has it (RFC 4007 section 6): of a link-local one the
// interface to which the socket is bound, of all others none.
func zone(addr netip.Addr, index int) uint32 {
	if addr.Is6() && addr.IsLinkLocalUnicast() {
		return uint32(index)
	}
	return 0
}

// notices is a socket by which the kernel tells of changes of interfaces and addresses (rtnetlink(7)). What
// it tells is not read: that it does is the reason to look. Without it, in a sandbox, changes are seen each lookEvery.
type notices struct {
	opened bool
	fd     int // -1: none is to be had
	buffer [64]byte
}

func (n *notices) open() {
	if n.opened {
		return
	}
	n.opened = true
	n.fd = netlinkSocket(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
}

// any says whether something has changed since the last call. It costs one system call.
func (n *notices) any() (changed bool) {
	if !n.opened || n.fd < 0 {
		return false
	}
	for range batchSize { // more can wait
		_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(n.fd), uintptr(unsafe.Pointer(&n.buffer)),
			uintptr(len(n.buffer)), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN {
			return changed
		}
		changed = true // or more was told than fits (ENOBUFS)
	}
	return changed
}

func (n *notices) close() {
	if n.opened && n.fd >= 0 {
		_ = unix.Close(n.fd)
	}
	n.opened = false
}
