package verifik_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/capture/capturetest"
	"mien/http/dialect/dialecttest"
)

// linked is a session with its link.
type linked struct {
	session
	URL        string
	Expires    time.Time
	URLExpires time.Time `json:"url_expires"`
	Answer     *validation
}

const callback = "https://app.example.com/done"

func (w *world) linked(t testing.TB, p project, body string) (x linked) {
	t.Helper()
	w.native(t, 201, "POST", "/v1/verifik/projects/"+p.ID+"/sessions", w.admin, body, &x)
	return x
}

// seen is the session as a key of a role sees it now.
func (w *world) seen(t testing.TB, p project, x linked, key string) (now linked) {
	t.Helper()
	w.native(t, 200, "GET", "/v1/verifik/projects/"+p.ID+"/sessions/"+x.ID, key, "", &now)
	return now
}

// opening is what the page is answered that opens a session's link.
func (w *world) opening(x linked) (code string) {
	_, token, _ := strings.Cut(x.URL, "?t=")
	a := w.Do("POST", "/capture/api/open", []byte(`{}`), "Authorization", "Bearer "+token)
	var b struct{ Code string }
	_ = json.Unmarshal(a.Body, &b)
	return fmt.Sprint(a.Status, " ", b.Code)
}

// ended demands how a session has ended.
func (w *world) ended(t testing.TB, p project, x linked, status, validation string, attempts int) {
	t.Helper()
	if now := w.seen(t, p, x, w.admin); now.Status != status || now.Validation != validation || now.Attempts != attempts {
		t.Errorf("%+v, want %s %s %d", now, status, validation, attempts)
	}
}

// newStage is a world whose cameras are played, and whose gallery "people" has ada and an origin.
func newStage(t *testing.T) (*world, *capturetest.Stage) {
	stage := capturetest.NewStage()
	w := newWorld(t, func(h *http.Config, e *engine.Config) { stage.Configure(h, e) })
	w.enrol(t, w.admin, "people", "ada", "a_1.jpg", `{"name":"Ada"}`)
	w.native(t, 200, "PUT", "/v1/galleries/people/capture", w.admin, `{"origins":["https://app.example.com"]}`, nil)
	return w, stage
}

// TestPage: the capture page is a way into a session: it decides as the token's way does, with the project's thresholds and events, and what ends one way ends the other.
func TestPage(t *testing.T) {
	w, stage := newStage(t)
	r := newReceiver(t)
	p := w.project(t, fmt.Sprintf(`{"gallery":"people","webhook":{"url":%q}}`, r.URL))
	ada, stranger := capturetest.NewActor(t, "a_2.jpg"), capturetest.NewActor(t, "b_1.jpg")
	auditor := w.KeyOf("default", engine.KeySpec{Role: engine.RoleAuditor})
	events := 0
	told := func(want ...string) {
		t.Helper()
		events += len(want)
		if got := r.types(t, events); !slices.Equal(got[events-len(want):], want) {
			t.Errorf("events %q, want %q", got, want)
		}
	}

	x := w.linked(t, p, fmt.Sprintf(`{"identifier":"user@example.com","redirect_url":%q,"state":"s 1"}`, callback))
	if x.Token == "" || !strings.HasPrefix(x.URL, w.URL+"/capture/?t=") || x.URLExpires.Sub(x.Expires).Abs() > time.Second {
		t.Errorf("%+v", x)
	}
	if got := stage.Open(w.Server, x.URL).Try(ada); !got.Done || got.Redirect != callback+"?client_state=s+1" {
		t.Errorf("%+v", got)
	}
	now := w.seen(t, p, x, w.admin)
	if now.Status != "completed" || now.Validation != "validated" || now.Person != "ada" || now.URL != "" || now.Answer == nil {
		t.Fatalf("%+v", now)
	}
	answer, err := json.Marshal(now.Answer)
	if err != nil {
		t.Fatal(err)
	}
	_, _, token := accepted(t, dialecttest.Answer{Status: 200, Body: answer})
	if claims := verified(t, w.keySet(t, p), token, p, stage.Now()); claims["sub"] != "ada" || claims["livenessSession"] != x.ID {
		t.Errorf("%v", claims)
	}
	if s := w.seen(t, p, x, auditor); s.Status != "completed" || s.Answer != nil {
		t.Errorf("an auditor sees %+v", s)
	}
	refused(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "a_2.jpg"))), 409, "liveness_session_completed", "")
	told("biometric_validation_new new", "biometric_validation_validated validated")

	// Nobody: that is final, whatever attempts are left.
	x = w.linked(t, p, `{}`)
	if got := stage.Open(w.Server, x.URL).Try(stranger); !got.Done || got.Redirect != "" {
		t.Errorf("%+v", got)
	}
	w.ended(t, p, x, "cancelled", "failed", 1)
	refused(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "a_2.jpg"))), 409, "liveness_session_cancelled", "")
	told("biometric_validation_new new", "biometric_validation_person_not_found new", "biometric_validation_failed failed")

	// A picture of ada, as often as the page lets it try.
	x = w.linked(t, p, `{}`)
	for b := stage.Open(w.Server, x.URL); !b.Try(capturetest.NewActor(t, "a_2.jpg").Fake()).Done; {
		w.ended(t, p, x, "active", "new", 0)
	}
	w.ended(t, p, x, "cancelled", "failed", 1)
	told("biometric_validation_new new", "biometrics_liveness_score_not_acceptable failed", "biometric_validation_failed failed")

	// What the photo must reach is the project's to say, and counts attempts.
	strict := w.project(t, `{"gallery":"people","min_liveness":1,"attempts":2}`)
	x = w.linked(t, strict, `{}`)
	b := stage.Open(w.Server, x.URL)
	if got := b.Try(ada); got.Failed != "quality" {
		t.Errorf("%+v", got)
	}
	w.ended(t, strict, x, "active", "new", 1)
	if got := b.Try(ada); !got.Done {
		t.Errorf("%+v", got)
	}
	w.ended(t, strict, x, "cancelled", "failed", 2)
}

