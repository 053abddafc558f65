package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

const (
	// healthURL is where an exporter with default flags says whether it probes. A number, because
	// an image without any file may have no name for it.
	healthURL = "http://127.0.0.1:10240/-/ready"
	// healthTimeout is less than the shortest patience that supervisors have by default,
	// and ages for an answer from the same machine.
	healthTimeout = 3 * time.Second
	// healthBody is how much of a refusal is shown: its one sentence.
	healthBody = 512
)

// healthCommand adds the command healthy to the command line: what a container without
// a shell or curl is asked for its health with.
func healthCommand(cli *kingpin.Application, address *string) {
	cli.Command("healthy", "Ask an exporter whether it probes; exit status 0 if it does.").
		Arg("URL", "What to ask.").Default(healthURL).StringVar(address)
}

// healthy returns nil if the URL, http or https, answers 200 within 3 s, and an error that
// says what it said instead.
func healthy(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("url %q: must be like %s", address, healthURL)
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("url %q: %w", address, err)
	}
	client := http.Client{
		Transport: &http.Transport{
			// No proxy, whatever the environment says: it would speak of itself.
			DisableKeepAlives: true,
			// The certificate bears the name that others use. Asked by a loopback
			// address, it can only be this machine's own.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: isLoopback(u.Hostname())},
		},
		// A redirection is not the answer of an exporter that probes.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return err // it names the URL
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, healthBody))
		return fmt.Errorf("url %q: %s: %s", address, answer.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// isLoopback says whether a host, without its port, is this machine itself.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && net.IP(address.AsSlice()).IsLoopback()
}
