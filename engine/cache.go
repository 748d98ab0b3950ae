package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"mien/index"
	"mien/index/scan"
)

// largeGallery is how many templates an index keeps on the heap; galleries of more have files, and are saved.
const largeGallery = scan.SmallRows

// owners says whose the rows of a saved index are: by label, the person and the write that the person's rows
// reflect. Layout, integers as uvarint, an id with its length before it:
//
//	format 1 · count · count × (version · id)
//
// with the version 0, and no id, for a label that nobody has. Format history: 1 the first.
type owners struct {
	ids      []string
	versions []uint64
}

const ownersFormat = 1

// owners of a gallery's labels as they are. REQUIRES: mu is held, at least for reading.
func (g *gallery) ownersLocked() owners {
	o := owners{g.mu.ids, make([]uint64, len(g.mu.ids))}
	for id, m := range g.mu.people {
		if o.versions[m.label] = m.version; o.ids[m.label] != id {
			panic("BUG: a label of another person")
		}
	}
	return o
}

func (o owners) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, ownersFormat)
	dst = binary.AppendUvarint(dst, uint64(len(o.ids)))
	for label, id := range o.ids {
		dst = binary.AppendUvarint(dst, o.versions[label])
		if id != "" {
			dst = binary.AppendUvarint(dst, uint64(len(id)))
			dst = append(dst, id...)
		}
	}
	return dst
}

// parseOwners is the inverse of append; it takes memory in proportion to b, which is not aliased. Errors: ErrCorrupt.
func parseOwners(b []byte) (o owners, err error) {
	d := decoderOf(b)
	if format := d.Uint(math.MaxUint64); format != ownersFormat {
		return o, fmt.Errorf("%w: the people of a saved index are of format %d, this program reads %d", ErrCorrupt, format, ownersFormat)
	}
	n := d.Uint(min(math.MaxUint32, uint64(len(d.Rest)))) // a label has a byte at least
	o = owners{make([]string, 0, n), make([]uint64, 0, n)}
	for range n {
		version, id := d.Uint(math.MaxUint64), ""
		if version != 0 {
			id = d.String(MaxIDBytes)
			d.Bad = d.Bad || id == ""
		}
		if d.Bad {
			break
		}
		o.ids, o.versions = append(o.ids, id), append(o.versions, version)
	}
	if !d.Whole() {
		return owners{}, fmt.Errorf("%w: the people of a saved index", ErrCorrupt)
	}
	return o, nil
}

// savedIndex is an index as it was saved, and whose its rows were then.
type savedIndex struct {
	searcher
	owners
}

// openSaved opens the index that was saved for a gallery; nil if there is none, or none that can be used, which is
// logged: a cache never keeps the store from opening.
func (e *Engine) openSaved(g *gallery) *savedIndex {
	folder := e.indexFolder(g)
	if _, err := os.Lstat(folder); g.space == nil || folder == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c := e.indexConfig(g)
	defer clear(c.Key)
	x, sequence, owner, err := openIndex(g.record.Index, c)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			e.distrust(g, err)
		}
		return nil
	}
	o, err := parseOwners(owner)
	if err == nil && sequence > e.store.seq { // C5
		err = fmt.Errorf("%w: it is of write %d, the store's last is %d", index.ErrCorrupt, sequence, e.store.seq)
	}
	if err == nil {
		err = g.adopt(o)
	}
	if err != nil {
		e.distrust(g, errors.Join(err, x.Close()))
		return nil
	}
	if damage := graphOf(x).Damage; damage != nil {
		e.log.Warn("a saved graph can't be used", "gallery", g.record.Number, "error", damage)
	}
	return &savedIndex{x, o}
}

// distrust says that a gallery's saved index is not used.
func (e *Engine) distrust(g *gallery, err error) {
	e.log.Warn("a saved search index can't be used: it is made anew from the store", "gallery", g.record.Number, "error", err)
}

