//go:build !race

package extract

import "testing"

// The memory for measuring is used again and again.
func TestMeasureAllocates(t *testing.T) {
	s := measureScene(t, "golden/g0.png")
	if n := testing.AllocsPerRun(50, func() { s.measure() }); n > 1 {
		t.Errorf("%v allocations a face", n)
	}
}
