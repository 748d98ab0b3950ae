package youverse_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"golang.org/x/image/bmp"

	"mien/engine"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/youverse"
)

// TestTags: each of the document's tags is what a real photo is refused with.
func TestTags(t *testing.T) {
	c := newClient(t, nil)
	good := extracttest.Photo(t, "a_1.jpg")
	for tag, photos := range map[string][][]byte{
		"face_not_found":          {extracttest.Photo(t, "noface.jpg")},
		"multiple_faces":          {extracttest.Photo(t, "group.jpg")},
		"brightness_failed":       {extracttest.Dark(t, good)},
		"light_uniformity_failed": {extracttest.Shadowed(t, good, 160)},
		"quality_failed":          {extracttest.Photo(t, "small.jpg"), extracttest.Blurry(t, good)},
	} {
		for _, photo := range photos {
			c.verify(400, tag, "ann", photo, true)
		}
	}
	c.verify(200, "USER_NOT_FOUND", "ann", good, false)
	c.verify(200, "NEW_USER", "ann", good, true)
	c.verify(400, "brightness_failed", "ann", extracttest.Dark(t, good), true)
}

// TestOwnGate: a gallery with a gate of its own has that in the place of the dialect's checks.
func TestOwnGate(t *testing.T) {
	c := newClient(t, nil)
	good := extracttest.Photo(t, "a_1.jpg")
	c.Gallery("loose", engine.GallerySpec{Gate: engine.Gates{Enrol: engine.Gate{"luminance_mean": 1}, Probe: engine.Gate{"eyes_visible": 99}}})
	c.key = c.Key(youverse.Name, "loose")
	c.verify(200, "NEW_USER", "ann", extracttest.Blurry(t, good), true)
	c.verify(400, "quality_failed", "ann", extracttest.Photo(t, "sunglasses.jpg"), true)
}

// TestConflicts: what the store holds is in the way.
func TestConflicts(t *testing.T) {
	c := newClient(t, func(_ *http.Config, e *engine.Config) { e.Attempts = engine.Attempts{Failures: 1, Window: time.Hour} })
	a, b := extracttest.Photo(t, "a_1.jpg"), extracttest.Photo(t, "b_1.jpg")
	c.Gallery("unique", engine.GallerySpec{Duplicates: engine.DuplicatesReject})
	c.key = c.Key(youverse.Name, "unique")
	c.verify(200, "NEW_USER", "ann", a, true)
	c.verify(409, "", "bob", a, true)
	_, space := c.template("ann")
	probe := fmt.Sprintf(`{"user_id":"ann","template":%q,"template_version":%q}`, encoded(axis(512)), space)

	c.verify(200, "FAILED", "ann", b, true) // and with that the failures are used up
	for _, refused := range []func() string{
		func() string { return c.verify(429, "", "ann", a, true).Header.Get("Retry-After") },
		func() string { return c.want(429, "", "POST", pathTemplate, probe).Header.Get("Retry-After") },
	} {
		if retry := refused(); retry != "3600" {
			t.Errorf("Retry-After %q", retry)
		}
	}
	if _, err := c.Engine.PatchPerson(t.Context(), "default", "unique", "ann", engine.PersonPatch{Status: engine.StatusSuspended}); err != nil {
		t.Fatal(err)
	}
	c.verify(409, "The user is suspended.", "ann", a, true)
	c.want(409, "The user is suspended.", "POST", pathTemplate, probe)
	if err := c.Engine.DeleteGallery(t.Context(), "default", "unique"); err != nil {
		t.Fatal(err)
	}
	for _, op := range operations[:4] {
		c.want(403, "Forbidden", op.method, op.path, op.body)
	}
}

