//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"

	"prefix_exporter/app"
	"prefix_exporter/probe"
)

// address is where the exporter listens. The namespace is ours alone.
const address = "127.0.0.1:10240"

// note is what the exporter says of one packet. It has no padding, as encoding/binary
// writes none.
type note struct {
	Addr     [4]byte
	Sequence uint16
	Event    event
	_        byte
	Sent     int64 // ns since the epoch
	RTT      int64 // ns
}

type event uint8

// The events of probe.Packet that end a probe, or come after its end.
const (
	answered event = iota + 1
	timedOut
	late
	duplicate
	other
)

func eventOf(name string) event {
	switch name {
	case "answered":
		return answered
	case "timeout":
		return timedOut
	case "late":
		return late
	case "duplicate":
		return duplicate
	}
	return other
}

// prober is the exporter with one addition: a note of each packet. It takes the place of
// the log of a traced address, in the same loop; to write all of them to a log would be
// more work than the probing.
type prober struct {
	config, record string
	capacity       int
	notes          []note
}

func (p *prober) run(ctx context.Context) error {
	p.notes = make([]note, 0, p.capacity)
	logger, err := app.NewLogger(os.Stderr, "warn", "logfmt")
	if err != nil {
		return err
	}
	listen, none := []string{address}, ""
	err = app.Run(ctx, app.Options{
		ConfigFile: p.config, Engine: probe.EngineBatch, EnableLifecycle: true, Logger: logger, NewEngine: p.engine,
		Web: &toolkit.FlagConfig{WebListenAddresses: &listen, WebConfigFile: &none},
	})
	return errors.Join(err, p.write())
}

// engine makes the usual engine, and follows every address of it.
func (p *prober) engine(name string, o probe.Options) (probe.Engine, error) {
	o.Trace = p.note
	e, err := probe.New(name, o)
	return followed{e}, err
}

// note is called by the probing loop only.
func (p *prober) note(packet probe.Packet) {
	if packet.Event == "sent" || packet.Event == "skipped" || len(p.notes) == cap(p.notes) {
		return
	}
	p.notes = append(p.notes, note{
		Addr: packet.Addr.As4(), Sequence: packet.Sequence, Event: eventOf(packet.Event),
		Sent: packet.Sent.UnixNano(), RTT: int64(packet.RTT),
	})
}

func (p *prober) write() error {
	f, err := os.Create(p.record)
	if err != nil {
		return err
	}
	return errors.Join(binary.Write(f, binary.NativeEndian, p.notes), f.Close())
}

// followed is an engine that traces every target.
type followed struct{ probe.Engine }

// Apply implements probe.Engine.
func (f followed) Apply(ctx context.Context, targets []probe.Target) error {
	if err := f.Engine.Apply(ctx, targets); err != nil {
		return err
	}
	for i := range targets {
		if err := f.Trace(ctx, targets[i].Addr, 24*time.Hour); err != nil {
			return err
		}
	}
	return nil
}

// readNotes reads what write has written.
func readNotes(path string) ([]note, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	notes := make([]note, info.Size()/int64(binary.Size(note{})))
	if err := binary.Read(f, binary.NativeEndian, notes); err != nil {
		return nil, fmt.Errorf("reading the record of the exporter: %w", err)
	}
	return notes, nil
}
