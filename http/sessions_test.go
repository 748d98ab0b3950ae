package http

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mien/engine"
)

// sessionAnswer is a session in an answer.
type sessionAnswer struct {
	ID, URL, Status, Reason, Flow, Gallery, State string
	Challenges                                    []string
	Steps                                         int
	MaxTries                                      int `json:"max_tries"`
}

// TestSessions: sessions and their settings, as the document has them.
func TestSessions(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	const path = "/v1/galleries/staff/capture"
	make := func(body string) call { return call{method: "POST", path: "/v1/sessions", body: []byte(body)} }
	verify := `{"gallery":"staff","flow":"verify","person":"ada","redirect_url":"https://app.example.com/callback","state":"1"}`
	h.refused(codeRedirect, make(verify))
	h.want(200, call{method: "GET", path: path})
	var set struct {
		Origins, Challenges []string
		Steps, Tries        int
	}
	h.want(200, call{method: "PUT", path: path, body: []byte(`{"name":"Example Bank","origins":["https://APP.example.com:443/","http://localhost:8080"],"challenges":["blink","flash"],"flash":true,"steps":1,"tries":2}`)}).into(t, &set)
	if !slices.Equal(set.Origins, []string{"http://localhost:8080", "https://app.example.com"}) || set.Steps != 1 || set.Tries != 2 {
		t.Errorf("%+v", set)
	}
	var made, now sessionAnswer
	h.want(201, make(verify)).into(t, &made)
	if made.Status != "pending" || !slices.Equal(made.Challenges, []string{"blink", "flash"}) || made.Steps != 1 || made.MaxTries != 2 || !strings.Contains(made.URL, "/capture/?t=") {
		t.Errorf("%+v", made)
	}
	h.want(200, call{method: "GET", path: "/v1/sessions/" + made.ID}).into(t, &now)
	if now.URL != "" || now.State != "1" {
		t.Errorf("%+v", now)
	}
	for range 2 { // which is as it is the second time
		h.want(200, call{method: "DELETE", path: "/v1/sessions/" + made.ID}).into(t, &now)
		if now.Status != "fail" || now.Reason != "cancelled" {
			t.Errorf("%+v", now)
		}
	}
	h.refused(codeSessionNotFound, call{method: "GET", path: "/v1/sessions/0f8fad5bd9cb469fa16570867728950e"})
	h.refused(codeSessionNotFound, call{method: "DELETE", path: "/v1/sessions/%20"})
	h.refused(codeBadRequest, call{method: "POST", path: "/v1/sessions", body: []byte(verify), header: []string{"Idempotency-Key", "1"}})
	h.want(200, call{method: "PUT", path: path, body: []byte("{}")}).into(t, &set)
	if len(set.Origins) != 0 || !slices.Equal(set.Challenges, []string{"turn_left", "turn_right", "look_up", "blink"}) || set.Steps != 2 || set.Tries != 3 {
		t.Errorf("%+v", set)
	}
	h.want(200, call{method: "PUT", path: path, body: []byte(`{"tries":5}`)})
	h.want(204, call{method: "DELETE", path: "/v1/galleries/staff"})
	h.refused(codeGalleryNotFound, call{method: "GET", path: path})
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	h.want(200, call{method: "GET", path: path}).into(t, &set)
	if set.Tries != 3 {
		t.Errorf("a new gallery has the settings of another that had its name: %+v", set)
	}
	h.refused(codeGalleryNotFound, call{method: "GET", path: "/v1/galleries/none/capture"})
	h.refused(codeGalleryNotFound, call{method: "PUT", path: "/v1/galleries/none/capture", body: []byte("{}")})
	h.refused(codeGalleryNotFound, make(`{"gallery":"none","flow":"identify"}`))
}

