package facephi_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/engine"
	"mien/http"
	"mien/http/dialect/dialecttest"
	"mien/http/facephi"
)

// clock is an engine's, set by tests.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func want(t testing.TB, what string, a answer, code, facial, liveness int) {
	t.Helper()
	if a.Code != code || a.FacialResult != facial || a.LivenessResult != liveness {
		t.Errorf("%s: %+v, want %d %d %d", what, a, code, facial, liveness)
	}
}

// TestLifeOfTokens: what a token is good for, for whom, how often and how long.
func TestLifeOfTokens(t *testing.T) {
	var c clock
	s := dialecttest.New(t, func(_ *http.Config, ec *engine.Config) { ec.Now = c.now })
	h := &harness{s, s.Key(facephi.Name, "people"), "people"}
	mine, others := h.registered(t, "a_1.jpg", "001"), h.registered(t, "b_1.jpg", "002")
	nobodys := h.registered(t, "a_1.jpg", "")

	t.Run("once", func(t *testing.T) {
		for name, capture := range map[string]func(testing.TB, string, string) string{"bestImageToken": h.bestImage, "template": h.template} {
			used := capture(t, "a_2.jpg", "")
			want(t, name+" of another", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": others, name: used}), -100, 0, 0)
			want(t, name, h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, name: used}), 0, 3, 3) // -100 did not spend it
			a := h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, name: used})
			if want(t, name+" again", a, -101, 0, 0); a.LivenessLog != "None: it was used before" {
				t.Errorf("%q", a.LivenessLog)
			}
			mismatched := capture(t, "a_2.jpg", "")
			want(t, name+" that fails", h.ask(t, fields{"userId": "002", "registeredTemplateRaw": others, name: mismatched}), -102, 1, 3)
			want(t, name+" that failed", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, name: mismatched}), -101, 0, 0)
		}
	})
	t.Run("once of many", func(t *testing.T) {
		used := h.template(t, "a_2.jpg", "")
		var good atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if a := h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "template": used}); a.Code == 0 {
					good.Add(1)
				}
			})
		}
		if wg.Wait(); good.Load() != 1 {
			t.Errorf("a token that is good once authenticated %d times", good.Load())
		}
	})
	t.Run("first call", func(t *testing.T) {
		first := h.ask(t, fields{"userId": "007", "registeredTemplateRaw": nobodys, "bestImageToken": h.bestImage(t, "a_2.jpg", "")})
		want(t, "first", first, 0, 3, 3)
		next := h.ask(t, fields{"userId": "007", "registeredTemplateRaw": first.Registered, "bestImageToken": h.bestImage(t, "a_3.jpg", "007")})
		want(t, "next", next, 0, 3, 3)
		a := h.ask(t, fields{"userId": "008", "registeredTemplateRaw": next.Registered, "bestImageToken": h.bestImage(t, "a_2.jpg", "")})
		if want(t, "another user", a, -100, 0, 0); a.Log != "The registeredTemplateRaw parameter does not match the ID: [008]" {
			t.Errorf("%q", a.Log)
		}
		byImage := h.ask(t, fields{"userId": "009", "image": base64.StdEncoding.EncodeToString(photoOf(t, "b_1.jpg")), "bestImageToken": h.bestImage(t, "b_2.jpg", "")})
		want(t, "by image", byImage, 0, 3, 3)
		want(t, "after image", h.ask(t, fields{"userId": "009", "registeredTemplateRaw": byImage.Registered, "template": h.template(t, "b_2.jpg", "")}), 0, 3, 3)
		want(t, "its image again", h.ask(t, fields{"userId": "009", "registeredTemplateRaw": byImage.Registered, "template": h.template(t, "a_2.jpg", "")}), -102, 1, 3)
	})
	t.Run("spelling", func(t *testing.T) {
		lines := func(s string) string { return s[:76] + "\r\n" + s[76:152] + "\n" + s[152:] }
		url := func(s string) string {
			return strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s), "=")
		}
		data := func(s string) string { return "data:application/octet-stream;base64," + s }
		photo := base64.StdEncoding.EncodeToString(photoOf(t, "a_1.jpg"))
		for _, spell := range []func(string) string{lines, url, data} {
			want(t, "tokens", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": spell(mine), "bestImageToken": spell(h.bestImage(t, "a_2.jpg", "001"))}), 0, 3, 3)
			want(t, "image", h.ask(t, fields{"userId": "001", "image": spell(photo), "template": spell(h.template(t, "a_2.jpg", ""))}), 0, 3, 3)
		}
	})
	t.Run("changed", func(t *testing.T) {
		for _, at := range []int{2, 10, 30, 60, 100, len(mine) / 2, len(mine) - 4} {
			b := []byte(mine)
			if b[at]++; b[at] == '{' || b[at] == '[' || b[at] == ':' || b[at] == ',' || b[at] == '0'-1 {
				b[at] = 'A'
			}
			want(t, "changed", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": string(b), "template": "AAAA"}), -100, 0, 0)
		}
	})
	t.Run("another gallery and tenant", func(t *testing.T) {
		h.Gallery("other", engine.GallerySpec{})
		if _, _, err := h.Engine.CreateGallery(t.Context(), "elsewhere", "people", engine.GallerySpec{}); err != nil {
			t.Fatal(err)
		}
		spec := engine.KeySpec{Role: engine.RoleClient, Dialect: facephi.Name, Galleries: []string{"people"}}
		for name, in := range map[string]*harness{"gallery": {h.Server, h.Key(facephi.Name, "other"), "other"}, "tenant": {h.Server, h.KeyOf("elsewhere", spec), "people"}} {
			want(t, name, in.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "template": "AAAA"}), -100, 0, 0)
			its := in.registered(t, "a_1.jpg", "001")
			want(t, name, in.ask(t, fields{"userId": "001", "registeredTemplateRaw": its, "bestImageToken": h.bestImage(t, "a_2.jpg", "")}), -101, 0, 0)
			want(t, name, in.ask(t, fields{"userId": "001", "registeredTemplateRaw": its, "bestImageToken": in.bestImage(t, "a_2.jpg", "")}), 0, 3, 3)
		}
	})
	t.Run("rotation", func(t *testing.T) { h.rotate(t, mine) })
	t.Run("time", func(t *testing.T) {
		mine := h.registered(t, "a_1.jpg", "001")
		for name, capture := range map[string]string{"bestImageToken": h.bestImage(t, "a_2.jpg", ""), "template": h.template(t, "a_2.jpg", "")} {
			c.ahead.Store(int64(11 * time.Minute))
			if a := h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, name: capture}); a.Code != -101 || a.LivenessLog != "None: its time is over" {
				t.Errorf("%+v", a)
			}
			c.ahead.Store(0)
		}
		nobodys := h.registered(t, "a_1.jpg", "")
		c.ahead.Store(int64(25 * time.Hour))
		want(t, "nobody's", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": nobodys, "template": h.template(t, "a_2.jpg", "")}), -100, 0, 0)
		c.ahead.Store(int64(10 * 365 * 24 * time.Hour))
		want(t, "for ever", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "template": h.template(t, "a_2.jpg", "")}), 0, 3, 3)
	})
}

