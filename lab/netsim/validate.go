package netsim

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// maxDelay bounds every duration of a delay: beyond it a scenario is a slip of the pen.
const maxDelay = 10 * time.Minute

// Problems are all mistakes of a scenario, in the order of its lines.
type Problems []Problem

// Problem is one mistake. Path names the place, such as rules[2].loss.probability; File and Line are
// empty when the scenario was built in Go.
type Problem struct {
	File string
	Line int
	Path string
	Text string
}

func (p Problem) Error() string {
	where := ""
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d: ", p.File, p.Line)
	}
	if p.Path == "" {
		return where + p.Text
	}
	return where + p.Path + ": " + p.Text
}

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sorted() Problems {
	sort.SliceStable(p, func(i, j int) bool { return p[i].Line < p[j].Line })
	return p
}

// Validate checks ranges and returns nil or Problems, all of them at once.
func (s *Scenario) Validate() error {
	v := validator{}
	v.scenario(s)
	if len(v.problems) == 0 {
		return nil
	}
	return v.problems
}

type validator struct{ problems Problems }

func (v *validator) add(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (v *validator) scenario(s *Scenario) {
	if len(s.Prefixes) == 0 {
		v.add("prefixes", "there must be at least one prefix")
	}
	for i, p := range s.Prefixes {
		path := fmt.Sprintf("prefixes[%d]", i)
		v.prefix(path, p)
		for _, q := range s.Prefixes[:i] {
			if p.IsValid() && p == q {
				v.add(path, "%q is there twice", p)
			}
		}
	}
	for i, a := range s.Source {
		path := fmt.Sprintf("source[%d]", i)
		if !a.IsValid() || a.Zone() != "" || a.Is4In6() || a.IsMulticast() || a.IsUnspecified() || a.IsLoopback() {
			v.add(path, "%q is no unicast address for the local end", a)
		} else if hasFamily(s.Source[:i], a.Is4()) {
			v.add(path, "%q: there may be one address per family", a)
		}
	}
	if s.MTU != 0 && (s.MTU < minMTU || s.MTU > maxMTU) {
		v.add("mtu", "%d must be between %d and %d", s.MTU, minMTU, maxMTU)
	}
	reach := s.reach()
	for i := range s.Routes {
		v.route(fmt.Sprintf("routes[%d]", i), s, &s.Routes[i])
	}
	for i := range s.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		v.rule(path, &s.Rules[i])
		for j, p := range s.Rules[i].Prefixes {
			if p.IsValid() && !slices.ContainsFunc(reach, p.Overlaps) {
				v.add(fmt.Sprintf("%s.prefix[%d]", path, j), "%q has no address in the prefixes of the scenario", p)
			}
		}
	}
}

func (v *validator) prefix(path string, p netip.Prefix) {
	switch {
	case !p.IsValid() || p.Addr().Is4In6():
		v.add(path, "%q is no prefix", p)
	case p != p.Masked():
		v.add(path, "%q has host bits set; the prefix is %s", p, p.Masked())
	}
}

func (v *validator) rule(path string, r *Rule) {
	for i, p := range r.Prefixes {
		v.prefix(fmt.Sprintf("%s.prefix[%d]", path, i), p)
	}
	v.scope(path, r)
	v.times(path, r.From, r.Until)
	v.delay(path+".delay", r.Delay)
	if r.Spread != nil {
		v.duration(path+".spread", *r.Spread)
	}
	if r.Jitter != nil {
		v.duration(path+".jitter", *r.Jitter)
	}
	v.loss(path+".loss", r.Loss)
	if d := r.Duplicate; d != nil {
		v.probability(path+".duplicate.probability", d.Probability)
		v.duration(path+".duplicate.after", d.After)
		if d.Copies < 0 || d.Copies > maxCopies {
			v.add(path+".duplicate.copies", "%d must be between 0 and %d", d.Copies, maxCopies)
		}
	}
	if o := r.Reorder; o != nil {
		v.probability(path+".reorder.probability", o.Probability)
		v.duration(path+".reorder.delay", o.Delay)
	}
	if c := r.Corrupt; c != nil {
		v.probability(path+".corrupt.probability", c.Probability)
		if c.Probability > 0 && c.Mode == Intact {
			v.add(path+".corrupt.mode", "must be one of flip, payload, truncate")
		}
	}
	v.icmpError(path+".unreachable", r, r.Unreachable, unreachableCodes)
	v.icmpError(path+".ttl_exceeded", r, r.TTLExceeded, exceededCodes)
	if l := r.RateLimit; l != nil {
		v.limit(path+".rate_limit", l)
	}
	if r.AnswerFrom != nil && r.AnswerFrom.IsValid() {
		v.sameFamily(path+".answer_from", r, *r.AnswerFrom)
	}
}

// times checks when a rule or route holds.
func (v *validator) times(path string, from, until time.Duration) {
	if from < 0 {
		v.add(path+".from", "%s must not be negative", from)
	}
	if until != 0 && until <= from {
		v.add(path+".until", "%s must be after from (%s)", until, from)
	}
}

