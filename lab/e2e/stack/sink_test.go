package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/smtp"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

// sinks starts them, lets them be used, ends them, and returns what they have shown,
// without the times of day.
func sinks(t *testing.T, use func(mail, sms string)) string {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	mail, sms, err := startSinks(ctx, g, &out)
	if err != nil {
		t.Fatal(err)
	}
	use(mail, sms)
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	var shown strings.Builder
	for line := range strings.Lines(out.String()) {
		if len(line) > 9 && line[2] == ':' && line[5] == ':' {
			line = line[9:]
		}
		shown.WriteString(line)
	}
	return shown.String()
}

func TestMailsAreShown(t *testing.T) {
	head := "From: a@example.net\r\nTo: b@example.net\r\nSubject: =?utf-8?q?PAR-1_=E2=80=93_down?=\r\n"
	for name, test := range map[string]struct{ mail, want string }{
		"text and HTML": {
			head + "Content-Type: multipart/alternative; boundary=x\r\n\r\n" +
				"--x\r\nContent-Type: text/html\r\n\r\n<p>no</p>\r\n" +
				"--x\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n182/256 =E2=86=93\r\nsince 14:02\r\n--x--\r\n",
			"    182/256 ↓\n    since 14:02\n",
		},
		"HTML alone": {
			head + "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>no</p>\r\n--x--\r\n",
			"    (it has no plain text)\n",
		},
		"text alone":          {head + "\r\nit is down\r\n", "    it is down\n"},
		"text that is quoted": {head + "Content-Transfer-Encoding: quoted-printable\r\n\r\nit is d=6Fwn\r\n", "    it is down\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := sinks(t, func(mail, _ string) {
				if err := smtp.SendMail(mail, nil, "a@example.net", []string{"b@example.net", "c@example.net"}, []byte(test.mail)); err != nil {
					t.Error(err)
				}
			})
			want := "\nmail to b@example.net, c@example.net\n    PAR-1 – down\n" + test.want
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsNoMailIsRefused(t *testing.T) {
	got := sinks(t, func(mail, _ string) {
		err := smtp.SendMail(mail, nil, "a@example.net", []string{"b@example.net"}, []byte("no header"))
		if err == nil || !strings.Contains(err.Error(), "the mail cannot be read") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	if got != "" {
		t.Errorf("shown: %q", got)
	}
}

func TestSMSAreShown(t *testing.T) {
	got := sinks(t, func(_, sms string) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for _, r := range []struct{ path, kind, body, want string }{
			{smsPath, "application/json", `{"to":"+33600000000","text":"PAR-1 DOWN"}`, ""},
			{snsPath + "/", "application/x-www-form-urlencoded", url.Values{"PhoneNumber": {"+33600000000"}, "Message": {"PAR-1 DOWN"}}.Encode(), snsAnswer},
		} {
			answer, err := client.Post("http://"+sms+r.path, r.kind, strings.NewReader(r.body))
			if err != nil {
				t.Error(err)
				continue
			}
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK || string(body) != r.want {
				t.Errorf("%s: %s %q, want %q", r.path, answer.Status, body, r.want)
			}
		}
	})
	want := "\nSMS to a provider by JSON\n    {\"to\":\"+33600000000\",\"text\":\"PAR-1 DOWN\"}\n" +
		"\nSMS by SNS to +33600000000\n    PAR-1 DOWN\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
