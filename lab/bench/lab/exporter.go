//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"prefix_exporter/lab/netsim"
)

// timeout is that of the probes.
const timeout = time.Second

// exporter is the running prober, seen from outside.
type exporter struct {
	network network
	dir     string
	cmd     *exec.Cmd
	settled time.Time // what was sent until then has its outcome in the record
}

// startExporter starts the prober and waits until every address has answered.
func startExporter(ctx context.Context, n network, duration time.Duration) (*exporter, error) {
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return nil, err
	}
	e := &exporter{network: n, dir: dir}
	if err := e.configure(time.Second); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// One note for each probe, a second one for some, half a minute for all around.
	capacity := n.addresses() * int(duration.Seconds()+30) * 5 / 4
	e.cmd = exec.Command(self, "prober", "--config="+e.path("config.yml"), "--record="+e.path("record"), "--capacity="+strconv.Itoa(capacity))
	e.cmd.Stderr = os.Stderr
	// It dies with the thread that makes it, which is that of main.
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; {
		families, err := scrape()
		up := sum(families, "prefix_targets", "up")
		if err == nil && up >= 0.99*float64(n.addresses()) { // some are down by their loss
			return e, nil
		}
		if time.Now().After(deadline) {
			e.kill()
			return nil, fmt.Errorf("only %v of %d addresses are up after a minute: %w", up, n.addresses(), err)
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			e.kill()
			return nil, err
		}
	}
}

func (e *exporter) path(name string) string { return filepath.Join(e.dir, name) }

func (e *exporter) configure(interval time.Duration) error {
	return os.WriteFile(e.path("config.yml"), []byte(e.network.configuration(interval)), 0o600)
}

// kill ends the prober, if it still runs, and removes its files.
func (e *exporter) kill() {
	if e.cmd.ProcessState == nil {
		_ = e.cmd.Process.Kill() // it may have ended just now
		_ = e.cmd.Wait()
	}
	_ = os.RemoveAll(e.dir)
}

// phase is a part of the run.
type phase struct {
	name          string
	began, ended  time.Time
	before, after map[string]*dto.MetricFamily // scrapes at its ends
	scrapes       int
}

// phases lets one after the other pass.
func (e *exporter) phases(ctx context.Context, o options) ([]phase, error) {
	plan := []struct {
		name     string
		scrapers int
		pause    time.Duration
	}{
		{"no scrapes", 0, 0},
		{"a scrape every 5 s", 1, 5 * time.Second},
		{fmt.Sprintf("%d scrapers without a pause", o.scrapers), o.scrapers, 0},
	}
	var phases []phase
	for _, p := range plan {
		if err := sleep(ctx, 2*time.Second); err != nil { // the last scrape of the one before must not be in it
			return nil, err
		}
		ph := phase{name: p.name}
		var err error
		if ph.before, err = scrape(); err != nil {
			return nil, err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return nil, err
		}
		ph.began = time.Now()
		ph.scrapes = scrapeFor(ctx, p.scrapers, p.pause, o.duration)
		ph.ended = time.Now()
		if ph.after, err = scrape(); err != nil {
			return nil, err
		}
		phases = append(phases, ph)
	}
	return phases, ctx.Err()
}

// scrapeFor scrapes from so many sides, each with a pause after a scrape, for so long.
func scrapeFor(ctx context.Context, scrapers int, pause, duration time.Duration) (served int) {
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	var n atomic.Int64
	var all sync.WaitGroup
	for range scrapers {
		all.Go(func() {
			for ctx.Err() == nil {
				if body, err := get(ctx, protobuf); err == nil {
					if _, err := io.Copy(io.Discard, body); err == nil {
						n.Add(1)
					}
					body.Close()
				}
				_ = sleep(ctx, pause) // ends with the phase
			}
		})
	}
	<-ctx.Done()
	all.Wait()
	return int(n.Load())
}

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

// get asks for a scrape, compressed as Prometheus does, which is not unpacked.
func get(ctx context.Context, accept string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", "gzip")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, errors.New(answer.Status)
	}
	return answer.Body, nil
}

// scrapePatience is how long scrapes that nobody waits for any more may keep others out.
const scrapePatience = 10 * time.Second

// scrape returns all metrics.
func scrape() (families map[string]*dto.MetricFamily, err error) {
	for deadline := time.Now().Add(scrapePatience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if families, err = scrapeOnce(); err == nil {
			return families, nil
		}
	}
	return nil, err
}

func scrapeOnce() (map[string]*dto.MetricFamily, error) {
	answer, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(answer.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(answer.Body)
}

// sum adds up the series of a metric that have this value as a label; "": all.
func sum(families map[string]*dto.MetricFamily, name, label string) (sum float64) {
	for _, m := range families[name].GetMetric() {
		has := label == ""
		for _, l := range m.GetLabel() {
			has = has || l.GetValue() == label
		}
		if has {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// settle slows the exporter down until nearly nothing is sent, waits until everything
// that was sent has its outcome, ends it and returns its notes.
func (e *exporter) settle(ctx context.Context, lab *netsim.Lab) ([]note, error) {
	if err := e.configure(time.Hour); err != nil {
		return nil, err
	}
	answer, err := http.Post("http://"+address+"/-/reload", "", nil)
	if err != nil {
		return nil, err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reload: %s", answer.Status)
	}
	e.settled = time.Now()
	if err := sleep(ctx, 2*timeout); err != nil {
		return nil, err
	}
	if err := lab.Quiesce(ctx); err != nil {
		return nil, err
	}
	http.DefaultClient.CloseIdleConnections() // or it would wait for what they may still ask
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil, err
	}
	if err := e.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("the exporter: %w", err)
	}
	return readNotes(e.path("record"))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
