package extract

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// door lets a bounded number in, and a bounded number wait before it. Safe for concurrent use.
//
// A burst may fill the queue. A queue that stands, because more come than leave, makes everybody wait for nothing: who comes when
// it has stood for delay, and would not be let in within delay at the pace of those who left, is turned away at once. So under any
// load those who are let in have waited for about delay, and the door is never idle (as CoDel has it: Nichols and Jacobson, ACM Queue
// 10(5), 2012).
type door struct {
	places chan struct{} // one for each who may come in
	load   atomic.Int64  // inside and waiting
	most   int64         // of load
	delay  time.Duration // 0: only most counts
	stop   <-chan struct{}

	mu struct {
		sync.Mutex
		since time.Time     // when the queue was empty last; zero: it is
		left  time.Time     // when somebody left last
		pace  time.Duration // from one who leaves to the next while others wait, a moving average
	}
}

// paceWeight is of how many who left the average is.
const paceWeight = 16

// newDoor has places and room for queue that wait, until stop is closed.
func newDoor(places, queue int, delay time.Duration, stop <-chan struct{}) *door {
	d := &door{places: make(chan struct{}, places), most: int64(places + queue), delay: delay, stop: stop}
	for range places {
		d.places <- struct{}{}
	}
	return d
}

// enter takes a place, which leave gives back. Errors: ErrBusy, ErrClosed, ctx's.
func (d *door) enter(ctx context.Context) error {
	if n := d.load.Add(1); n > d.most || !d.worthwhile(n-int64(cap(d.places))) {
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
	d.passed(d.load.Add(-1) - int64(cap(d.places)))
}

// worthwhile reports whether who would be the nth to wait may.
func (d *door) worthwhile(n int64) bool {
	if d.delay == 0 || n <= 0 {
		return true
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.since.IsZero() {
		d.mu.since = now
	}
	return now.Sub(d.mu.since) < d.delay || time.Duration(n)*d.mu.pace <= d.delay
}

// passed notes that somebody left, and that n still wait, or none if that is less than 1.
func (d *door) passed(n int64) {
	if d.delay == 0 {
		return
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if gap := now.Sub(d.mu.left); !d.mu.since.IsZero() && d.mu.left.After(d.mu.since) {
		if d.mu.pace == 0 {
			d.mu.pace = gap
		}
		d.mu.pace += (gap - d.mu.pace) / paceWeight
	}
	if d.mu.left = now; n <= 0 {
		d.mu.since = time.Time{}
	}
}

// shut waits until everybody left; nobody comes in after. REQUIRES: stop is closed.
func (d *door) shut() {
	for range cap(d.places) {
		<-d.places
	}
}
