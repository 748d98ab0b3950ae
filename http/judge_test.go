package http

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"mien/engine"
	"mien/extract"
)

// judge is an extractor whose photos are text: a line for each face, with the seed of its template, its sharpness and its
// liveness.
type judge struct {
	can  []string
	dim  int
	asks func() // called by each extraction, if there

	mu    sync.Mutex
	asked []extract.Options
}

func (j *judge) Measures() []string { return j.can }

func (j *judge) Extract(_ context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	j.mu.Lock()
	j.asked = append(j.asked, o)
	j.mu.Unlock()
	if j.asks != nil {
		j.asks()
	}
	var faces []extract.Face
	for line := range strings.Lines(string(data)) {
		f := extract.Face{Score: 0.9, Crop: &extract.Image{W: 1, H: 1, Pix: make([]uint8, 3)}}
		seed, sharpness, live := uint64(0), float32(0), float32(0)
		if n, _ := fmt.Sscan(line, &seed, &sharpness, &live); n == 0 {
			return nil, extract.ErrNotImage
		}
		if o.Want == 0 || o.Want&extract.WantTemplate != 0 {
			f.Template = vector(seed, j.dim)
		}
		if o.Want&extract.WantQuality != 0 {
			f.Quality[extract.Sharpness], f.Pose.Yaw, f.EyesOpen = sharpness, 7, [2]float32{0.25, 1}
		}
		if o.Want&extract.WantLiveness != 0 {
			f.Liveness = extract.Liveness{Score: live, Verdict: extract.Live}
		}
		faces = append(faces, f)
	}
	switch {
	case o.Select == extract.SelectAll:
		return faces, nil
	case len(faces) == 0:
		return nil, extract.ErrNoFace
	case o.Select == extract.SelectOne && len(faces) > 1:
		return nil, &extract.FacesError{Found: len(faces)}
	}
	return faces[:1], nil
}

// last is what was asked of the last extraction.
func (j *judge) last() extract.Options {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.asked[len(j.asked)-1]
}

