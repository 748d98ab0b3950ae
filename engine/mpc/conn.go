package mpc

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"time"
)

// Role is who a certificate is of: "party0" to "party2", or "gateway-0" to "gateway-65535". It is the certificate's one
// DNS name.
type Role string

// PartyRole is the role of party i, 0 to 2.
func PartyRole(i int) Role { return Role("party" + strconv.Itoa(i)) }

// GatewayRole is the role of a gateway.
func GatewayRole(index uint16) Role { return Role("gateway-" + strconv.Itoa(int(index))) }

// Party is the index of a party's role.
func (r Role) Party() (index int, ok bool) {
	for i := range Parties {
		if r == PartyRole(i) {
			return i, true
		}
	}
	return 0, false
}

// Gateway is the index of a gateway's role.
func (r Role) Gateway() (index uint16, ok bool) {
	s, ok := strings.CutPrefix(string(r), "gateway-")
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), ok && err == nil && r == GatewayRole(uint16(n))
}

// Valid tells whether r is a role.
func (r Role) Valid() bool {
	_, party := r.Party()
	_, gateway := r.Gateway()
	return party || gateway
}

// Pin is the SHA-256 of a certificate's public key (SubjectPublicKeyInfo, DER). A certificate's dates and signature
// don't count: what is pinned is the key.
type Pin [sha256.Size]byte

// Identity is a role with its key.
type Identity struct {
	Role        Role
	Certificate tls.Certificate
}

// NewIdentity makes an Ed25519 key and its certificate.
func NewIdentity(role Role) (Identity, error) {
	if !role.Valid() {
		return Identity{}, fmt.Errorf("%w: no role is called %q", ErrPeer, role)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: string(role)}, DNSNames: []string{string(role)},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no end
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return Identity{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return Identity{role, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}}, err
}

// ParseIdentity reads a certificate and a private key, both PEM. ErrPeer says that the certificate names no role.
func ParseIdentity(certPEM, keyPEM []byte) (Identity, error) {
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return Identity{}, fmt.Errorf("mpc: read a certificate and its key: %w", err)
	}
	role, err := roleOf(c.Leaf)
	return Identity{role, c}, err
}

// PEM is what ParseIdentity reads.
func (id Identity) PEM() (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(id.Certificate.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.Certificate.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Pin is what others pin this identity by.
func (id Identity) Pin() Pin { return pinOf(id.Certificate.Leaf) }

func pinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

func roleOf(c *x509.Certificate) (Role, error) {
	if len(c.DNSNames) != 1 || !Role(c.DNSNames[0]).Valid() {
		return "", fmt.Errorf("%w: its certificate names no role", ErrPeer)
	}
	return Role(c.DNSNames[0]), nil
}

// Pins are who may connect, and by which key.
type Pins map[Role]Pin

// check returns the role of the other end's certificate if its key is the one pinned for that role.
func (p Pins) check(s tls.ConnectionState) (Role, error) {
	if len(s.PeerCertificates) == 0 {
		return "", fmt.Errorf("%w: it has no certificate", ErrPeer)
	}
	role, err := roleOf(s.PeerCertificates[0])
	if err != nil {
		return "", err
	}
	if pin, ok := p[role]; !ok || pin != pinOf(s.PeerCertificates[0]) {
		return "", fmt.Errorf("%w: its key is not the one pinned for %s", ErrPeer, role)
	}
	return role, nil
}

// handshakeTimeout bounds what a stranger can hold a connection open for.
const handshakeTimeout = 5 * time.Second

// Conn is a mutually authenticated TLS 1.3 connection. It is made anew each time: nothing is resumed, so each has keys
// of its own.
type Conn struct {
	tls  *tls.Conn
	peer Role
}

// Dial connects to addr, "host:port", and makes sure that peer is there, by its pin, and takes us for who we are. ErrPeer:
// it is somebody else, or does not.
func Dial(ctx context.Context, addr string, id Identity, peer Role, pins Pins) (*Conn, error) {
	d := net.Dialer{Timeout: handshakeTimeout}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("mpc: reach %s: %w", peer, err)
	}
	only := Pins{}
	if pin, ok := pins[peer]; ok {
		only[peer] = pin
	}
	return handshake(ctx, tls.Client(nc, tlsConfig(id, only)), only, welcomed)
}

// Accept answers a connection that a listener gave, of anyone in pins. It closes nc if it fails.
func Accept(ctx context.Context, nc net.Conn, id Identity, pins Pins) (*Conn, error) {
	return handshake(ctx, tls.Server(nc, tlsConfig(id, pins)), pins, welcome)
}

// In TLS 1.3 who dials is done before the other end has looked at its certificate. So the other end says a word.
func welcome(c *tls.Conn) error {
	_, err := c.Write(AppendFrame(nil, Frame{Type: framePing}))
	return err
}

func welcomed(c *tls.Conn) error {
	f, err := ReadFrame(c)
	if err == nil && f.Type != framePing {
		err = fmt.Errorf("%w: type %d for a welcome", ErrFrame, f.Type)
	}
	return err
}

// tlsConfig trusts keys, not issuers: InsecureSkipVerify turns off the test of names and chains, and VerifyConnection,
// which runs on both ends of every handshake, stands in for it.
func tlsConfig(id Identity, pins Pins) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.Certificate},
		ClientAuth: tls.RequireAnyClientCert, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := pins.check(s)
			return err
		},
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	}
}

func handshake(ctx context.Context, c *tls.Conn, pins Pins, last func(*tls.Conn) error) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.NetConn().Close() })
	var role Role
	err := c.HandshakeContext(ctx)
	if err == nil {
		role, err = pins.check(c.ConnectionState())
	}
	if err == nil {
		err = last(c)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.NetConn().Close()
		if errors.Is(err, ErrPeer) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrPeer, err)
	}
	return &Conn{c, role}, nil
}

// Peer is who is at the other end.
func (c *Conn) Peer() Role { return c.peer }

// Keys are what the two ends of this connection alone have: a key for shared randomness and a name for the epoch, by
// exporters of TLS (RFC 8446, section 7.5), bound to the cluster.
func (c *Conn) Keys(cluster string) (key [32]byte, epoch [8]byte, err error) {
	s := c.tls.ConnectionState()
	k, err := s.ExportKeyingMaterial("EXPORTER-face-mpc-prf-v1", []byte(cluster), len(key))
	if err != nil {
		return key, epoch, fmt.Errorf("mpc: export a key: %w", err)
	}
	e, err := s.ExportKeyingMaterial("EXPORTER-face-mpc-epoch-v1", []byte(cluster), len(epoch))
	if err != nil {
		return key, epoch, fmt.Errorf("mpc: export an epoch: %w", err)
	}
	return [32]byte(k), [8]byte(e), nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.tls.Close() }
