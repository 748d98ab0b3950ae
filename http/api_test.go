package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mien/engine"
)

func TestGalleries(t *testing.T) {
	h := newHarness(t, nil)
	var g engine.Gallery
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"policy":{"fpir":0.001},"index":"scan"}`)}).into(t, &g)
	if g.Name != "staff" || g.Space != testSpace.ID || g.Dim != 16 || *g.Policy.FPIR != 0.001 {
		t.Fatalf("%+v", g)
	}
	h.want(200, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"policy":{"fpir":0.001},"index":"scan"}`)})
	h.refused(codeGalleryExists, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"policy":{"fpir":0.002},"index":"scan"}`)})
	h.refused(codeGalleryExists, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"policy":{"fpir":0.001},"index":"scan"}`), header: []string{"If-None-Match", "*"}})
	h.want(201, call{method: "PUT", path: "/v1/galleries/guests", header: []string{"If-None-Match", "*"}})
	h.want(200, call{method: "GET", path: "/v1/galleries/staff"}).into(t, &g)
	if s := g.IndexStatus; s == nil || s.Serving != "scan" || s.Why == "" || s.Graph != nil || len(s.Recall) != 0 {
		t.Errorf("%+v", s)
	}
	h.want(201, call{method: "PUT", path: "/v1/galleries/graph", body: []byte(`{"index":"hnsw"}`)})
	h.refused(codeGalleryExists, call{method: "PUT", path: "/v1/galleries/graph", body: []byte(`{"index":"scan"}`)})
	h.want(200, call{method: "GET", path: "/v1/galleries/graph"}).into(t, &g)
	if s := g.IndexStatus; g.Index != "hnsw" || s == nil || s.Serving != "scan" || s.Why == "" || s.Graph == nil {
		t.Errorf("%+v", s)
	}
	h.want(204, call{method: "DELETE", path: "/v1/galleries/graph"})

	var list struct{ Galleries []engine.Gallery }
	h.want(200, call{method: "GET", path: "/v1/galleries"}).into(t, &list)
	if len(list.Galleries) != 2 || list.Galleries[0].Name != "guests" {
		t.Fatalf("%+v", list)
	}
	h.want(204, call{method: "DELETE", path: "/v1/galleries/staff"})
	h.refused(codeGalleryNotFound, call{method: "DELETE", path: "/v1/galleries/staff"})
	h.refused(codeGalleryNotFound, call{method: "GET", path: "/v1/galleries/staff"})
}

func TestPeople(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	path := "/v1/galleries/staff/people/ada"
	var p engine.Person
	h.want(201, call{method: "PUT", path: path, body: fmt.Appendf(nil, `{"metadata": {"name":"Ada <3"}, "templates":[%s]}`, templateJSON(vector(1, 16)))}).into(t, &p)
	if p.ID != "ada" || len(p.Templates) != 1 || string(p.Metadata) != `{"name":"Ada <3"}` {
		t.Fatalf("%+v %s", p, p.Metadata)
	}
	h.want(201, call{method: "POST", path: path + "/templates", body: probeJSON(near(1, 16), "")}).into(t, &p)
	if len(p.Templates) != 2 || p.Templates[1].Source != "template" {
		t.Fatalf("%+v", p)
	}
	var q engine.Person
	h.want(200, call{method: "GET", path: path}).into(t, &q)
	if q.Version != p.Version || len(q.Templates) != 2 {
		t.Fatalf("%+v, want %+v", q, p)
	}
	h.want(200, call{method: "PATCH", path: path, body: []byte(`{"metadata":{"x":1}}`)}).into(t, &q)
	if string(q.Metadata) != `{"x":1}` {
		t.Fatalf("%s", q.Metadata)
	}
	q = engine.Person{}
	h.want(200, call{method: "PATCH", path: path, body: []byte(`{"metadata":null}`)}).into(t, &q)
	if q.Metadata != nil {
		t.Fatalf("%s", q.Metadata)
	}
	h.want(200, call{method: "PUT", path: path, body: personJSON(vector(1, 16))})
	h.want(204, call{method: "DELETE", path: path})
	h.refused(codePersonNotFound, call{method: "GET", path: path})
	h.refused(codePersonNotFound, call{method: "DELETE", path: path})
}

