package http

import (
	"context"
	"time"

	"mien/engine"
)

// proveTimeout bounds a proof of an erasure, which reads all files of the store, however short other requests are.
const proveTimeout = 10 * time.Minute

// erasedPerson is a receipt, and the proof if one was asked for.
type erasedPerson struct {
	engine.Receipt
	Proof *engine.Proof `json:"proof,omitempty"`
}

func (s *Server) erasePerson(r *request) (reply, error) {
	prove := false
	if err := r.decodeOptional([]field{{name: "prove", json: takeBool(&prove)}}); err != nil {
		return reply{}, err
	}
	o, err := r.writeOptions()
	if err != nil {
		return reply{}, err
	}
	var done erasedPerson
	answer := func(receipt engine.Receipt, _ bool) reply { // a proof is not kept: it is asked for again with the receipt
		return reply{status: 200, value: erasedPerson{Receipt: receipt}}
	}
	if !prove {
		done.Receipt, err = s.engine.ErasePerson(once(r.ctx, r, answer), r.key.Tenant, r.params[0], r.params[1], o)
		return reply{status: 200, value: done}, err
	}
	ctx, end := s.unhurried(r)
	defer end()
	var proof engine.Proof
	if done.Receipt, proof, err = s.engine.ErasePersonProved(once(ctx, r, answer), r.key.Tenant, r.params[0], r.params[1], o); err == nil {
		done.Proof = &proof
	} else if done.JWS != "" { // the person is gone, and the receipt is all there is to show for it
		s.log.Error("an erasure is not proved", "request", r.id, "error", err)
		err = nil
	}
	return reply{status: 200, value: done}, err
}

// unhurried is a context for work that takes longer than a request may: it ends with the client, and after proveTimeout.
func (s *Server) unhurried(r *request) (ctx context.Context, end func()) {
	x := &watched{socket: r.watched.socket, context: &lazyContext{Context: s.base, deadline: r.start.Add(proveTimeout)}}
	s.watch.begin(x)
	return engine.WithActor(x.context, r.actor()), func() {
		s.watch.end(x)
		x.context.end()
	}
}

// proveErasure proves the erasure that a receipt is of, to whose tenant it is about, and to operators.
func (s *Server) proveErasure(r *request) (reply, error) {
	jws, _, err := r.verifiedReceipt()
	if err != nil {
		return reply{}, err
	}
	ctx, end := s.unhurried(r)
	defer end()
	proof, err := s.engine.ProveErasure(ctx, jws)
	return reply{status: 200, value: proof}, err
}

// eraseTenant is an operator's, for another tenant than the key's own: the last operator's key must not go by a slip.
func (s *Server) eraseTenant(r *request) (reply, error) {
	if err := r.decodeOptional(nil); err != nil {
		return reply{}, err
	}
	if !r.key.Operator {
		return reply{}, fail(codeForbidden, "only an operator's key may erase a tenant")
	}
	if r.params[0] == r.key.Tenant {
		return reply{}, fail(codeForbidden, "this key is of the tenant itself, and would go with it: use an operator's key of another tenant, or erase on the stopped data folder")
	}
	var receipt engine.Receipt
	err := s.forget(r.ctx, r.params[0], func() ([]string, error) { return s.galleriesOf(r.ctx, r.params[0]) }, func() (err error) {
		receipt, err = s.engine.EraseTenant(r.ctx, r.params[0])
		return err
	})
	return reply{status: 200, value: receipt}, err
}

func (s *Server) receiptKey(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{status: 200, value: s.engine.ReceiptKey()}, nil
}

// verifyReceipt says what a receipt of this server says, to whose tenant it is about, and to operators.
func (s *Server) verifyReceipt(r *request) (reply, error) {
	_, receipt, err := r.verifiedReceipt()
	return reply{status: 200, value: receipt}, err
}

// verifiedReceipt is the receipt that the body has, as text and what it says. Errors: receipt's, engine.ErrReceipt, the problem forbidden for
// another tenant's.
func (r *request) verifiedReceipt() (jws string, receipt engine.Receipt, err error) {
	if jws, err = r.receipt(); err != nil {
		return "", receipt, err
	}
	if receipt, err = r.server.engine.VerifyReceipt(jws); err == nil {
		_, err = r.tenant(receipt.Tenant)
	}
	return jws, receipt, err
}

// receipt reads the body of a request about a receipt.
func (r *request) receipt() (jws string, err error) {
	err = r.decode([]field{{name: "jws", json: func(raw []byte, at string) error {
		if raw[0] != '"' {
			return wrongType(raw, at, "a string")
		}
		text, err := unquote(raw)
		jws = string(text)
		return err
	}}})
	return jws, err
}

func (s *Server) keyStatus(r *request) (reply, error) {
	tenant, err := r.tenantQuery()
	if err != nil {
		return reply{}, err
	}
	k, err := s.engine.KeyStatus(r.ctx, tenant)
	return reply{status: 200, value: k}, err
}

func (s *Server) rotateTenantKey(r *request) (reply, error) {
	var tenant string
	if err := r.decodeOptional([]field{{name: "tenant", json: takeString(&tenant)}}); err != nil {
		return reply{}, err
	}
	tenant, err := r.tenant(tenant)
	if err != nil {
		return reply{}, err
	}
	k, err := s.engine.RotateTenantKey(r.ctx, tenant)
	return reply{status: 202, value: k}, err
}

func (s *Server) cancelRotation(r *request) (reply, error) {
	tenant, err := r.tenantQuery()
	if err != nil {
		return reply{}, err
	}
	return reply{status: 204}, s.engine.CancelRotation(r.ctx, tenant)
}
