package engine

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// OnConflict says what an import does with people who are there already.
type OnConflict string

// What an import does with people who are there already.
const (
	ConflictReplace OnConflict = "replace" // makes them what the file says; the default
	ConflictSkip    OnConflict = "skip"    // leaves them as they are
	ConflictFail    OnConflict = "fail"    // reports them with ErrPersonExists, and goes on
)

// ImportOutcome is what became of one person of an import.
type ImportOutcome string

// What may become of one person of an import.
const (
	ImportCreated  ImportOutcome = "created"
	ImportReplaced ImportOutcome = "replaced"
	ImportSkipped  ImportOutcome = "skipped"
	ImportFailed   ImportOutcome = "failed"
)

// ImportOptions shape an import.
type ImportOptions struct {
	Space      string     // of all templates; it must be the gallery's
	OnConflict OnConflict // "" is ConflictReplace
}

// ImportResult is what became of one person. Err is set if Outcome is ImportFailed; its Detail is fit for clients.
type ImportResult struct {
	ID      string
	Outcome ImportOutcome
	Err     error
}

// Bounds of a block: the people who are written at once. A block's templates take some four times their size in memory until it is
// done, and there are up to importBlocks of them.
const (
	importBlockBytes  = 8 << 20 // of vectors, metadata and ids
	importBlockPeople = 1 << 14
	importBlocks      = 4
)

// maxImportMillis is the last of the year 9999, beyond which times have no RFC 3339 form.
const maxImportMillis = 253_402_300_799_999

// Import writes people, as they are, times and provenance included, under new versions: several thousand in one write (doc.go,
// B1 to B5). A template of norm 1 is kept bit for bit. No gate is applied, for templates pass every
// gate, and nobody is checked for duplicates. What people yields, and
// the vectors in it, need only be valid until the next; the last one of an id counts. done is told what became of each person,
// in order, once that is durable and in searches; an error of it, or of people, ends the import after the blocks that were begun.
//
// The outcome of a person whose template or metadata is refused is ImportFailed, with what PutPerson would say, and the import
// goes on. Who is there keeps nothing of before but the numbering of templates (ConflictReplace). A call that ends early has
// written what done was told, and perhaps the blocks after that; to repeat it does no harm. Errors: ErrID,
// ErrGalleryNotFound, ErrSpaceUnknown, ErrSpaceMismatch, ErrMoving (to another space: finish or cancel that first),
// ErrImportOption, those of every write (see CreateGallery), those of people and done.
func (e *Engine) Import(ctx context.Context, tenant, name string, o ImportOptions, people iter.Seq2[PortablePerson, error],
	done func([]ImportResult) error) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	g, err := e.importGallery(tenant, name, &o)
	if err != nil {
		return err
	}
	im := &importer{e: e, g: g, onConflict: o.OnConflict, free: make(chan *importBlock, importBlocks)}
	for range importBlocks {
		im.free <- &importBlock{}
	}
	return im.run(ctx, people, done)
}

func (e *Engine) importGallery(tenant, name string, o *ImportOptions) (*gallery, error) {
	o.OnConflict = cmp.Or(o.OnConflict, ConflictReplace)
	if o.OnConflict != ConflictReplace && o.OnConflict != ConflictSkip && o.OnConflict != ConflictFail {
		return nil, refuse(ErrImportOption, "on_conflict %q is unknown: use %q, %q or %q", o.OnConflict, ConflictReplace, ConflictSkip, ConflictFail)
	}
	g, err := e.gallery(tenant, name)
	if err != nil {
		return nil, err
	}
	if err := g.spaceKnown(); err != nil {
		return nil, err
	}
	if o.Space != g.record.Space {
		return nil, &SpaceMismatchError{Want: g.record.Space, Got: o.Space, Against: "gallery"}
	}
	if next := g.successor.Load(); next != nil {
		return nil, errImportMoving(next.record.Space)
	}
	return g, nil
}

func errImportMoving(space string) error {
	return refuse(ErrMoving, "the gallery is being moved to embedding space %q: import when that is finished or cancelled", space)
}

// importer is one call of Import. Blocks go from one goroutine to the next, in order:
//
//	collect: check, normalise ─▶ prepare: seal templates, write tables ─▶ commit: the turn ─▶ report: durable, in memory ─▶ free
type importer struct {
	e          *Engine
	g          *gallery
	onConflict OnConflict
	free       chan *importBlock
}