// Ids travel percent-encoded, and any that the engine takes comes back as it was.
func TestPersonIDs(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	ids := []string{"a/b", "%2F", "ä ö", "...", "a?b=c&d#e", `"<&>"`, "名前", "http://x/y", strings.Repeat("z", 256), "+"}
	for i, id := range ids {
		var p engine.Person
		path := "/v1/galleries/staff/people/" + strings.ReplaceAll(url.PathEscape(id), "..", "%2E%2E")
		h.want(201, call{method: "PUT", path: path, body: personJSON(vector(uint64(i), 16))}).into(t, &p)
		if p.ID != id {
			t.Errorf("id %q came back as %q", id, p.ID)
		}
		h.want(200, call{method: "GET", path: path})
	}
	var got []string
	cursor := ""
	for {
		var page peopleBody
		h.want(200, call{method: "GET", path: "/v1/galleries/staff/people?limit=3" + cursor}).into(t, &page)
		for _, p := range page.People {
			got = append(got, p.ID)
		}
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + url.QueryEscape(page.Next)
	}
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("listed %q, want %q", got, ids)
	}
}

func TestDecisions(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	var d engine.Decision
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/people/ada/verify", body: probeJSON(near(1, 16), "")}).into(t, &d)
	if !d.Match || d.Cosine < 0.95 {
		t.Errorf("mated: %+v", d)
	}
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/people/ada/verify", body: probeJSON(vector(3, 16), `,"policy":{"fmr":1e-6}`)}).into(t, &d)
	if d.Match {
		t.Errorf("stranger: %+v", d)
	}
	for _, op := range []string{"identify", "duplicates"} {
		var c engine.Candidates
		a := h.want(200, call{method: "POST", path: "/v1/galleries/staff/" + op, body: probeJSON(near(2, 16), `,"top_k":1,"exact":true`)})
		a.into(t, &c)
		if len(c.Candidates) != 1 || c.Candidates[0].Person != "bob" || c.Searched != 2 {
			t.Errorf("%s: %s", op, a.body)
		}
		a = h.want(200, call{method: "POST", path: "/v1/galleries/staff/" + op, body: probeJSON(vector(9, 16), `,"policy":{"cosine":0.99}`)})
		if !strings.Contains(string(a.body), `"candidates":[]`) {
			t.Errorf("%s: nobody is a list too: %s", op, a.body)
		}
	}
	compare := fmt.Appendf(nil, `{"source":{"template":%s},"target":{"template":%s},"policy":{"similarity":0.8}}`,
		templateJSON(vector(1, 16)), templateJSON(near(1, 16)))
	h.want(200, call{method: "POST", path: "/v1/compare", body: compare}).into(t, &d)
	if !d.Match {
		t.Errorf("compare: %+v", d)
	}
}

