package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mien/engine"
)

// named gives a request a name.
func (c call) named(name string) call {
	c.header = append(slices.Clone(c.header), idempotencyKey, name)
	return c
}

// sameAnswer: the second answer repeats the first, and says so.
func sameAnswer(t *testing.T, what string, first, second answer) {
	t.Helper()
	if second.status != first.status || !bytes.Equal(second.body, first.body) || second.header.Get("ETag") != first.header.Get("ETag") ||
		second.header.Get("Content-Type") != first.header.Get("Content-Type") {
		t.Errorf("%s: %d %s %s, then %d %s %s", what, first.status, first.header, first.body, second.status, second.header, second.body)
	}
	if a, b := first.header.Get("Idempotency-Replayed"), second.header.Get("Idempotency-Replayed"); a != "" || b != "true" {
		t.Errorf("%s: replayed %q, then %q", what, a, b)
	}
}

// TestIdempotency: every operation that heeds the header does a request once, and repeats its answer byte by byte, though by then the repeat
// would be answered otherwise; every other write refuses the header, and reads ignore it.
func TestIdempotency(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	const people = "/v1/galleries/staff/people/"
	enrol := personJSON(vector(7, 16))
	left := maps.Clone(idempotent)
	do := func(op string, status int, c call) answer {
		t.Helper()
		delete(left, op)
		first := h.want(status, c.named(op+"-1"))
		sameAnswer(t, op, first, h.do(c.named(op+"-1")))
		sameAnswer(t, op+" in quotation marks", first, h.do(c.named(`"`+op+`-1"`)))
		return first
	}
	do("putGallery", 201, call{method: "PUT", path: "/v1/galleries/new"})
	do("patchGallery", 200, call{method: "PATCH", path: "/v1/galleries/new", body: []byte(`{"history":3}`)})
	do("putPerson", 201, call{method: "PUT", path: people + "cleo", body: []byte(`{"templates":[` + templateJSON(vector(7, 16)) + `],"metadata":{"n":1},"duplicates":"warn"}`)})
	do("addTemplate", 201, call{method: "POST", path: people + "cleo/templates", body: probeJSON(vector(8, 16), "")})
	do("patchPerson", 200, call{method: "PATCH", path: people + "cleo", body: []byte(`{"status":"suspended"}`)})
	if p := h.want(200, call{method: "GET", path: people + "cleo"}); strings.Count(string(p.body), `"source"`) != 2 {
		t.Errorf("cleo is %s", p.body)
	}
	do("deletePerson", 204, call{method: "DELETE", path: people + "cleo"})
	h.want(201, call{method: "PUT", path: people + "dan", body: enrol})
	do("erasePerson", 200, call{method: "POST", path: people + "dan/erase"})
	var key struct{ ID, Token string }
	if err := json.Unmarshal(do("createKey", 201, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"matcher"}`)}).body, &key); err != nil || key.Token == "" {
		t.Fatal(key, err)
	}
	do("rotateKey", 201, call{method: "POST", path: "/v1/keys/" + key.ID + "/rotate", body: []byte(`{}`)})
	do("revokeKey", 204, call{method: "DELETE", path: "/v1/keys/" + key.ID})
	var job struct{ ID string }
	if err := json.Unmarshal(do("startDedupe", 202, call{method: "POST", path: "/v1/galleries/staff/dedupe"}).body, &job); err != nil {
		t.Fatal(err)
	}
	do("deleteJob", 204, call{method: "DELETE", path: "/v1/jobs/" + job.ID})
	h.want(200, call{method: "GET", path: "/v1/galleries/new"})
	do("deleteGallery", 204, call{method: "DELETE", path: "/v1/galleries/new"})
	delete(left, "cancelMove") // needs another space; see the engine's TestOnceOfEveryWrite
	if len(left) > 0 {
		t.Errorf("nothing tries %v", left)
	}

	replacer := strings.NewReplacer("{gallery}", "staff", "{person}", "ada", "{key}", "00", "{job}", "00", "{tenant}", "x")
	for _, rt := range routesOf(routes) {
		c := call{method: rt.method, path: replacer.Replace(rt.pattern)}.named("x")
		switch {
		case (idempotent[rt.op] || atParties[rt.op]) != (document().doc.Paths.Value(rt.pattern).GetOperation(rt.method).Parameters.GetByInAndName("header", idempotencyKey) != nil):
			t.Errorf("%s: document and table disagree about %s", rt.op, idempotencyKey)
		case !rt.takesBody() && rt.method != "DELETE":
			if a := h.do(c); a.status == 400 {
				t.Errorf("%s with a name: %d %s", rt.op, a.status, a.body)
			}
		case !idempotent[rt.op] && !atParties[rt.op]:
			if p := h.refused(codeBadRequest, c); !strings.Contains(p.Detail, idempotencyKey) {
				t.Errorf("%s: %s", rt.op, p.Detail)
			}
		}
	}
}

// TestIdempotencyRefusals: other requests of the same name, names that are none, keys of others, and failures, which are tried again.
func TestIdempotencyRefusals(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	const ada = "/v1/galleries/staff/people/ada"
	patch := call{method: "PATCH", path: ada, body: []byte(`{"metadata":{"n":1}}`)}
	h.want(200, patch.named("n"))
	for name, c := range map[string]call{
		"method": {method: "PUT", path: ada, body: personJSON(vector(1, 16))},
		"path":   {method: "PATCH", path: "/v1/galleries/staff/people/bob", body: patch.body},
		"body":   {method: "PATCH", path: ada, body: []byte(`{"metadata":{"n":2}}`)},
		"query":  {method: "PATCH", path: ada + "?x=1", body: patch.body},
		"kind":   {method: "DELETE", path: ada},
	} {
		if p := h.refused(codeIdempotencyMismatch, c.named("n")); !strings.Contains(p.Detail, "new key") {
			t.Errorf("%s: %s", name, p.Detail)
		}
	}
	enroller := patch
	enroller.token = h.token(engine.RoleEnroller)
	if a := h.want(200, enroller.named("n")); a.header.Get("Idempotency-Replayed") != "" {
		t.Error("another key's request is answered")
	}
	chunked := patch
	chunked.chunked = true
	if a := h.want(200, chunked.named("n")); a.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the same body in chunks is another request")
	}
	for _, bad := range []string{" ", `"`, `"a`, `"a"b`, `"a"; p=1`, `"\a"`, `""`, "a b", "ä", strings.Repeat("x", engine.MaxOnceName+1)} {
		h.refused(codeBadRequest, patch.named(bad))
	}
	h.refused(codeBadRequest, patch.named("a").named("a"))
	h.want(200, patch.named(strings.Repeat("x", engine.MaxOnceName)))
	sameAnswer(t, "escaped", h.want(200, patch.named(`a"\`)), h.want(200, patch.named(`"a\"\\"`)))

	late := call{method: "POST", path: "/v1/galleries/staff/people/late/templates", body: probeJSON(vector(9, 16), "")}
	for range 2 {
		h.refused(codePersonNotFound, late.named("late"))
	}
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/late", body: personJSON(vector(3, 16))})
	sameAnswer(t, "after failures", h.want(201, late.named("late")), h.want(201, late.named("late")))
	h.want(204, call{method: "DELETE", path: "/v1/galleries/staff/people/late"})
	h.refused(codeIdempotencyGone, late.named("late"))

	only := call{method: "PUT", path: "/v1/galleries/staff", header: []string{"If-None-Match", "*"}}
	for range 2 { // refused by http, after the engine was asked
		h.refused(codeGalleryExists, only.named("only"))
	}
	h.want(204, call{method: "DELETE", path: "/v1/galleries/staff"})
	sameAnswer(t, "only a new one", h.want(201, only.named("only")), h.want(201, only.named("only")))
}

// TestIdempotencyOfScores: an answer is kept as the key is told it, and no other key asks for it.
func TestIdempotencyOfScores(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"duplicates":"warn"}`)})
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/ada", body: personJSON(vector(1, 16))})
	_, token, err := h.engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleEnroller, Scores: engine.ScoresDecision})
	if err != nil {
		t.Fatal(err)
	}
	c := call{method: "PUT", path: "/v1/galleries/staff/people/twin", body: personJSON(near(1, 16)), token: token}.named("twin")
	first := h.want(201, c)
	sameAnswer(t, "twin", first, h.want(201, c))
	if !bytes.Contains(first.body, []byte(`"duplicates"`)) || bytes.Contains(first.body, []byte("cosine")) {
		t.Errorf("%s", first.body)
	}
}

