package http

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"mien/engine"
	"mien/extract"
)

// otherSpace is a second space, of another length so that a template in the wrong one can't pass.
var otherSpace = engine.Space{ID: "other-24", Dim: 24, Calibration: testSpace.Calibration}

// fakeExtractor finds in any bytes one face, whose template is of a space's length and of the bytes' first.
func fakeExtractor(dim int) Extractor {
	return extractorFunc(func(_ context.Context, data []byte, _ extract.Options) ([]extract.Face, error) {
		return []extract.Face{{Template: vector(uint64(data[0]), dim), Score: 0.9}}, nil
	})
}

// newSpacesHarness serves photos in testSpace, which is the default, and in otherSpace.
func newSpacesHarness(t *testing.T) *harness {
	t.Helper()
	e := openEngine(t, engineConfig(t.TempDir(), testSpace, otherSpace))
	return newHarnessOn(t, e, func(c *Config) {
		c.Extractor, c.Extractors = fakeExtractor(testSpace.Dim), map[string]Extractor{otherSpace.ID: fakeExtractor(otherSpace.Dim)}
	})
}

func templateOf(space engine.Space, v []float32) string {
	return fmt.Sprintf(`{"space":"%s","f32":"%s"}`, space.ID, b64(v))
}

// A photo for a gallery is read by the models of that gallery's space.
func TestPhotoTakesTheSpaceOfItsGallery(t *testing.T) {
	h := newSpacesHarness(t)
	h.want(201, call{method: "PUT", path: "/v1/galleries/first"})
	h.want(201, call{method: "PUT", path: "/v1/galleries/second", body: []byte(`{"space":"other-24"}`)})
	for _, gallery := range []string{"first", "second"} {
		path := "/v1/galleries/" + gallery
		for _, photo := range []string{"a", "b"} {
			h.want(201, call{method: "PUT", path: path + "/people/" + photo, contentType: "image/jpeg", body: []byte(photo)})
		}
		h.want(201, call{method: "POST", path: path + "/people/a/templates", contentType: "image/jpeg", body: []byte("c")})
		var d decisionBody
		h.want(200, call{method: "POST", path: path + "/people/a/verify", contentType: "image/jpeg", body: []byte("c")}).into(t, &d)
		if !d.Match {
			t.Errorf("%s: %+v", gallery, d)
		}
		var found candidatesBody
		h.want(200, call{method: "POST", path: path + "/identify", contentType: "image/jpeg", body: []byte("b")}).into(t, &found)
		if len(found.Candidates.Candidates) == 0 || found.Candidates.Candidates[0].Person != "b" {
			t.Errorf("%s: %+v", gallery, found)
		}
	}
	h.refused(codeSpaceMismatch, call{method: "POST", path: "/v1/galleries/second/identify", body: probeJSON(vector('a', 16), "")})
}

// compare and extract take the space that is named, compare else that of its template, and both else the default.
func TestSpaceOfCompareAndExtract(t *testing.T) {
	h := newSpacesHarness(t)
	photo := base64.StdEncoding.EncodeToString([]byte("a"))
	image, other := `{"image":"`+photo+`"}`, `{"template":`+templateOf(otherSpace, vector('a', 24))+`}`
	for _, body := range []string{
		`{"source":` + image + `,"target":` + image + `}`,
		`{"source":` + image + `,"target":` + image + `,"space":"other-24"}`,
		`{"source":` + image + `,"target":` + other + `}`,
		`{"source":` + other + `,"target":` + image + `,"space":"other-24"}`,
	} {
		var got comparedBody
		h.want(200, call{method: "POST", path: "/v1/compare", body: []byte(body)}).into(t, &got)
		if got.Cosine != 1 {
			t.Errorf("%s: %+v", body, got)
		}
	}
	compare := func(body string) call { return call{method: "POST", path: "/v1/compare", body: []byte(body)} }
	h.refused(codeSpaceMismatch, compare(`{"source":`+other+`,"target":`+image+`,"space":"test-16"}`))
	h.refused(codeBadRequest, compare(`{"source":`+other+`,"target":`+other+`,"space":"other-24"}`))
	h.refused(codeSpaceUnknown, compare(`{"source":`+image+`,"target":`+image+`,"space":"none"}`))

	ct, multi := form(t, part{name: "image", file: "a", data: []byte("a")}, part{name: "space", data: []byte("other-24")})
	for _, c := range []struct {
		want string
		call
	}{
		{"test-16", call{contentType: "image/jpeg", body: []byte("a")}},
		{"other-24", call{path: "?space=other-24", contentType: "image/jpeg", body: []byte("a")}},
		{"other-24", call{contentType: ct, body: multi}},
		{"other-24", call{body: []byte(`{"space":"other-24","image":"` + photo + `"}`)}},
	} {
		c.method, c.path = "POST", "/v1/extract"+c.path
		var got struct{ Faces []faceBody }
		h.want(200, c.call).into(t, &got)
		if len(got.Faces) != 1 || got.Faces[0].Template.Space != c.want {
			t.Errorf("%q: %+v", c.want, got.Faces)
		}
	}
	h.refused(codeSpaceUnknown, call{method: "POST", path: "/v1/extract?space=none", contentType: "image/jpeg", body: []byte("a")})
}

