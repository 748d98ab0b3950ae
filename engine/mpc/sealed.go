package mpc

import (
	"fmt"
	"sync"
	"time"
)

const (
	// EnvelopeLife is for how long a client is told that what it seals is good.
	EnvelopeLife = 5 * time.Minute
	// maxEnvelopeLife is how long a party takes it to be good at most: twice that, for clocks that differ.
	maxEnvelopeLife = 2 * EnvelopeLife
	// maxNonces bounds the nonces that a party remembers, of some 50 bytes each: 1,700 envelopes a second.
	maxNonces = 1 << 20
)

// nonces are those of the envelopes that a party took, until these expire (E2). Those that expire in the same span of maxEnvelopeLife are
// forgotten together, so that forgetting costs nothing. Safe for concurrent use.
type nonces struct {
	mu     sync.Mutex
	spans  map[int64]map[ID]struct{}
	n      int
	oldest int64 // span; nothing of those before it is taken any more, wherever the clock goes
}

// take notes a nonce that was not taken before. Errors: ErrEnvelopeUsed, ErrBusy.
func (n *nonces) take(nonce ID, expires, now int64) error {
	const life = int64(maxEnvelopeLife / time.Millisecond)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forget(now / life)
	span := expires / life
	_, taken := n.spans[span][nonce]
	switch {
	case expires <= now || span < n.oldest:
		return fmt.Errorf("%w: its time is over", ErrEnvelopeUsed)
	case expires > now+life:
		return fmt.Errorf("%w: it is good for longer than %v", ErrEnvelopeUsed, maxEnvelopeLife)
	case taken:
		return fmt.Errorf("%w: before", ErrEnvelopeUsed)
	case n.n >= maxNonces:
		return ErrBusy
	}
	if n.spans == nil {
		n.spans = make(map[int64]map[ID]struct{})
	}
	if n.spans[span] == nil {
		n.spans[span] = make(map[ID]struct{})
	}
	n.spans[span][nonce] = struct{}{}
	n.n++
	return nil
}

func (n *nonces) forget(before int64) {
	n.oldest = max(n.oldest, before)
	for span, all := range n.spans { // three at most
		if span < n.oldest {
			n.n -= len(all)
			delete(n.spans, span)
		}
	}
}

// unseal opens the envelope that a request ends with, for an operation on somebody or, with RID zero, on a tenant; what is in it is read next. The
// caller takes it when nothing else is wrong. Errors: ErrShareKey, ErrMessage, ErrEnvelope, ErrEnvelopeUsed.
func (p *Party) unseal(op SealOp, policy uint16, of Subject, r *reader) (*Envelope, error) {
	if p.cfg.ShareKey == nil {
		return nil, ErrShareKey
	}
	if r.bad {
		return nil, ErrMessage
	}
	e := &Envelope{Cluster: p.cfg.Cluster, Tenant: of.Tenant, RID: of.RID, Op: op, Policy: policy, Party: p.cfg.Index, Instance: p.instance}
	shares, err := e.Open(p.cfg.ShareKey, r.b)
	r.b, r.malformed = shares, ErrEnvelope
	return e, err
}

// take has an envelope be used from now on, unless something else is wrong; nil is none. Errors: wrong, ErrEnvelopeUsed, ErrBusy.
func (p *Party) take(e *Envelope, wrong error) error {
	if e == nil || wrong != nil {
		return wrong
	}
	return p.nonces.take(e.Nonce, e.Expires.UnixMilli(), p.nowMs())
}

// shareKey is what clients seal to, nil for none.
func (p *Party) shareKey() []byte {
	if p.cfg.ShareKey == nil {
		return nil
	}
	return p.cfg.ShareKey.PublicKey().Bytes()
}
