package extract

import (
	"context"
	"errors"
)

// stage runs one model for all callers.
type stage struct {
	model *model
	idle  chan *run // every run that no call holds
}

// newStage makes a stage that does up to width runs at once.
func newStage(m *model, width int) (*stage, error) {
	s := &stage{model: m, idle: make(chan *run, width)}
	for range width {
		r, err := m.newRun()
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.idle <- r
	}
	return s, nil
}

// do runs the model on n items. fill writes item i into in, which is one item of the model's input and holds what an
// earlier call left there; read gets the outputs for item i, valid until it returns. Both may be called on any
// goroutine, for several items at once, and fill for all items before the first read. Errors: the runtime's, ctx's.
func (s *stage) do(ctx context.Context, n int, fill func(i int, in []float32), read func(i int, outs [][]float32)) error {
	r := <-s.idle
	defer func() { s.idle <- r }()
	for i := range n {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fill(i, r.in.data)
		if err := r.do(); err != nil {
			return err
		}
		read(i, r.results)
	}
	return nil
}

// close frees the stage. REQUIRES: no call is under way.
func (s *stage) close() error {
	var errs []error
	for len(s.idle) > 0 {
		errs = append(errs, (<-s.idle).close())
	}
	return errors.Join(append(errs, s.model.close())...)
}
