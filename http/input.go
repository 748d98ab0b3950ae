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
	sel       string       // "one", "largest", where group is set also "all"; "" is "one"
	group     bool         // many faces of one photo are understood
	enrols    bool         // the gallery's gate for enrolment counts, not that for probes
	gate      engine.Gate  // the request's
	fallback  engine.Gate  // and this where the gallery has none, without what its models can't judge
	want      extract.Want // beside templates and what gates need; 0 says nothing
	space     string       // to make templates of photos in where the path names no gallery; "" is the default

	spare    []float32 // memory for a template; nil: none
	template struct {  // that is being decoded
		engine.Template
		*object
		place string // of the object
	}
}

// vector is memory for a template, empty.
func (s *subject) vector() []float32 {
	v := s.spare
	s.spare = nil
	return v
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

// takeTemplate decodes a template: {"space": "…", "f32": base64 of little-endian float32[dim]}.
func (s *subject) takeTemplate(raw []byte, at string) error {
	t := &s.template
	if t.object == nil || t.place != at {
		t.object, t.place = newObject(at, member{"space", takeString(&t.Space)}, member{"f32", takeFloats(&t.Vector)}), at
	}
	t.Template = engine.Template{Source: "template", Vector: s.vector()}
	err := t.decode(raw, at)
	switch {
	case err != nil:
		return err
	case t.Space == "":
		return fail(codeBadJSON, "%q is missing: the id of the template's embedding space", at+"/space")
	case len(t.Vector) == 0:
		return fail(codeBadJSON, "%q is missing: base64 of little-endian float32 numbers", at+"/f32")
	}
	s.templates = append(s.templates, t.Template)
	return nil
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
		field{name: "template", json: s.takeTemplate, frame: s.takeFrame(1)})
}

// several is the fields of enrolment: images or templates, and select.
func (s *subject) several() []field {
	return append(s.options(),
		field{name: "images", json: takeSeveral(s.takeImage)},
		field{name: "image", file: s.addPhoto, repeat: engine.MaxTemplates},
		field{name: "templates", json: takeSeveral(s.takeTemplate), frame: s.takeFrame(engine.MaxTemplates)})
}

func (s *subject) options() []field {
	return []field{{name: "select", json: s.takeSelect, text: s.setSelect}, gateField(&s.gate), s.wantField(2)}
}

func (s *subject) takeSelect(raw []byte, at string) error {
	var v string
	if err := takeString(&v)(raw, at); err != nil {
		return err
	}
	return s.setSelect(v, at)
}

func (s *subject) setSelect(v, at string) error {
	switch {
	case v == "one" || v == "largest" || v == "all" && s.group:
	case s.group:
		return fail(codeBadRequest, `%q must be "one", "largest" or "all"`, at)
	default:
		return fail(codeBadRequest, `%q must be "one" or "largest"`, at)
	}
	s.sel = v
	return nil
}

// forPhotos reports whether the request has what goes with photos only.
func (s *subject) forPhotos() bool { return s.sel != "" || s.gate != nil || s.want != 0 }

// check holds for what was decoded: photos or templates, and what goes with photos only with them.
func (s *subject) check(photos, templates string) error {
	switch {
	case len(s.photos) == 0 && len(s.templates) == 0:
		return fail(codeBadRequest, "give %s or %s", photos, templates)
	case len(s.photos) > 0 && len(s.templates) > 0:
		return fail(codeBadRequest, "give %s or %s, not both", photos, templates)
	case len(s.templates) > 0 && s.forPhotos():
		return fail(codeBadRequest, "select, gate and want go with a photo; of a template's photo nothing is known")
	}
	return nil
}

