package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"prefix_exporter/prefix"

	"gopkg.in/yaml.v3"
)

// The destination ports of traces whose configuration names none.
const (
	TracePortTCP = 80    // what firewalls let through most often
	TracePortUDP = 33434 // where traceroute(8) has always begun
)

// document is the main file as it is written.
type document struct {
	written
	limits   limits
	defaults probing
	tenants  []*tenant
	entries  []*entry
	files    []item[string]
}

type limits struct {
	written
	Limits
}

// probing is how addresses are probed: the defaults, or one entry's own settings.
type probing struct {
	written
	icmp       icmpGroup
	tcp        tcpGroup
	trace      traceGroup
	histograms histogramGroup
	expect     prefix.Expect
	darkAfter  time.Duration
}

type icmpGroup struct {
	written
	ICMP
	downAfter, upAfter uint8
}

type tcpGroup struct {
	written
	TCP
	off                bool
	ports              []item[uint16]
	close              word
	downAfter, upAfter uint8
}

type traceGroup struct {
	written
	Trace
	off       bool
	protocol  word
	addresses []item[netip.Addr]
}

type histogramGroup struct {
	written
	perAddress prefix.PerAddress
	buckets    []item[float64]
}

type tenant struct {
	written
	Tenant
	certificates []item[string]
}

// entry is one element of a list of prefixes. There may be as many as there are addresses, most of
// which say little, so what few of them have is elsewhere.
type entry struct {
	written // the keys of the entry itself, those of probing included
	at      place
	order   int // in which it was read

	prefix netip.Prefix
	name   string
	*extras
	// probing is how it is probed: the defaults themselves, shared, until something is written.
	probing *probing
	owned   bool // probing is its own

	whole bool   // all of the prefix is probed
	some  []span // what is probed, if it is not all
}

// extras is what most entries leave out. They share one that is empty, until something is written.
type extras struct {
	of *entry // whose it is; nil: shared

	addresses  []item[netip.Addr]
	exclude    []item[netip.Prefix]
	router     string
	nominalRTT time.Duration
	tenants    []item[string]
	labels     map[string]item[string]
	names      map[string]item[string]
	source     netip.Addr
	iface      string

	named map[netip.Addr]string // names, by address
}

// more returns extras that the entry may change.
func (e *entry) more() *extras {
	if e.of != e {
		own := *e.extras
		own.of = e
		e.extras = &own
	}
	return e.extras
}

// spans returns what is probed.
func (e *entry) spans() []span {
	if e.whole {
		return []span{spanOf(e.prefix)}
	}
	return e.some
}

// place returns where a key of the entry is, or the entry itself.
func (e *entry) place(key string) *place {
	if at := e.written.at(key); at != nil {
		return at
	}
	return &e.at
}

// own returns settings that the entry may change.
func (e *entry) own() *probing {
	if !e.owned {
		own := *e.probing
		own.forget()
		e.probing, e.owned = &own, true
	}
	return e.probing
}

// least returns how many addresses an entry has, or fewer: exclusions may overlap each other.
func (e *entry) least() int64 {
	switch {
	case !e.prefix.IsValid() || e.prefix.Addr().Is6() && e.prefix.Bits() < minWholeMask && len(e.addresses) == 0:
		return 0
	case len(e.addresses) > 0:
		return int64(len(e.addresses))
	}
	n := spanOf(e.prefix).count()
	for _, it := range e.exclude {
		if inside(it.value, e.prefix) {
			n -= spanOf(it.value).count()
		}
	}
	return max(n, 0)
}

// free says whether a key of the main file may hold anything: it is for anchors.
func (doc *document) free(key string) bool { return strings.HasPrefix(key, "x-") }

// main decodes the main file. What it cannot decode it notes, and leaves at its default.
func (d *decoder) main(file string, data []byte) *document {
	doc := &document{}
	preset(d, d.schema.file, doc)
	d.limit = doc.limits.PacketsPerSecond
	at := fileAt(file)
	root, ok := d.document(at, data, "it must have at least prefixes or prefix_files")
	if !ok {
		return doc
	}
	before := len(d.problems.list)
	decodeKeys(d, root, at.of(root), d.schema.file, doc, &doc.written)
	if !doc.has("prefixes") && !doc.has("prefix_files") && len(d.problems.list) == before {
		d.problems.add(at, "", "nothing to probe: must have prefixes or prefix_files; an empty list is []")
	}
	return doc
}

// defaultsOf decodes the defaults, which must be settled before a prefix inherits them.
func (d *decoder) defaultsOf(n *yaml.Node, at *place, into *probing) {
	builtin := *into
	decodeKeys(d, n, at, d.schema.defaults, into, &into.written)
	d.settle(into, &builtin)
	for i := range into.trace.addresses {
		it := &into.trace.addresses[i]
		d.problems.add(&it.at, it.text, "must be in the trace of a prefix, not in the defaults")
	}
	into.trace.addresses = nil
}

// list decodes a prefix file.
func (d *decoder) list(file string, data []byte, defaults *probing) []*entry {
	at := fileAt(file)
	root, ok := d.document(at, data, "it must be a list of prefixes; an empty list is []")
	if !ok {
		return nil
	}
	return d.entriesOf(root, at.of(root), defaults)
}

