package netsim_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(netsim.Inside(m)) }

// start runs a lab until the end of the test.
func start(t testing.TB, scenario string, o netsim.Options) *netsim.Lab {
	t.Helper()
	netsim.RequireLab(t)
	s, err := netsim.Parse("scenario.yml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	lab, err := netsim.Start(context.Background(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

func quiesce(t testing.TB, lab *netsim.Lab) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := lab.Quiesce(ctx); err != nil {
		t.Fatal(err)
	}
}

// ping runs the system's ping and returns what it printed.
func ping(t *testing.T, args ...string) string {
	t.Helper()
	return tool(t, "ping", "iputils-ping", append([]string{"-n"}, args...)...)
}

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

func TestPingAndTruthAgree(t *testing.T) {
	cases := []struct{ name, rule, to, want string }{
		{"all is well", "delay: 3ms", "192.0.2.7", "ttl=64 time=3."},
		{"IPv6", "delay: 3ms", "2001:db8::7", "ttl=64 time=3."},
		{"loss", "loss: 30%", "192.0.2.7", ""},
		{"IPv6 loss in bursts", "loss: {burst: {enter: 20%, leave: 30%}}", "2001:db8::7", ""},
		{"silence", "silent: true", "192.0.2.7", ""},
		{"duplicates", "duplicate: 1", "192.0.2.7", "(DUP!)"},
		{"a router says unreachable", "unreachable: {code: host, from: 198.51.100.9}", "192.0.2.7", "From 198.51.100.9 icmp_seq=1 Destination Host Unreachable"},
		{"and quotes little", "unreachable: {code: net, from: 198.51.100.9, quote: 8}", "192.0.2.7", "From 198.51.100.9 icmp_seq=1 Destination Net Unreachable"},
		{"prohibited", "unreachable: {code: prohibited, from: 198.51.100.9}", "192.0.2.7", "From 198.51.100.9 icmp_seq=1 Packet filtered"},
		{"IPv6 port", "unreachable: {code: port}", "2001:db8::7", "From 2001:db8::7 icmp_seq=1 Destination unreachable: Port unreachable"},
		{"TTL", "ttl_exceeded: {from: 198.51.100.9}", "192.0.2.7", "From 198.51.100.9 icmp_seq=1 Time to live exceeded"},
		{"IPv6 hop limit", "ttl_exceeded: {from: '2001:db8:1::9'}", "2001:db8::7", "From 2001:db8:1::9 icmp_seq=1 Time exceeded: Hop limit"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			lab := start(t, "seed: 4\nprefixes: [192.0.2.0/24, '2001:db8::/120']\nrules:\n  - "+c.rule, netsim.Options{})
			out := ping(t, "-c", "30", "-i", "0.004", "-W", "0.2", c.to)
			quiesce(t, lab)
			counters := lab.Counters(netip.MustParseAddr(c.to))
			m := pingSummary.FindStringSubmatch(out)
			if m == nil || m[1] != strconv.FormatUint(counters.Requests, 10) || m[2] != strconv.FormatUint(counters.Of(netsim.Answered), 10) {
				t.Errorf("the truth is %+v, ping says\n%s", counters, out)
				for _, p := range lab.Truth() {
					t.Logf("%+v", p)
				}
			}
			if !strings.Contains(out, c.want) {
				t.Errorf("ping does not say %q but\n%s", c.want, out)
			}
			if totals := lab.Totals(); totals != counters {
				t.Errorf("totals %+v, address %+v", totals, counters)
			}
		})
	}
}

func TestPingMayBeStamped(t *testing.T) {
	start(t, "stamp: true\nprefixes: [192.0.2.0/24]\nrules: [{delay: 3ms}]", netsim.Options{})
	out := ping(t, "-c", "3", "-i", "0.01", "192.0.2.7") // it checks its pattern, and says so
	if !strings.Contains(out, "3 received") || !strings.Contains(out, "time=3.") {
		t.Error(out)
	}
}