// scope checks which packets a rule is about.
func (v *validator) scope(path string, r *Rule) {
	for i, p := range r.Protocols {
		if p >= protocols {
			v.add(fmt.Sprintf("%s.protocol[%d]", path, i), "must be one of icmp, tcp, udp")
		}
	}
	for i, p := range r.Ports {
		if p.First == 0 || p.Last < p.First {
			v.add(fmt.Sprintf("%s.port[%d]", path, i), "%d-%d must go upwards, and begin above 0", p.First, p.Last)
		}
	}
	if len(r.Ports) > 0 && len(r.Protocols) > 0 && !slices.Contains(r.Protocols, TCP) && !slices.Contains(r.Protocols, UDP) {
		v.add(path+".port", "the protocol has no ports")
	}
	if r.TCP != nil && len(r.Protocols) > 0 && !slices.Contains(r.Protocols, TCP) {
		v.add(path+".tcp", "the rule is not about tcp")
	}
	if r.TCP != nil && *r.TCP > ServiceResetEarly {
		v.add(path+".tcp", "must be one of %s", strings.Join(serviceNames[:], ", "))
	}
}

const (
	// maxCopies keeps one request from becoming a flood; it fits the byte that the truth has for it.
	maxCopies = 100
	// maxRate is far above what one TUN device carries.
	maxRate = 1_000_000
)

func (v *validator) delay(path string, d *Delay) {
	if d == nil {
		return
	}
	v.duration(path, d.Constant)
	if d.Normal != nil && d.Ramp != nil {
		v.add(path, "normal and ramp exclude each other")
	}
	if n := d.Normal; n != nil {
		v.duration(path+".normal.mean", n.Mean)
		v.duration(path+".normal.stddev", n.Stddev)
		v.duration(path+".normal.min", n.Min)
	}
	if r := d.Ramp; r != nil {
		v.duration(path+".ramp.from", r.From)
		v.duration(path+".ramp.to", r.To)
		if r.Over <= 0 {
			v.add(path+".ramp.over", "%s must be above 0s", r.Over)
		}
	}
}

func (v *validator) loss(path string, l *Loss) {
	if l == nil {
		return
	}
	v.probability(path+".probability", l.Probability)
	if b := l.Burst; b != nil {
		v.probability(path+".burst.enter", b.Enter)
		v.probability(path+".burst.leave", b.Leave)
		v.probability(path+".burst.good", b.Good)
		if b.Bad != nil {
			v.probability(path+".burst.bad", *b.Bad)
		}
	}
	if p := l.Periodic; p != nil {
		if p.Period <= 0 {
			v.add(path+".periodic.period", "%s must be above 0s", p.Period)
		}
		if p.Length < 0 || p.Length > p.Period {
			v.add(path+".periodic.length", "%s must be between 0s and the period (%s)", p.Length, p.Period)
		}
	}
}

func (v *validator) duration(path string, d time.Duration) {
	if d < 0 || d > maxDelay {
		v.add(path, "%s must be between 0s and %s", d, maxDelay)
	}
}

func (v *validator) probability(path string, p float64) {
	if !(p >= 0 && p <= 1) { // NaN as well
		v.add(path, "%g must be between 0 and 1", p)
	}
}

func (v *validator) icmpError(path string, r *Rule, e *ICMPError, codes []code) {
	if e == nil || e.Off {
		return
	}
	if _, ok := findCode(codes, e.Code); !ok {
		v.add(path+".code", "%q must be a number from 0 to 255 or one of %s", e.Code, codeNames(codes))
	}
	if e.Probability != nil {
		v.probability(path+".probability", *e.Probability)
	}
	if e.From.IsValid() {
		v.sameFamily(path+".from", r, e.From)
	}
}

func (v *validator) sameFamily(path string, r *Rule, a netip.Addr) {
	for _, p := range r.Prefixes {
		if p.IsValid() && p.Addr().Is4() != a.Is4() {
			v.add(path, "%s and %s are not of one family", a, p)
			return
		}
	}
}

// code is a name for an ICMP code, with its number in each family (RFC 792, RFC 1812, RFC 4443).
type code struct {
	name   string
	v4, v6 uint8
}

// unreachableCodes has the IPv6 code of nearest meaning beside each IPv4 code. The first is the default.
var unreachableCodes = []code{
	{"host", 1, 3}, {"net", 0, 0}, {"protocol", 2, 4}, {"port", 3, 4}, {"fragmentation", 4, 0},
	{"source_route", 5, 0}, {"net_unknown", 6, 0}, {"host_unknown", 7, 3}, {"net_prohibited", 9, 1},
	{"host_prohibited", 10, 1}, {"prohibited", 13, 1}, {"precedence", 14, 5}, {"cutoff", 15, 6},
}

var exceededCodes = []code{{"transit", 0, 0}, {"reassembly", 1, 1}}

// findCode finds a code by name or number; "" is the first.
func findCode(codes []code, s string) (code, bool) {
	if s == "" {
		return codes[0], true
	}
	for _, c := range codes {
		if c.name == s {
			return c, true
		}
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return code{s, uint8(n), uint8(n)}, err == nil
}

func codeNames(codes []code) string {
	names := make([]string, len(codes))
	for i, c := range codes {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}
