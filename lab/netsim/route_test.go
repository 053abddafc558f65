package netsim

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// probes are requests to an address with a TTL, one of each protocol.
func probes(to string, ttl uint8) [][]byte {
	a := netip.MustParseAddr(to)
	from := local4
	if a.Is6() {
		from = local6
	}
	list := [][]byte{
		EchoRequest(from, a, 77, 1, payload56),
		syn(netip.AddrPortFrom(a, 80).String(), 5000, 1),
		datagram(netip.AddrPortFrom(a, 33434).String(), 5000, payload56),
	}
	for _, p := range list {
		setTTL(p, ttl)
	}
	return list
}

const threeHops = `
prefixes: [192.0.2.0/24]
rules: [{delay: 10ms, tcp: open}]
routes:
  - hops: [{router: 10.0.0.1, delay: 1ms}, '*', {router: 10.0.0.3, delay: 2ms, quote: 8, mpls: [16000, 17]}]
`

func TestRequestEndsWhereItsTTLDoes(t *testing.T) {
	type end struct {
		Hop     int
		Verdict Verdict
		From    string
		Delay   time.Duration
		TTL     uint8 // of the reply
	}
	want := map[uint8]end{
		1: {1, TTLExceeded, "10.0.0.1", time.Millisecond, 64},
		2: {2, Silent, "", 0, 0},
		3: {3, TTLExceeded, "10.0.0.3", 3 * time.Millisecond, 62},
		4: {0, Answered, "192.0.2.7", 13 * time.Millisecond, 61},
		9: {0, Answered, "192.0.2.7", 13 * time.Millisecond, 61},
	}
	for ttl, want := range want {
		e := simulate(t, threeHops)
		for i, sent := range probes("192.0.2.7", ttl) {
			e.receive(sent, epoch0, 0)
			p := packets(e)[i]
			got := end{Hop: p.Hop, Verdict: p.Verdict, Delay: p.Delay()}
			for _, reply := range written(e) {
				if header, message := valid(t, reply); !header || !message {
					t.Errorf("%s, TTL %d: header is right: %t, message is right: %t", p.Protocol, ttl, header, message)
				}
				got.From, got.TTL = p.Replies[0].From.String(), reply[8]
			}
			expect := want
			if p.Protocol == UDP && want.Verdict == Answered {
				expect.Verdict = Refused
			}
			if diff := cmp.Diff(expect, got); diff != "" || p.Route != 1 || p.Path != 1 {
				t.Errorf("%s, TTL %d, route %d, path %d: (-want +got)\n%s", p.Protocol, ttl, p.Route, p.Path, diff)
			}
		}
	}
}

func TestRouterQuotesWhatReachedIt(t *testing.T) {
	for to, router := range map[string]string{"192.0.2.7": "10.0.0.3", "2001:db8::7": "2001:db8:1::3"} {
		for _, c := range []struct {
			hop      string
			quoted   int // bytes behind the quoted IP header; -1: all
			extended bool
		}{
			{"quote: 8", 8, false},
			{"quote: full", -1, false},
			{"quote: 8, mpls: [16000, 17]", 8, true},
		} {
			e := simulate(t, fmt.Sprintf("prefixes: [192.0.2.0/24, '2001:db8::/120']\nroutes: [{prefix: '%s', hops: ['*', '*', {router: '%s', %s}]}]", to, router, c.hop))
			sent := probes(to, 3)[0]
			e.receive(sent, epoch0, 0)
			got := written(e)[0]
			if header, message := valid(t, got); !header || !message {
				t.Errorf("%s %s: header is right: %t, ICMP checksum is right: %t", to, c.hop, header, message)
			}
			h := headerLen(got)
			want := slices.Clone(sent)
			setTTL(want, 1)
			if c.quoted >= 0 {
				want = want[:h+c.quoted]
			}
			quote, length := got[h+8:], int(got[h+5])*4
			if h == ipv6HeaderLen {
				length = int(got[h+4]) * 8
			}
			if c.extended {
				stack := []byte{0x20, 0, 0, 0, 0, 12, 1, 1, 0x03, 0xe8, 0x00, 1, 0x00, 0x01, 0x11, 1}
				binary.BigEndian.PutUint16(stack[2:], checksum(stack, 0))
				want = append(append(want, make([]byte, quotedMin-len(want))...), stack...)
			}
			if !bytes.Equal(quote, want) || c.extended != (length == quotedMin) || !c.extended && length != 0 {
				t.Errorf("%s %s: length %d,\n%x, want\n%x", to, c.hop, length, quote, want)
			}
		}
	}
}

