// Package config turns one YAML file, and the lists of prefixes that it names, into
// a validated, sorted list of blocks to probe. It reports every mistake at once,
// each with file and line, and says beforehand what a configuration will cost.
//
// The grammar is the table in schema.go; docs/configuration.md shows the same table
// and a test keeps the two equal.
package config

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"prefix_exporter/prefix"
)

// Config is a valid configuration. It is not changed after Load; blocks of one entry
// share Settings, slices of probes and buckets.
type Config struct {
	Limits  Limits
	Blocks  []Block  // sorted by prefix, none empty, none overlapping
	Tenants []Tenant // sorted by name
	Files   []string // all files read, in the order in which they were read
	// Warnings are what is right and most likely not meant, each with its place.
	Warnings Errors
}

// Limits is what the exporter may at most do.
type Limits struct {
	// PacketsPerSecond is the ceiling of everything that is sent. Range 1 to 10,000,000.
	PacketsPerSecond int
}

// Block is one block of the table and how it is probed.
type Block struct {
	// Block is the description and the targets. The Probes of a target are ICMP
	// first, then TCP by ascending port.
	prefix.Block
	// Settings is parallel to Targets: how each is probed. All targets of one entry of
	// the configuration share one pointer.
	Settings []*Settings
	// Trace is how the route to the block is traced. nil: off.
	Trace *Trace
}

// Settings is how the addresses of one entry are probed.
type Settings struct {
	ICMP ICMP
	TCP  *TCP // nil: off
	// Source is the source address. Zero: the kernel chooses.
	Source netip.Addr
	// Interface is a network interface or VRF. Empty: the kernel chooses.
	Interface string
	// Where is the prefix as it is written, and where Source and Interface are, such as
	// 192.0.2.0/24 (prefixes.yml:12): for those who find that this machine has them not. Empty if neither is set.
	Where string
}

// ICMP is how echo requests are sent.
type ICMP struct {
	Interval time.Duration // 10 ms to 1 h
	Timeout  time.Duration // 1 ms to 1 min, at most Interval
	Size     int           // bytes of data, 16 to 65507
	TTL      uint8         // 1 to 255; the hop limit of IPv6
	TOS      uint8         // the traffic class of IPv6
}

// TCP is how connections are made.
type TCP struct {
	Ports    []uint16      // 1 to 65535, ascending, 1 to 16 of them
	Interval time.Duration // 100 ms to 24 h
	Timeout  time.Duration // 1 ms to 1 min, at most Interval
	// OrderlyClose ends a connection with a FIN, which leaves a TIME_WAIT behind.
	// false: with a reset, which does not.
	OrderlyClose bool
}

// Trace is how a route is traced.
type Trace struct {
	Interval time.Duration // 1 s to 24 h
	Timeout  time.Duration // 10 ms to 1 min, at most Interval
	MaxHops  int           // 1 to 64
	Protocol string        // icmp, tcp or udp
	Port     uint16        // tcp and udp: 1 to 65535; icmp: 0
	// Addresses are the addresses of the block to trace, ascending. Empty: the lowest
	// one that answers.
	Addresses []netip.Addr
}

// Tenant is somebody who may see prefixes.
type Tenant struct {
	Name string // without a comma
	// Certificates are names of client certificates (subject CN or any SAN), sorted.
	Certificates []string
	All          bool // may see all prefixes
}

// builtin is what runs without any configuration: an echo request a second to each
// address of the loopback network, which costs nobody anything.
const builtin = `prefixes:
  - {prefix: 127.0.0.0/24, name: loopback, tcp: off, trace: off}
`

// Default returns the built-in configuration: 127.0.0.0/24, one echo request a
// second to each address, no connections and no traces.
func Default() *Config {
	c, err := Parse("builtin", []byte(builtin))
	if err != nil {
		panic("built-in configuration: " + err.Error()) // ours, not the user's
	}
	c.Files = nil
	return c
}

// Load reads and validates the configuration file at path and the prefix files that
// it names, which are found relative to its folder. All of them must be regular files. The error is Errors, with the
// mistakes of all files, or a *ReadError that says why the file at path could not be read. Load blocks
// as long as the file system does.
func Load(path string) (*Config, error) { return LoadContext(context.Background(), path) }

// LoadContext is Load that ends with the context, though not in the middle of a read; the error
// is a *ReadError then.
func LoadContext(ctx context.Context, path string) (*Config, error) {
	return newLoader(ctx, false).load(path)
}

// Parse validates a configuration that is already in memory. name is the file name
// for messages; prefix files are read from the folder of name and below it, never
// from outside. The error is Errors.
func Parse(name string, data []byte) (*Config, error) {
	return newLoader(context.Background(), true).parse(name, data)
}

// convert makes the configuration of a document without mistakes.
func (doc *document) convert(entries []*entry, files []string) *Config {
	c := &Config{Limits: doc.limits.Limits, Blocks: blocks(entries), Files: files}
	for _, t := range doc.tenants {
		t.Certificates = values(t.certificates)
		slices.Sort(t.Certificates)
		c.Tenants = append(c.Tenants, t.Tenant)
	}
	slices.SortFunc(c.Tenants, func(a, b Tenant) int { return strings.Compare(a.Name, b.Name) })
	return c
}
