package facephi

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"mien/engine"
	"mien/extract"
	"mien/http/dialect"
	"mien/http/token"
)

// Every reason and every problem of a photo has a result, so that none is an error of the server's.
func TestFaults(t *testing.T) {
	for _, f := range faults {
		if got, ok := faultOf(f.err); !ok || got.code != f.code || livenessNames[f.liveness] == "" || got.said(f.err) == "" {
			t.Errorf("%v: %+v", f.err, got)
		}
	}
	if _, ok := faultOf(extract.ErrBusy); ok {
		t.Error("a busy server is no fault of a photo")
	}
	quality := &engine.QualityError{Reasons: []engine.Reason{{Code: "eyes_closed", Advice: "open them"}}}
	if f, ok := faultOf(quality); !ok || f.liveness != livenessBadQuality || !strings.Contains(f.said(quality), "open them") {
		t.Errorf("%+v", f)
	}
}

func TestLivenessOf(t *testing.T) {
	for _, x := range []struct {
		score, least float64
		want         int
	}{{math.NaN(), 0, livenessNone}, {0, 0, livenessSpoof}, {19.99, 0, livenessSpoof}, {20, 0, livenessUncertain}, {74.99, 0, livenessUncertain},
		{75, 0, livenessLive}, {100, 100, livenessLive}, {80, 90, livenessUncertain}, {10, 90, livenessSpoof}, {90, 90, livenessLive}} {
		if got := livenessOf(x.score, x.least); got != x.want {
			t.Errorf("%v of at least %v: %s", x.score, x.least, livenessNames[got])
		}
	}
}

func TestVersions(t *testing.T) {
	v := versions{1, 1}
	for i, x := range []struct {
		another bool
		oldest  uint32
		want    versions
		err     error
	}{{true, 0, versions{2, 1}, nil}, {false, 0, versions{2, 1}, nil}, {false, 3, versions{2, 1}, errVersions}, {false, 2, versions{2, 2}, nil},
		{true, 1, versions{2, 2}, errVersions}, {true, 3, versions{3, 3}, nil}} {
		if err := v.change(x.another, x.oldest); err != x.err || v != x.want {
			t.Errorf("%d: %+v %v", i, v, err)
		}
	}
	for range maxVersions - 1 {
		if err := v.change(true, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.change(true, 0); err != errVersions {
		t.Errorf("a 65th version: %v", err)
	}
	if again, err := parseVersions(v.marshal()); err != nil || again != v {
		t.Errorf("%+v %v", again, err)
	}
	for _, bad := range []string{"", "{}", `{"newest":1,"oldest":2}`, `{"newest":65,"oldest":1}`, `{"newest":-1,"oldest":1}`} {
		if _, err := parseVersions([]byte(bad)); err == nil {
			t.Errorf("%q is taken for versions", bad)
		}
	}
}

// FuzzRequest feeds bodies to the parser: what it lets pass has what an attempt relies on.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"userId":"001","registeredTemplateRaw":"AAAA","bestImageToken":"AAAA","merchantReferenceId":"r","tracking":{"extraData":"AA==","operationId":"x"}}`))
	f.Add([]byte(`{"userId":"é1","image":"data:image/jpeg;base64,aGk=","template":"A_-A","merchantReferenceId":"r"}`))
	f.Add([]byte(`{"userId":"1","image":null,"tracking":{"extraData":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var b requestBody
		if json.Unmarshal(body, &b) != nil {
			return
		}
		r, err := b.check()
		if err != nil {
			if refusal, ok := err.(*dialect.Refusal); !ok || refusal.Detail == "" {
				t.Errorf("%v", err)
			}
			return
		}
		if len(r.user) < 2 || r.reference == "" || len(r.reference) > maxReference || (r.registered == "") != (r.image != nil) || (r.bestImage == "") != (r.template != "") {
			t.Errorf("%+v of %s", r, body)
		}
		for _, token := range []string{r.registered, r.bestImage, r.template} {
			if strings.ContainsAny(token, "\r\n ,:") {
				t.Errorf("token %q", token)
			}
		}
	})
}

// FuzzProbe feeds payloads to the parser of probes.
func FuzzProbe(f *testing.F) {
	for _, live := range []float64{0, 75, 100, math.NaN()} {
		b, err := appendProbe(nil, probe{engine.Template{Vector: []float32{1, -0.5, 0.25}}, live}, 255)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseProbe(b, "s")
		if err != nil {
			return
		}
		if p.template.Space != "s" || len(p.template.Vector) == 0 || p.liveness < 0 || p.liveness > 100 {
			t.Errorf("%+v", p)
		}
		again, err := appendProbe(nil, p, b[6])
		if err != nil || !bytes.Equal(again[2:], b[2:]) || !math.IsNaN(p.liveness) && !bytes.Equal(again, b) {
			t.Errorf("%x comes back as %x, %v", b, again, err)
		}
	})
}

// A list of uses has an id only where one begins.
func TestHolds(t *testing.T) {
	a, b := token.ID{1, 2, 3}, token.ID{2, 3}
	list := slices.Concat(a[:], b[:])
	if !holds(list, a) || !holds(list, b) || holds(list[:16], b) || holds(list[1:], a) || holds(nil, a) || holds(list, token.ID{3}) {
		t.Error("holds")
	}
}
