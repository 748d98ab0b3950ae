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

// Import writes people, as they are, status, retention, times and provenance included, under new versions: several thousand in one
// write (doc.go, B1 to B7). A template of norm 1 is kept bit for bit. No gate is applied, for templates pass every
// gate, and nobody is checked for duplicates. What people yields, and
// the vectors in it, need only be valid until the next; the last one of an id counts. done is told what became of each person,
// in order, once that is durable and in searches; an error of it, or of people, ends the import after the blocks that were begun.
//
// The outcome of a person whose template or metadata is refused is ImportFailed, with what PutPerson would say, and the import
// goes on; so it is with who would be due already. Who is there keeps nothing of before but the numbering of templates, the history, which
// what is replaced joins, and the status where people say none (ConflictReplace). A call that ends early has
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
	if x, ok := g.currentIndex().(bulkIndex); ok {
		defer x.Bulk()()
	}
	return im.run(ctx, people, done)
}

// bulkIndex is an index that does in the background what can wait until an import has ended: Bulk begins one, and what it returns
// ends it.
type bulkIndex interface{ Bulk() (end func()) }

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

	vectors, people int // lengths of the block before's; owned by collect

	// What follows is owned by who has the turn.
	handed  uint64         // sequence number of the last block that was handed over
	foreign uint64         // that of the last write of the gallery, as far as known, that was none of these
	blocks  []handedImport // that were handed over, but for those that were in memory when the last block was prepared
}

// handedImport is who is in a block that was handed over.
type handedImport struct {
	seq         uint64
	first, last string
	ids         map[string]struct{}
}

// importBlock is the people of one write.
type importBlock struct {
	results []ImportResult // by their order in the file
	people  []importPerson // who are to be written; by id from prepare on
	ids     map[string]struct{}
	vectors []float32   // of people, one after the other, in their order in the file
	rows    [][]float32 // of vectors
	size    int

	mark    uint64      // the gallery's writes up to this sequence number were in memory when people were staged
	wrapper *sealer     // the tenant's key that wrapped those of people
	staged  []*personTx // of people; nil for who is not written after all
	rest    []change    // what staging them changes beside their templates
	tables  []string    // their templates
	bytes   int64       // of tables
	arenas  [][]byte    // of the shards: sealed templates
	commit  *commit     // nil: nothing was written
}

// importPerson is a person of a block.
type importPerson struct {
	at     int // in results
	id     string
	record personRecord // all but version and key, as far as the file says
	unsaid bool         // it does not say the status
	row    int          // of the block's, the first of len(record.templates)
}

// vectors are a person's, one after the other.
func (b *importBlock) vectorsOf(p *importPerson, dim int) []float32 {
	return b.vectors[p.row*dim : (p.row+len(p.record.templates))*dim]
}

// rowsOf are a person's.
func (b *importBlock) rowsOf(p *importPerson) [][]float32 {
	n := p.row + len(p.record.templates)
	return b.rows[p.row:n:n]
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
			im.vectors, im.people = len(b.vectors), len(b.people)
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
		*b = importBlock{ids: make(map[string]struct{}, len(b.ids)), vectors: b.vectors[:0], rows: b.rows[:0], people: b.people[:0],
			staged: b.staged[:0], rest: b.rest[:0], arenas: b.arenas, results: make([]ImportResult, 0, im.people)}
		b.vectors, b.people = slices.Grow(b.vectors, im.vectors), slices.Grow(b.people, im.people)
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
	b.people = append(b.people, importPerson{at: at, id: p.ID, record: r, unsaid: p.Status == "", row: from / space.Dim})
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
	r.suspended = p.Status == StatusSuspended
	var err2 error
	r.expires, err = millisOf("expires", p.Expires)
	r.consent, err2 = p.Consent.record()
	if err := cmp.Or(p.Status.validate(), err, err2); err != nil {
		return r, err
	}
	if r.history, err = historyRecords(p.History, &outside); err != nil {
		return r, err
	}
	last := uint32(0)
	r.templates = make([]templateRecord, 0, len(p.Templates))
	for _, t := range p.Templates {
		if t.Number <= last || t.Number >= math.MaxUint32-MaxTemplates {
			return r, refuse(ErrImportRecord, "the numbers of the person's templates are not 1 or more and rising")
		}
		record, err := t.record(&outside)
		if err != nil {
			return r, err
		}
		if b.vectors, err = appendUnit(b.vectors, space, t.Vector); err != nil {
			return r, err
		}
		last = t.Number
		r.templates = append(r.templates, record)
	}
	for _, t := range r.history {
		last = max(last, t.number)
	}
	if outside {
		return r, refuse(ErrImportRecord, "a time of the person is before 1970 or after 9999")
	}
	r.next = last + 1
	return r, nil
}

