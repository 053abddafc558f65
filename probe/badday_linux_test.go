package probe

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/prefix"
)

// snapshot returns the slots of a table by address.
func (b *bench) snapshot() map[netip.Addr]prefix.Slot {
	slots := map[netip.Addr]prefix.Slot{}
	var snap prefix.Snapshot
	for _, s := range b.table.Series() {
		s.Snapshot(&snap)
		for i, slot := range snap.Slots {
			if slot.Configured {
				slots[snap.Addrs[i]] = slot
			}
		}
	}
	return slots
}

// lost returns how many probes were lost in all.
func (b *bench) lost() (n uint64) {
	for _, s := range b.snapshot() {
		n += s.Sent() - s.Counts[prefix.Answered]
	}
	return n
}

func TestHostilePacketsAreCountedAndNotBelieved(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		l := lab(t, `
prefixes: [192.0.2.0/24]
rules:
  - delay: 5ms
  - {prefix: 192.0.2.128/25, silent: true}
`)
		b.apply(prefix.ExpectSeen, targets(addresses("192.0.2.0", 256), eachSecond))
		b.run()
		waitFor(t, func() bool { // all that speak have spoken
			known := 0
			for _, s := range b.snapshot() {
				if s.Known {
					known++
				}
			}
			return known == 128
		})
		local := netip.MustParseAddr("198.18.0.1")
		silent, other := netip.MustParseAddr("192.0.2.200"), netip.MustParseAddr("192.0.2.1")
		var asked netsim.Packet // an echo request to the silent address that is still open
		waitFor(t, func() bool {
			for _, p := range l.Truth() {
				if p.Dst == silent {
					asked = p
				}
			}
			return time.Since(time.Unix(0, asked.Read)) < 500*time.Millisecond
		})
		b.inject(l, hostile(asked, local, silent, other))
		waitFor(t, func() bool { return b.value("unmatched_replies_total")+b.value("malformed_packets_total") >= 11 })
		b.turned()
		b.want(map[string]float64{
			"unmatched_replies_total cookie":   1,
			"unmatched_replies_total source":   2,
			"unmatched_replies_total sequence": 1,
			"unmatched_replies_total error":    3,
			"malformed_packets_total":          4,
		})
		b.settle(l)
		for a, s := range b.snapshot() {
			if known := a.As4()[3] < 128; s.Known != known {
				t.Errorf("%s: known is %v, want %v: %+v", a, s.Known, known, s)
			}
		}
		b.noFalseLoss(l)
		b.unhealthy()
	})
}

func (b *bench) inject(l *netsim.Lab, packets map[string][]byte) {
	b.t.Helper()
	for name, p := range packets {
		if err := l.Inject(p); err != nil {
			b.t.Errorf("%s: %v", name, err)
		}
	}
}

// hostile makes packets that an enemy, or a broken host, might send about a request that
// was really made. The head of its payload is the authentic tag.
func hostile(asked netsim.Packet, local, target, other netip.Addr) map[string][]byte {
	body := make([]byte, asked.Size)
	for i := range body {
		body[i] = byte(i + 8)
	}
	copy(body, asked.Head[:])
	wrong := slices.Clone(body)
	wrong[9] ^= 1 // in the cookie
	id, seq := asked.ID, asked.Seq
	neverSent := netsim.EchoRequest(local, target, id, seq, wrong)
	return map[string][]byte{
		"another's identifier":                  netsim.EchoReply(target, local, id+1, seq, body),
		"wrong cookie":                          netsim.EchoReply(target, local, id, seq, wrong),
		"another address with our cookie":       netsim.EchoReply(other, local, id, seq, body),
		"an outsider with our cookie":           netsim.EchoReply(netip.MustParseAddr("192.0.2.254"), local, id, seq, body),
		"our cookie under another sequence":     netsim.EchoReply(target, local, id, seq+1, body),
		"truncated to the header":               netsim.EchoReply(target, local, id, seq, nil),
		"truncated in the tag":                  netsim.EchoReply(target, local, id, seq, body[:15]),
		"truncated behind the tag":              netsim.EchoReply(target, local, id, seq, body[:40]),
		"huge":                                  netsim.EchoReply(target, local, id, seq, append(slices.Clone(body), make([]byte, 1300)...)),
		"error about a packet never sent":       netsim.ErrorMessage(other, local, 3, 1, neverSent),
		"error about a sequence never sent":     netsim.ErrorMessage(other, local, 3, 1, netsim.EchoRequest(local, target, id, seq+7, nil)[:28]),
		"error about a destination never asked": netsim.ErrorMessage(other, local, 11, 0, netsim.EchoRequest(local, netip.MustParseAddr("192.0.3.1"), id, seq, body)),
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	if !within(patience, ok) {
		t.Fatalf("waited for %v in vain", patience)
	}
}

func TestAFullReceiveQueueIsNoLoss(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		l := lab(t, `
prefixes: [198.51.100.0/22]
rules: [{delay: 20ms}]
`)
		b.apply(prefix.ExpectAll, targets(addresses("198.51.100.0", 1024), nil))
		s := b.engine.(*batch).list[0]
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 2304); err != nil {
			t.Fatal(err)
		}
		b.run()
		engine := b.engine.(*batch)
		overflows := func() bool { return b.value("kernel_drops_total") > 0 && b.value("discarded_probes_total") > 0 }
		for begun := time.Now(); time.Since(begun) < patience && !(overflows() && b.health.Troubled()); {
			engine.mu.Lock() // nobody reads while the replies to the last 60 ms arrive
			time.Sleep(60 * time.Millisecond)
			engine.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
		}
		b.settle(l)
		if !overflows() {
			t.Errorf("%v drops, %v discarded probes: the queue did not overflow", b.value("kernel_drops_total"), b.value("discarded_probes_total"))
		}
		b.noFalseLoss(l)
		b.unhealthy(ReasonKernelDrop)
	})
}

