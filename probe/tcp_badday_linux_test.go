package probe

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// lostConnections returns how many attempts were lost in all.
func (b *tcpBench) lostConnections() (n uint64) {
	for _, c := range b.counts() {
		for o := prefix.Timeout; int(o) < prefix.Outcomes; o++ {
			n += c[o]
		}
	}
	return n
}

// TestTheLimitOfOpenFilesIsNobodysLoss lets three quarters of all ports swallow the SYN, so that
// more attempts wait than there may be.
func TestTheLimitOfOpenFilesIsNobodysLoss(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	serve(t, 80)
	setLimit(t, 200) // half of it is left to the rest of the program
	nft(t, `add rule inet t in ip daddr 127.1.1.0-127.1.3.255 tcp dport 80 drop`)
	good, silent := tcpTargets(addresses("127.1.0.0", 256), nil, 80), tcpTargets(addresses("127.1.1.0", 768), nil, 80)
	b.tcp.(*connector).fitLimit()
	b.apply(append(good[:len(good):len(good)], silent...))
	b.run()
	most, limit := 0.0, b.value("connections_limit")
	waitFor(t, func() bool {
		most = max(most, b.value("connections"))
		return most >= limit*0.9 && b.value("send_errors_total", "EMFILE") > 0
	})
	b.troubled(ReasonSendError)
	b.until(1, prefix.Timeout, silent[:1])
	b.settle()
	if limit != 100 || most > limit {
		t.Errorf("%v attempts in flight, limit %v, want both to be 100", most, limit)
	}
	counts := b.counts()
	for i := range silent {
		if c := counts[silent[i].key()]; c != [prefix.Outcomes]uint64{prefix.Timeout: c[prefix.Timeout]} {
			t.Errorf("%s: counters %v, want timeouts only", silent[i].key(), c)
		}
	}
	for i := range good {
		if c := counts[good[i].key()]; c != [prefix.Outcomes]uint64{prefix.Answered: c[prefix.Answered]} {
			t.Errorf("%s: %v: the limit became its loss", good[i].key(), c)
		}
	}
	b.unhealthy(ReasonSendError)
}

// TestNoDescriptorIsLeft takes all descriptors away for a second.
func TestNoDescriptorIsLeft(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	serve(t, 80)
	list := tcpTargets(addresses("127.1.0.0", 256), nil, 80)
	b.apply(list)
	b.run()
	b.until(1, prefix.Answered, list)
	b.tcp.(*connector).mu.Lock() // no tick between the two: the limit would follow
	setLimit(t, 3)
	b.tcp.(*connector).limit = 1000
	b.tcp.(*connector).judged += int64(time.Second)
	b.tcp.(*connector).mu.Unlock()
	waitFor(t, func() bool { return b.value("send_errors_total", "EMFILE") >= 100 })
	b.troubled(ReasonSendError)
	setLimit(t, 20000)
	before := b.value("packets_sent_total")
	waitFor(t, func() bool { return b.value("packets_sent_total") >= before+256 })
	b.settle()
	b.all(prefix.Answered, list)
	b.unhealthy(ReasonSendError)
}

// TestNoLocalPortIsLeft leaves four local ports, which others hold.
func TestNoLocalPortIsLeft(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	serve(t, 80, 40000, 40001, 40002, 40003)
	setSysctl(t, "/proc/sys/net/ipv4/ip_local_port_range", "40000 40003")
	list := tcpTargets(addresses("127.1.0.0", 100), nil, 80)
	b.apply(list)
	b.run()
	waitFor(t, func() bool { return b.value("send_errors_total", "EADDRNOTAVAIL") >= 100 })
	b.troubled(ReasonSendError)
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("32768 60999"), 0); err != nil {
		t.Fatal(err)
	}
	b.until(1, prefix.Answered, list)
	b.settle()
	b.all(prefix.Answered, list)
	b.unhealthy(ReasonSendError)
}

// TestFewLocalPortsServeManyAddresses connects a thousand addresses at once from four ports: a port
// need be free for its destination only, also when a source address is asked for.
func TestFewLocalPortsServeManyAddresses(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	setSysctl(t, "/proc/sys/net/ipv4/ip_local_port_range", "40000 40003")
	nft(t, `add rule inet t in tcp dport 80 drop`)
	list := tcpTargets(addresses("127.1.0.0", 1000), func(t *TCPTarget) {
		if t.Addr.As4()[3]%2 == 0 {
			t.Source = netip.MustParseAddr("127.7.7.7")
		}
	}, 80)
	b.apply(list)
	b.run()
	b.asked(1)
	b.settle()
	b.all(prefix.Timeout, list)
	b.want(map[string]float64{"send_errors_total EADDRNOTAVAIL": 0})
}

