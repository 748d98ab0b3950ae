package capture_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/dialect/dialecttest"
)

func TestMain(m *testing.M) {
	status := m.Run()
	extracttest.Close()
	os.Exit(status)
}

// clock is the engine's.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// world is a server with an administrator's key, whose gallery "people" has an origin for redirects.
type world struct {
	*dialecttest.Server
	admin string
	clock *clock
}

func newWorld(t testing.TB, change func(*http.Config, *engine.Config)) *world {
	w := &world{clock: new(clock)}
	w.Server = dialecttest.New(t, func(h *http.Config, e *engine.Config) {
		e.Now, h.AuthFailures = w.clock.now, -1
		if change != nil {
			change(h, e)
		}
	})
	w.admin = w.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin, Rate: 1e4})
	w.native(t, 200, "PUT", "/v1/galleries/people/capture", `{"name":"Example Bank","origins":["https://app.example.com"]}`, nil)
	return w
}

// native asks the native API as the administrator and decodes the answer.
func (w *world) native(t testing.TB, status int, method, path, body string, v any) dialecttest.Answer {
	t.Helper()
	return w.as(t, w.admin, status, method, path, body, v)
}

func (w *world) as(t testing.TB, key string, status int, method, path, body string, v any) dialecttest.Answer {
	t.Helper()
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	a := w.Do(method, path, b, "Authorization", "Bearer "+key)
	if a.Status != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, a.Status, status, a.Body)
	}
	if v != nil {
		if err := json.Unmarshal(a.Body, v); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// session is one in an answer.
type session struct {
	ID, Owner, Gallery, Flow, Status, Reason, Person, Liveness, State, URL string

	Score    *float64
	Tries    int
	MaxTries int    `json:"max_tries"`
	EventID  string `json:"event_id"`
}

// token is the link's.
func (x session) token() string {
	u, err := url.Parse(x.URL)
	if err != nil {
		panic(err)
	}
	return u.Query().Get("t")
}

const callback = "https://app.example.com/callback"

func (w *world) make(t testing.TB, body string) (x session) {
	t.Helper()
	w.native(t, 201, "POST", "/v1/sessions", body, &x)
	return x
}

func (w *world) verify(t testing.TB) session {
	t.Helper()
	return w.make(t, fmt.Sprintf(`{"gallery":"people","flow":"verify","person":"ada","redirect_url":%q,"state":"s 1"}`, callback))
}

func (w *world) look(t testing.TB, x session) (now session) {
	t.Helper()
	w.native(t, 200, "GET", "/v1/sessions/"+x.ID, "", &now)
	return now
}

// problem is a refusal of the page's.
type problem struct{ Code, Detail, Where string }

// state is what the page is told.
type state struct {
	Status      string
	Flow        string
	Name        string
	TriesLeft   int `json:"tries_left"`
	SecondsLeft int `json:"seconds_left"`
	Flash       bool
	Redirect    string
}

// opening asks to swap a token for a cookie; header is more of it.
func (w *world) opening(token string, header ...string) dialecttest.Answer {
	return w.Do("POST", "/capture/api/open", []byte("{}"), append([]string{"Authorization", "Bearer " + token}, header...)...)
}

// open opens a session's link and answers the browser's cookie.
func (w *world) open(t testing.TB, x session) (cookie string) {
	t.Helper()
	a := w.opening(x.token())
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	cookie, _, _ = strings.Cut(a.Header.Get("Set-Cookie"), ";")
	return cookie
}

// browser asks as the page does.
func (w *world) browser(cookie, method, path, body string, header ...string) dialecttest.Answer {
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	return w.Do(method, "/capture/api/"+path, b, append([]string{"Cookie", cookie, "Sec-Fetch-Site", "same-origin"}, header...)...)
}

func refusedWith(t testing.TB, a dialecttest.Answer, status int, code string) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(a.Body, &p); err != nil || a.Status != status || p.Code != code || p.Detail == "" {
		t.Fatalf("%d %s, want %d %s", a.Status, a.Body, status, code)
	}
	return p
}

func told(t testing.TB, a dialecttest.Answer) (s state) {
	t.Helper()
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	a.Into(t, &s)
	return s
}
