package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"prefix_exporter/dashboards"
	"prefix_exporter/lab/e2e/tools"
)

// prometheus is the real one, with an empty storage of its own and nothing to scrape.
type prometheus struct {
	address string
	dir     string
	cmd     *exec.Cmd
	output  bytes.Buffer
	api     v1.API
	answers *meter
}

// meter counts the bytes of all answers as they are once unpacked: what Grafana has to read.
type meter struct {
	next  http.RoundTripper
	bytes atomic.Int64
}

func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := m.next.RoundTrip(r)
	if err == nil {
		answer.Body = metered{answer.Body, &m.bytes}
	}
	return answer, err
}

// metered is a body whose bytes are counted.
type metered struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (m metered) Read(b []byte) (int, error) {
	n, err := m.ReadCloser.Read(b)
	m.bytes.Add(int64(n))
	return n, err
}

// startTimeout is how long an empty Prometheus may take until it is ready; it takes a second.
const startTimeout = 30 * time.Second

func startPrometheus(ctx context.Context) (*prometheus, error) {
	program, err := tools.Path(ctx, "prometheus", os.Stderr)
	if err != nil {
		return nil, err
	}
	p := &prometheus{answers: &meter{next: http.DefaultTransport}}
	if p.address, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if p.dir, err = os.MkdirTemp("", "dashboards-"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "prometheus.yml"), []byte("{}\n"), 0o600); err != nil {
		return nil, err
	}
	p.cmd = exec.Command(program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn",
		"--web.enable-remote-write-receiver", "--web.listen-address="+p.address)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	client, err := api.NewClient(api.Config{Address: "http://" + p.address, RoundTripper: p.answers})
	if err == nil {
		p.api = v1.NewAPI(client)
		err = p.ready(ctx)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("prometheus: %w\n%s", err, p.output.String())
	}
	return p, nil
}

func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (p *prometheus) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/-/ready", nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *prometheus) stop() {
	_ = p.cmd.Process.Kill() // what it has stored is thrown away
	_ = p.cmd.Wait()
	os.RemoveAll(p.dir)
}

// client asks it as Grafana would, about the time in which the exporter ran.
func (p *prometheus) client(w world) dashboards.Client {
	return dashboards.Client{API: p.api, From: w.end.Add(-w.span), To: w.end, Scrape: w.scrape}
}