// TestALocalFirewallIsNobodysLoss drops SYNs on their way out, which connect(2) does not tell.
func TestALocalFirewallIsNobodysLoss(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	nft(t, `
add rule inet t out ip daddr 127.1.0.0/28 tcp dport 80 drop
add rule inet t in ip daddr 127.1.0.16/28 tcp dport 80 drop
`)
	slow := func(t *TCPTarget) { t.Interval, t.Timeout = 1500*time.Millisecond, 1200*time.Millisecond }
	ours, theirs := tcpTargets(addresses("127.1.0.0", 16), slow, 80), tcpTargets(addresses("127.1.0.16", 16), slow, 80)
	b.apply(append(ours[:16:16], theirs...))
	b.run()
	b.until(1, prefix.Timeout, theirs)
	waitFor(t, func() bool { return b.value("send_errors_total", "unsent") >= 16 })
	b.troubled(ReasonSendError)
	b.settle()
	b.all(prefix.Timeout, theirs)
	for _, target := range ours {
		switch c := b.counts()[target.key()]; c {
		case [prefix.Outcomes]uint64{}:
		case [prefix.Outcomes]uint64{prefix.Timeout: c[prefix.Timeout]}: // the kernel has not sent it a second time before the timeout
			b.control.Pace(t, "%s: counters %v, want none: nothing left", target.key(), c)
		default:
			t.Errorf("%s: counters %v, want none: nothing left", target.key(), c)
		}
	}
	b.unhealthy(ReasonSendError)
}

// TestAMachineThatIsOfflineLosesNoConnection has no route to anything that it probes, from the start.
func TestAMachineThatIsOfflineLosesNoConnection(t *testing.T) {
	eachTCPEngine(t, func(t *testing.T, b *tcpBench) {
		b.apply(tcpTargets(addresses("192.0.2.1", 16), nil, 80))
		b.run()
		waitFor(t, func() bool { return b.value("discarded_probes_total", "offline") >= 32 })
		b.troubled(ReasonOffline)
		b.settle()
		if n := b.lostConnections(); n != 0 || b.value("send_errors_total", "tcp") != 0 {
			t.Errorf("%d lost, %v send errors, want none", n, b.value("send_errors_total", "tcp"))
		}
		b.unhealthy(ReasonOffline)
	})
}

func TestAPauseIsNobodysConnectionLost(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	serve(t, 80)
	list := tcpTargets(addresses("127.1.0.0", 500), nil, 80)
	b.apply(list)
	b.run()
	b.until(1, prefix.Answered, list)
	c := b.tcp.(*connector)
	before := b.value("stalls_total")
	for begun := false; !begun; { // stop with connections in flight that are decided meanwhile
		c.mu.Lock()
		if begun = c.open > 0; !begun {
			c.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
	}
	time.Sleep(2 * time.Second)
	c.mu.Unlock()
	sent := b.value("packets_sent_total")
	waitFor(t, func() bool { return b.value("packets_sent_total") >= sent+500 })
	b.troubled(ReasonStalled, ReasonSkipped)
	b.settle()
	b.all(prefix.Answered, list)
	if rtt := b.longestRTT(); rtt > time.Second {
		t.Errorf("RTT %v: the pause is in it", rtt)
	}
	switch got := b.value("stalls_total") - before; {
	case got < 1:
		t.Error("the stall is not told")
	case got > 1:
		b.control.Pace(t, "%v stalls, want 1", got)
	}
	if got := b.value("skipped_probes_total"); got < 3*500 {
		t.Errorf("%v skipped, want about 4 x 500: they were made up for in a burst", got)
	}
	b.unhealthy(ReasonStalled, ReasonSkipped)
}

func TestATCPReloadUnderLoadCountsNothingTwice(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	server := serve(t, 80)
	nft(t, `add rule inet t in ip daddr 127.1.2.0/24 tcp dport 80 drop`)
	stay, come := tcpTargets(addresses("127.1.0.0", 512), nil, 80), tcpTargets(addresses("127.1.2.0", 256), nil, 80)
	b.apply(stay)
	b.run()
	began := time.Now()
	for i := range 10 {
		sent := b.value("packets_sent_total")
		waitFor(t, func() bool { return b.value("packets_sent_total") >= sent+100 })
		list := stay[:len(stay):len(stay)]
		if i%2 == 0 {
			list = append(list, come[:100+i]...)
		}
		b.apply(list)
	}
	b.apply(stay)
	b.until(2, prefix.Answered, stay)
	b.settle()
	took := time.Since(began)
	most := uint64(took/stay[0].Interval) + 2
	answered := uint64(0)
	for key, c := range b.counts() {
		answered += c[prefix.Answered]
		if sent := c[prefix.Answered]; sent > most || c != [prefix.Outcomes]uint64{sent} {
			t.Errorf("%s: counters %v, want up to %d answered in %v", key, c, most, took)
		}
	}
	if !within(patience, func() bool { return uint64(server.accepted.Load()) == answered }) {
		t.Errorf("%d answered, the server has accepted %d", answered, server.accepted.Load())
	}
	b.unhealthy()
}

// tap reads the packets that leave by an interface, and answers them with packets of its own.
type tap struct {
	fd   int
	done sync.WaitGroup
}

// onSYN calls answer with every SYN (IP header first) that goes out, until the test ends.
func onSYN(t *testing.T, answer func(syn []byte)) {
	t.Helper()
	onPacket(t, func(p []byte) {
		if len(p) >= 40 && p[0] == 0x45 && p[9] == unix.IPPROTO_TCP && p[33]&0x12 == 0x02 {
			answer(p)
		}
	})
}

// onPacket calls answer with every packet (IP header first) that goes by, until the test ends.
func onPacket(t *testing.T, answer func(p []byte)) {
	t.Helper()
	const all = unix.ETH_P_ALL << 8 // in network byte order; less than all would be what arrives only
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Fatal(err)
	}
	tap := &tap{fd: fd}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	tap.done.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			select {
			case <-stop:
				return
			default:
			}
			if err == nil && n >= 20 {
				answer(buf[:n])
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		tap.done.Wait()
		_ = unix.Close(fd)
	})
}

