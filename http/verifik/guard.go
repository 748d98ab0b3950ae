package verifik

import (
	"errors"
	"net"
	nethttp "net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// guard keeps webhooks from what an administrator of a tenant can reach through this server and must not: services of its machine and
// of its networks (server-side request forgery). What decides is the address that a connection is about to be made to, after the name
// was resolved, so a name that means another address a moment later gains nothing.
type guard struct {
	http    bool // http: URLs are allowed
	private bool // and addresses that are not public
}

const maxURLBytes = 2048

// checkURL refuses a URL that nothing may be sent to. Its errors are for clients.
func (g guard) checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || len(raw) > maxURLBytes || u.Host == "" || u.Opaque != "":
		return errors.New("give a whole URL, as in https://example.org/events")
	case u.Scheme != "https" && !(g.http && u.Scheme == "http"):
		return errors.New("it must be https")
	case u.User != nil || u.Fragment != "":
		return errors.New("it may have neither a user nor a fragment")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !g.allows(ip) || !g.private && isLocalName(u.Hostname()) {
		return errNotPublic
	}
	return nil
}

func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal")
}

// errNotPublic says that an address is of this machine or of a network that is not public.
var errNotPublic = errors.New("its address is not a public one")

// notPublic are the address blocks that are not for the whole world (IANA's special-purpose registries, RFC 6890), and those that carry
// an IPv4 address within (NAT64, 6to4, Teredo).
var notPublic = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
	"fec0::/10", "ff00::/8")

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, t := range texts {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

func (g guard) allows(ip netip.Addr) bool {
	if g.private {
		return true
	}
	ip = ip.Unmap().WithZone("")
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.IsValid()
}

// control is called with the address that a socket is about to be connected to (net.Dialer.Control).
func (g guard) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !g.allows(at.Addr()) {
		return errNotPublic
	}
	return nil
}

// Limits of one delivery.
const (
	sendTimeout      = 10 * time.Second
	handshakeTimeout = 5 * time.Second
	maxAnswerHeader  = 16 << 10
)

// client follows no redirects, which could lead elsewhere, keeps no connections, and asks no proxy of the environment, which would
// connect in its place.
func (g guard) client() *nethttp.Client {
	dialer := &net.Dialer{Timeout: handshakeTimeout, Control: g.control}
	return &nethttp.Client{
		Timeout:       sendTimeout,
		CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse },
		Transport: &nethttp.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: handshakeTimeout, ResponseHeaderTimeout: sendTimeout, DisableKeepAlives: true,
			MaxResponseHeaderBytes: maxAnswerHeader,
		},
	}
}