// newJudgeHarness serves photos of a judge that can judge everything, and the gallery "staff" with the gates.
func newJudgeHarness(t *testing.T, gate string) (*harness, *judge) {
	t.Helper()
	j := &judge{can: engine.Measures(), dim: testSpace.Dim}
	h := newHarness(t, func(c *Config) { c.Extractor = j })
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"gate":` + gate + `}`)})
	return h, j
}

func raw(method, path, photo string) call {
	return call{method: method, path: "/v1/galleries/staff" + path, contentType: "image/jpeg", body: []byte(photo)}
}

func b64s(photos ...string) string {
	var all []string
	for _, p := range photos {
		all = append(all, `"`+base64.StdEncoding.EncodeToString([]byte(p))+`"`)
	}
	return strings.Join(all, ",")
}

// codesOf are those of the reasons.
func codesOf(reasons []engine.Reason) string {
	var all []string
	for _, r := range reasons {
		all = append(all, r.Code)
	}
	return strings.Join(all, " ")
}

// refusedFor demands that the photo does not pass a gate, for these reasons.
func (h *harness) refusedFor(codes string, c call) problemBody {
	h.t.Helper()
	p := h.refused(codeQualityFailed, c)
	if codesOf(p.Reasons) != codes {
		h.t.Errorf("%s %s: reasons %+v, want %s", c.method, c.path, p.Reasons, codes)
	}
	for _, r := range p.Reasons {
		if !strings.Contains(p.Detail, r.Advice) {
			h.t.Errorf("the detail %q does not say %q", p.Detail, r.Advice)
		}
	}
	return p
}

// The engine's names of measures are the extractor's.
func TestMeasuresAgree(t *testing.T) {
	var names []string
	for m := range extract.NumMeasures {
		names = append(names, extract.Measure(m).String())
	}
	if want := append(names, extract.LivenessMeasure); !slices.Equal(engine.Measures(), want) {
		t.Errorf("engine: %v\nextract: %v", engine.Measures(), want)
	}
	doc := func(name string) (all []string) {
		for _, v := range document().doc.Components.Schemas[name].Value.Enum {
			all = append(all, v.(string))
		}
		return all
	}
	if !slices.Equal(doc("Measure"), engine.Measures()) || !slices.Equal(doc("ReasonCode"), engine.ReasonCodes()) {
		t.Error("the document has other measures or reasons than the engine")
	}
	for _, c := range engine.ReasonCodes() {
		if code(c) == codeQualityFailed || code(c) == codeFaceTooSmall || code(c) == codeSeveralFaces {
			continue // the same thing under the same name
		}
		if _, taken := codes[code(c)]; taken {
			t.Errorf("%s is a problem of its own and a reason", c)
		}
	}
}

// Enrolment goes by the one gate of the gallery, probes by the other; what is refused changes nothing, and only what a
// gate needs is extracted.
func TestGalleryGate(t *testing.T) {
	h, j := newJudgeHarness(t, `{"enrol":{"sharpness":60},"probe":{"liveness":50}}`)
	h.refusedFor("sharpness_failed", raw("PUT", "/people/ada", "1 59.9 1"))
	h.refused(codePersonNotFound, call{method: "GET", path: "/v1/galleries/staff/people/ada"})
	var p struct {
		engine.Person
		Faces []faceBody
	}
	h.want(201, raw("PUT", "/people/ada", "1 60 0")).into(t, &p)
	if len(p.Faces) != 1 || p.Faces[0].Quality["sharpness"] != 60 || p.Faces[0].Liveness != nil || p.ID != "ada" {
		t.Errorf("%+v", p)
	}
	if got := j.last(); got.Want != extract.WantTemplate|extract.WantQuality {
		t.Errorf("for a gate of sharpness was asked %b", got.Want)
	}
	h.refusedFor("sharpness_failed", raw("POST", "/people/ada/templates", "2 10 1"))
	h.want(201, raw("POST", "/people/ada/templates", "2 70 0"))
	for _, path := range []string{"/identify", "/duplicates", "/people/ada/verify"} {
		refused := h.refusedFor("liveness_failed", raw("POST", path, "1 0 0.499"))
		if r := refused.Reasons[0]; r.Measure != "liveness" || r.Value != 49.9 || r.Least != 50 {
			t.Errorf("%+v", r)
		}
		var found struct{ Face faceBody }
		h.want(200, raw("POST", path, "1 0 0.5")).into(t, &found)
		if got := j.last(); got.Want != extract.WantTemplate|extract.WantLiveness || found.Face.Liveness.Score != 0.5 || found.Face.Quality != nil {
			t.Errorf("%s: asked %b, got %+v", path, got.Want, found.Face)
		}
		if path != "/people/ada/verify" {
			h.want(200, call{method: "POST", path: "/v1/galleries/staff" + path, body: probeJSON(vector(1, 16), "")})
		}
	}
	h.want(200, call{method: "PUT", path: "/v1/galleries/staff/people/ada", body: personJSON(vector(3, 16))}) // a template has no photo
	if g, err := h.engine.Gallery(t.Context(), "default", "staff"); err != nil || g.People != 1 || g.Templates != 1 {
		t.Errorf("%+v, %v", g, err)
	}
}

// A request may ask for more than the gallery, in each way that it may be sent, and not for less.
func TestGateOfTheCall(t *testing.T) {
	h, j := newJudgeHarness(t, `{"probe":{"sharpness":30}}`)
	h.want(201, raw("PUT", "/people/ada", "1 0 0"))
	if got := j.last(); got.Want != extract.WantTemplate {
		t.Errorf("without a gate was asked %b", got.Want)
	}
	path := "/v1/galleries/staff/identify"
	multipart := func(gate string) call {
		ct, body := form(t, part{name: "image", file: "x", data: []byte("1 40 0.4")}, part{name: "gate", data: []byte(gate)})
		return call{method: "POST", path: path, contentType: ct, body: body}
	}
	asJSON := func(gate string) call {
		return call{method: "POST", path: path, body: fmt.Appendf(nil, `{"image":%s,"gate":%s}`, b64s("1 40 0.4"), gate)}
	}
	for _, c := range []call{multipart("sharpness=50,liveness=50"), asJSON(`{"liveness":50,"sharpness":50}`), raw("POST", "/identify?gate=liveness=50,sharpness%3D5e1", "1 40 0.4")} {
		h.refusedFor("sharpness_failed liveness_failed", c)
	}
	for _, c := range []call{multipart("liveness=40"), asJSON(`{"liveness":40,"sharpness":40}`), asJSON(`{}`), raw("POST", "/identify?gate=liveness=1", "1 40 0.4")} {
		h.want(200, c)
	}
	h.refusedFor("sharpness_failed", raw("POST", "/identify?gate=sharpness=1", "1 29 1"))
	h.refusedFor("sharpness_failed", raw("PUT", "/people/bob?gate=sharpness=1", "1 0 1"))
	h.refusedFor("sharpness_failed", raw("POST", "/people/ada/templates?gate=sharpness=1", "1 0 1"))
}

// Of several photos the refusal says which.
func TestGateOfSeveralPhotos(t *testing.T) {
	h, _ := newJudgeHarness(t, `{"enrol":{"sharpness":60}}`)
	path := "/v1/galleries/staff/people/ada"
	p := h.refusedFor("sharpness_failed", call{method: "PUT", path: path, body: []byte(`{"images":[` + b64s("1 60 1", "1 59 1", "1 1 1") + `]}`)})
	if p.Pointer != "/images/1" || !strings.HasPrefix(p.Detail, "/images/1: ") {
		t.Errorf("%+v", p)
	}
	ct, body := form(t, part{name: "image", file: "a", data: []byte("1 60 1")}, part{name: "image", file: "b", data: []byte("1 9 1")})
	if p := h.refusedFor("sharpness_failed", call{method: "PUT", path: path, contentType: ct, body: body}); p.Pointer != "image[1]" {
		t.Errorf("%+v", p)
	}
	h.want(201, call{method: "PUT", path: path, body: []byte(`{"images":[` + b64s("1 60 1", "1 61 1") + `]}`)})
	for _, c := range []struct{ source, target, at string }{{`"image":` + b64s("1 9 1"), `"template":` + templateJSON(vector(1, 16)), "source"},
		{`"template":` + templateJSON(vector(1, 16)), `"image":` + b64s("1 9 1"), "target"}, {`"image":` + b64s("1 10 1"), `"image":` + b64s("1 9 1"), "target"}} {
		body := fmt.Appendf(nil, `{"source":{%s},"target":{%s},"gate":{"sharpness":10}}`, c.source, c.target)
		if p := h.refusedFor("sharpness_failed", call{method: "POST", path: "/v1/compare", body: body}); p.Pointer != c.at {
			t.Errorf("%+v, want %s", p, c.at)
		}
	}
	var d comparedBody
	h.want(200, call{method: "POST", path: "/v1/compare", body: fmt.Appendf(nil, `{"source":{"image":%s},"target":{"template":%s},"want":["liveness"]}`,
		b64s("1 9 1"), templateJSON(vector(1, 16)))}).into(t, &d)
	if !d.Match || d.Source.Liveness.Verdict != extract.Live || d.Source.Quality != nil {
		t.Errorf("%+v", d)
	}
}

func TestGateRefusals(t *testing.T) {
	h, _ := newJudgeHarness(t, `{}`)
	gallery := func(body string) call {
		return call{method: "PUT", path: "/v1/galleries/x", body: []byte(body)}
	}
	identify := func(gate string) call {
		return call{method: "POST", path: "/v1/galleries/staff/identify", body: []byte(`{"image":"AAAA","gate":` + gate + `}`)}
	}
	patch := func(body string) call {
		return call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(body)}
	}
	for _, c := range []struct {
		code code
		says string
		call call
	}{
		{codeBadGate, "unified_score, sharpness,", gallery(`{"gate":{"enrol":{"beauty":1}}}`)},
		{codeBadGate, "at most 100", gallery(`{"gate":{"probe":{"sharpness":101}}}`)},
		{codeBadGate, "more than 0", gallery(`{"gate":{"probe":{"sharpness":0}}}`)},
		{codeBadGate, "twice", gallery(`{"gate":{"probe":{"sharpness":1,"sharpness":1}}}`)},
		{codeBadJSON, "enrol, probe", gallery(`{"gate":{"sharpness":1}}`)},
		{codeBadJSON, `"/gate/enrol"`, gallery(`{"gate":{"enrol":[]}}`)},
		{codeBadJSON, `"/gate"`, gallery(`{"gate":null}`)},
		{codeBadJSON, `"/gate/probe/liveness"`, gallery(`{"gate":{"probe":{"liveness":"high"}}}`)},
		{codeBadGate, "beauty", identify(`{"beauty":1}`)},
		{codeBadGate, "xxx…", identify(`{"` + strings.Repeat("x", 1e5) + `":1}`)},
		{codeBadGate, "must be more than 0", identify(`{"sharpness":-1}`)},
		{codeBadJSON, "out of range", identify(`{"sharpness":1e999}`)},
		{codeBadJSON, "an object", identify(`"sharpness=1"`)},
		{codeBadGate, "sharpness=20,liveness=50", raw("POST", "/identify?gate=sharpness", "1")},
		{codeBadGate, "sharpness=20,liveness=50", raw("POST", "/identify?gate=", "1")},
		{codeBadGate, "twice", raw("POST", "/identify?gate=sharpness=1,sharpness=2", "1")},
		{codeBadGate, "NaN", raw("POST", "/identify?gate=sharpness=NaN", "1")},
		{codeBadGate, "no measure", raw("POST", "/identify?gate=%20sharpness=1", "1")},
		{codeBadRequest, "gate", call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(vector(1, 16), `,"gate":{}`)}},
		{codeBadRequest, "want", call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(vector(1, 16), `,"want":["quality"]`)}},
		{codeBadRequest, "gate", call{method: "POST", path: "/v1/compare", body: fmt.Appendf(nil, `{"source":{"template":%s},"target":{"template":%[1]s},"gate":{"sharpness":1}}`, templateJSON(vector(1, 16)))}},
		{codeBadRequest, "quality, liveness, not", raw("POST", "/identify?want=template", "1")},
		{codeBadRequest, "quality, liveness and template, not", call{method: "POST", path: "/v1/extract?want=beauty", contentType: "image/png", body: []byte("1")}},
		{codeBadJSON, "array", call{method: "POST", path: "/v1/extract", body: []byte(`{"image":"AAAA","want":"quality"}`)}},
		{codeBadRequest, `"one", "largest" or "all"`, raw("POST", "/identify?select=both", "1")},
		{codeBadRequest, `"one" or "largest"`, raw("POST", "/people/ada/verify?select=all", "1")},
		{codeBadRequest, `"one" or "largest"`, raw("PUT", "/people/ada?select=all", "1")},
		{codeBadRequest, "nothing else", patch(`{}`)},
		{codeBadJSON, "policy, gate", patch(`{"index":"scan"}`)},
		{codeBadJSON, "policy, gate", patch(`{"space":"test-16","policy":{"fmr":1e-3}}`)},
		{codeBadPolicy, "at most one", patch(`{"policy":{"fmr":1e-3,"cosine":1}}`)},
		{codeBadGate, "beauty", patch(`{"gate":{"probe":{"beauty":1}},"policy":{"fmr":1e-3}}`)},
		{codeBadJSON, "an object", patch(`{"policy":1}`)},
		{codeGalleryNotFound, "", call{method: "PATCH", path: "/v1/galleries/none", body: []byte(`{"policy":null}`)}},
		{codeForbidden, "admin", call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"gate":null}`), token: h.token(engine.RoleEnroller)}},
	} {
		if p := h.refused(c.code, c.call); !strings.Contains(p.Detail, c.says) || len(p.Detail) > 1000 {
			t.Errorf("%s %.60s %.80s: %q lacks %q", c.call.method, c.call.path, c.call.body, p.Detail, c.says)
		}
	}
	if g, err := h.engine.Gallery(t.Context(), "default", "staff"); err != nil || !g.Gate.IsZero() || !g.Policy.IsZero() {
		t.Errorf("refused changes have changed %+v, %v", g, err)
	}
	h.refused(codeGalleryNotFound, call{method: "GET", path: "/v1/galleries/x"})
}

