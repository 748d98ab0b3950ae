package hnsw

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mien/index"
	"mien/index/scan"
	"mien/simd"
)

// scaled is n, or a quarter of it with -short, for the race detector and an emulator.
func scaled(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}

func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func unit(rng *rand.Rand, dim int) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	simd.Normalize(v)
	return v
}

// near is another photo of v at cosine t, or so.
func photo(rng *rand.Rand, v []float32, t float32) []float32 {
	u, w := unit(rng, len(v)), make([]float32, len(v))
	for i := range w {
		w[i] = t*v[i] + float32(math.Sqrt(float64(1-t*t)))*u[i]
	}
	simd.Normalize(w)
	return w
}

func config(t testing.TB, dim int) Config {
	return Config{Config: scan.Config{Dim: dim, Dir: filepath.Join(t.TempDir(), "x"), Key: make([]byte, 32)}}
}

// world is an index and what should be in it: a person has a label and one row or more.
type world struct {
	t      testing.TB
	rng    *rand.Rand
	config Config
	x      *Index
	people map[uint32]*person
	next   uint32
}

type person struct {
	rows    []uint32
	vectors [][]float32
}

func newWorld(t testing.TB, rng *rand.Rand, c Config, people int) *world {
	t.Helper()
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, rng: rng, config: c, x: x, people: make(map[uint32]*person)}
	for range people {
		w.add(unit(rng, c.Dim))
	}
	return w
}

func (w *world) close() {
	if err := w.x.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) add(vectors ...[]float32) uint32 {
	w.next++
	w.put(w.next, vectors...)
	return w.next
}

func (w *world) put(label uint32, vectors ...[]float32) {
	w.t.Helper()
	p := w.people[label]
	if p == nil {
		p = new(person)
		w.people[label] = p
	}
	rows, err := w.x.Replace(p.rows, label, vectors)
	if err != nil {
		w.t.Fatal(err)
	}
	p.rows, p.vectors = rows, vectors
}

func (w *world) remove(label uint32) {
	w.put(label)
	delete(w.people, label)
}

// some is one of the people's labels.
func (w *world) some() uint32 {
	for label := range w.people {
		return label
	}
	return 0
}

func (w *world) wait() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := w.x.Wait(ctx); err != nil {
		w.t.Fatal(err, w.x.Status())
	}
}

// check looks at the graph's structure, when there is nothing left to do to it.
func (w *world) check() {
	w.t.Helper()
	w.wait()
	s := w.x.Status()
	if err := w.x.graph.Load().verify(w.x.Next()); err != nil {
		w.t.Fatal(err)
	}
	if w.x.Coded() && (s.Linked != w.x.Rows() || s.Waiting != 0 || s.Dead != 0) {
		w.t.Fatalf("%d rows, %+v", w.x.Rows(), s)
	}
	if err := w.x.Each(func(row, label uint32) {
		if w.x.Coded() && !w.x.graph.Load().isLinked(row) {
			w.t.Fatalf("row %d is not linked", row)
		}
	}); err != nil {
		w.t.Fatal(err)
	}
	if got, want := w.reachable(), s.Linked; got != want {
		w.t.Fatalf("%d of %d rows can be reached", got, want)
	}
}

// reachable counts the rows that a walk over all links comes to from the entry, at level 0.
func (w *world) reachable() int {
	at, _, ok := w.x.graph.Load().top()
	if !ok {
		return 0
	}
	seen, way := map[uint32]bool{at: true}, []uint32{at}
	for len(way) > 0 {
		links := w.x.graph.Load().neighbours(nil, way[len(way)-1], 0)
		way = way[:len(way)-1]
		for _, n := range links {
			if !seen[n] {
				seen[n] = true
				way = append(way, n)
			}
		}
	}
	return len(seen)
}

// search checks that an answer is sorted, of living people, each once and with the score that the person's best row has.
func (w *world) search(q []float32, o index.Options) []index.Hit {
	w.t.Helper()
	hits, err := w.x.SearchInto(context.Background(), nil, q, o)
	if err != nil {
		w.t.Fatal(err)
	}
	if !slices.IsSortedFunc(hits, index.CompareHits) || o.K > 0 && len(hits) > o.K {
		w.t.Fatalf("not sorted, or more than %d: %v", o.K, hits)
	}
	seen := map[uint32]bool{}
	for _, h := range hits {
		p := w.people[h.Label]
		if p == nil || seen[h.Label] {
			w.t.Fatalf("nobody has label %d, or it is there twice: %v", h.Label, hits)
		}
		seen[h.Label] = true
		if best := p.best(q); math.Abs(float64(h.Score)-best) > 1e-4 && h.Score > float32(best) || h.Score < o.Threshold {
			w.t.Fatalf("label %d has %v, not %v", h.Label, best, h.Score)
		}
	}
	return hits
}

