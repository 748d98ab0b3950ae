package facephi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"strings"
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
	"mien/http/dialect/dialecttest"
	"mien/http/facephi"
)

// TestRefusedKeys: keys that are none, no good any more, of others, or too many requests.
func TestRefusedKeys(t *testing.T) {
	h := newHarness(t)
	client := engine.KeySpec{Role: engine.RoleClient, Dialect: facephi.Name, Galleries: []string{"people"}}
	other, slow := client, client
	other.Dialect, slow.Rate = "youverse", 0.001
	revoked, revokedKey := h.revoked(t, client), ""
	otherKey, slowKey := h.KeyOf("default", other), h.KeyOf("default", slow)
	if a, _ := h.send(t, slowKey, []byte("{}")); a.Code != -400 {
		t.Errorf("%+v", a)
	}
	for name, x := range map[string]struct {
		key  string
		code int
	}{
		"none": {"", -401}, "unknown": {"mien_nobodys", -401}, "revoked": {revoked, -401}, "cut": {h.key[:len(h.key)-1], -401}, "blank": {revokedKey, -401},
		"of another dialect": {otherKey, -403}, "native": {h.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin}), -403}, "too fast": {slowKey, -429},
	} {
		a, raw := h.send(t, x.key, []byte("{}"))
		if a.Code != x.code || raw.Status != -x.code || x.code == -429 && raw.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %+v", name, raw.Status, a)
		}
	}
	if a, raw := h.send(t, "", []byte("{}"), "Authorization", "Bearer "+h.key); a.Code != -401 {
		t.Errorf("%d %+v", raw.Status, a)
	}
	body := []byte(`{"image":"` + base64.StdEncoding.EncodeToString(photoOf(t, "a_1.jpg")) + `","tokens":["bestImageToken"]}`)
	for name, x := range map[string]struct {
		path, key string
		status    int
	}{
		"another dialect's": {"/v1/galleries/people/facephi/tokens", otherKey, 403},
		"another gallery":   {"/v1/galleries/staff/facephi/tokens", h.key, 403},
		"native":            {"/v1/galleries/people/identify", h.key, 403},
		"auditor":           {"/v1/galleries/people/facephi/tokens", h.KeyOf("default", engine.KeySpec{Role: engine.RoleAuditor}), 403},
		"matcher":           {"/v1/galleries/people/facephi/tokens", h.KeyOf("default", engine.KeySpec{Role: engine.RoleMatcher}), 200},
		"no gallery":        {"/v1/galleries/none/facephi/tokens", h.KeyOf("default", engine.KeySpec{Role: engine.RoleMatcher}), 404},
		"client":            {"/v1/galleries/people/facephi/tokens", h.key, 200},
	} {
		if a := h.Do("POST", x.path, body, "Authorization", "Bearer "+x.key); a.Status != x.status {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

func (h *harness) revoked(t testing.TB, spec engine.KeySpec) string {
	t.Helper()
	key, token, err := h.Engine.CreateKey(t.Context(), "default", spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Engine.RevokeKey(t.Context(), "default", key.ID); err != nil {
		t.Fatal(err)
	}
	return token
}

// TestBodies: headers, content types and sizes.
func TestBodies(t *testing.T) {
	s := dialecttest.New(t, func(hc *http.Config, _ *engine.Config) {
		hc.MaxBodyBytes, hc.RequestTimeout = 256<<10, 500*time.Millisecond
	})
	h := &harness{s, s.Key(facephi.Name, "people"), "people"}
	for header, code := range map[string]int{
		"Content-Type: application/json": -400, "Content-Type: application/json; charset=utf-8": -400, "Content-Type: APPLICATION/JSON": -400,
		"Content-Type: text/json": -415, "Content-Type: multipart/form-data; boundary=x": -415, "Content-Type: application/x-www-form-urlencoded": -415,
		"Content-Type: ;": -415, "Content-Encoding: gzip": -415, "Content-Encoding: identity": -400, "If-Match: 1": -400,
	} {
		name, value, _ := strings.Cut(header, ": ")
		if a, raw := h.send(t, h.key, []byte("{}"), name, value); a.Code != code || raw.Status != -code {
			t.Errorf("%s: %d %+v", header, raw.Status, a)
		}
	}
	if a, _ := h.send(t, h.key, bytes.Repeat([]byte{' '}, 256<<10+1)); a.Code != -413 {
		t.Errorf("%+v", a)
	}
	if a, _ := h.send(t, h.key, bytes.Repeat([]byte{' '}, 256<<10)); a.Code != -400 {
		t.Errorf("%+v", a)
	}
	if a := h.late(t); a.Code != -408 {
		t.Errorf("%+v", a)
	}
}

// late is the answer to a request whose body does not come.
func (h *harness) late(t testing.TB) answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: h\r\nx-api-key: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", path, h.key)
	resp, err := nethttp.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return h.saw(t, opAuthenticate, dialecttest.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body})
}

// breakable is the real extractor, until it fails or is blind to liveness.
type breakable struct {
	*extract.Extractor
	fails atomic.Pointer[error]
	blind atomic.Bool
}

func (b *breakable) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	if err := b.fails.Load(); err != nil {
		return nil, *err
	}
	return b.Extractor.Extract(ctx, data, o)
}

