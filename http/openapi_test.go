package http

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestDocumentIsValid(t *testing.T) {
	if err := document().doc.Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

// The route table and the document name the same operations, with the same path parameters and roles.
func TestDocumentHasTheRoutes(t *testing.T) {
	documented := map[string]*openapi3.Operation{}
	for path, item := range document().doc.Paths.Map() {
		for method, op := range item.Operations() {
			documented[method+" "+path] = op
		}
	}
	for _, rt := range nativeRoutes(newDialects(Config{})) {
		op := documented[rt.method+" "+rt.pattern]
		if op == nil {
			t.Errorf("%s %s is not documented", rt.method, rt.pattern)
			continue
		}
		delete(documented, rt.method+" "+rt.pattern)
		checkOperation(t, rt, op)
	}
	for name := range documented {
		t.Errorf("%s is documented and not served", name)
	}
}

func checkOperation(t *testing.T, rt route, op *openapi3.Operation) {
	t.Helper()
	if op.OperationID != rt.op {
		t.Errorf("%s %s: operationId %s, route says %s", rt.method, rt.pattern, op.OperationID, rt.op)
	}
	if open := op.Security != nil && len(*op.Security) == 0; open != (rt.roles == nil) {
		t.Errorf("%s: document says public=%v", rt.op, open)
	}
	for _, role := range everyRole {
		_, roles, _ := strings.Cut(op.Description, "Roles: ")
		if strings.Contains(roles, string(role)) != slices.Contains(rt.roles, role) {
			t.Errorf("%s: document and route disagree about role %s", rt.op, role)
		}
	}
	for s := range strings.SplitSeq(rt.pattern, "/") {
		if name, ok := strings.CutPrefix(s, "{"); ok && op.Parameters.GetByInAndName("path", strings.Trim(name, "}")) == nil {
			t.Errorf("%s: path parameter %s is not documented", rt.op, s)
		}
	}
	if rt.takesBody() != (op.RequestBody != nil) {
		t.Errorf("%s: document and route disagree about a body", rt.op)
	}
}

// The codes of the document are those of the table: all of them, and by status.
func TestDocumentHasTheCodes(t *testing.T) {
	var documented []string
	for _, v := range document().doc.Components.Schemas["ProblemCode"].Value.Enum {
		documented = append(documented, v.(string))
	}
	var table []string
	for c := range codes {
		table = append(table, string(c))
	}
	slices.Sort(documented)
	slices.Sort(table)
	if !slices.Equal(documented, table) {
		t.Errorf("document: %v\ntable:    %v", documented, table)
	}
	byStatus := map[int][]string{}
	for c, v := range codes {
		byStatus[v.status] = append(byStatus[v.status], string(c))
	}
	if got := documentedByStatus(t); !maps.EqualFunc(got, byStatus, sameSet) {
		t.Errorf("by status: document %v, table %v", got, byStatus)
	}
}

func sameSet(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func documentedByStatus(t *testing.T) map[int][]string {
	t.Helper()
	var doc struct {
		Components struct {
			Responses map[string]struct {
				Content map[string]struct {
					Schema struct {
						AllOf []struct {
							Properties struct {
								Status struct{ Const int }
								Code   struct{ Enum []string }
							}
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(openapi, &doc); err != nil {
		t.Fatal(err)
	}
	got := map[int][]string{}
	for _, r := range doc.Components.Responses {
		p := r.Content[problemType].Schema.AllOf[1].Properties
		got[p.Status.Const] = append(got[p.Status.Const], p.Code.Enum...)
	}
	return got
}

// Every option that a raw body takes in the query is a documented parameter, and the other way round.
func TestDocumentHasTheQueries(t *testing.T) {
	h := newHarness(t, nil)
	for _, rt := range nativeRoutes(newDialects(Config{})) {
		op := document().doc.Paths.Value(rt.pattern).GetOperation(rt.method)
		var want []string
		for _, p := range op.Parameters {
			if p.Value.In == "query" {
				want = append(want, p.Value.Name)
			}
		}
		if rt.roles == nil || rt.op == "compare" || (rt.takesBody() && op.RequestBody.Value.Content["image/*"] == nil) {
			continue
		}
		path := strings.NewReplacer("{gallery}", "g", "{person}", "p", "{key}", "00", "{job}", "00").Replace(rt.pattern)
		a := h.do(call{method: rt.method, path: path + "?no_such=1", body: []byte("x"), contentType: "image/jpeg"})
		_, known, listed := strings.Cut(a.problem(t).Detail, "known here: ")
		if got := strings.Split(known, ", "); listed != (len(want) > 0) || listed && !sameSet(got, want) {
			t.Errorf("%s: query takes %v, document says %v", rt.op, got, want)
		}
	}
}

// The check that every test relies on does notice what is not as documented.
func TestContractNotices(t *testing.T) {
	h := newHarness(t, nil)
	c := call{method: "PUT", path: "/v1/galleries/g"}
	good := h.want(201, c)
	problem := h.do(call{method: "GET", path: "/v1/galleries/none"})
	withBody := func(a answer, body string) answer { a.body = []byte(body); return a }
	noID := answer{good.status, good.header.Clone(), good.body}
	noID.header.Del("X-Request-Id")
	for name, bad := range map[string]answer{
		"undocumented status": {418, good.header, good.body},
		"field too many":      withBody(good, strings.Replace(string(good.body), "{", `{"rows":1,`, 1)),
		"field missing":       withBody(good, `{"name":"g"}`),
		"no request id":       noID,
		"code of another status": {409, problem.header, []byte(strings.Replace(string(problem.body),
			`"status":404`, `"status":409`, 1))},
	} {
		if err := document().check(h.request(c), bad); err == nil {
			t.Errorf("%s went unnoticed", name)
		}
	}
	for name, bad := range map[string]call{
		"unknown field": {method: "PUT", path: c.path, body: []byte(`{"shards":3}`)},
		"range":         {method: "PUT", path: c.path, body: []byte(`{"policy":{"fmr":2}}`)},
		"content type":  {method: "PUT", path: c.path, body: []byte(`{}`), contentType: "text/plain"},
		"name":          {method: "PUT", path: "/v1/galleries/.g"},
	} {
		if err := document().check(h.request(bad), good); err == nil {
			t.Errorf("request with wrong %s went unnoticed", name)
		}
	}
}
