package http

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"mien/engine"
)

// planted are values that nothing but the answers they are meant for may show, in the forms that something could show them in.
type planted map[string][]string

func (p planted) text(name, s string) {
	p[name] = []string{s, hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s))[:len(s)]}
}

// template plants a vector: its base64, a stretch of its bytes raw and in hex, and its numbers as text.
func (p planted) template(name string, v []float32) {
	sent := b64(v)
	raw, _ := base64.StdEncoding.DecodeString(sent)
	p[name] = []string{sent[8:40], string(raw[8:20]), hex.EncodeToString(raw[8:20])}
	for _, x := range v[:4] {
		p[name] = append(p[name], strconv.FormatFloat(float64(x), 'g', 7, 32), strconv.FormatFloat(float64(x), 'f', 7, 32))
	}
}

// absentFrom looks for them.
func (p planted) absentFrom(t *testing.T, where, text string) {
	t.Helper()
	for name, forms := range p {
		for i, f := range forms {
			if strings.Contains(text, f) {
				t.Errorf("%s shows the %s, in form %d", where, name, i)
			}
		}
	}
}

// TestPlantedValues: templates, metadata, tokens and idempotency keys of a server that enrols, searches, refuses in every class, panics and
// stops are in no answer that is a refusal, no log, metric or audit export.
func TestPlantedValues(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	values, v := planted{}, vector(4711, 16)
	values.template("template", v)
	values.text("metadata", "grandmother-was-born-in-Ulm")
	values.text("idempotency key", "plantedname-5e884898da28")
	values.text("token", h.token(engine.RoleAdmin)[len("mien_0123456789abcdef_"):])
	// What is looked for is found where it may be.
	found := h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/eve", body: fmt.Appendf(nil, `{"templates":[%s],"metadata":{"x":%q}}`,
		templateJSON(v), "grandmother-was-born-in-Ulm")}.named("plantedname-5e884898da28"))
	if !strings.Contains(string(found.body), values["metadata"][0]) || !strings.Contains(templateJSON(v), values["template"][0]) {
		t.Fatal("the values are not what is sent")
	}

	watched := append([]operation(nil), routes...)
	for i := range watched {
		if watched[i].op == "compare" {
			watched[i].handle = func(_ *Server, r *request) (reply, error) {
				body, err := r.readBody()
				if err == nil && len(body) > 0 {
					_ = v[len(v)+len(body)] // a fault with what was sent at hand
				}
				return reply{}, err
			}
		}
	}
	h.server.router = newRouter(routesOf(watched))

	person := fmt.Sprintf(`{"templates":[%s],"metadata":{"x":"grandmother-was-born-in-Ulm"}`, templateJSON(v))
	const eve = "/v1/galleries/staff/people/eve"
	for _, c := range []struct {
		want code
		call call
	}{
		{codeBadJSON, call{method: "PUT", path: eve, body: []byte(person + `,"grandmother":`)}},
		{codeBadJSON, call{method: "PUT", path: eve, body: []byte(person + `,"unknown":1}`)}},
		{codeBadMetadata, call{method: "PUT", path: eve, body: fmt.Appendf(nil, `{"templates":[%s],"metadata":{"x":"%s"}}`, templateJSON(v), strings.Repeat("grandmother-was-born-in-Ulm", 1000))}},
		{codeTemplateLength, call{method: "PUT", path: eve, body: personJSON(v[:8])}},
		{codeSpaceMismatch, call{method: "PUT", path: eve, body: []byte(strings.ReplaceAll(person+"}", testSpace.ID, "other"))}},
		{codeVersionMismatch, call{method: "PUT", path: eve, body: []byte(person + "}"), header: []string{"If-None-Match", "*"}}},
		{codeIdempotencyMismatch, call{method: "PUT", path: eve, body: personJSON(v)}.named("plantedname-5e884898da28")},
		{codeBadRequest, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(v, "")}.named("plantedname-5e884898da28")},
		{codePersonNotFound, call{method: "POST", path: "/v1/galleries/staff/people/nobody/verify", body: probeJSON(v, "")}},
		{codeGalleryNotFound, call{method: "POST", path: "/v1/galleries/none/identify", body: probeJSON(v, "")}},
		{codeBadPolicy, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(v, `,"policy":{"fmr":2}`)}},
		{codeForbidden, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(v, ""), token: h.token(engine.RoleAuditor)}},
		{codeKeyUnknown, call{method: "PUT", path: eve, body: []byte(person + "}"), token: h.token(engine.RoleAdmin) + "x"}},
		{codeInternal, call{method: "POST", path: "/v1/compare", body: fmt.Appendf(nil, `{"source":{"template":%[1]s},"target":{"template":%[1]s}}`, templateJSON(v))}},
	} {
		a := h.do(c.call)
		if p := a.problem(t); p.Code != c.want {
			t.Errorf("%s %s: %s, want %s", c.call.method, c.call.path, a.body, c.want)
		}
		values.absentFrom(t, "the problem "+string(c.want), string(a.body))
	}
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(v, "")})
	h.want(202, call{method: "POST", path: "/v1/galleries/staff/dedupe"})
	values.absentFrom(t, "the metrics", string(h.want(200, call{method: "GET", path: "/metrics"}).body))
	export := string(h.want(200, call{method: "GET", path: "/v1/audit/export"}).body)
	if !strings.Contains(export, "eve") {
		t.Error("the export is not of this store")
	}
	values.absentFrom(t, "the audit export", export)
	h.stop()
	log := h.log.String()
	if !strings.Contains(log, "panic in a handler") {
		t.Error("the panic is not logged")
	}
	values.absentFrom(t, "the log", log)
}
