package http

import "testing"

// TestConditions: entity tags of people, and what writes do under conditions (RFC 9110, 13.1).
func TestConditions(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	const ada = "/v1/galleries/staff/people/ada"
	patch := func(match ...string) call {
		c := call{method: "PATCH", path: ada, body: []byte(`{"metadata":{"n":1}}`)}
		for _, m := range match {
			c.header = append(c.header, "If-Match", m)
		}
		return c
	}
	tag := h.want(200, call{method: "GET", path: ada}).header.Get("ETag")
	if again := h.want(200, call{method: "GET", path: ada}).header.Get("ETag"); tag == "" || again != tag {
		t.Fatalf("ETag %q, then %q", tag, again)
	}
	next := h.want(200, patch(tag)).header.Get("ETag")
	if next == "" || next == tag {
		t.Fatalf("ETag %q after a write, %q before", next, tag)
	}
	template := call{method: "POST", path: ada + "/templates", body: probeJSON(vector(9, 16), ""), header: []string{"If-Match", tag}}
	put := call{method: "PUT", path: ada, body: personJSON(vector(1, 16)), header: []string{"If-Match", tag}}
	for _, c := range []call{patch(tag), patch("W/" + next), patch(`"x"`), patch(`"0` + next[1:]), template, put,
		{method: "DELETE", path: ada, header: []string{"If-Match", tag}},
		{method: "PUT", path: ada, body: put.body, header: []string{"If-None-Match", "*"}},
		{method: "PUT", path: "/v1/galleries/staff/people/new", body: put.body, header: []string{"If-Match", "*"}}} {
		h.refused(codeVersionMismatch, c)
	}
	if now := h.want(200, call{method: "GET", path: ada}).header.Get("ETag"); now != next {
		t.Errorf("ETag %q after refusals, want %q", now, next)
	}
	for _, bad := range []string{"7", `"7`, `W/7`, `"7" "8"`, `"7"x`} {
		h.refused(codeBadRequest, patch(bad))
	}
	h.refused(codeBadRequest, call{method: "PUT", path: ada, body: put.body, header: []string{"If-Match", tag, "If-None-Match", "*"}})
	h.refused(codePersonNotFound, call{method: "DELETE", path: "/v1/galleries/staff/people/none", header: []string{"If-Match", tag}})
	next = h.want(200, patch(`"1" , W/"2",`, next)).header.Get("ETag")
	template.header = []string{"If-Match", next}
	h.want(201, template)
	put.header = []string{"If-Match", "*"}
	next = h.want(200, put).header.Get("ETag")
	h.want(204, call{method: "DELETE", path: ada, header: []string{"If-Match", next}})
	put.header = []string{"If-None-Match", "*"}
	if tag := h.want(201, put).header.Get("ETag"); tag == "" || tag == next {
		t.Errorf("ETag %q of who was enrolled again, %q before", tag, next)
	}
}
