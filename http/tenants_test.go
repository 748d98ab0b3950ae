package http

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mien/engine"
)

// goodBodies are good requests of the operations, so that what refuses them is not their form. An operation that is missing here is
// sent {}.
var goodBodies = map[string]string{
	"createKey":    `{"role":"matcher"}`,
	"patchGallery": `{"policy":{"fmr":0.001}}`,
	"moveGallery":  `{"space":"test-16"}`,
	"putPerson":    string(personJSON(vector(1, 16))),
	"patchPerson":  `{"metadata":{"a":1}}`,
	"addTemplate":  string(probeJSON(vector(1, 16), "")),
	"verify":       string(probeJSON(vector(1, 16), "")),
	"identify":     string(probeJSON(vector(1, 16), "")),
	"duplicates":   string(probeJSON(vector(1, 16), "")),

	"decentralisedEnrol":    string(probeJSON(vector(1, 16), "")),
	"decentralisedVerify":   string(probeJSON(vector(1, 16), "")),
	"decentralisedIdentify": string(probeJSON(vector(1, 16), "")),

	"compare": fmt.Sprintf(`{"source":{"template":%s},"target":{"template":%s}}`, templateJSON(vector(1, 16)), templateJSON(vector(2, 16))),
}

// walk sends every route but the public ones, and those that skip names, its request for the names.
func (h *harness) walk(token string, names *strings.Replacer, skip ...string) map[string]answer {
	answers := map[string]answer{}
	for _, rt := range nativeRoutes(newDialects(Config{})) {
		if rt.roles == nil || slices.Contains(skip, rt.op) {
			continue
		}
		c := call{method: rt.method, path: names.Replace(rt.pattern), token: token}
		if rt.takesBody() {
			c.body = []byte("{}")
			if b := goodBodies[rt.op]; b != "" {
				c.body = []byte(b)
			}
		}
		answers[rt.op] = h.do(c)
	}
	return answers
}

// varying is what differs from one answer to the next.
var varying = regexp.MustCompile(`("request_id":"[^"]*"|"(created|started|ended|covered|updated|last_used)":"[^"]*"|"state":"(queued|running|done)"|"eta_seconds":[^,}]*|"version":\d+|"sha256":"[0-9a-f]{64}"|"id":"[0-9a-f]{16}"|"token":"[^"]*"),?`)

// told is all that an answer tells: its status, its header fields and its body, but for what varies.
func (a answer) told() string {
	header := maps.Clone(a.header)
	delete(header, "Date")
	delete(header, "X-Request-Id")
	delete(header, "Content-Length")
	delete(header, "Etag") // a person's version
	return fmt.Sprintf("%d %v %s", a.status, header, varying.ReplaceAllString(string(a.body), ""))
}

func (h *harness) key(tenant string, spec engine.KeySpec) (engine.Key, string) {
	h.t.Helper()
	k, token, err := h.engine.CreateKey(h.t.Context(), tenant, spec)
	if err != nil {
		h.t.Fatal(err)
	}
	return k, token
}

