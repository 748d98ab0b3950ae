package extract

import (
	"context"
	"errors"
	"time"
)

// runner runs a model on the first n items of r: a session of ONNX Runtime on one device, or a test's. It is safe for
// concurrent use with a run each.
type runner interface {
	run(r *run, n int) error
}

// stage runs one model for all callers. Safe for concurrent use.
type stage struct {
	role     string
	cores    *Cores
	batching Batching
	idle     chan *run // Single and Calls: every run that no call holds
	runner   runner    // Single and Calls
	shared   *batcher  // Shared
	runs     []*run    // all that there are, to be freed
	free     func() error
}

// stageConfig is what a stage is made of.
type stageConfig struct {
	role     string
	items    int // that a call has
	cores    *Cores
	batching Batching
	runners  []runner                    // one for each device
	newRun   func(max int) (*run, error) // memory for a run on up to max items
	onCPU    bool                        // a run needs a core
	delay    time.Duration               // Shared: how long an item waits for company
	queue    int                         // Shared: calls at most; one more is ErrBusy
	free     func() error                // frees the runners; called last, and if the stage can't be made
}

// newStage makes the stage and the memory for its runs.
func newStage(c stageConfig) (*stage, error) {
	s := &stage{role: c.role, cores: c.cores, batching: c.batching, runner: c.runners[0], free: c.free}
	width := cap(c.cores.free)
	if c.batching.Strategy == Shared {
		width = c.buffers()
	}
	s.idle = make(chan *run, width)
	for range width {
		r, err := c.newRun(c.batching.Max)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.runs = append(s.runs, r)
		s.idle <- r
	}
	if c.batching.Strategy == Shared {
		s.shared = newBatcher(c, s.idle)
	}
	return s, nil
}

// do runs the model on n items. fill writes item i into in, which is one item of the model's input and holds what an
// earlier call left there; read gets the outputs for item i, valid until it returns. Both may be called on any
// goroutine, for several items at once, and fill for all items before the first read. A panic in them goes on in the
// caller and harms no other. Errors: the runtime's, ctx's, ErrBusy.
//
// REQUIRES: the caller holds a core. While it waits for a shared run the core is others'.
func (s *stage) do(ctx context.Context, n int, fill func(i int, in []float32), read func(i int, outs [][]float32)) error {
	switch {
	case s.shared != nil:
		return s.shared.do(ctx, n, fill, read)
	case n == 1:
		return s.part(ctx, 0, 1, fill, read)
	}
	parts := s.split(n)
	return s.cores.spread(parts, func(i int) error { return s.part(ctx, i*n/parts, (i+1)*n/parts, fill, read) })
}

// split says into how many runs of like size n items go.
func (s *stage) split(n int) int { return (n + s.batching.Max - 1) / s.batching.Max }

// part does the items from … to−1 in one run.
func (s *stage) part(ctx context.Context, from, to int, fill func(i int, in []float32), read func(i int, outs [][]float32)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := <-s.idle
	defer func() { s.idle <- r }()
	for i := from; i < to; i++ {
		fill(i, r.in[i-from])
	}
	if err := s.runner.run(r, to-from); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		read(i, r.outs[i-from])
	}
	return nil
}

// close frees the stage. REQUIRES: no call is under way.
func (s *stage) close() error {
	if s.shared != nil {
		s.shared.close()
	}
	var errs []error
	for _, r := range s.runs {
		errs = append(errs, r.close())
	}
	return errors.Join(append(errs, s.free())...)
}

// lanes is how many shared runs there may be at once: one on each device, on the CPU one on each core.
func (c *stageConfig) lanes() int {
	if c.onCPU {
		return cap(c.cores.free)
	}
	return len(c.runners)
}

// buffers: while a lane runs one, another is filled, and one more may be read.
func (c *stageConfig) buffers() int { return 2*c.lanes() + 1 }
