package http

import "sync/atomic"

// byteBudget bounds the bytes of the bodies in flight. It never waits: who gets nothing answers 503, so that
// a flood of uploads costs connections and not memory. Safe for concurrent use.
type byteBudget struct {
	max  int64
	used atomic.Int64
}

// reserve takes n bytes, or nothing and reports false.
func (b *byteBudget) reserve(n int64) bool {
	if b.used.Add(n) <= b.max {
		return true
	}
	b.used.Add(-n)
	return false
}

// release gives back n bytes. REQUIRES: they were reserved.
func (b *byteBudget) release(n int64) {
	if b.used.Add(-n) < 0 {
		panic("BUG: http: byte budget released twice")
	}
}
