package simd

import (
	"slices"
	"testing"
)

// testLists are lists of room entries with canaries behind, and what was found in them.
type testLists struct {
	t        *testing.T
	room     int
	out, got []Survivors
}

const canary = 0xdeadbeef

func newTestLists(t *testing.T, count, room int) *testLists {
	l := &testLists{t, room, make([]Survivors, count), make([]Survivors, count)}
	for p := range l.out {
		rows, values := slices.Repeat([]uint32{canary}, room+9), slices.Repeat([]uint32{canary}, room+9)
		l.out[p] = Survivors{rows[:1:room], values[:1:room]} // one is there already
		rows, values = rows[room:], values[room:]
		t.Cleanup(func() {
			if slices.ContainsFunc(append(rows, values...), func(x uint32) bool { return x != canary }) {
				t.Errorf("wrote past the capacity")
			}
		})
	}
	return l
}

// run scans n blocks, where scan(at) does from block at on, and empties the lists whenever it stops.
func (l *testLists) run(n int, scan func(at int) int) {
	l.t.Helper()
	for at := 0; ; {
		did, full := scan(at), false
		for p := range l.out {
			o, g := &l.out[p], &l.got[p]
			full = full || len(o.Rows) > l.room-SketchLanes
			if len(o.Rows) != len(o.Values) || o.Rows[0] != canary {
				l.t.Fatalf("probe %d: %d rows, %d values, the first %x", p, len(o.Rows), len(o.Values), o.Rows[0])
			}
			g.Rows, g.Values = append(g.Rows, o.Rows[1:]...), append(g.Values, o.Values[1:]...)
			o.Rows, o.Values = o.Rows[:1], o.Values[:1]
		}
		at += did
		if at == n {
			return
		}
		if !full || did == 0 {
			l.t.Fatalf("stopped after %d of %d blocks with room left in every list: %v", at, n, full)
		}
	}
}