// TestIdempotencyAtOnce: of requests that come at once one is done; the others wait their turn by 409 and Retry-After, or are answered as it was.
func TestIdempotencyAtOnce(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	c := call{method: "POST", path: "/v1/galleries/staff/people/ada/templates", body: probeJSON(vector(9, 16), "")}
	for round := range 4 {
		c := c.named(fmt.Sprint("round ", round)[6:])
		bodies := make([]string, 16)
		var wg sync.WaitGroup
		for i := range bodies {
			wg.Go(func() {
				for deadline := time.Now().Add(10 * time.Second); bodies[i] == "" && time.Now().Before(deadline); {
					a, err := h.try(c)
					switch {
					case err != nil:
						t.Error(err)
						return
					case a.status == 201:
						bodies[i] = string(a.body)
					case a.status != 409 || a.problem(t).Code != codeIdempotencyInProgress || a.header.Get("Retry-After") != "1":
						t.Errorf("%d %s", a.status, a.body)
						return
					}
				}
			})
		}
		wg.Wait()
		for _, b := range bodies {
			if b != bodies[0] || b == "" {
				t.Errorf("round %d: %q", round, bodies)
			}
		}
	}
	if p := h.want(200, call{method: "GET", path: "/v1/galleries/staff/people/ada"}); strings.Count(string(p.body), `"source"`) != 5 {
		t.Errorf("ada has other than five templates: %s", p.body)
	}
}