// adopt gives an empty gallery the labels of a saved index, with people who have no templates until put gives them
// theirs. Labels that nobody had then are given out first: no search of this process has seen them (memberLocked). Errors:
// ErrCorrupt.
func (g *gallery) adopt(o owners) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for label, id := range o.ids {
		if id == "" {
			g.mu.spare = append(g.mu.spare, uint32(label))
			continue
		}
		g.mu.people[id] = &member{label: uint32(label)}
	}
	if len(g.mu.people)+len(g.mu.spare) != len(o.ids) {
		clear(g.mu.people)
		g.mu.spare = nil
		return fmt.Errorf("%w: a person has two labels in a saved index", ErrCorrupt)
	}
	g.mu.ids = slices.Clone(o.ids)
	return nil
}

// dropAbsent removes the people whom adopt brought and the store has not.
func (g *gallery) dropAbsent() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, m := range g.mu.people {
		if m.templates == 0 {
			delete(g.mu.people, id)
			g.mu.ids[m.label] = ""
		}
	}
}

// close closes an index that is not used; x may be nil.
func (x *savedIndex) close() error {
	if x == nil {
		return nil
	}
	return x.Close()
}

// useSaved makes a saved index the gallery's, and says how many templates it had to read; used is false if it can't be,
// which is logged. A gallery that has become small has its index made anew, without files.
func (e *Engine) useSaved(g *gallery, x *savedIndex, records map[string]*personRecord) (read int, used bool) {
	if g.mu.templates <= largeGallery {
		_ = x.Close() // nothing was written
		return 0, false
	}
	links := linkedOf(x.searcher) // before any is made
	rows, removed, read, err := e.catchUp(g, x, records)
	if err != nil {
		e.distrust(g, errors.Join(err, x.Close()))
		return 0, false
	}
	g.useIndex(x.searcher, rows)
	g.mu.unsaved, g.mu.savedLinks = removed+read > 0, links
	e.log.Info("saved search index used", "gallery", g.record.Number, "templates", g.mu.templates, "removed", removed, "read", read)
	return read, true
}

// catchUp makes a saved index hold what the store holds: it removes the rows of everybody who is gone or was written
// since (C3), and reads the templates of who was. It returns the rows by label. Errors: ErrCorrupt, index.ErrCorrupt,
// the store's and the index's. REQUIRES: as buildIndex; nobody searches x yet.
func (e *Engine) catchUp(g *gallery, x *savedIndex, records map[string]*personRecord) (rows [][]uint32, removed, read int, err error) {
	rows, stale, err := x.rowsOf(g)
	if err == nil && len(stale) > 0 {
		_, err = x.Replace(stale, 0, nil)
	}
	if err != nil {
		return nil, 0, 0, err
	}
	var changed []string
	for id, m := range g.mu.people {
		if rows[m.label] == nil {
			changed = append(changed, id)
		}
	}
	slices.Sort(changed) // the order of their keys
	l := newLoaderOf(e.stopped, g, x.searcher, records, changed, rows)
	rows, err = l.run(e.store)
	if err == nil && x.Rows() != g.mu.templates {
		err = fmt.Errorf("%w: the saved index has %d rows, the people %d templates", index.ErrCorrupt, x.Rows(), g.mu.templates)
	}
	return rows, len(stale), l.loaded, err
}

// rowsOf returns the rows that are still right, by label, and the others. Right are those of a person whom no write
// has changed since (C2), if they are as many as the person has templates.
func (x *savedIndex) rowsOf(g *gallery) (rows [][]uint32, stale []uint32, err error) {
	counts, total := make([]int, len(g.mu.ids)), 0
	err = x.Each(func(_, label uint32) {
		if int(label) < len(counts) {
			counts[label]++
		}
	})
	if err != nil {
		return nil, nil, err
	}
	rows = make([][]uint32, len(g.mu.ids))
	for _, m := range g.mu.people {
		if n := counts[m.label]; int(m.label) < len(x.versions) && x.versions[m.label] == m.version && n == m.templates {
			rows[m.label] = []uint32{}
			total += n
		}
	}
	all := make([]uint32, total)
	err = x.Each(func(row, label uint32) {
		switch {
		case int(label) >= len(rows) || rows[label] == nil:
			stale = append(stale, row)
			return
		case len(rows[label]) == 0:
			n := counts[label]
			rows[label], all = all[:0:n], all[n:]
		}
		rows[label] = append(rows[label], row)
	})
	return rows, stale, err
}

