package engine

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// testClock is set by hand.
type testClock struct{ ms atomic.Int64 }

func (c *testClock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *testClock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// retentionConfig looks every millisecond who is due, or never, and believes its clock.
func retentionConfig(sweeps bool) (Config, *testClock) {
	c, clock := testConfig(vfs.NewMem()), &testClock{}
	clock.ms.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	c.Now, c.sweepEvery, c.eraseHold = clock.now, time.Hour, time.Nanosecond
	if sweeps {
		c.sweepEvery = time.Millisecond
	}
	return c, clock
}

func putRetained(t testing.TB, e *Engine, id string, r Retention) (Person, bool, error) {
	t.Helper()
	return e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Templates: []Template{template(1, 2, 3, 4)}, Retention: r})
}

// waitGone waits until so many are left, and the sweep that erased the others has noted when it is due again.
func waitGone(t testing.TB, e *Engine, name string, people int) {
	t.Helper()
	for range 5000 {
		g, err := e.Gallery(t.Context(), "t", name)
		if err != nil || g.People == people && swept(galleryOf(t, e, "t", name)) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("who is due is not erased")
}

func swept(g *gallery) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.mu.people {
		if m.due != 0 && (g.mu.nextDue == 0 || g.mu.nextDue > m.due) {
			return false
		}
	}
	return true
}

// TestDueIsNotThere: from the moment a person is due no call finds the person, though nobody was erased yet.
func TestDueIsNotThere(t *testing.T) {
	c, clock := retentionConfig(false)
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	end := clock.now().Add(time.Hour)
	for id, r := range map[string]Retention{"brief": {Expires: end}, "agreed": {Expires: end.Add(time.Hour), Consent: &Consent{Purpose: "entry", Basis: "consent", Given: clock.now(), Expires: end}},
		"stays": {Consent: &Consent{Purpose: "entry", Basis: "contract", Given: clock.now(), Reference: "file 3"}}} {
		if _, created, err := putRetained(t, e, id, r); err != nil || !created {
			t.Fatal(created, err)
		}
	}
	p, err := e.Person(t.Context(), "t", "g", "agreed")
	if err != nil || !p.Expires.Equal(end.Add(time.Hour)) || p.Consent == nil || p.Consent.Purpose != "entry" || !p.Consent.Expires.Equal(end) {
		t.Fatalf("%+v %+v, %v", p, p.Consent, err)
	}
	find := func() string {
		t.Helper()
		found, err := e.Identify(t.Context(), "t", "g", template(1, 2, 3, 4), IdentifyOptions{TopK: 1})
		if err != nil {
			t.Fatal(err)
		}
		all, next, err := e.People(t.Context(), "t", "g", 0, "")
		if err != nil || next != "" {
			t.Fatal(next, err)
		}
		text := fmt.Sprint(len(found.Candidates), found.Candidates[0].Person)
		for _, p := range all {
			text += " " + p.ID
		}
		return text
	}
	if got := find(); got != "1agreed agreed brief stays" {
		t.Errorf("before: %s", got)
	}
	clock.advance(time.Hour)
	if got := find(); got != "1stays stays" {
		t.Errorf("after: %s", got)
	}
	for _, id := range []string{"brief", "agreed"} {
		_, err := e.Verify(t.Context(), "t", "g", id, template(1, 2, 3, 4), Policy{})
		wantErr(t, err, ErrPersonNotFound)
		_, err = e.Person(t.Context(), "t", "g", id)
		wantErr(t, err, ErrPersonNotFound)
		_, err = e.PatchPerson(t.Context(), "t", "g", id, PersonPatch{})
		wantErr(t, err, ErrPersonNotFound)
		_, err = e.AddTemplate(t.Context(), "t", "g", id, TemplateSpec{Templates: []Template{template(1, 0, 0, 0)}})
		wantErr(t, err, ErrPersonNotFound)
		wantErr(t, e.DeletePerson(t.Context(), "t", "g", id, WriteOptions{}), ErrPersonNotFound)
	}
	mustCheck(t, e)
	p, created, err := putRetained(t, e, "brief", Retention{})
	if err != nil || !created || !p.Created.Equal(clock.now()) || len(p.Templates) != 1 {
		t.Errorf("put over who is due: %+v, created %v, %v", p, created, err)
	}
	if got := find(); got != "1brief brief stays" {
		t.Errorf("enrolled anew: %s", got)
	}
	erased := 0
	for _, r := range records(t, e, "t") {
		if r.Op == AuditPersonDelete && r.Person == "brief" && strings.HasPrefix(r.Note, "due since 2030-01-01T01:00:00Z") {
			erased++
		}
	}
	if erased != 1 {
		t.Errorf("%d records of the erasure, want 1", erased)
	}
	mustCheck(t, e)
}

