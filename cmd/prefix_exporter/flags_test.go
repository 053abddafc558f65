package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommandLine(t *testing.T) {
	for name, test := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string // regular expressions
	}{
		"the version":                                  {[]string{"--version"}, 0, `^prefix_exporter, version `, `^$`},
		"the help names each flag":                     {[]string{"--help"}, 0, `(?s)--log.level=.*--log.format=.*\nFlags of run:\n.*--config.file=.*--web.listen-address=:10240.*--web.config.file=.*--web.telemetry-path=.*web.enable-lifecycle.*--web.allowed-hosts=NAME \.\.\..*--storage.path=.*--probe.engine=.*--log.changes=.*\nrun\* .*\n.*\ncheck \[<flags>\] <FILE>\n.*\nschema\n.*trace .*<IP>\n.*healthy \[<URL>\]\n`, `^$`},
		"a flag that is unknown":                       {[]string{"--nope"}, 1, `^$`, `^prefix_exporter: error: unknown long flag '--nope', try --help\n$`},
		"a flag with a slip":                           {[]string{"--config.fil=x"}, 1, `^$`, `^prefix_exporter: error: unknown long flag '--config.fil': did you mean --config.file\?, try --help\n$`},
		"a flag of all, with a slip, behind a command": {[]string{"check", "--log.levle=x", "f"}, 1, `^$`, `did you mean --log.level\?`},
		"a flag of the command with a slip":            {[]string{"check", "--strickt", "f"}, 1, `^$`, `did you mean --strict\?`},
		"a flag of another command":                    {[]string{"check", "--storage.path=x", "f"}, 1, `^$`, `unknown long flag '--storage.path': it is a flag of the command run,`},
		"a flag of another command than the default":   {[]string{"--strict"}, 1, `^$`, `unknown long flag '--strict': it is a flag of the command check,`},
		"a command that is unknown":                    {[]string{"ping"}, 1, `^$`, `^prefix_exporter: error: unexpected ping, try --help\n$`},
		"a command with a slip":                        {[]string{"chekc", "f"}, 1, `^$`, `^prefix_exporter: error: unexpected chekc: did you mean check\?, try --help\n$`},
		"a level that is unknown":                      {[]string{"--log.level=loud"}, 1, `^$`, `^prefix_exporter: error: --log.level "loud": must be one of debug, info, warn, error, try --help\n$`},
		"an engine that is unknown":                    {[]string{"--probe.engine=best"}, 1, `^$`, `--probe.engine "best": must be one of auto, batch, pro-bing`},
		"a file that was named, absent":                {[]string{"--log.level=error", "run", "--config.file=testdata/absent.yml"}, 78, `^$`, `testdata/absent.yml: `},
		"a file without a name":                        {[]string{"--log.level=error", "--config.file="}, 78, `^$`, `must be the name of a file`},
		"a file that is standard input":                {[]string{"--config.file=-"}, 1, `^$`, `config.file "-": standard input cannot be read again at a reload`},
		"a folder for a file":                          {[]string{"--log.level=error", "--config.file=testdata"}, 78, `^$`, `testdata: cannot be read: not a regular file, but a folder`},
		"a file to check that is absent":               {[]string{"check", "testdata/absent.yml"}, 1, `^$`, `^testdata/absent.yml: cannot be read: no such file or directory\n$`},
		"a check of nothing":                           {[]string{"check"}, 1, `^$`, `required argument 'FILE' not provided`},
		"a check of an empty name":                     {[]string{"check", ""}, 1, `^$`, `^FILE "": must be the name of a configuration file, or - for standard input\n$`},
		"a check against an empty name":                {[]string{"check", "--against=", "testdata/valid.yml"}, 1, `^$`, `^against "": must be the name of a configuration file, or - for standard input\n$`},
		"an explanation of an empty address":           {[]string{"check", "--explain=", "testdata/valid.yml"}, 1, `^$`, `^explain "": must be an IPv4 or IPv6 address\n$`},
		"a telemetry path that is no path":             {[]string{"--log.level=error", "--config.file=testdata/valid.yml", "--web.telemetry-path=x"}, 1, `^$`, `level=error msg="Cannot start" err="telemetry path \\"x\\": must begin with /`},
		"an allowed host that is a pattern":            {[]string{"--log.level=error", "--config.file=testdata/valid.yml", "--web.allowed-hosts=a.example", "--web.allowed-hosts=*.example"}, 1, `^$`, `allowed host \\"\*\.example\\": must be one name`},
		"a number that is none":                        {[]string{"trace", "--port=http", "127.0.0.1"}, 1, `^$`, `--port "http": must be a number: invalid syntax`},
		"a value of another argument":                  {[]string{"trace", "--protocol", "gre", "127.0.0.1"}, 1, `^$`, `--protocol "gre": must be one of icmp, tcp, udp`},
		"an error of flags as JSON, of two arguments":  {[]string{"--log.format", "json", "--nope"}, 1, `^$`, `^\{"caller":.*"err":"unknown long flag '--nope'"`},
		"an error of flags as JSON":                    {[]string{"--log.format=json", "--nope"}, 1, `^$`, `^\{"caller":.*"err":"unknown long flag '--nope'","level":"error","msg":"Cannot start","ts":.*\}\n$`},
	} {
		t.Run(name, func(t *testing.T) {
			got := execute(t, test.args...)
			if got.Status != test.status {
				t.Errorf("status %d, want %d", got.Status, test.status)
			}
			for what, pair := range map[string][2]string{"stdout": {test.stdout, got.Stdout}, "stderr": {test.stderr, got.Stderr}} {
				if !regexp.MustCompile(pair[0]).MatchString(pair[1]) {
					t.Errorf("%s: got %q, want %s", what, pair[1], pair[0])
				}
			}
		})
	}
}

