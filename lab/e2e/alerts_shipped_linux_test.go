//go:build !race

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"prefix_exporter/lab/e2e/tools"
)

// clockless takes times, durations and the numbers of addresses out of a text: a
// scrape may see an outage in its first second, when not all addresses are down yet. What crosses
// midnight has dates.
func clockless(text string) string {
	for _, r := range [][2]string{
		{`(\d{1,2} [A-Z][a-z]{2} )?\b\d\d:\d\d ([A-Z]{3,5}|[+-]\d{2,4})\b`, "HH:MM ZONE"},
		{`(\d{1,2} [A-Z][a-z]{2} )?\b\d\d:\d\d\b`, "HH:MM"},
		{`\((\d+ h )?\d+ (min|s)\)`, "(LASTED)"},
		{`\d+/256 IPs`, "N/256 IPs"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

// shipped returns a file of the repository with some of its text replaced: addresses,
// in most cases. What is to be replaced must be there.
func shipped(t *testing.T, path string, oldnew ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("%s has no %q", path, oldnew[i])
		}
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	return text
}

// write writes a file, with its folder.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyFolder copies the files of a folder of the repository that match a pattern.
func copyFolder(t *testing.T, dir, pattern string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("../..", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	for _, p := range paths {
		p, err := filepath.Rel("../..", p)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, p), shipped(t, p))
	}
}

// startShippedPrometheus starts Prometheus as it is shipped, with rules and intervals.
func startShippedPrometheus(t *testing.T, exporters, alertmanagers []string) *prometheus {
	t.Helper()
	program := tools.Require(t, "prometheus")
	dir := t.TempDir()
	list := func(addresses []string) string { return `"` + strings.Join(addresses, `", "`) + `"` }
	write(t, filepath.Join(dir, "prometheus.yml"), shipped(t, "prometheus.yml",
		`"exporter:10240"`, list(exporters), `"alertmanager:9093"`, list(alertmanagers), "localhost:9090", prometheusAddress))
	copyFolder(t, dir, "rules/*.yml")
	p := &prometheus{process: spawn(t, dir, program, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
		"--web.listen-address="+prometheusAddress, "--log.level=warn")}
	c, err := api.NewClient(api.Config{Address: "http://" + prometheusAddress, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	p.api = v1.NewAPI(c)
	p.process.untilReady(prometheusAddress)
	return p
}

// startShippedAlertmanager starts Alertmanager as it is shipped, but for what oldnew
// replaces, and with secrets in a folder of its own.
func startShippedAlertmanager(t *testing.T, address string, oldnew ...string) *process {
	t.Helper()
	program := tools.Require(t, "alertmanager")
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets")
	write(t, filepath.Join(secrets, "smtp_password"), mailPassword+"\n")
	write(t, filepath.Join(secrets, "sms_token"), smsToken+"\n")
	write(t, filepath.Join(secrets, "aws"), "[sms]\naws_access_key_id = "+awsKey+"\naws_secret_access_key = secret of this test\n")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(secrets, "aws"))
	write(t, filepath.Join(dir, "alertmanager/alertmanager.yml"), shipped(t, "alertmanager/alertmanager.yml",
		append(oldnew, "/etc/alertmanager/secrets", secrets)...))
	copyFolder(t, dir, "alertmanager/templates/*.tmpl")
	p := spawn(t, dir, program, "--config.file=alertmanager/alertmanager.yml", "--storage.path=data",
		"--web.listen-address="+address, "--cluster.listen-address=", "--log.level=warn")
	p.untilReady(address)
	return p
}

// authority makes a certificate for 127.0.0.1, and has the programs that are started
// from now on trust who signed it.
func authority(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "an authority of this test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true,

		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "authority.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("AWS_CA_BUNDLE", file) // what the AWS library looks at first
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// startOtherExporter starts one beside the first, with a storage.
func startOtherExporter(t *testing.T, address, config, storage string) *process {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "prefix_exporter.yml"), config)
	p := spawn(t, dir, os.Getenv(binaryEnv), "--storage.path="+storage, "--web.listen-address="+address)
	p.untilReady(address)
	return p
}

// await is until, with a limit of its own.
func await(t *testing.T, limit time.Duration, what string, lacks func() string) {
	t.Helper()
	began := time.Now()
	for {
		lack := lacks()
		if lack == "" {
			t.Logf("after %.0f s: %s", time.Since(began).Seconds(), what)
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("waited %v in vain for: %s\n%s", limit, what, lack)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
