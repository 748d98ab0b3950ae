//go:build !race

package index

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestSearchDoesNotAllocate(t *testing.T) {
	for _, rows := range []int{10, 3 * segmentRows, 12 * segmentRows} { // the last with helpers
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 1))
			s := newScan(t, 32)
			for i := range rows {
				if _, err := s.Add(uint32(i), unit(rng, 32)); err != nil {
					t.Fatal(err)
				}
			}
			q, dst := unit(rng, 32), make([]Hit, 0, 10)
			for range 20 { // fill the pool
				dst, _ = s.SearchInto(t.Context(), dst[:0], q, 10, 0)
			}
			// Less than one: the collector may empty the pool in between.
			if n := testing.AllocsPerRun(500, func() { dst, _ = s.SearchInto(t.Context(), dst[:0], q, 10, 0) }); n >= 1 {
				t.Errorf("%v allocations a search", n)
			}
			if n := testing.AllocsPerRun(500, func() { _, _ = s.Dot(3, q) }); n >= 1 {
				t.Errorf("%v allocations a dot product", n)
			}
		})
	}
}
