package config

import (
	"fmt"
	"net/netip"
	"time"

	"prefix_exporter/prefix"

	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v3"
)

// Sizes of lists. Each bounds the memory and the number of series of a slip.
const (
	maxPorts   = 16   // series of every address multiply with it
	maxBuckets = 64   // as above; the default list has 22
	maxTenants = 64   // of one prefix; they become one label value
	maxExclude = 1024 // more exceptions than addresses in four blocks
	maxLabels  = 32   // the same: they are for joins, by hand
	maxCerts   = 256  // of one tenant
	maxFiles   = 1024 // patterns, each with any number of files
	maxTraced  = 16   // routes of one prefix; each asks every hop
)

// word is a value that the schema spells.
type word string

// String returns the word itself.
func (w word) String() string { return string(w) }

// The words of the protocol of a trace, and of how a TCP probe ends.
const (
	protocolICMP word = "icmp"
	protocolTCP  word = "tcp"
	protocolUDP  word = "udp"
	closeReset   word = "reset"
	closeOrderly word = "orderly"
)

// schema is the grammar of the configuration: each key once, with its type, range,
// default and one sentence. Decoding, errors, docs/configuration.md and the check of
// the reference configuration all come from here.
type schema struct {
	file       []key[document]
	limits     []key[limits]
	defaults   []key[probing]
	icmp       []key[icmpGroup]
	tcp        []key[tcpGroup]
	trace      []key[traceGroup]
	histograms []key[histogramGroup]
	entry      []key[entry]
	tenant     []key[tenant]
}

// newSchema builds the grammar.
func newSchema() *schema {
	s := &schema{
		limits:     limitKeys(),
		icmp:       icmpKeys(),
		tcp:        tcpKeys(),
		trace:      traceKeys(),
		histograms: histogramKeys(),
		tenant:     tenantKeys(),
	}
	s.defaults = probingKeys(s, func(p *probing) *probing { return p })
	for i := range s.defaults {
		if s.defaults[i].name == "trace" {
			s.defaults[i].allowed += "; no `addresses` here"
		}
	}
	s.entry = append(entryKeys(), probingKeys(s, (*entry).own)...)
	for i := range s.entry[len(s.entry)-len(s.defaults):] {
		k := &s.entry[len(s.entry)-len(s.defaults)+i]
		k.def, k.preset = "as in `defaults`", nil
	}
	s.file = s.fileKeys()
	return s
}

func (s *schema) fileKeys() []key[document] {
	return []key[document]{
		section("limits", "What the exporter may at most do.", s.limits,
			func(d *document) (*limits, *written) { return &d.limits, &d.limits.written }, nil),
		{
			row:  row{"defaults", "map", "see `defaults`", "", "How addresses are probed where their prefix says nothing else."},
			json: orNothing(reference("defaults")),
			decode: func(d *decoder, n *yaml.Node, at *place, into *document) {
				d.defaultsOf(n, at, &into.defaults)
			},
			preset: func(d *decoder, into *document) { preset(d, s.defaults, &into.defaults) },
		},
		{
			row: row{"tenants", "map of name to map", "see `tenants.NAME`", "", "Who may see prefixes, by the client certificate they present."},
			json: orNothing(object{
				"type": "object", "additionalProperties": orNothing(reference("tenant")),
				"propertyNames": tenantName().schema.json(),
			}),
			decode: func(d *decoder, n *yaml.Node, at *place, into *document) {
				into.tenants = d.tenants(n, at)
			},
		},
		{
			row:  row{"prefixes", "list of map or prefix", "see `prefixes[]`; a prefix alone has the defaults", "", "What is probed."},
			json: orNothing(reference("prefixes")),
			decode: func(d *decoder, n *yaml.Node, at *place, into *document) {
				d.limit = into.limits.PacketsPerSecond
				into.entries = d.entriesOf(n, at, &into.defaults)
			},
		},
		many("prefix_files", freeText(1, 4096, ""), 0, maxFiles, "",
			"Files that hold further lists of prefixes; a path is relative to this file and may contain `*`, `?` and `[…]`.",
			func(d *document) *[]item[string] { return &d.files }),
	}
}

