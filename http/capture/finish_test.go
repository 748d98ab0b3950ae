package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// These tests end sessions without models: what stands for the server makes templates of a small space, and a photo's bytes name the face.

var testSpace = engine.Space{ID: "test-16", Dim: 16, Calibration: engine.Calibration{Points: []engine.CalibrationPoint{
	{Cosine: 0.2, FMR: 1e-2}, {Cosine: 0.4, FMR: 1e-4}, {Cosine: 0.6, FMR: 1e-7, Extrapolated: true},
}}}

// fakeServer stands for package http.
type fakeServer struct {
	engine *engine.Engine
	header map[string]string
	// before is called by Templates; nil: nothing.
	before func() error
}

func (f *fakeServer) Engine() *engine.Engine    { return f.engine }
func (f *fakeServer) Header(name string) string { return f.header[name] }
func (f *fakeServer) BaseURL() string           { return "https://faces.example" }
func (f *fakeServer) PublicURL() string         { return "" }
func (f *fakeServer) Body() ([]byte, error)     { return []byte("{}"), nil }
func (f *fakeServer) Authenticate(string) (engine.Key, error) {
	return engine.Key{}, engine.ErrKeyUnknown
}
func (f *fakeServer) Decentralised() (dialect.Decentralised, error) {
	return nil, engine.ErrClosed
}
func (f *fakeServer) Steadily(ask func() error) error { return ask() }

func (f *fakeServer) Templates(photos ...dialect.Photo) (list []engine.Template, err error) {
	if f.before != nil {
		if err := f.before(); err != nil {
			return nil, err
		}
	}
	for _, p := range photos {
		list = append(list, engine.Template{Space: testSpace.ID, Vector: faceOf(string(p.Data)), Source: "image",
			Photo: &engine.Photo{Image: p.Data, Box: [4]float32{1, 2, 3, 4}}})
	}
	return list, nil
}

// faceOf is a vector of a name; what is behind a dot is another photo of the same face.
func faceOf(photo string) []float32 {
	name, _, again := strings.Cut(photo, ".")
	seed := uint64(0)
	for _, b := range []byte(name) {
		seed = seed*31 + uint64(b)
	}
	rng, v := rand.New(rand.NewPCG(seed, 1)), make([]float32, testSpace.Dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	if again {
		v[0] += 0.1
	}
	return v
}

// world is a service on an engine that can be closed and opened again.
type world struct {
	t      *testing.T
	dir    string
	ahead  atomic.Int64
	engine *engine.Engine
	s      *Service
	maker  engine.Key
	fake   *fakeServer
	ended  chan Session
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), ended: make(chan Session, 100)}
	w.open()
	if _, _, err := w.engine.CreateGallery(t.Context(), "default", "g", engine.GallerySpec{History: 4, KeepPhotos: true}); err != nil {
		t.Fatal(err)
	}
	w.newMaker(engine.KeySpec{Role: engine.RoleAdmin})
	t.Cleanup(func() { w.close() })
	return w
}

