package engine

import (
	"context"
	"errors"
	"time"

	"mien/index"
)

// errIndexBehind says that an index did not take a change that is durable.
var errIndexBehind = errors.New("engine: the search index lacks a change")

// repair is an index being built anew; err is set when done is closed.
type repair struct {
	done chan struct{}
	err  error
}

// reading runs a call that reads a gallery's index (I3). If the index is damaged it is built anew from the store, which
// is the truth, and the call runs again, once: what is damaged twice is the disk's matter. Errors: read's;
// ErrGalleryNotFound, if the gallery was deleted meanwhile; ErrStorageFailed, if the index cannot be repaired; ctx's.
func (e *Engine) reading(ctx context.Context, g *gallery, read func() error) error {
	for repaired := false; ; {
		x := g.currentIndex()
		err := read()
		switch {
		case errors.Is(err, index.ErrClosed):
			if g.currentIndex() == x {
				return errGalleryNotFound // deleted; else repaired: look again
			}
		case !errors.Is(err, index.ErrCorrupt) && !errors.Is(err, errIndexBehind):
			return err
		case repaired:
			e.log.Error("a search index is damaged again after it was rebuilt", "gallery", g.record.Number, "error", err)
			return errIndexDamaged
		default:
			if err := e.repair(ctx, g, x, err); err != nil {
				return err
			}
			repaired = true
		}
	}
}

// repair replaces a gallery's index unless that is no longer x, and waits for it with ctx. The work goes on without
// the caller: a gallery that takes longer than every caller's patience would otherwise never be whole again.
func (e *Engine) repair(ctx context.Context, g *gallery, x searcher, cause error) error {
	g.mu.Lock()
	if g.mu.index != x {
		g.mu.Unlock()
		return nil
	}
	r := g.mu.repair
	if r == nil {
		r = &repair{done: make(chan struct{})}
		g.mu.repair = r
		e.repairs.Go(func() {
			r.err = e.rebuild(g, cause)
			g.mu.Lock()
			g.mu.repair = nil
			g.mu.Unlock()
			close(r.done)
		})
	}
	g.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rebuild makes a gallery's index from the store while no write is under way: then the store holds what memory
// holds, all of it durable (W3). Writers wait, in every gallery, as long as it takes to open the templates, some
// seconds for a million; searches go on with the index as it was, and find the gallery unless they meet the damage.
// The alternative, to build beside the writes and to make up for those that came meanwhile, is a second write path
// for what should never happen.
func (e *Engine) rebuild(g *gallery, cause error) error {
	begin := time.Now()
	e.log.Error("a search index is damaged: rebuilding it from the store", "gallery", g.record.Number, "error", cause)
	err := e.store.whileQuiet(e.stopped, func() error {
		if !e.holds(g) {
			return errGalleryNotFound
		}
		records, err := e.readPeople(g, func(string, *personRecord) {})
		if err != nil {
			return err
		}
		x, rows, err := e.buildIndex(e.stopped, g, records)
		if err == nil {
			e.retire(g.useIndex(x, rows), "")
		}
		return err
	})
	switch {
	case err == nil:
		e.log.Info("search index rebuilt", "gallery", g.record.Number, "ms", time.Since(begin).Milliseconds())
	case errors.Is(err, ErrGalleryNotFound):
	case e.stopped.Err() != nil:
		return errClosed
	default:
		e.log.Error("a search index cannot be rebuilt", "gallery", g.record.Number, "error", err)
		return errIndexDamaged
	}
	return err
}
