package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Numbers are read from what is written, not from what YAML makes of it: 0443 is 291 to YAML 1.1 and to
// the library, 443 to YAML 1.2 and to people. What is not plain decimal is refused, with what to write instead.
var (
	wholeNumber   = regexp.MustCompile(`^[+-]?(?:0|[1-9][0-9]*)$`)
	leadingZero   = regexp.MustCompile(`^([+-]?)0+([0-9]+)$`)
	otherBase     = regexp.MustCompile(`^[+-]?0[xXoObB][0-9A-Fa-f_]+$`)
	hexNumber     = regexp.MustCompile(`^0[xX][0-9A-Fa-f]{1,8}$`)
	grouping      = regexp.MustCompile(`^[+-]?[0-9]+(?:[_, '][0-9]+)+$`)
	decimalNumber = regexp.MustCompile(`^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$`)
	clockTime     = regexp.MustCompile(`^(?:([0-9]{1,4}):)?([0-9]{1,4}):([0-9]{1,2})$`)
	looseTime     = regexp.MustCompile(`^([0-9.]+)\s*([A-Za-z]+)$`)
)

// plainNumber says how to write a number whose notation is not the plain one; it returns nothing for what is no
// number at all, or a plain one.
func plainNumber(s string) (write, why string) {
	switch {
	case leadingZero.MatchString(s):
		m := leadingZero.FindStringSubmatch(s)
		digits := strings.TrimLeft(m[2], "0")
		if digits == "" {
			digits = "0"
		}
		write, why = m[1]+digits, "must not have a leading zero, which is octal to some readers of YAML"
	case otherBase.MatchString(s):
		v, err := strconv.ParseInt(strings.TrimPrefix(s, "+"), 0, 64)
		if err != nil {
			return "", ""
		}
		write, why = strconv.FormatInt(v, 10), "must be decimal"
	case grouping.MatchString(s):
		write = strings.NewReplacer("_", "", ",", "", " ", "", "'", "").Replace(s)
		why = "must have nothing between its digits"
	}
	return strings.TrimPrefix(write, "+"), why
}

// parseInteger reads a whole number. hex allows 0x1f beside decimal.
func parseInteger(s string, least, most int64, hex bool) (v int64, why string, ok bool) {
	within := func(text string) (int64, bool) {
		v, err := strconv.ParseInt(text, 10, 64)
		return v, err == nil && v >= least && v <= most
	}
	if wholeNumber.MatchString(s) {
		v, ok := within(s)
		return v, "", ok
	}
	if hex && hexNumber.MatchString(s) {
		v, err := strconv.ParseInt(s, 0, 64)
		return v, "", err == nil && v >= least && v <= most
	}
	write, why := plainNumber(s)
	if f, err := strconv.ParseFloat(s, 64); write == "" && err == nil && decimalNumber.MatchString(s) && f == math.Trunc(f) && math.Abs(f) < 1e15 {
		write, why = strconv.FormatFloat(f, 'f', -1, 64), "must have no point and no exponent"
	}
	if _, ok := within(write); !ok {
		return 0, "", false
	}
	return 0, why + ": write " + write, false
}

// parseSeconds reads a number of seconds, or a duration.
func parseSeconds(s string) (v float64, why string, ok bool) {
	if write, why := plainNumber(s); write != "" {
		return 0, why + ": write " + write, false
	}
	if decimalNumber.MatchString(s) {
		v, err := strconv.ParseFloat(s, 64)
		return v, "", err == nil
	}
	d, why, ok := readDuration(s)
	return d.Seconds(), why, ok
}

// readDuration reads a duration, or says how to write it.
func readDuration(s string) (d time.Duration, why string, ok bool) {
	if d, err := parseDuration(s); err == nil {
		return d, "", true
	}
	if m := clockTime.FindStringSubmatch(s); m != nil {
		hours, _ := strconv.Atoi(m[1])
		minutes, _ := strconv.Atoi(m[2])
		seconds, _ := strconv.Atoi(m[3])
		d = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second
		return 0, "must have units instead of colons: write " + brief(d), false
	}
	if m := looseTime.FindStringSubmatch(s); m != nil {
		if text := m[1] + unitOf(m[2]); text != s {
			if _, err := parseDuration(text); err == nil {
				return 0, "must have a number and a unit, such as ms, s, m, h or d: write " + text, false
			}
		}
	}
	return 0, "", false
}

// withoutUnit says which numbers with units a bare number may stand for.
func withoutUnit(s string) (why string, is bool) {
	if write, _ := plainNumber(s); write != "" {
		s = write
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !decimalNumber.MatchString(s) || v == 0 {
		return "", false
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	return fmt.Sprintf("needs a unit, such as %[1]sms or %[1]ss", text), true
}

// unitOf returns the unit that a longer word means.
func unitOf(word string) string {
	switch lower := strings.ToLower(word); lower {
	case "msec", "msecs", "millisecond", "milliseconds":
		return "ms"
	case "sec", "secs", "second", "seconds":
		return "s"
	case "min", "mins", "minute", "minutes":
		return "m"
	case "hr", "hrs", "hour", "hours":
		return "h"
	case "day", "days":
		return "d"
	case "week", "weeks":
		return "w"
	default:
		return lower
	}
}

// parseDuration accepts Go's durations (1m30s, 1.5h, 250us) and Prometheus' (1d, 2w).
func parseDuration(s string) (time.Duration, error) {
	if v, err := time.ParseDuration(s); err == nil {
		return v, nil
	}
	v, err := model.ParseDuration(s)
	return time.Duration(v), err
}

// brief writes a duration as a person would: 1m, not 1m0s.
func brief(d time.Duration) string {
	if d%time.Millisecond == 0 {
		return model.Duration(d).String()
	}
	return d.String()
}
