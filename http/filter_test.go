package http

import (
	"fmt"
	"slices"
	"testing"

	"mien/engine"
)

// TestStatusAndFilter: who is suspended is not matched, and searches list whom their filter lets through.
func TestStatusAndFilter(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"filterable":["site","floor","guest"]}`)})
	for id, metadata := range map[string]string{"ada": `{"site":"a","floor":4,"guest":false}`, "bob": `{"site":"b","floor":4.0,"guest":true}`, "cy": `{"site":["a"]}`} {
		body := fmt.Appendf(nil, `{"templates":[%s],"metadata":%s}`, templateJSON(near(1, 16)), metadata)
		h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/" + id, body: body})
	}
	search := func(op, filter string) (ids []string) {
		t.Helper()
		var c engine.Candidates
		h.want(200, call{method: "POST", path: "/v1/galleries/staff/" + op, body: probeJSON(vector(1, 16), filter)}).into(t, &c)
		for _, p := range c.Candidates {
			ids = append(ids, p.Person+map[engine.Status]string{engine.StatusSuspended: "!"}[p.Status])
		}
		if slices.Sort(ids); c.Searched != len(ids) {
			t.Errorf("%s%s searched %d templates, found %q", op, filter, c.Searched, ids)
		}
		return ids
	}
	var p engine.Person
	if h.want(200, call{method: "PATCH", path: "/v1/galleries/staff/people/ada", body: []byte(`{"status":"suspended"}`)}).into(t, &p); p.Status != "suspended" || p.Metadata == nil {
		t.Errorf("%+v", p)
	}
	for _, c := range []struct {
		op, filter string
		want       []string
	}{
		{"identify", "", []string{"bob", "cy"}},
		{"duplicates", "", []string{"ada!", "bob", "cy"}},
		{"identify", `,"filter":{"status":"any"}`, []string{"ada!", "bob", "cy"}},
		{"identify", `,"filter":{"status":"suspended"}`, []string{"ada!"}},
		{"duplicates", `,"filter":{"status":"active"}`, []string{"bob", "cy"}},
		{"identify", `,"filter":{"metadata":{"site":["a","b"]}}`, []string{"bob"}},
		{"duplicates", `,"filter":{"metadata":{"site":["a","b","c"],"floor":4}}`, []string{"ada!", "bob"}},
		{"duplicates", `,"filter":{"metadata":{"guest":false}}`, []string{"ada!"}},
		{"duplicates", `,"filter":{"metadata":{"floor":"4"}}`, nil},
	} {
		if got := search(c.op, c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s%s found %q, want %q", c.op, c.filter, got, c.want)
		}
	}
	h.refused(codePersonSuspended, call{method: "POST", path: "/v1/galleries/staff/people/ada/verify", body: probeJSON(vector(1, 16), "")})
	for filter, want := range map[string]code{
		`{"metadata":{"desk":"4.12"}}`: codeBadFilter, `{"status":"gone"}`: codeBadFilter, `{"metadata":{"site":[]}}`: codeBadFilter,
		`{"metadata":{"site":null}}`: codeBadJSON, `{"metadata":{"site":{}}}`: codeBadJSON, `{"metadata":{"site":"a","site":"b"}}`: codeBadJSON, `{"people":[]}`: codeBadJSON,
	} {
		h.refused(want, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(vector(1, 16), `,"filter":`+filter)})
	}
	h.refused(codeBadRequest, call{method: "PATCH", path: "/v1/galleries/staff/people/ada", body: []byte(`{"status":"gone"}`)})
	h.refused(codeBadRequest, call{method: "PATCH", path: "/v1/galleries/staff/people/ada", body: []byte(`{}`)})
	h.want(200, call{method: "PATCH", path: "/v1/galleries/staff/people/ada", body: []byte(`{"status":"active","metadata":null}`)})
	if got := search("identify", ""); !slices.Equal(got, []string{"ada", "bob", "cy"}) {
		t.Errorf("found %q when all are active", got)
	}
	h.refused(codeBadRequest, call{method: "PUT", path: "/v1/galleries/x", body: []byte(`{"filterable":["a","a"]}`)})
}

// TestHistory: replaced templates stay within the gallery's cap, and templates say who enrolled them.
func TestHistory(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"history":2}`)})
	var p engine.Person
	for i := range 4 {
		h.do(call{method: "PUT", path: "/v1/galleries/staff/people/ada", body: personJSON(vector(uint64(i), 16))}).into(t, &p)
	}
	if h.want(200, call{method: "GET", path: "/v1/galleries/staff/people/ada"}).into(t, &p); len(p.Templates) != 1 || p.Templates[0].By == "" ||
		len(p.History) != 2 || p.History[0].ID != "2" || p.History[1].ID != "3" || p.History[1].Replaced.IsZero() {
		t.Errorf("%+v", p)
	}
	var c engine.Candidates
	if h.want(200, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(vector(2, 16), "")}).into(t, &c); len(c.Candidates) > 0 && c.Candidates[0].Cosine > 0.9 || c.Searched != 1 {
		t.Errorf("a search finds the history: %+v", c)
	}
	h.want(200, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"history":null}`)})
	p = engine.Person{}
	if h.want(200, call{method: "PUT", path: "/v1/galleries/staff/people/ada", body: personJSON(vector(9, 16))}).into(t, &p); p.History != nil {
		t.Errorf("%+v", p)
	}
}