func TestAPauseOfThreeSecondsIsNobodysLoss(t *testing.T) {
	b := newBench(t, EngineBatch)
	// At a delay of 800 ms some 8,000 answers arrive during the pause: more than the loop reads at a time.
	const n = 10240
	l := lab(t, `
prefixes: [198.51.0.0/18]
rules:
  - {delay: 800ms, jitter: 10ms}
  - {prefix: 198.51.3.0/24, unreachable: {code: host, from: 198.51.3.1}}
`)
	b.apply(prefix.ExpectAll, targets(addresses("198.51.0.0", n), eachSecond))
	b.run()
	b.asked(1)
	engine := b.engine.(*batch)
	before := b.value("stalls_total")
	engine.mu.Lock() // the loop cannot run: what SIGSTOP does, to this one thread
	time.Sleep(3 * time.Second)
	engine.mu.Unlock()
	b.troubled(ReasonStalled, ReasonSkipped)
	b.settle(l)
	b.compare(l)
	b.compareRTTs(l)
	switch got := b.value("stalls_total") - before; {
	case got < 1:
		t.Error("the stall is not told")
	case got > 1:
		b.control.Pace(t, "%v stalls, want 1", got)
	}
	if got := b.value("skipped_probes_total"); got < 2*n {
		t.Errorf("%v skipped probes, want about 3 x 10,240: they were made up for in a burst", got)
	}
	b.unhealthy(ReasonStalled, ReasonSkipped)
}

func TestARefusalToSendIsNoLoss(t *testing.T) {
	for _, engine := range []string{EngineBatch, EngineProBing} {
		t.Run(engine, func(t *testing.T) {
			b := newBench(t, engine)
			l := lab(t, `{prefixes: [192.0.2.0/24]}`)
			nft(t, "add rule inet t out ip daddr 192.0.2.128/25 drop")
			list := targets(addresses("192.0.2.0", 256), eachSecond)
			if engine == EngineBatch {
				list = targets(addresses("192.0.2.0", 256), nil)
			}
			b.apply(prefix.ExpectAll, list)
			b.run()
			waitFor(t, func() bool { return b.value("send_errors_total", "EPERM") >= 3*128 })
			b.troubled(ReasonSendError)
			b.settle(l)
			b.refused(l, "EPERM")
		})
	}
}

func TestAFullLocalQueueIsNoLoss(t *testing.T) {
	eachMode(t, func(t *testing.T, b *bench) {
		l := lab(t, `{prefixes: [192.0.2.0/24]}`)
		// A queue that takes few packets and lets out a hundred a second: less than half of what comes.
		command(t, "tc", "qdisc", "replace", "dev", l.Name(), "root", "tbf", "rate", "70kbit", "burst", "1500", "limit", "2000")
		b.apply(prefix.ExpectAll, targets(addresses("192.0.2.0", 256), nil))
		b.run()
		waitFor(t, func() bool { return b.value("send_errors_total", "ENOBUFS") > 0 })
		b.troubled(ReasonSendError)
		b.settle(l)
		b.compare(l)
		b.unhealthy(ReasonSendError)
	})
}

