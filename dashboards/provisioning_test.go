package dashboards

import (
	"os"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// $__rate_interval is reckoned from what the data source is told, so that it must be the truth.
func TestTheDataSourceKnowsTheScrapeInterval(t *testing.T) {
	var provisioned struct {
		DataSources []struct {
			UID       string
			Type      string
			IsDefault bool           `yaml:"isDefault"`
			JSONData  map[string]any `yaml:"jsonData"`
		}
	}
	readYAML(t, "provisioning/datasources/prometheus.yml", &provisioned)
	var prometheus struct {
		Global struct {
			ScrapeInterval string `yaml:"scrape_interval"`
		}
	}
	readYAML(t, "../prometheus.yml", &prometheus)
	if len(provisioned.DataSources) != 1 {
		t.Fatalf("%d data sources, want 1", len(provisioned.DataSources))
	}
	ds := provisioned.DataSources[0]
	if ds.UID != "prometheus" || ds.Type != "prometheus" || !ds.IsDefault {
		t.Errorf("the data source is %+v, want a default one of type and uid prometheus", ds)
	}
	if got, want := ds.JSONData["timeInterval"], prometheus.Global.ScrapeInterval; got != want || want == "" {
		t.Errorf("timeInterval is %v, Prometheus scrapes every %q", got, want)
	}
}

func TestTheDashboardsAreMountedWhereGrafanaLooks(t *testing.T) {
	var provisioned struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	readYAML(t, "provisioning/dashboards/prefix.yml", &provisioned)
	var compose struct {
		Services map[string]struct{ Volumes []string }
	}
	readYAML(t, "../docker-compose.yml", &compose)
	mounted := strings.Join(compose.Services["grafana"].Volumes, "\n")
	for _, mount := range []string{"./dashboards:" + provisioned.Providers[0].Options.Path, "./dashboards/provisioning:/etc/grafana/provisioning"} {
		if !strings.Contains(mounted, mount) {
			t.Errorf("docker-compose.yml does not mount %s; it mounts\n%s", mount, mounted)
		}
	}
}
