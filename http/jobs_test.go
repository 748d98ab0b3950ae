package http

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"mien/engine"
)

// waitJob polls a job until it has ended.
func (h *harness) waitJob(id string) (j engine.Job) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		h.want(200, call{method: "GET", path: "/v1/jobs/" + id}).into(h.t, &j)
		if j.State != engine.JobQueued && j.State != engine.JobRunning {
			return j
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("the job has not ended: %+v", j)
		}
	}
}

// TestJobs: a de-duplication from its start to its deletion, page by page, and what auditors may see of it.
func TestJobs(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/g"})
	face := func(axis int, more float32) engine.Template {
		v := make([]float32, testSpace.Dim)
		v[axis], v[15] = 1, more
		return engine.Template{Space: testSpace.ID, Vector: v}
	}
	for id, templates := range map[string][]engine.Template{
		"ann": {face(0, 0)}, "bob": {face(0, 0.1)}, "cy": {face(0, 0.3)}, "dee": {face(1, 0)}, "eve": {face(2, 0), face(1, 0.1)}, "fay": {face(3, 0), face(4, 0)},
	} {
		if _, _, err := h.engine.PutPerson(context.Background(), "default", "g", id, engine.PersonSpec{Templates: templates}); err != nil {
			t.Fatal(err)
		}
	}
	start := call{method: "POST", path: "/v1/galleries/g/dedupe", body: []byte(`{"policy":{"cosine":0.7}}`)}
	var j engine.Job
	h.want(202, start).into(t, &j)
	if j = h.waitJob(j.ID); j.State != engine.JobDone || j.Pairs != 4 || j.Done != 6 || j.Threshold != 0.7 || j.Hygiene.OneTemplate != 4 || j.Hygiene.Mislabelled != 1 || j.Hygiene.Inconsistent != 3 {
		t.Errorf("%+v", j)
	}
	var pairs, findings []string
	auditor := h.token(engine.RoleAuditor)
	for cursor := ""; ; {
		var page pairsBody
		h.want(200, call{method: "GET", path: "/v1/jobs/" + j.ID + "/pairs?limit=3" + cursor, token: auditor}).into(t, &page)
		for _, p := range page.Pairs {
			pairs = append(pairs, p.Person+" "+p.Other)
		}
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	for cursor := ""; ; {
		var page findingsBody
		h.want(200, call{method: "GET", path: "/v1/jobs/" + j.ID + "/findings?limit=1" + cursor, token: auditor}).into(t, &page)
		for _, f := range page.Findings {
			findings = append(findings, fmt.Sprint(f.Kind, " ", f.Person, " ", f.Template, " ", f.Other))
		}
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	if want := []string{"ann bob", "dee eve", "bob cy", "ann cy"}; !slices.Equal(pairs, want) {
		t.Errorf("pairs %q, want %q", pairs, want)
	}
	if want := []string{"inconsistent eve 1 ", "mislabelled eve 2 dee", "inconsistent fay 1 ", "inconsistent fay 2 "}; !slices.Equal(findings, want) {
		t.Errorf("findings %q, want %q", findings, want)
	}
	var all struct{ Jobs []engine.Job }
	h.want(200, call{method: "GET", path: "/v1/jobs", token: auditor}).into(t, &all)
	if len(all.Jobs) != 1 || all.Jobs[0].ID != j.ID {
		t.Errorf("%+v", all)
	}
	h.want(200, call{method: "PATCH", path: "/v1/jobs/" + j.ID, body: []byte(`{"state":"cancelled"}`)}).into(t, &j)
	if j.State != engine.JobDone {
		t.Errorf("a job that was done is %q", j.State)
	}
	h.want(204, call{method: "DELETE", path: "/v1/jobs/" + j.ID})
	h.refused(codeJobNotFound, call{method: "GET", path: "/v1/jobs/" + j.ID})
}

// TestJobRefusals: what starts no job, and jobs of other tenants.
func TestJobRefusals(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/g"})
	for body, want := range map[string]code{
		`{"policy":{"fmr":0}}`: codeBadPolicy, `{"expected_false_pairs":0}`: codeBadPolicy, `{"expected_false_pairs":-3}`: codeBadPolicy, `{"expected_false_pairs":1e16}`: codeBadPolicy,
		`{"expected_false_pairs":1,"policy":{"cosine":0.5}}`: codeBadPolicy, `{"max_pairs":0}`: codeBadJSON, `{"max_pairs":100001}`: codeBadJSON, `{"pairs":1}`: codeBadJSON,
	} {
		h.refused(want, call{method: "POST", path: "/v1/galleries/g/dedupe", body: []byte(body)})
	}
	h.refused(codeGalleryNotFound, call{method: "POST", path: "/v1/galleries/none/dedupe"})
	var j engine.Job
	h.want(202, call{method: "POST", path: "/v1/galleries/g/dedupe"}).into(t, &j)
	h.waitJob(j.ID)
	for _, body := range []string{`{"state":"done"}`, `{}`} {
		h.refused(codeBadRequest, call{method: "PATCH", path: "/v1/jobs/" + j.ID, body: []byte(body)})
	}
	h.refused(codeBadCursor, call{method: "GET", path: "/v1/jobs/" + j.ID + "/pairs?cursor=x"})
	h.refused(codeBadCursor, call{method: "GET", path: "/v1/jobs/" + j.ID + "/findings?cursor=AQBh"})
	for _, role := range []engine.Role{engine.RoleMatcher, engine.RoleEnroller} {
		for _, path := range []string{"/v1/jobs", "/v1/jobs/" + j.ID, "/v1/jobs/" + j.ID + "/pairs"} {
			h.refused(codeForbidden, call{method: "GET", path: path, token: h.token(role)})
		}
	}
	h.refused(codeForbidden, call{method: "DELETE", path: "/v1/jobs/" + j.ID, token: h.token(engine.RoleAuditor)})
	_, other, err := h.engine.CreateKey(context.Background(), "other", engine.KeySpec{Role: engine.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/pairs", "/findings"} {
		h.refused(codeJobNotFound, call{method: "GET", path: "/v1/jobs/" + j.ID + path, token: other})
	}
	h.refused(codeJobNotFound, call{method: "DELETE", path: "/v1/jobs/" + j.ID, token: other})
	bound := func(spec engine.KeySpec) string {
		spec.Role = engine.RoleAdmin
		_, token, err := h.engine.CreateKey(context.Background(), "default", spec)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	elsewhere, here, coarse := bound(engine.KeySpec{Galleries: []string{"h"}}), bound(engine.KeySpec{Galleries: []string{"g"}}), bound(engine.KeySpec{Scores: engine.ScoresRounded})
	for _, path := range []string{"", "/pairs", "/findings"} {
		h.refused(codeJobNotFound, call{method: "GET", path: "/v1/jobs/" + j.ID + path, token: elsewhere})
		h.want(200, call{method: "GET", path: "/v1/jobs/" + j.ID + path, token: here})
		h.refused(codeForbidden, call{method: "GET", path: "/v1/jobs/" + j.ID + path, token: coarse})
	}
	h.refused(codeJobNotFound, call{method: "DELETE", path: "/v1/jobs/" + j.ID, token: elsewhere})
	h.refused(codeForbidden, call{method: "POST", path: "/v1/galleries/g/dedupe", token: coarse})
	var seen struct{ Jobs []engine.Job }
	if h.want(200, call{method: "GET", path: "/v1/jobs", token: elsewhere}).into(t, &seen); len(seen.Jobs) != 0 {
		t.Errorf("a key of another gallery sees %+v", seen)
	}
	var all struct{ Jobs []engine.Job }
	if h.want(200, call{method: "GET", path: "/v1/jobs", token: other}).into(t, &all); len(all.Jobs) != 0 {
		t.Errorf("another tenant sees %+v", all)
	}
	for len(all.Jobs) < engine.MaxJobs {
		h.want(202, call{method: "POST", path: "/v1/galleries/g/dedupe"}).into(t, &j)
		h.waitJob(j.ID)
		h.want(200, call{method: "GET", path: "/v1/jobs"}).into(t, &all)
	}
	h.refused(codeJobsFull, call{method: "POST", path: "/v1/galleries/g/dedupe"})
}
