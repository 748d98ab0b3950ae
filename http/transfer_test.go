package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mien/engine"
	"mien/engine/transfer"
)

// filePeople are the people of a file, without the vectors' memory.
func filePeople(t testing.TB, data []byte) (transfer.Header, []engine.PortablePerson) {
	t.Helper()
	r, err := transfer.NewReader(bytes.NewReader(data), transfer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var all []engine.PortablePerson
	for p, err := range r.People() {
		if err != nil {
			t.Fatal(err)
		}
		p.Templates = slices.Clone(p.Templates)
		for i := range p.Templates {
			p.Templates[i].Vector = slices.Clone(p.Templates[i].Vector)
		}
		all = append(all, p)
	}
	return r.Header, all
}

// fileOf is a file of people with a template each.
func fileOf(t testing.TB, f transfer.Format, space engine.Space, ids ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := transfer.NewWriter(&b, f, transfer.Header{Space: space.ID, Dim: space.Dim})
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		at := time.UnixMilli(1700000000000).UTC()
		v := make([]float32, space.Dim)
		if v[i%space.Dim] = 1; id == "zero" {
			clear(v)
		}
		if err := w.Write(&engine.PortablePerson{ID: id, Created: at, Updated: at, Templates: []engine.PortableTemplate{{Number: 1, Created: at, Source: "image", Vector: v}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var mediaOf = map[transfer.Format]string{transfer.NDJSON: transfer.NDJSONType, transfer.Binary: transfer.BinaryType}

func TestExportImport(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	for format, media := range mediaOf {
		a := h.want(200, call{method: "GET", path: "/v1/galleries/staff/export?format=" + string(format)})
		if got := a.header.Get("Content-Type"); got != media {
			t.Errorf("%s is of type %q", format, got)
		}
		header, people := filePeople(t, a.body)
		if header.Gallery != "staff" || header.Space != testSpace.ID || len(people) == 0 {
			t.Errorf("%+v, %d people", header, len(people))
		}
		for _, chunked := range []bool{false, true} {
			name := fmt.Sprintf("/v1/galleries/copy-%s-%v", format, chunked)
			h.want(201, call{method: "PUT", path: name})
			var done importBody
			h.want(200, call{method: "POST", path: name + "/import", contentType: media, body: a.body, chunked: chunked}).into(t, &done)
			if done.Created != len(people) || done.People != len(people) || len(done.Outcomes) != 1 {
				t.Errorf("%+v", done)
			}
			if _, again := filePeople(t, h.want(200, call{method: "GET", path: name + "/export?format=binary"}).body); !reflect.DeepEqual(again, people) {
				t.Errorf("%+v, want %+v", again, people)
			}
		}
	}
	h.want(200, call{method: "HEAD", path: "/v1/galleries/staff/export"})
	if n := len(h.server.bulk); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

func TestImportReport(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	body := fileOf(t, transfer.Binary, testSpace, "x", "ada", "zero", "y", "z")
	var done importBody
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/import?on_conflict=fail", contentType: transfer.BinaryType, body: body}).into(t, &done)
	want := []importRun{{"created", 1}, {"failed", 2}, {"created", 2}}
	if done.People != 5 || done.Created != 3 || done.Failed != 2 || !reflect.DeepEqual(done.Outcomes, want) || len(done.Failures) != 2 ||
		done.Failures[0].ID != "ada" || done.Failures[0].Code != codePersonExists || done.Failures[0].Index != 1 || done.Failures[1].Code != codeTemplateZeroNorm {
		t.Errorf("%+v", done)
	}
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/import?on_conflict=skip", contentType: transfer.BinaryType, body: body}).into(t, &done)
	if done.Skipped != 4 {
		t.Errorf("%+v", done)
	}
}

func TestImportRefused(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	good := fileOf(t, transfer.NDJSON, testSpace, "x", "y")
	post := func(path, media string, body []byte) call {
		return call{method: "POST", path: "/v1/galleries/" + path, contentType: media, body: body}
	}
	h.refused(codeUnsupported, post("staff/import", "application/json", []byte("{}")))
	h.refused(codeGalleryNotFound, post("nobody/import", transfer.NDJSONType, good))
	h.refused(codeBadFile, post("staff/import", transfer.NDJSONType, []byte("x")))
	other := testSpace
	other.ID = "elsewhere"
	h.refused(codeSpaceMismatch, post("staff/import", transfer.NDJSONType, fileOf(t, transfer.NDJSON, other, "x")))
	cut := good[:bytes.LastIndexByte(good[:len(good)-1], '\n')+1]
	if p := h.refused(codeBadFile, post("staff/import", transfer.NDJSONType, cut)); !strings.Contains(p.Detail, "cut short") || !strings.Contains(p.Detail, "first 2") {
		t.Error(p.Detail)
	}
	h.want(200, post("staff/import?trailer=optional", transfer.NDJSONType, cut))
	for _, role := range []engine.Role{engine.RoleEnroller, engine.RoleMatcher, engine.RoleAuditor} {
		c := post("staff/import", transfer.NDJSONType, good)
		c.token = h.token(role)
		h.refused(codeForbidden, c)
		h.refused(codeForbidden, call{method: "GET", path: "/v1/galleries/staff/export", token: h.token(role)})
	}
	for range maxBulk {
		h.server.bulk <- struct{}{}
	}
	h.refused(codeOverloaded, post("staff/import", transfer.NDJSONType, good))
	h.refused(codeOverloaded, call{method: "GET", path: "/v1/galleries/staff/export"})
	for range maxBulk {
		<-h.server.bulk
	}
	h.want(200, post("staff/import", transfer.NDJSONType, good))
}

// TestImportIsNoBody: what bounds other bodies does not bound files, but for clients that are too slow.
func TestImportIsNoBody(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.MaxBodyBytes, c.MaxBodyBytesInFlight, c.RequestTimeout = 4<<10, 1<<20, 300*time.Millisecond
	})
	h.want(201, call{method: "PUT", path: "/v1/galleries/g"})
	var ids []string
	for i := range 400 {
		ids = append(ids, fmt.Sprint("p", i))
	}
	body := fileOf(t, transfer.Binary, testSpace, ids...)
	if len(body) < 32<<10 {
		t.Fatal("the file is small")
	}
	h.want(200, call{method: "POST", path: "/v1/galleries/g/import", contentType: transfer.BinaryType, body: body})
	c := dialTo(t, h.addr, h.tls)
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/galleries/g/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", h.token(engine.RoleAdmin), transfer.BinaryType, len(body))
	_, _ = c.Write(body[:100])
	answer, _ := io.ReadAll(c)
	_, problem, _ := strings.Cut(string(answer), "\r\n\r\n")
	var p problemBody
	if json.Unmarshal([]byte(problem), &p) != nil || p.Code != codeRequestTimeout {
		t.Errorf("who sends nothing is answered %q", answer)
	}
	if n := len(h.server.bulk); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

func TestPace(t *testing.T) {
	p := pace{grace: time.Second}
	if p.left() != time.Second {
		t.Error(p.left())
	}
	p.bytes, p.waited = 10*minBulkRate, 9*time.Second
	if got := p.left().Round(time.Millisecond); got != 2*time.Second {
		t.Error(got)
	}
}
