package authface_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/engine"
	"mien/http"
	"mien/http/authface"
)

// TestClientState: there is one session of a client_state, of requests at once too, and it is not another gallery's.
func TestClientState(t *testing.T) {
	c := newClient(t, nil)
	var begun, used atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		path, state := pathEnroll, someState
		if i%2 == 0 {
			path, state = pathIdentify, strings.ToUpper(someState)
		}
		wg.Go(func() {
			switch a := c.call("POST", path, goodBody(state, "ann")); a.Status {
			case 200:
				begun.Add(1)
			case 409:
				used.Add(1)
			}
		})
	}
	wg.Wait()
	if begun.Load() != 1 || used.Load() != 7 {
		t.Errorf("%d sessions were begun, %d refused", begun.Load(), used.Load())
	}
	c.decided("people", someState, map[string]any{"status": "fail", "reason": "cancelled", "completed": time.Now()})
	c.enrol("ann", "a_1.jpg")
	for _, path := range []string{pathVerify, pathIdentify, pathUpdate} {
		c.want(409, "client_state_used", path, goodBody(someState, "ann")) // also once it is over
	}
	c.Gallery("elsewhere", engine.GallerySpec{})
	register(c.Server, "default", "elsewhere")
	c.key = c.Key(authface.Name, "elsewhere")
	c.begin(pathEnroll, someState, "ann")
}

// TestSubjects: who is there, or suspended, is looked at before anybody is sent to the camera.
func TestSubjects(t *testing.T) {
	c := newClient(t, nil)
	c.begin(pathEnroll, stateOf(1), "ann")
	c.want(404, "user_not_found", pathVerify, goodBody(stateOf(2), "ann"))
	c.want(404, "user_not_found", pathUpdate, goodBody(stateOf(2), "ann"))
	c.enrol("ann", "a_1.jpg")
	c.want(409, "user_exists", pathEnroll, goodBody(stateOf(2), "ann"))
	c.begin(pathVerify, stateOf(2), "ann")
	c.begin(pathUpdate, stateOf(3), "ann")
	if _, err := c.Engine.PatchPerson(t.Context(), "default", "people", "ann", engine.PersonPatch{Status: engine.StatusSuspended}); err != nil {
		t.Fatal(err)
	}
	c.want(409, "user_suspended", pathVerify, goodBody(stateOf(4), "ann"))
	c.want(409, "user_suspended", pathUpdate, goodBody(stateOf(4), "ann"))
	c.want(409, "user_exists", pathEnroll, goodBody(stateOf(4), "ann"))
	if a := c.want(200, "", pathGet, `{"external_user_id":"ann"}`); !strings.Contains(string(a.Body), `"status":"suspended"`) {
		t.Errorf("%s", a.Body)
	}
	c.want(200, "", pathDelete, `{"external_user_id":"ann"}`)
	for n, status := range []int{1: 200, 2: 404, 3: 404} { // that of the enrolment was about nobody
		if status == 0 {
			continue
		}
		if a := c.call("POST", pathResult, goodBody(stateOf(n), "")); a.Status != status {
			t.Errorf("session %d: %d %s", n, a.Status, a.Body)
		}
	}
	c.begin(pathEnroll, stateOf(2), "ann") // nothing is left of the session either
}