func (w *world) newMaker(spec engine.KeySpec) {
	w.t.Helper()
	k, _, err := w.engine.CreateKey(w.t.Context(), "default", spec)
	if err != nil {
		w.t.Fatal(err)
	}
	w.maker = k
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *world) open() {
	w.t.Helper()
	e, err := engine.Open(engine.Config{Dir: w.dir, MasterKey: bytes.Repeat([]byte{7}, engine.MasterKeyBytes), Spaces: []engine.Space{testSpace}, Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine, w.fake = e, &fakeServer{engine: e}
	w.s = New(Config{Engine: e})
	w.s.Handle("", Owner{Ended: func(_ context.Context, _ string, x Session) { w.ended <- x }})
}

func (w *world) close() {
	w.t.Helper()
	if err := w.engine.Close(); err != nil {
		w.t.Error(err)
	}
}

// restart is what a crash leaves: all that was acknowledged.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
}

// call is a request with a key.
func (w *world) call(k engine.Key) *dialect.Call {
	c := &dialect.Call{Server: w.fake, Key: k, Gallery: "g"}
	c.Ctx = engine.WithActor(w.t.Context(), engine.Actor{Tenant: "default", Key: k.ID, Role: k.Role})
	return c
}

// make makes a session that is in progress, and the call of its browser.
func (w *world) make(flow Flow, person string) (*Session, *dialect.Call) {
	w.t.Helper()
	x, link, err := w.s.Create(w.call(w.maker), Spec{Flow: flow, Gallery: "g", Person: person})
	if err != nil {
		w.t.Fatal(err)
	}
	_, token, _ := strings.Cut(link, "?t=")
	c := w.call(engine.Key{})
	w.fake.header = map[string]string{"Authorization": "Bearer " + token}
	k, err := w.s.authenticate(c)
	if err != nil {
		w.t.Fatal(err)
	}
	c = w.call(k)
	v := new(visit)
	if err := w.s.visit(w.t.Context(), v, place{"default", x.ID}); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.s.open(c, v); err != nil {
		w.t.Fatal(err)
	}
	return w.look(x.ID), c
}

func (w *world) look(id string) *Session {
	w.t.Helper()
	x, err := w.s.Session(w.t.Context(), "default", id)
	if err != nil {
		w.t.Fatal(err)
	}
	return &x
}

func (w *world) enrol(person, photo string) {
	w.t.Helper()
	t := engine.Template{Space: testSpace.ID, Vector: faceOf(photo), Source: "image"}
	if _, _, err := w.engine.PutPerson(w.t.Context(), "default", "g", person, engine.PersonSpec{Templates: []engine.Template{t}, Metadata: []byte(`{"name":"` + person + `"}`)}); err != nil {
		w.t.Fatal(err)
	}
}

func live(photo string) presentation { return presentation{verdict: verdictLive, best: []byte(photo)} }

// TestFlows: what each flow decides about whom, and what is there afterwards.
func TestFlows(t *testing.T) {
	for _, c := range []struct {
		flow          Flow
		person, photo string
		status        Status
		reason, found string
		scored        bool
	}{
		{FlowEnroll, "cy", "cy", StatusSuccess, "", "cy", false},
		{FlowEnroll, "ada", "cy", StatusFail, ReasonAlreadyEnrolled, "ada", false},
		{FlowEnroll, "cy", "ada.2", StatusFail, ReasonConflict, "cy", true},
		{FlowVerify, "ada", "ada.2", StatusSuccess, "", "ada", true},
		{FlowVerify, "ada", "bob", StatusFail, ReasonBelowThreshold, "ada", true},
		{FlowVerify, "cy", "cy", StatusFail, ReasonNotEnrolled, "cy", false},
		{FlowVerify, "sus", "sus", StatusFail, ReasonNotEnrolled, "sus", false},
		{FlowIdentify, "", "bob.2", StatusSuccess, "", "bob", true},
		{FlowIdentify, "", "cy", StatusFail, ReasonNotFound, "", false},
		{FlowUpdate, "ada", "ada.2", StatusSuccess, "", "ada", true},
		{FlowUpdate, "ada", "bob", StatusFail, ReasonBelowThreshold, "ada", true},
		{FlowUpdate, "cy", "cy", StatusFail, ReasonNotEnrolled, "cy", false},
		{FlowUpdate, "twin", "bob.2", StatusFail, ReasonConflict, "twin", true},
		{FlowLiveness, "", "cy", StatusSuccess, "", "", false},
	} {
		t.Run(fmt.Sprintf("%s %s as %s", c.flow, c.photo, c.person), func(t *testing.T) {
			w := newWorld(t)
			for _, p := range []string{"ada", "bob", "sus"} {
				w.enrol(p, p)
			}
			w.enrol("twin", "bob.3")
			if _, err := w.engine.PatchPerson(t.Context(), "default", "g", "sus", engine.PersonPatch{Status: engine.StatusSuspended}); err != nil {
				t.Fatal(err)
			}
			x, call := w.make(c.flow, c.person)
			now, failed, err := w.s.finish(call, x, live(c.photo))
			if c.flow == FlowIdentify && c.found == "bob" && now.Person == "twin" { // who is alike too
				now.Person = "bob"
			}
			if err != nil || failed != "" || now.Status != c.status || now.Reason != c.reason || now.Person != c.found || (now.Score != nil) != c.scored {
				t.Errorf("%+v %q %v", now, failed, err)
			}
			if kept := w.look(x.ID); kept.Status != c.status || kept.Completed.IsZero() {
				t.Errorf("kept: %+v", kept)
			}
			if told := <-w.ended; told.Status != c.status {
				t.Errorf("told: %+v", told)
			}
			_, err = w.engine.Person(t.Context(), "default", "g", "cy")
			if enrolled := err == nil; enrolled != (c.flow == FlowEnroll && c.status == StatusSuccess) {
				t.Errorf("cy is enrolled: %v", enrolled)
			}
			if p, err := w.engine.Person(t.Context(), "default", "g", x.Person); err == nil && p.Templates[0].Photo {
				t.Error("the photo is kept, which the page says it is not")
			}
			if c.flow == FlowUpdate && c.status == StatusSuccess {
				p, err := w.engine.Person(t.Context(), "default", "g", "ada")
				if err != nil || len(p.History) != 1 || len(p.Templates) != 1 || string(p.Metadata) != `{"name":"ada"}` {
					t.Errorf("%+v %v", p, err)
				}
			}
		})
	}
}

// TestTries: a try that fails costs one, the last ends the session with what it failed by, and nothing is decided.
func TestTries(t *testing.T) {
	w := newWorld(t)
	w.enrol("ada", "ada")
	for _, c := range []struct {
		tries  []string
		reason string
	}{
		{[]string{verdictSpoof, verdictUncertain, verdictSpoof}, ReasonLivenessSpoof},
		{[]string{verdictSpoof, verdictSpoof, verdictUncertain}, ReasonLivenessUncertain},
		{[]string{verdictSpoof, verdictUncertain, "too_slow"}, ReasonCaptureFailed},
	} {
		x, call := w.make(FlowVerify, "ada")
		var now Session
		for _, try := range c.tries {
			var err error
			if try == "too_slow" {
				now, err = w.s.failTry(call, x, try, presentation{})
			} else {
				now, _, err = w.s.finish(call, x, presentation{verdict: try, reasons: []string{"moire"}, best: []byte("ada")})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if now.Status != StatusFail || now.Reason != c.reason || now.Tries != 3 {
			t.Errorf("%v: %+v", c.tries, now)
		}
		if _, _, err := w.s.finish(call, x, live("ada")); !isCode(err, "session_over") {
			t.Errorf("a fourth try: %v", err)
		}
	}
	noted := 0
	for _, r := range w.audit() {
		if r.Op == engine.AuditVerify {
			t.Errorf("something was decided: %+v", r)
		}
		if r.Op == "capture.session.try" && r.Note == "not_live moire" && r.Person == "ada" {
			noted++
		}
	}
	if noted != 5 {
		t.Errorf("%d tries with their reason are in the audit", noted)
	}
}

// audit is what the tenant's log has, newest first.
func (w *world) audit() (list []engine.AuditRecord) {
	w.t.Helper()
	page, err := w.engine.Audit(w.t.Context(), "default", engine.AuditQuery{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, line := range page.Records {
		var r engine.AuditRecord
		if err := json.Unmarshal(line.Record, &r); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

func isCode(err error, code string) bool {
	e, ok := errors.AsType[*pageError](err)
	return ok && e.body.Code == code
}

// TestBadPhoto: a photo that the gallery's gate refuses costs a try, and one that could not be judged none.
func TestBadPhoto(t *testing.T) {
	w := newWorld(t)
	w.enrol("ada", "ada")
	x, call := w.make(FlowVerify, "ada")
	w.fake.before = func() error { return &engine.QualityError{} }
	if now, failed, err := w.s.finish(call, x, live("ada")); err != nil || failed != tryQuality || now.Tries != 1 || now.Status != StatusInProgress {
		t.Errorf("%+v %q %v", now, failed, err)
	}
	busy := errors.New("busy")
	w.fake.before = func() error { return busy }
	if _, _, err := w.s.finish(call, x, live("ada")); err != busy {
		t.Error(err)
	}
	w.fake.before = nil
	if now, _, err := w.s.finish(call, x, live("ada")); err != nil || now.Status != StatusSuccess || now.Tries != 1 {
		t.Errorf("%+v %v", now, err)
	}
}

// TestOneDecides: of presentations at the same time one is decided about, and the engine is asked once.
func TestOneDecides(t *testing.T) {
	w := newWorld(t)
	x, _ := w.make(FlowEnroll, "cy")
	calls := make([]*dialect.Call, 8)
	for i := range calls {
		calls[i] = w.call(engine.Key{ID: x.ID, Tenant: "default"})
	}
	var decided, over atomic.Int32
	var wg sync.WaitGroup
	for _, c := range calls {
		wg.Go(func() {
			now, _, err := w.s.finish(c, x, live("cy"))
			switch {
			case err == nil && now.Status == StatusSuccess:
				decided.Add(1)
			case isCode(err, "session_over"):
				over.Add(1)
			default:
				t.Errorf("%+v %v", now, err)
			}
		})
	}
	wg.Wait()
	if decided.Load() != 1 || over.Load() != 7 || len(w.ended) != 1 {
		t.Errorf("%d decided, %d over, %d told", decided.Load(), over.Load(), len(w.ended))
	}
}

// TestCancelWhileDeciding: who cancels a session that is being decided sees how it was.
func TestCancelWhileDeciding(t *testing.T) {
	w := newWorld(t)
	w.enrol("ada", "ada")
	x, call := w.make(FlowVerify, "ada")
	deciding, decide := make(chan struct{}), make(chan struct{})
	w.fake.before = func() error { close(deciding); <-decide; return nil }
	var wg sync.WaitGroup
	wg.Go(func() {
		if now, _, err := w.s.finish(call, x, live("ada")); err != nil || now.Status != StatusSuccess {
			t.Errorf("%+v %v", now, err)
		}
	})
	<-deciding
	w.ahead.Add(int64(DefaultLifetime + time.Second)) // which it was begun before
	if now := w.look(x.ID); now.Status != StatusInProgress {
		t.Errorf("%+v", now)
	}
	w.s.expire(t.Context()) // leaves it alone
	wg.Go(func() {
		if now, err := w.s.Cancel(w.call(w.maker), x.ID); err != nil || now.Status != StatusSuccess {
			t.Errorf("%+v %v", now, err)
		}
	})
	close(decide)
	wg.Wait()
}

// TestCrash: a crash between the engine's write of a person and the session's end leaves a session that another try completes, or its time does, and no
// way that says otherwise than the engine.
func TestCrash(t *testing.T) {
	for _, flow := range []Flow{FlowEnroll, FlowUpdate} {
		t.Run(string(flow), func(t *testing.T) {
			w := newWorld(t)
			if flow == FlowUpdate {
				w.enrol("cy", "cy")
			}
			x, call := w.make(flow, "cy")
			y, _ := w.make(FlowVerify, "nobody")
			if o, err := w.s.decide(call, *x, dialect.Photo{Data: []byte("cy.2")}); err != nil || !o.Result {
				t.Fatalf("%+v %v", o, err)
			}
			before := w.version("cy")
			w.restart()
			call.Server = w.fake
			if now := w.look(x.ID); now.Status != StatusInProgress {
				t.Fatalf("%+v", now)
			}
			now, _, err := w.s.finish(call, x, live("cy.3"))
			if err != nil || now.Status != StatusSuccess || now.Person != "cy" {
				t.Errorf("another try: %+v %v", now, err)
			}
			if w.version("cy") != before {
				t.Error("it was written twice")
			}

			z, call := w.make(flow, "di")
			if flow == FlowUpdate {
				w.enrol("di", "di")
			}
			if o, err := w.s.decide(call, *z, dialect.Photo{Data: []byte("di.2")}); err != nil || !o.Result {
				t.Fatalf("%+v %v", o, err)
			}
			w.restart()
			w.ahead.Add(int64(DefaultLifetime + time.Second))
			w.s.expire(t.Context())
			if now := w.look(z.ID); now.Status != StatusSuccess {
				t.Errorf("at its end: %+v", now)
			}
			if now := w.look(y.ID); now.Status != StatusExpired {
				t.Errorf("another: %+v", now)
			}
			if len(w.ended) != 3 {
				t.Errorf("%d ends were told", len(w.ended))
			}
			for op, note := range map[string]string{"capture.session.expire": "expired", "capture.session.decide": "success after a restart"} {
				if !slices.ContainsFunc(w.audit(), func(r engine.AuditRecord) bool { return r.Op == op && r.Note == note && r.Program == Name }) {
					t.Errorf("the audit lacks %s", op)
				}
			}
			w.s.expire(t.Context())
			if len(w.ended) != 3 || len(w.s.index.due(w.now())) != 0 {
				t.Error("an end is noted twice")
			}
		})
	}
}

// TestRevokedMeanwhile: nothing is decided in a session once the key that made it is revoked, though the request came before.
func TestRevokedMeanwhile(t *testing.T) {
	w := newWorld(t)
	x, call := w.make(FlowEnroll, "eve")
	if err := w.engine.RevokeKey(t.Context(), "default", w.maker.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.s.finish(call, x, live("eve")); err != errExpired {
		t.Errorf("%v", err)
	}
	if _, err := w.engine.Person(t.Context(), "default", "g", "eve"); !errors.Is(err, engine.ErrPersonNotFound) {
		t.Errorf("enrolled: %v", err)
	}
}

// TestUpdateOfAnother: whose face was compared is whose templates are replaced, though somebody else gets the id meanwhile.
func TestUpdateOfAnother(t *testing.T) {
	w := newWorld(t)
	w.enrol("ada", "ada")
	x, call := w.make(FlowUpdate, "ada")
	p, err := w.engine.Person(t.Context(), "default", "g", "ada")
	if err != nil {
		t.Fatal(err)
	}
	w.enrol("ada", "somebody else")
	new := []engine.Template{{Space: testSpace.ID, Vector: faceOf("ada.2"), Source: "image"}}
	if _, err := w.s.replace(call, x, &p, new); !errors.Is(err, engine.ErrVersion) {
		t.Errorf("%v", err)
	}
	if o, err := w.s.decide(call, *x, dialect.Photo{Data: []byte("ada.2")}); err != nil || o.Result || o.Reason != ReasonBelowThreshold {
		t.Errorf("%+v %v", o, err)
	}
}

// TestFullCountsNothing: a try that there is no room for was not begun.
func TestFullCountsNothing(t *testing.T) {
	w := newWorld(t)
	x, call := w.make(FlowLiveness, "")
	w.s.tries.max = 0
	for range maxStarts + 1 {
		if _, err := w.s.start(call, x); err != errNoRoom {
			t.Fatal(err)
		}
	}
	if now := w.look(x.ID); now.Starts != 0 || now.Status != StatusInProgress {
		t.Errorf("%+v", now)
	}
}

func (w *world) version(person string) uint64 {
	w.t.Helper()
	p, err := w.engine.Person(w.t.Context(), "default", "g", person)
	if err != nil {
		w.t.Fatal(err)
	}
	return p.Version
}

// TestGone: a session goes with its person; one whose person is deleted while it is decided about says that nobody is enrolled, and is about nobody.
func TestGone(t *testing.T) {
	w := newWorld(t)
	w.enrol("ada", "ada")
	w.enrol("bob", "bob")
	x, _ := w.make(FlowVerify, "ada")
	if err := w.engine.DeletePerson(t.Context(), "default", "g", "ada", engine.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.s.Session(t.Context(), "default", x.ID); err != errNoSession {
		t.Errorf("%v", err)
	}
	if _, err := w.s.authenticate(w.call(engine.Key{})); err != engine.ErrKeyUnknown { // by the header of make
		t.Error(err)
	}
	y, call := w.make(FlowIdentify, "")
	unlock, err := w.s.lockRunning(call, y.ID)
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.s.decide(call, *y, dialect.Photo{Data: []byte("bob")})
	if err != nil || o.Person != "bob" {
		t.Fatalf("%+v %v", o, err)
	}
	if err := w.engine.DeletePerson(t.Context(), "default", "g", "bob", engine.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	now, err := w.s.settle(call, y.ID, ending{status: StatusSuccess, outcome: o})
	unlock()
	if err != nil || now.Status != StatusFail || now.Reason != ReasonNotEnrolled || now.Person != "" || now.Score != nil {
		t.Errorf("%+v %v", now, err)
	}
}

// TestScores: a session keeps of a score what the key that made it may be told.
func TestScores(t *testing.T) {
	w := newWorld(t)
	w.enrol("ada", "ada")
	for scores, want := range map[engine.Scores]func(*float64) bool{
		engine.ScoresExact:    func(s *float64) bool { return s != nil && *s != float64(int(*s*100))/100 },
		engine.ScoresRounded:  func(s *float64) bool { return s != nil && *s == float64(int(*s*100+0.5))/100 },
		engine.ScoresDecision: func(s *float64) bool { return s == nil },
	} {
		w.newMaker(engine.KeySpec{Role: engine.RoleMatcher, Scores: scores})
		x, call := w.make(FlowVerify, "ada")
		if now, _, err := w.s.finish(call, x, live("ada.2")); err != nil || !want(now.Score) {
			t.Errorf("%s: %v %v", scores, now.Score, err)
		} else {
			for reader, want := range map[engine.Scores]bool{engine.ScoresExact: now.Score != nil, engine.ScoresDecision: false} {
				if b := bodyOf(w.call(engine.Key{Scores: reader}), &now); (b.Score != nil) != want {
					t.Errorf("%s told to %s: %v", scores, reader, b.Score)
				}
			}
		}
	}
}

// TestOwner: an owner's decision is taken for the flow's, and its own id refuses a second session.
func TestOwner(t *testing.T) {
	w := newWorld(t)
	var told Session
	w.s.Handle("other", Owner{
		Decide: func(_ *dialect.Call, x Session, best dialect.Photo) (Outcome, error) {
			return Outcome{Result: true, Person: string(best.Data) + string(x.Data)}, nil
		},
		Ended: func(_ context.Context, tenant string, x Session) { told = x },
	})
	w.enrol("ada!", "ada")
	spec := Spec{ID: "other.1", Owner: "other", Flow: FlowIdentify, Gallery: "g", Data: []byte("!")}
	x, _, err := w.s.Create(w.call(w.maker), spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.s.Create(w.call(w.maker), spec); err != errExists {
		t.Errorf("a second: %v", err)
	}
	now, _, err := w.s.finish(w.call(engine.Key{ID: x.ID, Tenant: "default"}), &x, live("ada"))
	if err != nil || now.Person != "ada!" || told.ID != "other.1" || told.Status != StatusSuccess || string(told.Data) != "!" {
		t.Errorf("%+v %+v %v", now, told, err)
	}
}

// TestFull: a tenant's sessions leave room for other documents.
func TestFull(t *testing.T) {
	w := newWorld(t)
	w.s.index.mu.count["default"] = maxSessions
	_, _, err := w.s.Create(w.call(w.maker), Spec{Flow: FlowLiveness, Gallery: "g"})
	if r, ok := errors.AsType[*dialect.Refusal](err); !ok || r.Code != "documents_full" {
		t.Errorf("%v", err)
	}
	if w.s.index.full("another", w.now()) {
		t.Error("another tenant has none")
	}
}
