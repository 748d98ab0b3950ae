package http

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp/fasthttputil"

	"mien/engine"
	"mien/extract"
)

// oneFace is an extractor that finds one face in everything, and can judge everything.
type oneFace struct{}

func (oneFace) Measures() []string { return engine.Measures() }

func (oneFace) Extract(context.Context, []byte, extract.Options) ([]extract.Face, error) {
	return []extract.Face{{Score: 1, Template: vector(1, 16), Crop: &extract.Image{W: 1, H: 1, Pix: make([]uint8, 3)}}}, nil
}

// inMemory serves on a listener without sockets.
func inMemory(t testing.TB, e *engine.Engine) *fasthttputil.InmemoryListener {
	t.Helper()
	s, err := New(Config{Engine: e, Extractor: oneFace{}, MaxBodyBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	ln := fasthttputil.NewInmemoryListener()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return ln
}

func fuzzServer(f *testing.F) (*fasthttputil.InmemoryListener, string) {
	f.Helper()
	e := openEngine(f, engineConfig(f.TempDir(), testSpace))
	_, token, err := e.CreateKey(f.Context(), "default", engine.KeySpec{Role: engine.RoleAdmin, Operator: true})
	if err != nil {
		f.Fatal(err)
	}
	if _, _, err := e.CreateGallery(f.Context(), "default", "g", engine.GallerySpec{}); err != nil {
		f.Fatal(err)
	}
	return inMemory(f, e), token
}

func dialMemory(t testing.TB, ln *fasthttputil.InmemoryListener) net.Conn {
	t.Helper()
	c, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// checkAnswer demands that resp is an answer of ours, and no failure of ours.
func checkAnswer(t *testing.T, resp *nethttp.Response) {
	t.Helper()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode < 400 || resp.Request != nil && resp.Request.Method == "HEAD" {
		return
	}
	var p problemBody
	if err := json.Unmarshal(body.Bytes(), &p); err != nil {
		t.Fatalf("%d without a problem: %q", resp.StatusCode, body.Bytes())
	}
	if codes[p.Code].status != resp.StatusCode || p.Detail == "" || p.Code == codeInternal || !utf8.Valid(body.Bytes()) {
		t.Fatalf("%d %s", resp.StatusCode, body.Bytes())
	}
}

// FuzzRequest sends any path, query, content type and body through the whole server: every answer is a
// documented one, and none is "internal".
func FuzzRequest(f *testing.F) {
	template := templateJSON(vector(1, 16))
	ct, multi := form(f, part{name: "image", file: "x.jpg", data: []byte("x")}, part{name: "top_k", data: []byte("3")},
		part{name: "metadata", data: []byte(`{"a":1}`)})
	judgedType, judged := form(f, part{name: "image", file: "x.jpg", data: []byte("x")}, part{name: "select", data: []byte("all")},
		part{name: "gate", data: []byte("sharpness=1,liveness=2")}, part{name: "want", data: []byte("quality,liveness")})
	for _, s := range []struct{ method, path, ct, body string }{
		{"PUT", "/v1/galleries/g", "application/json", `{"policy":{"fmr":1e-3},"index":"scan"}`},
		{"PUT", "/v1/galleries/g/people/p", "application/json", `{"templates":[` + template + `],"metadata":{"a":[1,{"b":"\u00e9"}]}}`},
		{"PUT", "/v1/galleries/g/people/a%2Fb", ct, string(multi)},
		{"PUT", "/v1/galleries/h", "application/json", `{"gate":{"enrol":{"sharpness":1e1},"probe":{}}}`},
		{"PATCH", "/v1/galleries/g", "application/json", `{"gate":{"probe":{"liveness":0.5}},"policy":null}`},
		{"PUT", "/v1/galleries/g/people/p?gate=sharpness=20,liveness=5e1&want=quality", "image/png", "x"},
		{"POST", "/v1/galleries/g/identify?select=all&gate=unified_score=1", "image/png", "x"},
		{"POST", "/v1/galleries/g/identify", "application/json", `{"image":"AAAA","select":"all","gate":{"eyes_open":100},"want":["liveness"]}`},
		{"POST", "/v1/extract", "application/json", `{"image":"AAAA","want":["quality","template"],"gate":{"mouth_closed":1}}`},
		{"PATCH", "/v1/galleries/g/people/p", "application/json", `{"metadata":null}`},
		{"POST", "/v1/galleries/g/people/p/verify?fmr=1e-4&select=one", "image/png", "x"},
		{"POST", "/v1/galleries/g/identify", ct, string(multi)},
		{"POST", "/v1/galleries/g/identify", judgedType, string(judged)},
		{"POST", "/v1/galleries/g/identify", "application/json", `{"image":"data:image/png;base64,AA\/A","top_k":3,"exact":true,"policy":{"fpir":0.5}}`},
		{"POST", "/v1/galleries/g/duplicates?top_k=5", "application/octet-stream", "x"},
		{"POST", "/v1/compare", "application/json", `{"source":{"template":` + template + `},"target":{"image":"AAAA"},"select":"largest"}`},
		{"POST", "/v1/extract?crop=true", "image/jpeg", "\xff\xd8"},
		{"POST", "/v1/galleries/g/people/p/verify?fmr=0.1", frameType, string(frame("test-16", vector(1, 16)))},
		{"PUT", "/v1/galleries/g/people/p", frameType, string(frame("test-16", vector(1, 16), vector(2, 16)))},
		{"POST", "/v1/keys", "application/json", `{"role":"matcher","label":"x"}`},
		{"GET", "/v1/galleries/g/people?limit=3&cursor=%41", "", ""},
		{"DELETE", "/v1/galleries/g/people/p", "", ""},
		{"OPTIONS", "/v1/galleries/%zz", "", ""},
		{"POST", "/v1/galleries/g/identify", "multipart/form-data; boundary=x", "--x\r\n\r\n\r\n--x--"},
	} {
		f.Add(s.method, s.path, s.ct, []byte(s.body), len(s.body)%2 == 0)
	}
	ln, token := fuzzServer(f)
	f.Fuzz(func(t *testing.T, method, path, contentType string, body []byte, chunked bool) {
		if strings.ContainsAny(method+path+contentType, "\r\n") || len(method) > 100 || len(path) > 8000 || len(contentType) > 4000 {
			t.Skip() // they would be another request
		}
		c := dialMemory(t, ln)
		defer c.Close()
		framing := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
		if chunked && len(body) > 0 {
			framing = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		}
		if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n%s",
			method, path, token, contentType, framing); err != nil {
			return // the server has answered and closed
		}
		resp, err := nethttp.ReadResponse(bufio.NewReader(c), &nethttp.Request{Method: method})
		if err != nil {
			t.Fatalf("%s %q: %v", method, path, err)
		}
		checkAnswer(t, resp)
	})
}

// FuzzWire sends any bytes: whatever is answered is a documented answer.
func FuzzWire(f *testing.F) {
	ln, token := fuzzServer(f)
	for _, s := range []string{
		"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "GET /healthz HTTP/1.0\r\n\r\n", "\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"POST /v1/compare HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nT: x\r\n\r\n",
		"POST /v1/compare HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
		"GET http://h/v1/galleries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := dialMemory(t, ln)
		defer c.Close()
		if _, err := c.Write(data); err != nil {
			return
		}
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // the server may rightly wait for more
		resp, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode == 100 || bytes.HasPrefix(data, []byte("HEAD")) {
			return
		}
		checkAnswer(t, resp)
	})
}

// FuzzJSON holds the walk over an object against encoding/json.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, ` { "a" : [ 1 , { "b" : "\"}" } ] , "c\\" : "\\\\" , "d":null,"e":-1.5e+7 } `, `{"\u00e9":"\ud83d\ude00","f":true}`, `{"a":"x\\\"y","b":[[]]}`} {
		f.Add([]byte(s))
	}
	long := strings.Repeat("aA1+/", 20)
	for _, s := range []string{`{"a":"` + long + `"}`, `{"a":"` + long + `\""}`, `{"a":"` + long + `\x"}`, "{\"a\":\"" + long + "\n\"}", `{"a":"` + long, `[` + long + `]`,
		`{"a":"` + long + `" "b":1}`, `{"` + long + `":"` + long + `"}`, `"\`, "{\"a\":\"" + long + "\x7f\x80\xff\x1f\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, want := validJSON(data), json.Valid(data); got != want {
			t.Fatalf("%q: validJSON %v, json.Valid %v", data, got, want)
		}
		var want map[string]json.RawMessage
		trimmed := bytes.Trim(data, jsonSpace)
		if !utf8.Valid(data) || !json.Valid(data) || trimmed[0] != '{' || json.Unmarshal(data, &want) != nil {
			if err := decodeBody(data, nil); err == nil {
				t.Fatalf("decodeBody took %q", data)
			}
			return
		}
		got := map[string]json.RawMessage{}
		if err := eachMember(trimmed, func(name, value []byte) error {
			got[string(name)] = value
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%q: %q, want %q", data, got, want)
		}
		for name, value := range want {
			if !bytes.Equal(value, got[name]) {
				t.Fatalf("%q: %q is %q, want %q", data, name, got[name], value)
			}
			if value[0] == '[' {
				checkElements(t, value)
			}
		}
	})
}

func checkElements(t *testing.T, array json.RawMessage) {
	t.Helper()
	var want, got []json.RawMessage
	if err := json.Unmarshal(array, &want); err != nil {
		t.Fatal(err)
	}
	if err := eachElement(array, func(i int, value []byte) error {
		if i != len(got) {
			t.Fatalf("index %d of element %d", i, len(got))
		}
		got = append(got, value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%q: %q", array, got)
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("%q[%d]: %q", array, i, got[i])
		}
	}
}
