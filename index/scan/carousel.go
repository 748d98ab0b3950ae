package scan

import (
	"math"
	"slices"
	"sync"
)

// carousel lets searches share passes over memory. It hands out chunks one after the other, for ever, as long as
// there are searches, each with the list of those that still need it; a search gets on at any chunk and leaves
// when that one comes round again. So nobody waits for a pass to end, and the more searches there are, the more
// probes a chunk is compared with while it is in the cache.
//
// The goroutines that search do the work: each takes chunks, for everybody, until its own search is done. While
// there are fewer of them than workers, others are started.
type carousel struct {
	sync.Mutex
	probes  []*probe // those that still need chunks; protected by the mutex, as all fields
	running []*probe // all that are registered: their epochs hold back reclaiming
	next    int      // the chunk to be handed out
	workers int
}

// register makes the epoch of p, and so what it can see, stay.
func (c *carousel) register(p *probe, epoch func() uint64) {
	c.Lock()
	defer c.Unlock()
	p.epoch = epoch()
	c.running = append(c.running, p)
}

func (c *carousel) unregister(p *probe) {
	c.Lock()
	defer c.Unlock()
	c.running = remove(c.running, p)
}

// oldest is the least epoch of a registered search, or the largest number.
func (c *carousel) oldest() uint64 {
	c.Lock()
	defer c.Unlock()
	oldest := uint64(math.MaxUint64)
	for _, p := range c.running {
		oldest = min(oldest, p.epoch)
	}
	return oldest
}

// board lets p take part from the next chunk on, and tells how many goroutines to start. The caller is a worker
// if it may work itself. The number of chunks is asked for here, so that those who are on never have more: the next
// chunk may only be set back where nobody needs what is skipped.
func (c *carousel) board(p *probe, count func() int, limit int) (work bool, start int) {
	c.Lock()
	defer c.Unlock()
	chunks := count()
	if c.next >= chunks {
		c.next = 0
	}
	p.first, p.chunks = c.next, chunks
	p.pending.Store(1) // for being on
	c.probes = append(c.probes, p)
	if work = c.workers < limit; work {
		c.workers++
	}
	start = max(0, min(limit-c.workers, chunks-1))
	c.workers += start
	return work, start
}

// take hands out the next chunk and who needs it, in w.batch. A worker that gets none is one no more.
func (c *carousel) take(w *worker) (chunk int, ok bool) {
	c.Lock()
	defer c.Unlock()
	w.batch = w.batch[:0]
	if len(c.probes) == 0 {
		c.workers--
		return 0, false
	}
	chunk = c.next
	most := 0
	for _, p := range c.probes {
		most = max(most, p.chunks)
		if chunk < p.chunks {
			p.pending.Add(1)
			w.batch = append(w.batch, p)
		}
	}
	if c.next++; c.next >= most {
		c.next = 0
	}
	for i := len(c.probes) - 1; i >= 0; i-- {
		if p := c.probes[i]; p.first == c.next {
			c.probes = slices.Delete(c.probes, i, i+1)
			p.landed()
		}
	}
	return chunk, true
}

// quit is for a worker whose own search is done: another must go on if somebody is left.
func (c *carousel) quit() (handOver bool) {
	c.Lock()
	defer c.Unlock()
	if len(c.probes) > 0 {
		return true
	}
	c.workers--
	return false
}

// leave takes a cancelled search off.
func (c *carousel) leave(p *probe) {
	c.Lock()
	defer c.Unlock()
	if n := len(c.probes); n > 0 {
		if c.probes = remove(c.probes, p); len(c.probes) < n {
			p.landed()
		}
	}
}

func remove(all []*probe, p *probe) []*probe {
	if i := slices.Index(all, p); i >= 0 {
		return slices.Delete(all, i, i+1)
	}
	return all
}

// landed counts one chunk of p, or its being on, as done. The last of them wakes the search.
func (p *probe) landed() {
	if p.pending.Add(-1) == 0 {
		p.done <- struct{}{}
	}
}
