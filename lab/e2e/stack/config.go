package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// object is one level of a YAML file.
type object = map[string]any

// prometheusConfig puts our addresses into prometheus.yml. dir is where the file was:
// its relative paths start there. Targets are known by their usual ports; those of
// programs that are not started here are left out.
func prometheusConfig(data []byte, dir string, e endpoints) ([]byte, error) {
	var config object
	if err := yaml.Unmarshal(data, &config); err != nil {
		return nil, err
	}
	absolute(config, "rule_files", dir)
	byPort := map[string]string{"10240": e.exporter, "9090": e.prometheus, "9093": e.alertmanager}
	found := map[string]bool{}
	retarget := func(job object) {
		for _, group := range objects(job["static_configs"]) {
			var targets []any
			for _, target := range list(group["targets"]) {
				_, port, err := net.SplitHostPort(fmt.Sprint(target))
				if here := byPort[port]; err == nil && here != "" {
					targets = append(targets, here)
					found[here] = true
				}
			}
			group["targets"] = targets
		}
	}
	for _, job := range objects(config["scrape_configs"]) {
		retarget(job)
	}
	if !found[e.exporter] {
		return nil, errors.New("no job scrapes a target with port 10240, the exporter")
	}
	alerting, _ := config["alerting"].(object)
	for _, group := range objects(alerting["alertmanagers"]) {
		retarget(group)
	}
	if !found[e.alertmanager] {
		return nil, errors.New("no alertmanager with port 9093")
	}
	return yaml.Marshal(config)
}

// alertmanagerConfig makes alertmanager.yml send everything to our sinks, and without
// secrets: there are none here.
func alertmanagerConfig(data []byte, dir string, e endpoints) ([]byte, error) {
	var config object
	if err := yaml.Unmarshal(data, &config); err != nil {
		return nil, err
	}
	absolute(config, "templates", dir)
	global, _ := config["global"].(object)
	if global == nil {
		global = object{}
		config["global"] = global
	}
	without(global, "smtp_auth_", "smtp_tls_config")
	global["smtp_smarthost"], global["smtp_require_tls"] = e.mail, false
	for _, receiver := range objects(config["receivers"]) {
		for _, mail := range objects(receiver["email_configs"]) {
			without(mail, "auth_", "tls_config", "smarthost", "require_tls")
		}
		for _, hook := range objects(receiver["webhook_configs"]) {
			without(hook, "http_config", "url_file")
			hook["url"] = "http://" + e.sms + smsPath
		}
		for _, sns := range objects(receiver["sns_configs"]) {
			sns["api_url"] = "http://" + e.sms + snsPath
			// Requests are signed, whoever gets them.
			sns["sigv4"] = object{"region": "none", "access_key": "none", "secret_key": "none"}
		}
	}
	return yaml.Marshal(config)
}

// absolute makes the paths of a list independent of where the file is.
func absolute(config object, key, dir string) {
	paths := list(config[key])
	for i, path := range paths {
		if p := fmt.Sprint(path); !filepath.IsAbs(p) {
			paths[i] = filepath.Join(dir, filepath.FromSlash(p))
		}
	}
}

// without takes out all keys that begin so.
func without(o object, prefixes ...string) {
	for key := range o {
		for _, p := range prefixes {
			if strings.HasPrefix(key, p) {
				delete(o, key)
			}
		}
	}
}

func list(v any) []any { l, _ := v.([]any); return l }

// objects returns the objects of a list; changes of them are changes of the file.
func objects(v any) (os []object) {
	for _, one := range list(v) {
		if o, ok := one.(object); ok {
			os = append(os, o)
		}
	}
	return os
}
