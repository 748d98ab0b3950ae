package http

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"

	"mien/engine"
	"mien/extract"
)

// Bad input that needs no photo, each with its code and a word that its detail must have to be of help.
func TestRefusals(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	revoked, revokedToken, err := h.engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.engine.RevokeKey(t.Context(), "default", revoked.ID); err != nil {
		t.Fatal(err)
	}
	const people, identify = "/v1/galleries/staff/people/", "/v1/galleries/staff/identify"
	v := vector(1, 16)
	with := func(i int, x float64) []float32 { w := vector(1, 16); w[i] = float32(x); return w }
	jsonOf := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		name string
		code code
		says string
		call call
	}{
		{"empty json", codeBadJSON, "empty", call{method: "POST", path: identify, contentType: "application/json"}},
		{"no body", codeBadRequest, "body", call{method: "POST", path: identify}},
		{"wrong json", codeBadJSON, "at byte 13", call{method: "POST", path: identify, body: jsonOf(`{"template":}`)}},
		{"cut json", codeBadJSON, "JSON", call{method: "POST", path: identify, body: jsonOf(`{"template":{`)}},
		{"two values", codeBadJSON, "at byte", call{method: "POST", path: identify, body: append(probeJSON(v, ""), "{}"...)}},
		{"not an object", codeBadJSON, "object", call{method: "POST", path: identify, body: jsonOf(`[1]`)}},
		{"not utf-8", codeBadJSON, "UTF-8", call{method: "POST", path: identify, body: jsonOf("{\"a\":\"\xff\"}")}},
		{"unknown field", codeBadJSON, `"/tags"`, call{method: "POST", path: identify, body: probeJSON(v, `,"tags":{}`)}},
		{"unknown field of case", codeBadJSON, `"/Template"`, call{method: "POST", path: identify, body: bytes.Replace(probeJSON(v, ""), []byte("template"), []byte("Template"), 1)}},
		{"unknown field below", codeBadJSON, `"/policy/rate~1x"`, call{method: "POST", path: identify, body: probeJSON(v, `,"policy":{"rate/x":1}`)}},
		{"field twice", codeBadJSON, "twice", call{method: "POST", path: identify, body: probeJSON(v, `,"top_k":1,"top_k":1`)}},
		{"wrong type", codeBadJSON, "null", call{method: "POST", path: identify, body: probeJSON(v, `,"policy":null`)}},
		{"unknown field of a person", codeBadJSON, `"/tags"`, call{method: "PUT", path: people + "x", body: jsonOf(`{"tags":["warn"]}`)}},
		{"top_k", codeBadJSON, "100", call{method: "POST", path: identify, body: probeJSON(v, `,"top_k":101`)}},
		{"ef", codeBadJSON, "from 1 to 16384", call{method: "POST", path: identify, body: probeJSON(v, `,"ef":16385`)}},
		{"ef of nothing", codeBadJSON, "from 1 to 16384", call{method: "POST", path: identify, body: probeJSON(v, `,"ef":0`)}},
		{"top_k fraction", codeBadJSON, "whole", call{method: "POST", path: identify, body: probeJSON(v, `,"top_k":1.5`)}},
		{"policy of two", codeBadPolicy, "one", call{method: "POST", path: identify, body: probeJSON(v, `,"policy":{"fmr":0.1,"cosine":0.1}`)}},
		{"policy range", codeBadPolicy, "fmr", call{method: "POST", path: identify, body: probeJSON(v, `,"policy":{"fmr":2}`)}},
		{"policy overflow", codeBadJSON, "range", call{method: "POST", path: identify, body: probeJSON(v, `,"policy":{"fmr":1e999}`)}},
		{"gallery policy", codeBadPolicy, "similarity", call{method: "PUT", path: "/v1/galleries/x", body: jsonOf(`{"policy":{"similarity":-1}}`)}},
		{"gallery index", codeBadRequest, `"auto", "scan" or "hnsw"`, call{method: "PUT", path: "/v1/galleries/x", body: jsonOf(`{"index":"ivf"}`)}},
		{"gallery space", codeSpaceUnknown, "no-such", call{method: "PUT", path: "/v1/galleries/x", body: jsonOf(`{"space":"no-such"}`)}},
		{"condition on a change", codeBadRequest, "If-None-Match is not supported", call{method: "PATCH", path: "/v1/galleries/staff/people/ada", body: []byte(`{}`), header: []string{"If-None-Match", "*"}}},
		{"condition on a deletion", codeBadRequest, "If-Match is not supported", call{method: "DELETE", path: "/v1/galleries/staff", header: []string{"If-Match", `"1"`}}},
		{"if-none-match", codeBadRequest, "*", call{method: "PUT", path: "/v1/galleries/x", header: []string{"If-None-Match", `"v1"`}}},

		{"base64 of image", codeBadBase64, `"/image" is not base64 from character 5`, call{method: "POST", path: identify, body: jsonOf(`{"image":"AAAA!AAA"}`)}},
		{"base64 unpadded", codeBadBase64, "padding", call{method: "POST", path: identify, body: jsonOf(`{"image":"AAAAAA"}`)}},
		{"base64 loose end", codeBadBase64, "padding", call{method: "POST", path: identify, body: jsonOf(`{"image":"AAB="}`)}},
		{"base64 url", codeBadBase64, "standard", call{method: "POST", path: identify, body: jsonOf(`{"image":"_-AA"}`)}},
		{"base64 lines", codeBadBase64, "character 5", call{method: "POST", path: identify, body: jsonOf(`{"image":"AAAA\nAAAA"}`)}},
		{"base64 empty", codeBadBase64, "empty", call{method: "POST", path: identify, body: jsonOf(`{"image":""}`)}},
		{"data url", codeBadBase64, "data URL", call{method: "POST", path: identify, body: jsonOf(`{"image":"data:image/png,AAAA"}`)}},
		{"base64 of template", codeBadBase64, `"/template/f32"`, call{method: "POST", path: identify, body: jsonOf(`{"template":{"space":"test-16","f32":"?"}}`)}},
		{"base64 in list", codeBadBase64, `"/images/1"`, call{method: "PUT", path: people + "x", body: jsonOf(`{"images":["AAAA","?"]}`)}},

		{"neither", codeBadRequest, "image or template", call{method: "POST", path: identify, body: jsonOf(`{}`)}},
		{"both", codeBadRequest, "not both", call{method: "POST", path: identify, body: probeJSON(v, `,"image":"AAAA"`)}},
		{"no templates", codeBadRequest, "empty", call{method: "PUT", path: people + "x", body: jsonOf(`{"templates":[]}`)}},
		{"nine templates", codeBadRequest, "8", call{method: "PUT", path: people + "x", body: personJSON(v, v, v, v, v, v, v, v, v)}},
		{"select of template", codeBadRequest, "select", call{method: "POST", path: identify, body: probeJSON(v, `,"select":"largest"`)}},
		{"select", codeBadRequest, "largest", call{method: "POST", path: identify, body: jsonOf(`{"image":"AAAA","select":"both"}`)}},
		{"compare one side", codeBadRequest, "target", call{method: "POST", path: "/v1/compare", body: jsonOf(`{"source":{"template":` + templateJSON(v) + `}}`)}},
		{"compare side", codeBadJSON, `"/source/url"`, call{method: "POST", path: "/v1/compare", body: jsonOf(`{"source":{"url":"x"}}`)}},
		{"metadata type", codeBadJSON, `"/metadata"`, call{method: "PATCH", path: people + "ada", body: jsonOf(`{"metadata":[1]}`)}},
		{"metadata size", codeBadMetadata, "16384", call{method: "PATCH", path: people + "ada", body: jsonOf(`{"metadata":{"x":"` + strings.Repeat("y", 17<<10) + `"}}`)}},
		{"patch nothing", codeBadRequest, "metadata", call{method: "PATCH", path: people + "ada", body: jsonOf(`{}`)}},

		{"template of other length", codeTemplateLength, "16", call{method: "POST", path: identify, body: probeJSON(vector(1, 15), "")}},
		{"template of odd bytes", codeTemplateLength, "3 bytes", call{method: "POST", path: identify, body: jsonOf(`{"template":{"space":"test-16","f32":"AAAA"}}`)}},
		{"template NaN", codeTemplateNotFinite, "3", call{method: "POST", path: identify, body: probeJSON(with(3, math.NaN()), "")}},
		{"template Inf", codeTemplateNotFinite, "finite", call{method: "PUT", path: people + "x", body: personJSON(with(0, math.Inf(1)))}},
		{"template zero", codeTemplateZeroNorm, "zero", call{method: "PUT", path: people + "x", body: personJSON(make([]float32, 16))}},
		{"template of other space", codeSpaceMismatch, "test-16", call{method: "POST", path: identify, body: jsonOf(`{"template":{"space":"other-16","f32":"` + b64(v) + `"}}`)}},
		{"template without space", codeBadJSON, `"/template/space"`, call{method: "POST", path: identify, body: jsonOf(`{"template":{"f32":"` + b64(v) + `"}}`)}},
		{"template without numbers", codeBadJSON, `"/template/f32"`, call{method: "POST", path: identify, body: jsonOf(`{"template":{"space":"test-16"}}`)}},
		{"photo without models", codeExtractorMissing, "templates", call{method: "POST", path: identify, body: []byte("x"), contentType: "image/jpeg"}},

		{"unknown gallery", codeGalleryNotFound, "gallery", call{method: "POST", path: "/v1/galleries/nope/identify", body: probeJSON(v, "")}},
		{"unknown person", codePersonNotFound, "person", call{method: "POST", path: people + "nope/verify", body: probeJSON(v, "")}},
		{"gallery name", codeBadID, "A-Z", call{method: "PUT", path: "/v1/galleries/.hidden"}},
		{"person with controls", codeBadID, "control", call{method: "PUT", path: people + "a%00b", body: personJSON(v)}},
		{"person with newline", codeBadID, "control", call{method: "GET", path: people + "a%0Ab"}},
		{"person not utf-8", codeBadID, "UTF-8", call{method: "GET", path: people + "%FF"}},
		{"person of 10 kB", codeBadID, "256", call{method: "PUT", path: people + strings.Repeat("a", 10_000), body: personJSON(v)}},
		{"person with space", codeBadID, "space", call{method: "GET", path: people + "a%20"}},
		{"cursor", codeBadCursor, "cursor", call{method: "GET", path: people[:len(people)-1] + "?cursor=!!"}},
		{"limit", codeBadRequest, "1000", call{method: "GET", path: people[:len(people)-1] + "?limit=1001"}},
		{"query", codeBadRequest, "limit", call{method: "GET", path: people[:len(people)-1] + "?offset=1"}},
		{"query twice", codeBadRequest, "twice", call{method: "GET", path: people[:len(people)-1] + "?limit=1&limit=2"}},
		{"query with json", codeBadRequest, "body", call{method: "POST", path: identify + "?top_k=1", body: probeJSON(v, "")}},
		{"query of get", codeBadRequest, "query", call{method: "GET", path: people + "ada?x=1"}},

		{"trailing slash", codeRouteNotFound, "slash", call{method: "GET", path: "/v1/galleries/"}},
		{"empty person", codeRouteNotFound, "slash", call{method: "GET", path: people}},
		{"unknown route", codeRouteNotFound, "openapi.json", call{method: "GET", path: "/v2/galleries"}},
		{"literal escaped", codeRouteNotFound, "openapi.json", call{method: "GET", path: "/v1/%67alleries"}},
		{"method", codeMethodNotAllowed, "PUT", call{method: "POST", path: "/v1/galleries/x"}},

		{"key missing", codeKeyMissing, "Bearer", call{method: "GET", path: "/v1/galleries", token: "none"}},
		{"key of another scheme", codeKeyMissing, "bearer", call{method: "GET", path: "/v1/galleries", token: "none", header: []string{"Authorization", "Basic eDp5"}}},
		{"key unknown", codeKeyUnknown, "", call{method: "GET", path: "/v1/galleries", token: "mien_0011"}},
		{"key wrong secret", codeKeyUnknown, "", call{method: "GET", path: "/v1/galleries", token: h.token(engine.RoleAdmin) + "A"}},
		{"key revoked", codeKeyRevoked, "", call{method: "GET", path: "/v1/galleries", token: revokedToken}},
		{"key twice", codeBadRequest, "Authorization", call{method: "GET", path: "/v1/galleries", header: []string{"Authorization", "Bearer x"}}},
		{"under-privileged", codeForbidden, "admin", call{method: "PUT", path: "/v1/galleries/x", token: h.token(engine.RoleMatcher)}},

		{"content type none", codeUnsupported, "application/json", call{method: "POST", path: identify, body: probeJSON(v, ""), contentType: "text/plain"}},
		{"content type of curl -d", codeUnsupported, "application/json", call{method: "PUT", path: "/v1/galleries/x", body: jsonOf(`{}`), contentType: "application/x-www-form-urlencoded"}},
		{"content type broken", codeUnsupported, "understood", call{method: "POST", path: identify, body: probeJSON(v, ""), contentType: "/;;"}},
		{"image where none is taken", codeUnsupported, "application/json", call{method: "PATCH", path: people + "ada", body: jsonOf("x"), contentType: "image/png"}},
		{"image for compare", codeUnsupported, "multipart", call{method: "POST", path: "/v1/compare", body: jsonOf("x"), contentType: "image/png"}},
		{"content encoding", codeUnsupported, "gzip", call{method: "POST", path: identify, body: probeJSON(v, ""), header: []string{"Content-Encoding", "gzip"}}},
		{"raw option", codeBadRequest, "top_k", call{method: "POST", path: identify + "?top_k=x", body: jsonOf("x"), contentType: "image/png"}},
		{"policy zero", codeBadPolicy, "fmr", call{method: "POST", path: "/v1/galleries/staff/people/ada/verify", body: probeJSON(v, `,"policy":{"fmr":0}`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := h.refused(c.code, c.call)
			if !strings.Contains(p.Detail, c.says) || p.Detail == "" {
				t.Errorf("detail %q lacks %q", p.Detail, c.says)
			}
		})
	}
}

