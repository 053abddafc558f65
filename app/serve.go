package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"prefix_exporter/file"
	"prefix_exporter/web"
)

// checkWebConfig reads the file of --web.config.file, which must not wait for anybody either.
func (a *app) checkWebConfig(ctx context.Context) error {
	path := *a.Web.WebConfigFile
	if path == "" {
		return nil
	}
	_, err := bounded(ctx, loadTimeout, fmt.Sprintf("web configuration file %q: reading it", path), func(context.Context) (struct{}, error) {
		f, err := file.Open(path)
		if err == nil {
			err = errors.Join(f.Close(), toolkit.Validate(path))
		}
		if err != nil {
			err = fmt.Errorf("web configuration file %q: %w", path, err)
		}
		return struct{}{}, err
	})
	return err
}

// listen opens the addresses of the command line, so that one that is taken is an
// error before anything is sent. Sockets of systemd and of virtual machines are left
// to exporter-toolkit, which opens them when it serves.
func (a *app) listen() error {
	if a.TelemetryPath != "" {
		if err := web.CheckTelemetryPath(a.TelemetryPath); err != nil {
			return err
		}
	}
	for _, host := range a.AllowedHosts {
		if err := web.CheckAllowedHost(host); err != nil {
			return err
		}
	}
	if byToolkit(a.Web) {
		return nil
	}
	if len(*a.Web.WebListenAddresses) == 0 {
		return toolkit.ErrNoListeners
	}
	for _, address := range *a.Web.WebListenAddresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("web listen address %q: %w", address, err)
		}
		a.listeners = append(a.listeners, l)
		// Closed by its server, too, which does not matter.
		a.closers = append(a.closers, func() error { _ = l.Close(); return nil })
	}
	if a.Started != nil {
		addrs := make([]net.Addr, len(a.listeners))
		for i, l := range a.listeners {
			addrs[i] = l.Addr()
		}
		a.Started(addrs)
	}
	return nil
}

func byToolkit(f *toolkit.FlagConfig) bool {
	if f.WebSystemdSocket != nil && *f.WebSystemdSocket {
		return true
	}
	for _, address := range *f.WebListenAddresses {
		if strings.HasPrefix(address, "vsock://") {
			return true
		}
	}
	return false
}

// servers serves one handler on all listeners.
type servers struct {
	flags   *toolkit.FlagConfig
	logger  *slog.Logger
	handler http.Handler
}

// whereToLook adds a line with the address of the page behind those that exporter-toolkit writes
// when it begins to serve: what a newcomer needs stands last.
type whereToLook struct{ slog.Handler }

// Handle implements slog.Handler.
func (h whereToLook) Handle(ctx context.Context, r slog.Record) error {
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	scheme := map[string]string{"TLS is disabled.": "http", "TLS is enabled.": "https"}[r.Message]
	if scheme == "" {
		return nil
	}
	var address string
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "address" {
			address = a.Value.String()
		}
		return true
	})
	line := slog.NewRecord(r.Time, slog.LevelInfo, "Live page and metrics", 0)
	line.AddAttrs(slog.String("url", scheme+"://"+reachable(address)+"/"))
	return h.Handler.Handle(ctx, line)
}

// reachable is an address that listens as somebody on this machine can enter it into a browser.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// serve adds to the group what serves until the context ends.
func (s *servers) serve(ctx context.Context, g *errgroup.Group, listeners []net.Listener) {
	if len(listeners) == 0 {
		server := s.server(ctx, g)
		g.Go(func() error { return ended(toolkit.ListenAndServe(server, s.flags, s.logger)) })
		return
	}
	// A server for each listener: exporter-toolkit wraps the handler of the server that
	// it is given, which two listeners must not do to the same one at once.
	for _, l := range listeners {
		server := s.server(ctx, g)
		g.Go(func() error { return ended(toolkit.Serve(l, server, s.flags, s.logger)) })
	}
}

// server makes a server that shuts down when the context ends.
func (s *servers) server(ctx context.Context, g *errgroup.Group) *http.Server {
	server := web.Server(ctx, s.handler)
	server.ErrorLog = slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn)
	g.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			s.logger.Warn("Requests were cut off", "err", err)
			_ = server.Close()
		}
		return nil
	})
	return server
}

// ended returns why a server ended, if not because it was told to.
func ended(err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web server: %w", err)
}
