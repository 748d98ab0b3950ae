//go:build !race

package scan

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mien/index"
)

func TestSearchDoesNotAllocate(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		for _, rows := range []int{10, SmallRows + 1, 3 * chunkRows} {
			t.Run(fmt.Sprintf("rows=%d,dir=%v", rows, dir != ""), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 1))
				x, o, people := mustNew(t, Config{Dim: 128, Dir: dir, Key: testKey}), oracle{}, map[uint32][]uint32{}
				fill(t, x, o, people, rng, rows)
				q, dst := unit(rng, 128), make([]index.Hit, 0, 10)
				opt := index.Options{K: 10, Threshold: -1}
				search := func() {
					var err error
					if dst, err = x.SearchInto(t.Context(), dst[:0], q, opt); err != nil {
						t.Fatal(err)
					}
				}
				for range 50 { // fill the pools
					search()
				}
				// Less than one: the collector may empty a pool in between.
				if n := testing.AllocsPerRun(500, search); n >= 1 {
					t.Errorf("%v allocations a search", n)
				}
				if n := testing.AllocsPerRun(500, func() { _, _ = x.Dot(3, q) }); n >= 1 {
					t.Errorf("%v allocations a dot product", n)
				}
			})
		}
	}
}
