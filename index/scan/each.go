package scan

import (
	"context"

	"mien/index"
)

// SearchEach makes many searches in the caller's goroutine alone, together: each chunk of rows is compared with all of
// them while it is in the cache, so that it costs a fraction of what as many calls of SearchInto do, and one core. Every
// query's Hits are set, best first, appended to what it has of room. A query is a search as SearchInto's, at one moment of its own after
// the call began, but for the rows before its From, which it may pass over: so each pair of rows need be compared
// once only, by the one of the lower number.
//
// pause is called before each chunk and may wait: a chunk takes some 10 µs a query, half of a millisecond for 64. It must call nothing that
// closes the index. Errors: as SearchInto's; then no Hits count. Safe for concurrent use.
func (x *Index) SearchEach(ctx context.Context, queries []index.Query, pause func()) error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	for i := range queries {
		o, err := queries[i].Options.Validate()
		if err == nil {
			err = check(queries[i].Vector, x.dim)
		}
		if err != nil {
			return err
		}
		queries[i].Options = o
	}
	readers := make([]*Reader, len(queries))
	for i, q := range queries {
		readers[i] = x.readers.Get().(*Reader)
		readers[i].p.begin(q.Vector, q.Options)
	}
	defer func() {
		for _, r := range readers {
			x.passes.unregister(r.p)
			x.readers.Put(r)
		}
		x.startReclaim()
	}()
	if err := x.rideEach(ctx, queries, readers, pause); err != nil {
		return err
	}
	for i, r := range readers {
		if r.p.found.err != nil {
			return r.p.found.err
		}
		if err := r.p.rescore(ctx); err != nil {
			return err
		}
		queries[i].Hits = r.p.answer(queries[i].Hits[:0])
	}
	return nil
}

// rideEach compares all chunks with the queries that want them.
func (x *Index) rideEach(ctx context.Context, queries []index.Query, readers []*Reader, pause func()) error {
	for _, r := range readers {
		if p := r.p; len(p.segs) == 0 {
			p.compareSmall()
		} else if !p.o.Exact && x.rotation != nil {
			p.sketch.prepare(p.q[:x.dim], x.rotation)
		}
	}
	w := x.workPool.Get().(*worker)
	defer x.workPool.Put(w)
	defer func() { clear(w.batch[:cap(w.batch)]) }()
	for chunk := range x.chunks() {
		w.batch = w.batch[:0]
		for i, r := range readers {
			if len(r.p.segs) > chunk*chunkRows/segmentRows && int(queries[i].From)/chunkRows <= chunk {
				w.batch = append(w.batch, r.p)
			}
		}
		if len(w.batch) == 0 {
			continue
		}
		pause()
		if err := ctx.Err(); err != nil {
			return err
		}
		w.compare(x, chunk)
	}
	return nil
}