// TestProberAndTruthAgreePacketForPacket has everything happen at once at 256 addresses.
func TestProberAndTruthAgreePacketForPacket(t *testing.T) {
	lab := start(t, `
seed: 5
prefixes: [198.51.100.0/24]
rules:
  - {delay: 5ms, jitter: 3ms, loss: 5%, duplicate: 5%, reorder: {probability: 5%, delay: 20ms}}
  - {prefix: 198.51.100.64/26, corrupt: 10%}
  - {prefix: 198.51.100.128/26, delay: {normal: {mean: 50ms, stddev: 10ms}}}
  - {prefix: 198.51.100.192/27, unreachable: {code: host, from: 198.51.100.1}}
  - {prefix: 198.51.100.224/27, silent: true}
`, netsim.Options{})
	p := newProber(t)
	const count = 5120
	p.run(t, hosts("198.51.100.0", 256), count, 10240, 200*time.Millisecond)
	quiesce(t, lab)
	truth := lab.Truth()
	if len(truth) != count {
		t.Fatalf("the truth has %d packets, %d were sent", len(truth), count)
	}
	verdicts := map[netsim.Verdict]int{}
	for i, q := range truth {
		n := binary.BigEndian.Uint64(q.Head[:])
		verdicts[q.Verdict]++
		intact := 0
		for _, r := range q.Replies {
			if r.Type == 0 && r.Corrupt == netsim.Intact { // the kernel keeps broken checksums to itself
				intact++
			}
			if r.WrittenMono < r.Due || r.Written < q.Read || q.Read < q.Arrived {
				t.Errorf("packet %d: written before it was due", i)
			}
		}
		if p.copies[n] != intact || (q.Verdict == netsim.Answered) != (intact > 0) {
			t.Errorf("packet %d to %s: the prober saw %d replies, the truth has %d (%s)", n, q.Dst, p.copies[n], intact, q.Verdict)
		}
		if intact > 0 && (q.Read < p.sent[n] || q.Duplicates() == 0 && p.got[n] < q.Replies[0].Written) {
			t.Errorf("packet %d: left at %d, read at %d, written at %d, back at %d", n, p.sent[n], q.Read, q.Replies[0].Written, p.got[n])
		}
	}
	for _, v := range []netsim.Verdict{netsim.Answered, netsim.Lost, netsim.Silent, netsim.Unreachable, netsim.Corrupted} {
		if verdicts[v] == 0 {
			t.Errorf("no packet was %s", v)
		}
	}
}

func TestNothingIsLostAtFullRate(t *testing.T) {
	lab := start(t, "prefixes: [10.1.0.0/16]\nrules: [{delay: 20ms}]", netsim.Options{})
	p := newProber(t)
	const rate = 16384 // a quarter of what BenchmarkAccuracy does: other programs may be running
	p.run(t, hosts("10.1.0.0", 65536), rate, rate, 200*time.Millisecond)
	quiesce(t, lab)
	c := lab.Totals()
	if c.Requests != rate || c.Of(netsim.Answered) != rate || c.Replies != rate || lab.Stats().Dropped != 0 {
		t.Errorf("%+v %+v", c, lab.Stats())
	}
}

func TestRulesChangeAtTheReturnedMoment(t *testing.T) {
	lab := start(t, "prefixes: [192.0.2.0/24]", netsim.Options{})
	p := newProber(t)
	cut := make(chan time.Time, 1)
	timer := time.AfterFunc(150*time.Millisecond, func() {
		at, err := lab.SetRule(netsim.Rule{Silent: new(true)})
		if err != nil {
			t.Error(err)
		}
		cut <- at
	})
	defer timer.Stop()
	p.run(t, hosts("192.0.2.0", 4), 600, 2000, 50*time.Millisecond)
	at := <-cut
	quiesce(t, lab)
	before, after := 0, 0
	for _, q := range lab.Truth() {
		silent := q.Read >= at.UnixNano()
		if silent {
			after++
		} else {
			before++
		}
		if (q.Verdict == netsim.Silent) != silent {
			t.Errorf("%s %s after the cut", q.Verdict, time.Duration(q.Read-at.UnixNano()))
		}
	}
	if before == 0 || after == 0 || len(lab.Since(at)) != after {
		t.Errorf("%d before, %d after, %d since", before, after, len(lab.Since(at)))
	}
	if _, err := lab.SetRule(netsim.Rule{From: -1}); err == nil || err.Error() != "set rule: rules[1].from: -1ns must not be negative" {
		t.Errorf("%v", err)
	}
	if _, err := lab.Apply(netsim.Scenario{}); err != nil {
		t.Error(err)
	}
	p.run(t, hosts("192.0.2.0", 4), 10, 2000, 20*time.Millisecond)
	if c := lab.Totals(); c.Of(netsim.Answered) != uint64(before+10) {
		t.Errorf("after Apply: %+v", c)
	}
}

