package http

import (
	"encoding/json"

	"mien/engine"
)

func (s *Server) putPerson(r *request) (reply, error) {
	sub := subject{enrols: true}
	var metadata json.RawMessage
	enrol := r.enrolOptions()
	var retention engine.Retention
	fields := append(sub.several(), metadataField(&metadata), duplicatesField(&enrol.Duplicates))
	if err := r.decode(append(fields, retentionFields(&retention)...)); err != nil {
		return reply{}, err
	}
	if err := sub.check("images", "templates"); err != nil {
		return reply{}, err
	}
	o, err := r.writeOptions()
	if err != nil {
		return reply{}, err
	}
	return sub.steadily(func() (reply, error) {
		templates, faces, err := r.resolve(&sub)
		if err != nil {
			return reply{}, err
		}
		answer := func(p engine.Person, created bool) reply {
			rep := reply{status: 200, value: enrolledBody{p, faces}, etag: etag(p)}
			if created {
				rep.status = 201
			}
			return rep
		}
		p, created, err := s.engine.PutPerson(once(r.ctx, r, answer), r.key.Tenant, r.params[0], r.params[1],
			engine.PersonSpec{Templates: templates, Metadata: metadata, Retention: retention, EnrolOptions: enrol, WriteOptions: o})
		if err != nil {
			return reply{}, sub.located(err)
		}
		return answer(p, created), nil
	})
}

// enrolOptions let an admin ask for less of a duplicate check than the gallery.
func (r *request) enrolOptions() engine.EnrolOptions {
	return engine.EnrolOptions{Overrule: r.key.Role == engine.RoleAdmin}
}

// duplicatesField takes a duplicate check, which the engine validates.
func duplicatesField(d *engine.DuplicateCheck) field {
	return field{name: "duplicates", json: takeString((*string)(d)), text: func(v, _ string) error { *d = engine.DuplicateCheck(v); return nil }}
}

// writeOptions are those of the headers.
func (r *request) writeOptions() (o engine.WriteOptions, err error) {
	o.If, err = r.condition()
	return o, err
}

// enrolledBody is a person whose templates have changed, with the faces of the photos that were sent, in their order.
type enrolledBody struct {
	engine.Person
	Faces []faceBody `json:"faces,omitempty"`
}

func (s *Server) addTemplate(r *request) (reply, error) {
	sub := subject{enrols: true}
	enrol := r.enrolOptions()
	if err := r.decode(append(sub.one(), duplicatesField(&enrol.Duplicates))); err != nil {
		return reply{}, err
	}
	if err := sub.check("image", "template"); err != nil {
		return reply{}, err
	}
	o, err := r.writeOptions()
	if err != nil {
		return reply{}, err
	}
	return sub.steadily(func() (reply, error) {
		templates, faces, err := r.resolve(&sub)
		if err != nil {
			return reply{}, err
		}
		answer := func(p engine.Person, _ bool) reply {
			return reply{status: 201, value: enrolledBody{p, faces}, etag: etag(p)}
		}
		p, err := s.engine.AddTemplate(once(r.ctx, r, answer), r.key.Tenant, r.params[0], r.params[1], engine.TemplateSpec{Templates: templates, EnrolOptions: enrol, WriteOptions: o})
		return answer(p, false), err
	})
}

func (s *Server) patchPerson(r *request) (reply, error) {
	var patch engine.PersonPatch
	err := r.decode(append(retentionPatch(&patch), field{name: "status", json: takeString((*string)(&patch.Status))},
		field{name: "metadata", json: func(raw []byte, at string) error {
			patch.Metadata = new(json.RawMessage)
			return unlessNull(raw, at, takeObject(patch.Metadata)) // null removes it
		}}))
	if err != nil {
		return reply{}, err
	}
	if patch.Metadata == nil && patch.Expires == nil && patch.Consent == nil && patch.Status == "" {
		return reply{}, fail(codeBadRequest, `give "metadata", "status", "expires" or "consent": a value replaces what is there, null removes all but a status`)
	}
	if patch.WriteOptions, err = r.writeOptions(); err != nil {
		return reply{}, err
	}
	answer := func(p engine.Person, _ bool) reply { return reply{status: 200, value: p, etag: etag(p)} }
	p, err := s.engine.PatchPerson(once(r.ctx, r, answer), r.key.Tenant, r.params[0], r.params[1], patch)
	return answer(p, false), err
}

func (s *Server) getPerson(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	p, err := s.engine.Person(r.ctx, r.key.Tenant, r.params[0], r.params[1])
	return reply{status: 200, value: p, etag: etag(p)}, err
}

func (s *Server) deletePerson(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	o, err := r.writeOptions()
	if err != nil {
		return reply{}, err
	}
	return reply{status: 204}, s.engine.DeletePerson(once(r.ctx, r, noContent), r.key.Tenant, r.params[0], r.params[1], o)
}

// peopleBody is a page of people.
type peopleBody struct {
	People []engine.Person `json:"people"`
	Next   string          `json:"next,omitempty"` // the cursor of the next page; none: this was the last
}

// pageQuery reads the parameters of lists that come in pages.
func (r *request) pageQuery() (limit int, cursor string, err error) {
	limit = engine.DefaultListLimit
	err = r.eachQuery([]field{
		{name: "limit", text: textInt(&limit, 1, engine.MaxListLimit)},
		{name: "cursor", text: func(v, _ string) error { cursor = v; return nil }},
	})
	return limit, cursor, err
}

func (s *Server) listPeople(r *request) (reply, error) {
	limit, cursor, err := r.pageQuery()
	if err != nil {
		return reply{}, err
	}
	people, next, err := s.engine.People(r.ctx, r.key.Tenant, r.params[0], limit, cursor)
	return reply{status: 200, value: peopleBody{orEmpty(people), next}}, err
}
