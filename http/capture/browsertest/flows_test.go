package browsertest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// turnsOnly asks for what the people before the camera can do: in which order, the server draws. Tries are as many as there may be, for machines on which a
// try can take too long.
var turnsOnly = map[string]any{"challenges": []string{"turn_left", "turn_right"}, "tries": 5}

// refused begins the console's line of a request that was refused, where the test means it to be.
const refused = "Failed to load resource: the server responded with a status of "

// Somebody enrols with Auth Face, from the relying party and back. The link is good once, and going back brings nothing up again.
func TestEnroll(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newCamera(t, person(t, "ana")))
	s := newSite(t, turnsOnly)
	const state = "550e8400-e29b-41d4-a716-446655440000"
	link := s.begins("enroll", state, "ana")
	if r := s.result(state); r.Status != "pending" || *r.ExternalUserID != "ana" {
		t.Errorf("%+v, want pending", r)
	}
	preview(t, link)
	screen := options{Viewport: phone, Mobile: true, Touch: true, Locale: "en-GB"}
	v := b.arrives(s, s.party+"/?to="+link, "phone-enroll", screen)
	v.page("click", "a")
	v.begins()
	back := s.party + "/back?client_state=" + state
	if end := v.follows(nil); end.Where != back {
		t.Fatalf("the browser is at %s, want %s", end.Where, back)
	}
	v.clean()
	r := s.result2(state)
	if r.Status != "success" || r.Result != "success" || r.Flow != "enroll" || r.Reason != nil || r.ExternalUserID == nil || *r.ExternalUserID != "ana" ||
		!strings.HasPrefix(r.EventID, "evt_") || r.CompletedAt == "" {
		t.Errorf("%+v", r)
	}

	v.page("goBack")
	if end := v.stage(); !strings.HasPrefix(end.Where, s.party+"/?to=") {
		t.Errorf("back leads to %s", end.Where)
	}
	v.page("click", "a") // this browser has the cookie, and the session is over
	if end := v.follows(nil); end.Where != back {
		t.Errorf("the same link leads to %s", end.Where)
	}
	v.clean()

	v = b.arrives(s, link, "phone-used", screen)
	v.notes("link_used")
	v.clean(refused + "409")
	if r := s.result2(state); r.Status != "success" {
		t.Errorf("%+v after the link was opened again", r)
	}
}

// preview looks at a link as a messenger does that shows its title. That does not use it up.
func preview(t *testing.T, link string) {
	t.Helper()
	resp, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for name, part := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "Permissions-Policy": "camera=(self)", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
	} {
		if got := resp.Header.Get(name); resp.StatusCode != 200 || !strings.Contains(got, part) {
			t.Errorf("%d, %s %q, want %s", resp.StatusCode, name, got, part)
		}
	}
	if len(resp.Cookies()) > 0 {
		t.Errorf("a look at the page sets %v", resp.Cookies())
	}
}

// The right person is verified, by keys alone and with all movement of the page off, and after a reload in the middle; another is not.
func TestVerify(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newCamera(t, person(t, "ana")))
	s := newSite(t, turnsOnly)
	s.enrol("ana", "b_1.jpg")
	right := s.session(map[string]any{"flow": "verify", "person": "ana"})
	v := b.arrives(s, right.URL, "desktop-verify", options{Viewport: desktop, Locale: "en-US", ReducedMotion: "reduce"})
	v.stages("the intro", func(x stage) bool { return x.State == "intro" })
	v.picture("intro")
	v.listens()
	v.tabsTo("start")
	v.page("keyboard.press", "Enter")
	v.follows(func(x stage) bool { return x.State == "step" && strings.HasPrefix(x.Cue, "turn_") })
	v.heard()
	var moving int
	v.eval(`document.getAnimations().length`, &moving)
	if moving > 0 {
		t.Errorf("%d things move where nothing should", moving)
	}
	v.page("reload")
	v.stages("the intro again", func(x stage) bool { return x.State == "intro" })
	v.picture("again")
	v.tabsTo("start")
	v.page("keyboard.press", "Enter")
	if end := v.follows(nil); end.Where != s.party+"/back?client_state=s1" {
		t.Errorf("the browser is at %s", end.Where)
	}
	v.clean()
	if x := s.ended(right.ID); x.Status != "success" || x.Person != "ana" || x.Liveness != "live" || x.Score == nil || *x.Score < .5 {
		t.Errorf("%+v", x)
	}

	b.camera.shows(person(t, "arun"))
	wrong := s.session(map[string]any{"flow": "verify", "person": "ana"})
	v = b.arrives(s, wrong.URL, "phone-verify", options{Viewport: phone, Locale: "pt-BR", ColorScheme: "dark"})
	v.speaks("pt", "Confirme que é você")
	v.begins()
	v.follows(nil)
	v.clean()
	if x := s.ended(wrong.ID); x.Status != "fail" || x.Reason != "below_threshold" || x.Score == nil || *x.Score > .3 {
		t.Errorf("%+v", x)
	}
}