func (p *person) best(q []float32) float64 {
	best := -2.0
	for _, v := range p.vectors {
		dot := 0.0
		for i := range v {
			dot += float64(v[i]) * float64(q[i])
		}
		best = max(best, dot)
	}
	return best
}

// finds says that a person is found by each of the photos, with an ef that is large for these galleries: they are random
// points, the hardest there are, with few links.
func (w *world) finds(label uint32) {
	w.t.Helper()
	for _, v := range w.people[label].vectors {
		hits := w.search(v, index.Options{K: 1, Threshold: -1, EF: 600})
		if len(hits) != 1 || hits[0].Score < 1-1e-5 {
			w.t.Fatalf("label %d is not found by its own vector: %v, %+v", label, hits, w.x.Status())
		}
	}
}

func (w *world) restart() {
	w.t.Helper()
	if err := w.x.Save(7, []byte("owner")); err != nil {
		w.t.Fatal(err)
	}
	w.close()
	w.open()
}

func (w *world) open() {
	w.t.Helper()
	x, sequence, owner, err := Open(w.config)
	if err != nil || sequence != 7 || string(owner) != "owner" {
		w.t.Fatal(err, sequence, string(owner))
	}
	w.x = x
}

const modelDim = 64

// TestModel changes an index at random and compares it with what it should be.
func TestModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		c := config(t, modelDim)
		c.M, c.EfConstruction = rapid.IntRange(4, 8).Draw(r, "m"), 40
		w := newWorld(t, rng, c, rapid.SampledFrom([]int{1000, 1024, 1100, 1500}).Draw(r, "people"))
		defer func() { w.close() }()
		r.Repeat(map[string]func(*rapid.T){
			"add": func(r *rapid.T) {
				v := unit(rng, modelDim)
				w.finds(w.add(v, photo(rng, v, 0.8)))
			},
			"many": func(*rapid.T) {
				for range 100 {
					w.add(unit(rng, modelDim))
				}
			},
			"same": func(*rapid.T) {
				v := unit(rng, modelDim)
				for range 60 {
					w.add(v)
				}
			},
			"replace": func(*rapid.T) {
				if label := w.some(); label != 0 {
					w.put(label, unit(rng, modelDim))
					w.finds(label)
				}
			},
			"remove": func(*rapid.T) {
				for range 20 {
					if label := w.some(); label != 0 {
						w.remove(label)
					}
				}
			},
			"remove half": func(*rapid.T) {
				for n := len(w.people) / 2; n > 0; n-- {
					w.remove(w.some())
				}
			},
			"remove all": func(r *rapid.T) {
				if rapid.IntRange(0, 3).Draw(r, "really") == 0 {
					for len(w.people) > 0 {
						w.remove(w.some())
					}
				}
			},
			"search": func(r *rapid.T) {
				w.search(unit(rng, modelDim), index.Options{K: rapid.IntRange(1, 50).Draw(r, "k"), Threshold: -1, EF: rapid.IntRange(0, 100).Draw(r, "ef")})
				if label := w.some(); label != 0 {
					w.finds(label)
					w.search(w.people[label].vectors[0], index.Options{Threshold: 0.3})
				}
			},
			"wait":    func(*rapid.T) { w.wait() },
			"check":   func(*rapid.T) { w.check() },
			"restart": func(*rapid.T) { w.restart() },
		})
		w.check()
	})
}

