package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"mien/http/certs"
)

// tlsFlags say where the certificate is, if there is one.
type tlsFlags struct {
	TLSCert     string `name:"tls-cert" help:"PEM file of the certificate to serve https with, its chain after it; read again when it changes." env:"MIEN_TLS_CERT" type:"path" placeholder:"FILE"`
	TLSKey      string `name:"tls-key" help:"PEM file of the certificate's key." env:"MIEN_TLS_KEY" type:"path" placeholder:"FILE"`
	TLSClientCA string `name:"tls-client-ca" help:"PEM file of the authorities of client certificates, without which nobody is let in then." env:"MIEN_TLS_CLIENT_CA" type:"path" placeholder:"FILE"`
}

// open reads the files; it returns nil if none is named.
func (f tlsFlags) open(log *slog.Logger) (*certs.Source, error) {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return nil, errors.New("--tls-cert and --tls-key belong together: give both or none")
	case f.TLSCert == "" && f.TLSClientCA != "":
		return nil, errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	case f.TLSCert == "":
		return nil, nil
	}
	return certs.Open(certs.Files{Cert: f.TLSCert, Key: f.TLSKey, ClientCA: f.TLSClientCA}, log)
}

// certificateEvery is how often the files are read; 10 KB each time.
const certificateEvery = 5 * time.Second

// follow keeps up with the files, and SIGHUP, until ctx ends or stop is called, which waits. A nil source has none.
func follow(ctx context.Context, source *certs.Source) (stop func()) {
	if source == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	now := make(chan os.Signal, 1)
	signal.Notify(now, syscall.SIGHUP)
	var wg sync.WaitGroup
	wg.Go(func() { source.Follow(ctx, certificateEvery, now) })
	return func() {
		signal.Stop(now)
		cancel()
		wg.Wait()
	}
}

// address is the server's URL, by a name that the certificate has if it has not the address.
func address(addr net.Addr, source *certs.Source) string {
	if source == nil {
		return "http://" + addr.String()
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		panic("BUG: an address without a port: " + addr.String())
	}
	for _, name := range source.Leaf().DNSNames {
		if source.Leaf().VerifyHostname(host) != nil && !strings.Contains(name, "*") {
			host = name
		}
	}
	return "https://" + net.JoinHostPort(host, port)
}

// certificate checks the files as serve would read them.
func (c *doctorCmd) certificate() []finding {
	source, err := c.open(slog.New(slog.DiscardHandler))
	if err != nil {
		return []finding{ok("certificate", "%v", err).but("fail", "correct --tls-cert, --tls-key and --tls-client-ca, or their files")}
	}
	if source == nil {
		return nil
	}
	found := append(secret(c.TLSKey, "warn"), ok("certificate", "%s with its key, until %s", c.TLSCert, source.Leaf().NotAfter.Format(time.DateOnly)))
	last := &found[len(found)-1]
	switch err := certs.Validity(source.Leaf(), time.Now()); {
	case errors.Is(err, certs.ErrExpires):
		*last = ok("certificate", "%s: %v", c.TLSCert, err).but("warn", "renew it: a running server takes the new files by itself")
	case err != nil:
		*last = ok("certificate", "%s: %v", c.TLSCert, err).but("fail", "renew it: a running server takes the new files by itself")
	}
	return found
}
