package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"prefix_exporter/prefix"
	"prefix_exporter/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is a probe.Engine that sends nothing: the test says what answers.
type engine struct {
	o   probe.Options
	end chan error // what Run returns, if it is to end by itself

	mu      sync.Mutex
	targets []probe.Target
	applies int
	// refuse says, if it is set, why the n-th Apply fails, from 1.
	refuse func(n int, targets []probe.Target) error
	traced []string
}

var _ probe.Engine = (*engine)(nil)

func newEngine() *engine { return &engine{end: make(chan error, 1)} }

func (e *engine) make(_ string, o probe.Options) (probe.Engine, error) {
	e.o = o
	return e, nil
}

func (e *engine) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-e.end:
		return err
	}
}

func (e *engine) Apply(_ context.Context, targets []probe.Target) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.applies++
	if e.refuse != nil {
		if err := e.refuse(e.applies, targets); err != nil {
			return err
		}
	}
	e.targets = targets
	return nil
}

func (e *engine) Trace(_ context.Context, addr netip.Addr, d time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.targets {
		if t.Addr == addr {
			e.traced = append(e.traced, fmt.Sprint(addr, " ", d))
			return nil
		}
	}
	return probe.ErrNoTarget
}

// round records the same outcome for every target.
func (e *engine) round(o prefix.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.targets {
		e.o.Recorder.Record(t.Handle, time.Now(), o, time.Millisecond)
	}
}

// refuseFrom makes all Apply from the n-th of now on fail.
func (e *engine) refuseFrom(n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n += e.applies
	e.refuse = func(i int, _ []probe.Target) error {
		if i >= n {
			return err
		}
		return nil
	}
}

// addrs are the targets that results can be recorded for.
func (e *engine) addrs() (list []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.targets {
		if t.Handle == (prefix.Handle{}) {
			list = append(list, t.Addr.String()+" without a handle")
			continue
		}
		list = append(list, t.Addr.String())
	}
	return list
}

// program is a whole program that runs in this process.
type program struct {
	t      *testing.T
	url    string
	engine *engine
	reload chan os.Signal
	log    *buffer
	stop   func() error // ends it and returns what Run returned
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// options are those of a program that a test can run anywhere.
func options(t *testing.T, e *engine, out io.Writer) Options {
	t.Helper()
	logger, err := NewLogger(out, "debug", "logfmt")
	if err != nil {
		t.Fatal(err)
	}
	addresses, webConfig := []string{"127.0.0.1:0"}, ""
	return Options{
		ConfigFile: filepath.Join(t.TempDir(), "absent.yml"), ConfigOptional: true, Engine: "auto", EnableLifecycle: true,
		Web:    &toolkit.FlagConfig{WebListenAddresses: &addresses, WebConfigFile: &webConfig},
		Logger: logger, NewEngine: e.make, NewTCP: (&connector{}).make, NewTrace: (&tracer{}).make,
	}
}

// start runs the program until the test ends.
func start(t *testing.T, change func(*Options)) *program {
	t.Helper()
	p := &program{t: t, engine: newEngine(), reload: make(chan os.Signal), log: &buffer{}}
	o := options(t, p.engine, p.log)
	o.Reload = p.reload
	listening := make(chan net.Addr, 1)
	o.Started = func(addrs []net.Addr) { listening <- addrs[0] }
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, o) }()
	p.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		err := p.stop()
		if t.Failed() {
			t.Logf("ended with %v; log:\n%s", err, p.log)
		}
	})
	select {
	case addr := <-listening:
		p.url = "http://" + addr.String()
	case err := <-ended:
		p.stop = sync.OnceValue(func() error { cancel(); return err })
		t.Fatalf("did not start: %v\n%s", err, p.log)
	}
	eventually(t, "ready", func() bool { status, _ := p.do("GET", "/-/ready"); return status == 200 })
	return p
}

