// Package certs keeps a server's TLS configuration as its files are: a certificate with its key, and the authorities of
// client certificates if those are demanded.
//
// It promises:
//
//  1. A configuration is whole: certificate, key and authorities were read together and fit each other.
//  2. What does not load, or is not valid now, never replaces what does: the configuration in use stays, and each reason is
//     logged once.
//  3. TLS 1.2 at least, with Go's suites; HTTP/1.1 alone is offered. Sessions end with their configuration: after a change
//     everyone shakes hands anew and shows a certificate that the new authorities know.
//
// Files are compared by content, not by time: a link that is turned elsewhere counts, a file that is merely touched does not.
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Errors of Validity.
var (
	// ErrExpired means that the certificate was valid once.
	ErrExpired = errors.New("certs: the certificate has expired")
	// ErrNotYet means that the certificate will be valid later.
	ErrNotYet = errors.New("certs: the certificate is not valid yet")
	// ErrExpires means that the certificate is valid, but not for long: see Validity.
	ErrExpires = errors.New("certs: the certificate expires soon")
)

// Files are paths of PEM files.
type Files struct {
	Cert     string // the certificate, then what is between it and its root
	Key      string
	ClientCA string // authorities of client certificates, which are demanded then; "": none are
}

// loaded is what the files held. Immutable.
type loaded struct {
	content [sha256.Size]byte // hash of all files
	config  *tls.Config
	leaf    *x509.Certificate
}

// load reads the files. Errors name the file; they never hold what it contains.
func (f Files) load() (*loaded, error) {
	parts := make([][]byte, 3)
	for i, name := range []string{f.Cert, f.Key, f.ClientCA} {
		if name == "" && i == 2 {
			continue
		}
		var err error
		if parts[i], err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("certs: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(parts[0], parts[1])
	if err != nil {
		return nil, fmt.Errorf("certs: %s with the key %s: %w", f.Cert, f.Key, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{pair}}
	if f.ClientCA != "" {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(parts[2]) {
			return nil, fmt.Errorf("certs: %s holds no certificate", f.ClientCA)
		}
	}
	return &loaded{sha256.Sum256(fmt.Appendf(nil, "%q", parts)), c, pair.Leaf}, nil
}

// Source follows the files. Config and Leaf are safe for concurrent use; Reload and Follow are one goroutine's.
type Source struct {
	files   Files
	log     *slog.Logger
	current atomic.Pointer[loaded]
	failure string    // that was logged last and lasts
	warned  time.Time // when validity was logged last
}

// Open reads the files. A certificate that is expired or not yet valid is taken, with a warning in the log: a server that
// does not start would be worse.
func Open(f Files, log *slog.Logger) (*Source, error) {
	l, err := f.load()
	if err != nil {
		return nil, err
	}
	s := &Source{files: f, log: log}
	s.use(l)
	return s, nil
}

func (s *Source) use(l *loaded) {
	s.current.Store(l)
	s.failure, s.warned = "", time.Time{}
	s.log.Info("certificate", "names", strings.Join(names(l.leaf), " "), "expires", l.leaf.NotAfter, "client_certificates", s.files.ClientCA != "")
	s.warn()
}

func names(leaf *x509.Certificate) []string {
	list := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}

// Config is the configuration to shake hands with now; the same pointer until the files change. It must not be modified.
func (s *Source) Config() *tls.Config { return s.current.Load().config }

// Leaf is the certificate in use. It must not be modified.
func (s *Source) Leaf() *x509.Certificate { return s.current.Load().leaf }

// Follow reloads every so often, and when there is something in now, until ctx ends. Once a day it warns of a certificate
// that Validity has something to say of.
func (s *Source) Follow(ctx context.Context, every time.Duration, now <-chan os.Signal) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-now:
			s.failure = "" // who asks may be told again
		case <-tick.C:
		}
		s.Reload()
	}
}

// Reload reads the files and takes what they hold if it is another and good. New handshakes get it; open connections go on.
func (s *Source) Reload() {
	l, err := s.files.load()
	if err == nil && l.content == s.current.Load().content {
		s.failure = ""
		s.warn()
		return
	}
	if err == nil {
		err = unusable(l.leaf)
	}
	if err == nil {
		s.use(l)
		return
	}
	if text := err.Error(); text != s.failure {
		s.failure = text
		s.log.Error("certificate not reloaded: the one before stays in use", "error", err, "expires", s.Leaf().NotAfter)
	}
	s.warn()
}

// unusable is the error of a certificate that can't be verified now.
func unusable(leaf *x509.Certificate) error {
	if err := Validity(leaf, time.Now()); !errors.Is(err, ErrExpires) {
		return err
	}
	return nil
}

// warn logs at most once a day what is wrong with the certificate in use.
func (s *Source) warn() {
	now := time.Now()
	err := Validity(s.Leaf(), now)
	if err == nil || now.Sub(s.warned) < 24*time.Hour {
		return
	}
	s.warned = now
	s.log.Warn("renew the certificate", "problem", err, "file", s.files.Cert)
}

// Validity says whether the certificate can be verified at a time: nil, or an error that is ErrExpired, ErrNotYet, or
// ErrExpires in the last fifth of its life, of which 14 days at most. (Whatever renews certificates does so with a third
// of that left.)
func Validity(leaf *x509.Certificate, at time.Time) error {
	soon := min(14*24*time.Hour, leaf.NotAfter.Sub(leaf.NotBefore)/5)
	switch {
	case at.Before(leaf.NotBefore):
		return fmt.Errorf("%w, but from %s on", ErrNotYet, leaf.NotBefore.Format(time.RFC3339))
	case at.After(leaf.NotAfter):
		return fmt.Errorf("%w at %s", ErrExpired, leaf.NotAfter.Format(time.RFC3339))
	case at.Add(soon).After(leaf.NotAfter):
		return fmt.Errorf("%w, at %s", ErrExpires, leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}