func TestFlowsKeepTheirPathAndAreSpread(t *testing.T) {
	e := simulate(t, `
prefixes: [192.0.2.0/24]
routes: [{paths: [{hops: [10.0.0.1]}, {hops: [10.0.0.2]}, {hops: [10.0.0.3]}, {hops: [10.0.0.4, 10.0.0.5]}]}]
`)
	const flows = 4000
	for range 2 {
		for port := range uint16(flows) {
			p := datagram("192.0.2.7:33434", port+1, nil)
			setTTL(p, 1)
			e.receive(p, epoch0, 0)
		}
	}
	all := packets(e)
	count := map[int]int{}
	for i := range flows {
		count[all[i].Path]++
		if all[i].Path != all[i+flows].Path {
			t.Errorf("flow %d took paths %d and %d", i, all[i].Path, all[i+flows].Path)
		}
		if from := all[i].Replies[0].From.String(); from != fmt.Sprintf("10.0.0.%d", all[i].Path) {
			t.Errorf("path %d: %s", all[i].Path, from)
		}
	}
	for path := 1; path <= 4; path++ {
		if n := count[path]; n < flows/4*85/100 || n > flows/4*115/100 {
			t.Errorf("path %d: %d of %d flows", path, n, flows)
		}
	}
	// Of ICMP, the identifier and the checksum are the flow: a sequence number alone changes it.
	r := func(seq, tail uint16) uint64 {
		payload := binary.BigEndian.AppendUint16(nil, tail)
		var q request
		parseRequest(EchoRequest(local4, netip.MustParseAddr("192.0.2.7"), 7, seq, payload), &q)
		return q.flow(0)
	}
	if r(1, 9) != r(2, 8) || r(1, 9) == r(2, 9) {
		t.Error("the flow of ICMP is not its identifier and checksum")
	}
}

