package scan

import (
	"testing"

	"pgregory.net/rapid"
)

// Whoever is on sees every chunk that there was when it boarded, once, however searches board and leave and the index
// grows; and is done then, and not before.
func TestCarousel(t *testing.T) {
	type rider struct {
		*probe
		seen map[int]int
		need int
	}
	rapid.Check(t, func(t *rapid.T) {
		var c carousel
		chunks, riders, w := 1+rapid.IntRange(0, 4).Draw(t, "chunks"), []*rider{}, &worker{}
		count := func() int { return chunks }
		take := func() {
			c.workers++ // one that gets nothing is counted out
			chunk, ok := c.take(w)
			if !ok {
				return
			}
			c.workers--
			for _, p := range w.batch {
				for _, r := range riders {
					if r.probe == p {
						r.seen[chunk]++
					}
				}
				p.landed()
			}
		}
		check := func() {
			for i := len(riders) - 1; i >= 0; i-- {
				r := riders[i]
				complete := len(r.seen) >= r.need
				for chunk, n := range r.seen {
					if n != 1 {
						t.Fatalf("chunk %d was seen %d times", chunk, n)
					}
				}
				if done := len(r.done) > 0; done && !complete {
					t.Fatalf("done after %v of %d chunks", r.seen, r.need)
				} else if done {
					riders = append(riders[:i], riders[i+1:]...)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"board": func(t *rapid.T) {
				r := &rider{&probe{done: make(chan struct{}, 1)}, map[int]int{}, chunks}
				riders = append(riders, r)
				c.board(r.probe, count, 0)
			},
			"take": func(*rapid.T) { take() },
			"grow": func(*rapid.T) { chunks++ },
			"leave": func(t *rapid.T) {
				if len(riders) > 0 {
					i := rapid.IntRange(0, len(riders)-1).Draw(t, "who")
					c.leave(riders[i].probe)
					riders = append(riders[:i], riders[i+1:]...)
				}
			},
			"": func(*rapid.T) { check() },
		})
		for range 2 * chunks {
			take()
			check()
		}
		if len(riders) > 0 || len(c.probes) > 0 {
			t.Fatalf("%d are still on", len(riders))
		}
	})
}
