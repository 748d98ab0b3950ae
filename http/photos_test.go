package http

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/png"
	"math"
	"strings"
	"testing"

	"mien/engine"
	"mien/extract"
	"mien/extract/extracttest"
)

// The road of a photo in each way that a request may carry it, with the real models.
func TestPhotos(t *testing.T) {
	h := newPhotoHarness(t)
	h.want(200, call{method: "GET", path: "/readyz", token: "none"})
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	h.enrolEachWay()
	a2 := face(t, "a_2.jpg")
	encoded := base64.StdEncoding.EncodeToString(a2)
	ct, multi := form(t, part{name: "image", file: "a.jpg", contentType: "image/jpeg", data: a2},
		part{name: "top_k", data: []byte("1")}, part{name: "fpir", data: []byte("0.01")}, part{name: "exact", data: []byte("true")}, part{name: "ef", data: []byte("64")})
	for name, c := range map[string]call{
		"json":      {body: fmt.Appendf(nil, `{"image":"%s","top_k":1,"policy":{"fpir":0.01}}`, encoded)},
		"data url":  {body: fmt.Appendf(nil, `{"image":"data:image/jpeg;base64,%s","select":"one","top_k":1}`, encoded)},
		"multipart": {contentType: ct, body: multi},
		"raw":       {contentType: "image/jpeg", body: a2},
		"octets":    {contentType: "application/octet-stream", body: a2, chunked: true},
	} {
		c.method, c.path = "POST", "/v1/galleries/staff/identify"
		if name == "raw" {
			c.path += "?top_k=1&fpir=0.01&select=largest&exact=true&ef=200"
		}
		t.Run(name, func(t *testing.T) {
			var got candidatesBody
			a := h.want(200, c)
			a.into(t, &got)
			if len(got.Candidates.Candidates) == 0 || got.Candidates.Candidates[0].Person != "a" || got.Face == nil || got.Face.Box.X2 <= got.Face.Box.X1 {
				t.Errorf("%s", a.body)
			}
		})
	}
	h.verifyAndCompare()
}

// enrolEachWay enrols a by JSON with two photos, b raw, c by multipart with metadata.
func (h *harness) enrolEachWay() {
	t := h.t
	t.Helper()
	two := fmt.Appendf(nil, `{"images":["%s","%s"]}`, base64.StdEncoding.EncodeToString(face(t, "a_1.jpg")), base64.StdEncoding.EncodeToString(face(t, "a_3.jpg")))
	var p engine.Person
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/a", body: two}).into(t, &p)
	if len(p.Templates) != 2 || p.Templates[0].Source != "image" {
		t.Errorf("%+v", p)
	}
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/b?select=one", contentType: "image/jpeg", body: face(t, "b_1.jpg")})
	ct, body := form(t, part{name: "image", file: "1.jpg", contentType: "image/jpeg", data: face(t, "c_1.jpg")},
		part{name: "metadata", contentType: "application/json", data: []byte(`{"name":"C"}`)}, part{name: "select", data: []byte("one")})
	p = engine.Person{}
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/c", contentType: ct, body: body}).into(t, &p)
	if string(p.Metadata) != `{"name":"C"}` {
		t.Errorf("%s", p.Metadata)
	}
	h.want(201, call{method: "POST", path: "/v1/galleries/staff/people/c/templates", contentType: "image/jpeg", body: face(t, "c_2.jpg")})
}

func (h *harness) verifyAndCompare() {
	t := h.t
	t.Helper()
	var d decisionBody
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/people/b/verify?fmr=1e-4", contentType: "image/jpeg", body: face(t, "b_2.jpg")}).into(t, &d)
	if !d.Match || d.Face == nil {
		t.Errorf("mated: %+v", d)
	}
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/people/a/verify", contentType: "image/jpeg", body: face(t, "b_2.jpg")}).into(t, &d)
	if d.Match {
		t.Errorf("stranger: %+v", d)
	}
	ct, body := form(t, part{name: "source", file: "s", data: face(t, "a_1.jpg")}, part{name: "target", file: "t", data: face(t, "a_2.jpg")},
		part{name: "similarity", data: []byte("0.8")})
	var c comparedBody
	h.want(200, call{method: "POST", path: "/v1/compare", contentType: ct, body: body}).into(t, &c)
	if !c.Match || c.Source == nil || c.Target == nil {
		t.Errorf("compare: %+v", c)
	}
}

