package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mistakes returns what is wrong with a text, without the file, or "" if nothing is.
func mistakes(t *testing.T, text string) string {
	t.Helper()
	_, err := Parse("x", []byte(text))
	if err == nil {
		return ""
	}
	var lines []string
	for line := range strings.Lines(err.Error()) {
		_, line, _ = strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// entryMistakes is mistakes of one prefix, 192.0.2.0/24, with a key.
func entryMistakes(t *testing.T, key, value string) string {
	t.Helper()
	return strings.ReplaceAll(mistakes(t, "prefixes:\n  - prefix: 192.0.2.0/24\n    "+key+": "+value+"\n"), "prefixes[0].", "")
}

func TestNumbersAreDecimalOrRefused(t *testing.T) {
	const (
		port = "must be an integer between 1 and 65535"
		ttl  = "must be an integer between 1 and 255"
	)
	for _, tt := range []struct{ name, key, value, want string }{
		{"a plain number", "tcp", "{ports: [443]}", ""},
		{"a number in quotes", "tcp", `{ports: ["443"]}`, ""},
		{"a number in single quotes", "icmp", `{ttl: '64'}`, ""},
		{"a number with a plus", "icmp", `{ttl: +64}`, ""},
		{"a number with a tag of YAML", "icmp", `{ttl: !!int "64"}`, ""},
		{"a number that is called text", "icmp", `{ttl: !!str 64}`, ""},
		{"octal of YAML 1.1", "tcp", "{ports: [0443]}", `tcp.ports[0]: "0443": must not have a leading zero, which is octal to some readers of YAML: write 443`},
		{"octal in quotes", "tcp", `{ports: ["0443"]}`, `tcp.ports[0]: "0443": must not have a leading zero, which is octal to some readers of YAML: write 443`},
		{"zeros that cannot be octal", "tcp", "{ports: [0080]}", `tcp.ports[0]: "0080": must not have a leading zero, which is octal to some readers of YAML: write 80`},
		{"zeros before a number that is too large", "tcp", "{ports: [070000]}", `tcp.ports[0]: "070000": ` + port},
		{"octal of YAML 1.2", "icmp", "{ttl: 0o17}", `icmp.ttl: "0o17": must be decimal: write 15`},
		{"hexadecimal", "icmp", "{ttl: 0x1F}", `icmp.ttl: "0x1F": must be decimal: write 31`},
		{"binary", "icmp", "{ttl: 0b11}", `icmp.ttl: "0b11": must be decimal: write 3`},
		{"underscores", "tcp", "{ports: [8_0]}", `tcp.ports[0]: "8_0": must have nothing between its digits: write 80`},
		{"commas", "tcp", `{ports: ["8,443"]}`, `tcp.ports[0]: "8,443": must have nothing between its digits: write 8443`},
		{"a point", "tcp", "{ports: [80.0]}", `tcp.ports[0]: "80.0": must have no point and no exponent: write 80`},
		{"an exponent", "tcp", "{ports: [1e3]}", `tcp.ports[0]: "1e3": must have no point and no exponent: write 1000`},
		{"base sixty of YAML 1.1", "tcp", "{ports: [1:30]}", `tcp.ports[0]: "1:30": ` + port},
		{"white space in quotes", "tcp", `{ports: [" 443"]}`, `tcp.ports[0]: " 443": must not have white space around it: write 443`},
		{"a fraction", "icmp", "{ttl: 6.4}", `icmp.ttl: "6.4": ` + ttl},
		{"a negative number", "icmp", "{ttl: -1}", `icmp.ttl: "-1": ` + ttl},
		{"a number that no machine holds", "icmp", "{ttl: 99999999999999999999}", `icmp.ttl: "99999999999999999999": ` + ttl},
		{"infinity", "icmp", "{ttl: .inf}", `icmp.ttl: ".inf": ` + ttl},
		{"not a number", "icmp", "{ttl: .nan}", `icmp.ttl: ".nan": ` + ttl},
		{"a boolean", "icmp", "{ttl: true}", `icmp.ttl: "true": ` + ttl},
		{"a date", "icmp", "{ttl: 2026-11-28}", `icmp.ttl: "2026-11-28": ` + ttl},
		{"a type of service in hexadecimal", "icmp", "{tos: 0xB8}", ""},
		{"a type of service in octal", "icmp", "{tos: 0270}", `icmp.tos: "0270": must be an integer between 0 and 255`},
		{"a type of service above 255", "icmp", "{tos: 0x100}", `icmp.tos: "0x100": must be an integer between 0 and 255`},
		{"a bucket with a leading zero", "histograms", "{buckets: [010]}", `histograms.buckets[0]: "010": must not have a leading zero, which is octal to some readers of YAML: write 10`},
		{"a bucket in hexadecimal", "histograms", "{buckets: [0x10]}", `histograms.buckets[0]: "0x10": must be decimal: write 16`},
		{"buckets as people write them", "histograms", `{buckets: [.001, 1e-2, "0.5", 00.7, 800ms, 1., +2]}`, ""},
		{"a bucket of base sixty", "histograms", "{buckets: [1:30]}", `histograms.buckets[0]: "1:30": must have units instead of colons: write 1m30s`},
		{"a duration of base sixty", "nominal_rtt", "1:30", `nominal_rtt: "1:30": must have units instead of colons: write 1m30s`},
		{"a duration with hours", "dark_after", `"12:00:00"`, `dark_after: "12:00:00": must have units instead of colons: write 12h`},
		{"a duration in octal without a unit", "dark_after", "0600", `dark_after: "0600": needs a unit, such as 600ms or 600s: must be a duration between 1s and 10y, or 0: never`},
		{"a duration in hexadecimal without a unit", "dark_after", "0x10", `dark_after: "0x10": needs a unit, such as 16ms or 16s: must be a duration between 1s and 10y, or 0: never`},
		{"a duration with an exponent and no unit", "dark_after", "1e3", `dark_after: "1e3": needs a unit, such as 1000ms or 1000s: must be a duration between 1s and 10y, or 0: never`},
		{"an infinite duration", "dark_after", ".inf", `dark_after: ".inf": must be a duration between 1s and 10y, or 0: never`},
		{"a duration that is never", "dark_after", `"0"`, ""},
		{"a duration with a long unit", "dark_after", "90 minutes", `dark_after: "90 minutes": must have a number and a unit, such as ms, s, m, h or d: write 90m`},
		{"a duration with a large unit", "nominal_rtt", "40MS", `nominal_rtt: "40MS": must have a number and a unit, such as ms, s, m, h or d: write 40ms`},
		{"a duration with white space", "nominal_rtt", `"40ms "`, `nominal_rtt: "40ms ": must not have white space around it: write 40ms`},
		{"a duration with a zero in front", "nominal_rtt", "040ms", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, entryMistakes(t, tt.key, tt.value)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What is accepted is the number that is written.
func TestNumbersAreWhatIsWritten(t *testing.T) {
	c := parse(t, `limits: {packets_per_second: "30000"}
prefixes:
  - prefix: 192.0.2.0/24
    icmp: {interval: 010s, size: "1472", ttl: +7, tos: 0xb8}
    tcp: {ports: ["443", 80]}
    histograms: {buckets: ["0.5", 00.75, 1e0, 2s]}
`)
	b := c.Blocks[0]
	got := fmt.Sprint(c.Limits, b.Settings[0].ICMP, b.Settings[0].TCP.Ports, b.Buckets)
	want := fmt.Sprint(Limits{30000}, ICMP{Interval: 10 * time.Second, Timeout: time.Second, Size: 1472, TTL: 7, TOS: 184}, []uint16{80, 443}, []float64{0.5, 0.75, 1, 2})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := mistakes(t, "limits: {packets_per_second: 020000}\nprefixes: [192.0.2.0/24]\n"); !strings.HasSuffix(got, "write 20000") {
		t.Errorf("got %q", got)
	}
}