// A space that the engine knows and no models are loaded for takes templates, and photos are refused.
func TestSpaceWithoutModels(t *testing.T) {
	h := newHarnessOn(t, openEngine(t, engineConfig(t.TempDir(), testSpace, otherSpace)), func(c *Config) { c.Extractor = fakeExtractor(16) })
	h.want(201, call{method: "PUT", path: "/v1/galleries/g", body: []byte(`{"space":"other-24"}`)})
	h.refused(codeExtractorMissing, call{method: "PUT", path: "/v1/galleries/g/people/p", contentType: "image/jpeg", body: []byte("a")})
	h.want(201, call{method: "PUT", path: "/v1/galleries/g/people/p", body: []byte(`{"templates":[` + templateOf(otherSpace, vector(1, 24)) + `]}`)})
	h.refused(codeExtractorMissing, call{method: "POST", path: "/v1/extract?space=other-24", contentType: "image/jpeg", body: []byte("a")})
}

// Extractors of a space that the engine has not, or of the default one, which has a field of its own, are a mistake.
func TestExtractorsMustBeOfFurtherSpaces(t *testing.T) {
	e := openEngine(t, engineConfig(t.TempDir(), testSpace, otherSpace))
	for _, id := range []string{"", "none", testSpace.ID} {
		if _, err := New(Config{Engine: e, Extractors: map[string]Extractor{id: fakeExtractor(16)}}); err == nil {
			t.Errorf("%q went through", id)
		}
	}
}

// moving is gallery "g" of testSpace with a and b, on its way to otherSpace; a is done.
func (h *harness) moving() {
	h.t.Helper()
	h.want(201, call{method: "PUT", path: "/v1/galleries/g"})
	for _, photo := range []string{"a", "b"} {
		h.want(201, call{method: "PUT", path: "/v1/galleries/g/people/" + photo, contentType: "image/jpeg", body: []byte(photo)})
	}
	h.want(200, call{method: "POST", path: "/v1/galleries/g/move", body: []byte(`{"space":"other-24","policy":{"fmr":0.001}}`)})
	var p engine.Person
	h.want(200, call{method: "PUT", path: "/v1/galleries/g/people/a", contentType: "image/jpeg", body: []byte("a")}).into(h.t, &p)
	if !p.Moved || len(p.Templates) != 1 {
		h.t.Errorf("%+v", p)
	}
}

func (h *harness) identified(photo string) string {
	h.t.Helper()
	var found candidatesBody
	h.want(200, call{method: "POST", path: "/v1/galleries/g/identify", contentType: "image/jpeg", body: []byte(photo)}).into(h.t, &found)
	if len(found.Candidates.Candidates) == 0 {
		return ""
	}
	return found.Candidates.Candidates[0].Person
}