func limitKeys() []key[limits] {
	return []key[limits]{
		one("packets_per_second", integer(1, 10_000_000), "20000", // the most is what a 10 Gbit/s port carries
			"The ceiling of everything that is sent, echo requests, connects and traces together; a file above it is an error.",
			func(l *limits) *int { return &l.PacketsPerSecond }),
	}
}

func probingKeys[T any](s *schema, at func(*T) *probing) []key[T] {
	return []key[T]{
		section("icmp", "Echo requests to every address.", s.icmp,
			func(t *T) (*icmpGroup, *written) { g := &at(t).icmp; return g, &g.written }, nil),
		section("tcp", "Connections to every address.", s.tcp,
			func(t *T) (*tcpGroup, *written) { g := &at(t).tcp; return g, &g.written },
			func(g *tcpGroup) *bool { return &g.off }),
		section("trace", "The route to every prefix.", s.trace,
			func(t *T) (*traceGroup, *written) { g := &at(t).trace; return g, &g.written },
			func(g *traceGroup) *bool { return &g.off }),
		section("histograms", "How round-trip times are counted.", s.histograms,
			func(t *T) (*histogramGroup, *written) { g := &at(t).histograms; return g, &g.written }, nil),
		one("expect", words(prefix.ExpectSeen, prefix.ExpectAll, prefix.ExpectNone), "seen",
			"Which addresses count as up or down: `seen` once they have answered, `all` always, `none` never.",
			func(t *T) *prefix.Expect { return &at(t).expect }),
		one("dark_after", duration(time.Second, 10*365*24*time.Hour, "never"), "168h",
			"With `expect: seen`, the silence after which an address is forgotten again; longer than it takes to count as down.",
			func(t *T) *time.Duration { return &at(t).darkAfter }),
	}
}

func icmpKeys() []key[icmpGroup] {
	return []key[icmpGroup]{
		one("interval", duration(10*time.Millisecond, time.Hour, ""), "1s",
			"The time from one echo request to the next, for each address.",
			func(g *icmpGroup) *time.Duration { return &g.Interval }),
		one("timeout", duration(time.Millisecond, time.Minute, ""), "1s",
			"How long a reply is waited for; at most the interval, and an inherited timeout is cut to a shorter interval.",
			func(g *icmpGroup) *time.Duration { return &g.Timeout }),
		// 16 bytes hold the cookie and the time. 65507 is what an IPv4 packet of 65535
		// bytes (RFC 791 section 3.1) leaves after 20 bytes of IP header and 8 of ICMP.
		one("size", integer(16, 65507), "56",
			"Bytes of data in an echo request; above 1472 it is fragmented on Ethernet, and each fragment counts as a packet.",
			func(g *icmpGroup) *int { return &g.Size }),
		one("ttl", integer[uint8](1, 255), "64", "Time to live, or hop limit, of an echo request.",
			func(g *icmpGroup) *uint8 { return &g.TTL }),
		one("tos", hexadecimal[uint8](0, 255), "0", "Type of service, or traffic class: DSCP in the upper six bits.",
			func(g *icmpGroup) *uint8 { return &g.TOS }),
		one("down_after", integer[uint8](1, 255), "3", "How many echo requests in a row must be lost before an address is down.",
			func(g *icmpGroup) *uint8 { return &g.downAfter }),
		one("up_after", integer[uint8](1, 255), "1", "How many in a row must be answered before it is up again.",
			func(g *icmpGroup) *uint8 { return &g.upAfter }),
	}
}

