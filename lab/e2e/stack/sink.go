package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"
)

const (
	// smsPath takes the JSON of an SMS provider, snsPath the form of AWS SNS.
	smsPath = "/sms"
	snsPath = "/sns"
	// maxMessage is more than a mail about every address of forty /24s.
	maxMessage = 16 << 20
	// sinkTimeout is for one command or request from this machine.
	sinkTimeout = 30 * time.Second
)

// snsAnswer is what AWS SNS says to a Publish that it took
// (SNS API reference, Publish, response elements).
const snsAnswer = `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult>` +
	`<MessageId>none</MessageId></PublishResult></PublishResponse>`

// sink shows the messages that others would have got.
type sink struct {
	mu  sync.Mutex
	out io.Writer
}

// show prints one message in one piece.
func (s *sink) show(kind, to, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\n%s %s to %s\n", time.Now().Format(time.TimeOnly), kind, to)
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintf(s.out, "    %s\n", strings.TrimRight(line, "\r\n"))
	}
}

// startSinks adds to the group a mail server and an SMS provider, which serve until the
// context ends, and returns their addresses.
func startSinks(ctx context.Context, g *errgroup.Group, out io.Writer) (mailAddress, smsAddress string, err error) {
	mails, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	texts, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		mails.Close()
		return "", "", err
	}
	s := &sink{out: out}
	mailServer := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{sink: s}, nil }))
	mailServer.Domain = "localhost"
	mailServer.MaxMessageBytes = maxMessage
	mailServer.ReadTimeout, mailServer.WriteTimeout = sinkTimeout, sinkTimeout
	mailServer.ErrorLog = log.New(out, "mail sink: ", 0)
	textServer := &http.Server{Handler: s.handler(), ReadTimeout: sinkTimeout}
	g.Go(func() error { return served(mailServer.Serve(mails), smtp.ErrServerClosed) })
	g.Go(func() error { return served(textServer.Serve(texts), http.ErrServerClosed) })
	g.Go(func() error {
		<-ctx.Done()
		// Whoever still talks is one of the programs, which end as well.
		err := errors.Join(mailServer.Close(), textServer.Close())
		_ = mails.Close() // for a server that had not begun to listen when it was closed
		return err
	})
	return mails.Addr().String(), texts.Addr().String(), nil
}

// served returns why a server ended, if not because it was told to.
func served(err, closed error) error {
	if errors.Is(err, closed) {
		return nil
	}
	return err
}

// handler takes SMS.
func (s *sink) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+smsPath, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.show("SMS", "a provider by JSON", string(body))
	})
	mux.HandleFunc("POST "+snsPath+"/{$}", s.sns)
	mux.HandleFunc("POST "+snsPath, s.sns)
	return mux
}

// sns takes a Publish of AWS SNS.
func (s *sink) sns(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxMessage)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.show("SMS by SNS", r.Form.Get("PhoneNumber")+r.Form.Get("TopicArn"), r.Form.Get("Message"))
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprint(w, snsAnswer)
}

// session is one connection of a client that sends mail.
type session struct {
	sink *sink
	to   []string
}

var _ smtp.Session = (*session)(nil)

// Mail implements smtp.Session.
func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	subject, text, err := readMail(r)
	if err != nil {
		// Alertmanager sees the refusal, and the user what was wrong.
		return fmt.Errorf("the mail cannot be read: %w", err)
	}
	s.sink.show("mail", strings.Join(s.to, ", "), subject+"\n"+text)
	return nil
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.to = nil }

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }

// readMail returns the subject and the plain text of a mail; without one, all of its body.
func readMail(r io.Reader) (subject, text string, err error) {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return "", "", err
	}
	if subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return "", "", err
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		var body io.Reader = m.Body
		if strings.EqualFold(m.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
			body = quotedprintable.NewReader(body)
		}
		all, err := io.ReadAll(body)
		return subject, string(all), err
	}
	for parts := multipart.NewReader(m.Body, parameters["boundary"]); ; {
		part, err := parts.NextPart() // decodes quoted-printable
		if errors.Is(err, io.EOF) {
			return subject, "(it has no plain text)", nil
		} else if err != nil {
			return "", "", err
		}
		if kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")); kind == "text/plain" {
			all, err := io.ReadAll(part)
			return subject, string(all), err
		}
	}
}