// record is what is kept of a template beside its vector. Errors: ErrImportRecord.
func (t *PortableTemplate) record(outside *bool) (r templateRecord, err error) {
	if len(t.Source) > MaxSourceBytes {
		return r, refuse(ErrImportRecord, "the source of template %d has %d bytes: the most is %d", t.Number, len(t.Source), MaxSourceBytes)
	}
	if t.By != "" && (len(t.By) > MaxByBytes || checkPersonID(t.By) != nil) {
		return r, refuse(ErrImportRecord, "who enrolled template %d is no id: use up to %d bytes without control characters", t.Number, MaxByBytes)
	}
	r = templateRecord{number: t.Number, created: importMillis(t.Created, outside), source: t.Source, by: t.By}
	if q := t.Quality; q != nil {
		if !(*q >= 0 && *q <= 100) {
			return r, refuse(ErrImportRecord, "the quality of template %d is %v: it is from 0 to 100", t.Number, *q)
		}
		r.quality = recordedQuality(*q)
	}
	return r, nil
}

// historyRecords are those of templates that were replaced. Errors: ErrImportRecord.
func historyRecords(history []PortableTemplate, outside *bool) (all []templateRecord, err error) {
	last := uint32(0)
	for _, t := range history {
		if len(history) > MaxHistory || t.Number <= last || t.Number >= math.MaxUint32-MaxTemplates || t.Vector != nil {
			return nil, refuse(ErrImportRecord, "the person's history is not one: at most %d templates, their numbers 1 or more and rising, without vectors", MaxHistory)
		}
		r, err := t.record(outside)
		if err != nil {
			return nil, err
		}
		if r.replaced = importMillis(t.Replaced, outside); r.replaced == 0 {
			return nil, refuse(ErrImportRecord, "it is not said when template %d was replaced", t.Number)
		}
		all, last = append(all, r), t.Number
	}
	return all, nil
}

func importMillis(t time.Time, outside *bool) int64 {
	ms := t.UnixMilli()
	*outside = *outside || ms < 0 || ms > maxImportMillis
	return ms
}

// prepare sorts a block's people, seals their templates, on all cores, and writes these to tables, against the store as it is
// now; commit sees whether it still is. Errors: the store's, ErrCorrupt.
func (im *importer) prepare(ctx context.Context, b *importBlock) error {
	b.rows = appendRowsOf(b.rows, b.vectors, im.g.record.Dim)
	byID := func(a, b importPerson) int { return cmp.Compare(a.id, b.id) }
	if !slices.IsSortedFunc(b.people, byID) {
		slices.SortFunc(b.people, byID)
	}
	return im.stageAll(ctx, b)
}

// importShard is a run of a block's people that one goroutine stages.
type importShard struct {
	tx      *tx
	staged  []*personTx
	changes []change // that tx collects
	rest    []change // of changes, what is not templates
	tables  []string
	bytes   int64
	arena   []byte // sealed templates
	plain   []byte // of one
	err     error
}

// stageAll runs the shards of a block and puts together what they made. They write to the disk, so a halt parks them: it is not
// waited for then.
func (im *importer) stageAll(ctx context.Context, b *importBlock) error {
	n := max(1, min(runtime.GOMAXPROCS(0), len(b.people)/256))
	b.wrapper = im.g.seal.ring.current() // before anybody is wrapped by it
	b.mark = im.g.recent.inMemory()      // before anybody is looked for
	for len(b.arenas) < n {
		b.arenas = append(b.arenas, nil)
	}
	shards := make([]chan *importShard, n)
	for i := range shards {
		part := b.people[i*len(b.people)/n : (i+1)*len(b.people)/n]
		s := &importShard{arena: b.arenas[i][:0]}
		shards[i] = make(chan *importShard, 1)
		go func() { // ends, or parks
			s.err = im.stage(s, b, part)
			shards[i] <- s
		}()
	}
	b.staged, b.rest, b.tables, b.bytes = b.staged[:0], b.rest[:0], []string{}, 0
	var failed error
	for i, c := range shards {
		select {
		case s := <-c:
			failed = cmp.Or(failed, s.err)
			b.staged, b.rest = append(b.staged, s.staged...), append(b.rest, s.rest...)
			b.tables, b.bytes, b.arenas[i] = append(b.tables, s.tables...), b.bytes+s.bytes, s.arena
		case <-im.e.store.fs.halted:
			return errStorageFailed
		}
	}
	return cmp.Or(failed, ctx.Err())
}

