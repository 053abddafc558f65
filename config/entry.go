package config

import (
	"fmt"
	"net/netip"
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

// entry is one element of a list of prefixes.
type entry struct {
	written // the keys of the entry itself, those of probing included
	at      place
	order   int // in which it was read

	prefix     netip.Prefix
	addresses  []item[netip.Addr]
	exclude    []item[netip.Prefix]
	name       string
	router     string
	nominalRTT time.Duration
	tenants    []item[string]
	labels     map[string]item[string]
	names      map[string]item[string]
	source     netip.Addr
	iface      string
	probing    probing

	named map[netip.Addr]string // names, by address
	spans []span                // what is probed
}

// place returns where a key of the entry is, or the entry itself.
func (e *entry) place(key string) place {
	if at, ok := e.written[key]; ok {
		return at
	}
	return e.at
}

// main decodes the main file. What it cannot decode it notes, and leaves at its default.
func (d *decoder) main(file string, data []byte) *document {
	doc := &document{}
	preset(d, d.schema.file, doc)
	d.visits = 0
	root, ok := d.document(file, data, "it must have at least prefixes or prefix_files")
	if !ok {
		return doc
	}
	before := len(d.problems.list)
	decodeKeys(d, root, place{file: file, line: root.Line}, d.schema.file, doc, &doc.written)
	if len(doc.entries) == 0 && len(doc.files) == 0 && len(d.problems.list) == before {
		d.problems.add(place{file: file, line: 1}, "", "nothing to probe: prefixes or prefix_files must name something")
	}
	return doc
}

// defaultsOf decodes the defaults, which must be settled before a prefix inherits them.
func (d *decoder) defaultsOf(n *yaml.Node, at place, into *probing) {
	builtin := *into
	decodeKeys(d, n, at, d.schema.defaults, into, &into.written)
	d.settle(into, &builtin)
	for _, it := range into.trace.addresses {
		d.problems.add(it.at, it.text, "must be in the trace of a prefix, not in the defaults")
	}
	into.trace.addresses = nil
}

// list decodes a prefix file.
func (d *decoder) list(file string, data []byte, defaults *probing) []*entry {
	d.visits = 0
	root, ok := d.document(file, data, "it must be a list of prefixes; an empty list is []")
	if !ok {
		return nil
	}
	return d.entries(root, place{file: file, line: root.Line}, defaults)
}

// entries decodes a list of prefixes.
func (d *decoder) entries(n *yaml.Node, at place, defaults *probing) []*entry {
	var all []*entry
	d.sequence(n, at, "a list of prefixes", func(_ int, v *yaml.Node, at place) {
		e := &entry{at: at, probing: *defaults}
		e.probing.forget()
		if !decodeKeys(d, v, at, d.schema.entry, e, &e.written) {
			return
		}
		e.probing.written = e.written
		d.settle(&e.probing, defaults)
		if !e.has("prefix") {
			d.problems.add(at, "", "prefix is missing: must be a prefix, such as 192.0.2.0/24")
		}
		all = append(all, e)
	})
	return all
}

// forget drops where the values were written: they are inherited now.
func (p *probing) forget() {
	p.written, p.icmp.written, p.tcp.written, p.trace.written, p.histograms.written = nil, nil, nil, nil, nil
}

// tenants decodes the map of tenants.
func (d *decoder) tenants(n *yaml.Node, at place) []*tenant {
	var all []*tenant
	name := tenantName()
	d.mapping(n, at, func(key string, v *yaml.Node, at place) {
		t := &tenant{Tenant: Tenant{Name: key}}
		if _, _, ok := name.parse(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}); !ok {
			d.problems.add(at, "", "the name of a tenant must be %s", name.want)
		}
		decodeKeys(d, v, at, d.schema.tenant, t, &t.written)
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
		d.problems.add(t.written["port"], fmt.Sprint(t.Port), "must not be set with protocol icmp, which has no ports: set protocol tcp or udp")
	}

	h := &p.histograms
	if len(h.buckets) == 0 {
		h.buckets = from.histograms.buckets
	}
	for i := 1; i < len(h.buckets); i++ {
		if a, b := h.buckets[i-1], h.buckets[i]; h.has("buckets") && a.value >= b.value {
			d.problems.add(b.at, b.text, "must be greater than the bucket before it, %s", a.text)
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
	if at, ok := marks["timeout"]; ok {
		d.problems.add(at, brief(*timeout), "must not be longer than the interval, %s", brief(interval))
	}
	*timeout = interval
}

// settleDark notes an address that would be forgotten before it could count as down.
func (d *decoder) settleDark(p *probing) {
	if p.expect != prefix.ExpectSeen || p.darkAfter == 0 {
		return
	}
	at, ok := p.written["dark_after"]
	for _, key := range []string{"expect", "icmp", "tcp"} {
		if !ok {
			at, ok = p.written[key]
		}
	}
	if !ok {
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
