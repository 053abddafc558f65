package web

import (
	"mime"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestThePageIsServedAtEachOfItsPaths(t *testing.T) {
	h := handler(t, &prober{}, false)
	for _, path := range []string{"/", "/?prefix=192.0.2.0/24", "/ip/192.0.2.7", "/ip/2001:db8::1"} {
		w := request(h, "GET", path, "")
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(strings.ToLower(w.Body.String()), "<!doctype html>") {
			t.Errorf("%s: status %d, %v", path, w.Code, w.Header())
		}
	}
}

func TestAssets(t *testing.T) {
	all, err := newAssets()
	if err != nil {
		t.Fatal(err)
	}
	h := handler(t, &prober{}, false)
	for path, file := range all {
		w := request(h, "GET", path, "")
		if w.Code != 200 || w.Body.Len() != len(file.data) {
			t.Errorf("%s: status %d, %d bytes", path, w.Code, w.Body.Len())
		}
		if media, _, err := mime.ParseMediaType(w.Header().Get("Content-Type")); err != nil || strings.HasSuffix(path, ".js") && media != "text/javascript" {
			t.Errorf("%s: %q, %v", path, w.Header().Get("Content-Type"), err)
		}
		tag := w.Header().Get("ETag")
		if again := request(h, "GET", path, "", "If-None-Match", tag); again.Code != 304 || again.Body.Len() > 0 {
			t.Errorf("%s: asked again with %s: status %d, %d bytes", path, tag, again.Code, again.Body.Len())
		}
		if other := request(h, "GET", path, "", "If-None-Match", `"another"`); other.Code != 200 {
			t.Errorf("%s: another version: status %d", path, other.Code)
		}
	}
	for _, path := range []string{"/assets/", "/assets/nothing.js", "/ip/", "/ip/192.0.2.0/24"} {
		if w := request(h, "GET", path, ""); w.Code != 404 {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
}

// TestThePageAsksForWhatIsThere looks at each file that the page names.
func TestThePageAsksForWhatIsThere(t *testing.T) {
	h := handler(t, &prober{}, false)
	page := request(h, "GET", "/", "").Body.String()
	names := regexp.MustCompile(`(?:href|src)="(/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(names) == 0 {
		t.Error("it names nothing")
	}
	for _, name := range names {
		if w := request(h, "GET", name[1], ""); w.Code == 404 {
			t.Errorf("%s is not there", name[1])
		}
	}
}

func TestACompleteAnswerToAHeadRequest(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/api/v1/summary", "/api/v1/events", "/api/v1/frames"} {
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, httptest.NewRequest("HEAD", path, nil))
		if answer.Code != 200 || answer.Header().Get("Content-Type") == "" {
			t.Errorf("%s: status %d, %v", path, answer.Code, answer.Header())
		}
	}
}