// plenty is how many entries are read even if their addresses are too many by far, or their echo requests twice as many
// as the limit: so many that the error can name the largest of all, unless the list is hopeless. All addresses that there
// may be fit into 1,024 /24s.
const plenty = 2048

// entriesOf decodes a list of prefixes.
func (d *decoder) entriesOf(n *yaml.Node, at *place, defaults *probing) []*entry {
	var all []*entry
	none := &extras{}
	d.sequence(n, at, "a list of prefixes", func(v *yaml.Node, here place) {
		e := &entry{at: here, extras: none, probing: defaults}
		if !d.entry(v, e) {
			return
		}
		all = append(all, e)
		d.entries++
		d.targets += e.least()
		d.echoes += float64(e.least()) / e.probing.icmp.Interval.Seconds()
		d.enough = d.entries >= plenty && (d.targets > maxTargets || d.echoes > 2*float64(d.limit))
	})
	return all
}

// entry decodes one element of a list of prefixes: a map, or nothing but the prefix.
func (d *decoder) entry(n *yaml.Node, e *entry) bool {
	if n = d.resolve(n, &e.at); n == nil {
		return false
	}
	if n.Kind == yaml.ScalarNode && !isEmpty(n) || unquoted(n) != "" {
		it, ok := cidr().read(d, n, &e.at)
		e.prefix = it.value
		return ok
	}
	defaults := e.probing
	if !decodeKeys(d, n, &e.at, d.schema.entry, e, &e.written) {
		return false
	}
	if e.owned {
		e.probing.written = e.written
		d.settle(e.probing, defaults)
	}
	if !e.has("prefix") {
		d.problems.add(&e.at, "", "prefix is missing: must be a prefix, such as 192.0.2.0/24")
	}
	return true
}

// forget drops where the values were written: they are inherited now.
func (p *probing) forget() {
	p.written, p.icmp.written, p.tcp.written, p.trace.written, p.histograms.written = nil, nil, nil, nil, nil
}

// tenants decodes the map of tenants.
func (d *decoder) tenants(n *yaml.Node, at *place) []*tenant {
	var all []*tenant
	name := tenantName()
	d.mapping(n, at, func(k, v *yaml.Node, at place) {
		t := &tenant{Tenant: Tenant{Name: at.name}}
		if _, why, ok := name.parse(at.name); !ok {
			d.problems.add(at.of(k), "", "the name of a tenant %s", why)
		}
		decodeKeys(d, v, &at, d.schema.tenant, t, &t.written)
		all = append(all, t)
	})
	return all
}

// settle checks the settings of one level against each other and against what they
// inherit from.
func (d *decoder) settle(p, from *probing) {
	d.settleTimeout(p.icmp.written, p.icmp.Interval, &p.icmp.Timeout)
	d.settleTimeout(p.tcp.written, p.tcp.Interval, &p.tcp.Timeout)
	d.settleTimeout(p.trace.written, p.trace.Interval, &p.trace.Timeout)

	t := &p.trace
	if t.protocol != from.trace.protocol && !t.has("port") {
		t.Port = 0 // the port that was inherited belongs to another protocol
	}
	if t.has("port") && t.protocol == protocolICMP {
		d.problems.add(t.written.at("port"), fmt.Sprint(t.Port), "must not be set with protocol icmp, which has no ports: set protocol tcp or udp")
	}

	h := &p.histograms
	if len(h.buckets) == 0 {
		h.buckets = from.histograms.buckets
	}
	for i := 1; i < len(h.buckets); i++ {
		if a, b := &h.buckets[i-1], &h.buckets[i]; h.has("buckets") && a.value >= b.value {
			d.problems.add(&b.at, b.text, "must be greater than the bucket before it, %s", a.text)
		}
	}
	d.settleDark(p)
}

// settleTimeout notes a timeout that was written and is longer than its interval. One
// that is inherited gives way to a shorter interval, as Prometheus' scrape_timeout does.
func (d *decoder) settleTimeout(marks written, interval time.Duration, timeout *time.Duration) {
	if *timeout <= interval {
		return
	}
	if at := marks.at("timeout"); at != nil {
		d.problems.add(at, brief(*timeout), "must not be longer than the interval, %s", brief(interval))
	}
	*timeout = interval
}

// settleDark notes an address that would be forgotten before it could count as down.
func (d *decoder) settleDark(p *probing) {
	if p.expect != prefix.ExpectSeen || p.darkAfter == 0 {
		return
	}
	var at *place
	for _, key := range []string{"dark_after", "expect", "icmp", "tcp"} {
		if at == nil {
			at = p.written.at(key)
		}
	}
	if at == nil {
		return // inherited as a whole, and noted there
	}
	slowest := func(kind string, after uint8, interval time.Duration) {
		if down := time.Duration(after) * interval; p.darkAfter <= down {
			d.problems.add(at, "", "dark_after is %s: must be longer than %s, when %d lost %s probes, %s apart, make an address down",
				brief(p.darkAfter), brief(down), after, kind, brief(interval))
		}
	}
	slowest("icmp", p.icmp.downAfter, p.icmp.Interval)
	if !p.tcp.off {
		slowest("tcp", p.tcp.downAfter, p.tcp.Interval)
	}
}
