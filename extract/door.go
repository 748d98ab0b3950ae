package extract

import (
	"context"
	"sync/atomic"
)

// door lets a bounded number in, and a bounded number wait before it. Safe for concurrent use.
type door struct {
	places chan struct{} // one for each who may come in
	load   atomic.Int64  // inside and waiting
	most   int64         // of load
	stop   <-chan struct{}
}

// newDoor has places and room for queue that wait, until stop is closed.
func newDoor(places, queue int, stop <-chan struct{}) *door {
	d := &door{places: make(chan struct{}, places), most: int64(places + queue), stop: stop}
	for range places {
		d.places <- struct{}{}
	}
	return d
}

// enter takes a place, which leave gives back. Errors: ErrBusy, ErrClosed, ctx's.
func (d *door) enter(ctx context.Context) error {
	if d.load.Add(1) > d.most {
		d.load.Add(-1)
		return ErrBusy
	}
	if err := d.wait(ctx); err != nil {
		d.load.Add(-1)
		return err
	}
	return nil
}

func (d *door) wait(ctx context.Context) error {
	select { // first of all: a closed extractor or a dead request gets no place even if one is free
	case <-d.stop:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
	}
	select {
	case <-d.places:
		return nil
	case <-d.stop:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *door) leave() {
	d.places <- struct{}{}
	d.load.Add(-1)
}

// shut waits until everybody left; nobody comes in after. REQUIRES: stop is closed.
func (d *door) shut() {
	for range cap(d.places) {
		<-d.places
	}
}