// TestTenantsSeeNothingOfEachOther: whatever a tenant's administrator asks about another tenant's names and ids is answered, word
// for word, as for names that nobody has; and changes nothing there.
func TestTenantsSeeNothingOfEachOther(t *testing.T) {
	h := newHarness(t, nil)
	h.staff() // of the tenant default
	theirs, _ := h.key("default", engine.KeySpec{Role: engine.RoleMatcher})
	before := h.want(200, call{method: "GET", path: "/v1/galleries/staff/people"}).told()
	_, other := h.key("other", engine.KeySpec{Role: engine.RoleAdmin})
	job, _, err := h.engine.StartDedupe(t.Context(), "default", "staff", engine.DedupeSpec{})
	if err != nil {
		t.Fatal(err)
	}
	var project, session struct{ ID string }
	h.want(201, call{method: "POST", path: "/v1/verifik/projects", body: []byte(`{"gallery":"staff"}`)}).into(t, &project)
	h.want(201, call{method: "POST", path: "/v1/verifik/projects/" + project.ID + "/sessions", body: []byte("{}")}).into(t, &session)
	is := strings.NewReplacer("{gallery}", "staff", "{person}", "ada", "{key}", theirs.ID, "{job}", job.ID, "{project}", project.ID, "{session}", session.ID)
	isNot := strings.NewReplacer("{gallery}", "stuff", "{person}", "eda", "{key}", "00112233445566aa", "{job}", "00112233445566aa",
		"{project}", "00112233445566aabbccddee", "{session}", "00112233445566aabbccddee")

	// Before the tenant has a gallery of the name, and when it has one of its own.
	skip := []string{"putGallery", "createKey", "listAudit", "auditHead", "exportAudit", // the audit has what was asked here
		"keyStatus", "rotateTenantKey", "rotateVerifikKey"} // name nobody, and change what they tell
	for pass := range 2 {
		if pass == 1 {
			for _, name := range []string{"staff", "stuff"} {
				h.want(201, call{method: "PUT", path: "/v1/galleries/" + name, token: other})
			}
			skip = append(skip, "deleteGallery", "listGalleries", "metrics", "listJobs") // which are about both
		}
		got, want := h.walk(other, is, skip...), h.walk(other, isNot, skip...)
		for op, a := range got {
			ours := strings.NewReplacer("stuff", "staff", "eda", "ada").Replace(want[op].told())
			if a.told() != ours {
				t.Errorf("%s tells\n%s\nand of names that nobody has\n%s", op, a.told(), ours)
			}
			if strings.Contains(a.told(), "bob") || strings.Contains(a.told(), theirs.ID) {
				t.Errorf("%s tells of another tenant: %s", op, a.told())
			}
		}
	}
	admin := strings.Split(h.token(engine.RoleAdmin), "_")[1]
	if audit := h.want(200, call{method: "GET", path: "/v1/audit/export", token: other}); strings.Contains(string(audit.body), admin) {
		t.Error("the audit tells of another tenant's administrator")
	}
	for _, q := range []string{"/v1/keys", "/metrics", "/v1/audit", "/v1/audit/export"} {
		h.refused(codeForbidden, call{method: "GET", path: q + "?tenant=default", token: other})
		h.refused(codeForbidden, call{method: "GET", path: q + "?tenant=nobody", token: other})
	}
	if after := h.want(200, call{method: "GET", path: "/v1/galleries/staff/people"}).told(); after != before {
		t.Errorf("the other tenant changed\n%s to\n%s", before, after)
	}
	if _, err := h.engine.Key(t.Context(), "default", theirs.ID); err != nil {
		t.Error(err)
	}
}

// TestBoundKeys: a key that is bound to galleries learns nothing of others, whether they are there included, and nothing that is
// about the whole tenant.
func TestBoundKeys(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	h.want(201, call{method: "PUT", path: "/v1/galleries/door-1"})
	for _, role := range everyRole {
		_, bound := h.key("default", engine.KeySpec{Role: role, Galleries: []string{"door-*"}})
		got := h.walk(bound, strings.NewReplacer("{gallery}", "staff", "{person}", "ada", "{key}", "00112233445566aa"))
		want := h.walk(bound, strings.NewReplacer("{gallery}", "stuff", "{person}", "eda", "{key}", "00112233445566aa"))
		for _, rt := range nativeRoutes(newDialects(Config{})) {
			a, ok := got[rt.op]
			if !ok {
				continue
			}
			if strings.Contains(rt.pattern, "{gallery}") || !unbound[rt.op] {
				if a.status != 403 {
					t.Errorf("%s as %s: %d %s", rt.op, role, a.status, a.body)
				}
			}
			if a.told() != want[rt.op].told() || strings.Contains(a.told(), "staff") {
				t.Errorf("%s as %s tells\n%s\nand of a gallery that is not there\n%s", rt.op, role, a.told(), want[rt.op].told())
			}
		}
		var list struct{ Galleries []engine.Gallery }
		h.want(200, call{method: "GET", path: "/v1/galleries", token: bound}).into(t, &list)
		if len(list.Galleries) != 1 || list.Galleries[0].Name != "door-1" {
			t.Errorf("%s lists %v", role, list)
		}
		h.want(200, call{method: "GET", path: "/v1/galleries/door-1", token: bound})
	}
	_, admin := h.key("default", engine.KeySpec{Role: engine.RoleAdmin, Galleries: []string{"door-*"}})
	h.want(201, call{method: "PUT", path: "/v1/galleries/door-2", token: admin})
	h.want(201, call{method: "PUT", path: "/v1/galleries/door-2/people/cy", token: admin, body: personJSON(vector(3, 16))})
	if m := string(h.want(200, call{method: "GET", path: "/metrics", token: admin}).body); !strings.Contains(m, "door-2") || strings.Contains(m, "staff") {
		t.Errorf("metrics: %s", m)
	}
}

