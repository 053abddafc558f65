package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer holds a second of replies and stamps at 10,000 a second; the
	// default of 208 KiB holds 256 replies. Forced, so it needs CAP_NET_ADMIN.
	receiveBuffer = 16 << 20

	stampFlags = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE |
		unix.SOF_TIMESTAMPING_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
)

// socket is one ICMP socket with kernel stamps in both directions.
type socket struct {
	fd  int
	raw bool
	id  uint16 // the ICMP identifier; the kernel writes it into datagrams itself
	// keyed: each packet carries the key of its transmit stamp (SCM_TS_OPT_ID). Else
	// the kernel numbers the packets of the socket in the order of sending.
	keyed bool
}

// openSocket opens a datagram ICMP socket, or a raw one where the kernel's
// ping_group_range does not admit us or where raw is asked for.
func openSocket(raw bool, stampID string) (socket, error) {
	s := socket{raw: raw}
	var err error
	if !raw {
		s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		s.raw = errors.Is(err, unix.EACCES)
	}
	if s.raw {
		s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		s.id = uint16(os.Getpid())
	}
	if err != nil {
		return s, fmt.Errorf("opening an ICMP socket: %w", err)
	}
	if s.raw {
		if err := s.filter(); err != nil {
			return s, fmt.Errorf("attaching the filter: %w", err)
		}
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return s, fmt.Errorf("setting a receive buffer of %d bytes: %w", receiveBuffer, err)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stampFlags); err != nil {
		return s, fmt.Errorf("asking for kernel stamps: %w", err)
	}
	switch stampID {
	case "key":
		s.keyed = true
	case "auto":
		s.keyed = s.knowsKeys()
	}
	return s, nil
}

// knowsKeys reports whether the kernel takes SCM_TS_OPT_ID (Linux 6.13); an older
// one refuses the unknown control message. It asks by sending to a connected UDP
// socket of its own, so that the numbering of the ICMP socket is not disturbed.
func (s socket) knowsKeys() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) != nil ||
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stampFlags) != nil {
		return false
	}
	self, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	control := make([]byte, keyLen)
	putKey(control, 0)
	return unix.Sendmsg(fd, []byte{0}, control, self, unix.MSG_DONTWAIT) == nil
}

// putKey writes a complete SCM_TS_OPT_ID message.
func putKey(control []byte, key uint32) {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_TS_OPT_ID
	h.SetLen(cmsgHeader + 4)
	binary.NativeEndian.PutUint32(control[cmsgHeader:], key)
}

// filter lets only echo replies with our identifier into a raw socket, which would
// otherwise be given every ICMP packet of the host, its own requests included.
func (s socket) filter() error {
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // X = length of the IP header
		bpf.LoadIndirect{Off: 0, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 3}, // type 0, code 0: echo reply
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(s.id), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// drops returns how many packets the kernel threw away at the socket.
func (s socket) drops() uint32 {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	if _, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
		return 0
	}
	return info[unix.SK_MEMINFO_DROPS]
}
