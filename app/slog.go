package app

import (
	"context"
	"log/slog"
	"slices"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// slogHandler lets those who log by log/slog, such as exporter-toolkit, write to the
// logger of the program. Groups become prefixes of keys: group.key.
type slogHandler struct {
	next   log.Logger
	attrs  []any  // keys and values of WithAttrs
	prefix string // of the open groups, with a dot at the end
}

var _ slog.Handler = (*slogHandler)(nil)

// newSlog makes a slog.Logger that writes to a go-kit logger.
func newSlog(next log.Logger) *slog.Logger { return slog.New(&slogHandler{next: next}) }

// Enabled says yes: the filter of the go-kit logger decides.
func (h *slogHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler. The time of the record is left to the logger.
func (h *slogHandler) Handle(_ context.Context, r slog.Record) error {
	line := append([]any{"msg", r.Message}, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		line = appendAttr(line, h.prefix, a)
		return true
	})
	return leveled(h.next, r.Level).Log(line...)
}

func leveled(logger log.Logger, l slog.Level) log.Logger {
	switch {
	case l >= slog.LevelError:
		return level.Error(logger)
	case l >= slog.LevelWarn:
		return level.Warn(logger)
	case l >= slog.LevelInfo:
		return level.Info(logger)
	}
	return level.Debug(logger)
}

// appendAttr adds one attribute as key and value, a group as several.
func appendAttr(line []any, prefix string, a slog.Attr) []any {
	value := a.Value.Resolve()
	if a.Equal(slog.Attr{}) { // slog.Handler: an empty attribute is to be ignored
		return line
	}
	if value.Kind() != slog.KindGroup {
		return append(line, prefix+a.Key, value.Any())
	}
	if a.Key != "" { // a group without a name is part of the one around it
		prefix += a.Key + "."
	}
	for _, member := range value.Group() {
		line = appendAttr(line, prefix, member)
	}
	return line
}

// WithAttrs implements slog.Handler.
func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		with.attrs = appendAttr(with.attrs, h.prefix, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *slogHandler) WithGroup(name string) slog.Handler {
	with := *h
	if name != "" {
		with.prefix += name + "."
	}
	return &with
}
