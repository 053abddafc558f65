package probe

import (
	"fmt"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"prefix_exporter/packet"
)

// filter lets only our own replies and the ICMP errors into a raw socket. Without it
// every ICMP packet of the machine would be copied to us.
func (s *socket) filter() []bpf.Instruction {
	if s.key.v6 {
		return filter6(s.identifier)
	}
	return filter4(s.identifier)
}

// attach gives a socket a filter, in place of the one that it has.
func attach(fd int, program []bpf.Instruction) error {
	assembled, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(assembled))
	for i, ins := range assembled {
		code[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	return nil
}

// accept is more than any packet is long.
const accept = 1 << 18

// filter4 sees packets from their IPv4 header on. X is made the length of that header.
func filter4(identifier uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 0, Size: 1}, // ICMP type
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.Unreachable, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.TimeExceed, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.EchoReply, SkipTrue: 2},
		bpf.LoadIndirect{Off: 4, Size: 2}, // identifier
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(identifier), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: accept},
	}
}

// filter6 sees packets from their ICMPv6 header on.
func filter6(identifier uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1}, // ICMPv6 type
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.Unreachable6, SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.TooBig6, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packet.TimeExceed6, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: packet.EchoReply6, SkipTrue: 2},
		bpf.LoadAbsolute{Off: 4, Size: 2}, // identifier
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(identifier), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: accept},
	}
}