// FuzzIdempotencyKey: what a header says is what its string of structured fields says.
func FuzzIdempotencyKey(f *testing.F) {
	for _, s := range []string{"", "a", `"a"`, `"a\"b\\"`, `"`, `"\`, `"a"b`, `a"b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := unquoteName(s)
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
		if back, good := unquoteName(quoted); !good || back != s {
			t.Errorf("%q is read as %q, %v", quoted, back, good)
		}
		if ok && s != "" && s[0] != '"' && name != s {
			t.Errorf("%q is read as %q", s, name)
		}
	})
}

// TestKeptAnswers: what is not an answer that this program kept is damage.
func TestKeptAnswers(t *testing.T) {
	rep := reply{status: 201, etag: `"7"`}
	got, err := parseKept(rep.appendKept([]byte("{}")))
	if err != nil || got.status != 201 || got.etag != rep.etag || string(got.raw) != "{}" || !got.replayed {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][]byte{nil, {keptVersion, 0, 200}, {2, 0, 200, 0}, {keptVersion, 0, 200, 1}} {
		if _, err := parseKept(bad); err == nil {
			t.Errorf("%x is read", bad)
		}
	}
}

// TestProofOfNamedErasure: a request with a name has its proof too.
func TestProofOfNamedErasure(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	var r erasedPerson
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/people/ada/erase", body: []byte(`{"prove":true}`)}.named("n1")).into(t, &r)
	if r.Proof == nil || !r.Proof.Passed {
		t.Errorf("the proof is %+v", r.Proof)
	}
}

// TestNameIsOfConditions: under the name of another request nothing is done, or said to be done, whose condition was not looked at.
func TestNameIsOfConditions(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	patch := call{method: "PATCH", path: "/v1/galleries/staff/people/ada", body: []byte(`{"metadata":{"a":1}}`)}.named("n1")
	a := h.want(200, patch)
	patch.header = append(patch.header, "If-Match", a.header.Get("ETag"))
	h.refused(codeIdempotencyMismatch, patch)
}
