package scan

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"mien/index"
)

// TestSearchEach: every answer is the oracle's over the rows from its From's chunk on, in an index without codes, with sketches
// and without any for its dim.
func TestSearchEach(t *testing.T) {
	for _, c := range []struct{ dim, rows int }{{128, 3*chunkRows + 1000}, {128, 700}, {20, chunkRows + 100}} {
		rng := rand.New(rand.NewPCG(2, uint64(c.dim)))
		x, o, people := mustNew(t, Config{Dim: c.dim}), oracle{}, map[uint32][]uint32{}
		fill(t, x, o, people, rng, c.rows)
		for i := range 100 {
			replace(t, x, o, people, 100+uint32(5*i), nil)
		}
		pauses := 0
		for range 3 {
			queries := make([]index.Query, 1+rng.IntN(20))
			for i := range queries {
				q := &queries[i]
				q.Vector = near(rng, o[600+uint32(rng.IntN(100))].v, 0.7)
				q.Options = index.Options{K: rng.IntN(12), Threshold: 0.35, Exact: i%9 == 8}
				q.From = uint32(rng.IntN(c.rows))
			}
			if err := x.SearchEach(t.Context(), queries, func() { pauses++ }); err != nil {
				t.Fatal(err)
			}
			for _, q := range queries {
				o2 := q.Options
				if o2.Filter = new(index.Bitmap); c.rows > SmallRows {
					for row := q.From / chunkRows * chunkRows; row < x.Next(); row++ {
						o2.Filter.Set(row)
					}
				} else {
					o2.Filter = nil
				}
				agree(t, o, q.Vector, o2, q.Hits)
			}
		}
		if (pauses > 0) != (c.rows > SmallRows) {
			t.Errorf("%d pauses with %d rows", pauses, c.rows)
		}
	}
}

// TestSearchEachEnds: its context, bad queries and a closed index end it.
func TestSearchEachEnds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	x := mustNew(t, Config{Dim: 64})
	fill(t, x, oracle{}, map[uint32][]uint32{}, rng, 2*chunkRows)
	query := func(dim int) []index.Query {
		return []index.Query{{Vector: unit(rng, dim), Options: index.Options{K: 1, Threshold: 0.5}}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := x.SearchEach(ctx, query(64), cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in a pause: %v", err)
	}
	if err := x.SearchEach(t.Context(), query(63), func() {}); !errors.Is(err, index.ErrDim) {
		t.Errorf("a query of another dim: %v", err)
	}
	bad := query(64)
	bad[0].Options.K, bad[0].Options.Threshold = 0, 0
	if err := x.SearchEach(t.Context(), bad, func() {}); !errors.Is(err, index.ErrK) {
		t.Errorf("neither k nor threshold: %v", err)
	}
	if n := x.passes.oldest(); n != 1<<64-1 {
		t.Errorf("a search of epoch %d is registered still", n)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := x.SearchEach(t.Context(), query(64), func() {}); !errors.Is(err, index.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestSearchEachLive: beside writers and other searches, who is there all the time is always found.
func TestSearchEachLive(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	x, people := mustNew(t, Config{Dim: 64}), map[uint32][]uint32{}
	o := oracle{}
	fill(t, x, o, people, rng, 2*chunkRows)
	var stay [][]float32
	for label := range uint32(10) {
		stay = append(stay, unit(rng, 64))
		if _, err := x.Replace(nil, label, stay[label:]); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(5, 5))
		rows := people[100]
		for {
			select {
			case <-stop:
				return
			default:
			}
			var err error
			if rows, err = x.Replace(rows, 100, [][]float32{unit(rng, 64), unit(rng, 64)}); err != nil {
				t.Error(err)
				return
			}
			if _, err := x.SearchInto(t.Context(), nil, stay[0], index.Options{K: 1}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		queries := make([]index.Query, len(stay))
		for i, v := range stay {
			queries[i] = index.Query{Vector: v, Options: index.Options{Threshold: 0.999}}
		}
		if err := x.SearchEach(t.Context(), queries, func() {}); err != nil {
			t.Fatal(err)
		}
		for i, q := range queries {
			if len(q.Hits) != 1 || q.Hits[0].Label != uint32(i) {
				t.Fatalf("query %d: %+v", i, q.Hits)
			}
		}
	}
	close(stop)
	wg.Wait()
}
