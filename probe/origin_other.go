//go:build !linux

package probe

import (
	"net"
	"net/netip"
)

// look sees whether what an origin names is there. err: that cannot be told.
func look(k socketKey) (index int, gone *absence, err error) {
	if k.device != "" {
		i, err := net.InterfaceByName(k.device)
		if err != nil {
			return 0, noInterface(k.device, err), nil
		}
		index = i.Index
	}
	if !k.source.IsValid() {
		return index, nil, nil
	}
	source := k.source
	if source.IsLinkLocalUnicast() {
		source = source.WithZone(k.device)
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0)))
	if err != nil {
		return index, noSource(k.source, err), nil
	}
	return index, nil, c.Close()
}

// notices would tell of changes of interfaces and addresses: there are none here.
type notices struct{}

func (*notices) open()     {}
func (*notices) any() bool { return false }
func (*notices) close()    {}