// flagsIn returns the flags that a help names.
func flagsIn(help string) (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^ {2,6}(?:-\w, )?--(?:\[no-\])?([a-z.-]+)`).FindAllStringSubmatch(help, -1) {
		names = append(names, m[1])
	}
	return names
}

func TestTheHelpOfACommandShowsItsOwnFlags(t *testing.T) {
	common := []string{"help", "version", "log.level", "log.format"}
	for command, own := range map[string][]string{
		"run":     {"config.file", "web.systemd-socket", "web.listen-address", "web.config.file", "web.telemetry-path", "web.enable-lifecycle", "web.allowed-hosts", "storage.path", "probe.engine", "log.changes"},
		"check":   {"strict", "quiet", "json", "explain", "against"},
		"schema":  nil,
		"trace":   {"protocol", "port", "interval", "timeout", "max-hops", "count", "source", "interface"},
		"healthy": nil,
	} {
		got := execute(t, command, "--help")
		if diff := cmp.Diff(append(common[:len(common):len(common)], own...), flagsIn(got.Stdout)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%s", command, diff, got.Stdout)
		}
	}
}

func TestEveryFlagHasAnEnvironmentVariable(t *testing.T) {
	for _, command := range []string{"run", "check", "trace", "healthy"} {
		help := strings.Join(strings.Fields(execute(t, command, "--help").Stdout), " ")
		for _, name := range flagsIn(execute(t, command, "--help").Stdout) {
			variable := "PREFIX_EXPORTER_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(name))
			if name == "port" {
				variable = "PREFIX_EXPORTER_TRACE_PORT"
			}
			if want := name != "help" && name != "version"; strings.Contains(help, "($"+variable+")") != want {
				t.Errorf("%s: --%s: %s is named: %v", command, name, variable, !want)
			}
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "absent.yml")
	for name, test := range map[string]struct {
		env, args []string
		status    int
		stderr    string
	}{
		"stands in for the flag":           {[]string{"PREFIX_EXPORTER_CONFIG_FILE=" + file}, nil, 78, "absent.yml: cannot be read"},
		"is less than the flag":            {[]string{"PREFIX_EXPORTER_CONFIG_FILE=testdata/valid.yml"}, []string{"--config.file=" + file}, 78, "absent.yml: cannot be read"},
		"is checked like the flag":         {[]string{"PREFIX_EXPORTER_PROBE_ENGINE=best"}, nil, 1, `PREFIX_EXPORTER_PROBE_ENGINE "best": must be one of auto, batch, pro-bing`},
		"that is neither true nor false":   {[]string{"PREFIX_EXPORTER_WEB_ENABLE_LIFECYCLE=yes"}, nil, 1, `PREFIX_EXPORTER_WEB_ENABLE_LIFECYCLE "yes": must be true or false`},
		"of the log, with an error":        {[]string{"PREFIX_EXPORTER_LOG_FORMAT=json"}, []string{"--nope"}, 1, `"err":"unknown long flag '--nope'"`},
		"of the log, less than the flag":   {[]string{"PREFIX_EXPORTER_LOG_FORMAT=json"}, []string{"--log.format=logfmt", "--nope"}, 1, "prefix_exporter: error: unknown long flag '--nope', try --help"},
		"of a flag without a value":        {[]string{"PREFIX_EXPORTER_STRICT=true"}, []string{"check", "testdata/nothing.yml"}, 1, "warning: nothing to probe"},
		"is not that of Kubernetes":        {[]string{"PREFIX_EXPORTER_PORT=tcp://192.0.2.1:10240"}, []string{"trace", "x"}, 1, `ip "x": must be an IPv4 or IPv6 address`},
		"is not that of the tag of images": {[]string{"PREFIX_EXPORTER_VERSION=0.1.0"}, []string{"check", "--quiet", "testdata/valid.yml"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := command(t, append([]string{"--log.level=error"}, test.args...)...)
			c.Env = append(c.Env, test.env...)
			got := finish(t, c)
			if got.Status != test.status || !strings.Contains(got.Stderr, test.stderr) {
				t.Errorf("status %d, want %d: %s", got.Status, test.status, got.Stderr)
			}
		})
	}
}

func TestTheSchemaIsThatWhichIsShipped(t *testing.T) {
	want, err := os.ReadFile("../../prefix_exporter.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(result{Stdout: string(want)}, execute(t, "schema")); diff != "" {
		t.Error(diff)
	}
}
