package netsim

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseReadsEveryProperty(t *testing.T) {
	got, err := Parse("s.yml", []byte(`
seed: 18446744073709551615
source: [198.18.0.9, 'fd00::9']
prefixes: [192.0.2.0/24, 203.0.113.9, '2001:db8::/120']
mtu: 9000
stamp: true
rules:
  - prefix: [192.0.2.7, 192.0.2.128/25]
    from: 1m
    until: 2m30s
    delay: {normal: {mean: 5ms, stddev: 250us, min: 4ms}}
    spread: 1ms
    jitter: 100us
    loss: {probability: 1%, burst: {enter: 0.01, leave: 0.3, bad: 0.9, good: 0.001}, periodic: {period: 10s, length: 1s}}
    duplicate: {probability: 2%, copies: 3, after: 1ms}
    reorder: {probability: 3%, delay: 20ms}
    corrupt: {probability: 4%, mode: payload}
    silent: true
    unreachable: {code: prohibited, from: 198.51.100.9, quote: 8, probability: 0.5}
    ttl_exceeded: {code: transit, from: 198.51.100.9, quote: full}
    rate_limit: {rate: 10/s, burst: 5, per: rule}
    answer_from: 192.0.2.8
    tcp: open
  - {protocol: [tcp, udp], port: [80, 8000-8099], tcp: reset_early}
  - {delay: {constant: 5ms}, loss: 0.5, duplicate: 10%, corrupt: 1%, unreachable: 9, rate_limit: 3/s}
  - {delay: {ramp: {from: 1ms, to: 2ms, over: 3s}}, unreachable: off, ttl_exceeded: off, rate_limit: off, answer_from: off}
routes:
  - prefix: 192.0.2.0/25
    from: 1s
    until: 2s
    paths: [{hops: [10.0.0.9]}]
    loop: 1
    hops:
      - 10.0.0.1
      - '*'
      - {router: 10.0.0.2, delay: 2ms, jitter: 1ms, loss: 1%, silent: true, rate_limit: {rate: 5/s, burst: 2}, quote: 8, mpls: [16, 17], unreachable: net}
`))
	if err != nil {
		t.Fatal(err)
	}
	router := netip.MustParseAddr("198.51.100.9")
	want := Scenario{
		Seed: 1<<64 - 1, MTU: 9000, Stamp: true,
		Source:   []netip.Addr{netip.MustParseAddr("198.18.0.9"), netip.MustParseAddr("fd00::9")},
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("2001:db8::/120")},
		Rules: []Rule{{
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("192.0.2.128/25")},
			From:     time.Minute, Until: 150 * time.Second,
			Delay:  &Delay{Normal: &Normal{5 * time.Millisecond, 250 * time.Microsecond, 4 * time.Millisecond}},
			Spread: new(time.Millisecond), Jitter: new(100 * time.Microsecond),
			Loss:        &Loss{0.01, &Burst{0.01, 0.3, 0.001, new(0.9)}, &Periodic{10 * time.Second, time.Second}},
			Duplicate:   &Duplicate{0.02, 3, time.Millisecond},
			Reorder:     &Reorder{0.03, 20 * time.Millisecond},
			Corrupt:     &Corrupt{0.04, Payload},
			Silent:      new(true),
			Unreachable: &ICMPError{Code: "prohibited", From: router, Short: true, Probability: new(0.5)},
			TTLExceeded: &ICMPError{Code: "transit", From: router},
			RateLimit:   &RateLimit{10, 5, true},
			AnswerFrom:  new(netip.MustParseAddr("192.0.2.8")),
			TCP:         new(ServiceOpen),
		}, {
			Protocols: []Protocol{TCP, UDP}, Ports: []PortRange{{80, 80}, {8000, 8099}}, TCP: new(ServiceResetEarly),
		}, {
			Delay: &Delay{Constant: 5 * time.Millisecond}, Loss: &Loss{Probability: 0.5}, Duplicate: &Duplicate{Probability: 0.1},
			Corrupt: &Corrupt{0.01, Flip}, Unreachable: &ICMPError{Code: "9"}, RateLimit: &RateLimit{Rate: 3},
		}, {
			Delay:       &Delay{Ramp: &Ramp{time.Millisecond, 2 * time.Millisecond, 3 * time.Second}},
			Unreachable: &ICMPError{Off: true}, TTLExceeded: &ICMPError{Off: true}, RateLimit: &RateLimit{}, AnswerFrom: new(netip.Addr),
		}},
		Routes: []Route{{
			Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25")}, From: time.Second, Until: 2 * time.Second,
			Paths: []Path{
				{Hops: []Hop{{Router: netip.MustParseAddr("10.0.0.9")}}},
				{Loop: 1, Hops: []Hop{{Router: netip.MustParseAddr("10.0.0.1")}, {}, {
					Router: netip.MustParseAddr("10.0.0.2"), Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Silent: 1,
					RateLimit: RateLimit{Rate: 5, Burst: 2}, Short: true, MPLS: []int{16, 17}, Unreachable: &ICMPError{Code: "net"},
				}}},
			},
		}},
	}
	same := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEveryMistakeIsNamedWithItsLine(t *testing.T) {
	const ruleKeys = "prefix, protocol, port, from, until, delay, spread, jitter, loss, duplicate, reorder, corrupt, silent, unreachable, ttl_exceeded, rate_limit, answer_from, tcp"
	const head = "prefixes: [192.0.2.0/24]\nrules:\n  - "
	const way = "prefixes: [192.0.2.0/24]\nroutes:\n  - "
	cases := []struct{ name, file, want string }{
		{"empty", "", "s.yml: the file is empty"},
		{"no YAML", "a: [", "s.yml: yaml: line 1: did not find expected node content"},
		{"two documents", "prefixes: [192.0.2.0/24]\n---\nseed: 1", "s.yml: there must be one document only"},
		{"no mapping", "- 1", "s.yml:1: must be a mapping with the keys seed, source, prefixes, mtu, stamp, rules, routes"},
		{"no prefixes", "seed: 1", "s.yml:1: prefixes: there must be at least one prefix"},
		{"unknown key", "prefixes: [192.0.2.0/24]\nsead: 1", "s.yml:2: sead: unknown key; known are seed, source, prefixes, mtu, stamp, rules, routes"},
		{"key twice", "prefixes: [192.0.2.0/24]\nseed: 1\nseed: 2", "s.yml:3: seed: the key is there twice"},
		{"seed", "prefixes: [192.0.2.0/24]\nseed: -1", `s.yml:2: seed: "-1": must be a whole number from 0 to 2^64-1`},
		{"no prefix", "prefixes:\n  - 192.0.2.0/24\n  - 192.0.2.0/33", `s.yml:3: prefixes[1]: "192.0.2.0/33": must be a prefix or an address`},
		{"host bits", "prefixes: [192.0.2.7/24]", `s.yml:1: prefixes[0]: "192.0.2.7/24" has host bits set; the prefix is 192.0.2.0/24`},
		{"prefix twice", "prefixes: [192.0.2.0/24, 192.0.2.0/24]", `s.yml:1: prefixes[1]: "192.0.2.0/24" is there twice`},
		{"source", "prefixes: [192.0.2.0/24]\nsource: 127.0.0.1", `s.yml:2: source[0]: "127.0.0.1" is no unicast address for the local end`},
		{"sources of one family", "prefixes: [192.0.2.0/24]\nsource:\n  - 10.0.0.1\n  - 10.0.0.2", `s.yml:4: source[1]: "10.0.0.2": there may be one address per family`},
		{"mtu", "prefixes: [192.0.2.0/24]\nmtu: 100", "s.yml:2: mtu: 100 must be between 1280 and 65535"},
		{"stamp", "prefixes: [192.0.2.0/24]\nstamp: yes", `s.yml:2: stamp: "yes": must be true or false`},
		{"list for a scalar", "prefixes: [192.0.2.0/24]\nmtu: [1]", "s.yml:2: mtu: must be 1280 to 65535"},
		{"nothing", "prefixes: [192.0.2.0/24]\nmtu:", "s.yml:2: mtu: must be 1280 to 65535"},
		{"rules no list", "prefixes: [192.0.2.0/24]\nrules: {}", "s.yml:2: rules: must be a list of rules"},
		{"rule for nobody", "prefixes: [192.0.2.0/24]\nrules:\n  - prefix: []", "s.yml:3: rules[0].prefix: must not be an empty list"},
		{"rule for others", head + "prefix: [192.0.2.7, 192.0.3.7]", `s.yml:3: rules[0].prefix[1]: "192.0.3.7/32" has no address in the prefixes of the scenario`},
		{"unknown rule key", head + "lost: 1", "s.yml:3: rules[0].lost: unknown key; known are " + ruleKeys},
		{"duration", head + "delay: 5", `s.yml:3: rules[0].delay: "5": must be a duration such as 250us, 20ms or 1m30s`},
		{"negative delay", head + "delay: -5ms", "s.yml:3: rules[0].delay: -5ms must be between 0s and 10m0s"},
		{"long delay", head + "delay: 11m", "s.yml:3: rules[0].delay: 11m0s must be between 0s and 10m0s"},
		{"two delays", head + "delay: {normal: {mean: 1ms}, ramp: {to: 1ms, over: 1s}}", "s.yml:3: rules[0].delay: normal and ramp exclude each other"},
		{"ramp over no time", head + "delay: {ramp: {to: 1ms}}", "s.yml:3: rules[0].delay.ramp.over: 0s must be above 0s"},
		{"from", head + "from: -1s", "s.yml:3: rules[0].from: -1s must not be negative"},
		{"until before from", head + "from: 5s\n    until: 4s", "s.yml:4: rules[0].until: 4s must be after from (5s)"},
		{"probability", head + "loss: 101%", "s.yml:3: rules[0].loss.probability: 1.01 must be between 0 and 1"},
		{"no probability", head + "loss: often", `s.yml:3: rules[0].loss: "often": must be a probability such as 0.01 or 1%`},
		{"not a number", head + "loss: NaN", "s.yml:3: rules[0].loss.probability: NaN must be between 0 and 1"},
		{"periodic", head + "loss: {periodic: {period: 1s, length: 2s}}", "s.yml:3: rules[0].loss.periodic.length: 2s must be between 0s and the period (1s)"},
		{"copies", head + "duplicate: {probability: 1, copies: 101}", "s.yml:3: rules[0].duplicate.copies: 101 must be between 0 and 100"},
		{"mode", head + "corrupt: {mode: badly}", `s.yml:3: rules[0].corrupt.mode: "badly": must be one of flip, payload, truncate`},
		{"code", head + "unreachable: gone", `s.yml:3: rules[0].unreachable: "gone": must be a number from 0 to 255 or one of ` + codeNames(unreachableCodes)},
		{"code number", head + "ttl_exceeded: {code: 256}", `s.yml:3: rules[0].ttl_exceeded.code: "256": must be a number from 0 to 255 or one of transit, reassembly`},
		{"quote", head + "unreachable: {quote: 9}", `s.yml:3: rules[0].unreachable.quote: "9": must be 8 or full`},
		{"families", head + "prefix: 192.0.2.7\n    answer_from: '::1'", "s.yml:4: rules[0].answer_from: ::1 and 192.0.2.7/32 are not of one family"},
		{"rate", head + "rate_limit: 5/m", `s.yml:3: rules[0].rate_limit: "5/m": must be a rate such as 10/s`},
		{"rate too high", head + "rate_limit: 1e7/s", "s.yml:3: rules[0].rate_limit.rate: 1e+07 must be between 0 and 1e+06 a second"},
		{"protocol", head + "protocol: sctp", `s.yml:3: rules[0].protocol: "sctp": must be one of icmp, tcp, udp`},
		{"no port", head + "port: http", `s.yml:3: rules[0].port: "http": must be a port, or a range such as 8000-8099`},
		{"ports downwards", head + "port: [80, 9-8]", "s.yml:3: rules[0].port[1]: 9-8 must go upwards, and begin above 0"},
		{"port of a protocol without ports", head + "{protocol: icmp, port: 80}", "s.yml:3: rules[0].port: the protocol has no ports"},
		{"service", head + "tcp: closed", `s.yml:3: rules[0].tcp: "closed": must be one of refused, open, silent, reset, reset_early`},
		{"service of another protocol", head + "{protocol: udp, tcp: open}", "s.yml:3: rules[0].tcp: the rule is not about tcp"},
		{"route without hops", way + "{}", "s.yml:3: routes[0]: there must be hops, or 1 to 255 paths"},
		{"empty path", way + "paths: [{hops: [10.0.0.1]}, {loop: 1}]", `s.yml:3: routes[0].paths[1].hops: there must be 1 to 255 hops
s.yml:3: routes[0].paths[1].loop: 1 must be between 0 and the number of hops (0)`},
		{"no hop", way + "hops: [10.0.0.1, x]", `s.yml:3: routes[0].hops[1]: "x": must be an address, * or a mapping`},
		{"hop of the other family", way + "hops: ['::1']", "s.yml:3: routes[0].hops[0].router: ::1 and 192.0.2.0/24 are not of one family"},
		{"loop longer than the path", way + "{hops: [10.0.0.1], loop: 2}", "s.yml:3: routes[0].loop: 2 must be between 0 and the number of hops (1)"},
		{"label", way + "hops: [{router: 10.0.0.1, mpls: 1048576}]", "s.yml:3: routes[0].hops[0].mpls[0]: 1048576 must be between 0 and 1048575"},
		{"silence of a hop", way + "hops: [{silent: sometimes}]", `s.yml:3: routes[0].hops[0].silent: "sometimes": must be true, false, or a probability such as 0.01 or 1%`},
		{"route to others", way + "{prefix: 10.0.0.0/8, hops: [10.0.0.1]}", `s.yml:3: routes[0].prefix[0]: "10.0.0.0/8" has no address in the prefixes of the scenario`},
		{"all at once", "seed: x\nprefixes: [a, b]\nmtu: y", `s.yml:1: seed: "x": must be a whole number from 0 to 2^64-1
s.yml:2: prefixes[0]: "a": must be a prefix or an address
s.yml:2: prefixes[1]: "b": must be a prefix or an address
s.yml:3: mtu: "y": must be a whole number`},
	}
	for _, c := range cases {
		_, err := Parse("s.yml", []byte(c.file))
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if diff := cmp.Diff(c.want, err.Error()); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

func TestMistakesOfAScenarioBuiltInGoAreNamedByTheirPath(t *testing.T) {
	s := Scenario{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), {}},
		Rules:    []Rule{{}, {Corrupt: &Corrupt{Probability: 1}, Loss: &Loss{Probability: -1}}},
	}
	const want = `prefixes[1]: "invalid Prefix" is no prefix
rules[1].loss.probability: -1 must be between 0 and 1
rules[1].corrupt.mode: must be one of flip, payload, truncate`
	if diff := cmp.Diff(want, s.Validate().Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestShippedScenariosAreValid(t *testing.T) {
	if _, err := Load("testdata/lively.yml"); err != nil {
		t.Error(err)
	}
}

// TestDocumentedGrammarIsTheDecoders compares the table in docs/lab.md with the keys that the decoder
// knows. On a difference, the test says what the table should be.
func TestDocumentedGrammarIsTheDecoders(t *testing.T) {
	page, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| key | value | meaning |\n|---|---|---|\n")
	for _, k := range Grammar() {
		want.WriteString("| `" + k.Path + "` | " + k.Value + " | " + k.Meaning + " |\n")
	}
	_, rest, _ := strings.Cut(string(page), "<!-- grammar -->\n")
	got, _, _ := strings.Cut(rest, "<!-- /grammar -->")
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("(-want +got)\n%s\nThe table should be:\n%s", diff, want.String())
	}
}

func FuzzParse(f *testing.F) {
	lively, err := os.ReadFile("testdata/lively.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(lively)
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := Parse("s.yml", data); err == nil && s.Validate() != nil {
			t.Error("parsed, but not valid")
		}
	})
}