// stage stages people into changes of their own.
func (im *importer) stage(s *importShard, b *importBlock, people []importPerson) error {
	st, templates := im.e.store, 0
	for i := range people {
		templates += len(people[i].record.templates)
	}
	s.arena = slices.Grow(s.arena, templates*(4*im.g.record.Dim+subjectOverhead))
	s.changes = make([]change, 0, templates)
	s.tx = &tx{store: st, changes: &s.changes, now: st.now().UnixMilli()}
	s.staged = make([]*personTx, len(people))
	txs := make([]personTx, len(people))
	for i := range people {
		there, err := im.stagePerson(s, b, &people[i], &txs[i])
		if err != nil {
			return err
		}
		if there {
			s.staged[i] = &txs[i]
		}
	}
	clear(s.plain)
	rows := make([]change, 0, len(s.changes))
	for _, c := range s.changes {
		s.bytes += c.size()
		if c.key[0] == prefixTemplate {
			rows = append(rows, c)
		} else {
			s.rest = append(s.rest, c)
		}
	}
	var err error
	s.tables, err = st.tables.write(nil, sortChanges(rows))
	return err
}

// stagePerson stages the templates of a person in x; false if the person is there and is to stay. Its record is left to commit, which
// knows its version.
func (im *importer) stagePerson(s *importShard, b *importBlock, p *importPerson, x *personTx) (bool, error) {
	result := &b.results[p.at]
	result.Outcome, result.Err = ImportCreated, nil
	*x = personTx{tx: s.tx, g: im.g, id: p.id, record: personRecord{created: s.tx.now, next: 1}}
	if im.g.version(p.id) != 0 {
		have, err := im.g.personTx(s.tx, p.id)
		if err != nil {
			return false, err
		}
		*x = *have
	}
	if x.there() && im.onConflict != ConflictReplace {
		result.Outcome = ImportSkipped
		if im.onConflict == ConflictFail {
			result.Outcome, result.Err = ImportFailed, errPersonExists
		}
		return false, nil
	}
	if err := x.retain(p.record.expires, p.record.consent); err != nil {
		result.Outcome, result.Err = ImportFailed, err
		return false, nil
	}
	first, keep := p.record.templates[0].number, im.g.rules.Load().history
	if x.there() {
		result.Outcome = ImportReplaced
	}
	if x.old != nil {
		first = max(first, x.old.next)
	}
	x.block = b
	if x.there() {
		x.dropTemplates(keep)
	} else { // new, or due and not erased yet
		x.dropTemplates(0)
		x.record.suspended = false
		if n := len(p.record.history); n > 0 && keep > 0 {
			x.record.history = p.record.history[max(n-keep, 0):]
		}
	}
	x.key = im.g.newSubjectKey(p.id) // as of who is new, and as replaceTemplates (K1)
	x.record.templates = make([]templateRecord, 0, len(p.record.templates))
	shift := first - p.record.templates[0].number
	for i, r := range p.record.templates {
		r.number += shift
		s.storeTemplate(x, r, b.rows[p.row+i])
	}
	x.record.created, x.record.updated, x.record.metadata = p.record.created, p.record.updated, p.record.metadata
	x.record.next = p.record.next + shift
	x.record.suspended = p.record.suspended || p.unsaid && x.record.suspended
	return true, nil
}

