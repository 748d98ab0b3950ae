package main

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mien/http/certs/testca"
)

// Without TLS only this machine is served, unless the user says otherwise; nothing is made before that is clear.
func TestInClear(t *testing.T) {
	busy, err := net.Listen("tcp", "0.0.0.0:0") // what is let through fails on the port, before the models
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, err := net.SplitHostPort(busy.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ca, dir := testca.New(t), t.TempDir()
	cert, key, _ := ca.Write(dir, "mien.test", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	for _, c := range []struct {
		env  []string
		args []string
		say  string
	}{
		{nil, []string{"--listen", "0.0.0.0:" + port}, "would travel in clear"},
		{nil, []string{"--listen", ":" + port}, "would travel in clear"},
		{nil, []string{"--listen", "[::]:" + port}, "would travel in clear"},
		{nil, []string{"--listen", "192.0.2.1:" + port}, "would travel in clear"},
		{nil, []string{"--listen", "127.0.0.1:" + port}, "in use by another program"},
		{nil, []string{"--listen", "localhost:" + port}, "in use by another program"},
		{nil, []string{"--listen", "0.0.0.0:" + port, "--insecure-listen"}, "in use by another program"},
		{[]string{"MIEN_INSECURE_LISTEN=true", "MIEN_LISTEN=0.0.0.0:" + port}, nil, "in use by another program"},
		{[]string{"MIEN_TLS_CERT=" + cert, "MIEN_TLS_KEY=" + key, "MIEN_LISTEN=0.0.0.0:" + port}, nil, "in use by another program"},
		{nil, []string{"--listen", "0.0.0.0:" + port, "--tls-cert", cert}, "belong together"},
		{nil, []string{"--tls-key", key}, "belong together"},
		{nil, []string{"--tls-client-ca", cert}, "--tls-client-ca needs"},
		{nil, []string{"--tls-cert", key, "--tls-key", cert}, "key.pem"},
		{nil, []string{"--tls-cert", filepath.Join(dir, "none.pem"), "--tls-key", key}, "none.pem: no such file"},
	} {
		data := filepath.Join(t.TempDir(), "data")
		args := append([]string{"serve", "--data", data}, c.args...)
		_, stderr, code := mien(t, append(setUp(t), c.env...), args...)
		var said []string
		for line := range strings.Lines(stderr) {
			if !strings.HasPrefix(line, "{") {
				said = append(said, line)
			}
		}
		if code != 1 || len(said) != 1 || !strings.Contains(said[0], c.say) {
			t.Errorf("%v %v: exit code %d, %q; want 1 and one line with %q", c.env, c.args, code, stderr, c.say)
		}
		if c.say == "would travel in clear" && (!strings.Contains(said[0], "--tls-cert") || !strings.Contains(said[0], "--insecure-listen")) {
			t.Errorf("%q does not say both ways out", said[0])
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("%v %v: the data folder was made", c.env, c.args)
		}
	}
}

// A server with a certificate of a private CA, as its users see it: the client with and without that CA, a renewal at
// SIGHUP, a broken one, demanded client certificates, and a stop.
func TestServeTLS(t *testing.T) {
	ca, dir := testca.New(t), t.TempDir()
	from, to := time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	cert, key, authority := ca.Write(dir, "mien.test", from, to)
	s := start(t, filepath.Join(t.TempDir(), "data"), "--tls-cert", cert, "--tls-key", key)
	u, err := url.Parse(s.url)
	if err != nil || u.Scheme != "https" || u.Hostname() != "127.0.0.1" {
		t.Fatalf("it serves on %q", s.url)
	}
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"galleries", "list"}, 1, "--ca names the authority"},
		{[]string{"galleries", "list", "--ca", authority}, 0, "no galleries"},
		{[]string{"galleries", "list", "--ca", key}, 1, "holds no certificate"},
		{[]string{"galleries", "list", "--ca", dir}, 1, "--ca: "},
		{[]string{"galleries", "list", "--ca", authority, "--client-cert", cert}, 1, "--client-cert and --client-key"},
		{[]string{"galleries", "list", "--server", "http://" + u.Host}, 1, "speaks https"},
	} {
		if out, stderr, code := s.run(c.args...); code != c.code || !strings.Contains(out+stderr, c.say) {
			t.Errorf("mien %v: %d, %q; want %d and %q", c.args, code, out+stderr, c.code, c.say)
		}
	}
	ca.Write(dir, "renewed.test", from, to)
	served := func(name string) bool {
		for range 100 {
			c, err := tls.Dial("tcp", u.Host, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
			if err != nil {
				t.Fatal(err)
			}
			got := c.ConnectionState().PeerCertificates[0].Subject.CommonName
			_ = c.Close()
			if got == name {
				return true
			}
			time.Sleep(20 * time.Millisecond)
		}
		return false
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if !served("renewed.test") {
		t.Error("SIGHUP did not bring the renewed certificate within 2 s")
	}
	if err := os.WriteFile(key, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if out, stderr, code := s.run("galleries", "list", "--ca", authority); code != 0 {
		t.Errorf("with a broken key on the disk: %d %s%s", code, out, stderr)
	}
	time.Sleep(6 * time.Second) // the next look by itself
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, s.log)
	}
	if n := strings.Count(s.log.String(), "certificate not reloaded"); n != 1 || strings.Contains(s.log.String(), "PRIVATE") {
		t.Errorf("%d words on the broken key:\n%s", n, s.log)
	}
}

