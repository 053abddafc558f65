package netsim

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tap is a packet socket that sees packets as they enter the TUN device, with the kernel's time, in
// memory that it shares with the kernel (packet(7), TPACKET_V2). A packet may wait long until the lab gets
// to run and reads it; the tap still knows when it came.
type tap struct {
	fd    int
	ring  []byte
	frame int              // the next to look at
	seen  map[uint64]int64 // by digest: when it came, CLOCK_REALTIME ns, of packets not read yet
}

const (
	tapFrame  = 256     // bytes for one packet: header and tapSnap fit
	tapBlock  = 1 << 16 // bytes that the kernel allocates at a time
	tapFrames = 16384   // 4 MiB; a quarter of a second of 65,536 packets a second
	tapSnap   = 64      // bytes of each packet: IPv6 and ICMP header and the first 16 of the payload
	// tapForget bounds what waits for packets that the queue of the device has dropped.
	tapForget = 1 << 16

	// Offsets in struct tpacket2_hdr.
	tapStatus, tapLen, tapMAC, tapSec, tapNsec = 0, 8, 12, 16, 20
)

// openTap makes the tap of a device that is not up yet.
func openTap(index int) (*tap, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // protocol 0: nothing until bind
	if err != nil {
		return nil, fmt.Errorf("open tap: %w", os.NewSyscallError("socket", err))
	}
	t := &tap{fd: fd, seen: make(map[uint64]int64, tapForget)}
	if err := t.configure(index); err != nil {
		t.close()
		return nil, fmt.Errorf("open tap: %w", err)
	}
	return t, nil
}

func (t *tap) configure(index int) error {
	if err := unix.SetsockoptInt(t.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return os.NewSyscallError("setsockopt PACKET_VERSION", err)
	}
	// Only what leaves for the lab, and no more of it than needed.
	const packetType = 0xfffff000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE, linux/filter.h
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: packetType},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PACKET_OUTGOING, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: tapSnap},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	if err := unix.SetsockoptSockFprog(t.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
	}
	ring := unix.TpacketReq{Block_size: tapBlock, Block_nr: tapFrames * tapFrame / tapBlock, Frame_size: tapFrame, Frame_nr: tapFrames}
	if err := unix.SetsockoptTpacketReq(t.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &ring); err != nil {
		return os.NewSyscallError("setsockopt PACKET_RX_RING", err)
	}
	var err error
	if t.ring, err = unix.Mmap(t.fd, 0, tapFrames*tapFrame, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	everything := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)) // in network order
	if err := unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: index}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return nil
}

func (t *tap) close() {
	if t.ring != nil {
		_ = unix.Munmap(t.ring)
	}
	unix.Close(t.fd)
}

// arrival returns when a packet that has just been read came to the device, CLOCK_REALTIME ns; 0 when the
// tap has missed it. Packets with the same first bytes are taken for one.
func (t *tap) arrival(packet []byte) int64 {
	t.collect()
	d := digest(packet)
	at := t.seen[d]
	delete(t.seen, d)
	return at
}

// collect empties the ring.
func (t *tap) collect() {
	for {
		f := t.ring[t.frame*tapFrame : (t.frame+1)*tapFrame]
		status := (*uint32)(unsafe.Pointer(&f[tapStatus]))
		if atomic.LoadUint32(status)&unix.TP_STATUS_USER == 0 {
			return
		}
		at := int64(binary.NativeEndian.Uint32(f[tapSec:]))*1e9 + int64(binary.NativeEndian.Uint32(f[tapNsec:]))
		begin := int(binary.NativeEndian.Uint16(f[tapMAC:]))
		end := begin + int(binary.NativeEndian.Uint32(f[tapLen:]))
		if len(t.seen) >= tapForget {
			clear(t.seen)
		}
		t.seen[digest(f[begin:min(end, len(f))])] = at
		atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
		t.frame = (t.frame + 1) % tapFrames
	}
}

// digest condenses the bytes of a packet that the tap sees.
func digest(p []byte) uint64 {
	p = p[:min(len(p), tapSnap)]
	d := uint64(len(p))
	for len(p) >= 8 {
		d = mix(d ^ binary.NativeEndian.Uint64(p))
		p = p[8:]
	}
	for _, b := range p {
		d = mix(d ^ uint64(b))
	}
	return d
}