// A gallery is moved by enrolling its people again: photos are read by both packs, and searched in the old space till the end.
func TestMoveGallery(t *testing.T) {
	h := newSpacesHarness(t)
	h.moving()
	move := func(body string) call {
		return call{method: "POST", path: "/v1/galleries/g/move", body: []byte(body)}
	}
	var g engine.Gallery
	h.want(200, call{method: "GET", path: "/v1/galleries/g"}).into(t, &g)
	if g.Space != "test-16" || g.Move == nil || g.Move.Space != "other-24" || g.Move.People != 2 || g.Move.Done != 1 {
		t.Errorf("%+v %+v", g, g.Move)
	}
	if p := h.refused(codeMoveIncomplete, move(`{"space":"other-24","finish":true}`)); !strings.Contains(p.Detail, "1 of 2 people") {
		t.Errorf("%q", p.Detail)
	}
	if h.identified("b") != "b" || h.identified("a") != "a" {
		t.Error("people are not found in the old space")
	}
	h.refused(codeSpaceMismatch, call{method: "POST", path: "/v1/galleries/g/identify", body: []byte(`{"template":` + templateOf(otherSpace, vector('a', 24)) + `}`)})
	h.want(201, call{method: "POST", path: "/v1/galleries/g/people/b/templates", body: []byte(`{"template":` + templateOf(otherSpace, vector('b', 24)) + `}`)})
	h.want(201, call{method: "POST", path: "/v1/galleries/g/people/b/templates", contentType: "image/jpeg", body: []byte("c")})
	var page peopleBody
	h.want(200, call{method: "GET", path: "/v1/galleries/g/people"}).into(t, &page)
	if len(page.People) != 2 || !page.People[0].Moved || !page.People[1].Moved || len(page.People[1].Templates) != 2 {
		t.Errorf("%+v", page)
	}
	g = engine.Gallery{}
	for range 2 { // the second time it is there already
		h.want(200, move(`{"space":"other-24","finish":true}`)).into(t, &g)
		if g.Space != "other-24" || g.Templates != 3 || g.Move != nil || g.Policy.FMR == nil {
			t.Errorf("%+v", g)
		}
	}
	if h.identified("b") != "b" || h.identified("a") != "a" || h.identified("c") != "b" {
		t.Error("people are not found in the new space")
	}
	h.refused(codeGalleryNotMoving, call{method: "DELETE", path: "/v1/galleries/g/move"})
	h.want(200, move(`{"space":"test-16"}`))
	h.want(200, move(`{"space":"test-16","finish":true,"drop":true}`)).into(t, &g)
	if g.People != 0 {
		t.Errorf("%+v", g)
	}
}

func TestMoveRefusals(t *testing.T) {
	h := newSpacesHarness(t)
	h.moving()
	for body, want := range map[string]code{
		`{}`:                               codeBadRequest,
		`{"space":""}`:                     codeBadRequest,
		`{"space":"no"}`:                   codeSpaceUnknown,
		`{"space":"other-24","drop":true}`: codeBadRequest,
		`{"space":"other-24","finish":true,"policy":{"fmr":0.001}}`: codeBadRequest,
		`{"space":"other-24","policy":{"fmr":2}}`:                   codeBadPolicy,
		`{"space":"test-16"}`:                                       codeGalleryMoving,
		`{"space":"other-24","policy":{"fmr":0.1}}`:                 codeGalleryMoving,
		`{"space":"test-16","finish":true}`:                         codeGalleryMoving,
	} {
		h.refused(want, call{method: "POST", path: "/v1/galleries/g/move", body: []byte(body)})
	}
	h.refused(codeGalleryNotFound, call{method: "POST", path: "/v1/galleries/none/move", body: []byte(`{"space":"other-24"}`)})
	h.want(204, call{method: "DELETE", path: "/v1/galleries/g/move"})
	h.refused(codeGalleryNotMoving, call{method: "POST", path: "/v1/galleries/g/move", body: []byte(`{"space":"other-24","finish":true}`)})
}

