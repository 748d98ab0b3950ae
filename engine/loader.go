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
	some    bool
	people  []string // whose templates are read, in order, if only some people's are

	all    []uint32   // the rows of all that is read, in the order of keys: one person's are neighbours
	rows   [][]uint32 // by label, parts of all where they are read
	loaded int

	batch      *sealedBatch // being collected
	free, work chan *sealedBatch
	stop       context.CancelCauseFunc
	ctx        context.Context // ends when one of the goroutines fails, with its error
}

// sealedBatch is templates on their way from the store to the index.
type sealedBatch struct {
	labels []uint32
	places []place
	keys   [][]byte // wrapped; nil where the tenant's data key sealed the template
	sealed []byte   // one after the other
	ends   []int    // of each
	rows   []uint32
}

// newLoader reads everybody's templates.
func newLoader(ctx context.Context, g *gallery, x searcher, records map[string]*personRecord) *loader {
	total := 0
	for _, r := range records {
		total += len(r.templates)
	}
	l := &loader{g: g, index: x, records: records, all: make([]uint32, total), rows: make([][]uint32, len(g.mu.ids))}
	l.ctx, l.stop = context.WithCancelCause(ctx)
	return l
}

// newLoaderOf reads the templates of some people, in the order of their ids, and adds their rows to rows.
func newLoaderOf(ctx context.Context, g *gallery, x searcher, records map[string]*personRecord, people []string, rows [][]uint32) *loader {
	total := 0
	for _, id := range people {
		total += len(records[id].templates)
	}
	l := &loader{g: g, index: x, records: records, some: true, people: people, all: make([]uint32, total), rows: rows}
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
	l.batch = <-l.free
	read := l.readAll
	if l.some {
		read = l.readSome
	}
	err := read(s)
	if err == nil && len(l.batch.labels) > 0 {
		l.handOn()
	}
	return err
}

func (l *loader) readAll(s *store) error {
	prefix := galleryPrefix(prefixTemplate, l.g.record.Number)
	return s.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		id, number, ok := splitTemplateKey(k)
		if !ok || !l.records[id].has(number) {
			return false, fmt.Errorf("%w: a template without its person", ErrCorrupt)
		}
		l.take(id, number, v)
		return l.ctx.Err() == nil, nil
	})
}

func (l *loader) readSome(s *store) error {
	var sealed []byte
	for _, id := range l.people {
		for _, t := range l.records[id].templates {
			value, found, err := s.get(sealed[:0], templateKey(l.g.record.Number, id, t.number))
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("%w: a person without a template", ErrCorrupt)
			}
			l.take(id, t.number, value)
			sealed = value
		}
		if l.ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

// take adds a template to the batch, which it hands on when it is full. sealed is not retained.
func (l *loader) take(id string, number uint32, sealed []byte) {
	label := l.g.mu.people[id].label
	at := l.loaded
	l.loaded++
	if l.index == nil {
		return
	}
	have, b := len(l.rows[label]), l.batch
	l.rows[label] = l.all[at-have : at+1 : at+1]
	b.labels = append(b.labels, label)
	b.places = append(b.places, l.g.templatePlace(l.g.mu.ids[label], number))
	b.keys = append(b.keys, l.records[id].key.sealed())
	b.sealed = append(b.sealed, sealed...)
	b.ends = append(b.ends, len(b.sealed))
	if len(b.labels) == loadBatch {
		l.handOn()
		l.batch = <-l.free
	}
}

func (l *loader) handOn() {
	b := l.batch
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
		b.labels, b.places, b.keys, b.sealed, b.ends = b.labels[:0], b.places[:0], b.keys[:0], b.sealed[:0], b.ends[:0]
		l.free <- b
	}
	clear(plain[:cap(plain)])
	clear(vectors)
}

func (l *loader) append(b *sealedBatch, plain []byte, vectors []float32) error {
	dim, from := l.g.record.Dim, 0
	vectors = vectors[:len(b.labels)*dim]
	var key *subjectKey
	for i, to := range b.ends {
		var err error
		if i == 0 || b.labels[i] != b.labels[i-1] {
			if key, err = l.g.unwrap(b.places[i].person, b.keys[i]); err != nil {
				return err
			}
		}
		opened, err := l.g.openRow(plain, key, b.places[i], b.sealed[from:to])
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
