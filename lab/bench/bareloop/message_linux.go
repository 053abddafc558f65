package main

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	headerLen = 8 // ICMP echo header, RFC 792
	ipv4Len   = 20

	cmsgHeader = unix.SizeofCmsghdr
	// stampLen is one SCM_TIMESTAMPING message: three timespecs.
	stampLen = cmsgHeader + 3*16
	// errorLen is one IP_RECVERR message: the error and the offender's address.
	errorLen = cmsgHeader + 16 + unix.SizeofSockaddrInet4
	// keyLen is one SCM_TS_OPT_ID message: 32 bits, padded to the word.
	keyLen = cmsgHeader + 8
)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// batch is one array of messages for sendmmsg or recvmmsg with all the memory that
// it points to, made once and used for every call.
type batch struct {
	messages []mmsghdr
	iovecs   []unix.Iovec
	names    []unix.RawSockaddrInet4
	data     [][]byte
	control  [][]byte
}

func newBatch(size, dataLen, controlLen int, named bool) *batch {
	b := &batch{
		messages: make([]mmsghdr, size),
		iovecs:   make([]unix.Iovec, size),
		names:    make([]unix.RawSockaddrInet4, size),
		data:     make([][]byte, size),
		control:  make([][]byte, size),
	}
	for i := range b.messages {
		h := &b.messages[i].hdr
		b.data[i] = make([]byte, dataLen)
		if dataLen > 0 {
			b.iovecs[i].Base = &b.data[i][0]
			b.iovecs[i].SetLen(dataLen)
			h.Iov = &b.iovecs[i]
			h.SetIovlen(1)
		}
		b.control[i] = make([]byte, controlLen)
		if controlLen > 0 {
			h.Control = &b.control[i][0]
			h.SetControllen(controlLen)
		}
		if named {
			b.names[i].Family = unix.AF_INET
			h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
			h.Namelen = unix.SizeofSockaddrInet4
		}
	}
	return b
}

// receive fills the batch and returns how many messages there were. It never waits.
//
// All system calls are raw ones: nothing else wants this process's processor, and
// telling the Go scheduler about each call costs more than it gives.
func (b *batch) receive(fd int, flags uintptr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[0])),
		uintptr(len(b.messages)), flags|unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// reuse restores what the kernel overwrote in the first n messages.
func (b *batch) reuse(n int) {
	for i := range b.messages[:n] {
		b.messages[i].hdr.SetControllen(len(b.control[i]))
	}
}

// send sends the messages from first to end and returns how many went out.
func (b *batch) send(fd, first, end int) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages[first])),
		uintptr(end-first), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// ancillary reads the kernel's stamp, in nanoseconds of the wall clock, and the key
// of a transmit report out of the control data of message i. Either is 0 if absent.
func (b *batch) ancillary(i int) (stamp int64, key uint32) {
	c := b.control[i][:b.messages[i].hdr.Controllen]
	for len(c) >= cmsgHeader {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		n := int(h.Len)
		if n < cmsgHeader || n > len(c) {
			return stamp, key
		}
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPING && n >= stampLen:
			ts := (*unix.Timespec)(unsafe.Pointer(&c[cmsgHeader])) // the first of three is the software stamp
			stamp = ts.Nano()
		case h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR && n >= cmsgHeader+16:
			ee := (*unix.SockExtendedErr)(unsafe.Pointer(&c[cmsgHeader]))
			if ee.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING {
				key = ee.Data
			}
		}
		c = c[min(len(c), (n+7)&^7):]
	}
	return stamp, key
}

// checksum is the Internet checksum of RFC 1071; a raw socket sends what it gets.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	return ^uint16(sum)
}
