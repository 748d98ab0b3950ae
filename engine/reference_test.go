package engine

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// reads are who the audit log says was read, oldest first.
func reads(t *testing.T, e *Engine) (people []string) {
	t.Helper()
	for _, r := range records(t, e, "t") {
		if r.Op == AuditTemplateRead {
			people = append(people, r.Person+" by "+r.Key)
		}
	}
	return people
}

func wantTemplate(t *testing.T, e *Engine, id string, want Template) {
	t.Helper()
	got, err := e.PersonTemplate(asActor(t, "reads"), "t", "g", id)
	if err != nil || got.Space != want.Space || len(got.Vector) != len(want.Vector) {
		t.Fatalf("%s: %+v %v", id, got, err)
	}
	space, err := e.Space(want.Space)
	if err != nil {
		t.Fatal(err)
	}
	unit, err := unitVector(space, want.Vector)
	if err != nil || !slices.Equal(unit, got.Vector) {
		t.Errorf("%s: %v, want %v (%v)", id, got.Vector, unit, err)
	}
	d, err := e.Verify(t.Context(), "t", "g", id, got, Policy{})
	if err == nil && (!d.Match || math.Abs(d.Cosine-1) > 1e-6) {
		t.Errorf("%s is not who the template is of: %+v", id, d)
	}
}

// TestPersonTemplate: it is the newest, whatever becomes of the person, and each time it is recorded who was read by whom.
func TestPersonTemplate(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	mustGallery(t, e, "t", "g")
	put := func(id string, templates ...Template) {
		t.Helper()
		if _, _, err := e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Templates: templates}); err != nil {
			t.Fatal(err)
		}
	}
	put("ann", template(1, 2, 3, 4))
	put("bob", template(4, 3, 2, 1), template(1, 0, 0, 5))
	wantTemplate(t, e, "ann", template(1, 2, 3, 4))
	wantTemplate(t, e, "bob", template(1, 0, 0, 5))
	if _, err := e.AddTemplate(t.Context(), "t", "g", "ann", TemplateSpec{Templates: []Template{template(0, 0, 1, 0)}}); err != nil {
		t.Fatal(err)
	}
	wantTemplate(t, e, "ann", template(0, 0, 1, 0))
	if _, err := e.PatchPerson(t.Context(), "t", "g", "bob", PersonPatch{Status: StatusSuspended}); err != nil {
		t.Fatal(err)
	}
	e = reopen(t, e, testConfig(mem))
	wantTemplate(t, e, "bob", template(1, 0, 0, 5))
	put("bob", template(0, 1, 0, 0))
	wantTemplate(t, e, "bob", template(0, 1, 0, 0))
	if _, err := e.StartMove(t.Context(), "t", "g", MoveSpec{Space: spaceB.ID}); err != nil {
		t.Fatal(err)
	}
	wantTemplate(t, e, "bob", template(0, 1, 0, 0))
	by := " by " + actorOf(asActor(t, "")).Key
	if got, want := reads(t, e), []string{"ann" + by, "bob" + by, "ann" + by, "bob" + by, "bob" + by, "bob" + by}; !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	mustCheck(t, e)
}

// TestPersonTemplateRefused: who is not there is not read, and nothing is recorded.
func TestPersonTemplateRefused(t *testing.T) {
	e, now := clockedEngine(t)
	mustGallery(t, e, "t", "g")
	mustPerson(t, e, "g", "gone")
	if err := e.DeletePerson(t.Context(), "t", "g", "gone", WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "due", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}, Retention: Retention{Expires: now.Add(time.Second)}}); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Second)
	for _, x := range []struct {
		tenant, gallery, person string
		want                    error
	}{
		{"t", "g", "nobody", ErrPersonNotFound}, {"t", "g", "gone", ErrPersonNotFound}, {"t", "g", "due", ErrPersonNotFound},
		{"t", "h", "gone", ErrGalleryNotFound}, {"u", "g", "gone", ErrGalleryNotFound}, {"t", "g", "a\x00", ErrID},
	} {
		got, err := e.PersonTemplate(t.Context(), x.tenant, x.gallery, x.person)
		wantErr(t, err, x.want)
		if got.Vector != nil {
			t.Errorf("%+v: a template beside an error", x)
		}
	}
	if got := reads(t, e); got != nil {
		t.Errorf("recorded %q", got)
	}
}

// TestPersonTemplateUnrecorded: what the disk took no record of is not told.
func TestPersonTemplateUnrecorded(t *testing.T) {
	fail := &failAfter{match: func(errorfs.Op) bool { return true }}
	fail.countdown.Store(1 << 40)
	e := open(t, testConfig(errorfs.Wrap(vfs.NewCrashableMem(), fail)))
	mustGallery(t, e, "t", "g")
	mustPerson(t, e, "g", "ann")
	fail.countdown.Store(0)
	if got, err := e.PersonTemplate(t.Context(), "t", "g", "ann"); !errors.Is(err, ErrStorageFailed) || got.Vector != nil {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := e.Person(t.Context(), "t", "g", "ann"); err != nil {
		t.Error(err)
	}
}
