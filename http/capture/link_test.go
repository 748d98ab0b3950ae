package capture_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/dialect/dialecttest"
)

// TestOneBrowser: of browsers that open a link at the same time one does.
func TestOneBrowser(t *testing.T) {
	w := newWorld(t, nil)
	x := w.verify(t)
	var opened, used atomic.Int32
	var cookies sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			switch a := w.opening(x.token()); a.Status {
			case 200:
				opened.Add(1)
				cookies.Store(a.Header.Get("Set-Cookie"), nil)
			case 409:
				used.Add(1)
			default:
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	wg.Wait()
	if opened.Load() != 1 || used.Load() != 7 {
		t.Errorf("%d opened it, to %d it was used", opened.Load(), used.Load())
	}
}

// TestNotALink: what is no link's token, no browser's cookie, or the one in the other's place is unknown.
func TestNotALink(t *testing.T) {
	w := newWorld(t, nil)
	x := w.verify(t)
	cookie := w.open(t, x)
	value := strings.TrimPrefix(cookie, "mien_capture=")
	other := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for name, a := range map[string]dialecttest.Answer{
		"nothing":                  w.Do("POST", "/capture/api/open", []byte("{}")),
		"an API key":               w.opening(w.admin),
		"another's":                w.opening(other),
		"a padded one":             w.opening(x.token() + "="),
		"too long":                 w.opening(strings.Repeat("A", 4096)),
		"a cookie for a token":     w.opening(value),
		"a cookie that opens":      w.browser(cookie, "POST", "open", "{}"),
		"a cookie nobody got":      w.browser("mien_capture="+other, "GET", "session", ""),
		"a token for a cookie":     w.browser("mien_capture="+x.token(), "GET", "session", ""),
		"a token that asks":        w.Do("GET", "/capture/api/session", nil, "Authorization", "Bearer "+x.token()),
		"a token that gives up":    w.Do("POST", "/capture/api/cancel", []byte("{}"), "Authorization", "Bearer "+x.token()),
		"basic":                    w.Do("POST", "/capture/api/open", []byte("{}"), "Authorization", "Basic "+x.token()),
		"two cookies":              w.browser(cookie+"; mien_capture="+other, "GET", "session", ""),
		"a cookie planted before":  w.browser("mien_capture="+other+"; "+cookie, "GET", "session", ""),
		"a cookie of another name": w.browser("mien_captur="+value, "GET", "session", ""),
	} {
		if p := refusedWith(t, a, 401, "link_unknown"); strings.Contains(p.Detail, x.ID) || p.Where != "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if now := w.look(t, x); now.Status != "in_progress" {
		t.Errorf("%+v", now)
	}
}

// TestForeignPages: a request that a browser says comes from another page changes nothing, and is in the audit log.
func TestForeignPages(t *testing.T) {
	w := newWorld(t, nil)
	x := w.verify(t)
	host := strings.TrimPrefix(w.URL, "http://")
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
		{"Origin", "http://" + host + ".evil.example"}, {"Origin", "http://" + host + "0"}} {
		refusedWith(t, w.opening(x.token(), header...), 403, "forbidden")
	}
	if now := w.look(t, x); now.Status != "pending" {
		t.Fatalf("%+v", now)
	}
	if s := told(t, w.opening(x.token(), "Origin", w.URL)); s.Status != "in_progress" {
		t.Errorf("%+v", s)
	}
	if a := w.native(t, 200, "GET", "/v1/audit", "", nil); strings.Count(string(a.Body), `"op":"captureOpen"`) != 6 || !strings.Contains(string(a.Body), `"key":"`+x.ID+`"`) {
		t.Errorf("%s", a.Body)
	}
}

// TestCookieIsSecure: but for this machine's own pages over http.
func TestCookieIsSecure(t *testing.T) {
	w := newWorld(t, func(h *http.Config, _ *engine.Config) { h.PublicURL = "https://faces.example" })
	x := w.verify(t)
	if !strings.HasPrefix(x.URL, "https://faces.example/capture/?t=") {
		t.Errorf("%s", x.URL)
	}
	if a := w.opening(x.token(), "Origin", "https://faces.example"); a.Status != 200 || !strings.HasSuffix(a.Header.Get("Set-Cookie"), "; Secure") {
		t.Errorf("%d %q", a.Status, a.Header.Get("Set-Cookie"))
	}
	here := newWorld(t, nil)
	if a := here.opening(here.verify(t).token()); a.Status != 200 || strings.Contains(a.Header.Get("Set-Cookie"), "Secure") {
		t.Errorf("%d %q", a.Status, a.Header.Get("Set-Cookie"))
	}
}

