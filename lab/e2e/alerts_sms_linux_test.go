//go:build !race

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// smsToken is what the SMS provider wants to see.
const smsToken = "a token of this test"

// message is a mail or an SMS that somebody got.
type message struct {
	at   time.Time
	via  string // sms, sns, mail, or mail of the second Alertmanager
	to   string
	text string // of a mail: its subject

	plain, html string // of a mail
}

// String is what is compared: the time of day is not known before.
func (m message) String() string { return fmt.Sprintf("%s to %s: %s", m.via, m.to, clockless(m.text)) }

// inbox is what everybody got, in the order of arrival.
type inbox struct {
	mu   sync.Mutex
	list []message
}

func (in *inbox) add(m message) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.list = append(in.list, m)
}

func (in *inbox) all() []message {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.list)
}

// find returns the first message that reads like this.
func (in *inbox) find(text string) (message, bool) {
	all := in.all()
	i := slices.IndexFunc(all, func(m message) bool { return m.String() == text })
	if i < 0 {
		return message{}, false
	}
	return all[i], true
}

// lacks returns those of the texts that have not come yet.
func (in *inbox) lacks(texts []string) string {
	var lack []string
	for _, text := range texts {
		if _, ok := in.find(text); !ok {
			lack = append(lack, text)
		}
	}
	return strings.Join(lack, "\n")
}

// smsProvider takes JSON with a bearer token.
func smsProvider(t *testing.T, in *inbox) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct{ To, Text string }
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		switch err := decoder.Decode(&body); {
		case r.Header.Get("Authorization") != "Bearer "+smsToken:
			w.WriteHeader(http.StatusUnauthorized)
			t.Errorf("an SMS with the token %q", r.Header.Get("Authorization"))
		case err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/messages":
			w.WriteHeader(http.StatusBadRequest)
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		default:
			in.add(message{at: time.Now(), via: "sms", to: body.To, text: body.Text})
		}
	}
}

// startSNS takes what AWS SNS takes, signed with a key that it does not check, and
// returns its URL.
func startSNS(t *testing.T, in *inbox, certificate tls.Certificate) string {
	t.Helper()
	return startSink(t, certificate, func(w http.ResponseWriter, r *http.Request) {
		form := url.Values{}
		if err := r.ParseForm(); err == nil {
			form = r.PostForm
		}
		if form.Get("Action") != "Publish" || form.Get("Subject") != "" ||
			!strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="+awsKey+"/") {
			w.WriteHeader(http.StatusBadRequest)
			t.Errorf("%s %s: %v", r.Method, r.URL, form)
			return
		}
		in.add(message{at: time.Now(), via: "sns", to: form.Get("PhoneNumber"), text: form.Get("Message")})
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprint(w, `<PublishResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/"><PublishResult>`+
			`<MessageId>94f20ce6-13c5-43a0-9a9e-ca52d816e90b</MessageId></PublishResult></PublishResponse>`)
	})
}

// awsKey is the name of the key in the file of AWS credentials.
const awsKey = "AKIDEXAMPLE"

// startSink starts a server with TLS, and returns its URL.
func startSink(t *testing.T, certificate tls.Certificate, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}