// refused checks that the local system refused to send to the upper half of 256 targets, and to no others.
func (b *bench) refused(l *netsim.Lab, errno string) {
	b.t.Helper()
	b.checkAnswered(l)
	for a, s := range b.snapshot() {
		obstacle := ""
		if a.As4()[3] >= 128 {
			obstacle = errno
			if s.Sent() != 0 {
				b.t.Errorf("%s: %d sent, want 0: it could not be sent to", a, s.Sent())
			}
		}
		if s.Obstacle != obstacle && s.Obstacle != string(ReasonSkipped) {
			b.t.Errorf("%s: the obstacle is %q, want %q", a, s.Obstacle, obstacle)
		}
	}
	b.unhealthy(ReasonSendError)
}

// checkAnswered checks that the engine counts as many probes of each address as the lab has seen, and that those were
// answered that the lab has answered in time.
func (b *bench) checkAnswered(l *netsim.Lab) {
	b.t.Helper()
	if _, ok := b.engine.(*batch); ok {
		b.compare(l)
		return
	}
	seen, answered := map[netip.Addr]uint64{}, map[netip.Addr]uint64{}
	for _, p := range l.Truth() {
		seen[p.Dst]++
		if p.Verdict == netsim.Answered {
			answered[p.Dst]++
		}
	}
	discarded := map[netip.Addr]uint64{}
	for k := range b.packets {
		if slices.Contains(b.events(k), "discarded") {
			discarded[k.addr]++
		}
	}
	for a, s := range b.snapshot() {
		if !s.Known {
			continue // it is dark, and nothing of it is counted
		}
		got := s.Counts[prefix.Answered]
		switch sent := s.Sent() + discarded[a]; {
		case sent != seen[a] || got > answered[a]:
			b.t.Errorf("%s: %d of %d answered, the lab says %d of %d", a, got, sent, answered[a], seen[a])
		case got < answered[a]: // it times by the clock of the process
			b.control.Pace(b.t, "%s: %d answered, the lab says %d", a, got, answered[a])
		}
	}
}

func TestHalfASilentBlockIsDarkNotLost(t *testing.T) {
	b := newBench(t, EngineBatch)
	l := lab(t, `
prefixes: [192.0.2.0/24]
rules: [{prefix: 192.0.2.128/25, silent: true}]
`)
	b.apply(prefix.ExpectSeen, targets(addresses("192.0.2.0", 256), nil))
	b.run()
	b.asked(4)
	b.settle(l)
	b.compare(l)
	count := map[prefix.State]int{}
	for a, s := range b.snapshot() {
		count[s.State]++
		if s.State == prefix.Dark && s.Sent() != 0 {
			t.Errorf("%s is dark and has sent %d", a, s.Sent())
		}
	}
	if count[prefix.Up]+count[prefix.Down] != 128 || count[prefix.Dark] != 128 {
		t.Errorf("states %v, want 128 up and 128 dark", count)
	}
	if count[prefix.Down] > 0 {
		b.control.Pace(t, "states %v: the lab answered late", count)
	}
	b.noFalseLoss(l)
}

// setClockEnv allows a test to set the machine's clock for a moment. CI allows it.
const setClockEnv = "PREFIX_EXPORTER_TEST_SET_CLOCK"

func TestAClockThatIsSetIsNobodysLatency(t *testing.T) {
	requireEnv(t, setClockEnv, "it sets the clock of the machine for two seconds")
	for name, step := range map[string]time.Duration{"forwards": 3 * time.Second, "backwards": -3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, EngineBatch)
			l := lab(t, `
prefixes: [198.51.100.0/22]
rules: [{delay: 30ms, spread: 200ms}]
`)
			b.apply(prefix.ExpectAll, targets(addresses("198.51.100.0", 1024), nil))
			b.run()
			b.asked(1)
			setClock(t, step)
			b.asked(3)
			setClock(t, -step)
			b.asked(5)
			b.settle(l)
			b.noFalseLoss(l)
			held := map[probeKey]time.Duration{}
			for _, p := range l.Truth() {
				if len(p.Replies) > 0 {
					held[probeKey{p.Dst, p.Seq}] = time.Duration(p.Replies[0].WrittenMono - p.ReadMono)
				}
			}
			for k, packets := range b.packets {
				for _, p := range packets {
					if off := p.RTT - held[k]; p.Event == "answered" && (off < -time.Millisecond || off > 500*time.Millisecond) { // a step is 3 s
						t.Errorf("%v: RTT %v, the lab held it for %v", k, p.RTT, held[k])
					}
				}
			}
			if got := b.value("clock_steps_total"); got < 2 { // the system may set it, too
				t.Errorf("%v clock steps, want 2", got)
			}
			b.unhealthy(ReasonClockStep)
		})
	}
}

