package mpc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Sealing is what a client seals shares with, so that nobody but the parties sees even one: Gateway.Sealing makes it, and the API hands it out as
// JSON. It says nothing of whether the person is enrolled. Who has it from a gateway that is not trusted checks the keys by Pinned; doc.go says
// what that is worth.
type Sealing struct {
	Cluster  string             `json:"cluster"`
	Tenant   ID                 `json:"tenant"`
	Person   ID                 `json:"person,omitzero"` // zero: for searches
	Verify   SealPolicy         `json:"verify"`          // what enrolments are by, and verifications
	Identify *SealPolicy        `json:"identify,omitempty"`
	Expires  time.Time          `json:"expires"` // until when envelopes that are made with this are good
	Parties  [Parties]SealParty `json:"parties"`
}

// SealPolicy is how vectors are encoded under a policy.
type SealPolicy struct {
	ID       uint16 `json:"id"`
	Dim      int    `json:"dim"`
	LogScale int    `json:"log2_scale"`
	Bound    int32  `json:"bound"`
}

// SealParty is a party's public key, 1,216 bytes, and which of its lives it is in.
type SealParty struct {
	Key      []byte `json:"share_key"`
	Instance ID     `json:"instance"`
}

func sealPolicy(id uint16, p Policy) SealPolicy {
	return SealPolicy{id, p.Params.Dim, p.Params.LogScale, p.Params.Bound}
}

// encode is Params.Encode, packed for the parties. Errors: ErrParams, ErrVector.
func (p SealPolicy) encode(template []float32) (packed [Parties][]byte, err error) {
	params := Params{p.Dim, p.LogScale, p.Bound}
	if err := params.Validate(); err != nil {
		return packed, err
	}
	q, err := params.Encode(template)
	if err != nil {
		return packed, err
	}
	defer clear(q)
	return SplitPacked(q), nil
}

// Pinned checks the parties' keys against those that the client knows from the parties' administrators (mien party init prints them).
// ErrPeer: one is another.
func (s *Sealing) Pinned(pins [Parties]Pin) error {
	for i, p := range s.Parties {
		if PinOfShareKey(p.Key) != pins[i] {
			return fmt.Errorf("%w: the share key of party %d is not the one that is pinned: whoever gave it out may be able to read what is sealed to it", ErrPeer, i)
		}
	}
	return nil
}

// Seal splits a template and seals a share for each party, for one request: the next needs envelopes of its own. template is float32[dim],
// ‖template‖ = 1 ± 1e-3, and not retained; shares are drawn from crypto/rand. Errors: ErrVector, ErrParams; ErrPolicy, for a search where
// there is no policy for one; ErrEnvelope, where the keys are none, or the person is missing, or one too much.
func (s *Sealing) Seal(op SealOp, template []float32) (envelopes Envelopes, err error) {
	shares, policy, err := s.shares(op, template)
	if err != nil {
		return envelopes, err
	}
	e := Envelope{Cluster: s.Cluster, Tenant: s.Tenant, RID: s.Person, Op: op, Policy: policy, Nonce: newID(), Expires: s.Expires}
	for i, p := range s.Parties {
		key, err := ParseEnvelopePublicKey(p.Key)
		if err != nil {
			return envelopes, fmt.Errorf("%w: the share key of party %d is none: %w", ErrEnvelope, i, err)
		}
		e.Party, e.Instance = i, p.Instance
		if envelopes[i], err = e.Seal(key, shares[i]); err != nil {
			return envelopes, err
		}
	}
	return envelopes, nil
}

// shares are what goes into the envelopes, by which policy.
func (s *Sealing) shares(op SealOp, template []float32) (shares [Parties][]byte, policy uint16, err error) {
	if (op == SealIdentify) != (s.Person == ID{}) {
		return shares, 0, fmt.Errorf("%w: to %s: keys for a person are for verify and enrol, those for a gallery for identify", ErrEnvelope, op)
	}
	switch {
	case op == SealIdentify && s.Identify == nil:
		return shares, 0, fmt.Errorf("%w: none for identification", ErrPolicy)
	case op == SealIdentify:
		shares, err = s.Identify.encode(template)
		return shares, s.Identify.ID, err
	case op != SealVerify && op != SealEnrol:
		return shares, 0, fmt.Errorf("%w: to %q: verify, enrol or identify", ErrEnvelope, op)
	}
	if shares, err = s.Verify.encode(template); err != nil || op == SealVerify || s.Identify == nil {
		return shares, s.Verify.ID, err
	}
	also, err := s.Identify.encode(template)
	for i := range shares {
		shares[i] = append(shares[i], also[i]...)
	}
	return shares, s.Verify.ID, err
}

