package http

import (
	"cmp"
	"slices"
	"time"

	"mien/engine"
)

// createdKey is a key with its token, which is told this once.
type createdKey struct {
	engine.Key
	Token string `json:"token"`
}

func (s *Server) createKey(r *request) (reply, error) {
	var spec engine.KeySpec
	var role, tenant, scores string
	var rate *float64
	err := r.decode([]field{
		{name: "role", json: takeString(&role)},
		{name: "tenant", json: takeString(&tenant)},
		{name: "label", json: takeString(&spec.Label)},
		{name: "operator", json: takeBool(&spec.Operator)},
		{name: "galleries", json: takeStrings(&spec.Galleries, engine.MaxKeyGalleries)},
		{name: "expires", json: takeTime(&spec.Expires)},
		{name: "rate", json: takeFloat(&rate)},
		{name: "burst", json: takeInt(&spec.Burst, 1, engine.MaxKeyRate)},
		{name: "scores", json: takeString(&scores)},
		{name: "dialect", json: takeString(&spec.Dialect)},
	})
	if err == nil {
		err = s.speaks(spec.Dialect)
	}
	if err != nil {
		return reply{}, err
	}
	if tenant, err = r.tenant(tenant); err != nil {
		return reply{}, err
	}
	spec.Role, spec.Scores = engine.Role(role), engine.Scores(scores)
	if rate != nil {
		if spec.Rate = *rate; spec.Rate == 0 {
			return reply{}, fail(codeBadRequest, "a rate of 0 would let nothing through; leave it out for the server's default")
		}
	}
	if err := r.key.MayMake(spec); err != nil {
		return reply{}, err
	}
	key, token, err := s.engine.CreateKey(once(r.ctx, r, newKey), tenant, spec)
	return newKey(engine.NewKey{Key: key, Token: token}, true), err
}

func newKey(k engine.NewKey, _ bool) reply {
	return reply{status: 201, value: createdKey{k.Key, k.Token}}
}

// speaks refuses a dialect that the server does not speak. Errors: the problem bad_request.
func (s *Server) speaks(name string) error {
	var known []string
	for _, d := range s.dialects {
		known = append(known, d.Name)
	}
	if name == "" || slices.Contains(known, name) {
		return nil
	}
	return fail(codeBadRequest, "the dialect %q is unknown here; these are spoken: %s", clip(name), listed(known))
}

// rotateKey makes a key in the place of another, which goes on for the overlap.
func (s *Server) rotateKey(r *request) (reply, error) {
	overlap, tenant := int(engine.DefaultOverlap/time.Second), ""
	err := r.decodeOptional([]field{
		{name: "tenant", json: takeString(&tenant)},
		{name: "overlap_s", json: takeInt(&overlap, 0, int(engine.MaxKeyOverlap/time.Second))},
	})
	if err != nil {
		return reply{}, err
	}
	if tenant, err = r.tenant(tenant); err != nil {
		return reply{}, err
	}
	old, err := s.managed(r, tenant)
	if err != nil {
		return reply{}, err
	}
	if err := r.key.MayRotate(old); err != nil {
		return reply{}, err
	}
	o := engine.Rotation{Overlap: time.Duration(overlap) * time.Second, Latest: r.key.Expires}
	if overlap == 0 {
		o.Overlap = -1
	}
	key, token, err := s.engine.RotateKey(once(r.ctx, r, newKey), tenant, old.ID, o)
	return newKey(engine.NewKey{Key: key, Token: token}, true), err
}

// managed is the key that the path names, if the request's key may manage it. One that it may not see is as one that is not
// there. Errors: engine.ErrKeyNotFound, the problem forbidden.
func (s *Server) managed(r *request, tenant string) (engine.Key, error) {
	k, err := s.engine.Key(r.ctx, tenant, r.params[0])
	switch {
	case err != nil:
		return k, err
	case !r.key.MaySee(k):
		return k, engine.ErrKeyNotFound
	case !r.key.MayManage(k):
		return k, fail(codeForbidden, "only an operator's key may rotate or revoke an operator's key")
	}
	return k, nil
}

// tenant returns the tenant a request is about: the key's own, or any if the key is an operator's.
func (r *request) tenant(asked string) (string, error) {
	asked = cmp.Or(asked, r.key.Tenant)
	if asked != r.key.Tenant && !r.key.Operator {
		return "", fail(codeForbidden, "this key is of another tenant, and only an operator's key may name one")
	}
	return asked, nil
}

// tenantQuery reads the one parameter of listKeys, revokeKey and metrics.
func (r *request) tenantQuery() (string, error) {
	var asked string
	err := r.eachQuery([]field{{name: "tenant", text: func(v, _ string) error { asked = v; return nil }}})
	if err != nil {
		return "", err
	}
	return r.tenant(asked)
}

func (s *Server) listKeys(r *request) (reply, error) {
	tenant, err := r.tenantQuery()
	if err != nil {
		return reply{}, err
	}
	keys, err := s.engine.Keys(r.ctx, tenant)
	keys = slices.DeleteFunc(keys, func(k engine.Key) bool { return !r.key.MaySee(k) })
	return reply{status: 200, value: map[string]any{"keys": orEmpty(keys)}}, err
}

func (s *Server) revokeKey(r *request) (reply, error) {
	tenant, err := r.tenantQuery()
	if err != nil {
		return reply{}, err
	}
	k, err := s.managed(r, tenant)
	if err != nil {
		return reply{}, err
	}
	return reply{status: 204}, s.engine.RevokeKey(once(r.ctx, r, noContent), tenant, k.ID)
}
