package probe

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
)

const (
	// receiveBuffer holds all replies of a second of stall at 10,240 echoes a second,
	// with their transmit stamps (about 800 bytes each as the kernel counts).
	receiveBuffer = 16 << 20
	// sendBuffer holds a tick's echoes many times over.
	sendBuffer = 4 << 20
	// defaultTTL and defaultTOS are what sockets are set to; only packets that differ carry them.
	defaultTTL = 64
	defaultTOS = 0
	// scmTSOptID is SCM_TS_OPT_ID (linux/include/uapi/asm-generic/socket.h, since 6.13):
	// the sender names the transmit stamp.
	scmTSOptID = 81
	// skMeminfoDrops is the index of SK_MEMINFO_DROPS (linux/sock_diag.h): what
	// SO_RXQ_OVFL would tell with the next packet, also when no packet follows.
	skMeminfoDrops = 8
	skMeminfoVars  = 9
)

// transmitMode is how transmit stamps find their probe.
type transmitMode uint8

const (
	transmitByID   transmitMode = iota // SCM_TS_OPT_ID: the probe's number comes back with the stamp
	transmitByLoop                     // the packet comes back with the stamp
	transmitNone                       // no stamps: the clock is read around the system call
)

// socket is one ICMP socket with its buffers. It is used by the loop only.
type socket struct {
	key        socketKey
	origin     *origin
	fd         int // -1: closed, because something of the origin is absent
	index      int // of the interface to which it is bound; 0: to none
	raw        bool
	identifier uint16 // ours to choose on a raw socket; the kernel's on a datagram one
	transmit   transmitMode
	receive    bool   // kernel stamps on arrival
	granted    int    // bytes of receive buffer
	drops      uint32 // replies and errors that found the queue full
	counted    uint32 // what the kernel counted as drops at the last look
	damaged    uint32 // of a raw IPv6 socket: damagedPackets at the last look
	targets    int    // how many use it
	proven     bool   // the kernel has taken a packet in this transmit mode

	meminfo    [skMeminfoVars]uint32 // of readDrops; here, so that nothing escapes per call
	meminfoLen uint32

	out outBatch
	in  inBatch
	err inBatch
}

// openSocket opens a datagram ICMP socket, or a raw one where that is not allowed. It takes the
// identifier of one before it, if that is not 0 and still free: balancers send by it.
func openSocket(key socketKey, mode transmitMode, identifier uint16) (*socket, error) {
	family, protocol := key.family(), unix.IPPROTO_ICMP
	if key.v6 {
		protocol = unix.IPPROTO_ICMPV6
	}
	s := &socket{key: key, transmit: mode, identifier: identifier}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, protocol)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		s.raw = true
		if s.identifier == 0 {
			s.identifier = uint16(rand.Uint32())
		}
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, protocol)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return nil, errNoPermission
		}
	}
	if err != nil {
		return nil, fmt.Errorf("icmp socket: %w", err)
	}
	var filter []bpf.Instruction
	if s.raw {
		filter = s.filter()
	}
	if err := s.setup(fd, filter); err != nil {
		return nil, err
	}
	s.in.grow(inDataLen)
	if s.raw {
		s.in.grow(rawDataLen)
		s.damaged = damagedPackets()
	}
	s.err.grow(inDataLen)
	return s, nil
}

