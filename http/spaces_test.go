package http

import (
	"context"
	"encoding/base64"
	"fmt"
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