// What the models can't judge is refused where it is asked for, and named where the gallery asks for it.
func TestMeasuresOfThePack(t *testing.T) {
	h, j := newJudgeHarness(t, `{"probe":{"liveness":50}}`)
	j.can = []string{"sharpness"}
	put := func(gate string) call {
		return call{method: "PUT", path: "/v1/galleries/x", body: []byte(`{"gate":` + gate + `}`)}
	}
	if p := h.refused(codeBadGate, put(`{"enrol":{"liveness":50}}`)); !strings.Contains(p.Detail, "liveness; they can judge: sharpness") {
		t.Errorf("%q", p.Detail)
	}
	h.refused(codeBadGate, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"gate":{"probe":{"eyes_open":50}}}`)})
	h.refused(codeBadGate, raw("PUT", "/people/ada?gate=mouth_closed=1", "1 1 1"))
	if p := h.refused(codeMeasureMissing, raw("POST", "/identify", "1 1 1")); !strings.Contains(p.Detail, "liveness") {
		t.Errorf("%q", p.Detail)
	}
	h.want(201, put(`{"enrol":{"sharpness":50}}`))
	h.want(201, raw("PUT", "/people/ada", "1 1 1"))
	j.can = nil
	if p := h.refused(codeBadGate, put(`{"enrol":{"sharpness":51}}`)); !strings.Contains(p.Detail, "they can judge: nothing") {
		t.Errorf("%q", p.Detail)
	}
	without := newHarness(t, nil) // it takes templates, which no gate looks at
	without.want(201, put(`{"enrol":{"sharpness":51}}`))
	without.want(201, call{method: "PUT", path: "/v1/galleries/x/people/ada", body: personJSON(vector(1, 16))})
}

// A gate that is changed while a photo is judged counts: the photo is judged again, and if that happens once more, the
// client is told.
func TestGateChangedMeanwhile(t *testing.T) {
	h, j := newJudgeHarness(t, `{}`)
	var gates []engine.Gate // of the next extractions
	j.asks = func() {
		if len(gates) == 0 {
			return
		}
		if _, err := h.engine.UpdateGallery(t.Context(), "default", "staff", engine.GalleryChange{Gate: &engine.Gates{Probe: gates[0]}}); err != nil {
			t.Error(err)
		}
		gates = gates[1:]
	}
	for _, path := range []string{"/identify", "/identify?select=all"} {
		h.want(200, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"gate":null}`)})
		gates = []engine.Gate{{"sharpness": 50}, {"liveness": 50}}
		h.refused(codeGateChanged, raw("POST", path, "1 60 1"))
		gates = []engine.Gate{{"sharpness": 50}} // instead of liveness
		h.want(200, raw("POST", path, "1 60 1"))
	}
	gates = []engine.Gate{{"liveness": 50}}
	h.refusedFor("liveness_failed", raw("POST", "/duplicates", "1 60 0.4"))
}

