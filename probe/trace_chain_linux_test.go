package probe

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"prefix_exporter/lab/netsim"
	"prefix_exporter/lab/testenv"
	"prefix_exporter/route"
)

// chainLength is how many namespaces there are behind that of the test: four routers, one host.
const chainLength = 5

// The addresses of the host at the end of the chain.
const chainEnd4, chainEnd6 = "192.0.2.7", "2001:db8::7"

// chain is a row of real Linux routers: network namespaces with veth pairs between them.
type chain struct {
	t    testing.TB
	pids []string // of who holds the namespace of node 1, 2 …
}

// newChain makes a chain for the length of the test.
func newChain(t testing.TB) *chain {
	t.Helper()
	netsim.RequireLab(t)
	c := &chain{t: t}
	unshare := testenv.RequireProgram(t, "unshare", "util-linux")
	for range chainLength {
		cmd := exec.Command(unshare, "--net", "sleep", "infinity")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		c.pids = append(c.pids, strconv.Itoa(cmd.Process.Pid))
	}
	setSysctl(t, "/proc/sys/net/ipv6/conf/default/accept_dad", "0") // else a link carries nothing for a second
	for k := 1; k <= chainLength; k++ {
		c.settled(k)
		c.in(k, "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad")
		c.link(k)
	}
	for k := 1; k <= chainLength; k++ {
		c.route(k)
	}
	command(t, "ip", "route", "add", "192.0.2.0/24", "via", "10.77.1.2")
	command(t, "ip", "route", "add", "10.77.0.0/16", "via", "10.77.1.2")
	command(t, "ip", "-6", "route", "add", "2001:db8::/120", "via", "fd77:1::2")
	command(t, "ip", "-6", "route", "add", "fd77::/16", "via", "fd77:1::2")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "chain1").Run() }) // and the routes with it
	ping := testenv.RequireProgram(t, "ping", "iputils-ping")
	for _, to := range []string{chainEnd4, chainEnd6} { // a new link takes up to a second to carry anything
		waitFor(t, func() bool { return exec.Command(ping, "-n", "-c", "1", "-W", "1", to).Run() == nil })
	}
	return c
}

