package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mien/http/certs/testca"
)

const day = 24 * time.Hour

// source is a Source of a fresh certificate that is valid from an hour ago for so long, and what it logs.
func source(t *testing.T, ca *testca.CA, life time.Duration, withClients bool) (*Source, *bytes.Buffer) {
	t.Helper()
	var f Files
	f.Cert, f.Key, f.ClientCA = ca.Write(t.TempDir(), "mien.test", time.Now().Add(-time.Hour), time.Now().Add(life-time.Hour))
	if !withClients {
		f.ClientCA = ""
	}
	log := new(bytes.Buffer)
	s, err := Open(f, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, log
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenErrors(t *testing.T) {
	ca, dir := testca.New(t), t.TempDir()
	cert, key, authority := ca.Write(dir, "mien.test", time.Now(), time.Now().Add(day))
	_, otherKey := ca.Issue("other.test", time.Now(), time.Now().Add(day))
	other, none, empty := filepath.Join(dir, "other.pem"), filepath.Join(dir, "none.pem"), filepath.Join(dir, "empty.pem")
	write(t, other, otherKey)
	write(t, empty, nil)
	for _, c := range []struct {
		files Files
		say   string
	}{
		{Files{none, key, ""}, "none.pem"},
		{Files{cert, none, ""}, "none.pem"},
		{Files{cert, key, none}, "none.pem"},
		{Files{cert, other, ""}, "private key does not match"},
		{Files{key, cert, ""}, "key.pem"},
		{Files{empty, key, ""}, "empty.pem"},
		{Files{cert, key, key}, "key.pem holds no certificate"},
		{Files{cert, key, empty}, "empty.pem holds no certificate"},
		{Files{cert, key, authority}, ""},
		{Files{cert, key, ""}, ""},
	} {
		_, err := Open(c.files, slog.New(slog.DiscardHandler))
		if (err == nil) != (c.say == "") || err != nil && (!strings.Contains(err.Error(), c.say) || strings.Contains(err.Error(), "PRIVATE")) {
			t.Errorf("%+v: %v, want %q", c.files, err, c.say)
		}
	}
}

// Whatever is wrong with new files, the old configuration stays, and one line says why; what mends them is taken.
func TestBrokenPairIsNotTaken(t *testing.T) {
	ca := testca.New(t)
	s, log := source(t, ca, 90*day, true)
	good, now := s.Config(), time.Now()
	goodCert, err := os.ReadFile(s.files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	newCert, newKey := ca.Issue("new.test", now.Add(-time.Hour), now.Add(90*day))
	expired, expiredKey := ca.Issue("mien.test", now.Add(-2*day), now.Add(-day))
	early, earlyKey := ca.Issue("mien.test", now.Add(day), now.Add(2*day))
	oldKey, err := os.ReadFile(s.files.Key)
	if err != nil {
		t.Fatal(err)
	}
	put := func(cert, key, authority []byte) {
		write(t, s.files.Cert, cert)
		write(t, s.files.Key, key)
		write(t, s.files.ClientCA, authority)
	}
	for name, c := range map[string]struct {
		cert, key, ca []byte
		say           string
	}{
		"half of a renewal": {newCert, oldKey, ca.PEM(), "private key does not match"},
		"cut":               {goodCert[:len(goodCert)/2], oldKey, ca.PEM(), "failed to find any PEM data"},
		"empty":             {nil, oldKey, ca.PEM(), "failed to find any PEM data"},
		"expired":           {expired, expiredKey, ca.PEM(), ErrExpired.Error()},
		"early":             {early, earlyKey, ca.PEM(), ErrNotYet.Error()},
		"no authority":      {goodCert, oldKey, []byte("x"), "holds no certificate"},
	} {
		put(goodCert, oldKey, ca.PEM())
		s.Reload()
		log.Reset()
		put(c.cert, c.key, c.ca)
		for range 3 {
			s.Reload()
		}
		if s.Config() != good {
			t.Errorf("%s: the configuration was replaced", name)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, c.say) {
			t.Errorf("%s: the log has %q; want one line with %q", name, text, c.say)
		}
	}
	if err := os.Remove(s.files.Key); err != nil {
		t.Fatal(err)
	}
	if s.Reload(); s.Config() != good {
		t.Error("no key: the configuration was replaced")
	}
	put(newCert, newKey, ca.PEM())
	if s.Reload(); s.Config() == good || s.Leaf().Subject.CommonName != "new.test" {
		t.Error("the renewed pair was not taken")
	}
	last := s.Config()
	write(t, s.files.Cert, newCert) // touched only
	if s.Reload(); s.Config() != last {
		t.Error("what did not change was loaded again")
	}
}

// A year without renewal: quiet, then a word a day from fourteen days before the end on.
func TestExpiryIsWarnedOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := source(t, testca.New(t), 100*day, false)
		pass := func(d time.Duration) {
			for range d / time.Hour {
				time.Sleep(time.Hour)
				s.Reload()
			}
		}
		log.Reset()
		pass(85 * day)
		if log.Len() > 0 {
			t.Errorf("too early: %s", log)
		}
		pass(14 * day)
		if n := strings.Count(log.String(), "expires soon"); n < 13 || n > 14 {
			t.Errorf("%d warnings in 14 days:\n%s", n, log)
		}
		log.Reset()
		pass(3 * day)
		if n := strings.Count(log.String(), "has expired"); n < 2 || n > 3 {
			t.Errorf("%d warnings in 3 days:\n%s", n, log)
		}
	})
}

