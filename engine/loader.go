package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"mien/index"
)

// loadBatch is how many templates are opened and appended at a time: half a MiB at dim 512.
const loadBatch = 256

// loader fills an index with the templates of a gallery. One goroutine reads the store; several, for most of the time
// goes there, open what it read and append it.
//
//	free ─▶ run: read, check, collect ─▶ work ─▶ open and append ─▶ free
type loader struct {
	g       *gallery
	index   searcher // nil: templates are counted only
	records map[string]*personRecord

	all    []uint32   // the rows of all templates in the order of their keys: one person's are neighbours
	rows   [][]uint32 // by label, parts of all
	loaded int

	free, work chan *sealedBatch
	stop       context.CancelCauseFunc
	ctx        context.Context // ends when one of the goroutines fails, with its error
}

// sealedBatch is templates on their way from the store to the index.
type sealedBatch struct {
	labels []uint32
	places []place
	sealed []byte // one after the other
	ends   []int  // of each
	rows   []uint32
}

func newLoader(ctx context.Context, g *gallery, x searcher, records map[string]*personRecord) *loader {
	total := 0
	for _, r := range records {
		total += len(r.templates)
	}
	l := &loader{g: g, index: x, records: records, all: make([]uint32, total), rows: make([][]uint32, len(g.mu.ids))}
	l.ctx, l.stop = context.WithCancelCause(ctx)
	return l
}

func (l *loader) workers() int {
	if l.index == nil {
		return 0
	}
	return min(runtime.GOMAXPROCS(0), (len(l.all)+loadBatch-1)/loadBatch)
}

// run returns the rows by label. Errors: ErrCorrupt, the store's, the index's, ctx's.
func (l *loader) run(s *store) ([][]uint32, error) {
	n := l.workers()
	l.free, l.work = make(chan *sealedBatch, n+1), make(chan *sealedBatch, n+1)
	for range n + 1 {
		l.free <- &sealedBatch{}
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(l.open)
	}
	err := l.read(s)
	close(l.work)
	wg.Wait()
	if err == nil && l.loaded != len(l.all) {
		err = fmt.Errorf("%w: %d templates, the people name %d", ErrCorrupt, l.loaded, len(l.all))
	}
	err = cmp.Or(context.Cause(l.ctx), err) // the first of several
	l.stop(nil)
	return l.rows, err
}

// read collects what is in the store and hands it on.
func (l *loader) read(s *store) error {
	b := <-l.free
	prefix := galleryPrefix(prefixTemplate, l.g.record.Number)
	err := s.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		id, number, ok := splitTemplateKey(k)
		if !ok || !l.records[id].has(number) {
			return false, fmt.Errorf("%w: a template without its person", ErrCorrupt)
		}
		label := l.g.mu.people[id].label
		at := l.loaded
		l.loaded++
		if l.index == nil {
			return true, nil
		}
		have := len(l.rows[label])
		l.rows[label] = l.all[at-have : at+1 : at+1]
		b.labels = append(b.labels, label)
		b.places = append(b.places, l.g.templatePlace(l.g.mu.ids[label], number))
		b.sealed = append(b.sealed, v...)
		b.ends = append(b.ends, len(b.sealed))
		if len(b.labels) < loadBatch {
			return true, nil
		}
		l.handOn(b)
		b = <-l.free
		return l.ctx.Err() == nil, nil
	})
	if err == nil && len(b.labels) > 0 {
		l.handOn(b)
	}
	return err
}

func (l *loader) handOn(b *sealedBatch) {
	b.rows = l.all[l.loaded-len(b.labels) : l.loaded]
	l.work <- b
}

// open opens batches and appends them to the index. After an error it passes them over.
func (l *loader) open() {
	dim := l.g.record.Dim
	plain, vectors := make([]byte, 0, 4*dim), make([]float32, min(loadBatch, len(l.all))*dim)
	for b := range l.work {
		if l.ctx.Err() == nil {
			if err := l.append(b, plain, vectors); err != nil {
				l.stop(err)
			}
		}
		b.labels, b.places, b.sealed, b.ends = b.labels[:0], b.places[:0], b.sealed[:0], b.ends[:0]
		l.free <- b
	}
	clear(plain[:cap(plain)])
	clear(vectors)
}

func (l *loader) append(b *sealedBatch, plain []byte, vectors []float32) error {
	dim, from := l.g.record.Dim, 0
	vectors = vectors[:len(b.labels)*dim]
	for i, to := range b.ends {
		opened, err := l.g.seal.open(plain, b.places[i], b.sealed[from:to])
		if err != nil {
			return err
		}
		if err := vectorInto(vectors[i*dim:(i+1)*dim], opened); err != nil {
			return err
		}
		from = to
	}
	err := l.index.Append(b.labels, vectors, b.rows)
	if errors.Is(err, index.ErrNorm) || errors.Is(err, index.ErrNotFinite) {
		return fmt.Errorf("%w: template: %w", ErrCorrupt, err)
	}
	return err
}
