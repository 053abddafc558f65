package app

import (
	"fmt"
	"io"
	"path"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// The words of --log.level and --log.format.
var (
	LogLevels  = []string{"debug", "info", "warn", "error"}
	LogFormats = []string{"logfmt", "json"}
)

// timeFormat is RFC 3339 with milliseconds, always as many digits.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// NewLogger writes lines of the level and above to w, with the time in UTC and the
// place in the source. Its words are those of LogLevels and LogFormats.
func NewLogger(w io.Writer, minimum, format string) (log.Logger, error) {
	var logger log.Logger
	switch format {
	case "logfmt":
		logger = log.NewLogfmtLogger(log.NewSyncWriter(w))
	case "json":
		logger = log.NewJSONLogger(log.NewSyncWriter(w))
	default:
		return nil, fmt.Errorf("log format %q: must be logfmt or json", format)
	}
	lowest, err := level.Parse(minimum)
	if err != nil {
		return nil, fmt.Errorf("log level %q: must be debug, info, warn or error", minimum)
	}
	logger = log.With(logger,
		"ts", log.TimestampFormat(func() time.Time { return time.Now().UTC() }, timeFormat),
		"caller", log.Valuer(caller))
	// The filter stands in front, so that a line which is not wanted costs no look at
	// the clock and the stack.
	return level.NewFilter(logger, level.Allow(lowest)), nil
}

// caller returns the file and line that logs. Loggers of go-kit and of log/slog, with
// filters and contexts around them, come here over stacks of different depth: it is
// the first frame outside of them.
func caller() any {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "github.com/go-kit/log") &&
			!strings.HasPrefix(frame.Function, "log/slog.") &&
			!strings.Contains(frame.Function, ".(*slogHandler).") &&
			!strings.Contains(frame.Function, ".whereToLook.") {
			return path.Base(frame.File) + ":" + strconv.Itoa(frame.Line)
		}
		if !more {
			return "unknown"
		}
	}
}
