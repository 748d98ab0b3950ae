//go:build !race

package extract

import (
	"math"
	"runtime"
	"testing"
)

// The memory for measuring is used again and again.
func TestMeasureAllocates(t *testing.T) {
	s := measureScene(t, "golden/g0.png")
	if n := testing.AllocsPerRun(50, func() { s.measure() }); n > 1 {
		t.Errorf("%v allocations a face", n)
	}
}

// What one photo allocates once the pools are warm. Its faces own their memory: a crop of 37 kB and a template of 2 kB. The
// rest is closures, the slices that cgo calls need (two for each run of a model) and what decoding takes.
func TestAllocations(t *testing.T) {
	x := testExtractor(t)
	photo := testFile(t, "faces/a_1.jpg")
	for _, c := range []struct {
		want Want
		most float64
	}{{WantTemplate, 60}, {WantTemplate | WantQuality | WantLiveness, 105}} {
		got := testing.AllocsPerRun(20, func() {
			if _, err := x.Extract(t.Context(), photo, Options{Select: SelectOne, Want: c.want}); err != nil {
				t.Error(err)
			}
		})
		t.Logf("want %b: %.0f allocations a photo", c.want, got)
		if got > c.most {
			t.Errorf("want %b: %.0f allocations a photo, more than %.0f", c.want, got, c.most)
		}
	}
}

// A level is no picture in memory: 12 megapixels are gone through with a few rows of tiles, which are used again.
func TestGroupMemory(t *testing.T) {
	p := newPicture(newImage(4000, 3000))
	s := fakeStages(t, &fakeDetector{score: .7, side: 20})
	least := uint64(math.MaxUint64)
	for range 5 { // the collector may empty the pools
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := s.detectGroup(t.Context(), p, MaxFaces); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	if least > 1<<20 {
		t.Errorf("%d kB for a photo of 12 megapixels", least>>10)
	}
}