// A template that extract gives is the one that a photo stands for, and group photos give every face.
func TestExtract(t *testing.T) {
	h := newPhotoHarness(t)
	var got struct{ Faces []faceBody }
	h.want(200, call{method: "POST", path: "/v1/extract?crop=true", contentType: "image/jpeg", body: face(t, "a_1.jpg")}).into(t, &got)
	if len(got.Faces) != 1 || len(got.Faces[0].Landmarks) != 68 {
		t.Fatalf("%d faces", len(got.Faces))
	}
	if l := got.Faces[0].Liveness; l == nil || l.Verdict != extract.Live {
		t.Errorf("liveness of a person: %+v", l)
	}
	crop, err := png.Decode(bytes.NewReader(got.Faces[0].Crop))
	if err != nil || crop.Bounds().Dx() != 112 {
		t.Errorf("crop: %v", err)
	}
	T := fmt.Sprintf(`{"space":"%s","f32":"%s"}`, got.Faces[0].Template.Space, base64.StdEncoding.EncodeToString(got.Faces[0].Template.F32))
	img := base64.StdEncoding.EncodeToString(face(t, "a_1.jpg"))
	for _, body := range []string{
		`{"source":{"template":` + T + `},"target":{"image":"` + img + `"}}`,
		`{"source":{"image":"` + img + `"},"target":{"template":` + T + `}}`,
	} {
		var c comparedBody
		h.want(200, call{method: "POST", path: "/v1/compare", body: []byte(body)}).into(t, &c)
		if math.Abs(c.Cosine-1) > 1e-4 || (c.Source == nil) == (c.Target == nil) || (c.Source == nil) != strings.HasPrefix(body, `{"source":{"t`) {
			t.Errorf("%+v", c)
		}
	}
	got.Faces = nil
	h.want(200, call{method: "POST", path: "/v1/extract", contentType: "image/jpeg", body: face(t, "group.jpg")}).into(t, &got)
	if len(got.Faces) != 2 || got.Faces[0].Crop != nil {
		t.Errorf("group: %d faces", len(got.Faces))
	}
	a := h.want(200, call{method: "POST", path: "/v1/extract", contentType: "image/jpeg", body: face(t, "noface.jpg")})
	if strings.TrimSpace(string(a.body)) != `{"faces":[]}` {
		t.Errorf("%s", a.body)
	}
	h.want(200, call{method: "POST", path: "/v1/compare", body: []byte(`{"select":"largest","source":{"image":"` +
		base64.StdEncoding.EncodeToString(face(t, "group.jpg")) + `"},"target":{"image":"` + img + `"}}`)})
}

var (
	_ Extractor = (*extract.Extractor)(nil)
	_ judging   = (*extract.Extractor)(nil)
)

// A good photo passes a gate of the real measures, and is refused for what is wrong with it once it is spoilt.
func TestGateOfRealPhotos(t *testing.T) {
	h := newPhotoHarness(t)
	const gate = `{"luminance_mean":50,"under_exposure_prevention":20,"sharpness":50,"illumination_uniformity":70,"single_face_present":50,"liveness":20}`
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"gate":{"enrol":` + gate + `}}`)})
	good := face(t, "a_1.jpg")
	for what, c := range map[string]struct {
		photo []byte
		code  string
	}{
		"dark":     {extracttest.Dark(t, good), "brightness_failed"},
		"blurred":  {extracttest.Blurry(t, good), "sharpness_failed"},
		"two":      {face(t, "group.jpg"), "several_faces"},
		"shadowed": {extracttest.Shadowed(t, good, 160), "light_uniformity_failed"}, // 160: the face's middle
	} {
		p := h.refused(codeQualityFailed, call{method: "PUT", path: "/v1/galleries/staff/people/x?select=largest", contentType: "image/jpeg", body: c.photo})
		if !strings.Contains(codesOf(p.Reasons), c.code) {
			t.Errorf("%s: %+v, want %s", what, p.Reasons, c.code)
		}
	}
	var p enrolledBody
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/x", contentType: "image/jpeg", body: good}).into(t, &p)
	if q := p.Faces[0].Quality; q["unified_score"] < 50 || p.Faces[0].Pose == nil || p.Faces[0].Eyes.Left < 0.5 || p.Faces[0].Liveness.Verdict != extract.Live {
		t.Errorf("%+v", p.Faces[0])
	}
}
