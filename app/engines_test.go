package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"prefix_exporter/prefix"
	"prefix_exporter/probe"
	"prefix_exporter/route"
)

// connector is a probe.TCPEngine that connects to nothing.
type connector struct {
	o probe.Options

	mu      sync.Mutex
	targets []probe.TCPTarget
	refuse  error
	traced  []string
}

var _ probe.TCPEngine = (*connector)(nil)

func (c *connector) make(_ string, o probe.Options) (probe.TCPEngine, error) {
	c.o = o
	return c, nil
}

func (c *connector) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (c *connector) Apply(_ context.Context, targets []probe.TCPTarget) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		return c.refuse
	}
	c.targets = targets
	return nil
}

func (c *connector) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.targets {
		if t.Addr == addr {
			c.traced = append(c.traced, fmt.Sprint(addr, " ", d))
			return nil
		}
	}
	return probe.ErrNoTarget
}

// ports are the targets, and whether results can be recorded for them.
func (c *connector) ports() (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.targets {
		list = append(list, fmt.Sprintf("%s:%d %t", t.Addr, t.Port, t.Handle != prefix.Handle{}))
	}
	return list
}

// tracer is a probe.TraceEngine that traces nothing.
type tracer struct {
	o probe.TraceOptions

	mu      sync.Mutex
	targets []probe.TraceTarget
	refuse  error
	traced  []string
	hurried []netip.Prefix
}

var _ probe.TraceEngine = (*tracer)(nil)

func (r *tracer) make(o probe.TraceOptions) (probe.TraceEngine, error) {
	r.o = o
	return r, nil
}

func (r *tracer) Hurry(p netip.Prefix) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hurried = append(r.hurried, p)
}

func (r *tracer) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (r *tracer) Apply(_ context.Context, targets []probe.TraceTarget) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	r.targets = targets
	return nil
}

func (r *tracer) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.targets {
		if t.Key.Addr == addr {
			r.traced = append(r.traced, fmt.Sprint(addr, " ", d))
			return nil
		}
	}
	return probe.ErrNoTarget
}

// routes are the targets in words.
func (r *tracer) routes() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.targets {
		list = append(list, fmt.Sprintf("%s to %s by %s", t.Key.Prefix, t.Key.Addr, t.Protocol))
	}
	return list
}

const (
	onePort  = "prefixes:\n  - {prefix: 192.0.2.0/32, tcp: {ports: [80]}, trace: off}\n"
	twoPorts = "prefixes:\n  - {prefix: 192.0.2.0/32, tcp: {ports: [80, 443]}, trace: off}\n"
)

func TestPortsAreProbedAndReloaded(t *testing.T) {
	tcp := &connector{}
	file := t.TempDir() + "/prefix_exporter.yml"
	write(t, file, onePort)
	p := start(t, func(o *Options) { o.ConfigFile, o.NewTCP = file, tcp.make })
	up := `prefix_target_up{ip="192.0.2.0",port="80",prefix="192.0.2.0/24",probe="tcp"}`
	p.wantMetrics(map[string]string{up: "0"})
	tcp.o.Recorder.Record(tcp.targets[0].Handle, time.Now(), prefix.Answered, time.Millisecond)
	p.wantMetrics(map[string]string{up: "1"})
	write(t, file, twoPorts)
	p.want("POST", "/-/reload", 200, "")
	if diff := cmp.Diff([]string{"192.0.2.0:80 true", "192.0.2.0:443 true"}, tcp.ports()); diff != "" {
		t.Error(diff)
	}
	p.wantMetrics(map[string]string{up: "1"})
	p.want("POST", "/-/trace?ip=192.0.2.0&for=60s", 200, "")
	if diff := cmp.Diff([]string{"192.0.2.0 1m0s"}, tcp.traced); diff != "" {
		t.Error(diff)
	}
}

const (
	oneRoute  = "prefixes:\n  - {prefix: 192.0.2.0/32, tcp: off, trace: {protocol: udp, addresses: [192.0.2.0]}}\n"
	twoRoutes = oneRoute + "  - {prefix: 198.51.100.7/32, tcp: off, trace: {protocol: icmp}}\n"
)