// TestConcurrent changes and searches from several goroutines: who was removed before a search began is never found, and who
// was there all the time is, by the own vector.
func TestConcurrent(t *testing.T) {
	rng := newRand(t)
	c := config(t, modelDim)
	c.M, c.EfConstruction = 8, 60
	w := newWorld(t, rng, c, 3000)
	defer w.close()
	staying := make([]uint32, 0, 1000)
	for label := range uint32(1000) {
		staying = append(staying, label+1)
	}
	var gone sync.Map // label → nothing
	var stop atomic.Bool
	var changing, searching sync.WaitGroup
	for g := range 2 {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		rows := map[uint32][]uint32{}
		for label := uint32(1001 + g); label <= 3000; label += 2 {
			rows[label] = w.people[label].rows
		}
		next := uint32(10_000 * (g + 1))
		changing.Go(func() {
			for range scaled(3000) {
				for label, old := range rows { // any
					delete(rows, label)
					if rng.IntN(2) == 0 {
						gone.Store(label, func() error { _, err := w.x.Replace(old, label, nil); return err }())
					} else {
						fresh, err := w.x.Replace(old, label, [][]float32{unit(rng, modelDim)})
						if err != nil {
							t.Error(err)
						}
						rows[label] = fresh
						break
					}
					next++
					fresh, err := w.x.Replace(nil, next, [][]float32{unit(rng, modelDim)})
					if err != nil {
						t.Error(err)
					}
					rows[next] = fresh
					break
				}
			}
		})
	}
	for range 3 {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		searching.Go(func() {
			for !stop.Load() {
				before := map[any]bool{}
				gone.Range(func(label, _ any) bool { before[label] = true; return len(before) < 500 })
				label := staying[rng.IntN(len(staying))]
				hits, err := w.x.SearchInto(context.Background(), nil, w.people[label].vectors[0], index.Options{K: 20, Threshold: -1})
				if err != nil || len(hits) != 20 || hits[0].Label != label {
					t.Errorf("label %d is not found: %v, %v", label, hits, err)
					return
				}
				for _, h := range hits {
					if before[h.Label] {
						t.Errorf("label %d was removed before and is found", h.Label)
						return
					}
				}
			}
		})
	}
	changing.Wait()
	stop.Store(true)
	searching.Wait()
	w.check()
}

// TestReplaceIsAtomic replaces people by the same vectors again and again: a search sees either row, so it always finds
// them.
func TestReplaceIsAtomic(t *testing.T) {
	c := config(t, modelDim)
	c.M, c.EfConstruction = 8, 60
	w := newWorld(t, newRand(t), c, 1500)
	defer w.close()
	w.wait()
	const moving = 40
	vectors := make([][]float32, moving)
	for i := range vectors {
		vectors[i] = w.people[uint32(i+1)].vectors[0]
	}
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; !stop.Load(); i++ {
			label := uint32(i%moving + 1)
			w.put(label, w.people[label].vectors...)
		}
	})
	var searching sync.WaitGroup
	for range 3 {
		rng := rand.New(rand.NewPCG(w.rng.Uint64(), 0))
		searching.Go(func() {
			for range scaled(1600) {
				k := rng.IntN(moving)
				hits, err := w.x.SearchInto(context.Background(), nil, vectors[k], index.Options{K: 1, Threshold: -1, EF: 600})
				if err != nil || len(hits) != 1 || hits[0].Label != uint32(k+1) {
					t.Errorf("who is replaced is not found: %v, %v", hits, err)
					return
				}
			}
		})
	}
	searching.Wait()
	stop.Store(true)
	all.Wait()
	w.check()
	if s := w.x.Status(); s.ByGraph == 0 {
		t.Errorf("%+v", s)
	}
}

// TestSaveDuringSearch saves while a search sees rows that have died: the graph is saved all the same, without them.
func TestSaveDuringSearch(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 1500)
	defer func() { w.close() }()
	w.wait()
	r, err := w.x.Read(unit(w.rng, modelDim), index.Options{K: 1, Threshold: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		w.remove(w.some())
	}
	if err := w.x.Save(7, []byte("owner")); err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.close()
	w.open()
	if s := w.x.Status(); s.Linked != 1400 || s.Waiting != 0 || s.Damage != nil {
		t.Errorf("%+v", s)
	}
	w.check()
	w.finds(w.some())
}

// TestThousandsOfCopies: neither does linking them take more time the more there are, nor searching among them.
func TestThousandsOfCopies(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 1100)
	defer w.close()
	v := unit(w.rng, modelDim)
	n := scaled(6000)
	for range n {
		w.add(photo(w.rng, v, 0.9999))
	}
	w.check()
	if hits := w.search(v, index.Options{K: n, Threshold: 0.99}); len(hits) != n {
		t.Errorf("%d of %d", len(hits), n)
	}
	for label := range uint32(50) {
		w.finds(label + 1)
	}
}

// TestUpserts replaces one person ten thousand times.
func TestUpserts(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 1200)
	defer func() { w.close() }()
	v := w.people[5].vectors[0]
	turns := scaled(10_000)
	for i := range turns {
		if w.put(5, photo(w.rng, v, 0.9)); i%100 == 0 {
			w.finds(5)
		}
	}
	w.check()
	next := w.x.Next()
	for range 50 {
		w.put(5, photo(w.rng, v, 0.9))
	}
	if w.x.Next() != next {
		t.Errorf("%d rows were given out, then %d: those that were swept are not used again", next, w.x.Next())
	}
}