// TestNoWiderKeys: through the API, no key comes by more than the one that asked has.
func TestNoWiderKeys(t *testing.T) {
	h := newHarness(t, nil)
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	_, bound := h.key("default", engine.KeySpec{Role: engine.RoleAdmin, Galleries: []string{"door-*"}, Expires: soon, Rate: 1000, Scores: engine.ScoresRounded})
	wide, _ := h.key("default", engine.KeySpec{Role: engine.RoleMatcher})
	operator, _ := h.key("default", engine.KeySpec{Role: engine.RoleAdmin, Operator: true})
	narrow := fmt.Sprintf(`"expires":%q,"rate":10,"scores":"decision"`, soon.Format(time.RFC3339))
	for name, body := range map[string]string{
		"all galleries":  `{"role":"matcher",` + narrow + `}`,
		"another":        `{"role":"matcher","galleries":["staff"],` + narrow + `}`,
		"for ever":       `{"role":"matcher","galleries":["door-1"],"rate":10,"scores":"decision"}`,
		"any rate":       `{"role":"matcher","galleries":["door-1"],"scores":"decision","expires":"` + soon.Format(time.RFC3339) + `"}`,
		"exact":          `{"role":"matcher","galleries":["door-1"],"rate":10,"expires":"` + soon.Format(time.RFC3339) + `"}`,
		"operator":       `{"role":"admin","operator":true,` + narrow + `}`,
		"another tenant": `{"role":"matcher","tenant":"other","galleries":["door-1"],` + narrow + `}`,
	} {
		if p := h.refused(codeForbidden, call{method: "POST", path: "/v1/keys", token: bound, body: []byte(body)}); p.Detail == "" {
			t.Errorf("%s: no detail", name)
		}
	}
	var made createdKey
	h.want(201, call{method: "POST", path: "/v1/keys", token: bound, body: []byte(`{"role":"matcher","galleries":["door-1"],` + narrow + `}`)}).into(t, &made)
	var keys struct{ Keys []engine.Key }
	h.want(200, call{method: "GET", path: "/v1/keys", token: bound}).into(t, &keys)
	for _, k := range keys.Keys {
		if len(k.Galleries) == 0 {
			t.Errorf("the bound key is told of %+v", k)
		}
	}
	// A key that is out of reach is as one that is not there.
	none := h.refused(codeKeyNotFound, call{method: "DELETE", path: "/v1/keys/00112233445566aa", token: bound})
	for _, id := range []string{wide.ID, operator.ID} {
		for _, c := range []call{{method: "DELETE", path: "/v1/keys/" + id}, {method: "POST", path: "/v1/keys/" + id + "/rotate"}} {
			c.token = bound
			if p := h.refused(codeKeyNotFound, c); p.Detail != none.Detail {
				t.Errorf("%s tells %q, of none %q", c.path, p.Detail, none.Detail)
			}
		}
	}
	_, plain := h.key("default", engine.KeySpec{Role: engine.RoleAdmin})
	h.refused(codeForbidden, call{method: "POST", path: "/v1/keys/" + operator.ID + "/rotate", token: plain})
	h.refused(codeForbidden, call{method: "DELETE", path: "/v1/keys/" + operator.ID, token: plain})
	// What it made it may rotate; the successor lives no longer than who asked.
	var next createdKey
	h.want(201, call{method: "POST", path: "/v1/keys/" + made.ID + "/rotate", token: bound, body: []byte(`{"overlap_s":0}`)}).into(t, &next)
	if next.Expires.After(soon) || next.Scores != engine.ScoresDecision || next.Rate != 10 || !slices.Equal(next.Galleries, made.Galleries) {
		t.Errorf("rotated to %+v", next)
	}
	h.refused(codeKeyExpired, call{method: "GET", path: "/v1/galleries", token: made.Token})
	h.want(200, call{method: "GET", path: "/v1/galleries", token: next.Token})
	h.want(204, call{method: "DELETE", path: "/v1/keys/" + next.ID, token: bound})
}

