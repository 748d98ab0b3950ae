package extract

import (
	"context"
	"slices"
	"sync"
	"time"
)

// batcher gathers the items of concurrent calls into runs. A call fills its own slots of a batch's tensor, waits, and
// reads its own outputs; nothing is copied between calls. Safe for concurrent use.
//
// A lane that is free takes the oldest batch of which every slot that was given out is filled and that is either full or
// due: its first item has waited for delay, or no core computes, so that nobody is about to join. While all lanes are
// busy, batches go on taking in items.
//
// A call that ends early leaves its slots: they are run with the others, and nobody reads them.
type batcher struct {
	config stageConfig
	idle   chan *run // memory that no batch has
	lanes  sync.WaitGroup

	mu      sync.Mutex    // guards what follows, and the batches
	work    sync.Cond     // a batch may have become ready, or closed was set
	queue   []*batch      // not yet taken by a lane, oldest first; only the last may have room
	changed chan struct{} // closed, and another made, when there may be room again
	calls   int           // in do
	closed  bool
}

// batch is one run of several calls' items.
type batch struct {
	*run
	given    int // slots that calls have or had
	unfilled int // those that are being filled
	readers  int // calls that have slots and have not left
	due, ran bool
	timer    *time.Timer   // makes it due; nil before the first slot is filled
	done     chan struct{} // closed when it ran
	err      error         // of the run
}

func newBatcher(c stageConfig, idle chan *run) *batcher {
	b := &batcher{config: c, idle: idle, changed: make(chan struct{})}
	b.work.L = &b.mu
	c.cores.hurry(b)
	for i := range c.lanes() {
		b.lanes.Go(func() { b.lane(c.runners[i%len(c.runners)]) })
	}
	return b
}

// do is stage.do. A call of more items than a batch holds does one batch after another: it never keeps memory that it
// has not read while it waits for more.
func (b *batcher) do(ctx context.Context, n int, fill func(i int, in []float32), read func(i int, outs [][]float32)) error {
	if !b.enter() {
		return ErrBusy
	}
	defer b.leave()
	for from := 0; from < n; {
		took, err := b.part(ctx, from, n, fill, read)
		if err != nil {
			return err
		}
		from += took
	}
	return nil
}

func (b *batcher) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls >= b.config.queue {
		return false
	}
	b.calls++
	return true
}

func (b *batcher) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls--
}

// part does as many of the items from … n−1 as one batch has room for, and says how many.
func (b *batcher) part(ctx context.Context, from, n int, fill func(i int, in []float32), read func(i int, outs [][]float32)) (int, error) {
	t, slot, took, err := b.reserve(ctx, n-from)
	if err != nil {
		return 0, err
	}
	defer b.read(t)
	b.fill(t, slot, took, func(i int) { fill(from+i, t.in[slot+i]) })
	b.config.cores.without(func() {
		select {
		case <-t.done:
			err = t.err
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	})
	if err != nil {
		return 0, err
	}
	for i := range took {
		read(from+i, t.outs[slot+i])
	}
	return took, nil
}

// reserve finds slots for up to want items in the batch that has room or in a new one, waiting for memory if need be.
func (b *batcher) reserve(ctx context.Context, want int) (t *batch, slot, took int, err error) {
	for ctx.Err() == nil {
		b.mu.Lock()
		t, changed := b.openLocked(), b.changed
		if t != nil {
			slot, took = t.given, min(want, b.config.batching.Max-t.given)
			t.given += took
			t.unfilled += took
			t.readers++
			b.mu.Unlock()
			return t, slot, took, nil
		}
		b.mu.Unlock()
		b.config.cores.without(func() {
			select {
			case <-changed:
			case <-ctx.Done():
			}
		})
	}
	return nil, 0, 0, context.Cause(ctx)
}

// openLocked returns the batch that has room, or a new one; nil if all memory is in use.
func (b *batcher) openLocked() *batch {
	if n := len(b.queue); n > 0 && b.queue[n-1].given < b.config.batching.Max {
		return b.queue[n-1]
	}
	select {
	case r := <-b.idle:
		t := &batch{run: r, done: make(chan struct{})}
		b.queue = append(b.queue, t)
		b.roomLocked() // who waits may join
		return t
	default:
		return nil
	}
}

// roomLocked wakes the calls that wait in reserve.
func (b *batcher) roomLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// fill writes slots; they count as filled even if one panics, or the others would wait for ever.
func (b *batcher) fill(t *batch, slot, took int, fill func(i int)) {
	defer b.filled(t, took)
	for i := range took {
		fill(i)
	}
}

func (b *batcher) filled(t *batch, took int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.unfilled -= took
	if t.timer == nil {
		t.timer = time.AfterFunc(b.config.delay, func() { b.makeDue(t) })
	}
	b.work.Signal()
}

func (b *batcher) makeDue(t *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.due = true
	b.work.Signal()
}

// hurry makes every batch due: no core computes.
func (b *batcher) hurry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.queue {
		t.due = true
	}
	b.work.Signal()
}

// read ends a call's part in a batch.
func (b *batcher) read(t *batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.readers--
	b.recycleLocked(t)
}

// recycleLocked gives the memory of a batch back once it ran and nobody reads it.
func (b *batcher) recycleLocked(t *batch) {
	if t.ran && t.readers == 0 {
		b.idle <- t.run
		b.roomLocked()
	}
}

// lane runs batches on one device until close.
func (b *batcher) lane(on runner) {
	for t := b.next(); t != nil; t = b.next() {
		b.finish(t, b.run(on, t))
	}
}

// next waits for a batch to run; nil is the end.
func (b *batcher) next() *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if i := slices.IndexFunc(b.queue, b.readyLocked); i >= 0 {
			t := b.queue[i]
			b.queue = slices.Delete(b.queue, i, i+1)
			b.work.Signal() // there may be another, and one signal may stand for two
			return t
		}
		if b.closed && len(b.queue) == 0 {
			return nil
		}
		b.work.Wait()
	}
}

func (b *batcher) readyLocked(t *batch) bool {
	return t.unfilled == 0 && (t.due || t.given == b.config.batching.Max)
}

// run runs a batch that no call can join any more; one that nobody waits for is left out.
func (b *batcher) run(on runner, t *batch) error {
	b.mu.Lock()
	wanted := t.readers > 0
	b.mu.Unlock()
	if !wanted {
		return nil
	}
	if b.config.onCPU {
		b.config.cores.take()
		defer b.config.cores.give()
	}
	return on.run(t.run, t.given)
}

func (b *batcher) finish(t *batch, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.err, t.ran = err, true
	t.timer.Stop()
	close(t.done)
	b.recycleLocked(t)
}

// close runs what is left and ends the lanes. REQUIRES: no call is in do.
func (b *batcher) close() {
	b.config.cores.unhurry(b)
	b.hurry()
	b.mu.Lock()
	b.closed = true
	b.work.Broadcast()
	b.mu.Unlock()
	b.lanes.Wait()
}