func (s *subject) selection() extract.Select {
	switch s.sel {
	case "largest":
		return extract.SelectLargest
	case "all":
		return extract.SelectAll
	}
	return extract.SelectOne
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
	Box       extract.Box        `json:"box"`
	Score     float32            `json:"score"`
	Quality   map[string]float32 `json:"quality,omitempty"` // by measure
	Pose      *extract.Pose      `json:"pose,omitempty"`
	Eyes      *eyesBody          `json:"eyes,omitempty"`
	Liveness  *livenessBody      `json:"liveness,omitempty"`
	Reasons   []engine.Reason    `json:"reasons,omitzero"` // why it does not pass the gate; nil: there was none
	Landmarks []extract.Point    `json:"landmarks,omitempty"`
	Template  *templateBody      `json:"template,omitempty"`
	Crop      []byte             `json:"crop,omitempty"` // PNG
}

// rate is a field of a policy.
type rate struct {
	name string
	dst  **float64
}

func ratesOf(p *engine.Policy) []rate {
	return []rate{{"fmr", &p.FMR}, {"fpir", &p.FPIR}, {"similarity", &p.Similarity}, {"cosine", &p.Cosine}}
}

func takePolicy(p *engine.Policy) func([]byte, string) error {
	return func(raw []byte, at string) error {
		var members []member
		for _, r := range ratesOf(p) {
			members = append(members, member{r.name, takeFloat(r.dst)})
		}
		return decodeObject(raw, at, members)
	}
}

// policyFields takes a policy: an object in JSON, its fields one by one as text.
func policyFields(p *engine.Policy) []field {
	fields := []field{{name: "policy", json: takePolicy(p)}}
	for _, r := range ratesOf(p) {
		fields = append(fields, field{name: r.name, text: textFloat(r.dst)})
	}
	return fields
}

func metadataField(dst *json.RawMessage) field {
	return field{name: "metadata", json: takeObject(dst), text: textJSONObject(dst), noQuery: true}
}

// resolve returns the templates of the subject; of photos also the faces, in order. Photos are extracted at
// the same time, as far as the extractor lets them; those that people are enrolled with in a gallery that is being moved,
// once more for templates of the new space, which follow the others. Errors: those of the extractor, the first photo's first.
func (r *request) resolve(sub *subject) ([]engine.Template, []faceBody, error) {
	if len(sub.photos) == 0 {
		return sub.templates, nil, nil
	}
	g, err := r.precheck(sub.space)
	if err != nil {
		return nil, nil, err
	}
	return r.resolveIn(g, sub)
}

// resolveIn is resolve for photos of a gallery.
func (r *request) resolveIn(g engine.Gallery, sub *subject) ([]engine.Template, []faceBody, error) {
	t, next, err := r.tasksIn(g, sub)
	if err != nil {
		return nil, nil, err
	}
	templates, faces, err := r.extractAll(t, sub.photos)
	if err == nil && next != nil {
		var moved []engine.Template
		moved, _, err = r.extractAll(*next, sub.photos)
		templates, err = append(templates, moved...), inSpace(next.x.space, err)
	}
	return templates, faces, err
}

// task is what is to be done with the photos of a request.
type task struct {
	x    spaceExtractor
	sel  extract.Select
	want extract.Want
	gate engine.Gate // the request's
}

// task plans the extraction of a subject's photos, and refuses what the engine would refuse of the path before they
// cost what they cost. Errors: those, the problems bad_gate, extractor_missing and measure_missing.
func (r *request) task(sub *subject) (task, error) {
	g, err := r.precheck(sub.space)
	if err != nil {
		return task{}, err
	}
	return r.taskIn(g.Space, g.Gate, sub)
}

// tasksIn is task, and for photos that people of a gallery that is being moved are enrolled with also the one for the new space,
// else nil.
func (r *request) tasksIn(g engine.Gallery, sub *subject) (t task, next *task, err error) {
	t, err = r.taskIn(g.Space, g.Gate, sub)
	if err == nil && g.Move != nil && sub.enrols {
		next = new(task)
		*next, err = r.taskIn(g.Move.Space, g.Gate, sub)
		err = inSpace(g.Move.Space, err)
	}
	return t, next, err
}

