package extract

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// Cores are tokens, one for each thread that may compute at a time. Whatever computes holds one: decoding, geometry,
// filling a tensor, a model run on the CPU. What waits for a device holds none. Extractors may share them. Safe for
// concurrent use.
type Cores struct {
	free   chan struct{}
	wanted atomic.Int32 // how many wait in take
	// crew is how many goroutines a spread may have beside the caller's that wait for a core. 0: only such as find one idle.
	crew atomic.Int32

	mu       sync.Mutex
	batchers []*batcher // to be hurried when a core was given back and none is held. Protected by mu; copied to change.
}

// NewCores makes n ≥ 1 of them, all idle.
func NewCores(n int) *Cores {
	c := &Cores{free: make(chan struct{}, n)}
	for range n {
		c.free <- struct{}{}
	}
	return c
}

// hurry has b.hurry called whenever no core is held; unhurry ends that.
func (c *Cores) hurry(b *batcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batchers = append(slices.Clone(c.batchers), b)
}

func (c *Cores) unhurry(b *batcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batchers = slices.DeleteFunc(slices.Clone(c.batchers), func(o *batcher) bool { return o == b })
}

// try takes a core if one is idle that nobody waits for.
func (c *Cores) try() bool {
	if c.wanted.Load() > 0 {
		return false
	}
	select {
	case <-c.free:
		return true
	default:
		return false
	}
}

// take waits for a core: no longer than a model run, unless more calls are at work than there are cores.
func (c *Cores) take() {
	if c.try() {
		return
	}
	c.wanted.Add(1)
	<-c.free
	c.wanted.Add(-1)
}

// takeUntil is take, unless ctx or stop ends first: extractors that share cores may have more calls at work than there are
// cores. Errors: ErrClosed, ctx's.
func (c *Cores) takeUntil(ctx context.Context, stop <-chan struct{}) error {
	if c.try() {
		return nil
	}
	c.wanted.Add(1)
	defer c.wanted.Add(-1)
	select {
	case <-c.free:
		return nil
	case <-stop:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Cores) give() {
	select {
	case c.free <- struct{}{}:
	default:
		panic("BUG: a core is given back that nobody held: what calls stage.do or spread must hold one")
	}
	if len(c.free) < cap(c.free) {
		return
	}
	c.mu.Lock()
	all := c.batchers
	c.mu.Unlock()
	for _, b := range all {
		b.hurry()
	}
}

// without calls wait while the caller's core is others'.
func (c *Cores) without(wait func()) {
	c.give()
	defer c.take()
	wait()
}

// spread calls do(0) … do(n−1), once each, on the caller's core and on idle ones, and returns the error of the least i that
// failed. After an error or a panic no other i is begun. A panic of do goes on in the caller, with the stack of where it
// began. An idle core is left to whoever wants it after each i.
//
// REQUIRES: the caller holds a core. It holds one again when spread returns.
func (c *Cores) spread(n int, do func(i int) error) error {
	if n == 1 {
		return do(0)
	}
	t := &team{cores: c, n: n, do: do, failed: n}
	for range min(int(c.crew.Load()), n-1) {
		t.members.Go(func() {
			c.take()
			defer c.give()
			t.work(false)
		})
	}
	t.work(false)
	c.without(t.members.Wait)
	if t.panicked != nil {
		panic(t.panicked)
	}
	return t.err
}

// team is one spread under way.
type team struct {
	cores   *Cores
	n       int
	do      func(i int) error
	next    atomic.Int64
	stop    atomic.Bool
	members sync.WaitGroup // the goroutines beside the caller's

	mu       sync.Mutex // guards what follows
	failed   int        // the least i that failed; n: none
	err      error
	panicked error
}

// work does what is left; a helper leaves when its core is wanted elsewhere.
func (t *team) work(helper bool) {
	for !t.stop.Load() && !(helper && t.cores.wanted.Load() > 0) {
		i := int(t.next.Add(1)) - 1
		if i >= t.n {
			return
		}
		if i+1 < t.n && t.cores.crew.Load() == 0 {
			t.recruit()
		}
		t.call(i)
	}
}

// recruit puts one idle core to work, which recruits the next.
func (t *team) recruit() {
	if !t.cores.try() {
		return
	}
	t.members.Go(func() {
		defer t.cores.give()
		t.work(true)
	})
}

func (t *team) call(i int) {
	defer func() {
		if v := recover(); v != nil {
			t.fail(i, nil, fmt.Errorf("%v\n\n%s", v, debug.Stack()))
		}
	}()
	if err := t.do(i); err != nil {
		t.fail(i, err, nil)
	}
}

func (t *team) fail(i int, err, panicked error) {
	t.stop.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	if panicked != nil {
		t.panicked = panicked
	}
	if err != nil && i < t.failed {
		t.failed, t.err = i, err
	}
}