// importBlock is the people of one write.
type importBlock struct {
	results []ImportResult // by their order in the file
	people  []importPerson // who are to be written; by id from prepare on
	ids     map[string]struct{}
	vectors []float32 // of people, one after the other, in their order in the file
	size    int

	wrapper *sealer     // the tenant's key that wrapped those of people
	staged  []*personTx // of people; nil for who is not written after all
	rest    []change    // what staging them changes beside their templates
	tables  []string    // their templates
	bytes   int64       // of tables
	commit  *commit     // nil: nothing was written
}

// importPerson is a person of a block.
type importPerson struct {
	at      int // in results
	id      string
	record  personRecord // created, updated, metadata, templates
	vectors []float32    // float32[len(record.templates) × dim], part of the block's
}

func (im *importer) run(ctx context.Context, people iter.Seq2[PortablePerson, error], done func([]ImportResult) error) error {
	toPrepare, toCommit, toReport := make(chan *importBlock), make(chan *importBlock), make(chan *importBlock, importBlocks)
	group, ctx := errgroup.WithContext(ctx)
	var source error // of people: the blocks before are finished
	group.Go(func() error {
		defer close(toPrepare)
		return im.collect(ctx, people, &source, toPrepare)
	})
	group.Go(func() error {
		defer close(toCommit)
		return im.each(ctx, toPrepare, toCommit, im.prepare)
	})
	group.Go(func() error {
		defer close(toReport)
		return im.each(ctx, toCommit, toReport, im.commit)
	})
	group.Go(func() error {
		return im.each(ctx, toReport, im.free, func(ctx context.Context, b *importBlock) error { return im.report(ctx, b, done) })
	})
	err := group.Wait()
	for range len(im.free) {
		clear((<-im.free).vectors)
	}
	return cmp.Or(err, source)
}

// each passes blocks on after f.
func (im *importer) each(ctx context.Context, from <-chan *importBlock, to chan<- *importBlock, f func(context.Context, *importBlock) error) error {
	for b := range from {
		if err := f(ctx, b); err != nil {
			im.discard(b)
			return err
		}
		if err := pass(ctx, to, b); err != nil {
			im.discard(b)
			return err
		}
	}
	return nil
}

