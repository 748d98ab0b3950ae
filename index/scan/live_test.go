package scan

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/index"
)

// lowRank draws unit vectors of which most of the length is in headDim directions, so that a fit pays.
type lowRank struct{ directions [][]float32 }

func newLowRank(rng *rand.Rand, dim int) lowRank {
	l := lowRank{}
	for range headDim {
		l.directions = append(l.directions, unit(rng, dim))
	}
	return l
}

func (l lowRank) draw(rng *rand.Rand) []float32 {
	v := unit(rng, len(l.directions[0]))
	for i := range v {
		v[i] *= 2
	}
	for _, d := range l.directions {
		g := float32(rng.NormFloat64())
		for i := range v {
			v[i] += g * d[i]
		}
	}
	return normalised(v)
}

// fitted is an index of rows such vectors, in order, with label i for vector i; its short stage is fitted when they
// are in, if c says nothing else.
func (l lowRank) fitted(t *testing.T, rng *rand.Rand, rows int, c Config) (x *Index, vectors []float32, given []uint32) {
	t.Helper()
	c.Dim = len(l.directions[0])
	c.FitAt = cmp.Or(c.FitAt, rows)
	x = mustNew(t, c)
	labels, given := make([]uint32, rows), make([]uint32, rows)
	for i := range labels {
		labels[i] = uint32(i)
		vectors = append(vectors, l.draw(rng)...)
	}
	if err := x.Append(labels, vectors, given); err != nil {
		t.Fatal(err)
	}
	if x.Fitted() != (c.FitAt > 0) {
		t.Fatalf("fitted: %v", x.Fitted())
	}
	return x, vectors, given
}

