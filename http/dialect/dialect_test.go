package dialect

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"mien/engine"
)

// Every reason has a tag in each document that has tags, and every tag of theirs for photos has a reason.
func TestTags(t *testing.T) {
	reasons, tags := map[string]bool{}, map[string]bool{}
	for _, row := range reasonTags {
		if reasons[row.Reason] || row.Auther == "" || row.Youverse == "" {
			t.Errorf("%+v is there twice or incomplete", row)
		}
		reasons[row.Reason], tags[row.Auther], tags[row.Youverse], tags[fmt.Sprint(row.FacePhi)] = true, true, true, true
	}
	for _, c := range append(engine.ReasonCodes(), "no_face", "several_faces", "face_too_small") {
		if _, ok := TagsOf(c); !ok {
			t.Errorf("%s has no tags", c)
		}
	}
	if len(reasons) != len(engine.ReasonCodes())+1 { // no_face
		t.Errorf("%d reasons have tags, the engine has %d", len(reasons), len(engine.ReasonCodes()))
	}
	want := []string{"face_not_found", "multiple_faces", "brightness_failed", "light_uniformity_failed", "quality_failed", "-101"}
	for i := 1; i <= 11; i++ {
		want = append(want, fmt.Sprintf("F_%03d", i))
	}
	for _, tag := range want {
		if !tags[tag] {
			t.Errorf("no reason has the tag %s", tag)
		}
	}
}

func TestBase64(t *testing.T) {
	for text, want := range map[string]string{
		"aGk+Pz8=": "hi>??", "aGk+Pz8": "hi>??", "aGk-Pz8=": "hi>??", "aGk_": "hi?", "data:image/jpeg;base64,aGk=": "hi", "aG\r\nk=\n": "hi",
		"data:;base64,aGk": "hi",
		"":                 "", "=": "", "aGk=x": "", "a": "", "é": "", "data:image/png,aGk=": "", "data:image/png;base64": "", "data:image/png;base64,": "", "aGl=": "", // bits beyond the end
	} {
		got, err := Base64(text)
		if string(got) != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrBase64) {
			t.Errorf("%q: %q %v, want %q", text, got, err, want)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	type body struct {
		Name *string  `json:"name"`
		Flag *bool    `json:"flag"`
		Rate *float64 `json:"rate"`
		In   *struct {
			N *string `json:"n"`
		} `json:"in"`
	}
	for text, field := range map[string]string{
		`{"name":"x","flag":true,"rate":0.5,"in":{"n":"y"},"more":[1]}`: "",
		` {} `: "", `{"name":null}`: "", `{"NAME":1,"Flag":"x"}`: "", `{"more":{"a":1,"a":2}}`: "",
		`{"name":"x","name":"x"}`: "-", `{"name":"x","n\u0061me":"x"}`: "-", `{"in":{"n":"x","n":"y"}}`: "-", `{"more":1,"more":2}`: "-",
		`{"name":1}`: "name", `{"flag":"true"}`: "flag", `{"rate":"1"}`: "rate", `{"in":{"n":1}}`: "in.n", `{"in":1}`: "in",
		``: "-", `[]`: "-", `{"name":`: "-", `{} x`: "-", "{\"name\":\"\xff\"}": "-", `null`: "-",
	} {
		var b body
		err := decodeJSON([]byte(text), &b)
		e, _ := errors.AsType[*FieldError](err)
		switch field {
		case "":
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
		case "-":
			if err != ErrJSON {
				t.Errorf("%s: %v", text, err)
			}
		default:
			if e == nil || e.Field != field {
				t.Errorf("%s: %v, want field %s", text, err, field)
			}
		}
	}
}

func FuzzBase64(f *testing.F) {
	f.Add("data:image/jpeg;base64,aGk=")
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := Base64(s); (err == nil) == (len(b) == 0) || len(b) > len(s) {
			t.Errorf("%q: %d bytes, %v", s, len(b), err)
		}
	})
}

// asked is a call of a body.
type asked struct {
	Server
	body        string
	contentType string
}

func (a asked) Header(string) string { return a.contentType }

func (a asked) Body() ([]byte, error) { return []byte(a.body), nil }

func TestDecodeNative(t *testing.T) {
	for _, x := range []struct {
		target, contentType, body string
		code                      string // of a Refusal
		err                       error
	}{
		{"/v1/x", "application/json", `{"name":"n"}`, "", nil},
		{"/v1/x", "", `{}`, "", nil},
		{"/v1/x?", "", `{}`, "", nil},
		{"/v1/x?name=n", "", `{}`, "bad_request", nil},
		{"/v1/x", "", `{"named":"n"}`, "bad_json", nil},
		{"/v1/x", "text/plain", `{}`, "", ErrContentType},
		{"/v1/x", "", `{"name":1}`, "", ErrJSON},
		{"/v1/x", "", `{} {}`, "", ErrJSON},
	} {
		var v struct {
			Name string `json:"name"`
		}
		c := Call{Server: asked{body: x.body, contentType: x.contentType}, Target: x.target}
		err := c.DecodeNative(&v)
		refusal, ok := errors.AsType[*Refusal](err)
		if ok != (x.code != "") || ok && (refusal.Code != x.code || refusal.Detail == "") || !ok && !errors.Is(err, x.err) {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

// FuzzDecodeJSON: what is decoded is what is there under the very names.
func FuzzDecodeJSON(f *testing.F) {
	type body struct {
		Name *string `json:"name"`
		In   *struct {
			N *float64 `json:"n"`
		} `json:"in"`
	}
	for _, s := range []string{`{"name":"x","in":{"n":1}}`, `{"name":1}`, `{"NAME":"x"}`, `{"in":null,"name":"\ud800"}`, `[]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got body
		if decodeJSON(raw, &got) != nil {
			return
		}
		var all map[string]any // by their names as written
		if err := json.Unmarshal(raw, &all); err != nil {
			t.Fatalf("%q is taken, and is no object: %v", raw, err)
		}
		if name, there := all["name"].(string); there != (got.Name != nil) || there && name != *got.Name {
			t.Errorf("%q: name is %v, want %v", raw, got.Name, all["name"])
		}
		if in, there := all["in"].(map[string]any); there != (got.In != nil) {
			t.Errorf("%q: in is %v", raw, got.In)
		} else if n, has := in["n"].(float64); there && (has != (got.In.N != nil) || has && n != *got.In.N) {
			t.Errorf("%q: in.n is %v, want %v", raw, got.In.N, n)
		}
	})
}
