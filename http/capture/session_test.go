package capture_test

import (
	"strings"
	"testing"
	"time"
)

// TestLink: a link opens in one browser, once; that browser goes on with its cookie, and opens the link again.
func TestLink(t *testing.T) {
	w := newWorld(t, nil)
	x := w.verify(t)
	if x.Status != "pending" || len(x.token()) != 43 {
		t.Fatalf("%+v", x)
	}
	a := w.opening(x.token())
	s := told(t, a)
	if s.Status != "in_progress" || s.Flow != "verify" || s.Name != "Example Bank" || s.TriesLeft != 3 || s.SecondsLeft < 1 || s.SecondsLeft > 600 || s.Redirect != "" {
		t.Errorf("%+v", s)
	}
	cookie, attributes, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/capture", "Max-Age="} {
		if !strings.Contains(attributes, want) {
			t.Errorf("the cookie lacks %s: %s", want, attributes)
		}
	}
	refusedWith(t, w.opening(x.token()), 409, "link_used")
	if again := told(t, w.opening(x.token(), "Cookie", cookie)); again.Status != "in_progress" {
		t.Errorf("%+v", again)
	}
	if reloaded := told(t, w.browser(cookie, "GET", "session", "")); reloaded.Status != "in_progress" {
		t.Errorf("%+v", reloaded)
	}
	if now := w.look(t, x); now.Status != "in_progress" || now.URL != "" {
		t.Errorf("%+v", now)
	}
}

// TestEnds: what a session that is over, or whose time is, says to its browser, its owner and to who has the link.
func TestEnds(t *testing.T) {
	w := newWorld(t, nil)
	x := w.verify(t)
	cookie := w.open(t, x)
	if a := w.browser(cookie, "POST", "cancel", `{"reason":"camera_unavailable"}`); a.Status != 200 || !strings.Contains(string(a.Body), `"redirect":"https://app.example.com/callback?client_state=s+1"`) {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if now := w.look(t, x); now.Status != "fail" || now.Reason != "camera_unavailable" {
		t.Errorf("%+v", now)
	}
	if p := refusedWith(t, w.browser(cookie, "POST", "cancel", `{}`), 409, "session_over"); p.Where != callback+"?client_state=s+1" {
		t.Errorf("%+v", p)
	}
	if s := told(t, w.browser(cookie, "GET", "session", "")); s.Status != "over" || s.TriesLeft != 0 || s.Redirect == "" {
		t.Errorf("%+v", s)
	}
	refusedWith(t, w.opening(x.token()), 409, "link_used")

	y, z := w.verify(t), w.verify(t)
	cookie = w.open(t, y)
	w.clock.advance(10*time.Minute + time.Second)
	refusedWith(t, w.opening(z.token()), 410, "session_expired")
	refusedWith(t, w.browser(cookie, "POST", "cancel", `{}`), 410, "session_expired")
	if s := told(t, w.browser(cookie, "GET", "session", "")); s.Status != "expired" || s.Redirect == "" {
		t.Errorf("%+v", s)
	}
	for _, e := range []session{y, z} {
		if now := w.look(t, e); now.Status != "expired" {
			t.Errorf("%+v", now)
		}
	}
}
