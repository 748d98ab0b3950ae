package authface_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"mien/engine"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/authface"
)

// TestBodies: what a client may send, and what not.
func TestBodies(t *testing.T) {
	c := newClient(t, func(h *http.Config, _ *engine.Config) { h.MaxBodyBytes = 1 << 16 })
	n := 0
	next := func() string { n++; return stateOf(n) }
	for contentType, status := range map[string]int{"application/json": 200, "application/json; charset=utf-8": 200, "": 200, "text/plain": 400, "multipart/form-data; boundary=x": 400} {
		if a := c.call("POST", pathIdentify, goodBody(next(), ""), "Content-Type", contentType); a.Status != status {
			t.Errorf("%q: %d %s", contentType, a.Status, a.Body)
		}
	}
	c.want(200, "", pathIdentify, fmt.Sprintf(`{"redirect_url":%q,"client_state":%q,"external_user_id":"ann","more":{"x":[1]}}`, callback, next()))
	for _, path := range allPaths {
		bad := []string{"", "[]", `"x"`, `{`, `{"client_state":1,"limit":1.5,"external_user_id":1}`, "{\"external_user_id\":\"\xff\"}"}
		if path != pathList {
			bad = append(bad, `{}`, `{"CLIENT_STATE":"`+next()+`","External_User_Id":"ann"}`, `{"client_state":null,"external_user_id":null}`,
				`{"client_state":"`+next()+`","client_state":"`+next()+`","external_user_id":"ann","external_user_id":"ann"}`)
		}
		for _, body := range bad {
			c.want(400, "invalid_request", path, body)
		}
		c.want(400, "invalid_request", path, `{"more":"`+strings.Repeat("A", 1<<16)+`"}`)
		c.want(400, "invalid_request", path, goodBody(next(), "ann"), "Content-Encoding", "gzip")
		c.want(400, "invalid_request", path, goodBody(next(), "ann"), "If-Match", `"1"`)
	}
	for _, user := range []string{"", " ann", "ann ", "an\tn", ".", "..", strings.Repeat("a", 257)} {
		for _, path := range []string{pathEnroll, pathVerify, pathUpdate, pathGet, pathDelete} {
			c.want(400, "invalid_request", path, goodBody(next(), user))
		}
	}
	c.begin(pathEnroll, next(), strings.Repeat("ü", 128))
	for _, state := range []string{"", "550e8400e29b41d4a716446655440000", "{550e8400-e29b-41d4-a716-446655440000}", "550e8400-e29b-11d4-a716-446655440000",
		"550e8400-e29b-41d4-c716-446655440000", "550e8400-e29b-41d4-a716-44665544000", "550e8400-e29b-41d4-a716-44665544000g", "550e8400-e29b-41d4_a716-446655440000"} {
		for _, path := range []string{pathIdentify, pathResult} {
			c.want(400, "invalid_request", path, goodBody(state, ""))
		}
	}
	for _, list := range []string{`{"limit":0}`, `{"limit":-1}`, `{"limit":1001}`, `{"offset":-1}`, `{"offset":1000001}`, `{"limit":1e99}`, `{"limit":true}`} {
		c.want(400, "invalid_request", pathList, list)
	}
	c.want(200, "", pathList, `{"limit":1000,"offset":1000000}`)
}

// TestRedirects: browsers are sent to registered origins only, and each flow says so.
func TestRedirects(t *testing.T) {
	c := newClient(t, nil)
	c.enrol("ann", "a_1.jpg")
	ask := func(status int, code, path, redirect string) {
		t.Helper()
		user := "ann"
		if path == pathEnroll {
			user = "bob"
		}
		c.want(status, code, path, fmt.Sprintf(`{"client_state":%q,"redirect_url":%q,"external_user_id":%q}`, stateOf(1), redirect, user))
	}
	for _, path := range []string{pathEnroll, pathVerify, pathIdentify, pathUpdate} {
		for _, redirect := range []string{"https://elsewhere.example.com/callback", "http://client.example.com/callback", "https://client.example.com:8443/callback",
			"https://client.example.com.evil.example/", "https://client.example.com@evil.example/", "https://user@client.example.com/", "//client.example.com/",
			"https://client.example.com/#x", "javascript:alert(1)", "/callback", "x", "https://client.example.com\\@evil.example/"} {
			ask(422, "redirect_not_allowed", path, redirect)
		}
		ask(400, "invalid_request", path, "")
	}
	ask(200, "", pathIdentify, "https://CLIENT.example.com:443/callback?x=1&y=2")
}

