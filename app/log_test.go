package app

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/google/go-cmp/cmp"
)

const stamp = `20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ`

func TestLogger(t *testing.T) {
	for name, test := range map[string]struct {
		level, format string
		want          []string // regular expressions, one for each line
	}{
		"logfmt": {"info", "logfmt", []string{
			`ts=` + stamp + ` caller=log_test\.go:\d+ level=info msg=plain a=1`,
			`ts=` + stamp + ` caller=log_test\.go:\d+ level=error msg=slog b=2`,
			`ts=` + stamp + ` caller=log_test\.go:\d+ level=warn msg=with c=3`,
		}},
		"json": {"warn", "json", []string{
			`\{"b":2,"caller":"log_test\.go:\d+","level":"error","msg":"slog","ts":"` + stamp + `"\}`,
			`\{"c":3,"caller":"log_test\.go:\d+","level":"warn","msg":"with","ts":"` + stamp + `"\}`,
		}},
		"debug shows everything": {"debug", "logfmt", []string{
			`.* level=debug msg=debug`, `.* level=info .*`, `.* level=error .*`, `.* level=warn .*`,
		}},
		"error shows nothing else": {"error", "logfmt", []string{`.* level=error .*`}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			logger, err := NewLogger(&out, test.level, test.format)
			if err != nil {
				t.Fatal(err)
			}
			_ = level.Debug(logger).Log("msg", "debug")
			_ = level.Info(logger).Log("msg", "plain", "a", 1)
			newSlog(logger).Error("slog", "b", 2)
			_ = log.With(level.Warn(logger), "msg", "with").Log("c", 3)
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != len(test.want) {
				t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(test.want), out.String())
			}
			for i, want := range test.want {
				if !regexp.MustCompile("^" + want + "$").MatchString(lines[i]) {
					t.Errorf("got  %s\nwant %s", lines[i], want)
				}
			}
		})
	}
}

func TestLoggerRefusesUnknownWords(t *testing.T) {
	for want, words := range map[string][2]string{
		`log level "loud": must be debug, info, warn or error`: {"loud", "logfmt"},
		`log format "xml": must be logfmt or json`:             {"info", "xml"},
	} {
		if _, err := NewLogger(&bytes.Buffer{}, words[0], words[1]); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestSlogLevels(t *testing.T) {
	var out bytes.Buffer
	l := newSlog(log.NewLogfmtLogger(&out))
	for _, at := range []slog.Level{-8, slog.LevelDebug, slog.LevelInfo, 2, slog.LevelWarn, slog.LevelError, 12} {
		l.Log(t.Context(), at, "x")
	}
	want := []string{"debug", "debug", "info", "info", "warn", "error", "error"}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.TrimSuffix(strings.TrimPrefix(line, "level="), " msg=x\n"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The rules of log/slog for handlers. Its time is that of our logger, its groups are
// prefixes of keys, which are taken apart again here.
func TestSlogHandlerKeepsTheRules(t *testing.T) {
	var out bytes.Buffer
	run := func(t *testing.T) map[string]any {
		flat := map[string]any{}
		if err := json.Unmarshal(out.Bytes(), &flat); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		return nest(flat)
	}
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		if strings.HasSuffix(t.Name(), "/zero-time") {
			t.Skip("the logger has its own clock")
		}
		out.Reset()
		return &slogHandler{next: log.With(log.NewJSONLogger(&out), "time", log.DefaultTimestampUTC)}
	}, run)
}

func nest(flat map[string]any) map[string]any {
	nested := map[string]any{}
	for key, value := range flat {
		at := nested
		parts := strings.Split(key, ".")
		for _, group := range parts[:len(parts)-1] {
			inner, ok := at[group].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[group] = inner
			}
			at = inner
		}
		at[parts[len(parts)-1]] = value
	}
	return nested
}