// TestDueIsErased: who is due is erased, recorded, also when due while the engine was closed, and nobody else.
func TestDueIsErased(t *testing.T) {
	c, clock := retentionConfig(true)
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	const many = 3*maxSweep + 5
	for i := range many {
		if _, _, err := putRetained(t, e, fmt.Sprint("p", i), Retention{Expires: clock.now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	for id, after := range map[string]time.Duration{"later": time.Hour, "last": 48 * time.Hour} {
		if _, _, err := putRetained(t, e, id, Retention{Expires: clock.now().Add(after)}); err != nil {
			t.Fatal(err)
		}
	}
	clock.advance(time.Minute)
	waitGone(t, e, "g", 2)
	mustCheck(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	clock.advance(2 * time.Hour)
	e = open(t, c)
	waitGone(t, e, "g", 1)
	mustCheck(t, e)
	if _, err := e.PatchPerson(t.Context(), "t", "g", "last", PersonPatch{Expires: new(time.Time)}); err != nil {
		t.Fatal(err)
	}
	clock.advance(100 * 24 * time.Hour)
	time.Sleep(20 * time.Millisecond)
	if p, err := e.Person(t.Context(), "t", "g", "last"); err != nil || !p.Expires.IsZero() {
		t.Errorf("who was given no end: %+v, %v", p, err)
	}
	by := map[string]int{}
	for _, r := range records(t, e, "t") {
		if r.Op == AuditPersonDelete {
			by[r.Program]++
		}
	}
	if len(by) != 1 || by["retention"] != many+1 {
		t.Errorf("erasures recorded by %v, want %d by retention", by, many+1)
	}
}

// TestRetentionDays: a gallery's default holds for who says nothing, from the next put on.
func TestRetentionDays(t *testing.T) {
	c, clock := retentionConfig(false)
	e := open(t, c)
	day := 24 * time.Hour
	g, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{RetentionDays: 2})
	if err != nil || g.RetentionDays != 2 {
		t.Fatal(g, err)
	}
	expires := func(id string, r Retention) time.Duration {
		t.Helper()
		p, _, err := putRetained(t, e, id, r)
		if err != nil {
			t.Fatal(err)
		}
		if p.Expires.IsZero() {
			return 0
		}
		return p.Expires.Sub(clock.now())
	}
	if got := expires("a", Retention{}); got != 2*day {
		t.Errorf("due after %v, want two days", got)
	}
	if got := expires("b", Retention{Expires: clock.now().Add(5 * day)}); got != 5*day {
		t.Errorf("due after %v, want five days", got)
	}
	if g, err = e.UpdateGallery(t.Context(), "t", "g", GalleryChange{RetentionDays: new(0)}); err != nil || g.RetentionDays != 0 {
		t.Fatal(g, err)
	}
	if got := expires("c", Retention{}); got != 0 {
		t.Errorf("due after %v, want never", got)
	}
	if p, err := e.Person(t.Context(), "t", "g", "a"); err != nil || p.Expires.Sub(clock.now()) != 2*day {
		t.Errorf("a change of the default changed who was there: %+v, %v", p, err)
	}
	_, err = e.UpdateGallery(t.Context(), "t", "g", GalleryChange{RetentionDays: new(-1)})
	wantErr(t, err, ErrGallerySpec)
	_, _, err = e.CreateGallery(t.Context(), "t", "h", GallerySpec{RetentionDays: MaxRetentionDays + 1})
	wantErr(t, err, ErrGallerySpec)
	e = reopen(t, e, c)
	mustCheck(t, e)
}

func TestRetentionRefuses(t *testing.T) {
	c, clock := retentionConfig(false)
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	now := clock.now()
	good := Consent{Purpose: "entry", Basis: "consent", Given: now}
	with := func(change func(*Consent)) Retention {
		x := good
		change(&x)
		return Retention{Consent: &x}
	}
	for name, r := range map[string]Retention{
		"past": {Expires: now}, "long ago": {Expires: time.Unix(-5, 0)}, "too late": {Expires: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"no purpose":      with(func(c *Consent) { c.Purpose = "" }),
		"no basis":        with(func(c *Consent) { c.Basis = "" }),
		"long reference":  with(func(c *Consent) { c.Reference = strings.Repeat("x", MaxConsentBytes+1) }),
		"control":         with(func(c *Consent) { c.Purpose = "a\nb" }),
		"never given":     with(func(c *Consent) { c.Given = time.Time{} }),
		"ended":           with(func(c *Consent) { c.Expires = now.Add(-time.Hour) }),
		"ends before now": with(func(c *Consent) { c.Expires = now }),
	} {
		if _, _, err := putRetained(t, e, "a", r); !bytes.Contains([]byte(Detail(err)), []byte("give")) && !strings.Contains(Detail(err), "use up to") && !strings.Contains(Detail(err), "say when") {
			t.Errorf("%s: %v", name, err)
		} else {
			wantErr(t, err, ErrRetention)
		}
	}
	if _, _, err := putRetained(t, e, "a", Retention{Consent: &good}); err != nil {
		t.Fatal(err)
	}
	_, err := e.PatchPerson(t.Context(), "t", "g", "a", PersonPatch{Expires: new(now)})
	wantErr(t, err, ErrRetention)
	p, err := e.PatchPerson(t.Context(), "t", "g", "a", PersonPatch{Consent: new((*Consent)(nil)), Expires: new(now.Add(time.Hour))})
	if err != nil || p.Consent != nil || p.Expires.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = e.PatchPerson(t.Context(), "t", "g", "a", PersonPatch{Consent: new(&good)}); err != nil || p.Consent == nil || p.Expires.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
	mustCheck(t, e)
}

// TestDueWhileMoving: who is due is erased in both spaces, and in the new one after the switch.
func TestDueWhileMoving(t *testing.T) {
	for _, finish := range []bool{false, true} {
		c, clock := retentionConfig(true)
		e := open(t, c)
		mustGallery(t, e, "t", "g")
		if _, err := e.StartMove(t.Context(), "t", "g", MoveSpec{Space: spaceB.ID}); err != nil {
			t.Fatal(err)
		}
		v := make([]float32, spaceB.Dim)
		v[3] = 1
		for id, r := range map[string]Retention{"due": {Expires: clock.now().Add(time.Hour)}, "stays": {}} {
			spec := PersonSpec{Templates: []Template{template(1, 2, 3, 4), {Space: spaceB.ID, Vector: v}}, Retention: r}
			if _, _, err := e.PutPerson(t.Context(), "t", "g", id, spec); err != nil {
				t.Fatal(err)
			}
		}
		if finish {
			if _, err := e.FinishMove(t.Context(), "t", "g", spaceB.ID, false); err != nil {
				t.Fatal(err)
			}
		}
		clock.advance(time.Hour)
		waitGone(t, e, "g", 1)
		mustCheck(t, e)
		e = reopen(t, e, c)
		mustCheck(t, e)
	}
}

// TestClockGuard: a clock that jumps forward is not believed for a while; one that is late, or goes as it should, is.
func TestClockGuard(t *testing.T) {
	var g clockGuard
	wall, mono := time.Unix(1e9, 0), time.Now()
	step := func(by, really time.Duration) bool {
		wall, mono = wall.Add(by), mono.Add(really)
		return g.believed(wall, mono, time.Hour)
	}
	for i, s := range []struct {
		by, really time.Duration
		want       bool
	}{{0, 0, true}, {10 * time.Second, 10 * time.Second, true}, {time.Minute, 10 * time.Second, true}, {time.Hour, 10 * time.Second, false},
		{10 * time.Second, 10 * time.Second, false}, {time.Hour, time.Hour, true}, {-time.Hour, 10 * time.Second, true}, {time.Hour, 0, false}} {
		if got := step(s.by, s.really); got != s.want {
			t.Errorf("step %d: believed %v, want %v", i, got, s.want)
		}
	}
}

// TestClockJump: nobody is erased by a clock that jumped.
func TestClockJump(t *testing.T) {
	c, clock := retentionConfig(true)
	c.eraseHold = time.Hour
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	if _, _, err := putRetained(t, e, "a", Retention{Expires: clock.now().Add(24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	clock.advance(48 * time.Hour)
	if _, err := e.Person(t.Context(), "t", "g", "a"); err == nil {
		t.Error("who is due by the clock is there")
	}
	time.Sleep(50 * time.Millisecond)
	clock.advance(-48 * time.Hour)
	if _, err := e.Person(t.Context(), "t", "g", "a"); err != nil {
		t.Errorf("the clock was mended and the person is gone: %v", err)
	}
}

// TestAuditPrune: the oldest blocks go, the chain verifies from what was noted of them, and goes on.
func TestAuditPrune(t *testing.T) {
	c, clock := retentionConfig(false)
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	for i := range 20 {
		clock.advance(time.Hour)
		if _, _, err := putRetained(t, e, fmt.Sprint(i), Retention{}); err != nil {
			t.Fatal(err)
		}
	}
	all := auditLog(t, e, "t")
	cut := clock.now().Add(-5*time.Hour + time.Minute)
	if err := e.pruneAudit(t.Context(), "t", cut); err != nil {
		t.Fatal(err)
	}
	if err := e.pruneAudit(t.Context(), "t", cut); err != nil { // nothing is left to prune
		t.Fatal(err)
	}
	mustCheck(t, e)
	left := auditLog(t, e, "t")
	if len(left) != 6 || fmt.Sprint(left[:5]) != fmt.Sprint(all[16:]) {
		t.Fatalf("%d records are left: %s", len(left), left)
	}
	last := AuditHead{16, all[15].Hash}
	if want := "16 records, " + pruneNote(last); !strings.Contains(string(left[5].Record), want) {
		t.Errorf("%s does not say %q", left[5].Record, want)
	}
	e = reopen(t, e, c)
	sum, err := VerifyAudit(bytes.NewReader(exported(t, e, "t", 0)), AuditHead{18, all[17].Hash})
	if err != nil || !sum.Pruned || sum.After != 16 || sum.Records != 6 {
		t.Errorf("%+v, %v", sum, err)
	}
	_, err = e.ExportAudit(t.Context(), "t", 7)
	wantErr(t, err, ErrCursor)
	clock.advance(10000 * time.Hour)
	if err := e.pruneAudit(t.Context(), "t", clock.now()); err != nil {
		t.Fatal(err)
	}
	if left := auditLog(t, e, "t"); len(left) < 1 || len(left) > 2 {
		t.Errorf("%d records are left, want the newest and the note", len(left))
	}
	mustCheck(t, e)
}

// TestPeopleAt: people are counted by who is there: who is due has no place, and what is not a place is refused.
func TestPeopleAt(t *testing.T) {
	c, clock := retentionConfig(false)
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	for i := range 8 {
		r := Retention{}
		if i%3 == 0 {
			r.Expires = clock.now().Add(time.Minute)
		}
		if _, _, err := putRetained(t, e, fmt.Sprint("p", i), r); err != nil {
			t.Fatal(err)
		}
	}
	at := func(offset, limit int) (ids string) {
		t.Helper()
		people, total, err := e.PeopleAt(t.Context(), "t", "g", offset, limit)
		if err != nil || total != 8 {
			t.Fatal(total, err)
		}
		for _, p := range people {
			ids += p.ID
		}
		return ids
	}
	if got := at(2, 3) + "," + at(6, 0) + "," + at(8, 9) + "," + at(MaxListOffset, 1); got != "p2p3p4,p6p7,," {
		t.Errorf("%s", got)
	}
	clock.advance(time.Minute) // p0, p3 and p6 are due, and not erased
	if got := at(0, 2) + "," + at(2, 2) + "," + at(4, 9) + "," + at(5, 9); got != "p1p2,p4p5,p7," {
		t.Errorf("%s", got)
	}
	for _, wrong := range [][2]int{{-1, 1}, {MaxListOffset + 1, 1}, {0, -1}, {0, MaxListLimit + 1}} {
		_, _, err := e.PeopleAt(t.Context(), "t", "g", wrong[0], wrong[1])
		wantErr(t, err, ErrLimit)
	}
	_, _, err := e.PeopleAt(t.Context(), "t", "nowhere", 0, 1)
	wantErr(t, err, ErrGalleryNotFound)
}
