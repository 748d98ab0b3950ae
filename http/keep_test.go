package http

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"mien/engine"
	"mien/extract"
)

// newKeepingHarness serves two spaces, and an engine that reads stored photos with the extractors of the requests; a photo
// that begins with x can't be used then.
func newKeepingHarness(t *testing.T) *harness {
	t.Helper()
	c := engineConfig(t.TempDir(), testSpace, otherSpace)
	c.Extract = func(ctx context.Context, space string, image []byte, box [4]float32) ([]float32, error) {
		if image[0] == 'x' || box != [4]float32{1, 2, 3, 4} {
			return nil, &engine.Error{Err: errors.New("none"), Detail: "no_face"}
		}
		return vector(uint64(image[0]), 24), nil
	}
	boxed := func(dim int) Extractor {
		return extractorFunc(func(_ context.Context, data []byte, _ extract.Options) ([]extract.Face, error) {
			return []extract.Face{{Template: vector(uint64(data[0]), dim), Box: extract.Box{X1: 1, Y1: 2, X2: 3, Y2: 4}, Score: 0.9}}, nil
		})
	}
	return newHarnessOn(t, openEngine(t, c), func(c *Config) {
		c.Extractor, c.Extractors = boxed(16), map[string]Extractor{otherSpace.ID: boxed(24)}
		c.MaxBodyBytes = 40 << 20
	})
}

// A gallery that keeps photos is moved without anybody being enrolled again; who can't be is named to whom people may be.
func TestMoveFromPhotos(t *testing.T) {
	h := newKeepingHarness(t)
	var g engine.Gallery
	keep := call{method: "PUT", path: "/v1/galleries/g", body: []byte(`{"keep_photos":true}`)}
	h.want(201, keep)
	h.want(200, keep).into(t, &g)
	if !g.KeepPhotos {
		t.Errorf("%+v", g)
	}
	h.refused(codeGalleryExists, call{method: "PUT", path: "/v1/galleries/g", body: []byte(`{"keep_photos":false}`)})
	h.refused(codeBadJSON, call{method: "PATCH", path: "/v1/galleries/g", body: []byte(`{"keep_photos":false}`)})
	const planted = "a photo of ada"
	h.want(201, call{method: "PUT", path: "/v1/galleries/g/people/ada", contentType: "image/jpeg", body: []byte(planted)})
	h.want(201, call{method: "POST", path: "/v1/galleries/g/people/ada/templates", body: []byte(`{"template":` + templateOf(testSpace, vector(9, 16)) + `}`)})
	h.want(201, call{method: "PUT", path: "/v1/galleries/g/people/xan", contentType: "image/jpeg", body: []byte("xan")})
	h.want(200, call{method: "POST", path: "/v1/galleries/g/move", body: []byte(`{"space":"other-24"}`)})
	show := call{method: "GET", path: "/v1/galleries/g"}
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		g = engine.Gallery{}
		if h.want(200, show).into(t, &g); g.Move.Waiting == 0 {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the stored photos are never done")
		}
	}
	if m := g.Move; m.Done != 1 || m.Failed != 1 || len(m.Failures) != 1 || m.Failures[0] != (engine.MoveFailure{Person: "xan", Reason: "no_face"}) {
		t.Errorf("%+v", m)
	}
	show.token = h.token(engine.RoleMatcher)
	g = engine.Gallery{}
	if h.want(200, show).into(t, &g); g.Move.Failed != 1 || g.Move.Failures != nil {
		t.Errorf("who may not read people is told of them: %+v", g.Move)
	}
	h.refused(codeMoveIncomplete, call{method: "POST", path: "/v1/galleries/g/move", body: []byte(`{"space":"other-24","finish":true}`)})
	h.want(200, call{method: "POST", path: "/v1/galleries/g/move", body: []byte(`{"space":"other-24","finish":true,"drop":true}`)})
	if h.identified("a") != "ada" {
		t.Error("ada is not found in the new space")
	}
	var p engine.Person
	h.want(200, call{method: "GET", path: "/v1/galleries/g/people/ada"}).into(t, &p)
	if len(p.Templates) != 1 || !p.Templates[0].Photo {
		t.Errorf("%+v", p)
	}
	for _, path := range []string{"/v1/galleries", "/v1/galleries/g", "/v1/galleries/g/people", "/v1/galleries/g/people/ada"} {
		if body := string(h.want(200, call{method: "GET", path: path}).body); strings.Contains(body, planted) ||
			strings.Contains(body, base64.StdEncoding.EncodeToString([]byte(planted))[:16]) {
			t.Errorf("%s has the photo in it", path)
		}
	}
	if strings.Contains(h.log.String(), planted) {
		t.Error("the photo is logged")
	}
}

// A photo that is too large to be kept is refused where photos are kept, by its place among several.
func TestPhotoTooLargeToKeep(t *testing.T) {
	h := newKeepingHarness(t)
	h.want(201, call{method: "PUT", path: "/v1/galleries/g", body: []byte(`{"keep_photos":true}`)})
	h.want(201, call{method: "PUT", path: "/v1/galleries/plain"})
	large := bytes.Repeat([]byte("a"), engine.MaxPhotoBytes+1)
	body := []byte(`{"images":["YWRh","` + base64.StdEncoding.EncodeToString(large) + `"]}`)
	if p := h.refused(codeImageTooLarge, call{method: "PUT", path: "/v1/galleries/g/people/a", body: body}); p.Pointer != "/images/1" {
		t.Errorf("%+v", p)
	}
	h.want(201, call{method: "PUT", path: "/v1/galleries/plain/people/a", body: body})
	h.want(201, call{method: "PUT", path: "/v1/galleries/g/people/a", contentType: "image/jpeg", body: large[1:]})
}
