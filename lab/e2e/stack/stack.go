package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"prefix_exporter/lab/e2e/tools"
)

const (
	// pollInterval is how often a program that starts is asked whether it is ready:
	// nobody sees a fifth of a second.
	pollInterval = 200 * time.Millisecond
	// startPatience is for a Prometheus that has to read the log of a long last run.
	startPatience = 2 * time.Minute
)

// run starts everything, prints where it is, and ends it together when the context ends
// or one of the programs does. Everything has ended when it returns.
func run(ctx context.Context, o options, out io.Writer) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.dataDir, 0o755); err != nil {
		return err
	}
	e, err := chooseEndpoints(o.ports)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if e.mail, e.sms, err = startSinks(ctx, g, out); err != nil {
		return err
	}
	programs, err := prepare(ctx, root, o, e)
	if err == nil {
		for _, p := range programs {
			g.Go(func() error { return p.run(ctx) })
		}
		g.Go(func() error { return announce(ctx, o, programs, out) })
	} else {
		g.Go(func() error { return err })
	}
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil // we were told to end
	}
	return err
}

// moduleRoot is the folder of the source tree, wherever below it the user stands.
func moduleRoot(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w\n%s", err, stderr.Bytes())
	}
	path, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if path != "prefix_exporter" {
		return "", fmt.Errorf("this folder is of module %q: run it inside the source tree of prefix_exporter", path)
	}
	return dir, nil
}

// endpoints are the addresses, host:port, at which all find each other.
type endpoints struct {
	exporter, prometheus, alertmanager string
	mail, sms                          string // our sinks
}

// chooseEndpoints makes sure that the ports are free, before minutes go into a build.
func chooseEndpoints(p ports) (e endpoints, err error) {
	for _, choice := range []struct {
		flag string
		port uint16
		to   *string
	}{
		{"port.exporter", p.exporter, &e.exporter},
		{"port.prometheus", p.prometheus, &e.prometheus},
		{"port.alertmanager", p.alertmanager, &e.alertmanager},
	} {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(choice.port))))
		if err != nil {
			return e, fmt.Errorf("%w; choose another with --%s", err, choice.flag)
		}
		defer l.Close() // all at the end, so that no two of them are the same
		*choice.to = l.Addr().String()
	}
	return e, nil
}

// prepare builds the programs where that has to be done and writes their configurations.
func prepare(ctx context.Context, root string, o options, e endpoints) ([]*program, error) {
	exporter := filepath.Join(o.dataDir, executable("prefix_exporter"))
	build := exec.CommandContext(ctx, "go", "build", "-o", exporter, "./cmd/prefix_exporter")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, text)
	}
	prometheus, err := tools.Path(ctx, "prometheus", os.Stderr)
	if err != nil {
		return nil, err
	}
	alertmanager, err := tools.Path(ctx, "alertmanager", os.Stderr)
	if err != nil {
		return nil, err
	}
	prometheusFile, alertmanagerFile, err := writeConfigs(root, o.dataDir, e)
	if err != nil {
		return nil, err
	}
	exporterArgs := []string{"--web.listen-address=" + e.exporter, "--web.enable-lifecycle", "--storage.path=" + filepath.Join(o.dataDir, "known")}
	if o.configFile != "" {
		exporterArgs = append(exporterArgs, "--config.file="+o.configFile)
	}
	return []*program{
		{name: "exporter", path: exporter, dir: o.dataDir, url: "http://" + e.exporter, args: exporterArgs},
		{name: "prometheus", path: prometheus, dir: o.dataDir, url: "http://" + e.prometheus, args: []string{
			"--config.file=" + prometheusFile, "--storage.tsdb.path=" + filepath.Join(o.dataDir, "prometheus"),
			"--web.listen-address=" + e.prometheus, "--web.external-url=http://" + e.prometheus, "--web.enable-lifecycle"}},
		{name: "alertmanager", path: alertmanager, dir: o.dataDir, url: "http://" + e.alertmanager, args: []string{
			"--config.file=" + alertmanagerFile, "--storage.path=" + filepath.Join(o.dataDir, "alertmanager"),
			"--web.listen-address=" + e.alertmanager, "--web.external-url=http://" + e.alertmanager,
			"--cluster.listen-address="}}, // one instance has nobody to talk to
	}, nil
}

// writeConfigs writes the shipped configurations with our addresses, and returns the files.
func writeConfigs(root, dataDir string, e endpoints) (prometheusFile, alertmanagerFile string, err error) {
	for _, c := range []struct {
		from string
		to   *string
		edit func(data []byte, dir string, e endpoints) ([]byte, error)
	}{
		{"prometheus.yml", &prometheusFile, prometheusConfig},
		{"alertmanager/alertmanager.yml", &alertmanagerFile, alertmanagerConfig},
	} {
		from := filepath.Join(root, filepath.FromSlash(c.from))
		data, err := os.ReadFile(from)
		if err != nil {
			return "", "", err
		}
		if data, err = c.edit(data, filepath.Dir(from), e); err != nil {
			return "", "", fmt.Errorf("%s: %w", c.from, err)
		}
		*c.to = filepath.Join(dataDir, filepath.Base(from))
		if err := os.WriteFile(*c.to, data, 0o644); err != nil {
			return "", "", err
		}
	}
	return prometheusFile, alertmanagerFile, nil
}

// announce waits until every program is ready and says where it is.
func announce(ctx context.Context, o options, programs []*program, out io.Writer) error {
	waiting, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for _, p := range programs {
		if err := p.untilReady(waiting); err != nil {
			return err
		}
	}
	for _, p := range programs {
		fmt.Fprintf(out, "%-13s %s\n", p.name, p.url)
	}
	fmt.Fprintf(out, "%-13s %s\n", "data and logs", o.dataDir)
	fmt.Fprintln(out, "Mails and SMS are shown here, and not sent. ^C ends all.")
	return nil
}

// untilReady waits until /-/ready answers 200, which all three programs have.
func (p *program) untilReady(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/-/ready", nil)
		if err != nil {
			return err
		}
		if answer, err := client.Do(request); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s is not ready after %v, see %s", p.name, startPatience, p.logFile())
			}
			return ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}
