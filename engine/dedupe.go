package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"mien/index"
)

const (
	// dedupeBatch is how many templates search together: more save nothing (index/scan, BenchmarkSearchEach), and a chunk
	// of rows then takes half of a millisecond, after which searches may go first.
	dedupeBatch = 64
	// jobCheckpoint is how long results and progress are kept in memory before they are written, and checkpointResults how many.
	jobCheckpoint     = 2 * time.Second
	checkpointResults = 1000
	// yieldPoll is how often a job that lets searches go first looks whether they are done; it waits no longer than yieldShare times
	// as long as it has worked since it last did. So under searches without end it has a tenth of a core.
	yieldPoll  = 200 * time.Microsecond
	yieldShare = 9
	// collectStep is how many labels are gone through under one lock of the gallery.
	collectStep = 8192
	// maxRounds bounds how often a job comes back to who was changed meanwhile.
	maxRounds = 8
	// jobPause is how long a job rests while the disk is nearly full.
	jobPause = time.Second
)

// errJobEnded says that a job was cancelled or deleted while it ran. No client sees it.
var errJobEnded = errors.New("engine: the job has ended")

// runJobs runs jobs one after the other, the oldest first, until Close.
func (e *Engine) runJobs() {
	for {
		for e.runNext() {
		}
		select {
		case <-e.jobs.work:
		case <-e.stopped.Done():
			return
		}
	}
}

// runNext runs the oldest job that has not ended, and reports whether there was one.
func (e *Engine) runNext() bool {
	if e.stopped.Err() != nil || e.store.fs.isHalted() {
		return false
	}
	for _, x := range e.jobs.of("") {
		if JobState(x.snapshot().State).ended() {
			continue
		}
		ctx, cancel := context.WithCancel(WithActor(e.stopped, Actor{Program: "job"}))
		x.start(cancel)
		err := e.dedupe(ctx, x)
		ended := ctx.Err() != nil || errors.Is(err, errJobEnded) || x.isRemoved()
		x.start(nil)
		cancel()
		if err != nil && !ended {
			e.failJob(x, err)
		}
		return true
	}
	return false
}

// start notes that the job runs from now on, until cancel is called; with nil, that it does not.
func (x *job) start(cancel context.CancelFunc) {
	done := x.snapshot().Done
	x.runner.Lock()
	defer x.runner.Unlock()
	x.runner.cancel, x.runner.resumed, x.runner.from = cancel, time.Now(), done
}

// failJob ends a job that can't go on. What can't be written is tried again after a restart.
func (e *Engine) failJob(x *job, cause error) {
	e.log.Error("a job failed", "job", x.id, "gallery", x.g.record.Number, "error", cause)
	err := e.store.update(WithActor(e.stopped, Actor{Program: "job"}), true, func(t *tx) error {
		r := x.snapshot()
		if x.isRemoved() || JobState(r.State).ended() {
			return nil
		}
		r.Reason = cmp.Or(Detail(cause), "the cause is in the server's log")
		x.set(t, r.end(JobFailed, t.now))
		x.audit(t, AuditJobEnd, "failed: "+r.Reason)
		return nil
	})
	if err != nil {
		pause(e.stopped, jobPause)
	}
}

// entry is a person to be looked at.
type entry struct {
	version uint64
	id      string
}

// compareEntries is the order in which people are looked at; those of one write by their ids, so that a job goes on after a restart with whom it
// came to.
func compareEntries(a, b entry) int {
	return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.id, b.id))
}

// deduping is a job's run.
type deduping struct {
	e *Engine
	x *job
	g *gallery

	sequence uint64    // the round is of the gallery as of this write
	covered  time.Time // when that was
	// pass is the index whose rows have not been renumbered since the run began, if the run is the job's first: then a pair is
	// compared once, by the one of the lower row (J5). nil: every person with everybody.
	pass    searcher
	counted uint64 // who has no later version counts for Hygiene

	queries []index.Query
	askers  []asker // of each query
	found   []finding
	record  jobRecord // as it will be written next
	written time.Time // last
	worked  time.Time // since when it has not let searches go first
}