func TestPatchGallery(t *testing.T) {
	h, _ := newJudgeHarness(t, `{"enrol":{"sharpness":60}}`)
	for _, c := range []struct{ body, policy, gate string }{
		{`{"policy":{"cosine":0.5}}`, `{"cosine":0.5}`, `{"enrol":{"sharpness":60}}`},
		{`{"gate":{"probe":{"liveness":50}}}`, `{"cosine":0.5}`, `{"probe":{"liveness":50}}`},
		{`{"gate":{"probe":{"liveness":50}},"policy":null}`, ``, `{"probe":{"liveness":50}}`},
		{`{"gate":null,"policy":{"fmr":0.001}}`, `{"fmr":0.001}`, ``},
		{`{"gate":{}}`, `{"fmr":0.001}`, ``},
	} {
		for _, q := range []call{{method: "PATCH", body: []byte(c.body)}, {method: "GET"}} {
			var g struct{ Policy, Gate json.RawMessage }
			q.path = "/v1/galleries/staff"
			h.want(200, q).into(t, &g)
			if string(g.Policy) != c.policy || string(g.Gate) != c.gate {
				t.Errorf("%s: %s %s", c.body, g.Policy, g.Gate)
			}
		}
	}
	h.refusedFor("sharpness_failed", raw("PUT", "/people/ada?gate=sharpness=1", "1 0 0"))
	h.want(201, raw("PUT", "/people/ada", "1 0 0"))
	h.want(200, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"policy":{"fmr":0.001}}`)})
	h.refused(codeGalleryExists, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"policy":{"fmr":0.001},"gate":{"probe":{"liveness":1}}}`)})
}

