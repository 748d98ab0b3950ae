package http

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sync"

	"mien/engine"
	"mien/extract"
)

// photo is the bytes of an image and where in the request they were.
type photo struct {
	at   string
	data []byte
}

// subject is who a request is about: photos or templates, never both.
type subject struct {
	photos    []photo
	templates []engine.Template
	sel       string // "one", "largest"; "" is "one"
	space     string // to make templates of photos in where the path names no gallery; "" is the default
}

func (s *subject) addPhoto(data []byte, at string) error {
	s.photos = append(s.photos, photo{at, data})
	return nil
}

func (s *subject) takeImage(raw []byte, at string) error {
	var data []byte
	if err := takeBytes(&data)(raw, at); err != nil {
		return err
	}
	return s.addPhoto(data, at)
}

func (s *subject) takeTemplate(raw []byte, at string) error {
	t, err := decodeTemplate(raw, at)
	s.templates = append(s.templates, t)
	return err
}

// takeSeveral gives each element of an array of 1 to engine.MaxTemplates to take.
func takeSeveral(take func([]byte, string) error) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '[' {
			return wrongType(raw, at, "an array")
		}
		n := 0
		err := eachElement(raw, func(i int, value []byte) error {
			if n = i + 1; n > engine.MaxTemplates {
				return fail(codeBadRequest, "%q may have %d elements at most", at, engine.MaxTemplates)
			}
			return take(value, fmt.Sprintf("%s/%d", at, i))
		})
		if err == nil && n == 0 {
			return fail(codeBadRequest, "%q is empty; give 1 to %d", at, engine.MaxTemplates)
		}
		return err
	}
}

// one is the fields of an operation on one face: image or template, and select.
func (s *subject) one() []field {
	return append(s.options(),
		field{name: "image", json: s.takeImage, file: s.addPhoto},
		field{name: "template", json: s.takeTemplate})
}

// several is the fields of enrolment: images or templates, and select.
func (s *subject) several() []field {
	return append(s.options(),
		field{name: "images", json: takeSeveral(s.takeImage)},
		field{name: "image", file: s.addPhoto, repeat: engine.MaxTemplates},
		field{name: "templates", json: takeSeveral(s.takeTemplate)})
}

func (s *subject) options() []field {
	return []field{{name: "select", json: s.takeSelect, text: s.setSelect}}
}

func (s *subject) takeSelect(raw []byte, at string) error {
	var v string
	if err := takeString(&v)(raw, at); err != nil {
		return err
	}
	return s.setSelect(v, at)
}

func (s *subject) setSelect(v, at string) error {
	if v != "one" && v != "largest" {
		return fail(codeBadRequest, `%q must be "one" or "largest"`, at)
	}
	s.sel = v
	return nil
}

// check holds for what was decoded: photos or templates, and select only with photos.
func (s *subject) check(photos, templates string) error {
	switch {
	case len(s.photos) == 0 && len(s.templates) == 0:
		return fail(codeBadRequest, "give %s or %s", photos, templates)
	case len(s.photos) > 0 && len(s.templates) > 0:
		return fail(codeBadRequest, "give %s or %s, not both", photos, templates)
	case len(s.templates) > 0 && s.sel != "":
		return fail(codeBadRequest, "select goes with a photo; a template is of one face already")
	}
	return nil
}

func (s *subject) selection() extract.Select {
	if s.sel == "largest" {
		return extract.SelectLargest
	}
	return extract.SelectOne
}

