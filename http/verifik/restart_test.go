package verifik_test

import (
	"fmt"
	"testing"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
)

// TestRestart: a session that was made before a restart is good after it, its token is verified by the keys of before, and what was not
// delivered is.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	same := func(_ *http.Config, e *engine.Config) { e.Dir = dir }
	r := newReceiver(t)
	r.status = 500
	var p project
	var x session
	t.Run("before", func(t *testing.T) {
		w := newWorld(t, same)
		w.enrol(t, w.admin, "people", "ada", "a_1.jpg", `{}`)
		p = w.project(t, fmt.Sprintf(`{"gallery":"people","webhook":{"url":%q}}`, r.URL))
		x = w.session(t, p)
		r.types(t, 1)
	})
	r.mu.Lock()
	r.status, r.got = 204, nil
	r.mu.Unlock()
	t.Run("after", func(t *testing.T) {
		w := newWorld(t, same)
		_, _, token := accepted(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "a_2.jpg"))))
		p.JWKS = w.URL + p.JWKS[len(p.JWKS)-len("/v2/clients/default/00112233445566aabbccddee/jwks.json"):]
		verified(t, w.keySet(t, p), token, p, w.clock.now())
		refused(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "a_2.jpg"))), 409, "liveness_session_completed", "")
		r.types(t, 1) // of the completion at once, of the session's begin five seconds after its first attempt
	})
}
