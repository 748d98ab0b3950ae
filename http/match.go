package http

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"mien/engine"
	"mien/extract"
)

// decisionBody is the answer to a 1:1 question.
type decisionBody struct {
	engine.Decision
	Face *faceBody `json:"face,omitempty"` // of the photo that was sent
}

// question is what a 1:1 or 1:N operation is asked, with the form that takes it. Its sixty closures are made once and serve many
// requests, one at a time, and so does the memory of a template.
type question struct {
	subject
	options engine.IdentifyOptions
	form    *operationForm
}

// newQuestion returns a question whose form has more fields besides a photo or template and a policy.
func newQuestion(more func(*question) []field) *question {
	q := new(question)
	q.form = newForm(slices.Concat(q.one(), policyFields(&q.options.Policy), more(q)))
	return q
}

// verifications and searches are questions to be asked again.
var (
	verifications = sync.Pool{New: func() any { return newQuestion(func(*question) []field { return nil }) }}
	searches      = sync.Pool{New: func() any { return newQuestion((*question).searchFields) }}
)

func (q *question) searchFields() []field {
	o := &q.options
	return []field{
		{name: "top_k", json: takeInt(&o.TopK, 1, engine.MaxTopK), text: textInt(&o.TopK, 1, engine.MaxTopK)},
		{name: "filter", json: takeFilter(&o.Filter), text: textFilter(&o.Filter), noQuery: true},
		{name: "exact", json: takeBool(&o.Exact), text: textBool(&o.Exact)},
		{name: "ef", json: takeInt(&o.EF, 1, engine.MaxEF), text: textInt(&o.EF, 1, engine.MaxEF)},
	}
}

// reset wipes the question. REQUIRES: nothing holds a part of it.
func (q *question) reset() {
	kept := subject{spare: q.spare, templates: q.templates[:0]}
	for _, t := range q.templates {
		clear(t.Vector)
		if 4*cap(t.Vector) <= maxPooledBody {
			kept.spare = t.Vector[:0]
		}
	}
	clear(q.templates)
	kept.template.object, kept.template.place = q.template.object, q.template.place
	q.subject, q.options = kept, engine.IdentifyOptions{}
}

// decodeQuestion decodes what a request asks.
func (r *request) decodeQuestion(q *question) error {
	if err := r.decodeForm(q.form); err != nil {
		return err
	}
	return cmp.Or(q.check("image", "template"), q.options.Policy.Validate(), r.ownPolicy(q.options.Policy))
}

// resolveOne is resolve for a subject of one photo or template; face is nil for a template.
func (r *request) resolveOne(sub *subject) (probe engine.Template, face *faceBody, err error) {
	templates, faces, err := r.resolve(sub)
	if err != nil {
		return probe, nil, err
	}
	if len(faces) > 0 {
		face = &faces[0]
	}
	return templates[0], face, nil
}

func (s *Server) verify(r *request) (reply, error) {
	q := verifications.Get().(*question)
	rep, err := s.verifyAs(r, q)
	q.reset() // after a panic nobody knows who holds it
	verifications.Put(q)
	return rep, err
}

func (s *Server) verifyAs(r *request, q *question) (reply, error) {
	if err := r.decodeQuestion(q); err != nil {
		return reply{}, err
	}
	return q.steadily(func() (reply, error) {
		probe, face, err := r.resolveOne(&q.subject)
		if err != nil {
			return reply{}, err
		}
		d, err := s.engine.Verify(r.ctx, r.key.Tenant, r.params[0], r.params[1], probe, q.options.Policy)
		return reply{status: 200, value: decisionBody{d, face}}, err
	})
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
	q := searches.Get().(*question)
	q.group = true
	rep, err := r.searchAs(find, q)
	q.reset()
	searches.Put(q)
	return rep, err
}

func (r *request) searchAs(find search, q *question) (reply, error) {
	if err := r.decodeQuestion(q); err != nil {
		return reply{}, err
	}
	return q.steadily(func() (reply, error) {
		if q.sel == "all" {
			return r.searchGroup(find, &q.subject, q.options)
		}
		probe, face, err := r.resolveOne(&q.subject)
		if err != nil {
			return reply{}, err
		}
		found, err := find(r.ctx, r.key.Tenant, r.params[0], probe, q.options)
		found.Candidates = orEmpty(found.Candidates)
		return reply{status: 200, value: candidatesBody{found, face}}, err
	})
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
	if len(both.photos) == 0 && (both.space != "" || both.forPhotos()) {
		return reply{}, fail(codeBadRequest, "select, gate, want and space go with a photo; both sides are templates")
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
	if e, ok := errors.AsType[*engine.QualityError](err); ok {
		err = &partError{[]string{source.name, target.name}[e.Template], err}
	}
	return reply{status: 200, value: comparedBody{d, aFace, bFace}}, err
}

// result returns the side's template, and its face if it was a photo: then it is the next that was resolved.
func (d *side) result(templates *[]engine.Template, faces *[]faceBody) (engine.Template, *faceBody) {
	if len(d.templates) > 0 {
		return d.templates[0], nil
	}
	t, face := (*templates)[0], &(*faces)[0]
	*templates, *faces = (*templates)[1:], (*faces)[1:]
	return t, face
}

func (s *Server) extract(r *request) (reply, error) {
	sub := subject{sel: "all"}
	var crop bool
	err := r.decode([]field{
		{name: "image", json: sub.takeImage, file: sub.addPhoto},
		{name: "crop", json: takeBool(&crop), text: textBool(&crop)},
		sub.spaceField(), gateField(&sub.gate), sub.wantField(3),
	})
	if err != nil {
		return reply{}, err
	}
	if len(sub.photos) == 0 {
		return reply{}, fail(codeBadRequest, "give image")
	}
	t, err := r.task(&sub)
	if err != nil {
		return reply{}, err
	}
	if t.want &^= extract.WantTemplate; sub.want == 0 {
		t.want = t.x.everything()
	} else {
		t.want |= sub.want
	}
	found, err := r.extractOne(t, sub.photos[0].data)
	if err != nil {
		return reply{}, err
	}
	faces := make([]faceBody, len(found))
	for i := range found {
		if r.ctx.Err() != nil {
			return reply{}, context.Cause(r.ctx)
		}
		if faces[i], err = t.wholeFace(&found[i], crop && i < maxCrops); err != nil {
			return reply{}, err
		}
	}
	return reply{status: 200, value: map[string]any{"faces": faces}}, nil
}

// maxCrops is how many faces of a photo are returned as pictures, the best detections. To encode one takes some 3 ms
// of work and 1 MB of garbage that no bound of the extractor counts: for the 512 faces of a crowd that is two seconds,
// and an answer of 14 MB. For 64 it is little beside finding them.
const maxCrops = 64

// wholeFace is a face with all that was found out about it.
func (t task) wholeFace(f *extract.Face, crop bool) (b faceBody, err error) {
	b = t.x.face(f, t.want)
	b.Landmarks = f.Points()
	if t.want&extract.WantTemplate != 0 {
		b.Template = newTemplateBody(t.x.space, f.Template)
	}
	if t.gate != nil {
		if b.Reasons, err = t.reasons(f); err != nil {
			return b, err
		}
	}
	if crop {
		b.Crop, err = f.Crop.PNG()
	}
	return b, err
}

// reasons is why a face does not pass the request's gate: empty if it does.
func (t task) reasons(f *extract.Face) ([]engine.Reason, error) {
	err := t.gate.Check(t.x.judged(f, t.want))
	if e, ok := errors.AsType[*engine.QualityError](err); ok {
		return e.Reasons, nil
	}
	return []engine.Reason{}, err
}