// TestKeysOfSessions: a session is of the key that began it and those in its line, and of no other.
func TestKeysOfSessions(t *testing.T) {
	c := newClient(t, nil)
	c.Gallery("elsewhere", engine.GallerySpec{})
	if _, _, err := c.Engine.CreateGallery(t.Context(), "rival", "people", engine.GallerySpec{}); err != nil {
		t.Fatal(err)
	}
	register(c.Server, "rival", "people")
	spec := engine.KeySpec{Role: engine.RoleClient, Dialect: authface.Name, Galleries: []string{"people"}}
	first, token, err := c.Engine.CreateKey(t.Context(), "default", spec)
	if err != nil {
		t.Fatal(err)
	}
	others := []string{c.key, c.Key(authface.Name, "elsewhere"), c.KeyOf("rival", spec)}
	c.key = token
	link := c.begin(pathIdentify, stateOf(1), "")

	_, second, err := c.Engine.RotateKey(t.Context(), "default", first.ID, engine.Rotation{})
	if err != nil {
		t.Fatal(err)
	}
	c.key = second
	if got := c.result(stateOf(1)); got["status"] != "pending" {
		t.Errorf("with the rotated key: %v", got)
	}
	c.begin(pathIdentify, stateOf(2), "")
	c.key = token // which goes on for a while
	c.result(stateOf(2))

	for _, other := range others {
		c.key = other
		for n := range 2 {
			c.want(404, "session_not_found", pathResult, goodBody(stateOf(n+1), ""))
		}
	}
	c.key = others[2]
	c.begin(pathIdentify, stateOf(1), "") // another tenant's own

	c.key = second
	c.open(link)
	if got := c.result(stateOf(1)); got["status"] != "in_progress" {
		t.Errorf("%v", got)
	}
	if err := c.Engine.RevokeKey(t.Context(), "default", first.ID); err != nil {
		t.Fatal(err)
	}
	if got := c.result(stateOf(1)); got["status"] != "expired" || got["result"] != "fail" || got["reason"] != "expired" {
		t.Errorf("the key that began it was revoked: %v", got)
	}
	if got := c.result(stateOf(2)); got["status"] != "pending" {
		t.Errorf("%v", got)
	}
}

// TestExpiry: nobody completes a session after its ten minutes, and after a day it is gone, with its client_state.
func TestExpiry(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	c := newClient(t, func(_ *http.Config, e *engine.Config) { e.Now = func() time.Time { return time.UnixMilli(now.Load()) } })
	c.begin(pathIdentify, someState, "")
	link := c.begin(pathIdentify, stateOf(1), "")
	pass := func(d time.Duration) { now.Add(d.Milliseconds()) }
	pass(10*time.Minute - time.Second)
	if got := c.result(someState); got["status"] != "pending" {
		t.Errorf("%v", got)
	}
	pass(time.Second)
	if got := c.result(someState); got["status"] != "expired" || len(got) != 10 {
		t.Errorf("%v", got)
	}
	_, token, _ := strings.Cut(link, "?t=")
	if a := c.Do("POST", "/capture/api/open", []byte(`{}`), "Authorization", "Bearer "+token); a.Status != 410 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	c.want(409, "client_state_used", pathIdentify, goodBody(someState, ""))
	pass(24 * time.Hour)
	c.want(404, "session_not_found", pathResult, goodBody(someState, ""))
	c.begin(pathIdentify, someState, "")
}

// TestRestart: sessions outlive the server, those that are over too; the link that was not opened opens.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	same := func(_ *http.Config, e *engine.Config) { e.Dir = dir }
	var key, link string
	t.Run("before", func(t *testing.T) {
		c := newClient(t, same)
		key = c.key
		c.enrol("ann", "a_1.jpg")
		_, link, _ = strings.Cut(c.begin(pathVerify, stateOf(1), "ann"), c.URL)
		c.open(c.begin(pathVerify, stateOf(2), "ann"))
		c.begin(pathVerify, stateOf(3), "ann")
		c.decided("people", stateOf(3), map[string]any{"status": "success", "score": 0.91, "completed": time.Now()})
	})
	t.Run("after", func(t *testing.T) {
		c := newClient(t, same)
		c.key = key
		for n, want := range map[int]string{1: "pending", 2: "in_progress", 3: "success"} {
			if got := c.result(stateOf(n)); got["status"] != want || got["external_user_id"] != "ann" {
				t.Errorf("%v, want %s", got, want)
			}
			c.want(409, "client_state_used", pathIdentify, goodBody(stateOf(n), ""))
		}
		c.open(c.URL + link)
		if got := c.result(stateOf(1)); got["status"] != "in_progress" {
			t.Errorf("%v", got)
		}
	})
}