func TestRemoveAllThenAdd(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 1300)
	defer func() { w.close() }()
	w.wait()
	for len(w.people) > 0 {
		w.remove(w.some())
	}
	if hits := w.search(unit(w.rng, modelDim), index.Options{K: 5, Threshold: -1}); len(hits) != 0 {
		t.Fatal(hits)
	}
	w.check()
	for range 1300 {
		w.add(unit(w.rng, modelDim))
	}
	w.check()
	w.finds(w.some())
	w.restart()
	w.check()
}

// TestAlmostAllRemoved leaves the root, whose places for children are taken by rows that go, and a few others far from it, which
// need it for a parent.
func TestAlmostAllRemoved(t *testing.T) {
	for staying := range 8 {
		c := config(t, modelDim)
		c.M, c.EfConstruction = 4, 40
		w := newWorld(t, newRand(t), c, 1100)
		w.check()
		isRoot := func(row uint32) bool { return w.x.graph.Load().parent(row) == row }
		for label, p := range w.people {
			if !isRoot(p.rows[0]) && len(w.people) > 1+staying {
				w.remove(label)
			}
		}
		w.check()
		for range 20 {
			w.finds(w.add(unit(w.rng, modelDim)))
		}
		w.check()
		w.close()
	}
}

// TestRemovedAreNeverFound removes a fifth, and searches for each of them while the graph still has them and after.
func TestRemovedAreNeverFound(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 2000)
	defer func() { w.close() }()
	w.wait()
	var gone [][]float32
	for range 400 {
		label := w.some()
		gone = append(gone, w.people[label].vectors...)
		w.remove(label)
	}
	for range 2 {
		for _, v := range gone {
			if hits := w.search(v, index.Options{K: 3, Threshold: -1}); len(hits) != 3 || hits[0].Score > 0.99 {
				t.Fatal(hits)
			}
		}
		w.check()
	}
	for label := range w.people {
		w.finds(label)
	}
}

// TestSamePhoto has one photo a thousand times: neither does that cut the graph, nor hide the others.
func TestSamePhoto(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 1100)
	defer func() { w.close() }()
	v := unit(w.rng, modelDim)
	var same []uint32
	for range scaled(1000) {
		same = append(same, w.add(v))
	}
	for range 300 {
		w.add(photo(w.rng, v, 0.9999))
	}
	for range 200 {
		w.add(unit(w.rng, modelDim))
	}
	w.check()
	for label := range w.people {
		w.finds(label)
	}
	if hits := w.search(v, index.Options{K: 1000, Threshold: 0.99999}); len(hits) != len(same) {
		t.Errorf("%d of the %d are found", len(hits), len(same))
	}
	for _, label := range same {
		w.remove(label)
	}
	w.check()
	if hits := w.search(v, index.Options{Threshold: 0.99}); len(hits) != 300 {
		t.Errorf("%d of the 300 like them are found", len(hits))
	}
	// One person has many photos: who is asked for more people gets them.
	many := make([][]float32, 500)
	for i := range many {
		many[i] = photo(w.rng, v, 0.99999)
	}
	w.add(many...)
	w.check()
	if hits := w.search(v, index.Options{K: 10, Threshold: -1, EF: 16}); len(hits) != 10 {
		t.Errorf("10 people were asked for: %v", hits)
	}
}

func TestRefuses(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 1100)
	defer func() { w.close() }()
	w.wait()
	bad := unit(w.rng, modelDim)
	bad[3] = float32(math.NaN())
	ctx, ok := context.Background(), unit(w.rng, modelDim)
	for name, c := range map[string]struct {
		err  error
		call func() error
	}{
		"NaN row":     {index.ErrNotFinite, func() error { _, err := w.x.Replace(nil, 1, [][]float32{bad}); return err }},
		"short row":   {index.ErrDim, func() error { _, err := w.x.Replace(nil, 1, [][]float32{ok[:63]}); return err }},
		"NaN probe":   {index.ErrNotFinite, func() error { _, err := w.x.SearchInto(ctx, nil, bad, index.Options{K: 1}); return err }},
		"short probe": {index.ErrDim, func() error { _, err := w.x.SearchInto(ctx, nil, ok[:63], index.Options{K: 1}); return err }},
		"k":           {index.ErrK, func() error { _, err := w.x.SearchInto(ctx, nil, ok, index.Options{}); return err }},
		"ef": {index.ErrOptions, func() error {
			_, err := w.x.SearchInto(ctx, nil, ok, index.Options{K: 1, EF: index.MaxEF + 1})
			return err
		}},
		"M":   {index.ErrConfig, func() error { _, err := New(Config{Config: scan.Config{Dim: 64}, M: 1}); return err }},
		"efc": {index.ErrConfig, func() error { _, err := New(Config{Config: scan.Config{Dim: 64}, EfConstruction: 5}); return err }},
		"dim": {index.ErrDim, func() error { _, err := New(Config{}); return err }},
	} {
		if err := c.call(); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.x.Rows() != 1100 {
		t.Error("a refused change changed something")
	}
	w.check()
}