// TestExactReachesEngine: answers do not show whether a search was exact, nor its ef, so the call is watched.
func TestExactReachesEngine(t *testing.T) {
	type how struct {
		exact bool
		ef    int
	}
	h := newHarness(t, nil)
	var got []how
	watched := slices.Clone(routes)
	for i, rt := range watched {
		if rt.op == "identify" || rt.op == "duplicates" {
			watched[i].handle = func(s *Server, r *request) (reply, error) {
				return r.search(func(ctx context.Context, tenant, gallery string, probe engine.Template, o engine.IdentifyOptions) (engine.Candidates, error) {
					got = append(got, how{o.Exact, o.EF})
					return s.engine.Identify(ctx, tenant, gallery, probe, o)
				})
			}
		}
	}
	h.server.router = newRouter(routesOf(watched))
	h.staff()
	var want []how
	for _, op := range []string{"identify", "duplicates"} {
		for more, how := range map[string]how{``: {}, `,"exact":true`: {exact: true}, `,"exact":false`: {}, `,"ef":1`: {ef: 1}, `,"ef":16384,"exact":true`: {true, engine.MaxEF}} {
			h.want(200, call{method: "POST", path: "/v1/galleries/staff/" + op, body: probeJSON(vector(1, 16), more)})
			want = append(want, how)
		}
		h.refused(codeBadJSON, call{method: "POST", path: "/v1/galleries/staff/" + op, body: probeJSON(vector(1, 16), `,"exact":1`)})
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestKeys(t *testing.T) {
	h := newHarness(t, nil)
	var k createdKey
	h.want(201, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"admin","tenant":"acme","label":"their admin"}`)}).into(t, &k)
	theirs := k.Token
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", token: theirs})
	h.refused(codeGalleryNotFound, call{method: "GET", path: "/v1/galleries/staff"}) // ours has none of theirs

	var matcher createdKey
	h.want(201, call{method: "POST", path: "/v1/keys", token: theirs, body: []byte(`{"role":"matcher"}`)}).into(t, &matcher)
	if matcher.Tenant != "acme" {
		t.Fatalf("%+v", matcher)
	}
	h.refused(codeForbidden, call{method: "POST", path: "/v1/keys", token: theirs, body: []byte(`{"role":"matcher","tenant":"default"}`)})
	h.refused(codeForbidden, call{method: "POST", path: "/v1/keys", token: theirs, body: []byte(`{"role":"admin","operator":true}`)})
	h.refused(codeForbidden, call{method: "GET", path: "/v1/keys?tenant=default", token: theirs})
	h.refused(codeBadRequest, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"king"}`)})
	h.refused(codeBadRequest, call{method: "POST", path: "/v1/keys", body: []byte(`{}`)})

	var list struct{ Keys []engine.Key }
	a := h.want(200, call{method: "GET", path: "/v1/keys?tenant=acme"})
	a.into(t, &list)
	if len(list.Keys) != 2 || strings.Contains(string(a.body), theirs[len(theirs)-43:]) {
		t.Fatalf("%s", a.body)
	}
	h.want(200, call{method: "GET", path: "/v1/galleries", token: matcher.Token})
	h.want(204, call{method: "DELETE", path: "/v1/keys/" + matcher.ID, token: theirs})
	h.refused(codeKeyRevoked, call{method: "GET", path: "/v1/galleries", token: matcher.Token})
	h.refused(codeKeyNotFound, call{method: "DELETE", path: "/v1/keys/" + matcher.ID}) // not in the operator's own tenant
	h.refused(codeKeyNotFound, call{method: "DELETE", path: "/v1/keys/0000000000000000"})

	var admin, operator createdKey // of one tenant: the one may not revoke the other
	h.want(201, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"admin"}`)}).into(t, &admin)
	h.want(201, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"admin","operator":true}`)}).into(t, &operator)
	h.refused(codeForbidden, call{method: "DELETE", path: "/v1/keys/" + operator.ID, token: admin.Token})
	h.want(204, call{method: "DELETE", path: "/v1/keys/" + admin.ID, token: admin.Token})
	h.want(204, call{method: "DELETE", path: "/v1/keys/" + operator.ID})
	if strings.Contains(h.log.String(), theirs) || strings.Contains(h.log.String(), "people/") {
		t.Error("the log holds a token or a path")
	}
}