// rotate follows a registered template through versions of the key.
func (h *harness) rotate(t *testing.T, registered string) {
	t.Helper()
	admin := "Bearer " + h.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin})
	change := func(status int, body, answer string) {
		t.Helper()
		if a := h.Do("POST", "/v1/facephi/keys", []byte(body), "Authorization", admin); a.Status != status || status == 200 && strings.TrimSpace(string(a.Body)) != answer {
			t.Fatalf("%s: %d %s", body, a.Status, a.Body)
		}
	}
	ask := func(registered string) answer {
		t.Helper()
		return h.ask(t, fields{"userId": "001", "registeredTemplateRaw": registered, "template": h.template(t, "a_2.jpg", "")})
	}
	change(200, `{"new": true}`, `{"newest":2,"oldest":1}`)
	followed := ask(registered)
	want(t, "old key", followed, 0, 3, 3)
	change(200, `{"oldest": 2}`, `{"newest":2,"oldest":2}`)
	want(t, "key that was taken away", ask(registered), -100, 0, 0)
	want(t, "new key", ask(followed.Registered), 0, 3, 3)
	change(400, `{"oldest": 1}`, "")
	change(400, `{"oldest": 3}`, "")
	change(400, `{"older": 3}`, "")
	a := h.Do("GET", "/v1/facephi/keys", nil, "Authorization", admin)
	if a.Status != 200 || strings.TrimSpace(string(a.Body)) != `{"newest":2,"oldest":2}` {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := h.Do("POST", "/v1/facephi/keys", []byte(`{"new":true}`), "Authorization", "Bearer "+h.key); a.Status != 403 {
		t.Errorf("a client changes keys: %d %s", a.Status, a.Body)
	}
}

