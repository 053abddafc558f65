package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// port is a TCP port outside and the one inside that it leads to.
type port struct{ outside, inside uint16 }

func parsePorts(list []string) ([]port, error) {
	var out []port
	for _, s := range list {
		first, second, two := strings.Cut(s, ":")
		if !two {
			second = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(second, 10, 16)
		if err1 != nil || err2 != nil || a == 0 || b == 0 {
			return nil, fmt.Errorf("--publish %q: must be a port from 1 to 65535, or two with a colon between them", s)
		}
		out = append(out, port{uint16(a), uint16(b)})
	}
	return out, nil
}

// listenOutside opens a listening socket for each port; the files are for Reexec.
func listenOutside(ports []port) ([]*os.File, error) {
	var files []*os.File
	for _, p := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.outside))
		if err != nil {
			return nil, fmt.Errorf("publish: %w", err)
		}
		f, err := l.(*net.TCPListener).File()
		l.Close() // the file is a copy
		if err != nil {
			return nil, fmt.Errorf("publish: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// forwardAll takes over the listening sockets that the parent opened, from file descriptor 3 on, and
// forwards each in a job that ends with ctx.
func forwardAll(ctx context.Context, jobs *errgroup.Group, ports []port) error {
	for i, p := range ports {
		f := os.NewFile(uintptr(3+i), "publish")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("publish %d: %w", p.outside, err)
		}
		jobs.Go(func() error { return forward(ctx, l, fmt.Sprintf("127.0.0.1:%d", p.inside)) })
	}
	return nil
}

// forward connects everyone who comes to l with address, until ctx ends, and then hangs up on all.
func forward(ctx context.Context, l net.Listener, address string) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		calls.Go(func() { splice(ctx, c, address) })
	}
}

func splice(ctx context.Context, c net.Conn, address string) {
	defer c.Close()
	var d net.Dialer
	in, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return // as when nobody listens: the caller sees the connection end
	}
	defer in.Close()
	stop := context.AfterFunc(ctx, func() { c.Close(); in.Close() })
	defer stop()
	var both sync.WaitGroup
	one := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // whoever hung up, hung up
		_ = to.(*net.TCPConn).CloseWrite()
	}
	both.Go(func() { one(in, c) })
	both.Go(func() { one(c, in) })
	both.Wait()
}