// Every operation is open to exactly the roles of the table; the table is compared with the document.
func TestRoles(t *testing.T) {
	h := newHarness(t, nil)
	for _, rt := range nativeRoutes(newDialects(Config{})) {
		path := strings.NewReplacer("{gallery}", "g", "{person}", "p", "{key}", "00").Replace(rt.pattern)
		if rt.roles == nil {
			if a := h.do(call{method: rt.method, path: path, token: "none"}); a.status == 401 {
				t.Errorf("%s asks for a key", rt.op)
			}
			continue
		}
		h.refused(codeKeyMissing, call{method: rt.method, path: path, token: "none"})
		for _, role := range everyRole {
			a := h.do(call{method: rt.method, path: path, token: h.token(role)})
			if forbidden := a.status == 403; forbidden == slices.Contains(rt.roles, role) {
				t.Errorf("%s as %s: %d %s", rt.op, role, a.status, a.body)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	h := newHarness(t, nil)
	h.want(200, call{method: "GET", path: "/healthz", token: "none"})
	var s statusBody
	h.want(503, call{method: "GET", path: "/readyz", token: "none"}).into(t, &s)
	if len(s.Reasons) != 1 {
		t.Errorf("%+v", s)
	}
	a := h.want(200, call{method: "GET", path: "/openapi.json", token: "none"})
	if !json.Valid(a.body) {
		t.Error("the document is not JSON")
	}
	a = h.want(200, call{method: "HEAD", path: "/healthz", token: "none"})
	if len(a.body) != 0 || a.header.Get("Content-Length") != "16" {
		t.Errorf("HEAD: %v %q", a.header, a.body)
	}
}

func TestOptionsAndMethods(t *testing.T) {
	h := newHarness(t, nil)
	a := h.want(204, call{method: "OPTIONS", path: "/v1/galleries/staff", token: "none"})
	if got := a.header.Get("Allow"); got != "DELETE, GET, HEAD, OPTIONS, PATCH, PUT" {
		t.Errorf("Allow: %s", got)
	}
	a = h.want(405, call{method: "GET", path: "/v1/compare"})
	if got := a.header.Get("Allow"); got != "OPTIONS, POST" || a.problem(t).Code != codeMethodNotAllowed {
		t.Errorf("Allow: %s %s", got, a.body)
	}
	h.want(404, call{method: "OPTIONS", path: "/nowhere"})
}

func TestRequestID(t *testing.T) {
	h := newHarness(t, nil)
	for id, kept := range map[string]bool{"abc-1.2_Z": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "ä": false, "": false} {
		a := h.want(404, call{method: "GET", path: "/nowhere", header: []string{"X-Request-Id", id}})
		got := a.header.Get("X-Request-Id")
		if (got == id) != kept || got == "" || a.problem(t).RequestID != got {
			t.Errorf("sent %q, got %q, problem says %q", id, got, a.problem(t).RequestID)
		}
		if !strings.Contains(h.log.String(), `"request_id":"`+got+`"`) {
			t.Errorf("%q is not in the log", got)
		}
	}
}

func TestLogTellsNoNames(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/zuse", body: personJSON(vector(1, 16))})
	h.want(200, call{method: "GET", path: "/v1/galleries/staff/people/zuse"})
	log := h.log.String()
	for _, secret := range []string{"zuse", h.token(engine.RoleAdmin), b64(vector(1, 16))} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	for _, wanted := range []string{`"route":"/v1/galleries/{gallery}/people/{person}"`, `"tenant":"default"`, `"status":200`, `"ms":`, `"key":"`} {
		if !strings.Contains(log, wanted) {
			t.Errorf("the log lacks %s", wanted)
		}
	}
}

// Keep-alive: one connection serves many requests, also after refusals whose body was read.
func TestKeepAlive(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	before := h.server.mu.listener.open()
	for i := range 20 {
		h.want(200, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(near(1, 16), ""), chunked: i%2 == 0})
		h.refused(codeBadJSON, call{method: "POST", path: "/v1/galleries/staff/identify", body: []byte(`{"x":1}`)})
	}
	if after := h.server.mu.listener.open(); after != before || before != 1 {
		t.Errorf("%d connections before, %d after", before, after)
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	e := openEngine(t, engineConfig(t.TempDir(), testSpace))
	for _, c := range []Config{{}, {Engine: e, MaxBodyBytes: -1}, {Engine: e, MaxBodyBytes: 100, MaxBodyBytesInFlight: 99}, {Engine: e, DrainDelay: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("New(%+v) took it", c)
		}
	}
	s, err := New(Config{Engine: e, MaxBodyBytes: 1 << 30})
	if err != nil || s.budget.max != 1<<30 {
		t.Errorf("a large body makes room for itself: %v", err)
	}
}
