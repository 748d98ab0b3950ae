package http

import (
	"fmt"
	"testing"

	"mien/engine"
)

// TestDuplicatesAtEnrolment: what the three checks answer, and who may ask for less than the gallery.
func TestDuplicatesAtEnrolment(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	g := h.want(200, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"duplicates":"reject","duplicate_policy":{"similarity":0.9}}`)})
	var spec struct {
		Duplicates string
		Policy     engine.Policy `json:"duplicate_policy"`
	}
	if g.into(t, &spec); spec.Duplicates != "reject" || *spec.Policy.Similarity != 0.9 {
		t.Errorf("%s", g.body)
	}
	put := func(id, duplicates string) call {
		body := fmt.Appendf(nil, `{"templates":[%s]`, templateJSON(near(1, 16)))
		if duplicates != "" {
			body = fmt.Appendf(body, `,"duplicates":"%s"`, duplicates)
		}
		return call{method: "PUT", path: "/v1/galleries/staff/people/" + id, body: append(body, '}')}
	}
	p := h.refused(codeDuplicate, put("eve", ""))
	if len(p.Duplicates) != 1 || p.Duplicates[0].Person != "ada" || p.Duplicates[0].Similarity < 0.9 {
		t.Errorf("%+v", p)
	}
	h.refused(codePersonNotFound, call{method: "GET", path: "/v1/galleries/staff/people/eve"})
	h.want(200, put("ada", "")) // oneself
	asEnroller := put("eve", "off")
	asEnroller.token = h.token(engine.RoleEnroller)
	if p := h.refused(codeDuplicate, asEnroller); len(p.Duplicates) != 1 {
		t.Errorf("an enroller is told: %+v", p)
	}
	var warned struct{ Duplicates []engine.Candidate }
	if h.want(201, put("eve", "warn")).into(t, &warned); len(warned.Duplicates) != 1 || warned.Duplicates[0].Person != "ada" {
		t.Errorf("%+v", warned)
	}
	warned.Duplicates = nil
	if h.want(200, put("eve", "off")).into(t, &warned); warned.Duplicates != nil {
		t.Errorf("off: %+v", warned)
	}
	h.refused(codeBadRequest, put("eve", "maybe"))
	add := call{method: "POST", path: "/v1/galleries/staff/people/bob/templates", body: probeJSON(near(1, 16), "")}
	if p := h.refused(codeDuplicate, add); len(p.Duplicates) != 2 {
		t.Errorf("%+v", p)
	}
	h.want(200, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"duplicates":null,"duplicate_policy":null}`)})
	h.want(201, add)
	h.refused(codeBadPolicy, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"duplicate_policy":{"cosine":0.5}}`)})
	h.refused(codeBadRequest, call{method: "PUT", path: "/v1/galleries/new", body: []byte(`{"duplicates":"maybe"}`)})
	h.want(201, call{method: "PUT", path: "/v1/galleries/new", body: []byte(`{"duplicates":"warn"}`)})
	h.refused(codeGalleryExists, call{method: "PUT", path: "/v1/galleries/new", body: []byte(`{"duplicates":"reject"}`)})
}

// TestDuplicatePhotos: the option with a photo as a raw body and in a form.
func TestDuplicatePhotos(t *testing.T) {
	h := newPhotoHarness(t)
	h.want(201, call{method: "PUT", path: "/v1/galleries/g"})
	h.want(201, call{method: "PUT", path: "/v1/galleries/g/people/a", body: face(t, "a_1.jpg"), contentType: "image/jpeg"})
	raw := call{method: "PUT", path: "/v1/galleries/g/people/x?duplicates=reject", body: face(t, "a_2.jpg"), contentType: "image/jpeg"}
	if p := h.refused(codeDuplicate, raw); len(p.Duplicates) != 1 || p.Duplicates[0].Person != "a" {
		t.Errorf("%+v", p)
	}
	contentType, body := form(t, part{name: "image", file: "a.jpg", contentType: "image/jpeg", data: face(t, "a_2.jpg")}, part{name: "duplicates", data: []byte("reject")})
	h.refused(codeDuplicate, call{method: "PUT", path: "/v1/galleries/g/people/x", body: body, contentType: contentType})
	raw.body = face(t, "b_1.jpg")
	h.want(201, raw)
}