// storeTemplate is personTx.storeTemplate with the shard's memory.
func (s *importShard) storeTemplate(x *personTx, r templateRecord, v []float32) {
	s.plain = appendVector(s.plain[:0], v)
	from := len(s.arena)
	s.arena = x.key.appendSeal(s.arena, x.g.templatePlace(x.id, r.number), s.plain)
	x.set(templateKey(x.g.record.Number, x.id, r.number), s.arena[from:len(s.arena):len(s.arena)])
	x.record.templates = append(x.record.templates, r)
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
	rows := make([]change, 0, len(b.staged)+len(b.rest))
	rows = append(rows, b.rest...)
	t.changes = &rows
	extended := false
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
		if p.old != nil && !p.there() { // due, and not erased yet: that, and somebody new
			if err := p.forget(); err != nil {
				return err
			}
		}
		p.record.version = t.seq
		p.stage()
		extended = extended || p.record.extended()
	}
	t.changes = nil
	if created+replaced == 0 {
		return nil
	}
	if extended {
		if err := t.raiseFormat(identityFormat); err != nil {
			return err
		}
	}
	t.audit(auditEntry{tenant: im.g.tenant, op: AuditPeopleImport, gallery: im.g.name, note: fmt.Sprintf("created %d, replaced %d", created, replaced)})
	t.tables, t.tableRows, t.tableBytes = b.tables, rows, b.bytes
	for _, c := range rows {
		t.tableBytes += c.size()
	}
	t.onHandOver = append(t.onHandOver, func() {
		im.g.unsynced.Add(1)
		im.g.recent.add(b.recent(t.seq)...)
		im.noteHanded(t.seq, b)
	})
	t.also(func() {
		im.g.putBlock(t.seq, b)
		im.g.unsynced.Add(-1)
		im.g.recent.rememberBlock(created+replaced, t.seq)
	})
	return nil
}

// recent is what the block did to each person's templates, for the checks of enrolments that run (D2).
func (b *importBlock) recent(seq uint64) []recentWrite {
	all := make([]recentWrite, 0, len(b.staged))
	for i, p := range b.staged {
		if p != nil {
			all = append(all, recentWrite{seq: seq, person: p.id, clears: p.old != nil, vectors: b.rowsOf(&b.people[i])})
		}
	}
	return all
}

// isPrepared reports whether everybody is in the store as the block was prepared for.
func (im *importer) isPrepared(t *tx, b *importBlock) (bool, error) {
	untouched := im.isUntouched(b)
	if b.wrapper != im.g.seal.ring.current() { // the tenant's key was rotated meanwhile
		return false, nil
	}
	if untouched {
		return true, nil
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

// isUntouched reports whether it is certain, without a look into the store, that nothing has changed of a block's people since it was
// prepared: all that was written to the gallery meanwhile are blocks of this import, and of other people. REQUIRES: the turn.
func (im *importer) isUntouched(b *importBlock) bool {
	if last := im.g.recent.handedOver(); last != im.handed {
		im.foreign = last
	}
	im.blocks = slices.DeleteFunc(im.blocks, func(h handedImport) bool { return h.seq <= b.mark })
	if im.foreign > b.mark || len(b.people) == 0 {
		return false
	}
	first, last := b.people[0].id, b.people[len(b.people)-1].id
	for _, h := range im.blocks {
		if last < h.first || h.last < first {
			continue
		}
		for i := range b.people {
			if _, ok := h.ids[b.people[i].id]; ok {
				return false
			}
		}
	}
	return true
}

// noteHanded notes a block that is handed over. REQUIRES: the turn.
func (im *importer) noteHanded(seq uint64, b *importBlock) {
	im.handed = seq
	im.blocks = append(im.blocks, handedImport{seq, b.people[0].id, b.people[len(b.people)-1].id, b.ids})
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
		if p.old != nil {
			g.put(p.id, version, p.traits, len(p.record.templates), b.rowsOf(&b.people[i]))
			continue
		}
		a.add(p.id, p.traits, len(p.record.templates), b.vectorsOf(&b.people[i], g.record.Dim))
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
	members []*member // of ids, while they are added
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
	a.labels, a.members = a.labels[:0], a.members[:0]
	for i, id := range a.ids {
		m := g.memberLocked(id)
		a.members = append(a.members, m)
		m.version, m.templates = a.version, a.counts[i]
		for range a.counts[i] {
			a.labels = append(a.labels, m.label)
		}
	}
	g.mu.templates += len(a.labels)
	rows := g.appendLocked(a.labels, a.vectors)
	for i, m := range a.members {
		if n := a.counts[i]; rows != nil {
			m.rows, rows = rows[:n:n], rows[n:]
		}
		g.describeLocked(m, a.traits[i])
	}
	clear(a.vectors)
	a.ids, a.traits, a.counts, a.vectors = a.ids[:0], a.traits[:0], a.counts[:0], a.vectors[:0]
}

// appendRowsOf appends the vectors of dim numbers that v has to rows.
func appendRowsOf(rows [][]float32, v []float32, dim int) [][]float32 {
	for ; len(v) > 0; v = v[dim:] {
		rows = append(rows, v[:dim:dim])
	}
	return rows
}
