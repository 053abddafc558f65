package main

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// here are addresses as the command would choose them.
var here = endpoints{exporter: "127.0.0.1:1", prometheus: "127.0.0.1:2", alertmanager: "127.0.0.1:3", mail: "127.0.0.1:4", sms: "127.0.0.1:5"}

// edit runs one of the two functions and returns what it made, as data.
func edit(t *testing.T, f func([]byte, string, endpoints) ([]byte, error), text string) (object, error) {
	t.Helper()
	made, err := f([]byte(text), filepath.FromSlash("/tree"), here)
	if err != nil {
		return nil, err
	}
	return decode(t, string(made)), nil
}

func decode(t *testing.T, text string) (o object) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestPrometheusFindsThePrograms(t *testing.T) {
	got, err := edit(t, prometheusConfig, `
global: {scrape_interval: 15s, external_labels: {site: "01:30"}}
rule_files: [rules/*.yml, /etc/more.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["alertmanager:9093"]}]}]}
scrape_configs:
  - {job_name: a, scrape_native_histograms: true, static_configs: [{targets: ["exporter:10240"], labels: {site: paris}}]}
  - {job_name: b, static_configs: [{targets: ["localhost:9090", "alertmanager:9093", "grafana:3000"]}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, `
global: {scrape_interval: 15s, external_labels: {site: "01:30"}}
rule_files: [`+filepath.Join(filepath.FromSlash("/tree"), "rules", "*.yml")+`, /etc/more.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:3"]}]}]}
scrape_configs:
  - {job_name: a, scrape_native_histograms: true, static_configs: [{targets: ["127.0.0.1:1"], labels: {site: paris}}]}
  - {job_name: b, static_configs: [{targets: ["127.0.0.1:2", "127.0.0.1:3"]}]}
`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAPrometheusThatFindsNothingIsAnError(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no exporter":     {`{alerting: {alertmanagers: [{static_configs: [{targets: ["a:9093"]}]}]}}`, "no job scrapes a target with port 10240, the exporter"},
		"no alertmanager": {`{scrape_configs: [{static_configs: [{targets: ["a:10240"]}]}]}`, "no alertmanager with port 9093"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := edit(t, prometheusConfig, test.text); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestAlertmanagerSendsToTheSinksAndNeedsNoSecret(t *testing.T) {
	got, err := edit(t, alertmanagerConfig, `
global:
  smtp_smarthost: smtp.example.net:587
  smtp_from: alerts@example.net
  smtp_require_tls: true
  smtp_auth_username: u
  smtp_auth_password_file: /secret
  smtp_tls_config: {min_version: TLS12}
templates: [templates/*.tmpl]
route: {receiver: all, labels: {sms_to: '+33600000000'}}
receivers:
  - name: all
    email_configs: &mail [{to: noc@example.net, auth_password_file: /secret, send_resolved: true}]
    webhook_configs: [{url: 'https://sms.example.net/v1', payload: p, http_config: {authorization: {credentials_file: secret}}}]
  - name: again
    email_configs: *mail
    sns_configs: [{api_url: 'https://sns.example.net', sigv4: {profile: sms}, phone_number: '+33600000000'}]
`)
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, `
global: {smtp_smarthost: "127.0.0.1:4", smtp_from: alerts@example.net, smtp_require_tls: false}
templates: [`+filepath.Join(filepath.FromSlash("/tree"), "templates", "*.tmpl")+`]
route: {receiver: all, labels: {sms_to: '+33600000000'}}
receivers:
  - name: all
    email_configs: [{to: noc@example.net, send_resolved: true}]
    webhook_configs: [{url: 'http://127.0.0.1:5/sms', payload: p}]
  - name: again
    email_configs: [{to: noc@example.net, send_resolved: true}]
    sns_configs: [{api_url: 'http://127.0.0.1:5/sns', sigv4: {region: none, access_key: none, secret_key: none}, phone_number: '+33600000000'}]
`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