func (b *breakable) Measures() []string {
	if b.blind.Load() {
		return nil
	}
	return b.Extractor.Measures()
}

// brokenDisk refuses all writes once it is told to.
type brokenDisk struct{ broken atomic.Bool }

func (b *brokenDisk) String() string { return "broken disk" }

func (b *brokenDisk) MaybeError(op errorfs.Op) error {
	if b.broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		return syscall.EIO
	}
	return nil
}

// TestFailures: models that can't do it, a gallery that is gone, a disk that fails.
func TestFailures(t *testing.T) {
	x, disk := &breakable{Extractor: extracttest.Default(t)}, &brokenDisk{}
	s := dialecttest.New(t, func(hc *http.Config, ec *engine.Config) {
		hc.Extractor = x
		ec.FS = errorfs.Wrap(vfs.NewMem(), disk)
	})
	h := &harness{s, s.Key(facephi.Name, "people"), "people"}
	mine := h.registered(t, "a_1.jpg", "001")
	ask := func(registered string) answer {
		return h.ask(t, fields{"userId": "001", "registeredTemplateRaw": registered, "bestImageToken": h.bestImage(t, "a_2.jpg", "")})
	}
	want(t, "well", ask(mine), 0, 3, 3)

	x.blind.Store(true)
	a := ask(mine)
	if want(t, "blind", a, -101, 3, 0); a.LivenessLog != "None: the models of the gallery can't judge it" {
		t.Errorf("%q", a.LivenessLog)
	}
	b := h.tokens(t, photoOf(t, "b_2.jpg"), "", "template").Template
	want(t, "blind, another", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "template": b}), -101, 1, 0)
	x.blind.Store(false)

	for _, f := range []struct {
		err  error
		code int
	}{{extract.ErrBusy, -503}, {extract.ErrClosed, -503}, {errors.New("/secret/model.onnx: out of memory"), -500}} {
		x.fails.Store(&f.err)
		if a := ask(mine); a.Code != f.code || strings.Contains(a.Log, "secret") || a.Reference != "authenticate-001" {
			t.Errorf("%v: %+v", f.err, a)
		}
		x.fails.Store(nil)
	}

	if err := s.Engine.DeleteGallery(t.Context(), "default", "people"); err != nil {
		t.Fatal(err)
	}
	if a := h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "template": "AAAA"}); a.Code != -404 {
		t.Errorf("%+v", a)
	}
	s.Gallery("people", engine.GallerySpec{})
	best := h.bestImage(t, "a_2.jpg", "")
	want(t, "a gallery of the same name", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "template": h.template(t, "a_2.jpg", "")}), 0, 3, 3)
	disk.broken.Store(true)
	if a := h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "bestImageToken": best}); a.Code != -503 {
		t.Errorf("a use that can't be recorded: %+v", a)
	}
}
