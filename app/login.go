package app

import (
	"os"

	"gopkg.in/yaml.v3"
)

// login says whether who asks has had to log in. exporter-toolkit reads the file for each request
// and connection, so this is asked each time as well.
type login struct{ file string } // of --web.config.file; empty: there is none

// required is false, too, if the file cannot be read: exporter-toolkit then answers itself.
func (l login) required() bool {
	if l.file == "" {
		return false
	}
	data, err := os.ReadFile(l.file)
	if err != nil {
		return false
	}
	var c struct {
		Users map[string]any `yaml:"basic_auth_users"`
		TLS   struct {
			ClientAuth string `yaml:"client_auth_type"`
		} `yaml:"tls_server_config"`
	}
	if yaml.Unmarshal(data, &c) != nil {
		return false
	}
	switch c.TLS.ClientAuth {
	case "RequireAndVerifyClientCert", "RequireAnyClientCert", "RequireClientCert":
		return true
	}
	return len(c.Users) > 0
}
