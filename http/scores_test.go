package http

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mien/engine"
)

var exactScore = regexp.MustCompile(`"(cosine|threshold|extrapolated|fmr|fpir)":`)

// TestScores: what each kind of key is told by each answer that has scores.
func TestScores(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	probe := probeJSON(near(1, 16), "")
	pair := fmt.Appendf(nil, `{"source":{"template":%s},"target":{"template":%s}}`, templateJSON(vector(1, 16)), templateJSON(near(1, 16)))
	for _, c := range []struct {
		path, decision string
		body           []byte
	}{
		{"/v1/galleries/staff/people/ada/verify", `{"match":true}`, probe},
		{"/v1/galleries/staff/identify", `{"candidates":[{"person":"ada"}],"searched":2}`, probe},
		{"/v1/galleries/staff/duplicates", `{"candidates":[{"person":"ada"}],"searched":2}`, probe},
		{"/v1/compare", `{"match":true}`, pair},
	} {
		for scores, want := range map[engine.Scores]string{
			engine.ScoresDecision: c.decision,
			engine.ScoresRounded:  strings.NewReplacer(`true`, `true,"similarity":0.99`, `"ada"`, `"ada","similarity":0.99`).Replace(c.decision),
		} {
			_, token := h.key("default", engine.KeySpec{Role: engine.RoleMatcher, Scores: scores})
			got := strings.TrimSpace(string(h.want(200, call{method: "POST", path: c.path, token: token, body: c.body}).body))
			if got = regexp.MustCompile(`"similarity":(1|0\.9\d?)([,}])`).ReplaceAllString(got, `"similarity":0.99$2`); got != want {
				t.Errorf("%s to a key of scores %s: %s, want %s", c.path, scores, got, want)
			}
			if c.path == "/v1/compare" {
				continue // both sides are the client's own: there is nothing to find out
			}
			for _, policy := range []string{`{"cosine":0.5}`, `{"fmr":0.1}`} {
				h.refused(codeForbidden, call{method: "POST", path: c.path, token: token, body: probeJSON(near(1, 16), `,"policy":`+policy)})
			}
		}
		if a := h.want(200, call{method: "POST", path: c.path, body: c.body}); !exactScore.Match(a.body) {
			t.Errorf("%s to a key of exact scores: %s", c.path, a.body)
		}
	}
}

// TestNoOperationTellsMoreScores sends every route a good request of a key that is told decisions only.
func TestNoOperationTellsMoreScores(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	_, token := h.key("default", engine.KeySpec{Role: engine.RoleAdmin, Scores: engine.ScoresDecision})
	names := strings.NewReplacer("{gallery}", "staff", "{person}", "ada", "{key}", "00112233445566aa")
	for op, a := range h.walk(token, names, "patchGallery", "deleteGallery", "deletePerson", "metrics") {
		if exactScore.Match(a.body) || strings.Contains(string(a.body), `"similarity"`) {
			t.Errorf("%s tells %s", op, a.body)
		}
	}
}

// TestDuplicateScores: of whom an enrolment resembles, refused or with a warning.
func TestDuplicateScores(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/once", body: []byte(`{"duplicates":"reject"}`)})
	h.want(201, call{method: "PUT", path: "/v1/galleries/once/people/ada", body: personJSON(vector(1, 16))})
	_, token := h.key("default", engine.KeySpec{Role: engine.RoleAdmin, Scores: engine.ScoresDecision})
	put := call{method: "PUT", path: "/v1/galleries/once/people/eve", token: token, body: personJSON(near(1, 16))}
	for range 2 {
		a := h.do(put)
		if exactScore.Match(a.body) || !strings.Contains(string(a.body), `"duplicates":[{"person":"ada"}]`) {
			t.Errorf("%d %s", a.status, a.body)
		}
		put.body = []byte(strings.TrimSuffix(string(put.body), "}") + `,"duplicates":"warn"}`)
	}
}

// TestGroupScores: the answers about all faces of a photo as well.
func TestGroupScores(t *testing.T) {
	found := &engine.Candidates{Candidates: []engine.Candidate{{Person: "ada", Similarity: 0.987, Cosine: 0.7, FMR: 1e-6}}, Searched: 2, Threshold: 0.4}
	b := groupBody{[]memberBody{{Candidates: found}, {}}}
	k := engine.Key{Scores: engine.ScoresRounded}
	got, err := reply{value: scoresFor(&k, b)}.marshal()
	if err != nil || exactScore.Match(got) || !strings.Contains(string(got), `"candidates":[{"person":"ada","similarity":0.99}],"searched":2`) {
		t.Errorf("%s %v", got, err)
	}
}

// TestAttemptsOverHTTP: the code, how long to wait, and that another key is no way round.
func TestAttemptsOverHTTP(t *testing.T) {
	c := engineConfig(t.TempDir(), testSpace)
	c.Attempts = engine.Attempts{Failures: 2, Window: time.Hour}
	h := newHarnessOn(t, openEngine(t, c), nil)
	h.staff()
	verify := call{method: "POST", path: "/v1/galleries/staff/people/ada/verify", body: probeJSON(vector(2, 16), "")}
	for range 2 {
		h.want(200, verify)
	}
	_, verify.token = h.key("default", engine.KeySpec{Role: engine.RoleMatcher})
	for _, probe := range [][]byte{verify.body, probeJSON(vector(1, 16), "")} {
		verify.body = probe
		h.refused(codeAttemptsExceeded, verify)
		if wait, _ := strconv.Atoi(h.do(verify).header.Get("Retry-After")); wait < 3500 || wait > 3600 {
			t.Errorf("Retry-After %d", wait)
		}
	}
	verify.path = "/v1/galleries/staff/people/bob/verify"
	h.want(200, verify)
}
