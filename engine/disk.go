package engine

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskGuard refuses writes before the disk is full. Between two looks, at most every `every`, what
// writes take, in the log and in the table that it is flushed to, is taken off what was free. minFree must
// exceed what compactions can write meanwhile.
type diskGuard struct {
	fs      vfs.FS
	dir     string
	minFree int64 // ≤ 0: never refuse
	every   time.Duration

	mu struct {
		sync.Mutex
		looked time.Time
		free   int64
		known  bool // false where the file system cannot tell: haltFS is the net then
	}
}

// check reports ErrStorageFull if there is too little room. Removals are let through to a quarter of it.
func (g *diskGuard) check(removal bool) error {
	if g.minFree <= 0 {
		return nil
	}
	need := g.minFree
	if removal {
		need /= 4
	}
	if free, known := g.look(); known && free < need {
		return errStorageFull
	}
	return nil
}

// wrote takes a batch off what was free.
func (g *diskGuard) wrote(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.free -= 2 * n
}

func (g *diskGuard) look() (free int64, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); g.mu.looked.IsZero() || now.Sub(g.mu.looked) >= g.every {
		usage, err := g.fs.GetDiskUsage(g.dir)
		g.mu.looked, g.mu.free, g.mu.known = now, int64(min(usage.AvailBytes, 1<<62)), err == nil
	}
	return g.mu.free, g.mu.known
}