// Searches go on while rows are added and removed, while people are replaced, and while directions are fitted and
// every code is replaced. A person who is there all the time, with one template or another, is found by every search,
// with the score of one of them; one who was removed before a search began is never found.
func TestLive(t *testing.T) {
	dirs := []string{t.TempDir(), ""}
	if testing.Short() {
		dirs = dirs[:1] // under the race detector a fit takes half a minute
	}
	for _, dir := range dirs {
		const dim = 512
		rng := rand.New(rand.NewPCG(1, 1))
		l := newLowRank(rng, dim)
		x := mustNew(t, Config{Dim: dim, Dir: dir, Key: testKey, FitAt: 1500})
		stay := [][]float32{l.draw(rng), l.draw(rng)}
		q := normalised(slices.Concat(sum(stay[0], stay[1])))
		scores := []float32{float32(dot64(q, stay[0])), float32(dot64(q, stay[1]))}
		rows, err := x.Replace(nil, 1, stay[:1])
		if err != nil {
			t.Fatal(err)
		}
		stop, gone := make(chan struct{}), atomic.Uint32{}
		var writers, readers sync.WaitGroup
		writers.Go(func() { // replaces the one who stays
			for i := 1; ; i++ {
				if rows, err = x.Replace(rows, 1, stay[i%2:i%2+1]); err != nil {
					t.Error(err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		writers.Go(func() { churn(t, x, l, stop, &gone, q) })
		for range 3 {
			readers.Go(func() {
				for i := 0; ; i++ {
					before := gone.Load()
					hits, err := x.SearchInto(t.Context(), nil, q, index.Options{K: 3, Threshold: 0.3, Exact: i%50 == 0})
					if err != nil {
						t.Error(err)
					}
					if !slices.ContainsFunc(hits, func(h index.Hit) bool {
						return h.Label == 1 && (abs(h.Score-scores[0]) < 1e-4 || abs(h.Score-scores[1]) < 1e-4)
					}) {
						t.Errorf("search %d: %v, want label 1 with one of %v", i, hits, scores)
					}
					for _, h := range hits {
						if h.Label > 1 && h.Label <= before {
							t.Errorf("label %d was removed before %d", h.Label, before)
						}
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		added := map[uint32][]float32{}
		fillLow(t, x, l, 2500, added)
		x.background.Wait()
		if !x.Fitted() {
			t.Error("no fit")
		}
		fillLow(t, x, l, 500, added)
		close(stop)
		writers.Wait()
		readers.Wait()
		settle(t, x)
		for label, v := range added {
			hits, err := x.SearchInto(t.Context(), nil, v, index.Options{K: 1, Threshold: 0.99})
			if err != nil || len(hits) != 1 || hits[0].Label != label {
				t.Errorf("label %d, who was added meanwhile: %v, %v", label, hits, err)
			}
		}
	}
}

func sum(a, b []float32) []float32 {
	s := slices.Clone(a)
	for i := range s {
		s[i] += b[i]
	}
	return s
}

// settle waits until what is dead has been wiped.
func settle(t failer, x *Index) {
	for range 1000 {
		if x.limboed.Load() == 0 && !x.reclaiming.Load() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d rows or codes are not reclaimed", x.limboed.Load())
}

// fillLow adds n rows, some by large calls, so that the fit is made in the background meanwhile, and notes whose they are.
func fillLow(t *testing.T, x *Index, l lowRank, n int, added map[uint32][]float32) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	first := uint32(1<<30 + len(added))
	for w := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(x.Rows()), uint64(w)))
			for i := range n / 4 {
				label, v := first+uint32(w*(n/4)+i), l.draw(rng)
				if _, err := x.Replace(nil, label, [][]float32{v}); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				added[label] = v
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// churn adds people near q and removes them; those up to gone have been.
func churn(t *testing.T, x *Index, l lowRank, stop chan struct{}, gone *atomic.Uint32, q []float32) {
	rng := rand.New(rand.NewPCG(9, 9))
	for label := uint32(2); ; label++ {
		rows, err := x.Replace(nil, label, [][]float32{near(rng, q, 0.95), l.draw(rng)})
		if err == nil {
			_, err = x.Replace(rows, 0, nil)
		}
		if err != nil {
			t.Error(err)
			return
		}
		gone.Store(label)
		select {
		case <-stop:
			return
		default:
		}
	}
}

func TestCancelled(t *testing.T) {
	x, o, people := mustNew(t, Config{Dim: 64}), oracle{}, map[uint32][]uint32{}
	rng := rand.New(rand.NewPCG(2, 2))
	fill(t, x, o, people, rng, 4*chunkRows)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.SearchInto(ctx, nil, unit(rng, 64), index.Options{K: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	var wg sync.WaitGroup
	for range 6 {
		q := unit(rng, 64)
		wg.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				if _, err := x.SearchInto(ctx, nil, q, index.Options{K: 1}); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	x.helping.Wait()
	if x.passes.workers != 0 || len(x.passes.probes)+len(x.passes.running) != 0 {
		t.Errorf("%d workers, %d and %d probes are left", x.passes.workers, len(x.passes.probes), len(x.passes.running))
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []Config{{}, {Dim: MaxDim + 1}, {Dim: 8, Dir: "x"}, {Dim: 8, Dir: "x", Key: testKey[:31]}, {Dim: 8, Workers: -1}, {Dim: 512, FitAt: 5}} {
		if _, err := New(c); !errors.Is(err, index.ErrDim) && !errors.Is(err, index.ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	x := mustNew(t, Config{Dim: 3})
	nan := float32(0)
	nan /= nan
	for _, v := range [][]float32{{1}, {nan, 0, 0}, {2, 0, 0}, {0, 0, 0}, {3e38, 3e38, 3e38}} {
		if _, err := x.Replace(nil, 1, [][]float32{{1, 0, 0}, v}); err == nil {
			t.Errorf("%v was taken", v)
		}
		if _, err := x.SearchInto(t.Context(), nil, v, index.Options{K: 1}); err == nil {
			t.Errorf("%v was searched for", v)
		}
	}
	if _, err := x.Replace([]uint32{5}, 1, nil); !errors.Is(err, index.ErrRow) || x.Rows() != 0 {
		t.Errorf("an unknown row: %v, %d rows", err, x.Rows())
	}
	for _, o := range []index.Options{{}, {K: -1}, {Threshold: -1}, {K: 1, Miss: 2}, {K: 1, Miss: 1e-20}} {
		if _, err := x.SearchInto(t.Context(), nil, []float32{1, 0, 0}, o); !errors.Is(err, index.ErrK) && !errors.Is(err, index.ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	rows, err := x.Replace(nil, 1, [][]float32{{1, 0, 0}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Replace([]uint32{rows[0], rows[0]}, 1, [][]float32{{1, 0, 0}}); !errors.Is(err, index.ErrRow) || x.Rows() != 1 {
		t.Errorf("a row twice: %v, %d rows", err, x.Rows())
	}
	if err := x.Save(1, nil); !errors.Is(err, index.ErrConfig) {
		t.Errorf("Save without a folder: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.SearchInto(t.Context(), nil, []float32{1, 0, 0}, index.Options{K: 1}); !errors.Is(err, index.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Rows that are encoded while directions are fitted, and appear after, have short codes like all others.
func TestFitDuringLargeReplace(t *testing.T) {
	const dim, part = 512, 4000
	if testing.Short() {
		t.Skip("fits directions, which takes a minute under the race detector or an emulator; TestLive does that too")
	}
	rng := rand.New(rand.NewPCG(31, 32))
	l := newLowRank(rng, dim)
	x := mustNew(t, Config{Dim: dim, FitAt: 1500, Dir: t.TempDir(), Key: testKey})
	vectors := make([][]float32, part)
	for i := range vectors {
		vectors[i] = l.draw(rng)
	}
	fillLow(t, x, l, 1600, map[uint32][]float32{}) // begins the fit
	parts := uint32(0)
	for ; parts < 3 || !x.Fitted() && parts < 100; parts++ {
		if _, err := x.Replace(nil, parts, vectors); err != nil {
			t.Fatal(err)
		}
	}
	x.background.Wait()
	if !x.Fitted() {
		t.Fatal("no fit")
	}
	for i := 0; i < part; i += 100 {
		hits, err := x.SearchInto(t.Context(), nil, vectors[i], index.Options{Threshold: 0.99})
		if err != nil || len(hits) != int(parts) {
			t.Fatalf("vector %d: %d of %d labels, %v", i, len(hits), parts, err)
		}
	}
	if err := x.Save(1, nil); err != nil { // with its fit
		t.Fatal(err)
	}
	y, _, _, err := Open(Config{Dim: dim, Dir: x.dir, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	for i := 0; i < part; i += 100 {
		hits, err := y.SearchInto(t.Context(), nil, vectors[i], index.Options{Threshold: 0.99})
		if err != nil || len(hits) != int(parts) || !y.Fitted() {
			t.Fatalf("opened: vector %d: %d of %d labels, %v", i, len(hits), parts, err)
		}
	}
}

// A threshold so low that the table of the short stage can't tell it apart is left to the sketch.
func TestLowThreshold(t *testing.T) {
	const dim, rows = 512, 6000
	if testing.Short() {
		t.Skip("fits directions, which takes a minute under the race detector or an emulator; TestLive does that too")
	}
	rng := rand.New(rand.NewPCG(41, 42))
	l := newLowRank(rng, dim)
	x, vectors, given := l.fitted(t, rng, rows, Config{})
	o := oracle{}
	for i, row := range given {
		o[row] = oracleRow{uint32(i), vectors[i*dim : (i+1)*dim]}
	}
	for _, threshold := range []float32{0.01, 0.1, 0.15, 0.2} {
		for range 5 {
			q := l.draw(rng)
			opt := index.Options{Threshold: threshold, Miss: 1e-12}
			hits, err := x.SearchInto(t.Context(), nil, q, opt)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, o, q, opt, hits)
		}
	}
}
