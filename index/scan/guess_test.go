package scan

import (
	"math/rand/v2"
	"slices"
	"testing"

	"mien/index"
)

// The best K are those of an exact search, for probes like the gallery's and for some that are far from all of it, for
// which the guess where the K-th best lies is wrong.
func TestGuess(t *testing.T) {
	const dim, rows = 512, 6000
	if testing.Short() {
		t.Skip("fits directions, which takes a minute under the race detector or an emulator; TestLive does that too")
	}
	rng := rand.New(rand.NewPCG(21, 22))
	l := newLowRank(rng, dim)
	x, _, _ := l.fitted(t, rng, rows, Config{})
	wrong := 0
	for i := range 400 {
		q := l.draw(rng)
		if i >= 200 {
			q = unit(rng, dim)
		}
		opt := index.Options{K: 1 + i%20, Threshold: -1}
		before := x.best.raised.Load() + x.mate.raised.Load()
		hits, err := x.SearchInto(t.Context(), nil, q, opt)
		if err != nil {
			t.Fatal(err)
		}
		if x.best.raised.Load()+x.mate.raised.Load() > before {
			wrong++
		}
		opt.Exact = true
		exact, err := x.SearchInto(t.Context(), nil, q, opt)
		if err != nil || !slices.Equal(hits, exact) {
			t.Fatalf("search %d: %v\nexactly %v, %v", i, hits, exact, err)
		}
		if i == 199 && wrong > 30 {
			t.Errorf("%d of 200 guesses for probes of the gallery's kind were wrong", wrong)
		}
	}
	if wrong == 0 {
		t.Error("no guess was wrong")
	}
}