func TestRoutesAreTracedToldAndReloaded(t *testing.T) {
	trace := &tracer{}
	file := t.TempDir() + "/prefix_exporter.yml"
	write(t, file, oneRoute)
	p := start(t, func(o *Options) { o.ConfigFile, o.NewTrace = file, trace.make })
	dst := netip.MustParseAddr("192.0.2.0")
	round := func(router string) {
		trace.o.Record(trace.targets[0].Key, dst, route.Round{Started: time.Now(), Answers: []route.Answer{
			{Kind: route.Exceeded, From: netip.MustParseAddr(router), RTT: time.Millisecond},
			{Kind: route.Arrived, From: dst, RTT: 2 * time.Millisecond},
		}})
	}
	for _, router := range []string{"10.0.0.1", "10.0.0.1", "10.0.0.9", "10.0.0.9"} {
		round(router)
	}
	p.wantMetrics(map[string]string{
		`prefix_route_hops{ip="192.0.2.0",prefix="192.0.2.0/24"}`:                                      "2",
		`prefix_route_changes_total{ip="192.0.2.0",prefix="192.0.2.0/24"}`:                             "1",
		`prefix_route_hop_rtt_seconds{ip="192.0.2.0",prefix="192.0.2.0/24",router="10.0.0.9",ttl="1"}`: "0.001",
		`prefix_route_hop_loss_ratio{ip="192.0.2.0",prefix="192.0.2.0/24",router="192.0.2.0",ttl="2"}`: "0",
	})
	p.want("GET", "/api/v1/routes/192.0.2.0/24", 200, "")
	line := `ip=192.0.2.0 prefix=192.0.2.0/24 from="10.0.0.1 192.0.2.0" to="10.0.0.9 192.0.2.0"`
	eventually(t, "the change is logged", func() bool {
		return strings.Contains(p.log.String(), `msg="Route changed"`) && strings.Contains(p.log.String(), line)
	})

	write(t, file, twoRoutes)
	p.want("POST", "/-/reload", 200, "")
	if diff := cmp.Diff([]string{"192.0.2.0/24 to 192.0.2.0 by udp", "198.51.100.0/24 to invalid IP by icmp"}, trace.routes()); diff != "" {
		t.Error(diff)
	}
	p.wantMetrics(map[string]string{`prefix_route_changes_total{ip="192.0.2.0",prefix="192.0.2.0/24"}`: "1"})
	p.want("POST", "/-/trace?ip=192.0.2.0&for=60s", 200, "")
	if diff := cmp.Diff([]string{"192.0.2.0 1m0s"}, trace.traced); diff != "" {
		t.Error(diff)
	}
}

func TestAReloadThatOneEngineRefusesChangesNone(t *testing.T) {
	refused := errors.New(`source "198.51.100.9": cannot assign requested address`)
	const (
		before = "prefixes:\n  - {prefix: 192.0.2.0/32, tcp: {ports: [80]}}\n"
		after  = "prefixes:\n  - {prefix: 192.0.2.0/32, tcp: {ports: [80, 443]}, trace: {protocol: tcp}}\n"
	)
	for name, refuse := range map[string]func(*program, *connector, *tracer){
		"the one for ports":     func(_ *program, c *connector, _ *tracer) { c.refuse = refused },
		"the one for routes":    func(_ *program, _ *connector, r *tracer) { r.refuse = refused },
		"the one for addresses": func(p *program, _ *connector, _ *tracer) { p.engine.refuseFrom(1, refused) },
	} {
		t.Run(name, func(t *testing.T) {
			tcp, trace := &connector{}, &tracer{}
			file := t.TempDir() + "/prefix_exporter.yml"
			write(t, file, before)
			p := start(t, func(o *Options) { o.ConfigFile, o.NewTCP, o.NewTrace = file, tcp.make, trace.make })
			write(t, file, after)
			refuse(p, tcp, trace)
			if status, body := p.do("POST", "/-/reload"); status != 500 || !strings.Contains(body, refused.Error()) {
				t.Errorf("got %d: %s", status, body)
			}
			if diff := cmp.Diff([]string{"192.0.2.0:80 true"}, tcp.ports()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"192.0.2.0/24 to invalid IP by icmp"}, trace.routes()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"192.0.2.0"}, p.engine.addrs()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnAddressIsFollowedByWhicheverEngineHasIt(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.7")
	ports := []probe.TCPTarget{{Addr: addr, Port: 80}}
	routes := []probe.TraceTarget{{Key: route.Key{Addr: addr}}}
	for name, test := range map[string]struct {
		icmp   []probe.Target
		tcp    []probe.TCPTarget
		routes []probe.TraceTarget
		want   error
	}{
		"nobody":          {want: probe.ErrNoTarget},
		"a port only":     {tcp: ports},
		"a route only":    {routes: routes},
		"an address only": {icmp: []probe.Target{{Addr: addr}}},
		"all of them":     {icmp: []probe.Target{{Addr: addr}}, tcp: ports, routes: routes},
	} {
		t.Run(name, func(t *testing.T) {
			icmp := newEngine()
			icmp.targets = test.icmp
			e := &engines{icmp: icmp, tcp: &connector{targets: test.tcp}, trace: &tracer{targets: test.routes}}
			if err := e.follow(t.Context(), addr, time.Second); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}