// TestKeys: every operation with every key that is not for it, and in either header.
func TestKeys(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	c := newClient(t, func(_ *http.Config, e *engine.Config) { e.Now = func() time.Time { return time.UnixMilli(now.Load()) } })
	_, expired, err := c.Engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: authface.Name,
		Galleries: []string{"people"}, Expires: time.UnixMilli(now.Load()).Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	revoked, token, err := c.Engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: authface.Name, Galleries: []string{"people"}})
	if err == nil {
		err = c.Engine.RevokeKey(t.Context(), "default", revoked.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	good := c.key
	for key, want := range map[string]int{"": 401, "?": 401, good[:len(good)-1] + "!": 401, token: 401, c.Key("youverse", "people"): 403,
		c.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin}): 403, c.KeyOf("default", engine.KeySpec{Role: engine.RoleMatcher}): 403} {
		c.key = key
		for _, path := range allPaths {
			c.want(want, map[int]string{401: "unauthorized", 403: "forbidden"}[want], path, goodBody(someState, "ann"))
		}
	}
	c.key = expired
	c.want(200, "", pathList, `{}`)
	now.Add(time.Hour.Milliseconds())
	for _, path := range allPaths {
		c.want(401, "unauthorized", path, goodBody(someState, "ann"))
	}
	c.key = ""
	c.want(200, "", pathList, `{}`, "x-api-key", good)
	c.want(200, "", pathList, `{}`, "Authorization", "bearer  "+good)
	c.want(200, "", pathList, `{}`, "Authorization", "Bearer "+good, "x-api-key", "?")
	c.want(401, "unauthorized", pathList, `{}`, "Authorization", "Bearer ?", "x-api-key", good)
	c.want(401, "unauthorized", pathList, `{}`, "Authorization", "Basic "+good)
	c.want(401, "unauthorized", pathList, `{}`, "Authorization", good)
	c.key = good
	c.begin(pathIdentify, stateOf(1), "")
	if err := c.Engine.DeleteGallery(t.Context(), "default", "people"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pathEnroll, pathVerify, pathIdentify, pathUpdate, pathList, pathGet, pathDelete} {
		c.want(403, "forbidden", path, goodBody(someState, "ann"))
	}
}

// TestRates: a key that asks too often, and an address with keys that are no good.
func TestRates(t *testing.T) {
	c := newClient(t, func(h *http.Config, _ *engine.Config) { h.AuthFailures = 3 })
	for _, path := range allPaths {
		c.key = c.KeyOf("default", engine.KeySpec{Role: engine.RoleClient, Dialect: authface.Name, Galleries: []string{"people"}, Rate: 0.01, Burst: 1})
		c.call("POST", path, goodBody(someState, "ann"))
		c.want(429, "rate_limited", path, goodBody(someState, "ann"))
	}
	c.key = "mien_0011223344556677_wrong"
	for range 3 {
		c.want(401, "unauthorized", pathList, `{}`)
	}
	c.want(429, "rate_limited", pathList, `{}`)
}

// TestPaths: what is below the dialect's paths is answered in its words, and nothing else is.
func TestPaths(t *testing.T) {
	c := newClient(t, nil)
	for _, path := range []string{"/biometry", "/biometry/", "/biometry/v1", "/biometry/v2/enroll", pathEnroll + "/", pathEnroll + "/x", "/biometry/v1/Enroll", "/biometry//v1/enroll"} {
		c.want(404, "not_found", path, `{}`)
	}
	for _, path := range allPaths {
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "TRACE"} {
			if a := c.call(method, path, ""); a.Status != 405 || a.Header.Get("Allow") != "OPTIONS, POST" {
				t.Errorf("%s %s: %d, Allow %q", method, path, a.Status, a.Header.Get("Allow"))
			}
		}
	}
	if a := c.Do("POST", "/biometryly", []byte(`{}`)); a.Status != 404 || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// blocked is an extractor whose first photo waits.
type blocked struct {
	http.Extractor
	wait chan struct{}
	once sync.Once
}

func (b *blocked) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	b.once.Do(func() { <-b.wait })
	return b.Extractor.Extract(ctx, data, o)
}

// TestBusy: a server with one place, which is taken.
func TestBusy(t *testing.T) {
	b := &blocked{wait: make(chan struct{})}
	c := newClient(t, func(h *http.Config, _ *engine.Config) { b.Extractor, h.Extractor, h.MaxRequests = h.Extractor, b, 1 })
	enroller := []string{"Authorization", "Bearer " + c.KeyOf("default", engine.KeySpec{Role: engine.RoleEnroller}), "Content-Type", "image/jpeg"}
	var wg sync.WaitGroup
	wg.Go(func() {
		if a := c.Do("PUT", "/v1/galleries/people/people/ann", extracttest.Photo(t, "a_1.jpg"), enroller...); a.Status != 201 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
	for a := c.call("POST", pathList, `{}`); a.Status != 503; a = c.call("POST", pathList, `{}`) {
		time.Sleep(time.Millisecond)
	}
	for i, path := range allPaths {
		if a := c.want(503, "service_unavailable", path, goodBody(stateOf(i), "ann")); a.Header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	}
	close(b.wait)
	wg.Wait()
}

// brokenDisk fails every write once it is told to.
type brokenDisk struct{ atomic.Bool }

func (*brokenDisk) String() string { return "broken disk" }

func (d *brokenDisk) MaybeError(op errorfs.Op) error {
	if !d.Load() || op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpLock {
		return nil
	}
	return syscall.EIO
}

// TestBrokenDisk: what can't be written is not said to have been done.
func TestBrokenDisk(t *testing.T) {
	var disk brokenDisk
	c := newClient(t, func(_ *http.Config, e *engine.Config) {
		e.Dir, e.FS, e.Audit = "data", errorfs.Wrap(vfs.NewCrashableMem(), &disk), "sync"
	})
	c.enrol("ann", "a_1.jpg")
	disk.Store(true)
	for i, path := range []string{pathEnroll, pathVerify, pathIdentify, pathUpdate, pathDelete} {
		user := "ann"
		if path == pathEnroll {
			user = "bob"
		}
		c.want(500, "internal_error", path, goodBody(stateOf(i), user))
	}
	if log := c.Log.String(); strings.Contains(log, c.key) || strings.Contains(log, "?t=") {
		t.Error("the log has a key or a link in it")
	}
}