func TestMultipartRefusals(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	photo := part{name: "image", file: "x.jpg", data: []byte("x")}
	parts := func(p ...part) []part { return p }
	many := func(n int) []part { return bytesOf(photo, n) }
	for _, c := range []struct {
		name  string
		code  code
		says  string
		path  string
		parts []part
	}{
		{"unknown field", codeBadMultipart, "photo", "/v1/galleries/staff/identify", parts(part{name: "photo", file: "x", data: []byte("x")})},
		{"json-only field", codeBadMultipart, "template", "/v1/galleries/staff/identify", parts(part{name: "template", data: []byte("{}")})},
		{"image twice", codeBadMultipart, "image", "/v1/galleries/staff/identify", many(2)},
		{"nine images", codeBadMultipart, "8", "PUT /v1/galleries/staff/people/x", many(9)},
		{"no parts", codeBadRequest, "image", "/v1/galleries/staff/identify", parts(part{name: "top_k", data: []byte("1")})},
		{"empty image", codeBadMultipart, "empty", "/v1/galleries/staff/identify", parts(part{name: "image", file: "x"})},
		{"option", codeBadRequest, "top_k", "/v1/galleries/staff/identify", parts(part{name: "top_k", data: []byte("many")})},
		{"policy", codeBadRequest, "number", "/v1/galleries/staff/identify", parts(part{name: "fmr", data: []byte("low")})},
		{"select", codeBadRequest, "largest", "/v1/galleries/staff/identify", parts(part{name: "select", data: []byte("x")})},
		{"not utf-8", codeBadMultipart, "UTF-8", "/v1/galleries/staff/identify", parts(part{name: "top_k", data: []byte("\xff")})},
		{"metadata", codeBadJSON, "metadata", "PUT /v1/galleries/staff/people/x", parts(photo, part{name: "metadata", data: []byte("{")})},
		{"compare", codeBadRequest, "target", "/v1/compare", parts(part{name: "source", file: "x", data: []byte("x")})},
		{"no models", codeExtractorMissing, "models", "/v1/galleries/staff/identify", parts(photo)},
	} {
		t.Run(c.name, func(t *testing.T) {
			ct, body := form(t, c.parts...)
			method, path, ok := strings.Cut(c.path, " ")
			if !ok {
				method, path = "POST", c.path
			}
			p := h.refused(c.code, call{method: method, path: path, contentType: ct, body: body})
			if !strings.Contains(p.Detail, c.says) {
				t.Errorf("detail %q lacks %q", p.Detail, c.says)
			}
		})
	}
	ct, body := form(t, photo)
	boundary := strings.TrimPrefix(ct, "multipart/form-data; boundary=")
	for name, c := range map[string]struct {
		ct   string
		body []byte
	}{
		"no boundary":    {"multipart/form-data", body},
		"wrong boundary": {"multipart/form-data; boundary=x", body},
		"cut short":      {ct, body[:len(body)-10]},
		"cut in header":  {ct, body[:20]},
		"garbage":        {ct, []byte("hello")},
		"empty":          {ct, []byte{}},
		"encoded": {ct, bytes.Replace(body, []byte("Content-Disposition"),
			[]byte("Content-Transfer-Encoding: base64\r\nContent-Disposition"), 1)},
		"too many parts": {ct, bytes.Repeat([]byte("--"+boundary+"\r\nContent-Disposition: form-data; name=\"top_k\"\r\n\r\n1\r\n"), 40)},
	} {
		t.Run(name, func(t *testing.T) {
			h.refused(codeBadMultipart, call{method: "POST", path: "/v1/galleries/staff/identify", contentType: c.ct, body: c.body})
		})
	}
}

