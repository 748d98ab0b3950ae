package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"mien/engine"
)

// auditPage asks for records, oldest first.
func (h *harness) audit(query string) (all []engine.AuditRecord) {
	h.t.Helper()
	var page engine.AuditPage
	h.want(200, call{method: "GET", path: "/v1/audit" + query, token: h.token(engine.RoleAuditor)}).into(h.t, &page)
	for i := len(page.Records) - 1; i >= 0; i-- {
		var r engine.AuditRecord
		if err := json.Unmarshal(page.Records[i].Record, &r); err != nil {
			h.t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// What is asked of the server with a key is in its tenant's log, with who asked, as it went or as it was refused; what was asked
// without a key is not.
func TestAuditLog(t *testing.T) {
	h := newHarness(t, nil)
	matcher := h.token(engine.RoleMatcher)
	v := vector(1, 16)
	person := "/v1/galleries/staff/people/ann"
	as := func(id string, c call) call { c.header = []string{"X-Request-Id", id}; return c }
	h.want(201, as("a", call{method: "PUT", path: "/v1/galleries/staff"}))
	h.want(201, as("b", call{method: "PUT", path: person, body: personJSON(v)}))
	h.want(200, as("c", call{method: "POST", path: person + "/verify", body: probeJSON(v, ""), token: matcher}))
	h.want(200, as("d", call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(v, ""), token: matcher}))
	h.refused(codeForbidden, as("e", call{method: "DELETE", path: person, token: matcher}))
	h.refused(codeForbidden, as("f", call{method: "GET", path: person, token: matcher}))
	h.refused(codePersonNotFound, as("g", call{method: "POST", path: "/v1/galleries/staff/people/bob/verify", body: probeJSON(v, ""), token: matcher}))
	h.refused(codeBadID, as("h", call{method: "PUT", path: "/v1/galleries/staff/people/%20", body: personJSON(v)}))
	h.refused(codeExtractorMissing, as("i", call{method: "POST", path: person + "/verify", body: []byte("x"), contentType: "image/jpeg", token: matcher}))
	h.refused(codeKeyUnknown, as("j", call{method: "GET", path: person, token: "mien_no"}))
	h.refused(codeRouteNotFound, as("k", call{method: "GET", path: "/v1/nothing"}))
	h.want(200, as("l", call{method: "GET", path: person}))
	h.want(204, as("m", call{method: "DELETE", path: person}))
	var b strings.Builder
	for _, r := range h.audit("") {
		if r.Request != "" {
			fmt.Fprintln(&b, r.Request, r.Op, r.Role, r.Gallery+"/"+r.Person, r.Outcome+r.Code, r.Band, r.Found)
		}
	}
	want := `a gallery.create admin staff/ done  []
b person.put admin staff/ann done  []
c verify matcher staff/ann match fmr<1e-9 []
d identify matcher staff/ match fmr<1e-9 [ann]
e person.delete matcher staff/ann refusedforbidden  []
f getPerson matcher staff/ann refusedforbidden  []
g verify matcher staff/bob refusedperson_not_found  []
h person.put admin staff/ refusedbad_id  []
i verify matcher staff/ann refusedextractor_missing  []
m person.delete admin staff/ann done  []
`
	got := b.String()
	for line := range strings.Lines(want) { // a write may be before decisions that were told shortly before it (A2)
		if !strings.Contains(got, line) {
			t.Errorf("not recorded: %s", line)
		}
	}
	if strings.Count(got, "\n") != strings.Count(want, "\n") {
		t.Errorf("recorded\n%swant\n%s", got, want)
	}
	if n := len(h.audit("?person=ann")); n != 7 {
		t.Errorf("%d records are about ann, want 7", n)
	}
	if n := len(h.audit("?person=ann&gallery=other")); n != 0 {
		t.Errorf("%d records of a gallery that is not there", n)
	}
	if n := len(h.audit("?to=2020-01-01T00:00:00Z")); n != 0 {
		t.Errorf("%d records of long ago", n)
	}
	if n := len(h.audit("?limit=2&from=" + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339))); n != 2 {
		t.Errorf("a page of %d, want 2", n)
	}
}

// A log that was exported verifies against the head that was asked for, and holds nothing of faces or keys.
func TestAuditExport(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	auditor := h.token(engine.RoleAuditor)
	var head engine.AuditHead
	h.want(200, call{method: "GET", path: "/v1/audit/head", token: auditor}).into(t, &head)
	file := h.want(200, call{method: "GET", path: "/v1/audit/export", token: auditor}).body
	sum, err := engine.VerifyAudit(bytes.NewReader(file), head)
	if err != nil || sum.Head != head || sum.Records != head.Seq || sum.Tenant != "default" || sum.Records < 3 {
		t.Errorf("%+v, %v; head %v", sum, err, head)
	}
	for _, secret := range []string{auditor[len(auditor)-43:], b64(vector(1, 16))[:40], `"f32"`} {
		if bytes.Contains(file, []byte(secret)) {
			t.Errorf("the export has %q", secret)
		}
	}
	rest := h.want(200, call{method: "GET", path: fmt.Sprintf("/v1/audit/export?after=%d", head.Seq-1), token: auditor}).body
	if sum, err := engine.VerifyAudit(bytes.NewReader(rest), head); err != nil || sum.Records != 1 {
		t.Errorf("the last record alone: %+v, %v", sum, err)
	}
	h.refused(codeBadCursor, call{method: "GET", path: "/v1/audit/export?after=1000000"})
	h.refused(codeBadRequest, call{method: "GET", path: "/v1/audit/export?after=-1"})
	h.refused(codeBadRequest, call{method: "GET", path: "/v1/audit?from=yesterday"})
	h.refused(codeBadCursor, call{method: "GET", path: "/v1/audit?cursor=x"})
	h.refused(codeForbidden, call{method: "GET", path: "/v1/audit", token: h.token(engine.RoleMatcher)})
	h.refused(codeForbidden, call{method: "GET", path: "/v1/audit/head?tenant=other", token: auditor})
	other := h.want(200, call{method: "GET", path: "/v1/audit/export?tenant=other"}).body // the operator
	if sum, err := engine.VerifyAudit(bytes.NewReader(other), engine.AuditHead{}); err != nil || sum.Records != 0 || sum.Tenant != "other" {
		t.Errorf("the other tenant's log: %+v, %v", sum, err)
	}
}

// Exports give their places back, also when the client hangs up.
func TestAuditExportsAreBounded(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	for range 3 * maxExports {
		h.want(200, call{method: "GET", path: "/v1/audit/export"})
		h.want(200, call{method: "HEAD", path: "/v1/audit/export"})
	}
	for range maxExports {
		h.server.exports <- struct{}{}
	}
	h.refused(codeOverloaded, call{method: "GET", path: "/v1/audit/export"})
	for range maxExports {
		<-h.server.exports
	}
	h.want(200, call{method: "GET", path: "/v1/audit/export"})
}

// A person's end and consent are told as they were sent, changed by a patch and refused with a reason.
func TestRetention(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", body: []byte(`{"retention_days":30}`)})
	person := "/v1/galleries/staff/people/ann"
	put := func(more string) call {
		return call{method: "PUT", path: person, body: append(bytes.TrimSuffix(personJSON(vector(1, 16)), []byte("}")), more+"}"...)}
	}
	var p engine.Person
	h.want(201, put("")).into(t, &p)
	if d := time.Until(p.Expires); d < 29*24*time.Hour || d > 30*24*time.Hour || p.Consent != nil {
		t.Errorf("by the gallery's default: %v, %+v", d, p)
	}
	const consent = `{"purpose":"entry","basis":"consent","given_at":"2026-01-02T03:04:05Z","reference":"form 7","expires":"2200-01-01T00:00:00Z"}`
	p = engine.Person{}
	a := h.want(200, put(`,"expires":"2199-01-01T00:00:00+01:00","consent":`+consent))
	if a.into(t, &p); !bytes.Contains(a.body, []byte(`"consent":`+consent)) || !bytes.Contains(a.body, []byte(`"expires":"2198-12-31T23:00:00Z"`)) {
		t.Errorf("%s", a.body)
	}
	patch := func(body string) call { return call{method: "PATCH", path: person, body: []byte(body)} }
	if a = h.want(200, patch(`{"consent":null,"expires":"2150-01-01T00:00:00Z"}`)); bytes.Contains(a.body, []byte("consent")) || !bytes.Contains(a.body, []byte(`"expires":"2150-01-01T00:00:00Z"`)) {
		t.Errorf("%s", a.body)
	}
	if a = h.want(200, patch(`{"metadata":{"a":1}}`)); !bytes.Contains(a.body, []byte(`"expires":"2150-01-01T00:00:00Z"`)) {
		t.Errorf("%s", a.body)
	}
	h.refused(codeBadRetention, patch(`{"expires":"2020-01-01T00:00:00Z"}`))
	h.refused(codeBadRetention, put(`,"consent":{"purpose":"","basis":"law","given_at":"2026-01-02T03:04:05Z"}`))
	h.refused(codeBadRequest, patch(`{}`))
	for _, body := range []string{`{"expires":7}`, `{"expires":"tomorrow"}`, `{"consent":"yes"}`, `{"consent":{"what":"x"}}`} {
		h.refused(codeBadJSON, patch(body))
	}
	contentType, body := form(t, part{name: "image", file: "a.jpg", contentType: "image/jpeg", data: []byte("x")}, part{name: "expires", data: []byte("soon")})
	h.refused(codeBadRequest, call{method: "PUT", path: person, contentType: contentType, body: body})
	var g engine.Gallery
	if h.want(200, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"retention_days":null}`)}).into(t, &g); g.RetentionDays != 0 {
		t.Errorf("%+v", g)
	}
	h.refused(codeBadJSON, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"retention_days":-1}`)})
	if a = h.want(200, put("")); bytes.Contains(a.body, []byte("expires")) {
		t.Errorf("%s", a.body)
	}
}
