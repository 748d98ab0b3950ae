package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// exportedPeople is everybody of a gallery, with copies of the vectors.
func exportedPeople(t testing.TB, e *Engine, name string) (all []PortablePerson) {
	t.Helper()
	x, err := e.Export(context.Background(), "t", name)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for p, err := range x.People(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		p.Templates = slices.Clone(p.Templates)
		for i := range p.Templates {
			p.Templates[i].Vector = slices.Clone(p.Templates[i].Vector)
		}
		all = append(all, p)
	}
	return all
}

// sequence yields people, then err unless it is nil.
func sequence(people []PortablePerson, err error) iter.Seq2[PortablePerson, error] {
	return func(yield func(PortablePerson, error) bool) {
		for _, p := range people {
			if !yield(p, nil) {
				return
			}
		}
		if err != nil {
			yield(PortablePerson{}, err)
		}
	}
}

// importAll imports people and returns what became of each.
func importAll(t testing.TB, e *Engine, name string, o ImportOptions, people []PortablePerson) (results []ImportResult) {
	t.Helper()
	err := e.Import(context.Background(), "t", name, o, sequence(people, nil), func(r []ImportResult) error {
		results = append(results, r...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func outcomes(results []ImportResult) (all []string) {
	for _, r := range results {
		all = append(all, string(r.Outcome))
	}
	return all
}

// portable is a person of spaceA with random templates.
func portable(rng *rand.Rand, id string, templates int) PortablePerson {
	p := PortablePerson{ID: id, Created: time.UnixMilli(rng.Int64N(1 << 40)).UTC(), Updated: time.UnixMilli(rng.Int64N(1 << 40)).UTC()}
	if rng.IntN(2) == 0 {
		p.Metadata = fmt.Appendf(nil, `{"n":%d}`, rng.IntN(1000))
	}
	for i := range templates {
		p.Templates = append(p.Templates, PortableTemplate{Number: uint32(1 + 3*i), Created: p.Created, Source: "image", Vector: randomUnit(rng, spaceA).Vector})
	}
	return p
}

// TestExportImport: what was enrolled by calls is in another store, after an export and an import, to the bit.
func TestExportImport(t *testing.T) {
	rng, ctx := newRand(t), t.Context()
	from, to := openMem(t), openMem(t)
	for e, name := range map[*Engine]string{from: "g", to: "copy"} {
		if _, _, err := e.CreateGallery(ctx, "t", name, GallerySpec{History: 3}); err != nil {
			t.Fatal(err)
		}
	}
	mustGallery(t, from, "t", "neighbour")
	for i := range 40 {
		id := fmt.Sprintf("p %d", rng.IntN(30))
		spec := PersonSpec{Metadata: fmt.Appendf(nil, `{"i":%d}`, i)}
		for range 1 + rng.IntN(3) {
			spec.Templates = append(spec.Templates, randomUnit(rng, spaceA))
		}
		if i%3 == 0 {
			spec.Expires = time.UnixMilli(4e12 + rng.Int64N(1<<30))
		}
		if i%4 == 0 {
			spec.Consent = &Consent{Purpose: "doors", Basis: "consent", Given: time.UnixMilli(rng.Int64N(1<<40) + 1), Expires: time.UnixMilli(4e12)}
		}
		if i%5 == 0 {
			spec.Templates[0].Photo = &Photo{Judged: map[string]float64{qualityMeasure: float64(rng.IntN(10_001)) / 100}}
		}
		actor := WithActor(ctx, Actor{Program: "test", Key: []string{"", "0011223344556677"}[i%2]})
		if _, _, err := from.PutPerson(actor, "t", "g", id, spec); err != nil {
			t.Fatal(err)
		}
		if _, err := from.PatchPerson(ctx, "t", "g", id, PersonPatch{Status: []Status{StatusActive, StatusSuspended}[rng.IntN(2)]}); err != nil {
			t.Fatal(err)
		}
		if _, err := from.AddTemplate(ctx, "t", "g", id, TemplateSpec{Templates: []Template{randomUnit(rng, spaceA)}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := from.PutPerson(ctx, "t", "neighbour", "n", PersonSpec{Templates: []Template{randomUnit(rng, spaceA)}}); err != nil {
		t.Fatal(err)
	}
	people := exportedPeople(t, from, "g")
	for _, r := range importAll(t, to, "copy", ImportOptions{Space: spaceA.ID}, people) {
		if r.Outcome != ImportCreated || r.Err != nil {
			t.Errorf("%+v", r)
		}
	}
	compare := func() {
		t.Helper()
		mustCheck(t, to)
		if got := exportedPeople(t, to, "copy"); !reflect.DeepEqual(got, people) {
			t.Errorf("imported and exported again:\n%+v\nwant\n%+v", got, people)
		}
		for _, p := range people {
			was, err := from.Person(ctx, "t", "g", p.ID)
			is, e := to.Person(ctx, "t", "copy", p.ID)
			is.Version = was.Version
			if err != nil || e != nil || !reflect.DeepEqual(is, was) {
				t.Errorf("%+v, want %+v: %v, %v", is, was, e, err)
			}
		}
		for range 20 {
			probe := randomUnit(rng, spaceA)
			was, err := from.Identify(ctx, "t", "g", probe, IdentifyOptions{TopK: 5, Policy: Policy{Cosine: new(-1.0)}})
			is, e := to.Identify(ctx, "t", "copy", probe, IdentifyOptions{TopK: 5, Policy: Policy{Cosine: new(-1.0)}})
			if err != nil || e != nil || !reflect.DeepEqual(is, was) {
				t.Errorf("%+v, want %+v: %v, %v", is, was, e, err)
			}
		}
	}
	compare()
	config := testConfig(to.store.fs.Unwrap())
	to = reopen(t, to, config)
	compare()
	// Templates that are added later have new numbers.
	p, err := to.AddTemplate(ctx, "t", "copy", people[0].ID, TemplateSpec{Templates: []Template{randomUnit(rng, spaceA)}})
	if err != nil || p.Templates[len(p.Templates)-1].ID != fmt.Sprint(people[0].Templates[len(people[0].Templates)-1].Number+1) {
		t.Errorf("%+v, %v", p, err)
	}
	mustCheck(t, to)
}

// TestImportStates: what a file does not say of a person, and what it says that can't be.
func TestImportStates(t *testing.T) {
	rng, ctx := newRand(t), t.Context()
	e := openMem(t)
	if _, _, err := e.CreateGallery(ctx, "t", "g", GallerySpec{History: 2, RetentionDays: 10}); err != nil {
		t.Fatal(err)
	}
	o := ImportOptions{Space: spaceA.ID}
	a := portable(rng, "a", 1)
	a.Templates[0].Number = 9
	for i := range 4 {
		a.History = append(a.History, PortableTemplate{Number: uint32(i + 3), Created: a.Created, Source: "image", Replaced: a.Updated})
	}
	a.Status = StatusSuspended
	past, bad := portable(rng, "past", 1), portable(rng, "bad", 1)
	past.Expires = time.UnixMilli(1)
	bad.Status = "asleep"
	r := importAll(t, e, "g", o, []PortablePerson{past, a, bad})
	if got := outcomes(r); !slices.Equal(got, []string{"failed", "created", "failed"}) || !errors.Is(r[0].Err, ErrRetention) || !errors.Is(r[2].Err, ErrStatus) {
		t.Fatalf("%+v", r)
	}
	person := func() Person {
		t.Helper()
		mustCheck(t, e)
		p, err := e.Person(ctx, "t", "g", "a")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// The newest of the history, as much as the gallery keeps; an end by the gallery's default.
	if p := person(); p.Status != StatusSuspended || len(p.History) != 2 || p.History[0].ID != "5" || p.Templates[0].ID != "9" || p.Expires.IsZero() {
		t.Errorf("%+v", p)
	}
	// A file that says nothing of a status lifts no suspension, and the history is the person's.
	a.Status, a.Expires = "", time.UnixMilli(4e12).UTC()
	importAll(t, e, "g", o, []PortablePerson{a})
	if p := person(); p.Status != StatusSuspended || len(p.History) != 2 || p.History[1].ID != "9" || p.Templates[0].ID != "10" || !p.Expires.Equal(a.Expires) {
		t.Errorf("%+v", p)
	}
	a.Status = StatusActive
	importAll(t, e, "g", o, []PortablePerson{a})
	if p := person(); p.Status == StatusSuspended {
		t.Errorf("%+v", p)
	}
	for name, spoil := range map[string]func(*PortablePerson){
		"by":               func(p *PortablePerson) { p.Templates[0].By = "a\nb" },
		"long by":          func(p *PortablePerson) { p.Templates[0].By = strings.Repeat("x", MaxByBytes+1) },
		"quality":          func(p *PortablePerson) { p.Templates[0].Quality = new(100.1) },
		"no quality":       func(p *PortablePerson) { p.Templates[0].Quality = new(math.NaN()) },
		"history's order":  func(p *PortablePerson) { p.History = append(p.History, p.History[0]) },
		"history's length": func(p *PortablePerson) { p.History = make([]PortableTemplate, MaxHistory+1) },
		"never replaced":   func(p *PortablePerson) { p.History = []PortableTemplate{{Number: 1}} },
		"a vector":         func(p *PortablePerson) { p.History = p.Templates },
	} {
		p := a
		p.Templates, p.History = slices.Clone(a.Templates), slices.Clone(a.History)
		spoil(&p)
		if r := importAll(t, e, "g", o, []PortablePerson{p}); !errors.Is(r[0].Err, ErrImportRecord) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	e = reopen(t, e, testConfig(e.store.fs.Unwrap()))
	person()
}

func TestImportConflicts(t *testing.T) {
	rng := newRand(t)
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	a, b, c := portable(rng, "a", 2), portable(rng, "b", 1), portable(rng, "c", 8)
	o := ImportOptions{Space: spaceA.ID}
	if got := outcomes(importAll(t, e, "g", o, []PortablePerson{c, a})); !slices.Equal(got, []string{"created", "created"}) {
		t.Error(got)
	}
	before := exportedPeople(t, e, "g")

	o.OnConflict = ConflictSkip
	other := portable(rng, "a", 1)
	if got := outcomes(importAll(t, e, "g", o, []PortablePerson{other})); !slices.Equal(got, []string{"skipped"}) {
		t.Error(got)
	}
	o.OnConflict = ConflictFail
	r := importAll(t, e, "g", o, []PortablePerson{other, b})
	if got := outcomes(r); !slices.Equal(got, []string{"failed", "created"}) || !errors.Is(r[0].Err, ErrPersonExists) || r[0].ID != "a" {
		t.Errorf("%+v", r)
	}
	if got := exportedPeople(t, e, "g"); len(got) != 3 || !reflect.DeepEqual(slices.Delete(got, 1, 2), before) {
		t.Errorf("%+v, want %+v and b", got, before)
	}

	// Replaced: all is the file's, but for numbers that were given out before.
	o.OnConflict = ConflictReplace
	if got := outcomes(importAll(t, e, "g", o, []PortablePerson{other})); !slices.Equal(got, []string{"replaced"}) {
		t.Error(got)
	}
	mustCheck(t, e)
	got, was := exportedPeople(t, e, "g")[0], before[0].Templates[1].Number
	if n := got.Templates[0].Number; len(got.Templates) != 1 || n != was+1 || !got.Updated.Equal(other.Updated) || string(got.Metadata) != string(other.Metadata) {
		t.Errorf("%+v, want %+v as number %d", got, other, was+1)
	}

	// The last of an id counts.
	d1, d2 := portable(rng, "d", 1), portable(rng, "d", 3)
	if got := outcomes(importAll(t, e, "g", o, []PortablePerson{d1, d2})); !slices.Equal(got, []string{"created", "replaced"}) {
		t.Error(got)
	}
	if all := exportedPeople(t, e, "g"); len(all) != 4 || len(all[3].Templates) != 3 {
		t.Errorf("%+v", all)
	}
	mustCheck(t, e)
}

// TestImportRefusals: bad people are told, the others go in.
func TestImportRefusals(t *testing.T) {
	rng, ctx := newRand(t), t.Context()
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	bad := map[error]func(*PortablePerson){
		ErrID:                func(p *PortablePerson) { p.ID = "a\x00b" },
		ErrTemplateCount:     func(p *PortablePerson) { p.Templates = nil },
		ErrTemplateLength:    func(p *PortablePerson) { p.Templates[1].Vector = p.Templates[1].Vector[1:] },
		ErrTemplateZeroNorm:  func(p *PortablePerson) { clear(p.Templates[0].Vector) },
		ErrTemplateNotFinite: func(p *PortablePerson) { p.Templates[0].Vector[3] = float32(nan()) },
		ErrMetadata:          func(p *PortablePerson) { p.Metadata = []byte("[]") },
		ErrImportRecord:      func(p *PortablePerson) { p.Templates[1].Number = p.Templates[0].Number },
	}
	var people []PortablePerson
	var want []error
	for err, spoil := range bad {
		p := portable(rng, fmt.Sprintf("bad %d", len(people)), 2)
		spoil(&p)
		people, want = append(people, p, portable(rng, fmt.Sprintf("good %d", len(people)), 2)), append(want, err, nil)
	}
	for _, spoil := range []func(*PortablePerson){
		func(p *PortablePerson) { p.Templates[0].Number = 0 },
		func(p *PortablePerson) { p.Templates[1].Number = 1<<32 - 1 },
		func(p *PortablePerson) { p.Created = time.UnixMilli(-1) },
		func(p *PortablePerson) { p.Templates[1].Created = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		func(p *PortablePerson) { p.Templates[1].Source = strings.Repeat("x", MaxSourceBytes+1) },
	} {
		p := portable(rng, "bad record", 2)
		spoil(&p)
		people, want = append(people, p), append(want, ErrImportRecord)
	}
	results := importAll(t, e, "g", ImportOptions{Space: spaceA.ID}, people)
	good := 0
	for i, r := range results {
		if !errors.Is(r.Err, want[i]) || (r.Outcome == ImportFailed) != (want[i] != nil) || r.Err != nil && Detail(r.Err) == "" {
			t.Errorf("%+v, want %v", r, want[i])
		}
		if r.Err == nil {
			good++
		}
	}
	if all := exportedPeople(t, e, "g"); len(all) != good {
		t.Errorf("%d people, want %d", len(all), good)
	}
	mustCheck(t, e)

	none := func([]ImportResult) error { return nil }
	wantErr(t, e.Import(ctx, "t", "g", ImportOptions{Space: spaceB.ID}, sequence(nil, nil), none), ErrSpaceMismatch)
	wantErr(t, e.Import(ctx, "t", "nowhere", ImportOptions{Space: spaceA.ID}, sequence(nil, nil), none), ErrGalleryNotFound)
	wantErr(t, e.Import(ctx, "t", "g", ImportOptions{Space: spaceA.ID, OnConflict: "?"}, sequence(nil, nil), none), ErrImportOption)
	// A source that fails: what came before is written and told.
	broken, n := errors.New("broken"), 0
	err := e.Import(ctx, "t", "g", ImportOptions{Space: spaceA.ID}, sequence([]PortablePerson{portable(rng, "before", 1)}, broken), func(r []ImportResult) error {
		n += len(r)
		return nil
	})
	if wantErr(t, err, broken); n != 1 || e.mustGalleryOf(t, "g").version("before") == 0 {
		t.Errorf("%d people of before the failure were told", n)
	}
	wantErr(t, e.Import(ctx, "t", "g", ImportOptions{Space: spaceA.ID}, sequence([]PortablePerson{portable(rng, "x", 1)}, nil),
		func([]ImportResult) error { return broken }), broken)
	if _, err := e.StartMove(ctx, "t", "g", MoveSpec{Space: spaceB.ID}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, e.Import(ctx, "t", "g", ImportOptions{Space: spaceA.ID}, sequence(nil, nil), none), ErrMoving)
	mustCheck(t, e)
}

func nan() float64 { z := 0.0; return z / z }

func (e *Engine) mustGalleryOf(t testing.TB, name string) *gallery {
	t.Helper()
	g, err := e.gallery("t", name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestImportMany: several blocks, in random order, into an index of codes; and what tables of an import that did not end are
// left behind goes with the next start.
func TestImportMany(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the race detector or an emulator")
	}
	rng := newRand(t)
	c := testConfig(nil)
	c.Dir = t.TempDir()
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	var people []PortablePerson
	for i := range 60_000 {
		people = append(people, portable(rng, fmt.Sprintf("%08x-%d", rng.Uint32(), i), 1+rng.IntN(2)))
	}
	blocks, n := 0, 0
	err := e.Import(t.Context(), "t", "g", ImportOptions{Space: spaceA.ID}, sequence(people, nil), func(r []ImportResult) error {
		for i := range r {
			if r[i].ID != people[n+i].ID || r[i].Outcome != ImportCreated {
				t.Fatalf("%+v, want %s", r[i], people[n+i].ID)
			}
		}
		blocks, n = blocks+1, n+len(r)
		return nil
	})
	if err != nil || n != len(people) || blocks < 3 {
		t.Fatalf("%d of %d people in %d blocks: %v", n, len(people), blocks, err)
	}
	mustCheck(t, e)
	for range 50 {
		p := people[rng.IntN(len(people))]
		got, err := e.Verify(t.Context(), "t", "g", p.ID, Template{Space: spaceA.ID, Vector: p.Templates[0].Vector}, Policy{})
		if err != nil || !got.Match || got.Cosine < 0.9999 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, tableFolder, "*")); len(left) > 0 {
		t.Errorf("tables are left: %v", left)
	}
	stray := filepath.Join(c.Dir, tableFolder, "7")
	f, err := vfs.Default.Create(stray, tableCategory)
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	e = reopen(t, e, c)
	if _, err := vfs.Default.Stat(stray); err == nil {
		t.Error("a stray table is left")
	}
	mustCheck(t, e)
}

// TestImportBeside has clients write the same people, and search, while they are imported again and again.
func TestImportBeside(t *testing.T) {
	rng, ctx := newRand(t), t.Context()
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	stop := new(atomic.Bool)
	var wg sync.WaitGroup
	id := func(rng *rand.Rand) string { return fmt.Sprintf("p%d", rng.IntN(30)) }
	for i := range 3 {
		own := rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
		wg.Go(func() {
			for !stop.Load() {
				var err error
				switch own.IntN(4) {
				case 0:
					err = e.DeletePerson(ctx, "t", "g", id(own), WriteOptions{})
				case 1:
					_, err = e.PatchPerson(ctx, "t", "g", id(own), PersonPatch{Metadata: new(json.RawMessage(`{"patched":1}`))})
				case 2:
					_, _, err = e.PutPerson(ctx, "t", "g", id(own), PersonSpec{Templates: []Template{randomUnit(own, spaceA)}})
				default:
					_, err = e.Identify(ctx, "t", "g", randomUnit(own, spaceA), IdentifyOptions{})
				}
				if err != nil && !errors.Is(err, ErrPersonNotFound) {
					t.Error(err)
					return
				}
			}
		})
	}
	modes, again := []OnConflict{ConflictReplace, ConflictSkip, ConflictFail}, 0
	for i := range scaled(60) {
		var people []PortablePerson
		for range rng.IntN(40) {
			people = append(people, portable(rng, id(rng), 1+rng.IntN(3)))
		}
		o := ImportOptions{Space: spaceA.ID, OnConflict: modes[i%3]}
		for _, r := range importAll(t, e, "g", o, people) {
			if r.Outcome == ImportReplaced && o.OnConflict != ConflictReplace || r.Err != nil && !errors.Is(r.Err, ErrPersonExists) {
				t.Errorf("%s: %+v", o.OnConflict, r)
			}
			again++
		}
	}
	stop.Store(true)
	wg.Wait()
	mustCheck(t, e)
}

// TestImportPreparedAgain: a person who is enrolled between the preparation of a block and its turn is seen.
func TestImportPreparedAgain(t *testing.T) {
	rng, ctx := newRand(t), t.Context()
	for mode, want := range map[OnConflict]ImportOutcome{ConflictReplace: ImportReplaced, ConflictSkip: ImportSkipped, ConflictFail: ImportFailed} {
		e := openMem(t)
		mustGallery(t, e, "t", "g")
		g := e.mustGalleryOf(t, "g")
		im := &importer{e: e, g: g, onConflict: mode, free: make(chan *importBlock, 1)}
		im.free <- &importBlock{}
		b, err := im.newBlock(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b.take(spaceA, portable(rng, "a", 1))
		b.take(spaceA, portable(rng, "b", 1))
		if err := im.prepare(ctx, b); err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.PutPerson(ctx, "t", "g", "b", PersonSpec{Templates: []Template{randomUnit(rng, spaceA), randomUnit(rng, spaceA)}}); err != nil {
			t.Fatal(err)
		}
		if err := im.commit(ctx, b); err != nil {
			t.Fatal(err)
		}
		if err := im.report(ctx, b, func([]ImportResult) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if b.results[0].Outcome != ImportCreated || b.results[1].Outcome != want {
			t.Errorf("%s: %+v", mode, b.results)
		}
		mustCheck(t, e)
	}
}

// TestImportCrash takes crash images in the middle of imports beside other writers: every block is there whole or not at all,
// what was told is there, and the same import ends what is left.
func TestImportCrash(t *testing.T) {
	rng := newRand(t)
	for range scaled(2) {
		importCrashRound(t, rng)
	}
}

func importCrashRound(t *testing.T, rng *rand.Rand) {
	mem := vfs.NewCrashableMem()
	e := open(t, testConfig(mem))
	mustGallery(t, e, "t", "in")
	mustGallery(t, e, "t", "g0")
	l := &ledger{acked: map[string]uint64{}, space: spaceA}
	stop := new(atomic.Bool)
	own := rand.New(rand.NewPCG(rng.Uint64(), 1))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.run(e, "g0", own, stop); err != nil {
			t.Error(err)
		}
	})
	var people []PortablePerson
	for i := range 30 { // blocks of 1 to 10: an id that comes again ends one
		for j := range 1 + rng.IntN(10) {
			people = append(people, portable(rng, fmt.Sprintf("p%d-%d", i, j), 1+rng.IntN(3)))
		}
		people = append(people, portable(rng, "again", 1))
	}
	var told atomic.Int64
	wg.Go(func() {
		err := e.Import(context.Background(), "t", "in", ImportOptions{Space: spaceA.ID}, sequence(people, nil), func(r []ImportResult) error {
			told.Add(int64(len(r)))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	for range 5 {
		time.Sleep(time.Duration(rng.IntN(15)) * time.Millisecond)
		if rng.IntN(3) == 0 {
			if _, err := e.store.db.AsyncFlush(); err != nil {
				t.Fatal(err)
			}
		}
		before, acked := []*ledger{l.snapshot()}, int(told.Load())
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		after := []*ledger{l.snapshot()}
		again := open(t, testConfig(image))
		mustCheck(t, again)
		before[0].verify(t, again, "g0", after[0])
		g := again.mustGalleryOf(t, "in")
		for _, p := range people[:acked] {
			if g.version(p.ID) == 0 {
				t.Errorf("%q was told and is not there", p.ID)
			}
		}
		importAll(t, again, "in", ImportOptions{Space: spaceA.ID}, people[acked:])
		mustCheck(t, again)
		ids := map[string]bool{}
		for _, p := range people {
			ids[p.ID] = true
		}
		if n := len(exportedPeople(t, again, "in")); n != len(ids) {
			t.Errorf("%d people after the import went on, want %d", n, len(ids))
		}
		again.Close()
	}
	stop.Store(true)
	wg.Wait()
	mustCheck(t, e)
}

// TestImportDiskFails: an import on a disk that fails ends with an error, and what was told is there afterwards.
func TestImportDiskFails(t *testing.T) {
	rng := newRand(t)
	for range scaled(4) {
		mem, fail := vfs.NewCrashableMem(), &failAfter{match: func(op errorfs.Op) bool { return true }}
		fail.countdown.Store(1 << 40)
		e := open(t, testConfig(errorfs.Wrap(mem, fail)))
		mustGallery(t, e, "t", "g")
		fail.countdown.Store(int64(rng.IntN(150)))
		var people []PortablePerson
		told := 0
		for i := range 400 {
			people = append(people, portable(rng, fmt.Sprintf("p%d", i%20), 1))
		}
		err := e.Import(t.Context(), "t", "g", ImportOptions{Space: spaceA.ID}, sequence(people, nil), func(r []ImportResult) error {
			told += len(r)
			return nil
		})
		wantErr(t, err, ErrStorageFailed)
		e.Close()
		again := open(t, testConfig(mem.CrashClone(vfs.CrashCloneCfg{})))
		mustCheck(t, again)
		for _, p := range people[:told] {
			if again.mustGalleryOf(t, "g").version(p.ID) == 0 {
				t.Errorf("%q was told and is not there", p.ID)
			}
		}
	}
}