func TestRotateOverHTTP(t *testing.T) {
	h := newHarness(t, nil)
	old, token := h.key("other", engine.KeySpec{Role: engine.RoleMatcher, Label: "door"})
	var next createdKey
	h.want(201, call{method: "POST", path: "/v1/keys/" + old.ID + "/rotate", body: []byte(`{"tenant":"other"}`)}).into(t, &next)
	for _, tok := range []string{token, next.Token} {
		h.want(200, call{method: "GET", path: "/v1/galleries", token: tok})
	}
	var keys struct{ Keys []engine.Key }
	h.want(200, call{method: "GET", path: "/v1/keys?" + url.Values{"tenant": {"other"}}.Encode()}).into(t, &keys)
	if k := keys.Keys[0]; k.ID != old.ID || k.RotatedTo != next.ID || k.LastUsed.IsZero() || time.Until(k.Expires) > engine.DefaultOverlap {
		t.Errorf("%+v", k)
	}
	h.refused(codeKeyEnded, call{method: "POST", path: "/v1/keys/" + old.ID + "/rotate", body: []byte(`{"tenant":"other"}`)})
	h.refused(codeKeyNotFound, call{method: "POST", path: "/v1/keys/" + next.ID + "/rotate"})
	for _, body := range []string{`{"overlap_s":-1}`, `{"overlap_s":2592001}`, `{"overlap":1}`} {
		h.refused(codeBadJSON, call{method: "POST", path: "/v1/keys/" + next.ID + "/rotate", body: []byte(body)})
	}
}

func TestKeySpecOverHTTP(t *testing.T) {
	h := newHarness(t, nil)
	for body, want := range map[string]code{
		`{"role":"matcher","galleries":[]}`:                   codeBadRequest,
		`{"role":"matcher","galleries":["*"]}`:                codeBadRequest,
		`{"role":"matcher","galleries":"a"}`:                  codeBadJSON,
		`{"role":"matcher","galleries":[1]}`:                  codeBadJSON,
		`{"role":"matcher","galleries":null}`:                 codeBadJSON,
		`{"role":"matcher","rate":0}`:                         codeBadRequest,
		`{"role":"matcher","rate":-1}`:                        codeBadRequest,
		`{"role":"matcher","rate":1e7}`:                       codeBadRequest,
		`{"role":"matcher","burst":0,"rate":1}`:               codeBadJSON,
		`{"role":"matcher","burst":3}`:                        codeBadRequest,
		`{"role":"matcher","scores":"all"}`:                   codeBadRequest,
		`{"role":"matcher","expires":"tomorrow"}`:             codeBadJSON,
		`{"role":"matcher","expires":12}`:                     codeBadJSON,
		`{"role":"matcher","expires":"2020-01-01T00:00:00Z"}`: codeBadRequest,
		`{"role":"matcher","galleries":[` + strings.TrimSuffix(strings.Repeat(`"a",`, engine.MaxKeyGalleries+1), ",") + `]}`: codeBadRequest,
	} {
		h.refused(want, call{method: "POST", path: "/v1/keys", body: []byte(body)})
	}
	a := h.want(201, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"matcher","galleries":["b","a*"],"rate":0.5,"scores":"exact","expires":"2120-01-01T01:00:00+01:00"}`)})
	var k map[string]any
	a.into(t, &k)
	want := `{"a":["a*","b"],"b":1,"e":"2120-01-01T00:00:00Z","r":0.5,"s":null}`
	if got, _ := json.Marshal(map[string]any{"a": k["galleries"], "b": k["burst"], "e": k["expires"], "r": k["rate"], "s": k["scores"]}); string(got) != want {
		t.Errorf("made %s, want %s", got, want)
	}
}