// Somebody is found by the face alone, and is not enrolled again by another name.
func TestIdentify(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newCamera(t, person(t, "carl")))
	s := newSite(t, turnsOnly)
	s.enrol("ana", "b_1.jpg")
	s.enrol("carl", "c_1.jpg")
	const who, again = "7d7dbbf6-5b8e-4c4c-9a5c-0d1f9a1d6f10", "0e0f7a52-3a33-4d0b-8b11-2f6f0c3a7a11"
	v := b.arrives(s, s.begins("identify", who, ""), "desktop-identify", options{Viewport: desktop, Locale: "es-MX"})
	v.speaks("es", "Inicie sesión con su rostro")
	v.begins()
	v.follows(nil)
	v.clean()
	if r := s.result2(who); r.Status != "success" || r.ExternalUserID == nil || *r.ExternalUserID != "carl" || r.Score == nil || *r.Score < .5 {
		t.Errorf("%+v", r)
	}

	v = b.arrives(s, s.begins("enroll", again, "charles"), "desktop-conflict", options{Viewport: desktop, ColorScheme: "dark"})
	v.begins()
	v.follows(nil)
	v.clean()
	if r := s.result2(again); r.Status != "fail" || r.Reason == nil || *r.Reason != "conflict" || *r.ExternalUserID != "charles" {
		t.Errorf("%+v", r)
	}
	var list struct{ Total int }
	s.face("list-users", map[string]string{}, &list)
	if list.Total != 2 {
		t.Errorf("%d people are enrolled, want 2", list.Total)
	}
}

// A photo that is held before the camera does not get past the turn, and somebody else does not do it for who looked.
func TestAttacks(t *testing.T) {
	t.Parallel()
	ana, arun := person(t, "ana"), person(t, "arun")
	b := newBrowser(t, newCamera(t, ana))
	s := newSite(t, map[string]any{"challenges": []string{"turn_left"}, "steps": 1, "tries": 1})
	s.enrol("ana", "b_1.jpg")
	two := s.session(map[string]any{"flow": "verify", "person": "ana"})
	v := b.arrives(s, two.URL, "", options{Viewport: desktop})
	v.begins()
	v.follows(func(x stage) bool {
		if x.State == "step" && x.Cue == "turn_left" {
			v.camera.replaces(arun)
		}
		return false
	})
	v.clean()
	if x := s.ended(two.ID); x.Status != "fail" || x.Reason == "below_threshold" || x.Score != nil {
		t.Errorf("two people: %+v", x)
	}

	b.camera.shows(ana)
	photo := s.session(map[string]any{"flow": "verify", "person": "ana"})
	v = b.arrives(s, photo.URL, "desktop-photo", options{Viewport: desktop})
	v.begins()
	turned, again := false, false
	v.stages("a hint to turn, and that it is asked for once more", func(x stage) bool {
		turned = turned || x.Hint == "turn_more"
		again = again || x.Title == "Once more, please"
		if turned {
			v.picture("turn-more")
		}
		return turned && again
	})
	v.clean()
	if x := s.ended(photo.ID); x.Status != "in_progress" {
		t.Errorf("a photo: %+v", x)
	}
	v.cancels()
	if x := s.ended(photo.ID); x.Status != "fail" || x.Reason != "cancelled" {
		t.Errorf("after it was cancelled: %+v", x)
	}
}