func TestExtractJudges(t *testing.T) {
	h, j := newJudgeHarness(t, `{}`)
	extracted := func(query string) faceBody {
		t.Helper()
		var got struct{ Faces []faceBody }
		h.want(200, call{method: "POST", path: "/v1/extract" + query, contentType: "image/jpeg", body: []byte("1 40 0.4")}).into(t, &got)
		if len(got.Faces) != 1 {
			t.Fatalf("%+v", got)
		}
		return got.Faces[0]
	}
	f := extracted("")
	if len(f.Quality) != extract.NumMeasures || f.Quality["sharpness"] != 40 || f.Pose.Yaw != 7 || *f.Eyes != (eyesBody{0.25, 1}) ||
		*f.Liveness != (livenessBody{0.4, extract.Live}) || f.Template == nil || f.Reasons != nil {
		t.Errorf("%+v", f)
	}
	if f = extracted("?want=liveness"); f.Quality != nil || f.Pose != nil || f.Eyes != nil || f.Liveness == nil || f.Template != nil || j.last().Want != extract.WantLiveness {
		t.Errorf("%+v, asked %b", f, j.last().Want)
	}
	if f = extracted("?want=template"); f.Quality != nil || f.Liveness != nil || f.Template == nil || j.last().Want != extract.WantTemplate {
		t.Errorf("%+v, asked %b", f, j.last().Want)
	}
	if f = extracted("?want=template&gate=sharpness=50,liveness=40"); codesOf(f.Reasons) != "sharpness_failed" || f.Quality == nil || f.Liveness == nil {
		t.Errorf("%+v", f)
	}
	if f = extracted("?gate=sharpness=40"); f.Reasons == nil || len(f.Reasons) != 0 {
		t.Errorf("%+v: it passes the gate, and that must be seen", f)
	}
	j.can = []string{"sharpness", "head_pose_yaw"}
	if f = extracted("?want=quality,liveness"); !slices.Equal(slices.Sorted(maps.Keys(f.Quality)), []string{"head_pose_yaw", "sharpness"}) || f.Pose == nil || f.Eyes != nil || f.Liveness != nil {
		t.Errorf("%+v: what can't be judged must not be there", f)
	}
	j.can = nil
	if f = extracted(""); f.Quality != nil || f.Liveness != nil || f.Template == nil {
		t.Errorf("%+v", f)
	}
	h.refused(codeBadGate, call{method: "POST", path: "/v1/extract?gate=sharpness=50", contentType: "image/jpeg", body: []byte("1 40 0.4")})
}

