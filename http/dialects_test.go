package http

import (
	"io"
	nethttp "net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mien/engine"
	"mien/http/dialect"
)

// send does a request without holding it against the document, which has nothing of dialects.
func (h *harness) send(method, path string, header ...string) answer {
	h.t.Helper()
	var body []byte
	if method == "POST" || method == "PUT" || method == "PATCH" {
		body = []byte("{}")
	}
	resp, err := h.client.Do(h.request(call{method: method, path: path, token: "none", body: body, header: header}))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, read}
}

var pathParameter = regexp.MustCompile(`\{[a-z_]+\}`)

// pathOf is a path of a route, with the gallery "g" and somebody else in the place of its parameters.
func pathOf(pattern string) string {
	return pathParameter.ReplaceAllString(strings.ReplaceAll(pattern, "{gallery}", "g"), "x1")
}

// clientOf makes a key of the dialect's clients for the gallery "g", and the header fields in which vendors' APIs and ours want keys.
func (h *harness) clientOf(d *dialect.Dialect) []string {
	h.t.Helper()
	_, key, err := h.engine.CreateKey(h.t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: d.Name, Galleries: []string{"g"}})
	if err != nil {
		h.t.Fatal(err)
	}
	return keyFields(key)
}

func keyFields(key string) []string {
	return []string{"Authorization", "Bearer " + key, "x-api-key", key, "Api-key", key}
}

// TestDialectsShareNoKeys: a client's key is good for the vendor's routes of its own dialect and what that adds for clients, and for nothing else
// that asks for a key; a native key is good for no vendor's.
func TestDialectsShareNoKeys(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.AuthFailures = -1 })
	h.want(201, call{method: "PUT", path: "/v1/galleries/g"})
	admin := keyFields(h.token(engine.RoleAdmin))
	for _, rt := range allRoutes(h.server.dialects) {
		if rt.roles == nil {
			continue
		}
		for _, d := range h.server.dialects {
			own := rt.dialect != nil && rt.dialect.Name == d.Name || rt.clientsOf == d.Name && slices.Contains(rt.roles, engine.RoleClient)
			a := h.send(rt.method, pathOf(rt.pattern), h.clientOf(d)...)
			if refused := a.status == 401 || a.status == 403; !refused && !own { // what its own are good for its own tests show
				t.Errorf("%s %s with a key of %s: %d %s", rt.method, rt.pattern, d.Name, a.status, a.body)
			}
		}
		if rt.dialect == nil {
			continue
		}
		if a := h.send(rt.method, pathOf(rt.pattern), admin...); a.status != 401 && a.status != 403 {
			t.Errorf("%s %s with a native key: %d %s", rt.method, rt.pattern, a.status, a.body)
		}
	}
}

// TestNoCORS: no answer of any API invites a page of another origin, and what browsers ask before is answered as any OPTIONS request.
func TestNoCORS(t *testing.T) {
	h := newHarness(t, nil)
	asked := []string{"Origin", "https://elsewhere.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-api-key, content-type"}
	check := func(what string, a answer) {
		t.Helper()
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s has %s", what, name)
			}
		}
	}
	for _, rt := range allRoutes(h.server.dialects) {
		path := pathOf(rt.pattern)
		a := h.send(nethttp.MethodOptions, path, asked...)
		if allowed := strings.Split(a.header.Get("Allow"), ", "); a.status != 204 || len(a.body) > 0 || !slices.Contains(allowed, rt.method) {
			t.Errorf("OPTIONS %s: %d, Allow %q, %q", path, a.status, allowed, a.body)
		}
		check("OPTIONS "+path, a)
		check(rt.method+" "+path, h.send(rt.method, path, asked[:2]...))
	}
}

// TestDialectsAnswerBelowTheirPaths: an unknown path is refused in the words of the dialect below whose it is, else in ours, and so is a
// wrong method, with Allow.
func TestDialectsAnswerBelowTheirPaths(t *testing.T) {
	h := newHarness(t, nil)
	ours := h.send("GET", "/nowhere")
	if ours.status != 404 || ours.header.Get("Content-Type") != problemType {
		t.Fatalf("%d %s", ours.status, ours.body)
	}
	for _, d := range h.server.dialects {
		for _, under := range d.Under {
			if a := h.send("GET", under+"/no/such/path"); a.header.Get("Content-Type") == problemType || a.status < 400 {
				t.Errorf("%s/no/such/path is answered in our words: %d %s", under, a.status, a.body)
			}
			if a := h.send("GET", under+"ly"); a.status != 404 || a.header.Get("Content-Type") != problemType {
				t.Errorf("%sly is not below %s: %d %s", under, under, a.status, a.body)
			}
		}
		for _, rt := range d.Routes {
			if rt.Roles != nil {
				continue
			}
			a := h.send("TRACE", pathOf(rt.Pattern))
			if a.status < 400 || !strings.Contains(a.header.Get("Allow"), rt.Method) || a.header.Get("Content-Type") == problemType {
				t.Errorf("TRACE %s: %d, Allow %q, %s", rt.Pattern, a.status, a.header.Get("Allow"), a.body)
			}
		}
	}
}

// TestAnswerThatPanics: a dialect whose words for a refusal panic costs that one answer.
func TestAnswerThatPanics(t *testing.T) {
	h := newHarness(t, nil)
	for _, d := range h.server.dialects {
		d.Refuse = func(*dialect.Call, *dialect.Failure) dialect.Answer { panic("in the words") }
	}
	path := h.server.dialects[0].Under[0] + "/nothing-here"
	for range 2 {
		if a := h.send("GET", path); a.status != 500 || len(a.body) != 0 {
			t.Errorf("%d %q", a.status, a.body)
		}
	}
	if !strings.Contains(h.log.String(), "in the words") {
		t.Error("the log does not say so")
	}
	h.want(200, call{method: "GET", path: "/healthz", token: "none"})
}
