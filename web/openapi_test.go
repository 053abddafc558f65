package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/go-cmp/cmp"
)

func openAPI(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestEveryPathIsDescribed compares the paths of the file with those of the handler.
func TestEveryPathIsDescribed(t *testing.T) {
	served := []string{"/api/v1/routes", "/api/v1/routes/{prefix}"} // see registerRoutes
	for path := range newAPI(Options{}).handlers() {
		served = append(served, pathAPI+strings.ReplaceAll(path, "...}", "}"))
	}
	slices.Sort(served)
	var described []string
	for path := range openAPI(t).Paths.Map() {
		described = append(described, path)
	}
	slices.Sort(described)
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("(-served +described):\n%s", diff)
	}
}

// TestAnswersAreAsDescribed holds the answer of each path, with each parameter, and each
// kind of error against the file.
func TestAnswersAreAsDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doc := openAPI(t)
		w := newWorld(t)
		w.live(t)
		w.prober.troubles = []Trouble{{Reason: "clock_step", Detail: "the clock went back by 2s", Last: time.Now()}}
		seen := map[string]bool{}
		for _, test := range []struct {
			path, params, query string
			status              int
		}{
			{"/api/v1/summary", "", "", 200},
			{"/api/v1/summary", "", "a=b", 400},
			{"/api/v1/prefixes", "", "", 200},
			{"/api/v1/prefixes", "", "a=b", 400},
			{"/api/v1/prefixes/{prefix}", "192.0.2.0/24", "", 200},
			{"/api/v1/prefixes/{prefix}", "2001:db8::/64", "", 200},
			{"/api/v1/prefixes/{prefix}", "2001:db8:0:1::/64", "", 200},
			{"/api/v1/prefixes/{prefix}", "x", "", 400},
			{"/api/v1/prefixes/{prefix}", "198.51.100.0/24", "", 404},
			{"/api/v1/ips/{ip}", "192.0.2.1", "", 200},
			{"/api/v1/ips/{ip}", "192.0.2.4", "", 200},
			{"/api/v1/ips/{ip}", "192.0.2.255", "", 200},
			{"/api/v1/ips/{ip}", "2001:db8::1", "", 200},
			{"/api/v1/ips/{ip}", "2001:db8:0:1::1", "", 200},
			{"/api/v1/ips/{ip}", "x", "", 400},
			{"/api/v1/ips/{ip}", "192.0.2.99", "", 404},
			{"/api/v1/history/{prefix}", "192.0.2.0/24", "", 200},
			{"/api/v1/history/{prefix}", "192.0.2.0/24", "probe=tcp&port=443&span=minute", 200},
			{"/api/v1/history/{prefix}", "192.0.2.0/24", "probe=icmp&span=hour", 200},
			{"/api/v1/history/{prefix}", "192.0.2.0/24", "span=day", 400},
			{"/api/v1/history/{prefix}", "198.51.100.0/24", "", 404},
			{"/api/v1/routes", "", "", 200},
			{"/api/v1/routes", "", "a=b", 400},
			{"/api/v1/routes/{prefix}", "192.0.2.0/24", "", 200},
			{"/api/v1/routes/{prefix}", "2001:db8::/64", "", 200},
			{"/api/v1/routes/{prefix}", "2001:db8:0:1::/64", "", 200},
			{"/api/v1/routes/{prefix}", "x", "", 400},
			{"/api/v1/routes/{prefix}", "198.51.100.0/24", "", 404},
			{"/api/v1/references/{kind}", "nominal", "", 200},
			{"/api/v1/references/{kind}", "variation", "", 200},
			{"/api/v1/references/{kind}", "median", "", 404},
			{"/api/v1/references/{kind}", "mean", "a=b", 400},
			{"/api/v1/events", "", "follow=false", 200},
			{"/api/v1/events", "", "follow=false&after=1&limit=2&prefix=192.0.2.0/24&ip=192.0.2.1&probes=0", 200},
			{"/api/v1/events", "", "limit=0", 400},
			{"/api/v1/events", "", "ip=192.0.2.99", 404},
			{"/api/v1/frames", "", "after=x", 400},
		} {
			seen[test.path] = true
			describe(t, doc, w.handler, test.path, test.params, test.query, test.status)
		}
		misdirected := handler(t, &prober{}, true)
		for path := range doc.Paths.Map() {
			if !seen[path] {
				t.Errorf("%s is not tried", path)
			}
			describe(t, doc, misdirected, path, "x", "", 421) // the requests are for example.com
		}
	})
}

// describe asks and compares the answer, and the question if it is not to fail, with the file.
func describe(t *testing.T, doc *openapi3.T, h http.Handler, path, param, query string, status int) {
	t.Helper()
	params := map[string]string{}
	target := path
	if before, name, ok := strings.Cut(path, "{"); ok {
		params[strings.TrimSuffix(name, "}")] = param
		target = before + param
	}
	target += "?" + query
	request := httptest.NewRequest("GET", target, nil)
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	if answer.Code != status {
		t.Errorf("%s: status %d, want %d: %s", target, answer.Code, status, answer.Body)
		return
	}
	item := doc.Paths.Value(path)
	options := &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: strings.Contains(answer.Header().Get("Content-Type"), "ndjson")}
	in := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: params, Options: options,
		Route: &routers.Route{Spec: doc, Path: path, PathItem: item, Method: "GET", Operation: item.Get},
	}
	if status == 200 {
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: status, Header: answer.Header(),
		Body: io.NopCloser(bytes.NewReader(answer.Body.Bytes())), Options: options,
	}
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s: %v", target, err)
	}
	if options.ExcludeResponseBody { // one record a line
		for line := range bytes.Lines(answer.Body.Bytes()) {
			describeRecord(t, doc, line)
		}
	}
}

// describeRecord compares one line of a stream with the file.
func describeRecord(t *testing.T, doc *openapi3.T, line []byte) {
	t.Helper()
	var record any
	if err := json.Unmarshal(line, &record); err != nil {
		t.Errorf("%v: %s", err, line)
		return
	}
	if err := doc.Components.Schemas["Record"].Value.VisitJSON(record); err != nil {
		t.Errorf("%s: %v", line, err)
	}
}
