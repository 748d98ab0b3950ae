package http

import "mien/engine"

func (s *Server) putGallery(r *request) (reply, error) {
	var spec engine.GallerySpec
	var policy engine.Policy
	fields := append(policyFields(&policy),
		field{name: "space", json: takeString(&spec.Space)},
		field{name: "index", json: takeString(&spec.Index)})
	if err := r.decodeOptional(fields); err != nil {
		return reply{}, err
	}
	spec.Policy = policy
	onlyNew, err := r.ifNoneMatch()
	if err != nil {
		return reply{}, err
	}
	g, created, err := s.engine.CreateGallery(r.ctx, r.key.Tenant, r.params[0], spec)
	switch {
	case err != nil:
		return reply{}, err
	case created:
		return reply{status: 201, value: g}, nil
	case onlyNew:
		return reply{}, fail(codeGalleryExists, "a gallery of this name is there, and If-None-Match: * asked for a new one")
	}
	return reply{status: 200, value: g}, nil
}

// decodeOptional decodes JSON, or no body at all.
func (r *request) decodeOptional(fields []field) error {
	if r.length == 0 {
		return r.noQuery()
	}
	return r.decode(fields)
}

// ifNoneMatch reports whether the request is to be refused if its target is there (RFC 9110, 13.1.2).
func (r *request) ifNoneMatch() (bool, error) {
	switch v := string(r.fc.Request.Header.Peek("If-None-Match")); v {
	case "":
		return false, nil
	case "*":
		return true, nil
	}
	return false, fail(codeBadRequest, "If-None-Match may only be * here: galleries have no entity tags")
}

func (s *Server) getGallery(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	g, err := s.engine.Gallery(r.ctx, r.key.Tenant, r.params[0])
	return reply{status: 200, value: g}, err
}

func (s *Server) deleteGallery(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{status: 204}, s.engine.DeleteGallery(r.ctx, r.key.Tenant, r.params[0])
}

func (s *Server) listGalleries(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	list, err := s.engine.Galleries(r.ctx, r.key.Tenant)
	return reply{status: 200, value: map[string]any{"galleries": orEmpty(list)}}, err
}

// orEmpty makes a list that marshals to [] and not to null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