// TestGivenUp: what the page says of somebody who gives up, or has no camera, is in the result, and the browser is sent back.
func TestGivenUp(t *testing.T) {
	c := newClient(t, nil)
	for n, reason := range []string{"cancelled", "camera_unavailable"} {
		_, token, _ := strings.Cut(c.begin(pathEnroll, stateOf(n), "ann"), "?t=")
		before := time.Now().UTC().Truncate(time.Second)
		opened := c.Do("POST", "/capture/api/open", []byte(`{}`), "Authorization", "Bearer "+token)
		cookie, _, _ := strings.Cut(opened.Header.Get("Set-Cookie"), ";")
		a := c.Do("POST", "/capture/api/cancel", fmt.Appendf(nil, `{"reason":%q}`, reason), "Cookie", cookie)
		if want := callback + "?client_state=" + stateOf(n); a.Status != 200 || !strings.Contains(string(a.Body), want) {
			t.Errorf("%d %s, want %s", a.Status, a.Body, want)
		}
		got := c.result(stateOf(n))
		if got["status"] != "fail" || got["result"] != "fail" || got["reason"] != reason || got["external_user_id"] != "ann" || got["score"] != nil {
			t.Errorf("%v", got)
		}
		at, err := time.Parse(time.DateTime, fmt.Sprint(got["completed_at"]))
		if err != nil || at.Before(before) || at.After(time.Now()) || !eventForm.MatchString(fmt.Sprint(got["event_id"])) {
			t.Errorf("%v: %v", got, err)
		}
	}
}

var eventForm = regexp.MustCompile(`^evt_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// TestPolls: a session is asked about so often and no more; others are not kept waiting by that.
func TestPolls(t *testing.T) {
	c := newClient(t, nil)
	c.begin(pathIdentify, stateOf(1), "")
	c.begin(pathIdentify, stateOf(2), "")
	body := fmt.Sprintf(`{"client_state":%q}`, stateOf(1))
	limited := false
	for range 500 { // which takes less than 490 seconds
		if a := c.call("POST", pathResult, body); a.Status != 200 {
			if limited = a.Status == 429; !limited || a.Header.Get("Retry-After") != "1" {
				t.Errorf("%d, Retry-After %q, %s", a.Status, a.Header.Get("Retry-After"), a.Body)
			}
			break
		}
	}
	if !limited {
		t.Error("a session can be asked about without end")
	}
	c.result(stateOf(2))
}

// TestShared: who is enrolled by one API is known to the other where both are of one gallery, and to nobody else.
func TestShared(t *testing.T) {
	c := newClient(t, nil)
	c.Gallery("elsewhere", engine.GallerySpec{})
	register(c.Server, "default", "elsewhere")
	c.enrol("ann", "a_1.jpg")
	here, elsewhere := c.key, c.Key(authface.Name, "elsewhere")
	for _, x := range []struct {
		key    string
		status int
		total  string
	}{{here, 200, `"total":1`}, {elsewhere, 404, `"total":0`}} {
		c.key = x.key
		if a := c.call("POST", pathGet, `{"external_user_id":"ann"}`); a.Status != x.status {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if a := c.want(200, "", pathList, `{}`); !strings.Contains(string(a.Body), x.total) {
			t.Errorf("%s", a.Body)
		}
		if a := c.call("POST", pathVerify, goodBody(stateOf(1), "ann")); a.Status != x.status {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	c.want(404, "user_not_found", pathDelete, `{"external_user_id":"ann"}`)
	c.key = here
	c.want(200, "", pathDelete, `{"external_user_id":"ann"}`)
	if a := c.Do("POST", "/user_verification/user_data", []byte(`{"user_id":"ann"}`), "x-api-key", c.Key("youverse", "people")); a.Status != 409 {
		t.Errorf("Youverse still has who was deleted: %d %s", a.Status, a.Body)
	}
}
