package http

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"mien/engine"
)

func frame(space string, vectors ...[]float32) []byte {
	dim := 0
	if len(vectors) > 0 {
		dim = len(vectors[0])
	}
	b := []byte(frameMagic)
	for _, n := range []int{len(vectors), dim, len(space)} {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	b = append(b, space...)
	for _, v := range vectors {
		for _, x := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	return b
}

// TestFrames says that a frame is answered as the same templates in JSON are.
func TestFrames(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	const people = "/v1/galleries/staff/people/"
	framed := func(method, path string, vectors ...[]float32) call {
		return call{method: method, path: path, contentType: frameType, body: frame(testSpace.ID, vectors...)}
	}
	same := func(path, query, members string) {
		t.Helper()
		want := h.want(200, call{method: "POST", path: path, body: probeJSON(near(1, 16), members)})
		got := h.want(200, framed("POST", path+query, near(1, 16)))
		if string(got.body) != string(want.body) {
			t.Errorf("%s%s: %s, with JSON %s", path, query, got.body, want.body)
		}
	}
	same(people+"ada/verify", "", "")
	same(people+"ada/verify", "?fmr=0.5", `,"policy":{"fmr":0.5}`)
	same("/v1/galleries/staff/identify", "?top_k=1&exact=true&cosine=-1", `,"top_k":1,"exact":true,"policy":{"cosine":-1}`)
	same("/v1/galleries/staff/duplicates", "?fpir=0.5", `,"policy":{"fpir":0.5}`)

	var p engine.Person
	h.want(201, framed("PUT", people+"eve", vector(7, 16), near(7, 16))).into(t, &p)
	if len(p.Templates) != 2 || p.Templates[0].Source != "template" {
		t.Errorf("%+v", p)
	}
	h.want(201, framed("POST", people+"eve/templates", vector(8, 16))).into(t, &p)
	if len(p.Templates) != 3 {
		t.Errorf("%+v", p)
	}
	for _, seed := range []uint64{7, 8} {
		var d engine.Decision
		if h.want(200, framed("POST", people+"eve/verify", vector(seed, 16))).into(t, &d); !d.Match || d.Cosine < 0.999 {
			t.Errorf("template %d: %+v", seed, d)
		}
	}
}

func TestFrameRefusals(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	v := vector(1, 16)
	whole := frame(testSpace.ID, v)
	changed := func(at int, to byte) []byte {
		b := append([]byte(nil), whole...)
		b[at] = to
		return b
	}
	nan := vector(1, 16)
	nan[3] = float32(math.NaN())
	const verify = "/v1/galleries/staff/people/ada/verify"
	for _, c := range []struct {
		name string
		code code
		says string
		path string
		body []byte
	}{
		{"nothing", codeBadFrame, "MTF1", verify, nil},
		{"cut in the head", codeBadFrame, "MTF1", verify, whole[:9]},
		{"another version", codeBadFrame, "MTF1", verify, changed(3, '2')},
		{"cut", codeBadFrame, "make 81", verify, whole[:len(whole)-1]},
		{"more behind", codeBadFrame, "82 bytes", verify, append(whole[:len(whole):len(whole)], 0)},
		{"no templates", codeBadFrame, "0 templates", verify, frame(testSpace.ID)},
		{"two templates", codeBadFrame, "one is asked about", verify, frame(testSpace.ID, v, v)},
		{"no space", codeBadFrame, "0 bytes", verify, frame("", v)},
		{"long space", codeBadFrame, "257 bytes", verify, frame(strings.Repeat("x", 257), v)},
		{"other space", codeSpaceMismatch, "test-16", verify, frame("other-16", v)},
		{"other dim", codeTemplateLength, "15 numbers", verify, frame(testSpace.ID, v[:15])},
		{"dim 0", codeTemplateLength, "0 numbers", verify, frame(testSpace.ID, nil)},
		{"not a number", codeTemplateNotFinite, "finite", verify, frame(testSpace.ID, nan)},
		{"policy of two", codeBadPolicy, "one", verify + "?fmr=0.1&fpir=0.1", whole},
		{"unknown option", codeBadRequest, "known here", verify + "?limit=1", whole},
		{"option of photos", codeBadRequest, "go with a photo", verify + "?select=largest", whole},
		{"two sides", codeUnsupported, "not understood here", "/v1/compare", whole},
	} {
		p := h.refused(c.code, call{method: "POST", path: c.path, contentType: frameType, body: c.body})
		if !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s: %q does not say %q", c.name, p.Detail, c.says)
		}
	}
}

// FuzzFrame takes any bytes: what is taken is what a frame of it would be.
func FuzzFrame(f *testing.F) {
	f.Add(frame("test-16", vector(1, 16), vector(2, 16)))
	f.Add(frame("s", []float32{float32(math.Inf(1))}))
	f.Add([]byte("MTF1\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s subject
		if s.takeFrame(engine.MaxTemplates)(data, "body") != nil {
			return
		}
		var vectors [][]float32
		for _, x := range s.templates {
			vectors = append(vectors, x.Vector)
		}
		if got := frame(s.templates[0].Space, vectors...); string(got) != string(data) {
			t.Fatalf("%q, of %q", got, data)
		}
	})
}
