package capture_test

import (
	"strings"
	"testing"

	"mien/http/capture"
)

// TestPage: every file of the page is served as what it is, under headers that let it load nothing from elsewhere, and the page itself is the same for
// every link.
func TestPage(t *testing.T) {
	w := newWorld(t, nil)
	page := w.Do("GET", "/capture/", nil)
	for path, kind := range map[string]string{"/capture/": "text/html; charset=utf-8", "/capture/app.js": "text/javascript; charset=utf-8",
		"/capture/app.css": "text/css; charset=utf-8", "/capture/texts.json": "application/json"} {
		a := w.Do("GET", path, nil)
		if a.Status != 200 || a.Header.Get("Content-Type") != kind || len(a.Body) == 0 {
			t.Errorf("%s: %d %s", path, a.Status, a.Header.Get("Content-Type"))
		}
		checkHeaders(t, path, a.Header.Get)
		etag := a.Header.Get("ETag")
		if path == "/capture/" {
			if etag != "" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("the page may be kept: %v", a.Header)
			}
			continue
		}
		if again := w.Do("GET", path, nil, "If-None-Match", etag); etag == "" || again.Status != 304 || len(again.Body) != 0 || again.Header.Get("ETag") != etag {
			t.Errorf("%s again: %d, %q", path, again.Status, etag)
		}
	}
	x := w.verify(t)
	if a := w.Do("GET", "/capture/?t="+x.token(), nil); string(a.Body) != string(page.Body) || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("the page of a link is another")
	}
	if now := w.look(t, x); now.Status != "pending" {
		t.Errorf("to look at the page opens the link: %+v", now)
	}
	for _, path := range []string{"/capture/page.html", "/capture/app.go", "/capture/../capture/", "/capture/api", "/capture/api/nothing"} {
		a := w.Do("GET", path, nil)
		if a.Status != 404 && a.Status != 405 {
			t.Errorf("%s: %d", path, a.Status)
		}
		checkHeaders(t, path, a.Header.Get)
	}
	checkHeaders(t, "a refusal", w.opening("nothing").Header.Get)
}

func checkHeaders(t *testing.T, what string, header func(string) string) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; " +
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := header(name); got != want {
			t.Errorf("%s: %s is %q", what, name, got)
		}
	}
	if p := header("Permissions-Policy"); !strings.Contains(p, "camera=(self)") || !strings.Contains(p, "microphone=()") {
		t.Errorf("%s: Permissions-Policy is %q", what, p)
	}
}

// TestRoutesWithoutAnEngine: the routes are there without one, for those who compare them with documents.
func TestRoutesWithoutAnEngine(t *testing.T) {
	d := capture.New(capture.Config{}).Dialect()
	if d.Name != "capture" || len(d.Routes) < 10 {
		t.Errorf("%+v", d)
	}
}