// With --tls-client-ca only clients with a certificate of it get in.
func TestServeMutualTLS(t *testing.T) {
	ca, others := testca.New(t), testca.New(t)
	from, to := time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	cert, key, authority := ca.Write(t.TempDir(), "mien.test", from, to)
	mine, mineKey, _ := ca.Write(t.TempDir(), "client", from, to)
	theirs, theirsKey, _ := others.Write(t.TempDir(), "client", from, to)
	s := start(t, filepath.Join(t.TempDir(), "data"), "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", authority)
	for _, c := range []struct {
		args []string
		code int
	}{
		{nil, 1}, {[]string{"--client-cert", mine, "--client-key", mineKey}, 0}, {[]string{"--client-cert", theirs, "--client-key", theirsKey}, 1},
	} {
		if out, stderr, code := s.run(append([]string{"galleries", "list", "--ca", authority}, c.args...)...); code != c.code {
			t.Errorf("%v: exit code %d, %s%s; want %d", c.args, code, out, stderr, c.code)
		}
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, s.log)
	}
}

func TestDoctorOnCertificates(t *testing.T) {
	ca := testca.New(t)
	now := time.Now()
	for _, c := range []struct {
		from, to time.Time
		say      string
	}{
		{now.Add(-time.Hour), now.AddDate(1, 0, 0), "ok    certificate"},
		{now.AddDate(-1, 0, 0), now.AddDate(0, 0, 3), "warn  certificate"},
		{now.AddDate(-1, 0, 0), now.AddDate(0, 0, -3), "fail  certificate"},
		{now.AddDate(0, 0, 1), now.AddDate(1, 0, 0), "fail  certificate"},
	} {
		cert, key, _ := ca.Write(t.TempDir(), "mien.test", c.from, c.to)
		found := text((&doctorCmd{tlsFlags: tlsFlags{TLSCert: cert, TLSKey: key}}).certificate())
		if !strings.Contains(found, c.say) {
			t.Errorf("%v to %v: %q, want %q", c.from, c.to, found, c.say)
		}
		if err := os.Chmod(key, 0o644); err != nil {
			t.Fatal(err)
		}
		if found := text((&doctorCmd{tlsFlags: tlsFlags{TLSCert: cert, TLSKey: key}}).certificate()); !strings.Contains(found, "warn  secrets") {
			t.Errorf("a key that all can read: %q", found)
		}
		if found := text((&doctorCmd{tlsFlags: tlsFlags{TLSCert: key, TLSKey: cert}}).certificate()); !strings.Contains(found, "fail  certificate") {
			t.Errorf("exchanged files: %q", found)
		}
	}
	if found := (&doctorCmd{}).certificate(); len(found) != 0 {
		t.Errorf("without a certificate: %v", found)
	}
}

// The URL that is printed must be one that the certificate stands for.
func TestAddress(t *testing.T) {
	ca := testca.New(t)
	var f tlsFlags
	f.TLSCert, f.TLSKey, _ = ca.Write(t.TempDir(), "mien.test", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	source, err := f.open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]string{"127.0.0.1": "https://127.0.0.1:80", "0.0.0.0": "https://localhost:80", "::1": "https://localhost:80"} {
		if got := address(&net.TCPAddr{IP: net.ParseIP(ip), Port: 80}, source); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
	if got := address(&net.TCPAddr{IP: net.IPv6loopback, Port: 80}, nil); got != "http://[::1]:80" {
		t.Errorf("plain: %s", got)
	}
}