// A gallery isn't moved to where its gate can't be judged, and gets no such gate on the way.
func TestMoveAndGates(t *testing.T) {
	e := openEngine(t, engineConfig(t.TempDir(), testSpace, otherSpace))
	h := newHarnessOn(t, e, func(c *Config) {
		c.Extractor, c.Extractors = &judge{can: []string{"sharpness"}, dim: 16}, map[string]Extractor{otherSpace.ID: fakeExtractor(24)}
	})
	gate := []byte(`{"gate":{"enrol":{"sharpness":10}}}`)
	begin := call{method: "POST", path: "/v1/galleries/g/move", body: []byte(`{"space":"other-24"}`)}
	h.want(201, call{method: "PUT", path: "/v1/galleries/g", body: gate})
	h.refused(codeBadGate, begin)
	h.want(200, call{method: "PATCH", path: "/v1/galleries/g", body: []byte(`{"gate":null}`)})
	h.want(200, begin)
	h.refused(codeBadGate, call{method: "PATCH", path: "/v1/galleries/g", body: gate})
	h.want(204, call{method: "DELETE", path: "/v1/galleries/g/move"})
	h.want(200, call{method: "PATCH", path: "/v1/galleries/g", body: gate})
}

// A photo that the new space's models can't read is refused, and says so: half enrolled would be found out at the switch.
func TestMoveNeedsPhotosForBoth(t *testing.T) {
	e := openEngine(t, engineConfig(t.TempDir(), testSpace, otherSpace))
	blind := extractorFunc(func(_ context.Context, data []byte, _ extract.Options) ([]extract.Face, error) {
		if data[0] == 'x' {
			return nil, extract.ErrNoFace
		}
		return []extract.Face{{Template: vector(uint64(data[0]), 24)}}, nil
	})
	h := newHarnessOn(t, e, func(c *Config) {
		c.Extractor, c.Extractors = fakeExtractor(16), map[string]Extractor{otherSpace.ID: blind}
	})
	h.moving()
	p := h.refused(codeNoFace, call{method: "PUT", path: "/v1/galleries/g/people/x", contentType: "image/jpeg", body: []byte("x")})
	if !strings.Contains(p.Detail, "other-24") {
		t.Errorf("%q", p.Detail)
	}
	h.refused(codePersonNotFound, call{method: "GET", path: "/v1/galleries/g/people/x"})
	if h.identified("b") != "b" {
		t.Error("searches are read by the new space's models too")
	}
}

// A request whose photo was read for the old space when the switch came is answered in the new one.
func TestPhotoMeetsTheSwitch(t *testing.T) {
	e := openEngine(t, engineConfig(t.TempDir(), testSpace, otherSpace))
	var meet func()
	old := extractorFunc(func(_ context.Context, data []byte, _ extract.Options) ([]extract.Face, error) {
		meet()
		return []extract.Face{{Template: vector(uint64(data[0]), 16)}}, nil
	})
	h := newHarnessOn(t, e, func(c *Config) {
		c.Extractor, c.Extractors = old, map[string]Extractor{otherSpace.ID: fakeExtractor(24)}
	})
	ctx := context.Background()
	for name, c := range map[string]call{
		"identify":   {method: "POST", path: "/v1/galleries/g/identify"},
		"group":      {method: "POST", path: "/v1/galleries/g/identify?select=all"},
		"duplicates": {method: "POST", path: "/v1/galleries/g/duplicates"},
		"verify":     {method: "POST", path: "/v1/galleries/g/people/a/verify"},
		"put":        {method: "PUT", path: "/v1/galleries/g/people/a"},
		"add":        {method: "POST", path: "/v1/galleries/g/people/a/templates"},
	} {
		meet = func() {}
		h.moving()
		meet = func() {
			meet = func() { t.Errorf("%s: the photo is read for the old space again", name) }
			if _, err := e.FinishMove(ctx, "default", "g", otherSpace.ID, true); err != nil {
				t.Error(err)
			}
		}
		c.contentType, c.body = "image/jpeg", []byte("a")
		if a := h.do(c); a.status/100 != 2 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		h.want(204, call{method: "DELETE", path: "/v1/galleries/g"})
	}
}
