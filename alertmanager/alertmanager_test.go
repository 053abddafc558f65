package alertmanager

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"prefix_exporter/lab/e2e/tools"
)

const configFile = "alertmanager.yml"

// amtool runs it, in the time zone of Paris, and returns what it says.
func amtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(tools.Require(t, "amtool"), args...)
	cmd.Env = append(os.Environ(), "TZ=Europe/Paris")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestCheckConfig(t *testing.T) {
	if out, err := amtool(t, "check-config", configFile); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRoutes says who is told of what. Receivers are shared by all tenants, so the
// addresses are checked as well: amtool tells which route it is by its receiver only.
func TestRoutes(t *testing.T) {
	for name, tc := range map[string]struct {
		labels    []string
		receivers string
	}{
		"critical of a tenant: SMS and mail":        {[]string{"tenant=team-a", "severity=critical", "prefix=192.0.2.0/24", "alertname=PrefixDown"}, "sms,mail"},
		"critical of another tenant: SMS and mail":  {[]string{"tenant=team-b", "severity=critical", "prefix=192.0.2.0/24", "alertname=IPDown"}, "sms,mail"},
		"a warning: mail":                           {[]string{"tenant=team-a", "severity=warning", "prefix=192.0.2.0/24", "alertname=IPDown"}, "mail"},
		"critical without tenant: SMS and mail":     {[]string{"severity=critical", "prefix=192.0.2.0/24", "alertname=PrefixDown"}, "sms,mail"},
		"a tenant that nobody has entered":          {[]string{"tenant=team-z", "severity=critical", "prefix=192.0.2.0/24", "alertname=PrefixDown"}, "sms,mail"},
		"an unhealthy prober":                       {[]string{"severity=critical", "alertname=ProberUnhealthy", "instance=a"}, "sms-and-mail"},
		"an exporter that is gone":                  {[]string{"severity=critical", "alertname=ExporterGone", "instance=a"}, "sms-and-mail"},
		"what only inhibits: nobody":                {[]string{"tenant=team-a", "severity=none", "prefix=192.0.2.0/24", "alertname=PrefixDownInhibitor"}, "nobody"},
		"a prober that is in doubt":                 {[]string{"severity=critical", "alertname=ProberInDoubt", "instance=a", "probe=icmp"}, "sms-and-mail"},
		"a prober that is offline":                  {[]string{"severity=critical", "alertname=ProberOffline", "instance=a"}, "sms-and-mail"},
		"what only inhibits, of the prober: nobody": {[]string{"severity=none", "alertname=ProberDoubtInhibitor", "instance=a", "probe=icmp"}, "nobody"},
		"a prefix that cannot be measured":          {[]string{"tenant=team-a", "severity=critical", "prefix=192.0.2.0/24", "alertname=PrefixUnmeasured"}, "sms,mail"},
		"a reload that failed":                      {[]string{"severity=warning", "alertname=ReloadFailed", "instance=a"}, "mail"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"config", "routes", "test", "--config.file=" + configFile, "--verify.receivers=" + tc.receivers}, tc.labels...)
			if out, err := amtool(t, args...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Run("a wrong receiver is found out", func(t *testing.T) {
		if out, err := amtool(t, "config", "routes", "test", "--config.file="+configFile, "--verify.receivers=sms", "severity=warning"); err == nil {
			t.Errorf("no error:\n%s", out)
		}
	})
}

// TestNoSecret checks that what must stay secret is named as a file, by an absolute path.
func TestNoSecret(t *testing.T) {
	text, err := os.ReadFile(configFile)
	if err != nil {
		t.Fatal(err)
	}
	secret := regexp.MustCompile(`(?m)(password|credentials|token|secret_key|access_key|secret_access_key)(_file)?: *['"]?([^\s'",}]+)`)
	found := secret.FindAllStringSubmatch(string(text), -1)
	if len(found) != 2 {
		t.Errorf("%d secrets, want the password of mail and the token of SMS: %q", len(found), found)
	}
	for _, m := range found {
		if m[2] != "_file" || !strings.HasPrefix(m[3], "/etc/alertmanager/secrets/") {
			t.Errorf("%s", m[0])
		}
	}
}