// TestDamage overwrites each part of the saved graph in turn: the scan answers at once, and the graph is linked anew.
func TestDamage(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 1500)
	defer func() { w.close() }()
	w.wait()
	w.restart()
	if s := w.x.Status(); s.Linked != 1500 || w.x.damage != nil {
		t.Fatalf("%+v, %v", s, w.x.damage)
	}
	path := filepath.Join(w.config.Dir, "cache")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, back := range []int{1, 300_000, 3000} {
		w.close()
		b := slices.Clone(whole)
		b[len(b)-back] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		w.open()
		if w.x.damage == nil {
			t.Fatalf("damage %d bytes from the end was not noticed", back)
		}
		w.finds(w.some())
		w.check()
		w.finds(w.some())
	}
	w.close()
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	w.config.M = 8
	w.open()
	w.check()
	w.restart()
	w.check()
}

// TestRecall: of clustered rows the graph finds nearly all neighbours, also those of a filter, and as many after most rows have
// been replaced or removed.
func TestRecall(t *testing.T) {
	const dim, photos = 128, 4
	rng := newRand(t)
	w := newWorld(t, rng, config(t, dim), 0)
	defer w.close()
	basis := make([][]float32, 24)
	for i := range basis {
		basis[i] = unit(rng, dim)
	}
	for range scaled(2400) {
		centre := make([]float32, dim)
		for _, b := range basis {
			g := float32(rng.NormFloat64())
			for i := range centre {
				centre[i] += g * b[i]
			}
		}
		simd.Normalize(centre)
		for range photos {
			w.add(photo(rng, centre, 0.8))
		}
	}
	w.check()
	w.recall(0.97)
	for label, p := range maps.Clone(w.people) {
		switch v := photo(rng, p.vectors[0], 0.8); w.rng.IntN(4) {
		case 0:
			w.remove(label)
			w.add(v)
		case 1, 2:
			w.put(label, v)
		}
	}
	w.check()
	w.recall(0.97)
	if s := w.x.Status(); s.ByGraph < 1000 {
		t.Errorf("the graph did not answer: %+v", s)
	}
}

// recall says that so large a share of what is due is found.
func (w *world) recall(least float64) {
	half := new(index.Bitmap)
	for label, p := range w.people {
		if label%2 == 0 {
			half.Set(p.rows[0])
		}
	}
	for name, o := range map[string]index.Options{
		"top":       {K: 10, Threshold: -1},
		"filter":    {K: 10, Threshold: -1, Filter: half},
		"threshold": {Threshold: 0.5},
	} {
		due, found := 0, 0
		for range 200 {
			q := photo(w.rng, w.people[w.some()].vectors[0], 0.8)
			got, exact, err := w.x.Check(context.Background(), q, o)
			if err != nil {
				w.t.Fatal(err)
			}
			due += len(exact)
			for _, h := range exact {
				if slices.Contains(got, h) {
					found++
				}
			}
		}
		if share := float64(found) / float64(due); due < 200 || share < least {
			w.t.Errorf("%s: %d of %d found, %.4f", name, found, due, share)
		}
	}
}

// TestBulk: rows wait while many are added, searches find them meanwhile, and they are linked when the last of those who add has ended.
func TestBulk(t *testing.T) {
	x, err := New(Config{Config: scan.Config{Dim: 64}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, 3000*64)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	for i := 0; i < len(v); i += 64 {
		simd.Normalize(v[i : i+64])
	}
	first, second := x.Bulk(), x.Bulk()
	if err := x.Append(make([]uint32, 3000), v, make([]uint32, 3000)); err != nil {
		t.Fatal(err)
	}
	first()
	time.Sleep(10 * time.Millisecond)
	if s := x.Status(); s.Linked != 0 || s.Waiting != 3000 {
		t.Errorf("while rows are added: %+v", s)
	}
	hits, err := x.SearchInto(t.Context(), nil, v[64*2999:], index.Options{K: 1})
	if err != nil || len(hits) != 1 || hits[0].Score < 0.999 {
		t.Errorf("%v, %v", hits, err)
	}
	second()
	if err := x.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := x.Status(); s.Linked != 3000 || s.Waiting != 0 {
		t.Errorf("afterwards: %+v", s)
	}
}
