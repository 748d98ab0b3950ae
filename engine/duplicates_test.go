package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/index"
	"mien/index/scan"
)

// face is one of 20 faces of spaceB, as different as can be.
func face(n int) Template {
	v := make([]float32, spaceB.Dim)
	v[n%spaceB.Dim] = 1
	return Template{Space: spaceB.ID, Vector: v, Source: "image"}
}

func facesGallery(t testing.TB, e *Engine, spec GallerySpec) {
	t.Helper()
	spec.Space = spaceB.ID
	if _, _, err := e.CreateGallery(context.Background(), "t", "g", spec); err != nil {
		t.Fatal(err)
	}
}

func enrolFace(e *Engine, id string, face Template, d DuplicateCheck) (Person, error) {
	p, _, err := e.PutPerson(context.Background(), "t", "g", id, PersonSpec{Templates: []Template{face}, EnrolOptions: EnrolOptions{Duplicates: d}})
	return p, err
}

func wantDuplicate(t testing.TB, err error, people ...string) {
	t.Helper()
	d, ok := errors.AsType[*DuplicateError](err)
	if !ok || !errors.Is(err, ErrDuplicate) || Detail(err) == "" {
		t.Errorf("%v, want a duplicate of %q", err, people)
		return
	}
	if got := named(d.People); !slices.Equal(got, people) {
		t.Errorf("a duplicate of %q, want %q", got, people)
	}
}

func named(all []Candidate) (ids []string) {
	for _, c := range all {
		ids = append(ids, c.Person)
	}
	return ids
}