// saveIndex saves a gallery's index if it, or its graph, has changed since it was saved and is large; a small one loads as quickly
// without. Errors are logged: then what was saved before stays, and is as good as it was (C1 to C4). REQUIRES: nobody
// changes the gallery, and no write is under way.
func (e *Engine) saveIndex(g *gallery) {
	if e.indexFolder(g) == "" {
		return
	}
	x, owner, links := g.toSave()
	if x == nil {
		return
	}
	begin := time.Now()
	err := e.roomToSave(int64(len(owner)) + x.MemoryBytes())
	if err == nil {
		err = x.Save(e.store.seq, owner)
	}
	g.saved(links, err == nil)
	if err != nil {
		e.log.Warn("a search index is not saved: the next start takes longer", "gallery", g.record.Number, "error", err)
		return
	}
	e.log.Info("search index saved", "gallery", g.record.Number, "templates", x.Rows(), "ms", time.Since(begin).Milliseconds())
}

// toSave is what must be saved of a gallery, x nil if nothing must. Searches go on meanwhile.
func (g *gallery) toSave() (x searcher, owner []byte, links int) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.mu.index == nil || g.mu.behind != nil || g.mu.templates <= largeGallery {
		return nil, nil, 0
	}
	if links = linkedOf(g.mu.index); !g.mu.unsaved && links == g.mu.savedLinks {
		return nil, nil, 0
	}
	return g.mu.index, g.ownersLocked().append(nil), links
}

// saved notes that the index was saved with so many links, or that this was tried.
func (g *gallery) saved(links int, whole bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.changed = 0
	if whole {
		g.mu.unsaved, g.mu.savedLinks = false, links
	}
}

// linkedOf is how many rows are linked in an index's graph; it only grows if there is no other change.
func linkedOf(x searcher) int { return graphOf(x).Linked }

// defaultIdleSave is for how long a gallery must have rested for its index to be saved while the engine runs.
const defaultIdleSave = 10 * time.Second

// saveIdle saves indexes of galleries that have come to rest, so that a crash costs the work since then, and not all since
// the start. Writers wait meanwhile, searches don't.
func (e *Engine) saveIdle() {
	for {
		if pause(e.stopped, e.idleSave/2); e.stopped.Err() != nil {
			return
		}
		for _, g := range e.allGalleries() {
			if g.rests(e.idleSave) {
				_ = e.store.whileQuiet(e.stopped, func() error { // an error says that the store is closed, or halted
					if e.holds(g) {
						e.saveIndex(g)
					}
					return nil
				})
			}
		}
	}
}

// rests reports whether nothing has changed for so long after much has: an eighth of the templates, or of the graph's
// links.
func (g *gallery) rests(since time.Duration) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.mu.index == nil || g.mu.templates <= largeGallery || time.Since(g.mu.changedAt) < since {
		return false
	}
	links, graph := 0, graphOf(g.mu.index)
	if graph.Waiting > 0 {
		return false
	}
	if graph.Serving == indexHNSW {
		links = graph.Linked - g.mu.savedLinks
	}
	return 8*max(g.mu.changed, links) > g.mu.templates
}

// roomToSave refuses to fill the disk with a cache: the store would not be opened again.
func (e *Engine) roomToSave(size int64) error {
	d := &e.store.disk
	if d.minFree <= 0 {
		return nil
	}
	if usage, err := d.fs.GetDiskUsage(d.dir); err == nil && usage.AvailBytes < uint64(d.minFree)+uint64(size) {
		return fmt.Errorf("%w: %d bytes are needed", ErrStorageFull, size)
	}
	return nil
}
