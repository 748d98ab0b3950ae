package youverse

import (
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mien/engine"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http/dialect"
)

var faces = flag.String("faces", "", "folder of person/photo.jpg: TestChecks says how many photos the dialect's checks refuse")

// sample is how many photos, each of another person, that is counted for.
const sample = 1500

// judged is what a gate is told of the largest face of a photo.
func judged(t *testing.T, x *extract.Extractor, photo []byte) (map[string]float64, error) {
	found, err := x.Extract(t.Context(), photo, extract.Options{Select: extract.SelectLargest, Want: extract.WantTemplate | extract.WantQuality | extract.WantLiveness})
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for name := range enrolChecks {
		if name == extract.LivenessMeasure {
			values[name] = 100 * float64(found[0].Liveness.Score)
			continue
		}
		values[name] = float64(found[0].Quality[extract.MeasureOf(name)])
	}
	return values, nil
}

// TestChecks: the checks are gates that pass good photos, and enrolment's are the stricter.
func TestChecks(t *testing.T) {
	for name := range probeChecks {
		if !(enrolChecks[name] >= probeChecks[name]) {
			t.Errorf("%s: a probe must reach more than an enrolment", name)
		}
	}
	x := extracttest.Default(t)
	for _, name := range []string{"a_1.jpg", "a_2.jpg", "a_3.jpg", "b_1.jpg", "b_2.jpg", "c_1.jpg", "c_2.jpg", "glasses.jpg"} {
		values, err := judged(t, x, extracttest.Photo(t, name))
		if err := errors.Join(err, enrolChecks.Check(values), probeChecks.Check(values)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if *faces == "" {
		return
	}
	photos, err := filepath.Glob(filepath.Join(*faces, "*", "*_0001.jpg"))
	if err != nil || len(photos) < sample {
		t.Fatalf("%d photos: %v", len(photos), err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(photos), func(i, j int) { photos[i], photos[j] = photos[j], photos[i] })
	all, refused, unlive := 0, map[string]int{}, map[string]int{}
	for _, path := range photos[:sample] {
		photo, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		values, err := judged(t, x, photo)
		if errors.Is(err, extract.ErrNoFace) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		all++
		for name, gate := range map[string]engine.Gate{"enrol": enrolChecks, "probe": probeChecks} {
			if gate.Check(values) != nil {
				refused[name]++
			}
			if values[extract.LivenessMeasure] < gate[extract.LivenessMeasure] {
				unlive[name]++
			}
		}
	}
	t.Logf("of %d: refused %v, of those for liveness %v", all, refused, unlive)
}

// TestTag: of several reasons the one that says most is told.
func TestTag(t *testing.T) {
	for want, reasons := range map[string][]string{
		"":                        {"gallery_not_found"},
		"brightness_failed":       {"quality_failed", "sharpness_failed", "brightness_failed", "light_uniformity_failed"},
		"light_uniformity_failed": {"light_uniformity_failed", "brightness_failed"},
		"quality_failed":          {"quality_failed", "liveness_failed"},
		"face_not_found":          {"no_face"},
		"multiple_faces":          {"several_faces"},
	} {
		if got := tagOf(reasons); got != want {
			t.Errorf("%v: %s, want %s", reasons, got, want)
		}
	}
}

// TestUnknownCodes: what nobody has thought of is a failure of ours, and its text stays inside.
func TestUnknownCodes(t *testing.T) {
	f := &dialect.Failure{Status: 418, Code: "teapot", Detail: "/var/lib is short and stout"}
	if status, message := statusOf(f); status != 500 || message != messageFailed {
		t.Errorf("%d %s", status, message)
	}
	for code, s := range said {
		if phrases[s.status] == "" && s.status != 403 || s.message == "" {
			t.Errorf("%s: %d %q", code, s.status, s.message)
		}
	}
}

// body is a server that knows a body and nothing else.
type body struct {
	dialect.Server
	json []byte
}

func (b body) Body() ([]byte, error) { return b.json, nil }

func (body) Header(string) string { return "" }

// FuzzBodies: what a client may send is refused by an error that says so, or is what it says.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{"user_id":"u","user_photo":"QUJD","create_if_new":true}`, `{"user_id":"u","template":"AAAAAA==","template_version":"1"}`,
		`{"user_id":"u"}`, `{"user_id":null}`, `{"user_id":["u"]}`, `[]`, ``, `{"user_id":"\ud800","user_photo":"data:;base64,QQ","create_if_new":false}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &dialect.Call{Server: body{json: b}}
		known := func(err error) bool { return errors.Is(err, dialect.ErrJSON) || errors.Is(err, dialect.ErrBase64) }
		var v verifyRequest
		if err := c.DecodeJSON(&v); err == nil {
			if photo, err := v.check(); err == nil && len(photo) == 0 || err != nil && !known(err) {
				t.Errorf("%q: a photo of %d bytes, %v", b, len(photo), err)
			}
		} else if !known(err) {
			t.Error(err)
		}
		var q templateRequest
		if err := c.DecodeJSON(&q); err == nil {
			if _, err := q.check(); err != nil && !known(err) {
				t.Error(err)
			}
		}
		if id, err := userID(c); err != nil && !known(err) || err == nil && id != c.Person {
			t.Errorf("%q: %q %v", b, id, err)
		}
	})
}

// FuzzTemplate: a template is what it was, bit for bit, when it is encoded again.
func FuzzTemplate(f *testing.F) {
	f.Add("AAAAAA==")
	f.Add(encodeTemplate([]float32{1, float32(math.NaN()), -0.5}))
	f.Fuzz(func(t *testing.T, s string) {
		v, err := decodeTemplate(s)
		if err != nil {
			if !errors.Is(err, dialect.ErrJSON) || v != nil {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		again, err := decodeTemplate(encodeTemplate(v))
		same := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
		if err != nil || len(v) == 0 || 4*len(v) > len(s) || !slices.EqualFunc(v, again, same) {
			t.Errorf("%q: %v, then %v, %v", s, v, again, err)
		}
	})
}
