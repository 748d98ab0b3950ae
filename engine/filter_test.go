package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/index"
	"mien/index/scan"
)

// TestFilterMeanwhile: what is written after a search's mask was made and before it names people counts as of the end (S3).
func TestFilterMeanwhile(t *testing.T) {
	ctx := context.Background()
	put := func(e *Engine, id, site string, face Template) error {
		_, _, err := e.PutPerson(ctx, "t", "g", id, PersonSpec{Templates: []Template{face}, Metadata: json.RawMessage(`{"site":"` + site + `"}`)})
		return err
	}
	suspend := func(e *Engine, id string, s Status) error {
		_, err := e.PatchPerson(ctx, "t", "g", id, PersonPatch{Status: s})
		return err
	}
	for name, test := range map[string]struct {
		meanwhile func(e *Engine) error
		want      []string // of site a, active; ann, bob and cy were there, and dan, suspended
	}{
		"nothing":   {func(*Engine) error { return nil }, []string{"ann", "bob", "cy"}},
		"suspended": {func(e *Engine) error { return suspend(e, "ann", StatusSuspended) }, []string{"bob", "cy"}},
		"active":    {func(e *Engine) error { return suspend(e, "dan", StatusActive) }, []string{"ann", "bob", "cy", "dan"}},
		"moved":     {func(e *Engine) error { return put(e, "ann", "b", face(1)) }, []string{"bob", "cy"}},
		"replaced":  {func(e *Engine) error { return put(e, "ann", "a", face(1)) }, []string{"ann", "bob", "cy"}},
		"other":     {func(e *Engine) error { return put(e, "ann", "a", face(2)) }, []string{"bob", "cy"}},
		"gone":      {func(e *Engine) error { return e.DeletePerson(ctx, "t", "g", "ann", WriteOptions{}) }, []string{"bob", "cy"}},
		"row of another": {func(e *Engine) error {
			if err := e.DeletePerson(ctx, "t", "g", "ann", WriteOptions{}); err != nil {
				return err
			}
			return put(e, "eve", "b", face(1))
		}, []string{"bob", "cy"}},
		"new": {func(e *Engine) error { return put(e, "eve", "a", face(1)) }, []string{"ann", "bob", "cy", "eve"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, before := range []bool{false, true} { // the index looks before the writes, and after
				c, m := testConfig(vfs.NewMem()), &meanwhile{first: before}
				c.makeIndex = func(kind string, s scan.Config) (x searcher, err error) {
					m.searcher, err = makeIndex(kind, s)
					return m, err
				}
				e := open(t, c)
				facesGallery(t, e, GallerySpec{Filterable: []string{"site"}})
				for _, id := range []string{"ann", "bob", "cy", "dan", "other"} {
					if err := put(e, id, map[bool]string{true: "a", false: "b"}[id != "other"], face(1)); err != nil {
						t.Fatal(err)
					}
				}
				if err := suspend(e, "dan", StatusSuspended); err != nil {
					t.Fatal(err)
				}
				m.do = func() {
					if err := test.meanwhile(e); err != nil {
						t.Error(err)
					}
				}
				r, err := e.Identify(ctx, "t", "g", face(1), IdentifyOptions{Filter: Filter{Metadata: map[string][]any{"site": {"a"}}}})
				if got := named(r.Candidates); err != nil || !slices.Equal(got, test.want) {
					t.Errorf("found %q, want %q: %v", got, test.want, err)
				}
				mustCheck(t, e)
			}
		})
	}
}