// TestRevoked: who revokes a key has ended what was made with it, and who erases a tenant all of its sessions.
func TestRevoked(t *testing.T) {
	w := newWorld(t, nil)
	key := w.KeyOf("default", engine.KeySpec{Role: engine.RoleMatcher})
	var x, y session
	body := `{"gallery":"people","flow":"identify"}`
	w.as(t, key, 201, "POST", "/v1/sessions", body, &x)
	w.as(t, key, 201, "POST", "/v1/sessions", body, &y)
	cookie := w.open(t, x)
	w.native(t, 204, "DELETE", "/v1/keys/"+strings.Split(key, "_")[1], "", nil)
	refusedWith(t, w.browser(cookie, "POST", "cancel", "{}"), 410, "session_expired")
	refusedWith(t, w.opening(y.token()), 410, "session_expired")
	if s := told(t, w.browser(cookie, "GET", "session", "")); s.Status != "expired" {
		t.Errorf("%+v", s)
	}
	for _, z := range []session{x, y} {
		if now := w.look(t, z); now.Status != "expired" {
			t.Errorf("%+v", now)
		}
	}

	z := w.verify(t)
	if _, err := w.Engine.EraseTenant(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, w.opening(z.token()), 401, "link_unknown")
	refusedWith(t, w.browser(cookie, "GET", "session", ""), 401, "link_unknown")
}

// TestRestart: links and browsers go on where they were.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	same := func(_ *http.Config, e *engine.Config) { e.Dir = dir }
	var pending, opened, over session
	var cookie, overCookie string
	t.Run("before", func(t *testing.T) {
		w := newWorld(t, same)
		pending, opened, over = w.verify(t), w.verify(t), w.verify(t)
		cookie, overCookie = w.open(t, opened), w.open(t, over)
		if a := w.browser(overCookie, "POST", "cancel", "{}"); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	})
	t.Run("after", func(t *testing.T) {
		w := newWorld(t, same)
		if s := told(t, w.browser(cookie, "GET", "session", "")); s.Status != "in_progress" || s.Name != "Example Bank" {
			t.Errorf("%+v", s)
		}
		if s := told(t, w.browser(overCookie, "GET", "session", "")); s.Status != "over" || s.Redirect == "" {
			t.Errorf("%+v", s)
		}
		refusedWith(t, w.opening(opened.token()), 409, "link_used")
		refusedWith(t, w.opening(over.token()), 409, "link_used")
		w.open(t, pending)
	})
}

// TestNothingSecretIsTold: tokens, cookies and their hashes are in no log and no answer but the one that hands them out.
func TestNothingSecretIsTold(t *testing.T) {
	w := newWorld(t, nil)
	x := w.verify(t)
	w.Do("GET", "/capture/?t="+x.token(), nil)
	cookie := w.open(t, x)
	w.browser(cookie, "GET", "session", "")
	w.browser(cookie, "POST", "cancel", "{}")
	w.opening(x.token())
	audit := w.native(t, 200, "GET", "/v1/audit/export", "", nil)
	list := w.native(t, 200, "GET", "/v1/sessions", "", nil)
	for _, secret := range []string{x.token(), strings.TrimPrefix(cookie, "mien_capture="), w.admin} {
		if strings.Contains(w.Log.String(), secret) || strings.Contains(string(audit.Body)+string(list.Body), secret) {
			t.Errorf("%s is told", secret)
		}
	}
	if strings.Contains(string(list.Body), "token") || strings.Contains(string(list.Body), "cookie") {
		t.Errorf("%s", list.Body)
	}
	for _, op := range []string{"create", "open", "cancel"} {
		if !strings.Contains(string(audit.Body), `"capture.session.`+op+`"`) {
			t.Errorf("the audit lacks %s", op)
		}
	}
}

// TestPersonDeleted: a session about somebody goes with them.
func TestPersonDeleted(t *testing.T) {
	w := newWorld(t, nil)
	photo := base64.StdEncoding.EncodeToString(extracttest.Photo(t, "a_1.jpg"))
	w.native(t, 201, "PUT", "/v1/galleries/people/people/ada", fmt.Sprintf(`{"images":[%q]}`, photo), nil)
	x := w.verify(t)
	w.native(t, 204, "DELETE", "/v1/galleries/people/people/ada", "", nil)
	refusedWith(t, w.opening(x.token()), 401, "link_unknown") // it is about nobody any more, and gone
	w.native(t, 404, "GET", "/v1/sessions/"+x.ID, "", nil)
}
