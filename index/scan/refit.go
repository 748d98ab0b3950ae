package scan

import (
	"math/rand/v2"
)

// fitIfDue fits the short stage once the gallery is large enough, in the background unless wait says that the
// caller has more rows to append, which would then be encoded twice.
func (x *Index) fitIfDue(wait bool) {
	if x.Rows() < x.fitAt || !x.beginFit() {
		return
	}
	if wait {
		defer x.background.Done()
		x.refit()
		return
	}
	go func() {
		defer x.background.Done()
		x.refit()
	}()
}

func (x *Index) beginFit() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	first := !x.mu.fitting
	x.mu.fitting = true
	if first {
		x.background.Add(1)
	}
	return first
}

// refit finds principal directions and encodes every segment anew, if that pays.
func (x *Index) refit() {
	sample := x.Sample(min(fitSample, x.Rows()))
	if len(sample) < minSample/2*x.dim {
		return
	}
	f, err := newFit(sample, x.dim, rotationSeed)
	if err != nil || f == nil {
		return
	}
	x.writing.Lock() // so that every segment is in the list or made with f
	x.fit.Store(f)
	x.writing.Unlock()
	defer x.startReclaim()
	for i := 0; i < len(*x.segments.Load()) && !x.stopping.Load(); i++ {
		x.reencode((*x.segments.Load())[i], i, f)
	}
}

// Sample reads up to n live rows at random, float32[n × dim]. REQUIRES: the index is not closed meanwhile.
func (x *Index) Sample(n int) []float32 {
	rng, seen := rand.New(rand.NewPCG(rotationSeed, uint64(x.dim))), make(map[uint32]bool, n)
	out := make([]float32, 0, n*x.dim)
	buf, scratch := make([]float32, x.stride), make([]byte, x.vectors.scratchBytes())
	rows := x.next.Load()
	for range 4 * n {
		row := rng.Uint32N(rows)
		if seen[row] {
			continue
		}
		seen[row] = true
		if v, ok := x.stable(row, buf, scratch); ok {
			if out = append(out, v[:x.dim]...); len(out) == cap(out) {
				break
			}
		}
	}
	return out
}

// stable reads a live row; ok is false if it is not, or was replaced meanwhile.
func (x *Index) stable(row uint32, buf []float32, scratch []byte) (v []float32, ok bool) {
	born := x.lifeOf(row).born.Load()
	if !x.isLive(row) {
		return nil, false
	}
	v, err := x.vector(row, x.small.Load(), buf, scratch)
	return v, err == nil && check(v[:x.dim], x.dim) == nil && x.lifeOf(row).born.Load() == born
}

// reencode makes codes of fit f for a segment and puts them in place of those it has. Rows that are written
// meanwhile are written to both: setPending waits for the writers at work, so a row is alive by then, or dead, or its
// writer finds pending set. Codes that are already of f stay. A segment with a row that can't be read keeps what it has.
func (x *Index) reencode(g *segment, number int, f *fit) {
	if g.codes.Load().fit == f {
		return
	}
	c, err := x.newCodes(f, number > 0)
	if err != nil {
		return
	}
	x.setPending(g, c)
	w := x.scratch.Get().(*writeScratch)
	defer x.scratch.Put(w)
	for from := uint32(0); from < segmentRows; from += batchRows {
		if x.stopping.Load() || !x.reencodeBatch(w, g, c, uint32(number)*segmentRows, from) {
			x.setPending(g, nil)
			c.region.Free()
			return
		}
	}
	x.swap(g, c)
}

func (x *Index) setPending(g *segment, c *codes) {
	x.writing.Lock()
	defer x.writing.Unlock()
	g.encoding.Lock()
	defer g.encoding.Unlock()
	g.pending = c
}

func (x *Index) reencodeBatch(w *writeScratch, g *segment, c *codes, base, from uint32) bool {
	g.encoding.Lock()
	defer g.encoding.Unlock()
	local, scratch := w.local[:0], make([]byte, x.vectors.scratchBytes())
	for i := from; i < from+batchRows && base+i < x.next.Load(); i++ {
		if !g.life[i].at(x.epoch.Load()) {
			continue
		}
		at := len(local) * x.stride
		buf := w.padded[at : at+x.stride : at+x.stride]
		v, err := x.vector(base+i, x.small.Load(), buf, scratch)
		if err != nil {
			return false
		}
		copy(buf, v)
		local = append(local, i)
	}
	x.encodeCodes(w, c, local, w.padded[:len(local)*x.stride])
	return true
}

// swap puts c in place. The old codes are freed when no search that began before is left.
func (x *Index) swap(g *segment, c *codes) {
	x.mu.Lock()
	defer x.mu.Unlock()
	g.encoding.Lock()
	old := g.codes.Swap(c)
	g.pending = nil
	g.encoding.Unlock()
	epoch := x.epoch.Load() + 1
	x.mu.retired = append(x.mu.retired, retiring{old, epoch})
	x.limboed.Add(1)
	x.epoch.Store(epoch)
}