func TestPausedLabLetsItsQueueOverflow(t *testing.T) {
	lab := start(t, "prefixes: [192.0.2.0/24]", netsim.Options{QueueLength: 100})
	lab.Pause()
	p := newProber(t)
	p.run(t, hosts("192.0.2.0", 4), 150, 5000, 20*time.Millisecond)
	if c, s := lab.Totals(), lab.Stats(); c.Requests != 0 || s.Dropped != 50 {
		t.Errorf("%+v %+v", c, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := lab.Quiesce(ctx); err == nil {
		t.Error("a paused lab has come to rest")
	}
	lab.Resume()
	quiesce(t, lab)
	if c := lab.Totals(); c.Requests != 100 {
		t.Errorf("%+v", c)
	}
}

// TestFirstReplyArrives is about the time that the kernel takes to own an IPv6 address.
func TestFirstReplyArrives(t *testing.T) {
	for i := range 30 {
		lab := start(t, "prefixes: ['2001:db8::/120']", netsim.Options{})
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			t.Fatal(err)
		}
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
		request := []byte{128, 0, 0, 0, 0, 0, 0, 1}
		to := &unix.SockaddrInet6{Addr: netip.MustParseAddr("2001:db8::7").As16()}
		if err := unix.Sendto(fd, request, 0, to); err != nil {
			t.Fatal(err)
		}
		_, _, err = unix.Recvfrom(fd, request, 0)
		unix.Close(fd)
		if lab.Close(); err != nil {
			t.Fatalf("lab %d: %v", i, err)
		}
	}
}

func TestInjectedPacketsArrive(t *testing.T) {
	lab := start(t, "prefixes: [192.0.2.0/24]", netsim.Options{})
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2})
	from := netip.MustParseAddr("203.0.113.66") // which no route leads to
	forged := netsim.EchoReply(from, lab.Sources()[0], 1, 2, []byte("forged"))
	if err := lab.Inject(forged); err != nil {
		t.Fatal(err)
	}
	var b [100]byte
	n, sender, err := unix.Recvfrom(fd, b[:], 0)
	if err != nil || !strings.HasSuffix(string(b[:n]), "forged") || netip.AddrFrom4(sender.(*unix.SockaddrInet4).Addr) != from {
		t.Errorf("got %q from %v: %v", b[:n], sender, err)
	}
	if lab.Inject(nil) == nil {
		t.Error("an empty packet was taken")
	}
}

func TestDrainForgetsWhatIsSettled(t *testing.T) {
	lab := start(t, "prefixes: [192.0.2.0/24]\nrules: [{prefix: 192.0.2.3, delay: 1s}]", netsim.Options{})
	p := newProber(t)
	p.run(t, hosts("192.0.2.0", 3), 20000, 100000, 0)
	quiesce(t, lab)
	got := len(lab.Drain())
	if got != 20000 || len(lab.Drain()) != 0 || len(lab.Truth()) != 0 {
		t.Errorf("drained %d, then %d", got, len(lab.Drain()))
	}
	p.run(t, hosts("192.0.2.2", 2), 4, 1000, 0) // every other one is held
	var first []netsim.Packet
	for deadline := time.Now().Add(10 * time.Second); len(first) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		first = lab.Drain()
	}
	if len(first) != 1 || first[0].Number != 20000 {
		t.Errorf("drained %v", first)
	}
	quiesce(t, lab)
	if got := lab.Drain(); len(got) != 3 {
		t.Errorf("drained %d", len(got))
	}
}

func TestCloseRemovesEverything(t *testing.T) {
	netsim.RequireLab(t)
	ctx, cancel := context.WithCancel(context.Background())
	s := netsim.Scenario{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	lab, err := netsim.Start(ctx, s, netsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netsim.Start(ctx, s, netsim.Options{}); err == nil || !strings.Contains(err.Error(), "file exists") {
		t.Errorf("a second lab with the same addresses: %v", err)
	}
	if _, err := net.InterfaceByName(lab.Name()); err != nil {
		t.Error(err)
	}
	newProber(t).run(t, hosts("192.0.2.0", 3), 30, 10000, 0)
	cancel() // it answers no longer, but is still to be closed
	for range 2 {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := net.InterfaceByName(lab.Name()); err == nil {
		t.Error("the device is still there")
	}
	if len(lab.Truth()) == 0 || lab.Stats().Packets == 0 {
		t.Error("the truth is gone")
	}
	if lab.Inject([]byte{1}) == nil {
		t.Error("a packet was taken")
	}
	if lab.Quiesce(context.Background()) == nil {
		t.Error("it has come to rest")
	}
	lab.Pause() // does nothing, and no harm
}