// BenchmarkFilter times searches of 200,000 people of dim 64 with and without filters, and the making of a mask.
func BenchmarkFilter(b *testing.B) {
	const people, dim = 200_000, 64
	space := Space{ID: "bench", Dim: dim, Calibration: testCurve}
	x, err := scan.New(scan.Config{Dim: dim})
	if err != nil {
		b.Fatal(err)
	}
	g := &gallery{space: &space, record: galleryRecord{Filterable: []string{"site", "floor"}, Dim: dim, Space: space.ID}}
	g.rules.Store(&rules{})
	g.mu.people = map[string]*member{}
	g.mu.index = x
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range people {
		v, err := unitVector(space, randomUnit(rng, space).Vector)
		if err != nil {
			b.Fatal(err)
		}
		r := &personRecord{metadata: fmt.Appendf(nil, `{"site":"s%d","floor":%d}`, i%100, i%10), suspended: i%1000 == 0}
		g.put(strconv.Itoa(i), uint64(i+1), g.traitsOf(r), 1, [][]float32{v})
	}
	q, err := unitVector(space, randomUnit(rng, space).Vector)
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range []struct {
		name   string
		filter Filter
	}{
		{"any", Filter{Status: StatusAny}}, {"active", Filter{Status: StatusActive}},
		{"site", Filter{Status: StatusActive, Metadata: map[string][]any{"site": {"s7"}}}},
		{"sites", Filter{Status: StatusActive, Metadata: map[string][]any{"site": {"s1", "s2", "s3", "s4", "s5"}, "floor": {1.0, 2.0, 3.0}}}},
	} {
		w, err := g.who(f.filter)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("mask/"+f.name, func(b *testing.B) {
			for b.Loop() {
				g.mu.columns.mask(w)
			}
		})
		search := g.search
		if g.needsMask(w) {
			search = g.searchMasked
		}
		b.Run("search/"+f.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := search(b.Context(), q, 10, index.Options{}, Policy{FPIR: new(1e-2)}, w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestImportedFilter: people who come with an import, and those whom it replaces, are found by filters, and keep their status.
func TestImportedFilter(t *testing.T) {
	e := openMem(t)
	facesGallery(t, e, GallerySpec{Filterable: []string{"site"}, History: 1})
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "ann", PersonSpec{Templates: []Template{face(1)}, Metadata: json.RawMessage(`{"site":"a"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.PatchPerson(t.Context(), "t", "g", "ann", PersonPatch{Status: StatusSuspended}); err != nil {
		t.Fatal(err)
	}
	var people []PortablePerson
	for id, metadata := range map[string]string{"ann": `{"site":"b"}`, "bob": `{"site":"b"}`, "cy": `{"site":"c"}`} {
		people = append(people, PortablePerson{ID: id, Metadata: json.RawMessage(metadata), Created: time.UnixMilli(1), Updated: time.UnixMilli(2),
			Templates: []PortableTemplate{{Number: 1, Created: time.UnixMilli(1), Source: "image", Vector: face(1).Vector}}})
	}
	importAll(t, e, "g", ImportOptions{Space: spaceB.ID}, people)
	for status, want := range map[Status][]string{StatusActive: {"bob"}, StatusSuspended: {"ann"}, StatusAny: {"ann", "bob"}} {
		r, err := e.Identify(t.Context(), "t", "g", face(1), IdentifyOptions{Filter: Filter{Status: status, Metadata: map[string][]any{"site": {"b"}}}})
		if got := named(r.Candidates); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: found %q, want %q: %v", status, got, want, err)
		}
	}
	mustCheck(t, e)
}

// TestFilterAfterRestart: people are found by the fields of their metadata by an engine that has read them from the store.
func TestFilterAfterRestart(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Filterable: []string{"desk"}}); err != nil {
		t.Fatal(err)
	}
	for id, metadata := range map[string]string{"ann": `{"desk":"b"}`, "ben": `{"desk":"c"}`, "cy": ""} {
		if _, _, err := e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Metadata: json.RawMessage(metadata), Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		o := IdentifyOptions{Policy: Policy{Cosine: new(0.5)}, Filter: Filter{Metadata: map[string][]any{"desk": {"b"}}}}
		got, err := e.Identify(t.Context(), "t", "g", template(1, 0, 0, 0), o)
		if err != nil || len(got.Candidates) != 1 || got.Candidates[0].Person != "ann" || got.Searched != 1 {
			t.Errorf("%+v %v", got, err)
		}
		e = reopen(t, e, testConfig(mem))
	}
}