// TestRestart: a token that was used stays used, whatever the process does, and one that was kept goes on.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	var registered, used, key string
	again := func(t *testing.T) *harness {
		s := dialecttest.New(t, func(_ *http.Config, ec *engine.Config) { ec.Dir = dir })
		if key == "" {
			key = s.Key(facephi.Name, "people")
		}
		return &harness{s, key, "people"}
	}
	t.Run("before", func(t *testing.T) {
		h := again(t)
		registered, used = h.registered(t, "a_1.jpg", "001"), h.bestImage(t, "a_2.jpg", "")
		want(t, "first", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": registered, "bestImageToken": used}), 0, 3, 3)
	})
	t.Run("after", func(t *testing.T) {
		h := again(t)
		want(t, "used before", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": registered, "bestImageToken": used}), -101, 0, 0)
		want(t, "kept", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": registered, "bestImageToken": h.bestImage(t, "a_2.jpg", "")}), 0, 3, 3)
	})
}

// TestTold: what a key that is told less learns, what the audit log says, and what no log has.
func TestTold(t *testing.T) {
	s := dialecttest.New(t, nil)
	for scores, similar := range map[engine.Scores]func(float64) bool{
		engine.ScoresDecision: func(v float64) bool { return v == 1 },
		engine.ScoresRounded:  func(v float64) bool { return v > .9 && v*100 == float64(int(v*100+.5)) },
		engine.ScoresExact:    func(v float64) bool { return v > .9 && v < 1 },
	} {
		key := s.KeyOf("default", engine.KeySpec{Role: engine.RoleClient, Dialect: facephi.Name, Galleries: []string{"people"}, Scores: scores})
		h := &harness{s, key, "people"}
		a := h.ask(t, fields{"userId": "001", "registeredTemplateRaw": h.registered(t, "a_1.jpg", "001"), "template": h.template(t, "a_2.jpg", ""),
			"merchantReferenceId": "merchants-own", "tracking": fields{"extraData": "c2VjcmV0cw==", "operationId": "operations-own"}})
		if want(t, string(scores), a, 0, 3, 3); !similar(a.Similarity) || a.Reference != "merchants-own" {
			t.Errorf("%s: %+v", scores, a)
		}
	}
	h := &harness{s, s.Key(facephi.Name, "people"), "people"}
	h.ask(t, fields{"userId": "0042", "registeredTemplateRaw": h.registered(t, "a_1.jpg", "001"), "template": "AAAA"})
	h.ask(t, fields{"userId": "0043", "registeredTemplateRaw": h.registered(t, "a_1.jpg", ""), "bestImageToken": h.bestImage(t, "replayed:a_2.jpg", "")})
	page, err := s.Engine.Audit(t.Context(), "default", engine.AuditQuery{Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	records, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"op":"authenticateUser"`, `"person":"0042"`, `"code":"template_refused"`, `"person":"0043"`, `"code":"liveness_failed"`,
		`"op":"compare"`, `"gallery":"people","person":"001","outcome":"match"`} {
		if !strings.Contains(string(records), part) {
			t.Errorf("no %s in the audit log: %s", part, records)
		}
	}
	for _, secret := range []string{"merchants-own", "c2VjcmV0cw", "operations-own", "RlQB", "0042", h.key} {
		if strings.Contains(s.Log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
		if secret != "0042" && strings.Contains(string(records), secret) {
			t.Errorf("the audit log has %q", secret)
		}
	}
}

// TestMoved: tokens of templates that were made by models which the gallery has left.
func TestMoved(t *testing.T) {
	s := dialecttest.New(t, func(hc *http.Config, ec *engine.Config) {
		next := ec.Spaces[0]
		next.ID = "next-512"
		ec.Spaces = append(ec.Spaces, next)
		hc.Extractors = map[string]http.Extractor{next.ID: hc.Extractor} // the same models do
	})
	h := &harness{s, s.Key(facephi.Name, "people"), "people"}
	mine, probe, best := h.registered(t, "a_1.jpg", "001"), h.template(t, "a_2.jpg", ""), h.bestImage(t, "a_2.jpg", "")
	if _, err := s.Engine.StartMove(t.Context(), "default", "people", engine.MoveSpec{Space: "next-512"}); err != nil {
		t.Fatal(err)
	}
	want(t, "moving", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "template": h.template(t, "a_2.jpg", "")}), 0, 3, 3)
	image := base64.StdEncoding.EncodeToString(photoOf(t, "a_1.jpg"))
	want(t, "moving, by image", h.ask(t, fields{"userId": "001", "image": image, "template": h.template(t, "a_2.jpg", "")}), 0, 3, 3)
	if _, err := s.Engine.FinishMove(t.Context(), "default", "people", "next-512", false); err != nil {
		t.Fatal(err)
	}
	a := h.ask(t, fields{"userId": "001", "registeredTemplateRaw": mine, "bestImageToken": best})
	if want(t, "registered before", a, -102, 4, 0); !strings.Contains(a.FacialLog, "register anew") {
		t.Errorf("%q", a.FacialLog)
	}
	a = h.ask(t, fields{"userId": "001", "image": image, "template": probe})
	if want(t, "captured before", a, -101, 0, 0); !strings.Contains(a.LivenessLog, "capture anew") {
		t.Errorf("%q", a.LivenessLog)
	}
	anew := h.ask(t, fields{"userId": "001", "image": image, "bestImageToken": best})
	want(t, "anew, with the best image from before", anew, 0, 3, 3)
	want(t, "after", h.ask(t, fields{"userId": "001", "registeredTemplateRaw": anew.Registered, "template": h.template(t, "a_2.jpg", "")}), 0, 3, 3)
}