// decodeTemplate decodes a template: {"space": "…", "f32": base64 of little-endian float32[dim]}.
func decodeTemplate(raw []byte, at string) (engine.Template, error) {
	t := engine.Template{Source: "template"}
	var data []byte
	err := decodeObject(raw, at, []member{
		{"space", takeString(&t.Space)},
		{"f32", takeBytes(&data)},
	})
	switch {
	case err != nil:
		return t, err
	case t.Space == "":
		return t, fail(codeBadJSON, "%q is missing: the id of the template's embedding space", at+"/space")
	case data == nil:
		return t, fail(codeBadJSON, "%q is missing: base64 of little-endian float32 numbers", at+"/f32")
	case len(data)%4 != 0:
		return t, fail(codeTemplateLength, "%q has %d bytes, which is no whole number of float32", at+"/f32", len(data))
	}
	t.Vector = make([]float32, len(data)/4)
	for i := range t.Vector {
		t.Vector[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return t, nil
}

// templateBody is a template in an answer.
type templateBody struct {
	Space string `json:"space"`
	F32   []byte `json:"f32"` // encoding/json makes it base64
}

func newTemplateBody(space string, v []float32) *templateBody {
	data := make([]byte, 0, 4*len(v))
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return &templateBody{space, data}
}

// faceBody is a face in an answer. Which of the optional fields are there depends on the operation.
type faceBody struct {
	Box       extract.Box     `json:"box"`
	Score     float32         `json:"score"`
	Landmarks []extract.Point `json:"landmarks,omitempty"`
	Template  *templateBody   `json:"template,omitempty"`
	Crop      []byte          `json:"crop,omitempty"` // PNG
}

// policyFields takes a policy: an object in JSON, its fields one by one as text.
func policyFields(p *engine.Policy) []field {
	rates := []struct {
		name string
		dst  **float64
	}{{"fmr", &p.FMR}, {"fpir", &p.FPIR}, {"similarity", &p.Similarity}, {"cosine", &p.Cosine}}
	var members []member
	var fields []field
	for _, r := range rates {
		members = append(members, member{r.name, takeFloat(r.dst)})
		fields = append(fields, field{name: r.name, text: textFloat(r.dst)})
	}
	return append(fields, field{name: "policy", json: func(raw []byte, at string) error {
		return decodeObject(raw, at, members)
	}})
}

func metadataField(dst *json.RawMessage) field {
	return field{name: "metadata", json: takeObject(dst), text: textJSONObject(dst), noQuery: true}
}

// resolve returns the templates of the subject; of photos also the faces, in order. Photos are extracted at
// the same time, as far as the extractor lets them. Errors: those of the extractor, the first photo's first.
func (r *request) resolve(sub *subject) ([]engine.Template, []extract.Face, error) {
	if len(sub.photos) == 0 {
		return sub.templates, nil, nil
	}
	space, err := r.precheck(sub.space)
	if err != nil {
		return nil, nil, err
	}
	x, err := r.server.extractorOf(space)
	if err != nil {
		return nil, nil, err
	}
	faces, err := r.extractAll(x, sub.photos, sub.selection())
	if err != nil {
		return nil, nil, err
	}
	templates := make([]engine.Template, len(faces))
	for i, f := range faces {
		templates[i] = engine.Template{Space: x.space, Vector: f.Template, Source: "image"}
	}
	return templates, faces, nil
}

// precheck refuses what the engine would refuse of the path, before photos cost what they cost. It returns the space of
// the gallery that the path names, else the one that was asked for.
func (r *request) precheck(asked string) (space string, err error) {
	if len(r.params) == 0 {
		return asked, nil
	}
	g, err := r.server.engine.Gallery(r.ctx, r.key.Tenant, r.params[0])
	if err != nil || len(r.params) < 2 {
		return g.Space, err
	}
	_, err = r.server.engine.Person(r.ctx, r.key.Tenant, r.params[0], r.params[1])
	if errors.Is(err, engine.ErrPersonNotFound) && r.route.op == "putPerson" {
		err = nil
	}
	return g.Space, err
}

// extractAll returns the one face of each photo.
func (r *request) extractAll(x spaceExtractor, photos []photo, sel extract.Select) ([]extract.Face, error) {
	faces := make([]extract.Face, len(photos))
	errs := make([]error, len(photos))
	var wg sync.WaitGroup
	for i, p := range photos {
		wg.Go(func() {
			found, err := r.extractOne(x, p.data, sel)
			if err == nil {
				faces[i] = found[0]
			} else if len(photos) > 1 {
				err = &partError{p.at, err}
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return faces, nil
}

// extractOne runs the extractor and turns a panic of it into an error: the photos of a request run on
// goroutines of their own, and there it would end the process.
func (r *request) extractOne(x spaceExtractor, data []byte, sel extract.Select) (faces []extract.Face, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("http: panic in the extractor: %v\n%s", v, debug.Stack())
		}
	}()
	faces, err = x.Extract(r.ctx, data, extract.Options{Select: sel})
	if err == nil && sel != extract.SelectAll && len(faces) != 1 {
		err = fmt.Errorf("http: the extractor gave %d faces where one was asked for", len(faces))
	}
	return faces, err
}
