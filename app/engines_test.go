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

func TestAReloadThatOneEngineRefusesChangesNeither(t *testing.T) {
	refused := errors.New(`source "198.51.100.9": cannot assign requested address`)
	for name, refuse := range map[string]func(*program, *connector){
		"the TCP engine": func(_ *program, c *connector) { c.refuse = refused },
		"the other one":  func(p *program, _ *connector) { p.engine.refuseFrom(1, refused) },
	} {
		t.Run(name, func(t *testing.T) {
			tcp := &connector{}
			file := t.TempDir() + "/prefix_exporter.yml"
			write(t, file, onePort)
			p := start(t, func(o *Options) { o.ConfigFile, o.NewTCP = file, tcp.make })
			write(t, file, twoPorts)
			refuse(p, tcp)
			if status, body := p.do("POST", "/-/reload"); status != 500 || !strings.Contains(body, refused.Error()) {
				t.Errorf("got %d: %s", status, body)
			}
			if diff := cmp.Diff([]string{"192.0.2.0:80 true"}, tcp.ports()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"192.0.2.0"}, p.engine.addrs()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTracesOfAllEngines(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.7")
	icmp, tcp := newEngine(), &connector{}
	e := &engines{icmp: icmp, tcp: tcp}
	if err := e.trace(t.Context(), addr, time.Second); !errors.Is(err, probe.ErrNoTarget) {
		t.Errorf("got %v for an address that nobody probes", err)
	}
	tcp.targets = []probe.TCPTarget{{Addr: addr, Port: 80}}
	if err := e.trace(t.Context(), addr, time.Second); err != nil {
		t.Errorf("got %v for an address with a port only", err)
	}
	tcp.targets, icmp.targets = nil, []probe.Target{{Addr: addr}}
	if err := e.trace(t.Context(), addr, time.Second); err != nil {
		t.Errorf("got %v for an address without ports", err)
	}
}