// What goes wrong before the camera is told in words that say what to do.
func TestGuidance(t *testing.T) {
	t.Parallel()
	ana, arun := person(t, "ana"), person(t, "arun")
	b := newBrowser(t, newCamera(t, ana, arun))
	s := newSite(t, turnsOnly)
	x := s.session(map[string]any{"flow": "liveness"})
	v := b.arrives(s, x.URL, "phone-guidance", options{Viewport: phone, Mobile: true, Touch: true})
	v.begins()
	for _, c := range []struct {
		hint string
		now  func()
	}{
		{"several_faces", func() {}},
		{"more_light", func() { v.camera.shows(ana); v.camera.lit(.06) }},
		{"good", func() { v.camera.lit(1) }},
	} {
		c.now()
		v.stages("the hint "+c.hint, func(x stage) bool { return x.Hint == c.hint })
		v.picture(c.hint)
	}
	v.clean()

	late := s.session(map[string]any{"flow": "liveness", "seconds": 5})
	v = b.arrives(s, late.URL, "phone-expired", options{Viewport: phone})
	v.notes("session_expired")
	v.clean(refused + "410")
	if x := s.ended(late.ID); x.Status != "expired" || x.Reason != "" {
		t.Errorf("%+v", x)
	}
	gone := s.session(map[string]any{"flow": "liveness", "seconds": 1})
	for end := time.Now().Add(patience); s.ended(gone.ID).Status != "expired"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a session of a second does not expire")
		}
	}
	v = b.arrives(s, gone.URL, "", options{Viewport: phone})
	v.notes("session_expired")
	v.clean(refused + "410")
	v = b.arrives(s, s.url+"/capture/?t="+strings.Repeat("A", 43), "phone-unknown", options{Viewport: phone})
	v.notes("link_unknown")
	v.clean(refused + "401")

	denied := s.session(map[string]any{"flow": "liveness"})
	v = b.arrives(s, denied.URL, "phone-denied", options{Viewport: phone, Permissions: []string{}})
	v.begins()
	v.notes("camera_denied")
	v.clean()
	v.page("click", "#note-actions button:last-child")
	if end := v.follows(nil); !strings.HasSuffix(end.Where, "/back?client_state=s1") {
		t.Errorf("the browser is at %s", end.Where)
	}
	if x := s.ended(denied.ID); x.Status != "fail" || x.Reason != "camera_unavailable" {
		t.Errorf("%+v", x)
	}
}

func TestNoCamera(t *testing.T) {
	skipShort(t)
	t.Parallel()
	b := newBrowser(t, nil)
	s := newSite(t, turnsOnly)
	v := b.arrives(s, s.session(map[string]any{"flow": "liveness"}).URL, "desktop-no-camera", options{Viewport: desktop})
	v.begins()
	v.notes("camera_missing")
	for lang, title := range map[string]string{"pt": "Nenhuma câmera encontrada", "es": "No se encontró ninguna cámara", "en": "No camera found"} {
		v.page("selectOption", "#language", lang)
		if s := v.stage(); s.Lang != lang || s.Title != title {
			t.Errorf("in %s the note says %q, want %q", s.Lang, s.Title, title)
		}
	}
	v.clean()
}

// Somebody real enrols: photos of three days, one after the other.
func TestRealPerson(t *testing.T) {
	skipShort(t)
	t.Parallel()
	ahead, left, right := realPerson(t, "George_Robertson")
	b := newBrowser(t, newCamera(t, ahead))
	s := newSite(t, turnsOnly)
	x := s.session(map[string]any{"flow": "enroll", "person": "george"})
	v := b.arrives(s, x.URL, "", options{Viewport: desktop})
	var cue string
	var since time.Time
	v.acts = func(s stage) {
		if s.Cue != cue {
			cue, since = s.Cue, time.Now()
		}
		who := map[string]*head{"turn_left": left, "turn_right": right}[cue]
		if who == nil || time.Since(since) < time.Second { // nobody has turned at once
			who = ahead
		}
		b.camera.replaces(who)
	}
	v.begins()
	v.follows(nil)
	v.clean()
	if x := s.ended(x.ID); x.Status != "success" || x.Liveness != "live" {
		t.Errorf("%+v", x)
	}
}
