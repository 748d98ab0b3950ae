package simd

import "unsafe"

// Survivors is a probe's list of the codes within its bound: row numbers and distances, side by side. A scan appends
// to both; what lies between their length and capacity is its scratch.
type Survivors struct {
	Rows, Values []uint32
}

func (s *Survivors) extend(n int) { s.Rows, s.Values = s.Rows[:n], s.Values[:n] }

// list is Survivors as the assembly sees them; asm/sketch.go knows the offsets.
type list struct {
	rows, values *uint32
	n, room      int // a block fits while n ≤ room
}

func newList(s *Survivors) list {
	if len(s.Rows) != len(s.Values) {
		panic("BUG: simd: a list of survivors has not as many values as rows")
	}
	return list{unsafe.SliceData(s.Rows), unsafe.SliceData(s.Values), len(s.Rows), min(cap(s.Rows), cap(s.Values)) - SketchLanes}
}

func hasRoom(lists []list) bool {
	for i := range lists {
		if lists[i].n > lists[i].room {
			return false
		}
	}
	return true
}

func (l *list) put(row, value uint32) {
	unsafe.Slice(l.rows, l.n+1)[l.n], unsafe.Slice(l.values, l.n+1)[l.n] = row, value
	l.n++
}