func tcpKeys() []key[tcpGroup] {
	return []key[tcpGroup]{
		many("ports", integer[uint16](1, 65535), 1, maxPorts, "[80, 443]", "The ports to connect to; a list of a prefix replaces that of the defaults.",
			func(g *tcpGroup) *[]item[uint16] { return &g.ports }),
		one("interval", duration(100*time.Millisecond, 24*time.Hour, ""), "60s",
			"The time from one connection to the next, for each port of each address; they are spread evenly over it.",
			func(g *tcpGroup) *time.Duration { return &g.Interval }),
		one("timeout", duration(time.Millisecond, time.Minute, ""), "4s",
			"How long the handshake may take, with SYNs that are sent again after a second each; at most the interval, and an inherited timeout is cut to a shorter interval.",
			func(g *tcpGroup) *time.Duration { return &g.Timeout }),
		one("close", words(closeReset, closeOrderly), "reset",
			"How a connection ends, as soon as it stands: `reset` leaves nothing behind, `orderly` sends a FIN (a reset if the peer has sent data already) and leaves a TIME_WAIT.",
			func(g *tcpGroup) *word { return &g.close }),
		one("down_after", integer[uint8](1, 255), "2", "How many connections in a row must fail before a port is down.",
			func(g *tcpGroup) *uint8 { return &g.downAfter }),
		one("up_after", integer[uint8](1, 255), "1", "How many in a row must succeed before it is up again.",
			func(g *tcpGroup) *uint8 { return &g.upAfter }),
	}
}

func traceKeys() []key[traceGroup] {
	return []key[traceGroup]{
		one("interval", duration(time.Second, 24*time.Hour, ""), "60s", "The time from one round to the next, for each route.",
			func(g *traceGroup) *time.Duration { return &g.Interval }),
		// 30 is what traceroute(8) asks; hosts answer with a TTL of 64 or more, so that
		// from farther away than 64 hops some answers do not return.
		one("max_hops", integer(1, 64), "30", "How many hops are asked at most.",
			func(g *traceGroup) *int { return &g.MaxHops }),
		one("timeout", duration(10*time.Millisecond, time.Minute, ""), "1s",
			"How long the hops of a round may take to answer; at most the interval, and an inherited timeout is cut to a shorter interval. A route that has become longer is asked twice in a round, so half of the interval is enough for all of it.",
			func(g *traceGroup) *time.Duration { return &g.Timeout }),
		one("protocol", words(protocolICMP, protocolTCP, protocolUDP), "icmp", "What is sent to find the hops.",
			func(g *traceGroup) *word { return &g.protocol }),
		one("port", integer[uint16](1, 65535), "",
			fmt.Sprintf("The destination port of `tcp` (without it %d) and `udp` (without it %d).", TracePortTCP, TracePortUDP),
			func(g *traceGroup) *uint16 { return &g.Port }),
		many("addresses", address(), 1, maxTraced, "",
			"The addresses to trace, in the block of this prefix; without it the lowest one that answers, which none does that has `expect: none`. Not in `defaults`.",
			func(g *traceGroup) *[]item[netip.Addr] { return &g.addresses }),
	}
}

func histogramKeys() []key[histogramGroup] {
	return []key[histogramGroup]{
		one("per_address", words(prefix.PerAddressNone, prefix.PerAddressNative, prefix.PerAddressClassic), "none",
			"The histogram that every address has of its own, beside a sum and a count.",
			func(g *histogramGroup) *prefix.PerAddress { return &g.perAddress }),
		many("buckets", seconds(time.Microsecond, time.Hour), 0, maxBuckets,
			"[0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 10]",
			"The upper bounds of the classic histograms, ascending; an empty list means the default.",
			func(g *histogramGroup) *[]item[float64] { return &g.buckets }),
	}
}

func tenantKeys() []key[tenant] {
	return []key[tenant]{
		many("certificates", freeText(1, 256, ""), 0, maxCerts, "", "Names of client certificates: the subject's common name, or any subject alternative name.",
			func(t *tenant) *[]item[string] { return &t.certificates }),
		one("all", boolean(), "false", "Whether this tenant may see all prefixes.",
			func(t *tenant) *bool { return &t.All }),
	}
}