// segment makes the TCP segment that answers a SYN: its flags, and how far off its
// acknowledgement is.
func segment(syn []byte, flags byte, off uint32) []byte {
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	p[3] = 40
	copy(p[12:16], syn[16:20])
	copy(p[16:20], syn[12:16])
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
	tcp := p[20:]
	copy(tcp[0:2], syn[22:24])
	copy(tcp[2:4], syn[20:22])
	binary.BigEndian.PutUint32(tcp[8:], binary.BigEndian.Uint32(syn[24:])+1+off)
	tcp[12], tcp[13] = 5<<4, flags
	pseudo := append(append([]byte{}, p[12:20]...), 0, unix.IPPROTO_TCP, 0, 20)
	binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))
	return p
}

// checksum is the Internet checksum (RFC 1071).
func checksum(p []byte) uint16 {
	s := uint32(0)
	for i := 0; i+1 < len(p); i += 2 {
		s += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

const (
	flagRST, flagACK = 4, 16
	farOff           = 1 << 20 // an acknowledgement, or a sequence, that nobody who saw the SYN would send
)

// TestForgedAnswersToASYN has an outsider, who does not see our SYNs, answer them in every way, and
// then those who do see them.
func TestForgedAnswersToASYN(t *testing.T) {
	b := newTCPBench(t, EngineBatch)
	l := lab(t, `{prefixes: [192.0.2.0/24], rules: [{silent: true}]}`)
	router := netip.MustParseAddr("192.0.2.254")
	wrongSequence := func(syn []byte) []byte {
		forged := append([]byte(nil), syn...)
		binary.BigEndian.PutUint32(forged[24:], binary.BigEndian.Uint32(syn[24:])+farOff)
		return forged
	}
	local := netip.MustParseAddr("198.18.0.1")
	ways := []struct {
		what   string
		want   prefix.Outcome
		answer func(syn []byte) []byte
	}{
		{"a reset that acknowledges what we did not send", prefix.Timeout, func(syn []byte) []byte { return segment(syn, flagRST|flagACK, farOff) }},
		{"a reset without acknowledgement", prefix.Timeout, func(syn []byte) []byte { return segment(syn, flagRST, 0) }},
		{"an unreachable that quotes another sequence", prefix.Timeout, func(syn []byte) []byte { return netsim.ErrorMessage(router, local, 3, 1, wrongSequence(syn)) }},
		{"a time exceeded that quotes another sequence", prefix.Timeout, func(syn []byte) []byte { return netsim.ErrorMessage(router, local, 11, 0, wrongSequence(syn)) }},
		{"a source quench", prefix.Timeout, func(syn []byte) []byte { return netsim.ErrorMessage(router, local, 4, 0, syn) }},
		{"a redirect", prefix.Timeout, func(syn []byte) []byte { return netsim.ErrorMessage(router, local, 5, 1, syn) }},
		{"a reset", prefix.Refused, func(syn []byte) []byte { return segment(syn, flagRST|flagACK, 0) }},
		{"an unreachable", prefix.Unreachable, func(syn []byte) []byte { return netsim.ErrorMessage(router, local, 3, 1, syn) }},
		{"an unreachable that quotes 8 bytes", prefix.Unreachable, func(syn []byte) []byte { return netsim.ErrorMessage(router, local, 3, 13, syn[:28]) }},
		{"a time exceeded", prefix.TTLExceeded, func(syn []byte) []byte { return netsim.ErrorMessage(router, local, 11, 0, syn) }},
	}
	onSYN(t, func(syn []byte) {
		if i := int(syn[19]) - 1; i < len(ways) {
			if err := l.Inject(ways[i].answer(syn)); err != nil {
				t.Error(err)
			}
		}
	})
	list := tcpTargets(addresses("192.0.2.1", len(ways)), nil, 80)
	b.apply(list)
	b.run()
	for i, way := range ways {
		b.until(2, way.want, list[i:i+1])
	}
	b.settle()
	for i, way := range ways {
		t.Run(way.what, func(t *testing.T) { b.allOf(t, way.want, list[i:i+1]) })
	}
	b.unhealthy()
}
