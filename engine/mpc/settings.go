package mpc

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// settings are what a party and a gateway must have alike. Each tells the other in HELLO, so that an installation that is set up wrongly says
// what is wrong, where the protocol (M8) would only come to nothing; little endian:
//
//	SHA-256 of the cluster's name [32] · round timeout ms u32 · count u16 · count × (policy u16 · SHA-256 [32]), in the order of policies
//
// Budgets are each party's own.
type settings struct {
	cluster  [32]byte
	timeout  time.Duration
	policies map[uint16][32]byte
}

func newSettings(cluster string, timeout time.Duration, p *Policies) settings {
	s := settings{sha256.Sum256([]byte(cluster)), timeout.Truncate(time.Millisecond), make(map[uint16][32]byte)}
	for id, policy := range p.Policies {
		s.policies[id] = sha256.Sum256(policy.appendTo(nil))
	}
	return s
}

func (s settings) appendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(append(dst, s.cluster[:]...), uint32(s.timeout.Milliseconds()))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s.policies)))
	for _, id := range slices.Sorted(maps.Keys(s.policies)) {
		hash := s.policies[id]
		dst = append(binary.LittleEndian.AppendUint16(dst, id), hash[:]...)
	}
	return dst
}

func (r *reader) settings() settings {
	s := settings{[32]byte(r.bytes(32)), time.Duration(r.u32()) * time.Millisecond, make(map[uint16][32]byte)}
	for n := r.u16(); n > 0 && !r.bad; n-- {
		id := r.u16()
		s.policies[id] = [32]byte(r.bytes(32))
	}
	return s
}

// difference is what is not alike.
type difference struct {
	cluster        bool
	timeout, other time.Duration // the two; the same where they are alike
	policies       []uint16      // in order
}

// differ compares a party's with a gateway's. What policies a party has besides is no difference: so a new one comes to the parties first.
func (s settings) differ(gateway settings) difference {
	d := difference{cluster: s.cluster != gateway.cluster, timeout: s.timeout, other: gateway.timeout}
	for _, id := range slices.Sorted(maps.Keys(gateway.policies)) {
		if s.policies[id] != gateway.policies[id] {
			d.policies = append(d.policies, id)
		}
	}
	return d
}

func (d difference) any() bool { return d.cluster || d.timeout != d.other || len(d.policies) > 0 }

// String says what differs, and that is no secret; nothing for nothing.
func (d difference) String() string {
	var all []string
	if d.cluster {
		all = append(all, "the name of the cluster")
	}
	if d.timeout != d.other {
		all = append(all, fmt.Sprintf("the round timeout, %v at the party and %v at the gateway", d.timeout, d.other))
	}
	if len(d.policies) > 0 {
		all = append(all, "policies "+strings.Trim(fmt.Sprint(d.policies), "[]"))
	}
	return strings.Join(all, "; ")
}

// compare notes what of a party's settings is not as this gateway's, and says it once.
func (r *remote) compare(s settings) {
	d := s.differ(r.g.settings)
	r.mu.Lock()
	before := r.mu.differs
	r.mu.differs = d
	r.mu.Unlock()
	if now := d.String(); now != before.String() && now != "" {
		r.g.cfg.Logger.Warn("gateway: a party is configured otherwise than this gateway: what needs that is refused", "party", r.index, "differs", now)
	}
}

// shown is the state for people: a party that serves, and is configured otherwise, is not shown as ready.
func (r *remote) shown() PartyState {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.state == PartyReady && r.mu.differs.any() {
		return PartyDiffers
	}
	return r.mu.state
}

// readyFor is ready for what is decided by policies; 0 is none. Errors: DownError, DiffersError.
func (g *Gateway) readyFor(policies ...uint16) error {
	if err := g.ready(); err != nil {
		return err
	}
	var at []int
	for i, r := range g.remotes {
		r.mu.Lock()
		if slices.ContainsFunc(policies, func(id uint16) bool { return slices.Contains(r.mu.differs.policies, id) }) {
			at = append(at, i)
		}
		r.mu.Unlock()
	}
	if at != nil {
		return &DiffersError{at}
	}
	return nil
}