// TestPageEnds: cancellation, completion, expiry and deletion are of both ways.
func TestPageEnds(t *testing.T) {
	w, stage := newStage(t)
	p := w.project(t, `{"gallery":"people"}`)
	at := "/v1/verifik/projects/" + p.ID
	ada := capturetest.NewActor(t, "a_2.jpg")

	given := w.linked(t, p, `{}`)
	_, token, _ := strings.Cut(given.URL, "?t=")
	opened := w.Do("POST", "/capture/api/open", []byte(`{}`), "Authorization", "Bearer "+token)
	cookie, _, _ := strings.Cut(opened.Header.Get("Set-Cookie"), ";")
	if a := w.Do("POST", "/capture/api/cancel", []byte(`{}`), "Cookie", cookie); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	w.ended(t, p, given, "cancelled", "new", 0)

	cancelled := w.linked(t, p, `{}`)
	w.native(t, 200, "DELETE", at+"/sessions/"+cancelled.ID, w.admin, "", nil)
	completed := w.linked(t, p, `{}`)
	accepted(t, w.validate(t, completed.Token, imageBody(extracttest.Photo(t, "a_2.jpg"))))
	used := w.linked(t, p, `{}`)
	for range 3 {
		refused(t, w.validate(t, used.Token, imageBody(extracttest.Photo(t, "b_1.jpg"))), 404, "person_not_found", "")
	}
	for _, x := range []linked{cancelled, completed, used} {
		if got := w.opening(x); got != "409 session_over" {
			t.Errorf("the link of a session that is over opens: %s", got)
		}
	}

	long := w.linked(t, w.project(t, `{"gallery":"people","session_seconds":7200}`), `{}`)
	if got := long.URLExpires.Sub(long.Expires); got > -time.Hour+time.Second || got < -time.Hour-time.Second {
		t.Errorf("a link lives for an hour: %v", got)
	}
	old := w.linked(t, p, `{"seconds":60}`)
	stage.Pass(61 * time.Second)
	if got := w.opening(old); got != "410 session_expired" {
		t.Errorf("%s", got)
	}
	w.ended(t, p, old, "expired", "new", 0)

	for body, status := range map[string]int{`{"redirect_url":"https://elsewhere.example.com/"}`: 422, `{"redirect_url":"/x"}`: 422, `{"state":"\u0000"}`: 400, `{"state":7}`: 400} {
		w.native(t, status, "POST", at+"/sessions", w.admin, body, nil)
	}

	// A project that is gone, or is of other people, lets nobody in.
	w.Gallery("others", engine.GallerySpec{})
	moved := w.linked(t, p, `{}`)
	w.native(t, 200, "PATCH", at, w.admin, `{"gallery":"others"}`, nil)
	if got := stage.Open(w.Server, moved.URL).Try(ada); !got.Done {
		t.Errorf("%+v", got)
	}
	w.ended(t, p, moved, "cancelled", "new", 0)
	w.native(t, 200, "PATCH", at, w.admin, `{"gallery":"people"}`, nil)
	gone := w.linked(t, p, `{}`)
	w.native(t, 204, "DELETE", at, w.admin, "", nil)
	if got := stage.Open(w.Server, gone.URL).Try(ada); !got.Done {
		t.Errorf("%+v", got)
	}
	w.native(t, 404, "GET", at+"/sessions/"+gone.ID, w.admin, "", nil)

	lost := w.project(t, `{"gallery":"others"}`)
	w.native(t, 204, "DELETE", "/v1/galleries/others", w.admin, "", nil)
	if x := w.linked(t, lost, `{}`); x.URL != "" || x.Token == "" {
		t.Errorf("%+v", x)
	}
}

// TestPageAgain: a session that is completed is the page's only with the face that it identified.
func TestPageAgain(t *testing.T) {
	w, stage := newStage(t)
	w.enrol(t, w.admin, "people", "bob", "b_1.jpg", `{}`)
	p := w.project(t, `{"gallery":"people"}`)
	for photo, want := range map[string]string{"a_2.jpg": "success", "b_2.jpg": "fail", "c_1.jpg": "fail"} {
		x := w.linked(t, p, `{}`)
		b := stage.Open(w.Server, x.URL)
		id := p.ID + "." + x.ID
		// As a crash leaves it behind the one write and before the other.
		_, err := w.Engine.ChangeDocument(t.Context(), "default", "verifik.session", id, engine.DocumentOptions{}, func(d *engine.Document) (*engine.Document, error) {
			var all map[string]any
			if err := json.Unmarshal(d.Value, &all); err != nil {
				return nil, err
			}
			all["status"], all["gallery"], all["person"] = "completed", "people", "ada"
			value, err := json.Marshal(all)
			return &engine.Document{Value: value, Gallery: "people", Person: "ada", Expires: d.Expires}, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Try(capturetest.NewActor(t, photo)); !got.Done {
			t.Errorf("%s: %+v", photo, got)
		}
		var session struct{ Status, Person string }
		w.native(t, 200, "GET", "/v1/sessions/verifik."+id, w.admin, "", &session)
		if session.Status != want || (session.Person == "ada") != (want == "success") {
			t.Errorf("%s: %+v, want %s", photo, session, want)
		}
		w.ended(t, p, x, "completed", "validated", 0)
	}
}