// A signal reloads at once and says again what is wrong; without one it takes until the next tick.
func TestFollowNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := testca.New(t)
		s, log := source(t, ca, 90*day, false)
		now, done := make(chan os.Signal), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { s.Follow(ctx, time.Hour, now); close(done) }()
		old := s.Config()
		write(t, s.files.Cert, nil)
		log.Reset()
		for range 2 {
			now <- os.Interrupt
			synctest.Wait()
		}
		if strings.Count(log.String(), "not reloaded") != 2 || s.Config() != old {
			t.Errorf("%s", log)
		}
		cert, key := ca.Issue("new.test", time.Now().Add(-time.Hour), time.Now().Add(day))
		write(t, s.files.Cert, cert)
		write(t, s.files.Key, key)
		if time.Sleep(90 * time.Minute); s.Config() == old {
			t.Error("not reloaded by itself")
		}
		cancel()
		<-done
	})
}

func TestValidity(t *testing.T) {
	for _, c := range []struct {
		life, at time.Duration // of the certificate, since its begin
		want     error
	}{
		{90 * day, -time.Second, ErrNotYet}, {90 * day, 0, nil}, {90 * day, 75 * day, nil}, {90 * day, 77 * day, ErrExpires},
		{90 * day, 91 * day, ErrExpired}, {6 * day, 4 * day, nil}, {6 * day, 5 * day, ErrExpires}, {6 * day, 7 * day, ErrExpired},
	} {
		ca := testca.New(t)
		begin := time.Now().Add(-time.Hour)
		certPEM, keyPEM := ca.Issue("mien.test", begin, begin.Add(c.life))
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		if err := Validity(pair.Leaf, pair.Leaf.NotBefore.Add(c.at)); !errors.Is(err, c.want) {
			t.Errorf("%v of %v: %v, want %v", c.at, c.life, err, c.want)
		}
	}
}

// A session ends with its configuration: who showed a certificate of an authority that is no longer known does not come
// back on a ticket.
func TestSessionsEndWithReload(t *testing.T) {
	ca, gone := testca.New(t), testca.New(t)
	s, _ := source(t, ca, 90*day, true)
	write(t, s.files.ClientCA, gone.PEM())
	s.Reload()
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "mien.test", ClientSessionCache: tls.NewLRUClientSessionCache(8),
		Certificates: []tls.Certificate{gone.Pair("service")}}
	if resumed, err := s.greet(t, client); err != nil || resumed {
		t.Fatalf("first: %v, %v", resumed, err)
	}
	if resumed, err := s.greet(t, client); err != nil || !resumed {
		t.Fatalf("second: %v, %v; want a resumed session", resumed, err)
	}
	write(t, s.files.ClientCA, ca.PEM())
	s.Reload()
	if _, err := s.greet(t, client); err == nil {
		t.Error("a client of an authority that is gone was let in")
	}
}

// greet shakes hands as the server would and exchanges a byte each way, with which the client has its tickets.
func (s *Source) greet(t *testing.T, client *tls.Config) (resumed bool, err error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			served <- err
			return
		}
		defer nc.Close()
		c := tls.Server(nc, s.Config())
		_, err = io.CopyN(c, c, 1)
		served <- err
	}()
	c, err := tls.Dial("tcp", ln.Addr().String(), client)
	if err == nil {
		defer c.Close()
		resumed = c.ConnectionState().DidResume
		_, err = c.Write([]byte{1})
	}
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	return resumed, errors.Join(err, <-served)
}
