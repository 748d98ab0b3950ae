package http

import (
	"cmp"
	"context"
	"slices"

	"mien/engine"
	"mien/extract"
)

// decisionBody is the answer to a 1:1 question.
type decisionBody struct {
	engine.Decision
	Face *faceBody `json:"face,omitempty"` // of the photo that was sent
}

// foundFace is the face of a probe that came as a photo.
func foundFace(faces []extract.Face) *faceBody {
	if len(faces) == 0 {
		return nil
	}
	return &faceBody{Box: faces[0].Box, Score: faces[0].Score}
}

// probe decodes and resolves the one face that a request asks about, its policy and further fields.
func (r *request) probe(policy *engine.Policy, more ...field) (engine.Template, *faceBody, error) {
	var sub subject
	if err := r.decode(slices.Concat(sub.one(), policyFields(policy), more)); err != nil {
		return engine.Template{}, nil, err
	}
	if err := cmp.Or(sub.check("image", "template"), policy.Validate()); err != nil {
		return engine.Template{}, nil, err
	}
	templates, faces, err := r.resolve(&sub)
	if err != nil {
		return engine.Template{}, nil, err
	}
	return templates[0], foundFace(faces), nil
}

func (s *Server) verify(r *request) (reply, error) {
	var policy engine.Policy
	probe, face, err := r.probe(&policy)
	if err != nil {
		return reply{}, err
	}
	d, err := s.engine.Verify(r.ctx, r.key.Tenant, r.params[0], r.params[1], probe, policy)
	return reply{status: 200, value: decisionBody{d, face}}, err
}

// candidatesBody is the answer to a 1:N question.
type candidatesBody struct {
	engine.Candidates
	Face *faceBody `json:"face,omitempty"` // of the photo that was sent
}

// search is a method of the engine that answers 1:N questions.
type search func(_ context.Context, tenant, gallery string, _ engine.Template, _ engine.IdentifyOptions) (engine.Candidates, error)

func (s *Server) identify(r *request) (reply, error) { return r.search(s.engine.Identify) }

func (s *Server) duplicates(r *request) (reply, error) { return r.search(s.engine.Duplicates) }

func (r *request) search(find search) (reply, error) {
	var o engine.IdentifyOptions
	probe, face, err := r.probe(&o.Policy,
		field{name: "top_k", json: takeInt(&o.TopK, 1, engine.MaxTopK), text: textInt(&o.TopK, 1, engine.MaxTopK)},
		field{name: "exact", json: takeBool(&o.Exact), text: textBool(&o.Exact)},
		field{name: "ef", json: takeInt(&o.EF, 1, engine.MaxEF), text: textInt(&o.EF, 1, engine.MaxEF)})
	if err != nil {
		return reply{}, err
	}
	found, err := find(r.ctx, r.key.Tenant, r.params[0], probe, o)
	found.Candidates = orEmpty(found.Candidates)
	return reply{status: 200, value: candidatesBody{found, face}}, err
}

// comparedBody is the answer of compare, with the faces of the sides that came as photos.
type comparedBody struct {
	engine.Decision
	Source *faceBody `json:"source_face,omitempty"`
	Target *faceBody `json:"target_face,omitempty"`
}

// side is one of the two faces of compare.
type side struct {
	subject
	name string
}

// field takes {"image"} or {"template"} in JSON and a file in multipart.
func (d *side) field() field {
	return field{
		name: d.name,
		json: func(raw []byte, at string) error {
			return decodeObject(raw, at, []member{{"image", d.takeImage}, {"template", d.takeTemplate}})
		},
		file: d.addPhoto,
	}
}

func (d *side) check() error {
	if len(d.photos)+len(d.templates) != 1 {
		return fail(codeBadRequest, `give %s: {"image": base64} or {"template": {…}}, not both`, d.name)
	}
	return nil
}

func (s *Server) compare(r *request) (reply, error) {
	var policy engine.Policy
	var both subject // select is for both
	source, target := &side{name: "source"}, &side{name: "target"}
	fields := append(both.options(), both.spaceField(), source.field(), target.field())
	if err := r.decode(append(fields, policyFields(&policy)...)); err != nil {
		return reply{}, err
	}
	for _, d := range []*side{source, target} {
		if err := d.check(); err != nil {
			return reply{}, err
		}
	}
	if err := policy.Validate(); err != nil {
		return reply{}, err
	}
	both.photos = append(source.photos, target.photos...)
	if len(both.photos) == 0 && both.sel+both.space != "" {
		return reply{}, fail(codeBadRequest, "select and space go with a photo; both sides are templates")
	}
	for _, t := range append(source.templates, target.templates...) {
		both.space = cmp.Or(both.space, t.Space)
	}
	templates, faces, err := r.resolve(&both)
	if err != nil {
		return reply{}, err
	}
	a, aFace := source.result(&templates, &faces)
	b, bFace := target.result(&templates, &faces)
	d, err := s.engine.Compare(r.ctx, a, b, policy)
	return reply{status: 200, value: comparedBody{d, aFace, bFace}}, err
}

// result returns the side's template, and its face if it was a photo: then it is the next that was resolved.
func (d *side) result(templates *[]engine.Template, faces *[]extract.Face) (engine.Template, *faceBody) {
	if len(d.templates) > 0 {
		return d.templates[0], nil
	}
	t, face := (*templates)[0], foundFace(*faces)
	*templates, *faces = (*templates)[1:], (*faces)[1:]
	return t, face
}

func (s *Server) extract(r *request) (reply, error) {
	var sub subject
	var crop bool
	err := r.decode([]field{
		{name: "image", json: sub.takeImage, file: sub.addPhoto},
		{name: "crop", json: takeBool(&crop), text: textBool(&crop)},
		sub.spaceField(),
	})
	if err != nil {
		return reply{}, err
	}
	if len(sub.photos) == 0 {
		return reply{}, fail(codeBadRequest, "give image")
	}
	x, err := s.extractorOf(sub.space)
	if err != nil {
		return reply{}, err
	}
	found, err := r.extractOne(x, sub.photos[0].data, extract.SelectAll)
	if err != nil {
		return reply{}, err
	}
	faces := make([]faceBody, len(found))
	for i, f := range found {
		if faces[i], err = wholeFace(f, x.space, crop); err != nil {
			return reply{}, err
		}
	}
	return reply{status: 200, value: map[string]any{"faces": faces}}, nil
}

func wholeFace(f extract.Face, space string, crop bool) (faceBody, error) {
	b := faceBody{
		Box: f.Box, Score: f.Score, Landmarks: f.Points(),
		Template: newTemplateBody(space, f.Template),
	}
	var err error
	if crop {
		b.Crop, err = f.Crop.PNG()
	}
	return b, err
}
