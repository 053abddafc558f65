package app

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsALogin(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want bool
	}{
		"nothing":                              {"", false},
		"TLS alone":                            {"tls_server_config: {cert_file: a, key_file: b}", false},
		"users":                                {"basic_auth_users: {prometheus: $2y$10$x}", true},
		"no user":                              {"basic_auth_users: {}", false},
		"a certificate that is required":       {"tls_server_config: {client_auth_type: RequireAndVerifyClientCert}", true},
		"any certificate":                      {"tls_server_config: {client_auth_type: RequireAnyClientCert}", true},
		"any certificate, by its old name":     {"tls_server_config: {client_auth_type: RequireClientCert}", true},
		"a certificate that may be given":      {"tls_server_config: {client_auth_type: VerifyClientCertIfGiven}", false},
		"a certificate that is only asked for": {"tls_server_config: {client_auth_type: RequestClientCert}", false},
		"no certificate":                       {"tls_server_config: {client_auth_type: NoClientCert}", false},
		"what is no YAML":                      {"basic_auth_users: {", false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "web.yml")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := (login{file}).required(); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	for _, file := range []string{"", filepath.Join(t.TempDir(), "absent.yml")} {
		if (login{file}).required() {
			t.Errorf("%q requires a login", file)
		}
	}
}

// status asks by a name, as a user or not.
func (p *program) status(method, host, user, password string) int {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+"/-/healthy", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Host, r.Close = host, true
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// TestForeignHosts asks the whole program as a page does whose name has been made to resolve to
// its address.
func TestForeignHosts(t *testing.T) {
	for name, test := range map[string]struct {
		change    func(*Options)
		get, post int // for a foreign host; 405: nobody minds the host
	}{
		"with lifecycle":                        {nil, 421, 421},
		"without lifecycle":                     {func(o *Options) { o.EnableLifecycle = false }, 200, 421},
		"with lifecycle, by a name it is given": {func(o *Options) { o.AllowedHosts = []string{"other", "evil.example"} }, 200, 405},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, test.change)
			got := []int{p.status("GET", "evil.example", "", ""), p.status("POST", "evil.example", "", ""), p.status("GET", "localhost:1", "", "")}
			if diff := cmp.Diff([]int{test.get, test.post, 200}, got); diff != "" {
				t.Errorf("GET, POST, and GET by its own name (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBehindALoginOnlyChangesAreCheckedForTheirHost changes the file of logins while the program
// runs, as exporter-toolkit allows.
func TestBehindALoginOnlyChangesAreCheckedForTheirHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{}")
	p := start(t, func(o *Options) { o.Web.WebConfigFile = &file })
	const password = "a secret"
	ask := func() []int {
		return []int{p.status("GET", "evil.example", "noc", password), p.status("POST", "evil.example", "noc", password)}
	}
	if diff := cmp.Diff([]int{421, 421}, ask()); diff != "" {
		t.Errorf("without a login (-want +got):\n%s", diff)
	}
	write("basic_auth_users: {noc: $2a$04$EWziTu7g0f.S5cvjXOUwKO1tmh9GH35wmgK3ZNS4/ZRiXMEIFUucK}")
	if diff := cmp.Diff([]int{200, 421}, ask()); diff != "" {
		t.Errorf("with a login (-want +got):\n%s", diff)
	}
	if got := p.status("GET", "evil.example", "", ""); got != 401 {
		t.Errorf("who does not log in: status %d", got)
	}
	write("{}")
	if diff := cmp.Diff([]int{421, 421}, ask()); diff != "" {
		t.Errorf("without a login again (-want +got):\n%s", diff)
	}
}