func TestRoutesChangeOnSchedule(t *testing.T) {
	e := simulate(t, `
prefixes: [192.0.2.0/24]
routes:
  - {prefix: 192.0.2.0/25, hops: [10.0.0.1, 10.0.0.2]}
  - {prefix: 192.0.2.0/25, hops: [10.0.0.1, 10.0.0.9, 10.0.0.2], from: 1m, until: 2m}
  - {prefix: 192.0.2.0/25, hops: [10.0.0.1, {router: 10.0.0.3, unreachable: net}], from: 3m, until: 4m}
  - {prefix: 192.0.2.0/25, hops: [10.0.0.1, 10.0.0.2, 10.0.0.3], loop: 2, from: 4m}
`)
	see := func(at time.Duration, to string) (path []string) {
		for ttl := range uint8(6) {
			e.receive(probes(to, ttl+1)[2], epoch0.plus(at), 0)
			all := packets(e)
			p := all[len(all)-1]
			path = append(path, fmt.Sprintf("%s %d %s", p.Replies[0].From, p.Hop, p.Verdict))
			if p.Hop == 0 || p.Verdict == Unreachable {
				break
			}
		}
		return path
	}
	got := map[string][]string{
		"before": see(0, "192.0.2.7"), "longer": see(time.Minute, "192.0.2.7"), "after": see(2*time.Minute, "192.0.2.7"),
		"cut": see(3*time.Minute, "192.0.2.7"), "loop": see(4*time.Minute, "192.0.2.7"), "no route": see(5*time.Minute, "192.0.2.200"),
	}
	want := map[string][]string{
		"before":   {"10.0.0.1 1 ttl_exceeded", "10.0.0.2 2 ttl_exceeded", "192.0.2.7 0 refused"},
		"longer":   {"10.0.0.1 1 ttl_exceeded", "10.0.0.9 2 ttl_exceeded", "10.0.0.2 3 ttl_exceeded", "192.0.2.7 0 refused"},
		"after":    {"10.0.0.1 1 ttl_exceeded", "10.0.0.2 2 ttl_exceeded", "192.0.2.7 0 refused"},
		"cut":      {"10.0.0.1 1 ttl_exceeded", "10.0.0.3 2 ttl_exceeded", "10.0.0.3 2 unreachable"},
		"loop":     {"10.0.0.1 1 ttl_exceeded", "10.0.0.2 2 ttl_exceeded", "10.0.0.3 3 ttl_exceeded", "10.0.0.2 4 ttl_exceeded", "10.0.0.3 5 ttl_exceeded", "10.0.0.2 6 ttl_exceeded"},
		"no route": {"192.0.2.200 0 refused"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHopsLoseAndLimit(t *testing.T) {
	e := simulate(t, `
seed: 1
prefixes: [192.0.2.0/24]
routes:
  - {prefix: 192.0.2.0/25, hops: [{router: 10.0.0.1, rate_limit: {rate: 100/s, burst: 5}}, {router: 10.0.0.2, loss: 20%}, {router: 10.0.0.3, silent: 30%}]}
  - {prefix: 192.0.2.128/25, hops: [{router: 10.0.0.1, rate_limit: {rate: 100/s, burst: 5}}]}
`)
	const n = 4000
	share := func(to string, ttl uint8, begin time.Duration) map[Verdict]int {
		first := len(packets(e))
		for i := range n {
			e.receive(probes(to, ttl)[i%3], epoch0.plus(begin+time.Duration(i)*time.Millisecond), 0)
		}
		got := map[Verdict]int{}
		for _, p := range packets(e)[first:] {
			got[p.Verdict]++
		}
		return got
	}
	near := func(name string, got, want int) {
		if got < want*85/100 || got > want*115/100 {
			t.Errorf("%s: %d, want about %d", name, got, want)
		}
	}
	got := share("192.0.2.7", 1, 0)
	near("a router answers at its rate", got[TTLExceeded], 405)
	near("and keeps the rest", got[RateLimited], n-405)
	near("whatever the route", share("192.0.2.200", 1, n*time.Millisecond)[TTLExceeded], 405)
	near("loss on the way to a router", share("192.0.2.7", 2, time.Minute)[Lost], n/5)
	got = share("192.0.2.7", 3, 2*time.Minute)
	near("goes on behind it", got[Lost], n/5)
	near("silence of a router", got[Silent], n*8/10*3/10)
	got = share("192.0.2.7", 4, 3*time.Minute)
	near("loss goes on to the host", got[Lost], n/5)
	if got[Silent]+got[RateLimited] != 0 {
		t.Errorf("what routers do not say does not concern the host: %v", got)
	}
}

func TestRoutersAnswerEchoRequests(t *testing.T) {
	e := simulate(t, threeHops)
	ask(e, "10.0.0.3", 1, 0)
	if p := packets(e); len(p) != 1 || p[0].Verdict != Answered || len(written(e)) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestRoutedLoadAllocatesNothing(t *testing.T) {
	e := simulate(t, threeHops)
	var load [][]byte
	for ttl := range uint8(5) {
		load = append(load, probes("192.0.2.7", ttl+1)...)
	}
	now := epoch0
	step := func() {
		for _, p := range load {
			now = now.plus(time.Millisecond)
			e.receive(p, now, 0)
			for e.pop(now) != nil {
			}
		}
	}
	for range 200 {
		step()
	}
	if n := testing.AllocsPerRun(500, step); n != 0 {
		t.Errorf("%v allocations per round", n)
	}
}