func bytesOf(p part, n int) []part {
	var ps []part
	for range n {
		ps = append(ps, p)
	}
	return ps
}

func TestTemplatesFull(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	v := vector(1, 16)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/ada", body: personJSON(v, v, v, v, v, v, v, v)})
	h.refused(codeTemplatesFull, call{method: "POST", path: "/v1/galleries/staff/people/ada/templates", body: probeJSON(v, "")})
}

// A full disk refuses writes and loses nothing; reads and searches go on.
func TestStorageFull(t *testing.T) {
	dir := t.TempDir()
	c := engineConfig(dir, testSpace)
	e, err := engine.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	h := newHarnessOn(t, e, nil)
	h.staff()
	admin := h.token(engine.RoleAdmin)
	h.stop()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	var disk syscall.Statfs_t
	if err := syscall.Statfs(c.Dir, &disk); err != nil {
		t.Fatal(err)
	}
	c.MinFreeBytes = 2 * int64(disk.Bavail) * int64(disk.Bsize) // more than there is, less than keeps a store from opening
	unused := extractorFunc(func(context.Context, []byte, extract.Options) ([]extract.Face, error) { return nil, extract.ErrBusy })
	h = newHarnessOn(t, openEngine(t, c), func(c *Config) { c.Extractor = unused })
	h.tokens[engine.RoleAdmin] = admin
	h.refused(codeStorageFull, call{method: "PUT", path: "/v1/galleries/staff/people/eve", body: personJSON(vector(3, 16))})
	h.refused(codeStorageFull, call{method: "PUT", path: "/v1/galleries/new"})
	h.refused(codeStorageFull, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"matcher"}`)})
	h.want(200, call{method: "GET", path: "/v1/galleries/staff/people/ada"})
	h.refused(codePersonNotFound, call{method: "GET", path: "/v1/galleries/staff/people/eve"})
	a := h.want(200, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(near(1, 16), "")})
	if !strings.Contains(string(a.body), `"person":"ada"`) {
		t.Errorf("%s", a.body)
	}
	var ready statusBody
	if h.want(200, call{method: "GET", path: "/readyz"}).into(t, &ready); ready.Status != "degraded" || len(ready.Reasons) != 1 {
		t.Errorf("%+v, want a word of the disk", ready)
	}
}

// Whatever an operation returns is answered by its row of the table; what is in no row is internal and silent.
func TestSentinels(t *testing.T) {
	s := newHarness(t, nil).server
	for _, row := range sentinels {
		wrapped := fmt.Errorf("engine: secret path /data: %w", row.err)
		p := s.problemOf(&partError{"/images/1", wrapped})
		if p.code != row.code || p.at != "/images/1" || !strings.HasPrefix(p.detail, "/images/1: ") || strings.Contains(p.detail, "secret") {
			t.Errorf("%v: %s %q", row.err, p.code, p.detail)
		}
	}
	if p := s.problemOf(fmt.Errorf("%w: %w", engine.ErrOutcomeUnknown, context.DeadlineExceeded)); p.code != codeTimeout || !strings.Contains(p.detail, "may or may not") {
		t.Errorf("%s %s", p.code, p.detail)
	}
	if p := s.problemOf(errors.New("secret")); p.code != codeInternal || strings.Contains(p.detail, "secret") {
		t.Errorf("%s %s", p.code, p.detail)
	}
	for c, want := range map[error]string{
		&extract.FacesError{Found: 3}:                            `3 faces were found and one is needed; crop the photo to the one that is meant, or set "select": "largest"`,
		&extract.SizeError{Height: 20, Min: 40}:                  "20 pixels high and at least 40",
		&extract.PixelsError{Width: 10000, Height: 9999, Max: 5}: "10000×9999",
	} {
		if p := s.problemOf(c); !strings.Contains(p.detail, want) {
			t.Errorf("%q lacks %q", p.detail, want)
		}
	}
}

// Code names what is wrong with a photo, and nothing else.
func TestCode(t *testing.T) {
	for err, want := range map[error]string{
		fmt.Errorf("x: %w", extract.ErrNoFace): "no_face", &extract.SizeError{}: "face_too_small", extract.ErrNotImage: "not_an_image",
		extract.ErrBusy: "", context.Canceled: "", errors.New("secret"): "",
	} {
		if got := Code(err); got != want {
			t.Errorf("%v: %q, not %q", err, got, want)
		}
	}
	if got := Code(nil); got != "" {
		t.Errorf("%q of no error", got)
	}
}

// An internal error is logged with the request's id and its text is not shown; a panic is one too.
func TestInternal(t *testing.T) {
	for name, extractor := range map[string]extractorFunc{
		"error": func(context.Context, []byte, extract.Options) ([]extract.Face, error) {
			return nil, errors.New("secret cause")
		},
		"panic": func(context.Context, []byte, extract.Options) ([]extract.Face, error) { panic("secret cause") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, func(c *Config) { c.Extractor = extractor })
			h.staff()
			for _, path := range []string{"/v1/extract", "/v1/galleries/staff/identify"} {
				a := h.do(call{method: "POST", path: path, body: []byte(`{"image":"AAAA"}`), header: []string{"X-Request-Id", "find-me"}})
				if p := a.problem(t); a.status != 500 || p.Code != codeInternal || strings.Contains(string(a.body), "secret") {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			if log := h.log.String(); !strings.Contains(log, "secret cause") || !strings.Contains(log, `"request_id":"find-me"`) {
				t.Errorf("not in the log: %s", log)
			}
		})
	}
}

func TestPHPBase64(t *testing.T) {
	want := []byte{0xff, 0xd8, 0xff, 0xe0}
	var got []byte
	h := newHarness(t, func(c *Config) {
		c.Extractor = extractorFunc(func(_ context.Context, data []byte, _ extract.Options) ([]extract.Face, error) {
			got = bytes.Clone(data)
			return nil, nil
		})
	})
	for _, s := range []string{`\/9j\/4A==`, `/9j/4A==`, `data:image\/jpeg;base64,/9j/4A==`, base64.StdEncoding.EncodeToString(want)} {
		h.want(200, call{method: "POST", path: "/v1/extract", body: []byte(`{"image":"` + s + `"}`)})
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x", s, got)
		}
	}
}

func TestPhotoRefusals(t *testing.T) {
	h := newPhotoHarness(t)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	jpeg := face(t, "a_1.jpg")
	bomb, err := os.ReadFile("testdata/bomb.png")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		code code
		says string
		data []byte
	}{
		{"not an image", codeNotAnImage, "JPEG", []byte("hello, I am a text")},
		{"truncated", codeImageTruncated, "whole file", jpeg[:len(jpeg)/2]},
		{"100 megapixels", codeImageTooLarge, "20000×20000", bomb},
		{"no face", codeNoFace, "face", face(t, "noface.jpg")},
		{"several faces", codeSeveralFaces, `2 faces were found and one is needed; crop the photo to the one that is meant, or set "select": "largest"`, face(t, "group.jpg")},
		{"small face", codeFaceTooSmall, "pixels", face(t, "small.jpg")},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"POST /v1/galleries/staff/identify", "PUT /v1/galleries/staff/people/x"} {
				method, path, _ := strings.Cut(path, " ")
				p := h.refused(c.code, call{method: method, path: path, body: c.data, contentType: "image/jpeg"})
				if !strings.Contains(p.Detail, c.says) {
					t.Errorf("detail %q lacks %q", p.Detail, c.says)
				}
			}
		})
	}
	t.Run("which of several", func(t *testing.T) {
		ct, body := form(t, part{name: "image", file: "0", data: jpeg}, part{name: "image", file: "1", data: face(t, "noface.jpg")})
		if p := h.refused(codeNoFace, call{method: "PUT", path: "/v1/galleries/staff/people/x", body: body, contentType: ct}); !strings.HasPrefix(p.Detail, "image[1]: ") {
			t.Errorf("detail %q", p.Detail)
		}
		js := fmt.Appendf(nil, `{"images":["%s","AAAA"]}`, base64.StdEncoding.EncodeToString(jpeg))
		if p := h.refused(codeNotAnImage, call{method: "PUT", path: "/v1/galleries/staff/people/x", body: js}); !strings.HasPrefix(p.Detail, "/images/1: ") {
			t.Errorf("detail %q", p.Detail)
		}
		h.refused(codePersonNotFound, call{method: "GET", path: "/v1/galleries/staff/people/x"})
	})
	t.Run("policy of NaN", func(t *testing.T) {
		h.refused(codeBadPolicy, call{method: "POST", path: "/v1/galleries/staff/identify?fmr=NaN", body: jpeg, contentType: "image/jpeg"})
	})
	t.Run("gallery of a space without models", func(t *testing.T) {
		h.want(201, call{method: "PUT", path: "/v1/galleries/other", body: []byte(`{"space":"test-16"}`)})
		p := h.refused(codeExtractorMissing, call{method: "POST", path: "/v1/galleries/other/identify", body: jpeg, contentType: "image/jpeg"})
		if !strings.Contains(p.Detail, "test-16") {
			t.Errorf("detail %q", p.Detail)
		}
	})
}
