package probe

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
)

// traceKey tells which routes share a socket.
type traceKey struct {
	socketKey
	protocol string
}

// traceSocket is what the probes of some routes leave by. ICMP errors come back by its error
// queue, with what the router has quoted from behind the IP header on, whatever the protocol.
type traceSocket struct {
	*socket
	key      traceKey
	protocol byte // of IP
	port     uint16
	// reserved is an ordinary socket that holds port for us, of TCP and UDP: nobody else gets it, and
	// the kernel answers a SYN/ACK with a reset. -1: none
	reserved int
	// finder is a UDP socket that never sends: connecting it tells which source address the kernel chooses.
	// It is kept, so that a round needs no descriptor. -1: none
	finder int
	trails int  // how many routes use it
	rounds int  // how many of them have an open round
	spare  bool // nobody used it after the last Apply
}

// foreignBytes is how much in a second a raw socket must bear of ICMP errors about packets of others: 16,384
// addresses that are sent an echo request each second, all unreachable, and about 1 KiB for each
// error as the kernel counts; then a half more.
const foreignBytes = 24 << 20

// errNoRaw says what to do when there is no raw socket.
var errNoRaw = errors.New(`no permission. Traceroutes by TCP and UDP need a raw socket. Do one of these:
  1. trace by ICMP:              trace: {protocol: icmp}
  2. give the program the right: setcap cap_net_raw=+ep prefix_exporter   (systemd: AmbientCapabilities=CAP_NET_RAW)
  3. run it as root`)

// openTraceSocket opens what the routes of a key need. It takes the port, or the identifier, of one before
// it, if that is not 0 and still free: it is part of the flows.
func openTraceSocket(key traceKey, mode transmitMode, flow uint16) (*traceSocket, error) {
	s := &traceSocket{key: key, reserved: -1, finder: -1}
	err := s.open(mode, flow)
	if err == nil {
		err = s.tune()
	}
	if err == nil {
		s.finder, err = ordinary(key.socketKey, unix.SOCK_DGRAM)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.out.grow(packet.TraceLen, 0)
	s.in.grow(inDataLen)
	s.err.grow(rawDataLen) // the label stack stands behind all that is quoted
	return s, nil
}

func (s *traceSocket) open(mode transmitMode, flow uint16) (err error) {
	switch s.key.protocol {
	case TraceTCP:
		s.protocol = packet.ProtocolTCP
		err = s.openRaw(mode, unix.SOCK_STREAM, flow)
	case TraceUDP:
		s.protocol = packet.ProtocolUDP
		err = s.openRaw(mode, unix.SOCK_DGRAM, flow)
	default:
		s.protocol = packet.ProtocolICMP
		if s.key.v6 {
			s.protocol = packet.ProtocolICMPv6
		}
		err = s.openICMP(mode, flow)
	}
	return err
}

func (s *traceSocket) openICMP(mode transmitMode, flow uint16) (err error) {
	if s.socket, err = openSocket(s.key.socketKey, mode, flow); err != nil {
		return err
	}
	if s.raw {
		if err := attach(s.fd, repliesOnly(s.key.v6, s.identifier)); err != nil {
			return fmt.Errorf("icmp socket: %w", err)
		}
		return nil
	}
	// The identifier is the kernel's to choose; it does when the socket is bound.
	if !s.key.source.IsValid() && flow == 0 {
		if err := s.key.bindAs(s.fd, 0, s.index); err != nil {
			return fmt.Errorf("icmp socket: %w", err)
		}
	}
	s.identifier, err = portOf(s.fd)
	return err
}

func (s *traceSocket) openRaw(mode transmitMode, kind int, port uint16) (err error) {
	if s.reserved, err = ordinary(s.key.socketKey, kind); err != nil {
		return err
	}
	if err := s.key.bindAs(s.reserved, port, boundTo(s.reserved, s.key.device)); err != nil {
		return fmt.Errorf("source %q: %w", s.key.source, err)
	}
	if s.port, err = portOf(s.reserved); err != nil {
		return err
	}
	filter := []bpf.Instruction{bpf.RetConstant{Val: 0}} // what a service says to a datagram tells no TTL
	if s.key.protocol == TraceTCP {
		filter = segmentsTo(s.key.v6, s.port)
	}
	s.socket, err = openRaw(s.key.socketKey, mode, int(s.protocol), filter)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return errNoRaw
	}
	return err
}