// taskIn is the task of a subject's photos for a gallery of a space, with its gates.
func (r *request) taskIn(space string, gates engine.Gates, sub *subject) (task, error) {
	x, err := r.server.extractorOf(space)
	if err != nil {
		return task{}, err
	}
	if err := x.judges(sub.gate); err != nil {
		return task{}, err
	}
	gate := gates.Probe
	if sub.enrols {
		gate = gates.Enrol
	}
	asked := sub.gate
	if len(gate) == 0 {
		asked = asked.Stricter(x.judgeable(sub.fallback))
	}
	want, missing := x.wantFor(gate.Stricter(asked))
	if missing != "" {
		return task{}, fail(codeMeasureMissing, "the gallery's gate asks for %s, which the models of its space can't judge here: "+
			"change the gate, or run the server with a pack that can", missing)
	}
	return task{x, sub.selection(), extract.WantTemplate | sub.want | want, asked}, nil
}

// template is that of a face of a photo, with what the engine decides about the photo by, and what a gallery that keeps
// photos stores of it: data is not copied.
func (t task) template(f *extract.Face, data []byte) engine.Template {
	return engine.Template{Space: t.x.space, Vector: f.Template, Source: "image", Photo: &engine.Photo{
		Judged: t.x.judged(f, t.want), Gate: t.gate, Image: data, Box: [4]float32{f.Box.X1, f.Box.Y1, f.Box.X2, f.Box.Y2}}}
}

// precheck refuses what the engine would refuse of the path. It returns the gallery that the path names, else one that
// has nothing but the space that was asked for.
func (r *request) precheck(space string) (g engine.Gallery, err error) {
	if len(r.params) == 0 {
		return engine.Gallery{Space: space}, nil
	}
	g, err = r.server.engine.Gallery(r.ctx, r.key.Tenant, r.params[0])
	if err != nil || len(r.params) < 2 {
		return g, err
	}
	_, err = r.server.engine.Person(r.ctx, r.key.Tenant, r.params[0], r.params[1])
	if errors.Is(err, engine.ErrPersonNotFound) && r.route.op == "putPerson" {
		err = nil
	}
	return g, err
}

// located says of a refusal by the gate, or for its size, which of several photos it is about.
func (s *subject) located(err error) error {
	at := -1
	if e, ok := errors.AsType[*engine.QualityError](err); ok {
		at = e.Template
	} else if e, ok := errors.AsType[*engine.PhotoSizeError](err); ok {
		at = e.Template
	}
	if at < 0 || len(s.photos) < 2 {
		return err
	}
	return &partError{s.photos[at%len(s.photos)].at, err} // photos are there once for each space
}

// extractAll returns the template and the one face of each photo.
func (r *request) extractAll(t task, photos []photo) ([]engine.Template, []faceBody, error) {
	templates, faces := make([]engine.Template, len(photos)), make([]faceBody, len(photos))
	errs := make([]error, len(photos))
	var wg sync.WaitGroup
	for i, p := range photos {
		wg.Go(func() {
			found, err := r.extractOne(t, p.data)
			if err == nil {
				templates[i], faces[i] = t.template(&found[0], p.data), t.x.face(&found[0], t.want)
			} else if len(photos) > 1 {
				err = &partError{p.at, err}
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, nil, errs[i]
	}
	return templates, faces, nil
}

// extractOne runs the extractor and turns a panic of it into an error: the photos of a request run on
// goroutines of their own, and there it would end the process.
func (r *request) extractOne(t task, data []byte) (faces []extract.Face, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("http: panic in the extractor: %v\n%s", v, debug.Stack())
		}
	}()
	faces, err = t.x.Extract(r.ctx, data, extract.Options{Select: t.sel, Want: t.want})
	if err == nil && t.sel != extract.SelectAll && len(faces) != 1 {
		err = fmt.Errorf("http: the extractor gave %d faces where one was asked for", len(faces))
	}
	return faces, err
}
