package http

import (
	"cmp"
	"slices"

	"mien/engine"
)

// createdKey is a key with its token, which is told this once.
type createdKey struct {
	engine.Key
	Token string `json:"token"`
}

func (s *Server) createKey(r *request) (reply, error) {
	var spec engine.KeySpec
	var role, tenant string
	err := r.decode([]field{
		{name: "role", json: takeString(&role)},
		{name: "tenant", json: takeString(&tenant)},
		{name: "label", json: takeString(&spec.Label)},
		{name: "operator", json: takeBool(&spec.Operator)},
	})
	if err != nil {
		return reply{}, err
	}
	if tenant, err = r.tenant(tenant); err != nil {
		return reply{}, err
	}
	if spec.Operator && !r.key.Operator {
		return reply{}, fail(codeForbidden, "only an operator's key may make another operator's key")
	}
	spec.Role = engine.Role(role)
	key, token, err := s.engine.CreateKey(r.ctx, tenant, spec)
	return reply{status: 201, value: createdKey{key, token}}, err
}

// tenant returns the tenant a request is about: the key's own, or any if the key is an operator's.
func (r *request) tenant(asked string) (string, error) {
	asked = cmp.Or(asked, r.key.Tenant)
	if asked != r.key.Tenant && !r.key.Operator {
		return "", fail(codeForbidden, "this key is of another tenant, and only an operator's key may name one")
	}
	return asked, nil
}

// tenantQuery reads the one parameter of listKeys and revokeKey.
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
	return reply{status: 200, value: map[string]any{"keys": orEmpty(keys)}}, err
}

func (s *Server) revokeKey(r *request) (reply, error) {
	tenant, err := r.tenantQuery()
	if err != nil {
		return reply{}, err
	}
	if err := s.mayRevoke(r, tenant, r.params[0]); err != nil {
		return reply{}, err
	}
	return reply{status: 204}, s.engine.RevokeKey(r.ctx, tenant, r.params[0])
}

// mayRevoke keeps a tenant's administrator from revoking the operator's key. A key never becomes an operator's later.
func (s *Server) mayRevoke(r *request, tenant, id string) error {
	if r.key.Operator {
		return nil
	}
	keys, err := s.engine.Keys(r.ctx, tenant)
	if slices.ContainsFunc(keys, func(k engine.Key) bool { return k.ID == id && k.Operator }) {
		return fail(codeForbidden, "only an operator's key may revoke an operator's key")
	}
	return err
}