// tune sets what only traceroutes need.
func (s *traceSocket) tune() error {
	s.listen(false)
	if s.protocol != packet.ProtocolICMP { // where the checksum covers it, see where answers come to
		level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
		if s.key.v6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		}
		_ = unix.SetsockoptInt(s.fd, level, option, 1)
	}
	if s.key.v6 {
		// Balancers look at the flow label too; all flows of ours have the same: none.
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_AUTOFLOWLABEL, 0); err != nil {
			return fmt.Errorf("flow label: %w", err)
		}
		// A kernel before 5.9 does not tell where a quotation ends: the rule for old routers finds most.
		_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR_RFC4884, 1)
		return nil
	}
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_RECVERR_RFC4884, 1)
	return nil
}

func (s *traceSocket) close() {
	if s.socket != nil {
		s.socket.close()
	}
	for _, fd := range [2]int{s.reserved, s.finder} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	s.reserved, s.finder = -1, -1
}

// begin and end tell of a round of one of the socket's routes.
func (s *traceSocket) begin() {
	if s.rounds++; s.rounds == 1 {
		s.listen(true)
	}
}

func (s *traceSocket) end() {
	if s.rounds--; s.rounds == 0 {
		s.listen(false)
	}
}

// listen switches the error queue of a raw socket on or off. The kernel puts every ICMP error about the
// protocol of the socket into it, whosever packet it is about, and no filter applies there: while the
// loop sleeps, those of others would fill it. Switching it off throws away what is in it.
func (s *traceSocket) listen(on bool) {
	if !s.raw {
		return
	}
	level, option, value := unix.IPPROTO_IP, unix.IP_RECVERR, 0
	if s.key.v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	if on {
		value = 1
	}
	_ = unix.SetsockoptInt(s.fd, level, option, value) // it was possible when the socket was opened
}

// patience is how long the socket may be left unread while a round is open.
func (s *traceSocket) patience() time.Duration {
	if !s.raw {
		return tracePoll
	}
	// crowded begins at three quarters.
	return time.Duration(int64(s.granted) / 4 * 3 * int64(time.Second) / foreignBytes)
}

// crowded says whether so much waits to be read that the kernel may have thrown away ICMP errors. Those
// it does not count as drops: where the queue has no room, they vanish.
func (s *traceSocket) crowded() bool {
	const skMeminfoRmemAlloc, skMeminfoRcvbuf = 0, 1 // linux/sock_diag.h
	return s.meminfo[skMeminfoRmemAlloc] > s.meminfo[skMeminfoRcvbuf]/4*3
}

// ordinary opens an ordinary socket that leaves by the interface of a key.
func ordinary(key socketKey, kind int) (fd int, err error) {
	fd, err = unix.Socket(key.family(), kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := bindToDevice(fd, key.device); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// bindToDevice binds a socket to an interface, if one is named.
func bindToDevice(fd int, name string) error {
	if name == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, name); err != nil {
		return fmt.Errorf("interface %q: %w", name, err)
	}
	return nil
}

// portOf returns the port, or identifier, to which a socket is bound.
func portOf(fd int) (uint16, error) {
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port), nil
	case *unix.SockaddrInet6:
		return uint16(a.Port), nil
	}
	return 0, unix.EAFNOSUPPORT
}

// repliesOnly lets our echo replies in, and no error: those come by the error queue.
func repliesOnly(v6 bool, identifier uint16) []bpf.Instruction {
	if v6 {
		return []bpf.Instruction{
			bpf.LoadAbsolute{Off: 0, Size: 1}, // ICMPv6 type
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.EchoReply6, SkipTrue: 3},
			bpf.LoadAbsolute{Off: 4, Size: 2}, // identifier
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(identifier), SkipTrue: 1},
			bpf.RetConstant{Val: accept},
			bpf.RetConstant{Val: 0},
		}
	}
	return []bpf.Instruction{
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.EchoReply, SkipTrue: 3},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(identifier), SkipTrue: 1},
		bpf.RetConstant{Val: accept},
		bpf.RetConstant{Val: 0},
	}
}

// segmentsTo lets the segments to one port in: without it every segment of the machine would be
// copied to us.
func segmentsTo(v6 bool, port uint16) []bpf.Instruction {
	program := []bpf.Instruction{bpf.LoadMemShift{Off: 0}, bpf.LoadIndirect{Off: 2, Size: 2}}
	if v6 {
		program = []bpf.Instruction{bpf.LoadAbsolute{Off: 2, Size: 2}}
	}
	return append(program,
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: accept},
		bpf.RetConstant{Val: 0},
	)
}