// settled waits until the process of node k has its namespace.
func (c *chain) settled(k int) {
	c.t.Helper()
	for range 200 {
		own, err := exec.Command("readlink", "/proc/thread-self/ns/net").Output()
		its, err2 := exec.Command("readlink", "/proc/"+c.pids[k-1]+"/ns/net").Output()
		if err == nil && err2 == nil && string(own) != string(its) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.t.Fatal("no namespace: unshare does not work")
}

// in runs a shell script in the namespace of a node; that of the test is 0.
func (c *chain) in(k int, script string) {
	c.t.Helper()
	args := []string{"sh", "-ec", script}
	if k > 0 {
		args = append([]string{"nsenter", "--net", "--target", c.pids[k-1]}, args...)
	}
	command(c.t, args[0], args[1:]...)
}

// link joins node k to the one before it: 10.77.k.1 and .2, fd77:k::1 and ::2.
func (c *chain) link(k int) {
	left := fmt.Sprintf("chain%d", k)
	c.in(k-1, fmt.Sprintf(`ip link add %[1]s type veth peer name back netns %[2]s
ip addr add 10.77.%[3]d.1/24 dev %[1]s
ip addr add fd77:%[3]d::1/64 dev %[1]s nodad
ip link set %[1]s up`, left, c.pids[k-1], k))
	c.in(k, fmt.Sprintf(`ip link set lo up
ip addr add 10.77.%[1]d.2/24 dev back
ip addr add fd77:%[1]d::2/64 dev back nodad
ip link set back up`, k))
}

// route makes node k a router without rate limits, or the host at the end.
func (c *chain) route(k int) {
	if k == chainLength {
		c.in(k, fmt.Sprintf(`ip addr add %s/32 dev lo
ip -6 addr add %s/128 dev lo nodad
ip route add default via 10.77.%[3]d.1
ip -6 route add default via fd77:%[3]d::1`, chainEnd4, chainEnd6, k))
	} else {
		c.in(k, fmt.Sprintf("ip route add default via 10.77.%[1]d.2\nip -6 route add default via fd77:%[1]d::2", k+1))
		for j := 1; j < k; j++ {
			c.in(k, fmt.Sprintf("ip route add 10.77.%[1]d.0/24 via 10.77.%[2]d.1\nip -6 route add fd77:%[1]d::/64 via fd77:%[2]d::1", j, k))
		}
	}
	// The limits of all namespaces together are of old kernels only that of the machine.
	c.in(k, `cd /proc/sys/net
echo 1 >ipv4/ip_forward
echo 1 >ipv6/conf/all/forwarding
echo 0 >ipv4/icmp_ratelimit
echo 0 >ipv6/icmp/ratelimit
echo 100000 >ipv4/icmp_msgs_per_sec || true
echo 10000 >ipv4/icmp_msgs_burst || true`)
}

// nft adds rules to the firewall of a node, into a chain for what it forwards.
func (c *chain) nft(t testing.TB, k int, rules string) {
	testenv.RequireProgram(t, "nft", "nftables")
	c.in(k, "nft -f - <<'END'\nadd table inet t\nflush table inet t\nadd chain inet t f { type filter hook forward priority 0; }\n"+rules+"\nEND")
}

func TestLinuxRoutersAreSeenAsOthersSeeThem(t *testing.T) {
	newChain(t)
	for _, c := range []struct {
		protocol   string
		traceroute []string
	}{
		{TraceICMP, []string{"-I"}},
		{TraceTCP, []string{"-T", "-p", "80"}},
		{TraceUDP, []string{"-U", "-p", "33434"}},
	} {
		for _, to := range []string{chainEnd4, chainEnd6} {
			t.Run(c.protocol+" to "+to, func(t *testing.T) {
				agree(t, "traceroute", func() *hopTimes { return ours(t, 12, c.protocol, to) },
					func() *hopTimes { return traceroute(t, append(c.traceroute, to)...) })
			})
		}
	}
}

// TestDelaysAreWhatOthersMeasure has a way with delays, which 0 is far from.
func TestDelaysAreWhatOthersMeasure(t *testing.T) {
	lab(t, `
prefixes: [192.0.2.0/24]
rules: [{delay: 3ms}]
routes:
  - prefix: 192.0.2.0/24
    hops: [{router: 10.0.0.1, delay: 3ms}, {router: 10.0.0.2, delay: 3ms}, {router: 10.0.0.3, delay: 4ms}, {router: 10.0.0.4, delay: 4ms}]
`)
	own := func() *hopTimes {
		h := ours(t, 12, TraceICMP, chainEnd4)
		for i, least := range []time.Duration{3, 6, 10, 14, 17} {
			if own := h.median(i); own != 0 && own < least*time.Millisecond {
				t.Errorf("hop %d: RTT %v, below the %d ms of the lab", i+1, own, least)
			}
		}
		return h
	}
	agree(t, "traceroute", own, func() *hopTimes { return traceroute(t, "-I", chainEnd4) })
	other := mtr(t, 3, chainEnd4) // it times in user space, and is no measure
	for i, router := range other.routers {
		t.Logf("mtr        hop %d %-12s median %8v", i+1, router, other.median(i))
	}
}

// TestLossIsWhatAFirewallDrops drops every seventh echo request of each TTL between the second and the third
// router, and counts them.
func TestLossIsWhatAFirewallDrops(t *testing.T) {
	c := newChain(t)
	const rounds = 42
	rules := ""
	for ttl := 1; ttl <= chainLength-2; ttl++ { // that is left when the second router forwards
		rules += fmt.Sprintf("add rule inet t f icmp type echo-request ip ttl %[1]d numgen inc mod 7 == %[1]d counter drop\n", ttl)
		rules += fmt.Sprintf("add rule inet t f icmpv6 type echo-request ip6 hoplimit %[1]d numgen inc mod 7 == %[1]d counter drop\n", ttl)
	}
	for to, key := range map[string]string{chainEnd4: "ip ttl", chainEnd6: "ip6 hoplimit"} {
		c.nft(t, 2, rules)
		b := newTraceBench(t, nil)
		target := traceTarget(TraceICMP, to)
		target.Interval, target.Timeout, target.MaxHops = 60*time.Millisecond, 50*time.Millisecond, chainLength
		b.apply(target)
		b.run()
		b.wait(0, rounds)
		b.stop()
		lost, unknown := [chainLength]int{}, int(b.value("late_replies_total"))
		for _, r := range b.rounds {
			for i, a := range r.Answers {
				switch a.Kind {
				case route.Silent:
					lost[i]++
				case route.Unasked:
					unknown++
				}
			}
		}
		for left := 1; left <= chainLength-2; left++ {
			dropped, got := c.dropped(t, 2, fmt.Sprintf("%s %d", key, left)), lost[left+1]
			// A round may have been on its way at the end, and an answer too late.
			if got < dropped-1-unknown || got > dropped+unknown {
				t.Errorf("%s hop %d: %d lost in %d rounds, %d were dropped, and of %d nobody knows", to, left+2, got, len(b.rounds), dropped, unknown)
			}
			if dropped < rounds/7-1 {
				t.Errorf("%s hop %d: only %d were dropped: the test shows nothing", to, left+2, dropped)
			}
		}
		if lost[0]+lost[1] > unknown {
			t.Errorf("%s: %d and %d lost at the hops before, %d answers were late", to, lost[0], lost[1], unknown)
		}
	}
}

// dropped is how many packets the rule with such a match has counted.
func (c *chain) dropped(t testing.TB, k int, match string) int {
	t.Helper()
	all := tool(t, "util-linux", "nsenter", "--net", "--target", c.pids[k-1], "nft", "list", "chain", "inet", "t", "f")
	for line := range strings.Lines(all) {
		_, count, found := strings.Cut(line, "counter packets ")
		if !found || !strings.Contains(line, match+" ") {
			continue
		}
		n, err := strconv.Atoi(strings.Fields(count)[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatalf("no rule %q:\n%s", match, all)
	return 0
}

// TestARealHostWithAnOpenPortIsReached sends SYNs of one flow, some at a time, to a host that
// takes connections: none of them comes to stand, and each round is answered at the same hop.
func TestARealHostWithAnOpenPortIsReached(t *testing.T) {
	c := newChain(t)
	listener := c.listen(chainLength, "[::]:8080")
	b := newTraceBench(t, nil)
	var list []TraceTarget
	for _, to := range []string{chainEnd4, chainEnd6} {
		target := traceTarget(TraceTCP, to)
		target.Port = 8080
		list = append(list, target)
	}
	b.apply(list...)
	b.run()
	for _, r := range b.whole(0, 20) {
		if n := len(r.Answers); n != chainLength || r.Answers[n-1].Kind != route.Arrived {
			t.Errorf("way %v", line(r))
		}
	}
	b.stop()
	b.unhealthy()
	if err := listener.SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if conn, err := listener.Accept(); err == nil {
		t.Errorf("a connection from %s came to stand", conn.RemoteAddr())
	}
}

// listen listens on a port in the namespace of a node.
func (c *chain) listen(k int, address string) *net.TCPListener {
	c.t.Helper()
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends, in the namespace that it has entered
		f, err := os.Open("/proc/" + c.pids[k-1] + "/ns/net")
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- result{err: err}
			return
		}
		l, err := net.Listen("tcp", address)
		done <- result{l, err}
	}()
	r := <-done
	if r.err != nil {
		c.t.Fatal(r.err)
	}
	c.t.Cleanup(func() { _ = r.l.Close() })
	return r.l.(*net.TCPListener)
}

// TestALinuxBalancerFakesNoChange gives the first router two links to the second, between which it
// balances by addresses and ports. The second one answers from the link by which the probe came.
func TestALinuxBalancerFakesNoChange(t *testing.T) {
	c := newChain(t)
	c.in(1, fmt.Sprintf(`ip link add two type veth peer name two netns %s
ip addr add 10.88.2.1/24 dev two
ip link set two up
echo 1 >/proc/sys/net/ipv4/fib_multipath_hash_policy`, c.pids[1]))
	c.in(2, `ip addr add 10.88.2.2/24 dev two
ip link set two up
for f in all two; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done
echo 1 >/proc/sys/net/ipv4/icmp_errors_use_inbound_ifaddr`)
	c.in(1, "ip route add 192.0.2.0/24 nexthop via 10.77.2.2 nexthop via 10.88.2.2")
	b := newTraceBench(t, nil)
	var list []TraceTarget
	for i := range 24 {
		target := traceTarget([]string{TraceICMP, TraceTCP, TraceUDP}[i%3], fmt.Sprintf("192.0.2.%d", i+1))
		target.MaxHops, target.Interval, target.Timeout = 3, 60*time.Millisecond, 30*time.Millisecond
		list = append(list, target)
	}
	b.apply(list...)
	b.run()
	second, links := map[string]string{}, map[string]bool{}
	for _, r := range b.wait(0, 40*len(list)) {
		if len(r.Answers) < 2 || !r.Answers[1].From.IsValid() {
			continue
		}
		dst, hop := r.dst.String(), r.Answers[1].From.String()
		if second[dst] == "" {
			second[dst] = hop
			links[hop] = true
		}
		if second[dst] != hop {
			t.Errorf("%s: %s and %s at hop 2", dst, second[dst], hop)
		}
	}
	b.stop()
	if len(second) != len(list) || len(links) != 2 {
		t.Errorf("%d of %d routes over the links %v: the test shows nothing", len(second), len(list), links)
	}
	// The control: who asks another port each time meets both.
	out := ""
	for range 3 { // some answers may be late
		out += tool(t, "traceroute", "traceroute", "-n", "-q", "10", "-f", "2", "-m", "5", "-w", "0.5", chainEnd4)
	}
	if !strings.Contains(out, "10.77.2.2") || !strings.Contains(out, "10.88.2.2") {
		t.Errorf("traceroute meets one link only: nothing is balanced\n%s", out)
	}
}