// Of a crowd only the best detections come with their pictures, and all with the rest.
func TestExtractCrops(t *testing.T) {
	h, _ := newJudgeHarness(t, "{}")
	var got struct{ Faces []faceBody }
	h.want(200, call{method: "POST", path: "/v1/extract?crop=true", contentType: "image/png",
		body: []byte(strings.Repeat("1 90 1\n", maxCrops+6))}).into(t, &got)
	if len(got.Faces) != maxCrops+6 {
		t.Fatalf("%d faces", len(got.Faces))
	}
	for i, f := range got.Faces {
		if f.Template == nil || (f.Crop != nil) != (i < maxCrops) {
			t.Errorf("face %d: template %v, crop %v", i, f.Template != nil, f.Crop != nil)
		}
	}
}

// Each face of a group photo is answered by itself.
func TestIdentifyAll(t *testing.T) {
	const stranger = "9" // no template of theirs is near one of ada's or bob's
	h, j := newJudgeHarness(t, `{"probe":{"sharpness":30}}`)
	for i, id := range []string{"ada", "bob"} {
		h.want(201, raw("PUT", "/people/"+id, fmt.Sprintf("%d 100 1", i+1)))
	}
	photo := "2 50 1\n1 10 1\n" + stranger + " 90 1\n1 30 1"
	ct, body := form(t, part{name: "image", file: "x", data: []byte(photo)}, part{name: "select", data: []byte("all")})
	for _, c := range []call{raw("POST", "/identify?select=all", photo), raw("POST", "/duplicates?select=all", photo),
		{method: "POST", path: "/v1/galleries/staff/identify", contentType: ct, body: body},
		{method: "POST", path: "/v1/galleries/staff/identify", body: fmt.Appendf(nil, `{"image":%s,"select":"all"}`, b64s(photo))}} {
		var got groupBody
		h.want(200, c).into(t, &got)
		var who []string
		for _, f := range got.Faces {
			name := codesOf(f.Face.Reasons)
			if f.Candidates != nil && len(f.Candidates.Candidates) > 0 {
				name = f.Candidates.Candidates[0].Person
			}
			who = append(who, name)
		}
		if !slices.Equal(who, []string{"bob", "sharpness_failed", "", "ada"}) || got.Faces[1].Candidates != nil || got.Faces[2].Candidates == nil || got.Faces[0].Searched != 2 {
			t.Errorf("%q in %+v", who, got)
		}
	}
	h.refused(codeNotAnImage, raw("POST", "/identify?select=all", "x"))
	h.refused(codeGalleryNotFound, call{method: "POST", path: "/v1/galleries/none/identify?select=all", contentType: "image/png", body: []byte(photo)})
	crowd := strings.Repeat("1 90 1\n", extract.MaxFaces)
	var got groupBody
	h.want(200, raw("POST", "/identify?select=all&top_k=1", crowd)).into(t, &got)
	if len(got.Faces) != extract.MaxFaces || got.Faces[extract.MaxFaces-1].Candidates.Candidates[0].Person != "ada" {
		t.Errorf("%d faces", len(got.Faces))
	}
	h.refused(codeSeveralFaces, raw("POST", "/identify", photo))
	h.want(200, raw("POST", "/identify?select=largest", photo))
	j.asks = func() {
		if err := h.engine.DeleteGallery(t.Context(), "default", "staff"); err != nil {
			t.Error(err)
		}
	}
	h.refused(codeGalleryNotFound, raw("POST", "/identify?select=all", photo))
}