// TestSessionsRefuse: what no session, and no settings, can be.
func TestSessionsRefuse(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	for _, body := range []string{`{}`, `{"gallery":"staff"}`, `{"flow":"verify"}`, `{"gallery":"staff","flow":"match"}`, `{"gallery":"staff","flow":"verify"}`,
		`{"gallery":"staff","flow":"identify","person":"ada"}`, `{"gallery":"staff","flow":"identify","seconds":0}`, `{"gallery":"staff","flow":"identify","seconds":3601}`,
		`{"gallery":"staff","flow":"identify","challenges":[]}`, `{"gallery":"staff","flow":"identify","challenges":["blink","blink"]}`,
		`{"gallery":"staff","flow":"identify","challenges":["flash"]}`, `{"gallery":"staff","flow":"identify","challenges":["nod"]}`,
		`{"gallery":"staff","flow":"identify","steps":0}`, `{"gallery":"staff","flow":"identify","steps":5}`,
		`{"gallery":"staff","flow":"identify","state":"a\nb"}`, fmt.Sprintf(`{"gallery":"staff","flow":"identify","state":%q}`, strings.Repeat("x", 513))} {
		h.refused(codeBadRequest, call{method: "POST", path: "/v1/sessions", body: []byte(body)})
	}
	h.refused(codeBadID, call{method: "POST", path: "/v1/sessions", body: []byte(`{"gallery":"staff","flow":"verify","person":" "}`)})
	h.refused(codeBadJSON, call{method: "POST", path: "/v1/sessions", body: []byte(`{"gallery":"staff","flow":"identify","id":"mine"}`)})
	for _, body := range []string{`{"tries":6}`, `{"tries":0}`, `{"steps":5}`, `{"steps":0}`, `{"challenges":[]}`, `{"challenges":["flash"]}`, `{"origins":["http://app.example.com"]}`,
		`{"origins":["https://app.example.com/path"]}`, `{"origins":["https://a@app.example.com"]}`, `{"origins":["app.example.com"]}`, `{"origins":["https://"]}`,
		`{"origins":["javascript:alert(1)"]}`, `{"origins":["https://a.example?x"]}`, `{"name":"a\nb"}`} {
		h.refused(codeBadRequest, call{method: "PUT", path: "/v1/galleries/staff/capture", body: []byte(body)})
	}
	h.want(200, call{method: "PUT", path: "/v1/galleries/staff/capture", body: []byte(`{"origins":["https://app.example.com","http://[::1]:9","https://b.example:8443"]}`)})
	for url, ok := range map[string]bool{
		"https://app.example.com/a?b=c": true, "https://app.example.com:443": true, "HTTPS://APP.example.com/": true, "https://b.example:8443/": true, "http://[::1]:9/x": true,
		"https://b.example/": false, "http://app.example.com/": false, "https://app.example.com.evil.example/": false, "https://app.example.com@evil.example/": false,
		"https://evil.example\\\\@app.example.com/": false, "https://app.example.com/#x": false, "//app.example.com/": false, "/callback": false, "https:app.example.com": false,
		"https://app.example.com:444/": false, "javascript://app.example.com/%0aalert(1)": false, "https://app.example.com/ x": false, "http://[::1]/": false, "https://app.example.com./": false,
	} {
		c := call{method: "POST", path: "/v1/sessions", body: fmt.Appendf(nil, `{"gallery":"staff","flow":"identify","redirect_url":"%s"}`, url)}
		if ok {
			h.want(201, c)
		} else {
			h.refused(codeRedirect, c)
		}
	}
}

// TestSessionsByRole: who may make which sessions, and see whose.
func TestSessionsByRole(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	h.want(201, call{method: "PUT", path: "/v1/galleries/door-1"})
	may := map[engine.Role][]string{engine.RoleAdmin: {"enroll", "verify", "identify", "update", "liveness"}, engine.RoleEnroller: {"enroll", "update", "liveness"},
		engine.RoleMatcher: {"verify", "identify", "liveness"}, engine.RoleAuditor: {}}
	for role, flows := range may {
		for _, flow := range may[engine.RoleAdmin] {
			person := ""
			if flow != "identify" && flow != "liveness" {
				person = `,"person":"ada"`
			}
			want := 403
			if slices.Contains(flows, flow) {
				want = 201
			}
			h.want(want, call{method: "POST", path: "/v1/sessions", token: h.token(role), body: fmt.Appendf(nil, `{"gallery":"staff","flow":%q%s}`, flow, person)})
		}
	}
	_, bound := h.key("default", engine.KeySpec{Role: engine.RoleAdmin, Galleries: []string{"door-*"}})
	h.refused(codeForbidden, call{method: "POST", path: "/v1/sessions", token: bound, body: []byte(`{"gallery":"staff","flow":"identify"}`)})
	var ours, theirs sessionAnswer
	h.want(201, call{method: "POST", path: "/v1/sessions", token: bound, body: []byte(`{"gallery":"door-1","flow":"identify"}`)}).into(t, &ours)
	h.want(201, call{method: "POST", path: "/v1/sessions", body: []byte(`{"gallery":"staff","flow":"identify"}`)}).into(t, &theirs)
	for _, method := range []string{"GET", "DELETE"} {
		h.refused(codeSessionNotFound, call{method: method, path: "/v1/sessions/" + theirs.ID, token: bound})
	}
	h.want(200, call{method: "GET", path: "/v1/sessions/" + ours.ID, token: bound})
	all, seen := h.listSessions(""), h.listSessions(bound)
	if len(seen) != 1 || seen[0] != ours.ID || len(all) != 13 || !slices.IsSorted(all) {
		t.Errorf("%v %v", seen, all)
	}
	for role, n := range map[engine.Role]int{engine.RoleEnroller: 7, engine.RoleMatcher: 9, engine.RoleAuditor: 13} {
		if got := h.listSessions(h.token(role)); len(got) != n {
			t.Errorf("%s is told of %d sessions, want %d", role, len(got), n)
		}
	}
	for _, method := range []string{"GET", "DELETE"} { // who was identified is not for who may not identify
		h.refused(codeSessionNotFound, call{method: method, path: "/v1/sessions/" + theirs.ID, token: h.token(engine.RoleEnroller)})
	}
	h.refused(codeBadCursor, call{method: "GET", path: "/v1/sessions?cursor=!"})
	h.refused(codeBadRequest, call{method: "GET", path: "/v1/sessions?limit=0"})
	h.refused(codeBadRequest, call{method: "GET", path: "/v1/sessions?flow=verify"})
}

// listSessions are the ids of all, page by page.
func (h *harness) listSessions(token string) (ids []string) {
	h.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Sessions []sessionAnswer
			Next     string
		}
		h.want(200, call{method: "GET", path: "/v1/sessions?limit=4" + cursor, token: token}).into(h.t, &page)
		for _, x := range page.Sessions {
			ids = append(ids, x.ID)
		}
		if page.Next == "" {
			return ids
		}
		cursor = "&cursor=" + page.Next
	}
}
