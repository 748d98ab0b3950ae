package http

import (
	"cmp"
	"errors"
	"slices"

	"mien/engine"
)

func (s *Server) putGallery(r *request) (reply, error) {
	var spec engine.GallerySpec
	var policy engine.Policy
	fields := append(policyFields(&policy),
		field{name: "gate", json: takeGates(&spec.Gate)},
		field{name: "duplicates", json: takeString((*string)(&spec.Duplicates))},
		field{name: "duplicate_policy", json: takePolicy(&spec.DuplicatePolicy)},
		field{name: "history", json: takeInt(&spec.History, 0, engine.MaxHistory)},
		field{name: "filterable", json: takeFields(&spec.Filterable)},
		field{name: "space", json: takeString(&spec.Space)},
		field{name: "index", json: takeString(&spec.Index)},
		field{name: "retention_days", json: takeInt(&spec.RetentionDays, 0, engine.MaxRetentionDays)},
		field{name: "keep_photos", json: takeBool(&spec.KeepPhotos)})
	if err := r.decodeOptional(fields); err != nil {
		return reply{}, err
	}
	spec.Policy = policy
	onlyNew, err := r.ifNoneMatch()
	if err != nil {
		return reply{}, err
	}
	if err := s.canJudge(spec.Space, spec.Gate); err != nil {
		return reply{}, err
	}
	answer := func(g engine.Gallery, created bool) reply {
		switch {
		case created:
			return reply{status: 201, value: g}
		case onlyNew:
			return reply{}
		}
		return reply{status: 200, value: g}
	}
	g, created, err := s.engine.CreateGallery(once(r.ctx, r, answer), r.key.Tenant, r.params[0], spec)
	if err == nil && onlyNew && !created {
		err = fail(codeGalleryExists, "a gallery of this name is there, and If-None-Match: * asked for a new one")
	}
	return answer(g, created), err
}

// canJudge refuses gates that ask for what the models of a space can't judge. A space without models here takes
// templates, which no gate looks at, so any gate may be its. Errors: the problem bad_gate, engine.ErrSpaceUnknown.
func (s *Server) canJudge(space string, g engine.Gates) error {
	x, err := s.extractorOf(space)
	if p, ok := errors.AsType[*problem](err); ok && p.code == codeExtractorMissing {
		return nil
	}
	if err != nil {
		return err
	}
	return cmp.Or(x.judges(g.Enrol), x.judges(g.Probe))
}

// patchGallery replaces policies, gate, duplicate check and retention, as they are given; null removes.
func (s *Server) patchGallery(r *request) (reply, error) {
	var change engine.GalleryChange
	var policy engine.Policy
	var gate engine.Gates
	var duplicates engine.DuplicateCheck
	var duplicatePolicy engine.Policy
	var history int
	err := r.decode([]field{
		{name: "policy", json: func(raw []byte, at string) error {
			change.Policy = &policy
			return unlessNull(raw, at, takePolicy(&policy))
		}},
		{name: "gate", json: func(raw []byte, at string) error {
			change.Gate = &gate
			return unlessNull(raw, at, takeGates(&gate))
		}},
		{name: "duplicates", json: func(raw []byte, at string) error {
			change.Duplicates = &duplicates
			return unlessNull(raw, at, takeString((*string)(&duplicates)))
		}},
		{name: "duplicate_policy", json: func(raw []byte, at string) error {
			change.DuplicatePolicy = &duplicatePolicy
			return unlessNull(raw, at, takePolicy(&duplicatePolicy))
		}},
		{name: "retention_days", json: func(raw []byte, at string) error {
			change.RetentionDays = new(int)
			return unlessNull(raw, at, takeInt(change.RetentionDays, 0, engine.MaxRetentionDays))
		}},
		{name: "history", json: func(raw []byte, at string) error {
			change.History = &history
			return unlessNull(raw, at, takeInt(&history, 0, engine.MaxHistory))
		}},
	})
	if err != nil {
		return reply{}, err
	}
	if change == (engine.GalleryChange{}) {
		return reply{}, fail(codeBadRequest, `give some of "policy", "gate", "duplicates", "duplicate_policy", "history" and "retention_days": each replaces what is there, null removes it; nothing else of a gallery can be changed`)
	}
	g, err := s.engine.Gallery(r.ctx, r.key.Tenant, r.params[0])
	if err != nil {
		return reply{}, err
	}
	spaces := []string{g.Space}
	if g.Move != nil {
		spaces = append(spaces, g.Move.Space)
	}
	for _, space := range spaces {
		if err := s.canJudge(space, gate); err != nil && !errors.Is(err, engine.ErrSpaceUnknown) {
			return reply{}, err
		}
	}
	answer := func(g engine.Gallery, _ bool) reply { return reply{status: 200, value: g} }
	g, err = s.engine.UpdateGallery(once(r.ctx, r, answer), r.key.Tenant, r.params[0], change)
	return answer(g, false), err
}

func unlessNull(raw []byte, at string, take func([]byte, string) error) error {
	if raw[0] == 'n' {
		return nil
	}
	return take(raw, at)
}

// decodeOptional decodes JSON, or no body at all.
func (r *request) decodeOptional(fields []field) error {
	if r.length == 0 {
		return r.noQuery()
	}
	return r.decode(fields)
}

func (s *Server) getGallery(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	g, err := s.engine.Gallery(r.ctx, r.key.Tenant, r.params[0])
	if g.Move != nil && !slices.Contains(reading, r.key.Role) {
		g.Move.Failures = nil // they name people
	}
	return reply{status: 200, value: g}, err
}

func (s *Server) deleteGallery(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{status: 204}, s.forget(r.ctx, r.key.Tenant, func() ([]string, error) { return r.params, nil }, func() error {
		return s.engine.DeleteGallery(once(r.ctx, r, noContent), r.key.Tenant, r.params[0])
	})
}

func (s *Server) listGalleries(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	list, err := s.engine.Galleries(r.ctx, r.key.Tenant)
	list = slices.DeleteFunc(list, func(g engine.Gallery) bool { return !r.key.MayUse(g.Name) })
	return reply{status: 200, value: map[string]any{"galleries": orEmpty(list)}}, err
}

// orEmpty makes a list that marshals to [] and not to null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