func setClock(t *testing.T, step time.Duration) {
	t.Helper()
	now := unix.NsecToTimespec(time.Now().Add(step).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		t.Fatal(err)
	}
}

func TestAReloadUnderLoadLeavesNoGapAndCountsNothingTwice(t *testing.T) {
	b := newBench(t, EngineBatch)
	l := lab(t, `
seed: 3
prefixes: [198.51.100.0/22, 203.0.113.0/24]
rules: [{delay: 50ms, jitter: 20ms, loss: 1%}]
`)
	stay, come := targets(addresses("198.51.100.0", 1024), nil), addresses("203.0.113.0", 256)
	b.apply(prefix.ExpectAll, slices.Clone(stay))
	b.run()
	for i := range 20 { // twenty reloads: others come, change and go
		b.oneMore(stay)
		list := targets(addresses("198.51.100.0", 1024), func(t *Target) { t.Size = 56 + i*40 })
		if i%2 == 0 {
			list = append(list, targets(come[:128+i], func(t *Target) { t.Interval = often + time.Duration(i)*time.Millisecond })...)
		}
		b.apply(prefix.ExpectAll, list)
	}
	b.apply(prefix.ExpectAll, slices.Clone(stay))
	b.oneMore(stay)
	b.settle(l)
	b.compareOf(l, stay)
	b.checkTable(stay)
	wrong := 0
	last := map[netip.Addr]netsim.Packet{}
	for _, p := range l.Truth() {
		before, known := last[p.Dst]
		last[p.Dst] = p
		if !known || slices.Contains(come, p.Dst) {
			continue
		}
		gap := time.Duration(p.ArrivedMono - before.ArrivedMono)
		switch {
		case p.Seq != before.Seq+1:
			wrong++
			if wrong <= 10 {
				t.Errorf("%s: sequence %d after %d, %v later", p.Dst, p.Seq, before.Seq, gap)
			}
		case gap < often-2*maxLag, gap > often+2*maxLag && b.value("skipped_probes_total") == 0:
			wrong++
			if wrong <= 10 {
				b.control.Pace(t, "%s: a gap of %v", p.Dst, gap)
			}
		}
	}
	if wrong > 10 {
		t.Logf("… and %d more", wrong-10)
	}
}

// oneMore waits until a tenth of these have been asked once more: a moment in which much is on its way.
func (b *bench) oneMore(list []Target) {
	b.t.Helper()
	sum := func() (n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for i := range list {
			n += b.sent[list[i].Addr]
		}
		return n
	}
	before := sum()
	waitFor(b.t, func() bool { return sum() >= before+len(list)/10 })
}

func TestPacketsAreAsConfigured(t *testing.T) {
	b := newBench(t, EngineBatch)
	l := lab(t, `{prefixes: [192.0.2.0/24]}`)
	ip(t, "address", "add", "198.18.7.7/32", "dev", l.Name())
	addrs := addresses("192.0.2.0", 6)
	b.apply(prefix.ExpectAll, []Target{
		target(addrs[0]),
		mended(addrs[1], func(t *Target) { t.Size = 16 }),
		mended(addrs[2], func(t *Target) { t.Size = 1400 }),
		mended(addrs[3], func(t *Target) { t.TTL, t.TOS = 9, 184 }),
		mended(addrs[4], func(t *Target) { t.Source = netip.MustParseAddr("198.18.7.7") }),
		mended(addrs[5], func(t *Target) { t.Interface = l.Name() }),
	})
	b.run()
	b.asked(2)
	b.settle(l)
	b.compare(l)
	for _, p := range l.Truth() {
		size, ttl, source := 56, uint8(64), "198.18.0.1"
		switch p.Dst {
		case addrs[1]:
			size = 16
		case addrs[2]:
			size = 1400
		case addrs[3]:
			ttl = 9
		case addrs[4]:
			source = "198.18.7.7"
		}
		if p.Size != size || p.TTL != ttl || p.Src.String() != source {
			t.Errorf("%s: size %d ttl %d from %s, want %d, %d, %s", p.Dst, p.Size, p.TTL, p.Src, size, ttl, source)
		}
	}
	if got := b.value("sockets", "dgram"); got != 3 {
		t.Errorf("%v sockets, want 3: one for each source and interface", got)
	}
}

func mended(a netip.Addr, mend func(*Target)) Target {
	t := target(a)
	mend(&t)
	return t
}
