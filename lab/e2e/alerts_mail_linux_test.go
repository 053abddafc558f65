//go:build !race

package e2e

import (
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// What Alertmanager has to know to be let in by the mail server.
const (
	mailUser     = "alertmanager"
	mailPassword = "a password of this test"
)

// mailServer is an SMTP server that takes mails only over STARTTLS and from who knows
// the password, and puts them into the inbox.
type mailServer struct {
	inbox *inbox
	via   string // what its messages are marked with
}

// startMailServer starts it on a free port and returns its address.
func startMailServer(t *testing.T, in *inbox, via string, certificate tls.Certificate) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smtp.NewServer(&mailServer{in, via})
	s.Domain = "mail.example.net"
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	s.ReadTimeout, s.WriteTimeout = patience, patience
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// NewSession begins a connection.
func (m *mailServer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &mailSession{server: m, conn: c}, nil
}

// mailSession is one connection of a client.
type mailSession struct {
	server        *mailServer
	conn          *smtp.Conn
	authenticated bool
	to            []string
}

var _ smtp.AuthSession = (*mailSession)(nil)

// AuthMechanisms returns the one that is offered, behind STARTTLS only.
func (s *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

// Auth checks user and password.
func (s *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != mailUser || password != mailPassword {
			return smtp.ErrAuthFailed
		}
		s.authenticated = true
		return nil
	}), nil
}

// Mail begins a mail.
func (s *mailSession) Mail(string, *smtp.MailOptions) error {
	if _, encrypted := s.conn.TLSConnectionState(); !encrypted || !s.authenticated {
		return smtp.ErrAuthRequired
	}
	return nil
}

// Rcpt adds a recipient.
func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

// Data takes the mail.
func (s *mailSession) Data(r io.Reader) error {
	m, err := readMail(r)
	if err != nil {
		return err
	}
	m.via, m.at = s.server.via, time.Now()
	for _, m.to = range s.to {
		s.server.inbox.add(m)
	}
	return nil
}

// Reset forgets the mail that has begun.
func (s *mailSession) Reset() { s.to = nil }

// Logout ends the session.
func (s *mailSession) Logout() error { return nil }

// readMail takes a mail apart: its subject, and the two forms of its text.
func readMail(r io.Reader) (message, error) {
	var m message
	parsed, err := mail.ReadMessage(r)
	if err != nil {
		return m, err
	}
	if m.text, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		return m, err
	}
	_, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil {
		return m, err
	}
	parts := multipart.NewReader(parsed.Body, params["boundary"])
	for {
		// The raw part: whether it is quoted-printable is looked up here, not undone silently.
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m, nil
		} else if err != nil {
			return m, err
		}
		var from io.Reader = part
		if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
			from = quotedprintable.NewReader(part)
		}
		body, err := io.ReadAll(from)
		if err != nil {
			return m, err
		}
		switch kind := part.Header.Get("Content-Type"); {
		case strings.HasPrefix(kind, "text/plain"):
			m.plain = string(body)
		case strings.HasPrefix(kind, "text/html"):
			m.html = string(body)
		}
	}
}
