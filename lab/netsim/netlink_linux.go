package netsim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The lab speaks rtnetlink(7) itself: a link, two addresses and a few routes are not worth a dependency.

// netlink is a request and its answer at a time.
type netlink struct {
	fd  int
	seq uint32
}

func openNetlink() (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return &netlink{fd: fd}, nil
}

func (n *netlink) close() { unix.Close(n.fd) }

// do sends one request with the body, waits for its acknowledgement, and returns the body of the answer
// that came before, if any.
func (n *netlink) do(typ, flags uint16, body []byte) (answer []byte, err error) {
	n.seq++
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	m = binary.NativeEndian.AppendUint16(m, typ)
	m = binary.NativeEndian.AppendUint16(m, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	m = binary.NativeEndian.AppendUint32(m, n.seq)
	m = binary.NativeEndian.AppendUint32(m, 0) // port: the kernel's
	m = append(m, body...)
	if err := unix.Sendto(n.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	buffer := make([]byte, 4096)
	for {
		got, _, err := unix.Recvfrom(n.fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:got])
		if err != nil {
			return nil, fmt.Errorf("parse netlink message: %w", err)
		}
		for _, m := range messages {
			switch {
			case m.Header.Seq != n.seq:
			case m.Header.Type != unix.NLMSG_ERROR:
				answer = slices.Clone(m.Data)
			case len(m.Data) < 4:
				return nil, errors.New("short netlink acknowledgement")
			default:
				if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
					return nil, unix.Errno(-code)
				}
				return answer, nil
			}
		}
	}
}

// attribute appends an rtattr.
func attribute(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%unix.RTA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func number(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// setLink sets MTU and queue length of a link and brings it up.
func (n *netlink) setLink(index, mtu, queue int) error {
	b := []byte{unix.AF_UNSPEC, 0, 0, 0} // ifinfomsg: family, padding, type
	b = append(b, number(uint32(index))...)
	b = append(b, number(unix.IFF_UP)...)
	b = append(b, number(unix.IFF_UP)...) // the flags that change
	b = attribute(b, unix.IFLA_MTU, number(uint32(mtu)))
	b = attribute(b, unix.IFLA_TXQLEN, number(uint32(queue)))
	if _, err := n.do(unix.RTM_NEWLINK, 0, b); err != nil {
		return fmt.Errorf("set link up: %w", err)
	}
	return nil
}

// addAddr gives a link an address of its own, without a subnet and without duplicate address detection.
func (n *netlink) addAddr(index int, a netip.Addr) error {
	b := []byte{family(a), byte(a.BitLen()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE} // ifaddrmsg
	b = append(b, number(uint32(index))...)
	b = attribute(b, unix.IFA_LOCAL, a.AsSlice())
	b = attribute(b, unix.IFA_ADDRESS, a.AsSlice())
	if _, err := n.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b); err != nil {
		return fmt.Errorf("add address %s: %w", a, err)
	}
	if a.Is6() {
		return n.awaitLocal(a)
	}
	return nil
}

// awaitLocal waits until the kernel takes packets to an IPv6 address for its own: without duplicate address
// detection it adds that route later, from a work queue, and until then drops what comes in.
func (n *netlink) awaitLocal(a netip.Addr) error {
	b := []byte{family(a), byte(a.BitLen()), 0, 0, 0, 0, 0, 0} // rtmsg
	b = append(b, number(0)...)
	b = attribute(b, unix.RTA_DST, a.AsSlice())
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		answer, err := n.do(unix.RTM_GETROUTE, 0, b)
		const typeOffset = 7 // of rtm_type in rtmsg
		if err == nil && len(answer) > typeOffset && answer[typeOffset] == unix.RTN_LOCAL {
			return nil
		}
		if err == nil {
			err = errors.New("its route is another")
		}
		if time.Now().After(end) {
			return fmt.Errorf("address %s does not become local: %w", a, err)
		}
	}
}

// addRoute sends a prefix to a link, from the given source.
func (n *netlink) addRoute(index int, p netip.Prefix, source netip.Addr) error {
	scope := byte(unix.RT_SCOPE_LINK)
	if p.Addr().Is6() {
		scope = unix.RT_SCOPE_UNIVERSE
	}
	b := []byte{family(p.Addr()), byte(p.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, unix.RTN_UNICAST} // rtmsg
	b = append(b, number(0)...)
	b = attribute(b, unix.RTA_DST, p.Addr().AsSlice())
	b = attribute(b, unix.RTA_OIF, number(uint32(index)))
	b = attribute(b, unix.RTA_PREFSRC, source.AsSlice())
	if _, err := n.do(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b); err != nil {
		return fmt.Errorf("add route %s: %w", p, err)
	}
	return nil
}

// linkUp brings up a link by name.
func linkUp(name string) error {
	n, err := openNetlink()
	if err != nil {
		return err
	}
	defer n.close()
	b := []byte{unix.AF_UNSPEC, 0, 0, 0}
	b = append(b, number(0)...) // found by its name
	b = append(b, number(unix.IFF_UP)...)
	b = append(b, number(unix.IFF_UP)...)
	b = attribute(b, unix.IFLA_IFNAME, append([]byte(name), 0))
	_, err = n.do(unix.RTM_NEWLINK, 0, b)
	return err
}