// Sealing is what a client needs to seal shares for a person of a tenant under a policy, or where user is "" for a search. Errors: ErrPolicy,
// ErrPartyDown, ErrDiffers; ErrShareKey, where a party has no key for envelopes, or another than GatewayConfig.ShareKeys has.
func (g *Gateway) Sealing(tenant, user string, policy uint16) (*Sealing, error) {
	p, known := g.cfg.Policies.Policies[policy]
	if !known {
		return nil, ErrPolicy
	}
	if err := g.readyFor(policy, p.Gallery); err != nil {
		return nil, err
	}
	s := &Sealing{Cluster: g.cfg.Cluster, Tenant: g.dir.tenant(tenant), Verify: sealPolicy(policy, p), Expires: g.cfg.Now().Add(EnvelopeLife).UTC().Truncate(time.Millisecond)}
	if user != "" {
		s.Person = g.dir.subject(tenant, user).RID
	}
	if p.Gallery != 0 {
		also := sealPolicy(p.Gallery, g.cfg.Policies.Policies[p.Gallery])
		s.Identify = &also
	}
	for i, r := range g.remotes {
		var err error
		if s.Parties[i], err = r.sealParty(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (r *remote) sealParty() (SealParty, error) {
	r.mu.Lock()
	h := r.mu.hello
	r.mu.Unlock()
	pin := r.g.cfg.ShareKeys[r.index]
	switch {
	case len(h.shareKey) == 0:
		return SealParty{}, fmt.Errorf("%w: party %d has none", ErrShareKey, r.index)
	case pin != (Pin{}) && pin != PinOfShareKey(h.shareKey):
		return SealParty{}, fmt.Errorf("%w: that of party %d is not the one that is pinned", ErrShareKey, r.index)
	}
	return SealParty{h.shareKey, h.instance}, nil
}

// Envelopes are what a client has sealed for the parties, by index, for one request (Sealing.Seal).
type Envelopes [Parties][]byte

// fit refuses what is larger than any envelope under a policy. Errors: ErrEnvelope.
func (e *Envelopes) fit(p Policy) error {
	for i, b := range e {
		if len(b) > envelopeBytes+4*(1+4*max(p.Params.Dim, seedBytes)) {
			return fmt.Errorf("%w: %d bytes for party %d", ErrEnvelope, len(b), i)
		}
	}
	return nil
}

// failed is the error of a verification or an enrolment, which with envelopes can't be tried again here; nil ones are none. What the parties don't agree on
// is then the shares, for all else a gateway tells them alike.
func (e *Envelopes) failed(err error) error {
	if e != nil && errors.Is(err, ErrContext) {
		return fmt.Errorf("%w: %w", ErrProbe, err)
	}
	return e.searchFailed(err)
}

// searchFailed is failed of a search: there the parties may be of other minds about the rows as well.
func (e *Envelopes) searchFailed(err error) error {
	if e != nil && mayRetry(err) && !errors.Is(err, ErrContext) {
		return fmt.Errorf("%w: %w", ErrPartyDown, err)
	}
	return err
}

// VerifySealed is Verify with a probe that a client has sealed (Sealing), and that this gateway does not see. The parties check it in full, whatever
// the policy's check. It is tried once, as no envelope is taken twice. Errors: Verify's; ErrEnvelope, ErrEnvelopeUsed, ErrShareKey; ErrProbe also
// where the shares are not of one vector.
func (g *Gateway) VerifySealed(ctx context.Context, tenant, user string, policy uint16, envelopes Envelopes) (bool, error) {
	p, known := g.cfg.Policies.Policies[policy]
	if !known {
		return false, ErrPolicy
	}
	if err := envelopes.fit(p); err != nil {
		return false, err
	}
	a := &attempt{g: g, policy: policy, model: p.Model, tenant: g.dir.tenant(tenant), of: []Subject{g.dir.subject(tenant, user)}, sealed: &envelopes}
	match, err := a.run(ctx)
	if err != nil {
		return false, err
	}
	return match[0], nil
}

// IdentifySealed is Identify with a probe that a client has sealed, as in VerifySealed. ErrContext is also what comes of shares that are not of one
// vector. Errors: Identify's and VerifySealed's.
func (g *Gateway) IdentifySealed(ctx context.Context, tenant string, policy uint16, envelopes Envelopes) ([]string, error) {
	p, err := g.searchPolicy(policy)
	if err == nil {
		err = envelopes.fit(p)
	}
	if err != nil {
		return nil, err
	}
	return g.search(ctx, tenant, policy, p.Model, nil, &envelopes)
}