func TestDuplicates(t *testing.T) {
	e := openMem(t)
	facesGallery(t, e, GallerySpec{Duplicates: DuplicatesWarn})
	ctx := t.Context()
	must := func(p Person, err error) Person {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	must(enrolFace(e, "ann", face(1), ""))
	must(enrolFace(e, "bob", face(2), DuplicatesReject))
	must(enrolFace(e, "ann", face(1), DuplicatesReject)) // again: a person does not duplicate themselves
	_, err := enrolFace(e, "eve", face(1), DuplicatesReject)
	wantDuplicate(t, err, "ann")
	_, err = e.Person(ctx, "t", "g", "eve")
	wantErr(t, err, ErrPersonNotFound)
	if p := must(enrolFace(e, "eve", face(1), DuplicatesOff)); !slices.Equal(named(p.Duplicates), []string{"ann"}) || p.Duplicates[0].Cosine != 1 {
		t.Errorf("off asks for less than the gallery, which warns: %+v", p)
	}
	p, _, err := e.PutPerson(ctx, "t", "g", "eve", PersonSpec{Templates: []Template{face(1)}, EnrolOptions: EnrolOptions{Duplicates: DuplicatesOff, Overrule: true}})
	if err != nil || p.Duplicates != nil {
		t.Errorf("overruled: %+v, %v", p, err)
	}
	_, err = e.AddTemplate(ctx, "t", "g", "bob", TemplateSpec{Templates: []Template{face(1)}, EnrolOptions: EnrolOptions{Duplicates: DuplicatesReject}})
	wantDuplicate(t, err, "ann", "eve")
	if p, err := e.Person(ctx, "t", "g", "bob"); err != nil || len(p.Templates) != 1 || p.Duplicates != nil {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = enrolFace(e, "x", face(5), "maybe")
	wantErr(t, err, ErrDuplicateCheck)

	// The gallery's own check, and its policy: faces at cosine 0.6 are alike by similarity 0.8, not by the rate at this size.
	near := face(3)
	near.Vector[4] = 0.75
	must(enrolFace(e, "near", near, ""))
	if p := must(enrolFace(e, "half", face(4), "")); p.Duplicates != nil && p.Duplicates[0].Cosine < 0.5 {
		t.Errorf("%+v", p.Duplicates)
	}
	strict := DuplicatesReject
	g, err := e.UpdateGallery(ctx, "t", "g", GalleryChange{Duplicates: &strict, DuplicatePolicy: &Policy{Similarity: new(1.0)}})
	if err != nil || g.Duplicates != strict || *g.DuplicatePolicy.Similarity != 1 {
		t.Fatalf("%+v, %v", g, err)
	}
	_, err = enrolFace(e, "twin", face(2), "")
	wantDuplicate(t, err, "bob")
	_, err = e.UpdateGallery(ctx, "t", "g", GalleryChange{DuplicatePolicy: &Policy{Cosine: new(0.5)}})
	wantErr(t, err, ErrPolicy)
	mustCheck(t, e)
	wantFormat(t, e, identityFormat)
}

// meanwhile runs a function between a check's search and the turn.
type meanwhile struct {
	searcher
	do    func() // once
	first bool   // before the search
}

func (m *meanwhile) SearchInto(ctx context.Context, dst []index.Hit, q []float32, o index.Options) ([]index.Hit, error) {
	do := m.do
	m.do = nil
	if do != nil && m.first {
		do()
	}
	hits, err := m.searcher.SearchInto(ctx, dst, q, o)
	if do != nil && !m.first {
		do()
	}
	return hits, err
}

// TestDuplicatesMeanwhile: what is written between the search and the turn counts as if the search had seen it (D2, D3).
func TestDuplicatesMeanwhile(t *testing.T) {
	type enrol = map[string]Template
	many := enrol{}
	for i := range maxNamed + 2 {
		many["m"+strconv.Itoa(i)] = face(1)
	}
	ignore := func(_ any, err error) error { return err }
	for name, test := range map[string]struct {
		before    enrol
		meanwhile func(e *Engine) error
		alike     []string // of face 1 under the id new, in the end
	}{
		"enrolled": {nil, func(e *Engine) error { return ignore(enrolFace(e, "ann", face(1), "")) }, []string{"ann"}},
		"another":  {nil, func(e *Engine) error { return ignore(enrolFace(e, "ann", face(2), "")) }, nil},
		"gone":     {enrol{"ann": face(1)}, func(e *Engine) error { return e.DeletePerson(context.Background(), "t", "g", "ann", WriteOptions{}) }, nil},
		"replaced": {enrol{"ann": face(1)}, func(e *Engine) error { return ignore(enrolFace(e, "ann", face(2), "")) }, nil},
		"more": {enrol{"ann": face(1)}, func(e *Engine) error {
			return ignore(e.AddTemplate(context.Background(), "t", "g", "ann", TemplateSpec{Templates: []Template{face(2)}}))
		}, []string{"ann"}},
		"added": {enrol{"ann": face(2)}, func(e *Engine) error {
			return ignore(e.AddTemplate(context.Background(), "t", "g", "ann", TemplateSpec{Templates: []Template{face(1)}}))
		}, []string{"ann"}},
		"gone and come": {enrol{"ann": face(1)}, func(e *Engine) error {
			return errors.Join(e.DeletePerson(context.Background(), "t", "g", "ann", WriteOptions{}), ignore(enrolFace(e, "ann", face(1), "")))
		}, []string{"ann"}},
		"oneself": {nil, func(e *Engine) error { return ignore(enrolFace(e, "new", face(1), "")) }, nil},
		"one of many": {many, func(e *Engine) error { return e.DeletePerson(context.Background(), "t", "g", "m0", WriteOptions{}) },
			[]string{"m1", "m10", "m11", "m2", "m3", "m4", "m5", "m6", "m7", "m8"}},
		"more than is kept": {nil, func(e *Engine) error {
			err := ignore(enrolFace(e, "ann", face(1), ""))
			for i := 0; err == nil && i <= maxRecentVectors/MaxTemplates; i++ {
				_, _, err = e.PutPerson(context.Background(), "t", "g", "other", PersonSpec{Templates: slices.Repeat([]Template{face(2)}, MaxTemplates)})
			}
			return err
		}, []string{"ann"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, m := testConfig(vfs.NewMem()), &meanwhile{}
			c.makeIndex = func(kind string, s scan.Config) (x searcher, err error) {
				m.searcher, err = makeIndex(kind, s)
				return m, err
			}
			e := open(t, c)
			facesGallery(t, e, GallerySpec{})
			for id, face := range test.before {
				if _, err := enrolFace(e, id, face, ""); err != nil {
					t.Fatal(err)
				}
			}
			m.do = func() {
				if err := test.meanwhile(e); err != nil {
					t.Error(err)
				}
			}
			p, err := enrolFace(e, "new", face(1), DuplicatesWarn)
			if err != nil || !slices.Equal(named(p.Duplicates), test.alike) {
				t.Errorf("alike are %q, want %q: %v", named(p.Duplicates), test.alike, err)
			}
			g, _ := e.gallery("t", "g")
			if r := &g.recent; r.checks != 0 || r.writes != nil || r.vectors != 0 || r.remembered != 0 {
				t.Errorf("at rest there are %d checks, %d writes, %d vectors, %d remembered", r.checks, len(r.writes), r.vectors, r.remembered)
			}
			mustCheck(t, e)
		})
	}
}

// TestDuplicatesUnsynced: an enrolment that no search finds, for its fsync is held up, is found, and the refusal waits for it
// (D2, W4).
func TestDuplicatesUnsynced(t *testing.T) {
	fs := newSlowSync(vfs.NewCrashableMem())
	e := open(t, testConfig(fs))
	facesGallery(t, e, GallerySpec{Duplicates: DuplicatesReject})
	fs.hold()
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := enrolFace(e, "ann", face(1), ""); first <- err }()
	waitVisible(t, e, "ann")
	go func() { _, err := enrolFace(e, "bob", face(1), ""); second <- err }()
	select {
	case err := <-second:
		t.Errorf("answered before the first enrolment is durable: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	fs.release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	wantDuplicate(t, <-second, "ann")
	mustCheck(t, e)
}

// TestDuplicateRaces: of many clients that enrol one face at one time under ids of their own, exactly one is acknowledged, and
// after a crash at any moment it is there and no other is.
func TestDuplicateRaces(t *testing.T) {
	rng := newRand(t)
	for _, kind := range []string{indexScan, indexHNSW} {
		for range scaled(2) {
			duplicateRace(t, rng, kind)
		}
	}
}

// race is one face and who enrolled it.
type race struct {
	sync.Mutex
	winners []string
}

func duplicateRace(t *testing.T, rng *rand.Rand, kind string) {
	const clients = 6
	mem := vfs.NewCrashableMem()
	e := open(t, testConfig(mem))
	facesGallery(t, e, GallerySpec{Index: kind, Duplicates: DuplicatesReject})
	races := make([]race, spaceB.Dim)
	var rejected atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := range races {
				id := fmt.Sprintf("%d-%d", n, c)
				_, err := enrolFace(e, id, face(n), "")
				switch r := &races[n]; {
				case err == nil:
					r.Lock()
					r.winners = append(r.winners, id)
					r.Unlock()
				case errors.Is(err, ErrDuplicate):
					rejected.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
		acked := acknowledged(races)
		checkRaces(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng}), acked)
	}
	wg.Wait()
	if n := rejected.Load(); n != (clients-1)*int64(len(races)) {
		t.Errorf("%d enrolments were rejected", n)
	}
	checkRaces(t, mem.CrashClone(vfs.CrashCloneCfg{}), acknowledged(races))
	mustCheck(t, e)
}

func acknowledged(races []race) (all [][]string) {
	for i := range races {
		r := &races[i]
		r.Lock()
		all = append(all, slices.Clone(r.winners))
		r.Unlock()
	}
	return all
}

// checkRaces opens a crash image: each face has one person at most, who is the one that was acknowledged, if one was.
func checkRaces(t *testing.T, image *vfs.MemFS, acked [][]string) {
	t.Helper()
	e, err := Open(testConfig(image))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	mustCheck(t, e)
	for n, winners := range acked {
		r, err := e.Identify(t.Context(), "t", "g", face(n), IdentifyOptions{Policy: Policy{Cosine: new(0.9)}, Exact: true})
		if err != nil || len(r.Candidates) > 1 || len(winners) > 1 || len(winners) == 1 && !slices.Equal(named(r.Candidates), winners) {
			t.Errorf("face %d: %q are there, acknowledged were %q: %v", n, named(r.Candidates), winners, err)
		}
	}
}

// TestDuplicatesMoved: templates of the space that a gallery is being moved to are compared with those of that space (D4).
func TestDuplicatesMoved(t *testing.T) {
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	ctx := t.Context()
	if _, err := e.StartMove(ctx, "t", "g", MoveSpec{Space: spaceB.ID}); err != nil {
		t.Fatal(err)
	}
	put := func(id string, templates ...Template) error {
		_, _, err := e.PutPerson(ctx, "t", "g", id, PersonSpec{Templates: templates, EnrolOptions: EnrolOptions{Duplicates: DuplicatesReject}})
		return err
	}
	if err := errors.Join(put("ann", template(1, 0, 0, 0), face(1)), put("bob", template(0, 1, 0, 0))); err != nil {
		t.Fatal(err)
	}
	wantDuplicate(t, put("bob", face(1)), "ann")
	wantDuplicate(t, put("bob", template(0, 0, 1, 0), face(1)), "ann")
	_, err := e.AddTemplate(ctx, "t", "g", "bob", TemplateSpec{Templates: []Template{face(1)}, EnrolOptions: EnrolOptions{Duplicates: DuplicatesReject}})
	wantDuplicate(t, err, "ann")
	if err := put("bob", face(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.FinishMove(ctx, "t", "g", spaceB.ID, false); err != nil {
		t.Fatal(err)
	}
	wantDuplicate(t, put("eve", face(1)), "ann")
	mustCheck(t, e)
}