func entryKeys() []key[entry] {
	return []key[entry]{
		one("prefix", cidr(), "", "The addresses to probe. Required; IPv4 shorter than /24 is split into /24s, longer is part of its /24.",
			func(e *entry) *netip.Prefix { return &e.prefix }),
		many("addresses", address(), 1, prefix.BlockSize, "", "Probe only these addresses of the prefix; required for IPv6 prefixes shorter than /120.",
			func(e *entry) *[]item[netip.Addr] { return &e.more().addresses }),
		many("exclude", part(), 0, maxExclude, "", "Addresses and prefixes inside the prefix that are not probed.",
			func(e *entry) *[]item[netip.Prefix] { return &e.more().exclude }),
		one("name", freeText(0, 128, ""), "", "What the prefix is called.",
			func(e *entry) *string { return &e.name }),
		one("router", freeText(0, 128, ""), "", "The edge it hangs on.",
			func(e *entry) *string { return &e.more().router }),
		one("nominal_rtt", duration(time.Millisecond, 10*time.Second, ""), "",
			"The reference of the colour scale; without it the lowest one-minute median of the prefix in the last 24 hours.",
			func(e *entry) *time.Duration { return &e.more().nominalRTT }),
		many("tenants", tenantName(), 0, maxTenants, "", "Who may see it; each must be declared if any tenant is declared.",
			func(e *entry) *[]item[string] { return &e.more().tenants }),
		dictionary("labels", "map of label name to text", freeText(0, 256, ""),
			choices{maxLabels, "Prometheus label names, not beginning with `__`, not prefix, name, router, tenants", checkLabel, jsonLabels()},
			"Further labels of `prefix_info`.",
			func(e *entry) *map[string]item[string] { return &e.more().labels }),
		dictionary("names", "map of address to text", freeText(1, 128, ""),
			choices{maxTargets, "addresses that are probed; text of 1 to 128 characters", func(string) string { return "" }, address().schema.json()},
			"What single addresses are called.",
			func(e *entry) *map[string]item[string] { return &e.more().names }),
		one("source", address(), "", "The source address of everything sent to this prefix, of the same family; without it the kernel chooses.",
			func(e *entry) *netip.Addr { return &e.more().source }),
		one("interface", device(), "", "The interface or VRF through which this prefix is probed; without it the kernel chooses.",
			func(e *entry) *string { return &e.more().iface }),
	}
}

// tenantName is the name of a tenant. The label tenants of prefix_info separates
// names by commas, so a name cannot contain one.
func tenantName() codec[string] { return freeText(1, 64, ",") }

// checkLabel says what is wrong with the name of an extra label, or nothing.
func checkLabel(name string) string {
	if !model.LegacyValidation.IsValidLabelName(name) {
		return "must be a label name: letters, digits and underscores, not beginning with a digit"
	}
	if len(name) >= 2 && name[:2] == "__" {
		return "must not begin with two underscores: Prometheus keeps these for itself"
	}
	switch name {
	case "prefix", "name", "router", "tenants":
		return "must not be prefix, name, router or tenants: prefix_info has these already"
	}
	return ""
}

// sectionRows is one table of the documentation.
type sectionRows struct {
	name string
	rows []row
}

// rows returns the grammar as the documentation shows it.
func (s *schema) rows() []sectionRows {
	return []sectionRows{
		{"top level", rowsOf(s.file)},
		{"limits", rowsOf(s.limits)},
		{"defaults", rowsOf(s.defaults)},
		{"icmp", rowsOf(s.icmp)},
		{"tcp", rowsOf(s.tcp)},
		{"trace", rowsOf(s.trace)},
		{"histograms", rowsOf(s.histograms)},
		{"prefixes[]", rowsOf(s.entry)},
		{"tenants.NAME", rowsOf(s.tenant)},
	}
}

func rowsOf[T any](keys []key[T]) []row {
	rows := make([]row, len(keys))
	for i, k := range keys {
		rows[i] = k.row
	}
	return rows
}