// asker is a template that searches.
type asker struct {
	*looked
	template int
}

// looked is a person as the job has seen them.
type looked struct {
	id      string
	label   uint32
	version uint64
	numbers []uint32
	vectors [][]float32
	own     []float64 // cosine of each template to the nearest of the others; 2 with one template only
	odd     []bool    // whether none of the others verifies it
	quality []uint32  // of each template, as in its record
	from    uint32    // the first row that must be compared
}

// finding is a result that was found of people of these versions.
type finding struct {
	resultRecord
	aVersion, bVersion uint64
}

// dedupe runs a job from where it is to its end. Errors: errJobEnded, the store's, the index's, ctx's.
func (e *Engine) dedupe(ctx context.Context, x *job) error {
	d := &deduping{e: e, x: x, g: x.g, record: x.snapshot(), worked: time.Now(), written: time.Now()}
	if err := d.g.spaceKnown(); err != nil {
		return err
	}
	if d.record.State = string(JobRunning); d.record.Started.IsZero() {
		d.record.Started = fromMillis(e.store.now().UnixMilli())
		d.pass = d.g.currentIndex()
	}
	d.counted = d.record.Counted
	for round := range maxRounds {
		entries, err := d.collect(ctx)
		if err != nil {
			return err
		}
		if round > 0 && len(entries) == 0 {
			break
		}
		if d.record.Counted == 0 {
			d.record.Counted, d.counted = d.sequence, d.sequence
		}
		d.record.People = d.record.Done + len(entries)
		if err := d.round(ctx, entries); err != nil {
			return err
		}
		d.record.Covered, d.pass = d.covered, nil
	}
	return d.finish(ctx)
}

// collect returns who has changed since the watermark, in the order of their versions, as of a moment at which everything before it was
// in memory.
func (d *deduping) collect(ctx context.Context) ([]entry, error) {
	err := d.e.store.whileQuiet(ctx, func() error {
		d.sequence, d.covered = d.e.store.seq, fromMillis(d.e.store.now().UnixMilli())
		return nil
	})
	if err != nil {
		return nil, err
	}
	var all []entry
	after := entry{d.record.Watermark, d.record.After}
	for from, more := 0, true; more; from += collectStep {
		all, more = d.g.appendChanged(all, from, after, d.sequence)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, compareEntries)
	return all, nil
}

// appendChanged appends those of collectStep labels who come after an entry, with versions up to the sequence.
func (g *gallery) appendChanged(dst []entry, from int, after entry, sequence uint64) (_ []entry, more bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for label := from; label < min(from+collectStep, len(g.mu.ids)); label++ {
		if id := g.mu.ids[label]; id != "" {
			if n := (entry{g.mu.people[id].version, id}); n.version <= sequence && compareEntries(n, after) > 0 {
				dst = append(dst, n)
			}
		}
	}
	return dst, from+collectStep < len(g.mu.ids)
}

// round looks at people, batch by batch.
func (d *deduping) round(ctx context.Context, entries []entry) error {
	for i, n := range entries {
		p, err := d.look(n)
		if err != nil {
			return err
		}
		if p != nil {
			d.ask(p)
		}
		if len(d.queries) < d.e.dedupeBatch && i+1 < len(entries) {
			continue
		}
		if err := d.search(ctx); err != nil {
			return err
		}
		d.record.Done = d.record.People - len(entries) + i + 1
		d.record.Watermark, d.record.After = n.version, n.id
		if err := d.checkpoint(ctx, i+1 == len(entries)); err != nil {
			return err
		}
	}
	return nil
}

