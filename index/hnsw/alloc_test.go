//go:build !race

package hnsw

import (
	"context"
	"testing"

	"mien/index"
)

func TestSearchDoesNotAllocate(t *testing.T) {
	w := newWorld(t, newRand(t), config(t, modelDim), 1500)
	defer w.close()
	w.check()
	q, hits := unit(w.rng, modelDim), make([]index.Hit, 0, 16)
	search := func() {
		hits, _ = w.x.SearchInto(context.Background(), hits[:0], q, index.Options{K: 10, Threshold: -1})
	}
	search()
	if n := testing.AllocsPerRun(50, search); n > 0.5 {
		t.Errorf("%v allocations a search", n)
	}
}
