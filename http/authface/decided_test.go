package authface_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/authface"
	"mien/http/capture/capturetest"
)

// play begins a session, has an actor do what it asks for, once, and returns its result.
func (c client) play(stage *capturetest.Stage, path, state, user string, a *capturetest.Actor) map[string]any {
	c.t.Helper()
	ended := stage.Open(c.Server, c.begin(path, state, user)).Try(a)
	if want := callback + "?client_state=" + state; !ended.Done || ended.Redirect != want {
		c.t.Fatalf("%+v, want %s", ended, want)
	}
	return c.result(state)
}

// is holds a result against what it should be; a score is wanted, or not, and of a decision that it missed or reached.
func is(t *testing.T, got map[string]any, status, reason string, user any, least, most float64) {
	t.Helper()
	score, scored := got["score"].(float64)
	wantReason := any(nil)
	if reason != "" {
		wantReason = reason
	}
	if got["status"] != status || got["result"] != status || got["reason"] != wantReason || got["external_user_id"] != user || scored != (most > 0) || score < least || score > most {
		t.Errorf("%v, want %s %s %v, score from %v to %v", got, status, reason, user, least, most)
	}
}

// TestDecisions: sessions that are played to their end, of each flow, about people of another API and of this one.
func TestDecisions(t *testing.T) {
	stage := capturetest.NewStage()
	c := newClient(t, func(h *http.Config, e *engine.Config) { stage.Configure(h, e); e.Audit = "sync" })
	if _, err := c.Engine.UpdateGallery(t.Context(), "default", "people", engine.GalleryChange{History: new(3)}); err != nil {
		t.Fatal(err)
	}
	ann, bob, cleo := capturetest.NewActor(t, "a_2.jpg"), capturetest.NewActor(t, "b_1.jpg"), capturetest.NewActor(t, "c_1.jpg")
	c.enrol("ann", "a_1.jpg")
	n := 0
	next := func() string { n++; return stateOf(n) }

	is(t, c.play(stage, pathVerify, next(), "ann", ann), "success", "", "ann", .85, 1)
	is(t, c.play(stage, pathVerify, next(), "ann", bob), "fail", "below_threshold", "ann", 0, .84999)
	is(t, c.play(stage, pathIdentify, next(), "", ann), "success", "", "ann", .85, 1)
	is(t, c.play(stage, pathIdentify, next(), "", bob), "fail", "not_found", nil, 0, 0)

	conflict := c.play(stage, pathEnroll, next(), "bob", ann)
	is(t, conflict, "fail", "conflict", "bob", .85, 1)
	if text := fmt.Sprint(conflict); strings.Contains(text, "ann") {
		t.Errorf("a conflict names the other person: %s", text)
	}
	c.want(404, "user_not_found", pathGet, `{"external_user_id":"bob"}`)
	is(t, c.play(stage, pathEnroll, next(), "bob", bob), "success", "", "bob", 0, 0)
	if a := c.want(200, "", pathList, `{}`); !strings.Contains(string(a.Body), `"total":2`) {
		t.Errorf("%s", a.Body)
	}
	body := fmt.Sprintf(`{"user_id":"bob","user_photo":%q,"create_if_new":false}`, base64.StdEncoding.EncodeToString(extracttest.Photo(t, "b_2.jpg")))
	if a := c.Do("POST", "/user_verification", []byte(body), "x-api-key", c.Key("youverse", "people")); !strings.Contains(string(a.Body), "SUCCESS") {
		t.Errorf("Youverse does not know whom Auth Face has enrolled: %d %s", a.Status, a.Body)
	}

	is(t, c.play(stage, pathUpdate, next(), "bob", ann), "fail", "below_threshold", "bob", 0, .84999)
	is(t, c.play(stage, pathUpdate, next(), "bob", capturetest.NewActor(t, "b_2.jpg")), "success", "", "bob", .85, 1)
	p, err := c.Engine.Person(t.Context(), "default", "people", "bob")
	if err != nil || len(p.Templates) != 1 || len(p.History) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	if got := c.recorded("bob"); !strings.HasPrefix(got, "person.put, ") || strings.Count(got, "person.put") != 2 {
		t.Errorf("recorded: %s", got)
	}

	// Who comes or goes between a session's begin and its end.
	link := c.begin(pathEnroll, next(), "cleo")
	c.enrol("cleo", "c_2.jpg")
	stage.Open(c.Server, link).Try(cleo)
	is(t, c.result(stateOf(n)), "fail", "already_enrolled", "cleo", 0, 0)
	link = c.begin(pathVerify, next(), "cleo")
	if _, err := c.Engine.PatchPerson(t.Context(), "default", "people", "cleo", engine.PersonPatch{Status: engine.StatusSuspended}); err != nil {
		t.Fatal(err)
	}
	stage.Open(c.Server, link).Try(cleo)
	is(t, c.result(stateOf(n)), "fail", "not_enrolled", "cleo", 0, 0)

	// A picture of somebody, for as many tries as there are.
	c.begin(pathVerify, next(), "ann")
	browser := stage.Open(c.Server, c.begin(pathVerify, next(), "ann"))
	for left := 2; ; left-- {
		if ended := browser.Try(capturetest.NewActor(t, "a_2.jpg").Fake()); ended.Done {
			break
		} else if ended.Left != left || left == 0 {
			t.Fatalf("%+v", ended)
		}
	}
	is(t, c.result(stateOf(n)), "fail", "liveness_spoof", "ann", 0, 0)
}

// recorded are the operations of the audit log about a person that are not this API's refusals, newest first.
func (c client) recorded(person string) string {
	c.t.Helper()
	page, err := c.Engine.Audit(c.t.Context(), "default", engine.AuditQuery{Person: person})
	if err != nil {
		c.t.Fatal(err)
	}
	var ops []string
	for _, l := range page.Records {
		var r engine.AuditRecord
		if err := json.Unmarshal(l.Record, &r); err != nil {
			c.t.Fatal(err)
		}
		if !strings.HasPrefix(r.Op, "capture.") && !strings.HasPrefix(r.Op, "authface.") {
			ops = append(ops, r.Op)
		}
	}
	return strings.Join(ops, ", ")
}

// TestScores: a key is told of scores what it may be told.
func TestScores(t *testing.T) {
	stage := capturetest.NewStage()
	c := newClient(t, stage.Configure)
	c.enrol("ann", "a_1.jpg")
	scores := map[engine.Scores]any{}
	for i, allowed := range []engine.Scores{engine.ScoresExact, engine.ScoresRounded, engine.ScoresDecision} {
		c.key = c.KeyOf("default", engine.KeySpec{Role: engine.RoleClient, Dialect: authface.Name, Galleries: []string{"people"}, Scores: allowed})
		scores[allowed] = c.play(stage, pathVerify, stateOf(i), "ann", capturetest.NewActor(t, "a_3.jpg"))["score"]
	}
	exact, _ := scores[engine.ScoresExact].(float64)
	if rounded, _ := scores[engine.ScoresRounded].(float64); exact < .85 || math.Abs(exact-rounded) > .00501 || math.Abs(100*rounded-math.Round(100*rounded)) > 1e-9 || exact == rounded ||
		scores[engine.ScoresDecision] != nil {
		t.Errorf("%v", scores)
	}
}