// do makes one request and returns its status and body.
func (p *program) do(method, path string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Close = true // leave no connection behind
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// want checks status and body of a request; a body of "" may be anything.
func (p *program) want(method, path string, status int, body string) {
	p.t.Helper()
	gotStatus, gotBody := p.do(method, path)
	if gotStatus != status {
		p.t.Errorf("%s %s: status %d, want %d: %s", method, path, gotStatus, status, gotBody)
	}
	if body != "" {
		if diff := cmp.Diff(body, gotBody); diff != "" {
			p.t.Errorf("%s %s: %s", method, path, diff)
		}
	}
}

// metric returns the value of one series of a scrape as text, "" if it is not there.
func (p *program) metric(series string) string {
	p.t.Helper()
	status, body := p.do("GET", "/metrics")
	if status != 200 {
		p.t.Fatalf("scrape: status %d: %s", status, body)
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	return ""
}

func (p *program) wantMetrics(want map[string]string) {
	p.t.Helper()
	got := map[string]string{}
	for series := range want {
		got[series] = p.metric(series)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Error(diff)
	}
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWholeProgramWithoutConfiguration(t *testing.T) {
	p := start(t, nil)
	p.want("GET", "/-/ready", 200, "prefix_exporter is ready.\n")
	p.want("GET", "/-/healthy", 200, "prefix_exporter is serving.\n")
	p.engine.round(prefix.Answered)
	p.engine.round(prefix.Answered)
	eventually(t, "256 events", func() bool { return p.metric(`prefix_exporter_events_total{type="up"}`) == "256" })
	p.wantMetrics(map[string]string{
		`prefix_targets{prefix="127.0.0.0/24",probe="icmp",state="up"}`:               "256",
		`prefix_target_up{ip="127.0.0.7",prefix="127.0.0.0/24",probe="icmp"}`:         "1",
		`prefix_target_sent_total{ip="127.0.0.7",prefix="127.0.0.0/24",probe="icmp"}`: "2",
		`prefix_exporter_config_last_reload_successful`:                               "1",
		`prefix_exporter_healthy`:                   "1",
		`prefix_exporter_events_total{type="up"}`:   "256",
		`prefix_exporter_events_total{type="down"}`: "0",
		`prefix_exporter_event_drops_total`:         "0",
	})
	_, scrape := p.do("GET", "/metrics")
	for _, name := range []string{
		"prefix_exporter_build_info", "prefix_exporter_config_last_reload_success_timestamp_seconds",
		"process_cpu_seconds_total", "go_goroutines",
	} {
		if !strings.Contains(scrape, "\n"+name) {
			t.Errorf("scrape without %s", name)
		}
	}
	if _, answer := p.do("GET", "/api/v1/prefixes"); !strings.Contains(answer, `"127.0.0.0/24"`) {
		t.Errorf("no prefix in %s", answer)
	}
	if _, page := p.do("GET", "/"); !strings.Contains(page, "prefix_exporter") {
		t.Errorf("the page: %s", page)
	}
	if err := p.stop(); err != nil {
		t.Errorf("ended with %v", err)
	}
	for _, line := range []string{
		`msg="No configuration file, using the built-in configuration"`,
		`msg="Addresses answer for the first time" prefix=127.0.0.0/24 probe=icmp addresses=256`,
		`msg="Live page and metrics" url=` + p.url + `/`,
		`msg=Stopping`, `msg=Ended`,
	} {
		if !strings.Contains(p.log.String(), line) {
			t.Errorf("log without %s", line)
		}
	}
}

func TestTrace(t *testing.T) {
	p := start(t, nil)
	p.want("POST", "/-/trace?ip=127.0.0.7&for=5s", 200, "every packet of 127.0.0.7 is logged for 5s\n")
	p.want("PUT", "/-/trace?ip=127.0.0.8", 200, "")
	p.want("POST", "/-/trace?ip=127.0.1.7", 404, "ip \"127.0.1.7\": is not a target of this exporter\n")
	if diff := cmp.Diff([]string{"127.0.0.7 5s", "127.0.0.8 1m0s"}, p.engine.traced); diff != "" {
		t.Error(diff)
	}
}

func TestLifecycleDisabled(t *testing.T) {
	p := start(t, func(o *Options) { o.EnableLifecycle = false })
	p.want("POST", "/-/reload", 403, "")
	p.want("POST", "/-/trace?ip=127.0.0.7", 403, "")
	if n := p.engine.applies; n != 1 {
		t.Errorf("%d times applied, want 1", n)
	}
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	invalid := filepath.Join(dir, "invalid.yml")
	write(t, invalid, "prefixes: [{prefix: 192.0.2.1/24}]\n")
	remedies := errors.New("no ICMP socket is allowed:\n  remedy\n  remedy")
	for name, test := range map[string]struct {
		change func(*Options, *engine)
		want   string // a part of the error
	}{
		"a file that was named and is absent": {func(o *Options, _ *engine) { o.ConfigOptional = false }, "absent.yml: "},
		"a file that is invalid":              {func(o *Options, _ *engine) { o.ConfigFile = invalid }, "invalid.yml:1: "},
		"a web configuration that is absent":  {func(o *Options, _ *engine) { *o.Web.WebConfigFile = invalid + "x" }, `web configuration file "`},
		"a web configuration that is invalid": {func(o *Options, _ *engine) { *o.Web.WebConfigFile = invalid }, `web configuration file "`},
		"an address that is taken":            {func(o *Options, _ *engine) { *o.Web.WebListenAddresses = []string{taken.Addr().String()} }, "web listen address "},
		"no address":                          {func(o *Options, _ *engine) { *o.Web.WebListenAddresses = nil }, "no web listen address"},
		"a path of the metrics that is used":  {func(o *Options, _ *engine) { o.TelemetryPath = "/-/x" }, `telemetry path "/-/x": is used`},
		"a storage path that is a file":       {func(o *Options, _ *engine) { o.StoragePath = invalid }, `storage path "`},
		"an engine that is not allowed to probe": {func(o *Options, _ *engine) {
			o.NewEngine = func(string, probe.Options) (probe.Engine, error) { return nil, remedies }
		}, remedies.Error()},
		"an engine that does not take the targets": {func(_ *Options, e *engine) { e.refuseFrom(1, remedies) }, remedies.Error()},
		"an engine of no known name":               {func(o *Options, _ *engine) { o.Engine, o.NewEngine = "best", nil }, `probe engine "best": must be`},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine()
			o := options(t, e, io.Discard)
			test.change(&o, e)
			err := Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAPartThatFailsEndsTheProgram(t *testing.T) {
	for name, test := range map[string]struct {
		end  error
		want string
	}{
		"with an error":    {errors.New("broken"), "icmp probe engine: broken"},
		"without an error": {nil, "icmp probe engine: ended without a reason"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, nil)
			p.engine.end <- test.end
			eventually(t, "end", func() bool { return strings.Contains(p.log.String(), "Ended by an error") })
			if err := p.stop(); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestARequestThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as requests are waited for, 3 s")
	}
	t.Parallel()
	p := start(t, nil)
	c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")); err != nil {
		t.Fatal(err)
	}
	p.want("GET", "/-/healthy", 200, "") // the request before it has been taken up, too
	begin := time.Now()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestAPartThatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &app{Options: options(t, newEngine(), io.Discard), group: &errgroup.Group{}}
		hang := make(chan struct{})
		a.group.Go(func() error { <-hang; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		if err := a.wait(ctx); err == nil || err.Error() != "not everything ended within 4s" {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != endTimeout {
			t.Errorf("took %s", took)
		}
		close(hang)
	})
}

func TestTheWebConfigurationIsUsedOnEveryAddress(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	write(t, file, "http_server_config: {headers: {X-Frame-Options: sameorigin}}\n")
	var second net.Addr
	p := start(t, func(o *Options) {
		*o.Web.WebListenAddresses = append(*o.Web.WebListenAddresses, "127.0.0.1:0")
		*o.Web.WebConfigFile = file
		first := o.Started
		o.Started = func(addrs []net.Addr) { second = addrs[1]; first(addrs) }
	})
	for _, url := range []string{p.url, "http://" + second.String()} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("X-Frame-Options"); answer.StatusCode != 200 || got != "sameorigin" {
			t.Errorf("status %d, header %q", answer.StatusCode, got)
		}
	}
}