// openRaw opens a raw socket of a protocol, which gets what the filter lets in. The caller makes
// room in its batches.
func openRaw(key socketKey, mode transmitMode, protocol int, filter []bpf.Instruction) (*socket, error) {
	s := &socket{key: key, transmit: mode, raw: true}
	fd, err := unix.Socket(key.family(), unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	return s, s.setup(fd, filter)
}

func (s *socket) close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

func (s *socket) kind() string {
	if s.raw {
		return "raw"
	}
	return "dgram"
}

// setup sets the options of a new socket, the strictest first. On an error it is closed.
func (s *socket) setup(fd int, filter []bpf.Instruction) error {
	s.fd = fd
	if err := s.options(filter); err != nil {
		s.close()
		return err
	}
	return nil
}

func (s *socket) options(filter []bpf.Instruction) error {
	if filter != nil {
		if err := attach(s.fd, filter); err != nil {
			return fmt.Errorf("icmp socket: filter: %w", err)
		}
	}
	if err := bindToDevice(s.fd, s.key.device); err != nil {
		return err
	}
	if s.key.device != "" {
		s.index = boundTo(s.fd, s.key.device)
	}
	if err := s.bind(); err != nil {
		return fmt.Errorf("source %q: %w", s.key.source, err)
	}
	s.buffers()
	if err := s.defaults(); err != nil {
		return fmt.Errorf("icmp socket: %w", err)
	}
	s.timestamping()
	return nil
}

func (s *socket) bind() error {
	port := s.identifier
	if s.raw {
		port = 0 // where a datagram socket has its identifier, a raw one has nothing
	}
	if port == 0 && !s.key.source.IsValid() {
		return nil
	}
	return s.key.bindAs(s.fd, port, s.index)
}

// buffers asks for large buffers: as much as it likes with CAP_NET_ADMIN, as much as
// net.core.rmem_max allows without.
func (s *socket) buffers() {
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	s.granted, _ = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
}

func (s *socket) defaults() error {
	level, ttl, tos, recverr := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS, unix.IP_RECVERR
	if s.key.v6 {
		level, ttl, tos, recverr = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS, unix.IPV6_RECVERR
	}
	if err := unix.SetsockoptInt(s.fd, level, ttl, defaultTTL); err != nil {
		return fmt.Errorf("ttl: %w", err)
	}
	if err := unix.SetsockoptInt(s.fd, level, tos, defaultTOS); err != nil {
		return fmt.Errorf("tos: %w", err)
	}
	// On a raw socket ICMP errors arrive as packets anyhow; but without it the kernel says that
	// it has sent what a full queue has dropped (raw(7): ENOBUFS).
	if err := unix.SetsockoptInt(s.fd, level, recverr, 1); err != nil {
		return fmt.Errorf("recverr: %w", err)
	}
	return nil
}

// timestamping asks for kernel stamps in both directions, and falls back by steps.
func (s *socket) timestamping() {
	const receive = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	const transmit = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_OPT_ID
	set := func(flags int) error {
		return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags)
	}
	s.receive = true
	if s.transmit == transmitByID && set(receive|transmit|unix.SOF_TIMESTAMPING_OPT_TSONLY) == nil {
		return
	}
	if s.transmit <= transmitByLoop && set(receive|transmit) == nil {
		s.transmit = transmitByLoop
		return
	}
	s.transmit = transmitNone
	s.receive = set(receive) == nil
}

// lowerTransmit gives up the way in which transmit stamps are asked for, for the next one.
func (s *socket) lowerTransmit() {
	s.transmit++
	s.proven = false
	s.timestamping()
}

// readDrops returns how many packets the kernel has dropped since the last call
// because the receive queue was full, and adds them to s.drops.
func (s *socket) readDrops() uint32 {
	s.meminfoLen = uint32(unsafe.Sizeof(s.meminfo))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&s.meminfo)), uintptr(unsafe.Pointer(&s.meminfoLen)), 0)
	if errno != 0 || s.meminfoLen < uint32(unsafe.Sizeof(s.meminfo)) {
		return 0
	}
	since := s.meminfo[skMeminfoDrops] - s.counted
	s.counted = s.meminfo[skMeminfoDrops]
	if since > 0 && s.raw && s.key.v6 {
		// A raw ICMPv6 socket counts every damaged packet of the machine as a drop too.
		damaged := damagedPackets()
		since -= min(since, damaged-s.damaged)
		s.damaged = damaged
	}
	s.drops += since
	return since
}

// damagedPackets is how many ICMPv6 packets with a wrong checksum have arrived in this
// network namespace (proc(5), /proc/net/snmp6); 0 if that cannot be told.
func damagedPackets() uint32 {
	data, err := os.ReadFile("/proc/self/net/snmp6")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "Icmp6InCsumErrors"); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return uint32(n)
		}
	}
	return 0
}

// grow makes room for echo messages with size data bytes, in both directions.
func (s *socket) grow(size int) {
	s.out.grow(packet.HeaderLen+size, s.requestType())
	s.in.grow(maxHeader + packet.HeaderLen + size)
}

// requestType is the ICMP type of the requests that the socket sends.
func (s *socket) requestType() byte {
	if s.key.v6 {
		return packet.EchoRequest6
	}
	return packet.EchoRequest
}

// replyType is the ICMP type of the replies that it waits for.
func (s *socket) replyType() byte {
	if s.key.v6 {
		return packet.EchoReply6
	}
	return packet.EchoReply
}