func pass(ctx context.Context, to chan<- *importBlock, b *importBlock) error {
	select {
	case to <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// discard removes the tables of a block that is not written.
func (im *importer) discard(b *importBlock) {
	if b.commit == nil {
		im.e.store.tables.remove(b.tables)
	}
}

// collect makes blocks of people who are acceptable by themselves. What is wrong with the source ends the last of them.
func (im *importer) collect(ctx context.Context, people iter.Seq2[PortablePerson, error], source *error, to chan<- *importBlock) error {
	var b *importBlock
	for p, err := range people {
		if err != nil {
			*source = err
			break
		}
		if b != nil && b.isFull(p) {
			if err := pass(ctx, to, b); err != nil {
				return err
			}
			b = nil
		}
		if b == nil {
			if b, err = im.newBlock(ctx); err != nil {
				return err
			}
		}
		b.take(*im.g.space, p)
	}
	if b == nil {
		return nil
	}
	return pass(ctx, to, b)
}

func (im *importer) newBlock(ctx context.Context) (*importBlock, error) {
	select {
	case b := <-im.free:
		*b = importBlock{ids: map[string]struct{}{}, vectors: b.vectors[:0], people: b.people[:0], staged: b.staged[:0], rest: b.rest[:0]}
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// isFull reports whether p belongs into the next block: a write has a person once only.
func (b *importBlock) isFull(p PortablePerson) bool {
	_, again := b.ids[p.ID]
	return again || b.size >= importBlockBytes || len(b.results) >= importBlockPeople
}

// take checks a person and copies what is needed of it.
func (b *importBlock) take(space Space, p PortablePerson) {
	at := len(b.results)
	b.results = append(b.results, ImportResult{ID: p.ID})
	from := len(b.vectors)
	r, err := b.record(space, p)
	if err != nil {
		b.vectors = b.vectors[:from]
		b.results[at].Outcome, b.results[at].Err = ImportFailed, err
		if len(p.ID) > MaxIDBytes {
			b.results[at].ID = p.ID[:MaxIDBytes]
		}
		return
	}
	b.ids[p.ID] = struct{}{}
	b.size += len(p.ID) + len(r.metadata) + 4*(len(b.vectors)-from) + 64
	b.people = append(b.people, importPerson{at: at, id: p.ID, record: r})
}

// record is the person's, as far as the file says it; the vectors are appended to the block's.
func (b *importBlock) record(space Space, p PortablePerson) (r personRecord, err error) {
	if err := checkPersonID(p.ID); err != nil {
		return r, err
	}
	if n := len(p.Templates); n < 1 || n > MaxTemplates {
		return r, refuse(ErrTemplateCount, "the person has %d templates: a person has 1 to %d", n, MaxTemplates)
	}
	if r.metadata, err = compactMetadata(p.Metadata); err != nil {
		return r, err
	}
	var outside bool
	r.created, r.updated = importMillis(p.Created, &outside), importMillis(p.Updated, &outside)
	last := uint32(0)
	for i, t := range p.Templates {
		if t.Number <= last || t.Number >= math.MaxUint32-MaxTemplates {
			return r, refuse(ErrImportRecord, "the numbers of the person's templates are not 1 or more and rising")
		}
		if len(t.Source) > MaxSourceBytes {
			return r, refuse(ErrImportRecord, "the source of template %d has %d bytes: the most is %d", i, len(t.Source), MaxSourceBytes)
		}
		if b.vectors, err = appendUnit(b.vectors, space, t.Vector); err != nil {
			return r, err
		}
		last = t.Number
		r.templates = append(r.templates, templateRecord{number: t.Number, created: importMillis(t.Created, &outside), source: t.Source})
	}
	if outside {
		return r, refuse(ErrImportRecord, "a time of the person is before 1970 or after 9999")
	}
	r.next = last + 1
	return r, nil
}

func importMillis(t time.Time, outside *bool) int64 {
	ms := t.UnixMilli()
	*outside = *outside || ms < 0 || ms > maxImportMillis
	return ms
}

// prepare sorts a block's people, seals their templates, on all cores, and writes these to tables, against the store as it is
// now; commit sees whether it still is. Errors: the store's, ErrCorrupt.
func (im *importer) prepare(ctx context.Context, b *importBlock) error {
	dim := im.g.record.Dim
	at := 0
	for i := range b.people { // in the order of the file yet
		n := len(b.people[i].record.templates) * dim
		b.people[i].vectors, at = b.vectors[at:at+n:at+n], at+n
	}
	slices.SortFunc(b.people, func(a, b importPerson) int { return cmp.Compare(a.id, b.id) })
	return im.stageAll(ctx, b)
}

// importShard is a run of a block's people that one goroutine stages.
type importShard struct {
	tx     *tx
	staged []*personTx
	rest   []change
	tables []string
	bytes  int64
	err    error
}

// stageAll runs the shards of a block and puts together what they made. They write to the disk, so a halt parks them: it is not
// waited for then.
func (im *importer) stageAll(ctx context.Context, b *importBlock) error {
	n := max(1, min(runtime.GOMAXPROCS(0), len(b.people)/256))
	wrapper := im.g.seal.ring.current() // before anybody is wrapped by it
	shards := make([]chan importShard, n)
	for i := range shards {
		part := b.people[i*len(b.people)/n : (i+1)*len(b.people)/n]
		shards[i] = make(chan importShard, 1)
		go func() { shards[i] <- im.stage(b, part) }() // ends, or parks
	}
	b.wrapper = wrapper
	b.staged, b.rest, b.tables, b.bytes = b.staged[:0], b.rest[:0], []string{}, 0
	var failed error
	for _, c := range shards {
		select {
		case s := <-c:
			failed = cmp.Or(failed, s.err)
			b.staged, b.rest = append(b.staged, s.staged...), append(b.rest, s.rest...)
			b.tables, b.bytes = append(b.tables, s.tables...), b.bytes+s.bytes
		case <-im.e.store.fs.halted:
			return errStorageFailed
		}
	}
	return cmp.Or(failed, ctx.Err())
}

// stage stages people into changes of their own.
func (im *importer) stage(b *importBlock, people []importPerson) (s importShard) {
	st := im.e.store
	s.tx = &tx{store: st, batch: st.db.NewBatchWithSize(len(people) * (len(b.vectors)/max(len(b.people), 1)*4 + 256)), now: st.now().UnixMilli()}
	s.staged = make([]*personTx, len(people))
	for i := range people {
		if s.staged[i], s.err = im.stagePerson(s.tx, b, &people[i]); s.err != nil {
			return s
		}
	}
	templates := make([]change, 0, s.tx.batch.Count())
	for _, c := range changesOf(nil, s.tx.batch) {
		if c.key[0] == prefixTemplate {
			templates = append(templates, c)
		} else {
			s.rest = append(s.rest, c)
		}
	}
	s.bytes = int64(s.tx.batch.Len())
	s.tables, s.err = st.tables.write(nil, sortChanges(templates))
	return s
}

// stagePerson stages the templates of a person; nil if the person is there and is to stay. Its record is left to commit, which
// knows its version.
func (im *importer) stagePerson(t *tx, b *importBlock, p *importPerson) (*personTx, error) {
	result := &b.results[p.at]
	result.Outcome, result.Err = ImportCreated, nil
	x := im.g.newPersonTx(t, p.id)
	if im.g.version(p.id) != 0 {
		var err error
		if x, err = im.g.personTx(t, p.id); err != nil {
			return nil, err
		}
	}
	if x.there() && im.onConflict != ConflictReplace {
		result.Outcome = ImportSkipped
		if im.onConflict == ConflictFail {
			result.Outcome, result.Err = ImportFailed, errPersonExists
		}
		return nil, nil
	}
	first := p.record.templates[0].number
	if x.there() {
		result.Outcome = ImportReplaced
	}
	if x.old != nil {
		first = max(first, x.old.next)
	}
	x.block = b
	x.dropTemplates(im.g.rules.Load().history)
	x.key = im.g.newSubjectKey(p.id) // as of who is new, and as replaceTemplates (K1)
	shift, dim := first-p.record.templates[0].number, im.g.record.Dim
	for i, r := range p.record.templates {
		r.number += shift
		x.storeTemplate(r, Template{Vector: p.vectors[i*dim : (i+1)*dim]})
	}
	x.record.created, x.record.updated, x.record.metadata = p.record.created, p.record.updated, p.record.metadata
	x.record.next = p.record.next + shift
	return x, x.retain(0, nil)
}

// commit writes a block, if the store is still what it was prepared for; else it is prepared again, now that nobody else writes.
func (im *importer) commit(ctx context.Context, b *importBlock) error {
	if err := im.e.store.roomForTables(ctx); err != nil {
		return err
	}
	c, handedOver, err := im.e.store.begin(ctx, func(t *tx) error { return im.stageBlock(ctx, t, b) })
	if handedOver {
		b.commit = c
	}
	return err
}

func (im *importer) stageBlock(ctx context.Context, t *tx, b *importBlock) error {
	have, found, err := t.gallery(im.g.tenant, im.g.name)
	if err != nil {
		return err
	}
	if !found || have.Number != im.g.record.Number {
		return errGalleryNotFound
	}
	if have.Move != nil {
		return errImportMoving(have.Move.Space)
	}
	same, err := im.isPrepared(t, b)
	if err == nil && !same {
		im.e.store.tables.remove(b.tables)
		err = im.prepareAgain(ctx, b)
	}
	if err != nil {
		return err
	}
	created, replaced := 0, 0
	for _, p := range b.staged {
		switch {
		case p == nil:
			continue
		case p.old == nil:
			created++
		default:
			replaced++
		}
		p.tx = t
		p.record.version = t.seq
		p.stage()
	}
	if created+replaced == 0 {
		return nil
	}
	t.audit(auditEntry{tenant: im.g.tenant, op: AuditPeopleImport, gallery: im.g.name, note: fmt.Sprintf("created %d, replaced %d", created, replaced)})
	for _, c := range b.rest {
		if c.deletion {
			t.delete(c.key)
		} else {
			t.set(c.key, c.value)
		}
	}
	t.tables, t.tableBytes = b.tables, b.bytes
	t.onHandOver = append(t.onHandOver, func() {
		im.g.unsynced.Add(1)
		b.eachRecent(t.seq, im.g.record.Dim, im.g.recent.add)
	})
	t.also(func() {
		im.g.putBlock(t.seq, b)
		im.g.unsynced.Add(-1)
		im.g.recent.rememberBlock(created+replaced, t.seq)
	})
	return nil
}

// eachRecent calls add with what the block did to each person's templates, for the checks of enrolments that run (D2).
func (b *importBlock) eachRecent(seq uint64, dim int, add func(recentWrite)) {
	for i, p := range b.staged {
		if p != nil {
			add(recentWrite{seq: seq, person: p.id, clears: p.old != nil, vectors: vectorsOf(b.people[i].vectors, dim)})
		}
	}
}

// isPrepared reports whether everybody is in the store as the block was prepared for.
func (im *importer) isPrepared(t *tx, b *importBlock) (bool, error) {
	if b.wrapper != im.g.seal.ring.current() { // the tenant's key was rotated meanwhile
		return false, nil
	}
	for _, p := range b.staged {
		if p == nil {
			continue
		}
		row, found, err := t.get(personKey(im.g.record.Number, p.id))
		if err != nil || found != (p.old != nil) {
			return false, err
		}
		if !found {
			continue
		}
		if now, err := im.g.openPerson(p.id, row); err != nil || now.version != p.old.version {
			return false, err
		}
	}
	return true, nil
}

// prepareAgain prepares a block while no other write is under way, so that memory, too, says who is there. REQUIRES: the turn.
func (im *importer) prepareAgain(ctx context.Context, b *importBlock) error {
	s := im.e.store
	if err := s.settle(ctx, s.last.Load()); err != nil {
		return err
	}
	return im.stageAll(ctx, b)
}

// report waits until a block is durable and in memory.
func (im *importer) report(ctx context.Context, b *importBlock, done func([]ImportResult) error) error {
	if b.commit != nil {
		if err := im.e.store.settle(ctx, b.commit); err != nil {
			return err
		}
	}
	return done(b.results)
}

// putBlock makes a block's people in memory what they are, each at one moment. Who is new is added many at a time.
func (g *gallery) putBlock(version uint64, b *importBlock) {
	a := appender{g: g, version: version}
	for i, p := range b.staged {
		if p == nil {
			continue
		}
		v := b.people[i].vectors
		if p.old != nil {
			g.put(p.id, version, p.traits, len(p.record.templates), vectorsOf(v, g.record.Dim))
			continue
		}
		a.add(p.id, p.traits, len(p.record.templates), v)
	}
	a.flush()
	for _, p := range b.staged {
		if p == nil {
			continue
		}
		if due := p.record.due(); due != 0 || p.old != nil {
			g.setDue(p.id, due)
		}
	}
}

// appendRows is how many templates are added to the index at one moment: as many as it encodes at a time.
const appendRows = 64

// appender adds new people to memory, up to appendRows of their templates at a time.
type appender struct {
	g       *gallery
	version uint64
	ids     []string
	traits  []traits
	counts  []int // of templates, by person
	vectors []float32
	labels  []uint32
}

func (a *appender) add(id string, t traits, templates int, vectors []float32) {
	if dim := a.g.record.Dim; len(a.vectors)/dim+templates > appendRows {
		a.flush()
	}
	a.ids, a.traits, a.counts, a.vectors = append(a.ids, id), append(a.traits, t), append(a.counts, templates), append(a.vectors, vectors...)
}

func (a *appender) flush() {
	g := a.g
	g.mu.Lock()
	defer g.mu.Unlock()
	a.labels = a.labels[:0]
	for i, id := range a.ids {
		m := g.memberLocked(id)
		m.version, m.templates = a.version, a.counts[i]
		for range a.counts[i] {
			a.labels = append(a.labels, m.label)
		}
	}
	g.mu.templates += len(a.labels)
	rows := g.appendLocked(a.labels, a.vectors)
	for i, id := range a.ids {
		m := g.mu.people[id]
		if n := a.counts[i]; rows != nil {
			m.rows, rows = rows[:n:n], rows[n:]
		}
		g.describeLocked(m, a.traits[i])
	}
	clear(a.vectors)
	a.ids, a.traits, a.counts, a.vectors = a.ids[:0], a.traits[:0], a.counts[:0], a.vectors[:0]
}

func vectorsOf(v []float32, dim int) (rows [][]float32) {
	for ; len(v) > 0; v = v[dim:] {
		rows = append(rows, v[:dim:dim])
	}
	return rows
}
