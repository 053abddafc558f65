package netsim

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const tunFile = "/dev/net/tun"

// tun is a TUN device; it vanishes, with its addresses and routes, when fd is closed.
type tun struct {
	fd   int
	name string
}

// openTUN makes a device in the namespace of the calling thread. Reads do not block.
func openTUN() (*tun, error) {
	fd, err := unix.Open(tunFile, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tunFile, err)
	}
	request, err := unix.NewIfreq("netsim%d") // the kernel puts in a number
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	return &tun{fd: fd, name: request.Name()}, nil
}

func (t *tun) close() error { return unix.Close(t.fd) }

// up brings the device up as the scenario wants it, with a tap that misses nothing.
func (t *tun) up(s *Scenario, queue int) (*tap, error) {
	index, err := t.index()
	if err != nil {
		return nil, err
	}
	tap, err := openTap(index)
	if err != nil {
		return nil, err
	}
	if err := t.configure(s, queue, index); err != nil {
		tap.close()
		return nil, err
	}
	return tap, nil
}

// configure brings the device up with the addresses and routes of a scenario.
func (t *tun) configure(s *Scenario, queue, index int) error {
	if err := t.quiet(s.has(false)); err != nil {
		return err
	}
	n, err := openNetlink()
	if err != nil {
		return err
	}
	defer n.close()
	if err := n.setLink(index, s.mtu(), queue); err != nil {
		return err
	}
	sources := map[bool]netip.Addr{} // by whether it is IPv4
	for _, a := range s.sources() {
		if err := n.addAddr(index, a); err != nil {
			return err
		}
		sources[a.Is4()] = a
	}
	for _, p := range s.reach() {
		if err := n.addRoute(index, p, sources[p.Addr().Is4()]); err != nil {
			return err
		}
	}
	return nil
}

// quiet keeps the kernel from sending anything of its own accord and from refusing packets for their source.
func (t *tun) quiet(ipv6 bool) error {
	if err := setSysctl("net/ipv4/conf/"+t.name+"/rp_filter", "0"); err != nil {
		return err
	}
	if !ipv6 {
		_ = setSysctl("net/ipv6/conf/"+t.name+"/disable_ipv6", "1") // a kernel without IPv6 is quiet by itself
		return nil
	}
	const noLinkLocal = "1" // addr_gen_mode: none, so no router solicitation and no multicast reports
	for name, value := range map[string]string{"disable_ipv6": "0", "addr_gen_mode": noLinkLocal, "accept_ra": "0", "dad_transmits": "0"} {
		if err := setSysctl("net/ipv6/conf/"+t.name+"/"+name, value); err != nil {
			return err
		}
	}
	return nil
}

func (t *tun) index() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(t.name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, fmt.Errorf("find the index of %s: %w", t.name, err)
	}
	return int(request.Uint32()), nil
}

// read takes the next packet, or returns 0 when there is none. It is a raw system call, which the Go
// scheduler does not notice: it never blocks, and at 65,536 packets a second the notice would cost more than the call.
func (t *tun) read(b []byte) (int, unix.Errno) {
	n, _, err := unix.RawSyscall(unix.SYS_READ, uintptr(t.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if err != 0 {
		return 0, err
	}
	return int(n), 0
}

// write hands a packet to the kernel as received.
func (t *tun) write(b []byte) unix.Errno {
	_, _, err := unix.RawSyscall(unix.SYS_WRITE, uintptr(t.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return err
}

// dropped returns how many packets overflowed the queue to the lab, from /proc/net/dev: the 12th number.
func (t *tun) dropped() uint64 {
	f, err := os.Open("/proc/net/dev")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		if fields := strings.Fields(rest); name == t.name && len(fields) > 11 {
			n, _ := strconv.ParseUint(fields[11], 10, 64)
			return n
		}
	}
	return 0
}