// look reads a person's templates; nil if they have changed since they were collected, for then their turn comes again.
func (d *deduping) look(n entry) (*looked, error) {
	d.g.mu.RLock()
	m := d.g.mu.people[n.id]
	if m == nil || m.version != n.version {
		d.g.mu.RUnlock()
		return nil, nil
	}
	p := &looked{id: n.id, label: m.label, version: n.version}
	if d.pass != nil && d.pass == d.g.mu.index && len(m.rows) > 0 {
		p.from = slices.Min(m.rows)
	} else {
		d.pass = nil // the index was made anew: rows have other numbers
	}
	d.g.mu.RUnlock()
	r, err := d.g.readPerson(d.e.store, p.id)
	if err != nil || r == nil || r.version != n.version {
		return nil, err
	}
	for _, t := range r.templates {
		v, err := d.g.storedTemplate(d.e.store, p.id, r.key, t.number)
		if err != nil || v == nil {
			return nil, err // replaced since the record was read
		}
		p.numbers, p.vectors, p.quality = append(p.numbers, t.number), append(p.vectors, v), append(p.quality, t.quality)
	}
	p.compareOwn(d.record.Own)
	if n.version <= d.counted {
		d.record.Hygiene.add(r, d.covered)
	}
	return p, nil
}

// storedTemplate reads a template, nil if there is none.
func (g *gallery) storedTemplate(s *store, id string, key *subjectKey, number uint32) ([]float32, error) {
	sealed, found, err := s.get(nil, templateKey(g.record.Number, id, number))
	if err != nil || !found {
		return nil, err
	}
	plain, err := g.openRow(nil, key, g.templatePlace(id, number), sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	v := make([]float32, g.record.Dim)
	return v, vectorInto(v, plain)
}

// compareOwn compares a person's templates with each other.
func (p *looked) compareOwn(threshold float64) {
	n := len(p.vectors)
	p.own, p.odd = make([]float64, n), make([]bool, n)
	for i := range p.own {
		if p.own[i] = 2; n > 1 {
			p.own[i] = -1
		}
		for j, v := range p.vectors {
			if j != i {
				p.own[i] = max(p.own[i], cosineOf(dot(p.vectors[i], v)))
			}
		}
		p.odd[i] = p.own[i] < threshold
	}
}

// add counts a person.
func (h *hygieneRecord) add(r *personRecord, now time.Time) {
	h.People++
	h.Templates += len(r.templates)
	if len(r.templates) == 1 {
		h.OneTemplate++
	}
	for _, t := range r.templates {
		if t.quality == 0 {
			h.Unjudged++
		}
		made := fromMillis(t.created)
		switch {
		case made.After(now.AddDate(-1, 0, 0)):
			h.Under1Year++
		case made.After(now.AddDate(-5, 0, 0)):
			h.Over1Year++
		case made.After(now.AddDate(-10, 0, 0)):
			h.Over5Years++
		default:
			h.Over10Years++
		}
	}
}

// ask puts a person's templates among those that search next. One that none of the person's others verifies is compared
// with everybody, from a lower score on: whose it may be is to be found.
func (d *deduping) ask(p *looked) {
	pair := d.threshold()
	for i, v := range p.vectors {
		q := index.Query{Vector: v, From: p.from, Options: index.Options{K: MaxPairsPerTemplate + 1, Threshold: floorFloat32(pair)}}
		if p.odd[i] {
			q.From, q.Options.Threshold = 0, floorFloat32(min(pair, d.record.Suspect))
		}
		d.queries = append(d.queries, q)
		d.askers = append(d.askers, asker{p, i})
	}
}

// threshold is the cosine that makes a pair, raised once there are too many.
func (d *deduping) threshold() float64 { return max(d.record.Threshold, d.record.Floor) }

// search makes the searches that are asked for and notes what they find.
func (d *deduping) search(ctx context.Context) error {
	if len(d.queries) == 0 {
		return nil
	}
	err := d.e.reading(ctx, d.g, func() error {
		x, _, err := d.g.beginSearch()
		if err != nil {
			return err
		}
		if x != d.pass { // which it may have been when the people were looked at
			d.pass = nil
			for i := range d.queries {
				d.queries[i].From = 0
			}
		}
		return x.SearchEach(ctx, d.queries, d.yield)
	})
	if err != nil {
		return err
	}
	for i, a := range d.askers {
		d.note(a, d.queries[i].Hits)
	}
	for _, q := range d.queries {
		clear(q.Vector)
	}
	clear(d.queries)
	clear(d.askers)
	d.queries, d.askers = d.queries[:0], d.askers[:0]
	return nil
}

// yield lets searches go first: while any is answered it waits, unless it has waited long enough. It is at most one core's work, and
// gives that one to whoever else is ready.
func (d *deduping) yield() {
	most := yieldShare * time.Since(d.worked)
	for begin := time.Now(); d.e.answering.Load() > 0 && time.Since(begin) < most && d.e.stopped.Err() == nil; {
		time.Sleep(yieldPoll)
	}
	runtime.Gosched()
	d.worked = time.Now()
}

// note takes what one template has found.
func (d *deduping) note(a asker, hits []index.Hit) {
	if len(hits) > MaxPairsPerTemplate {
		d.record.Truncated = true
	}
	others := d.named(hits, a.label)
	pair := d.threshold()
	for _, o := range others {
		if o.cosine >= pair {
			d.found = append(d.found, pairOf(a, o))
		}
	}
	score := scoreOf(a.quality[a.template])
	low := score != nil && *score < d.record.MinQuality
	if !a.odd[a.template] && !low {
		return
	}
	f := finding{resultRecord: resultRecord{Kind: FindingInconsistent, A: a.id, Template: a.numbers[a.template], Own: a.own[a.template],
		Quality: a.quality[a.template]}, aVersion: a.version}
	if !a.odd[a.template] {
		f.Kind = FindingLowQuality
	} else if len(others) > 0 && others[0].cosine >= d.record.Suspect && others[0].cosine > f.Own {
		o := others[0]
		f.Kind, f.B, f.Cosine, f.bVersion = FindingMislabelled, o.id, o.cosine, o.version
	}
	d.found = append(d.found, f)
}

// other is somebody whom a template is near to.
type other struct {
	id      string
	version uint64
	cosine  float64
}

// named turns hits into people, best first: those who have not changed since the round began, so that what was compared is what they have;
// whoever has changed comes in the next round.
func (d *deduping) named(hits []index.Hit, own uint32) (all []other) {
	d.g.mu.RLock()
	defer d.g.mu.RUnlock()
	for _, h := range hits {
		if h.Label == own {
			continue
		}
		id := d.g.mu.ids[h.Label]
		if m := d.g.mu.people[id]; m != nil && m.version <= d.sequence {
			all = append(all, other{id, m.version, cosineOf(h.Score)})
		}
	}
	slices.SortFunc(all, func(a, b other) int { return cmp.Or(cmp.Compare(b.cosine, a.cosine), cmp.Compare(a.id, b.id)) })
	return all
}

// pairOf is the pair with the smaller id first.
func pairOf(a asker, o other) finding {
	f := finding{resultRecord{Kind: kindPair, A: a.id, B: o.id, Cosine: o.cosine}, a.version, o.version}
	if f.A > f.B {
		f.A, f.B, f.aVersion, f.bVersion = f.B, f.A, f.bVersion, f.aVersion
	}
	return f
}

// checkpoint writes what was found and how far the job is, if that is due or now is set.
func (d *deduping) checkpoint(ctx context.Context, now bool) error {
	for len(d.found) > 0 || now || time.Since(d.written) >= d.e.jobCheckpoint {
		if len(d.found) < checkpointResults && !now && time.Since(d.written) < d.e.jobCheckpoint {
			return nil
		}
		some := d.found[:min(len(d.found), checkpointResults)]
		last := len(some) == len(d.found)
		if err := d.write(ctx, some, last); err != nil {
			return err
		}
		if d.found = d.found[len(some):]; last {
			d.found, d.written = nil, time.Now()
			return nil
		}
	}
	return nil
}

// finish ends the job, with the results that hold still and are among the best.
func (d *deduping) finish(ctx context.Context) error {
	stale, err := d.stale(ctx)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(stale, checkpointResults) {
		err := d.update(ctx, func(t *tx) error {
			for _, r := range some {
				if d.x.result(r.key()) == r {
					d.x.deleteResult(t, r)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	d.record = d.record.end(JobDone, d.e.store.now().UnixMilli())
	return d.write(ctx, nil, true)
}

// stale are the results that hold no more.
func (d *deduping) stale(ctx context.Context) (all []*result, err error) {
	d.x.mu.Lock()
	results := d.x.mu.inOrder()
	d.x.mu.Unlock()
	for _, r := range results {
		holds, err := d.g.holdsResult(d.e.store, r)
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return nil, err
		}
		if !holds {
			all = append(all, r)
		}
	}
	return all, nil
}

// write is one write of results and, with progress, of the job's record, which says then that they are there.
func (d *deduping) write(ctx context.Context, found []finding, progress bool) error {
	return d.update(ctx, func(t *tx) error { return d.stage(t, found, progress) })
}

// update is a write of a job that has not ended. It waits while the disk is nearly full. Errors: errJobEnded, the store's, ctx's.
func (d *deduping) update(ctx context.Context, stage func(*tx) error) error {
	for {
		err := d.e.store.update(ctx, false, func(t *tx) error {
			if d.x.isRemoved() || JobState(d.x.snapshot().State).ended() {
				return errJobEnded
			}
			return stage(t)
		})
		if !errors.Is(err, ErrStorageFull) {
			return err
		}
		pause(ctx, jobPause)
	}
}

// stage stages results whose people are what they were when they were compared, and the job's record.
func (d *deduping) stage(t *tx, found []finding, progress bool) error {
	next, pairs := d.x.staging()
	fresh := make(map[resultKey]*result)
	for _, f := range found {
		ok, err := d.current(&f)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		r := &result{resultRecord: f.resultRecord}
		if have := cmp.Or(fresh[r.key()], d.x.result(r.key())); have != nil {
			if r.number = have.number; !r.replaces(have) {
				continue
			}
		} else if r.Kind != kindPair && d.x.findingsKept()+len(fresh) >= MaxJobFindings {
			d.record.Truncated = true
			continue
		} else {
			r.number = next
			next++
		}
		fresh[r.key()] = r
	}
	for _, r := range fresh {
		d.x.setResult(t, r)
	}
	if progress {
		if most := d.record.MaxPairs; pairs > most+most/8 || d.record.State == string(JobDone) && pairs > most {
			d.cut(t, most)
		}
		d.x.set(t, d.record)
		if d.record.State == string(JobDone) {
			d.x.audit(t, AuditJobEnd, fmt.Sprintf("%d people looked at; %d pairs and %d findings", d.record.Done, min(pairs, d.record.MaxPairs), d.x.findingsKept()))
		}
	}
	return nil
}

// staging is the number of the next result, and how many pairs there are.
func (x *job) staging() (next uint32, pairs int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.next, x.mu.pairs
}

func (x *job) result(k resultKey) *result {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.all[k]
}

func (x *job) findingsKept() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.findings
}

// replaces reports whether r says more than what is there of the same people: it is of other templates, or nearer.
func (r *result) replaces(have *result) bool {
	return r.AAt != have.AAt || r.BAt != have.BAt || r.Kind != have.Kind || r.B != have.B || r.Cosine > have.Cosine
}

// current fills in the numbers by which the people's templates are known, and reports whether both are what they were.
func (d *deduping) current(f *finding) (bool, error) {
	for _, p := range []struct {
		id      string
		version uint64
		at      *uint32
	}{{f.A, f.aVersion, &f.AAt}, {f.B, f.bVersion, &f.BAt}} {
		if p.id == "" {
			continue
		}
		r, err := d.g.readPerson(d.e.store, p.id)
		if err != nil || r == nil || r.version != p.version {
			return false, err
		}
		*p.at = r.next
	}
	return true, nil
}

// cut stages the deletion of all but the best pairs, and raises the threshold to the last of them.
func (d *deduping) cut(t *tx, most int) {
	d.x.mu.Lock()
	all := d.x.mu.inOrder()[:d.x.mu.pairs]
	d.x.mu.Unlock()
	if len(all) <= most {
		return
	}
	d.record.Truncated = true
	d.record.Floor = math.Max(d.record.Floor, all[most-1].Cosine)
	for _, r := range all[most:] {
		d.x.deleteResult(t, r)
	}
}
