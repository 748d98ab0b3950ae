package capture_test

import (
	"fmt"
	"strings"
	"testing"

	"mien/engine"
	"mien/http"
	"mien/http/capture/capturetest"
)

// TestPlayed: sessions of the native API from their link to their end, by somebody who does what they are asked: what each flow decides, what the browser is
// told of it, which is nothing, and what the API and the audit log are.
func TestPlayed(t *testing.T) {
	stage := capturetest.NewStage()
	w := newWorld(t, func(h *http.Config, e *engine.Config) { stage.Configure(h, e); e.Audit = "sync" })
	ann, bob := capturetest.NewActor(t, "a_1.jpg"), capturetest.NewActor(t, "b_1.jpg")
	spoof := capturetest.NewActor(t, "a_3.jpg").Fake()
	for i, c := range []struct {
		flow, person          string
		actor                 *capturetest.Actor
		status, reason, found string
		tries                 int
		scored                bool
		liveness, audited     string
	}{
		{"enroll", "ann", ann, "success", "", "ann", 0, false, "live", "person.put"},
		{"enroll", "ann", bob, "fail", "already_enrolled", "ann", 0, false, "live", ""},
		{"enroll", "eve", ann, "fail", "conflict", "eve", 0, true, "live", ""},
		{"verify", "ann", ann, "success", "", "ann", 0, true, "live", "verify"},
		{"verify", "ann", bob, "fail", "below_threshold", "ann", 0, true, "live", "verify"},
		{"verify", "eve", ann, "fail", "not_enrolled", "eve", 0, false, "live", ""},
		{"identify", "", ann, "success", "", "ann", 0, true, "live", "identify"},
		{"identify", "", bob, "fail", "not_found", "", 0, false, "live", "identify"},
		{"update", "ann", ann, "success", "", "ann", 0, true, "live", "person.put"},
		{"update", "ann", bob, "fail", "below_threshold", "ann", 0, true, "live", "verify"},
		{"liveness", "", bob, "success", "", "", 0, false, "live", ""},
		{"liveness", "", spoof, "fail", "liveness_spoof", "", 3, false, "spoof", ""},
		{"verify", "ann", spoof, "fail", "liveness_spoof", "ann", 3, false, "spoof", ""},
	} {
		person := ""
		if c.person != "" {
			person = fmt.Sprintf(`"person":%q,`, c.person)
		}
		x := w.make(t, fmt.Sprintf(`{"gallery":"people","flow":%q,%s"redirect_url":%q,"state":"%d"}`, c.flow, person, callback, i))
		browser := stage.Open(w.Server, x.URL)
		var ended capturetest.Ended
		for try := 0; !ended.Done; try++ {
			if ended = browser.Try(c.actor); !ended.Done && (ended.Failed != "not_live" || ended.Left != 2-try) {
				t.Fatalf("%d %s: %+v", i, c.flow, ended)
			}
		}
		if ended.Redirect != fmt.Sprintf("%s?client_state=%d", callback, i) {
			t.Errorf("%d %s: %+v", i, c.flow, ended)
		}
		now := w.look(t, x)
		if now.Status != c.status || now.Reason != c.reason || now.Person != c.found || now.Tries != c.tries || (now.Score != nil) != c.scored || now.Liveness != c.liveness {
			t.Errorf("%d %s: %+v", i, c.flow, now)
		}
		page := string(w.native(t, 200, "GET", "/v1/audit?limit=8", "", nil).Body)
		if !strings.Contains(page, `"capture.session.`) || c.audited != "" && !strings.Contains(page, fmt.Sprintf(`"op":%q,"key":%q`, c.audited, x.ID)) {
			t.Errorf("%d %s: the audit has %s", i, c.flow, page)
		}
	}
}