// TestKeys: every operation with every key that is not for it.
func TestKeys(t *testing.T) {
	c := newClient(t, nil)
	_, expired, err := c.Engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: youverse.Name,
		Galleries: []string{"people"}, Expires: time.Now().Add(1500 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	revoked, token, err := c.Engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleClient, Dialect: youverse.Name, Galleries: []string{"people"}})
	if err == nil {
		err = c.Engine.RevokeKey(t.Context(), "default", revoked.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	good := c.key
	for key, want := range map[string]struct {
		status  int
		message string
	}{
		"":                         {403, "Missing Authentication Token"},
		"?":                        {401, "Check your x-api-key: it is unknown."},
		good[:len(good)-1] + "!":   {401, "Check your x-api-key: it is unknown."},
		token:                      {401, "Check your x-api-key: it was revoked."},
		c.Key("facephi", "people"): {403, "Forbidden"},
		c.role(engine.RoleAdmin):   {403, "Forbidden"},
		c.role(engine.RoleMatcher): {403, "Forbidden"},
	} {
		c.key = key
		for _, op := range operations {
			c.want(want.status, want.message, op.method, op.path, op.body)
		}
	}
	c.key = expired
	for a := c.call("POST", pathData, `{"user_id":"nobody"}`); a.Status != 401; a = c.call("POST", pathData, `{"user_id":"nobody"}`) {
		time.Sleep(50 * time.Millisecond)
	}
	c.want(401, "Check your x-api-key: it has expired.", "POST", pathData, `{"user_id":"nobody"}`)

	c.key = ""
	c.want(403, "Missing Authentication Token", "POST", pathData, `{"user_id":"u"}`, "Authorization", "Bearer "+good)
	c.want(409, "", "POST", pathData, `{"user_id":"u"}`, "X-API-KEY", good)
	if a := c.Do("GET", "/v1/galleries", nil, "Authorization", "Bearer "+good); a.Status != 403 {
		t.Errorf("a client's key asks the native API: %d", a.Status)
	}
}

func (c client) role(r engine.Role) string {
	c.t.Helper()
	return c.KeyOf("default", engine.KeySpec{Role: r})
}

// TestScoresKey: who is told no exact scores is given no template to find them out with.
func TestScoresKey(t *testing.T) {
	c := newClient(t, nil)
	c.verify(200, "NEW_USER", "ann", extracttest.Photo(t, "a_1.jpg"), true)
	for _, scores := range []engine.Scores{engine.ScoresDecision, engine.ScoresRounded} {
		c.key = c.KeyOf("default", engine.KeySpec{Role: engine.RoleClient, Dialect: youverse.Name, Galleries: []string{"people"}, Scores: scores})
		c.want(403, "Forbidden", "POST", pathData, `{"user_id":"ann"}`)
		c.verify(200, "SUCCESS", "ann", extracttest.Photo(t, "a_2.jpg"), false)
	}
}

// TestRates: a key that asks too often.
func TestRates(t *testing.T) {
	c := newClient(t, func(h *http.Config, _ *engine.Config) { h.AuthFailures = 3 })
	for _, op := range operations {
		c.key = c.KeyOf("default", engine.KeySpec{Role: engine.RoleClient, Dialect: youverse.Name, Galleries: []string{"people"}, Rate: 0.01, Burst: 1})
		c.call(op.method, op.path, op.body)
		if a := c.want(429, "", op.method, op.path, op.body); a.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	c.key = "mien_0011223344556677_wrong"
	for range 3 {
		c.want(401, "", "POST", pathData, `{"user_id":"u"}`)
	}
	c.want(429, "", "POST", pathData, `{"user_id":"u"}`)
}

// faults are what an extractor stands for that fails, or waits.
type faults struct {
	http.Extractor
	fail atomic.Pointer[error]
	wait atomic.Pointer[chan struct{}]
}

func (f *faults) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	if err := f.fail.Load(); err != nil {
		return nil, *err
	}
	if wait := f.wait.Load(); wait != nil {
		<-*wait
	}
	return f.Extractor.Extract(ctx, data, o)
}

// TestBusy: a server with one place, which is taken; an extractor that is busy, closed, or fails.
func TestBusy(t *testing.T) {
	var f faults
	c := newClient(t, func(h *http.Config, _ *engine.Config) {
		f.Extractor, h.Extractor, h.MaxRequests = h.Extractor, &f, 1
	})
	photo := extracttest.Photo(t, "a_1.jpg")
	for err, status := range map[error]int{
		extract.ErrBusy: 503, extract.ErrClosed: 503, context.DeadlineExceeded: 503,
		errors.New("the secret path /etc/default is not there"): 500, engine.ErrCorrupt: 500, engine.ErrStorageFull: 500,
	} {
		f.fail.Store(&err)
		if a := c.verify(status, "", "ann", photo, true); (a.Header.Get("Retry-After") != "") != (status == 503) {
			t.Errorf("%v: Retry-After %q", err, a.Header.Get("Retry-After"))
		}
	}
	f.fail.Store(nil)
	release := make(chan struct{})
	f.wait.Store(&release)
	var wg sync.WaitGroup
	wg.Go(func() { c.verify(200, "NEW_USER", "ann", photo, true) })
	for a := c.call("POST", pathData, `{"user_id":"u"}`); a.Status != 503; a = c.call("POST", pathData, `{"user_id":"u"}`) {
		time.Sleep(time.Millisecond)
	}
	for _, op := range operations {
		if a := c.want(503, "", op.method, op.path, op.body); a.Header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	}
	close(release)
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

// TestBrokenDisk: what can't be written, or recorded, is not said to have been done.
func TestBrokenDisk(t *testing.T) {
	var disk brokenDisk
	c := newClient(t, func(_ *http.Config, e *engine.Config) {
		e.Dir, e.FS, e.Audit = "data", errorfs.Wrap(vfs.NewCrashableMem(), &disk), "sync"
	})
	c.verify(200, "NEW_USER", "ann", extracttest.Photo(t, "a_1.jpg"), true)
	template, space := c.template("ann")
	disk.Store(true)
	for _, op := range []struct{ method, path, body string }{
		{"POST", pathVerify, verifyBody("bob", extracttest.Photo(t, "b_1.jpg"), true)},
		{"POST", pathVerify, verifyBody("ann", extracttest.Photo(t, "a_2.jpg"), true)},
		{"POST", pathTemplate, fmt.Sprintf(`{"user_id":"ann","template":%q,"template_version":%q}`, template, space)},
		{"POST", pathData, `{"user_id":"ann"}`},
		{"DELETE", pathVerify, `{"user_id":"ann"}`},
		{"POST", pathMPC, `{"user_id":"ann"}`},
		{"DELETE", pathMPC, `{"user_id":"ann"}`},
	} {
		c.want(500, "The request could not be processed.", op.method, op.path, op.body)
	}
	if log := c.Log.String(); strings.Contains(log, template) || strings.Contains(log, c.key) {
		t.Error("the log has a template or a key in it")
	}
}

// TestBodies: each way in which a client may write what it sends.
func TestBodies(t *testing.T) {
	c := newClient(t, func(h *http.Config, _ *engine.Config) { h.MaxBodyBytes = 1 << 20 })
	photo := extracttest.Photo(t, "a_1.jpg")
	c.verify(200, "NEW_USER", "ann", photo, true)
	std := base64.StdEncoding.EncodeToString(photo)
	img, err := jpeg.Decode(bytes.NewReader(photo))
	if err != nil {
		t.Fatal(err)
	}
	var asPNG, asBMP bytes.Buffer
	if err := errors.Join(png.Encode(&asPNG, img), bmp.Encode(&asBMP, img)); err != nil {
		t.Fatal(err)
	}
	var broken strings.Builder
	for line := range strings.SplitSeq(std, "A") {
		broken.WriteString(`\r\n` + line + "A")
	}
	for name, text := range map[string]string{
		"data url": "data:image/jpeg;base64," + std, "line breaks": strings.TrimSuffix(broken.String(), "A"),
		"url-safe": base64.RawURLEncoding.EncodeToString(photo), "png": base64.StdEncoding.EncodeToString(asPNG.Bytes()),
		"bmp": "data:image/bmp;base64," + base64.StdEncoding.EncodeToString(asBMP.Bytes()),
	} {
		t.Run(name, func(t *testing.T) {
			c := client{c.Server, t, c.key}
			c.want(200, "SUCCESS", "POST", pathVerify, `{"user_id":"ann","user_photo":"`+text+`","create_if_new":false,"more":{"x":[1]}}`)
		})
	}
	body := verifyBody("ann", photo, false)
	for contentType, status := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON": 200, "": 200,
		"text/plain": 400, "application/x-www-form-urlencoded": 400, "multipart/form-data; boundary=x": 400, "application/json;": 200, "/": 400,
	} {
		if a := c.call("POST", pathVerify, body, "Content-Type", contentType); a.Status != status {
			t.Errorf("%q: %d %s", contentType, a.Status, a.Body)
		}
	}
	for _, text := range []string{"", "!", "data:image/jpeg," + std, std[:len(std)/2], std + "="[:0] + "*"} {
		c.want(400, "", "POST", pathVerify, `{"user_id":"ann","user_photo":"`+text+`","create_if_new":false}`)
	}
	c.want(400, "", "POST", pathVerify, `{"user_id":"ann","user_photo":"`+strings.Repeat("A", 1<<20)+`","create_if_new":false}`)
	c.want(400, "", "POST", pathVerify, body, "If-Match", `"1"`)
	c.want(400, "", "POST", pathVerify, body, "Content-Encoding", "gzip")
	c.want(400, "", "POST", pathMPC, body, "Content-Encoding", "gzip")
	c.want(400, "", "DELETE", pathMPC, body, "Content-Encoding", "gzip")
}

// TestPaths: what is below the dialect's paths is answered in its words, and nothing else is.
func TestPaths(t *testing.T) {
	c := newClient(t, nil)
	for _, path := range []string{pathVerify + "/", pathVerify + "/x", pathVerify + "/a/b/c/d/e/f/g/h/i", pathData + "/", pathVerify + "//user_data"} {
		c.want(404, "There is nothing at this path.", "POST", path, `{}`)
	}
	for _, path := range []string{pathVerify, pathTemplate, pathData, pathMPC} {
		for _, method := range []string{"GET", "PUT", "PATCH", "TRACE"} {
			if a := c.want(405, "", method, path, ""); !strings.Contains(a.Header.Get("Allow"), "POST") {
				t.Errorf("%s %s: Allow %q", method, path, a.Header.Get("Allow"))
			}
		}
		if a := c.Do("OPTIONS", path, nil, "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "POST"); a.Status != 204 ||
			a.Header.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(a.Header.Get("Allow"), "POST") {
			t.Errorf("OPTIONS %s: %d %v", path, a.Status, a.Header)
		}
		if a := c.Do("HEAD", path, nil); a.Status != 405 || len(a.Body) != 0 {
			t.Errorf("HEAD %s: %d %q", path, a.Status, a.Body)
		}
	}
	for _, path := range []string{"/user_verificatio", "/user_verification2", "/"} {
		if a := c.Do("POST", path, []byte(`{}`)); a.Status != 404 || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
}
