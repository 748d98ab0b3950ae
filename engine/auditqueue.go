package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// How decisions are recorded, Config.Audit.
const (
	AuditAsync  = "async"
	AuditSync   = "sync"
	AuditWrites = "writes"
)

const (
	// maxAuditQueued bounds the records that wait for a block: some 5 MB, and at fifty thousand decisions a second a third of
	// a second of a disk that stands still.
	maxAuditQueued = 16384
	// maxAuditBlock is how many records a block has at most: a few hundred kB, so a list that opens a block for one record
	// of it takes a millisecond.
	maxAuditBlock = 1024
	// auditLinger is how long a record waits for others to share its fsync with.
	auditLinger = 20 * time.Millisecond
)

// auditQueue takes the records of decisions and refusals from those who answer to the one goroutine that writes them.
type auditQueue struct {
	mode    string
	entries chan auditEntry // one without op only asks to be told when those before it are written
	now     func() time.Time
	done    chan struct{}  // closed when all is written
	unsaid  map[string]int // records that were lost, by tenant, since the last block; the goroutine's own

	mu struct {
		sync.Mutex
		lost map[string]int64 // by tenant
	}
}

// decided records a decision before it is answered: the record is in the queue then, or with AuditSync in the store. Errors:
// ErrAudit, if that takes longer than ctx lasts, or with AuditSync the disk refuses.
func (e *Engine) decided(ctx context.Context, a *auditEntry) error {
	if e.auditing.mode == AuditWrites {
		return nil
	}
	a.actor, a.decided = actorOf(ctx), true
	return e.auditing.take(ctx, a)
}

// AuditRefusal records that a call was refused, with a code of a client's API: a call that somebody made who is known, but may
// not, or for whom it could not be done. Names that are not acceptable are left out. Errors: ErrAudit, ErrClosed, ctx's.
func (e *Engine) AuditRefusal(ctx context.Context, tenant, op, gallery, person, code string) error {
	if err := e.enter(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	defer e.leave()
	a := &auditEntry{tenant: tenant, actor: actorOf(ctx), op: op, outcome: AuditRefused, code: code}
	a.nameIfFit(gallery, person)
	return e.auditing.take(ctx, a)
}

// nameIfFit has the record name a gallery and a person, but for names that are not acceptable.
func (a *auditEntry) nameIfFit(gallery, person string) {
	if checkName("gallery", gallery) == nil {
		a.gallery = gallery
	}
	if checkPersonID(person) == nil {
		a.person = person
	}
}

// AuditLost is how many records of a tenant's decisions and refusals a disk that failed or was full has cost, since the process
// started.
func (e *Engine) AuditLost(tenant string) int64 {
	q := e.auditing
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.lost[tenant]
}

// lose counts a record that could not be written.
func (q *auditQueue) lose(tenant string) {
	q.unsaid[tenant]++
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.lost[tenant]++
}

func (q *auditQueue) take(ctx context.Context, a *auditEntry) error {
	a.time = q.now().UnixMilli()
	if q.mode != AuditSync {
		select {
		case q.entries <- *a:
			return nil
		default:
			return q.push(ctx, a)
		}
	}
	return q.enqueueSynced(ctx, a)
}

// takeSynced is take for what is recorded durably whatever the mode.
func (q *auditQueue) takeSynced(ctx context.Context, a *auditEntry) error {
	a.time = q.now().UnixMilli()
	return q.enqueueSynced(ctx, a)
}

func (q *auditQueue) enqueueSynced(ctx context.Context, a *auditEntry) error {
	written := make(chan error, 1)
	a.written = written
	if err := q.push(ctx, a); err != nil {
		return err
	}
	return q.await(ctx, written)
}

func (q *auditQueue) push(ctx context.Context, a *auditEntry) error {
	select {
	case q.entries <- *a:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errAudit, ctx.Err())
	}
}

func (q *auditQueue) await(ctx context.Context, written <-chan error) error {
	select {
	case err := <-written:
		if err != nil {
			return fmt.Errorf("%w: %w", errAudit, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errAudit, ctx.Err())
	}
}

// flushAudit waits until what was in the queue is in the store, or lost. Errors: ErrAudit, if ctx ends before.
func (e *Engine) flushAudit(ctx context.Context) error {
	written := make(chan error, 1)
	if err := e.auditing.push(ctx, &auditEntry{written: written}); err != nil {
		return err
	}
	err := e.auditing.await(ctx, written)
	if err != nil && ctx.Err() == nil {
		return nil // what could not be written is no reason not to read what was
	}
	return err
}

// writeDecisions writes blocks until the queue is closed and empty.
func (e *Engine) writeDecisions() {
	q := e.auditing
	defer close(q.done)
	var block []auditEntry
	for first := range q.entries {
		block = q.gather(append(block[:0], first))
		err := e.writeBlock(block)
		for _, a := range block {
			if a.written != nil {
				a.written <- err
			}
		}
		clear(block)
	}
}

// gather takes what comes within auditLinger, up to a block's worth, or to somebody who waits.
func (q *auditQueue) gather(block []auditEntry) []auditEntry {
	timer := time.NewTimer(auditLinger)
	defer timer.Stop()
	for len(block) < maxAuditBlock {
		if block[len(block)-1].written != nil {
			select {
			case a, ok := <-q.entries:
				if !ok {
					return block
				}
				block = append(block, a)
			default:
				return block
			}
			continue
		}
		select {
		case a, ok := <-q.entries:
			if !ok {
				return block
			}
			block = append(block, a)
		case <-timer.C:
			return block
		}
	}
	return block
}

// writeBlock writes records in one batch. What it can't write is lost: it is counted, logged, and said by a record in the log of
// whose records they were, once one can be written. Errors: the store's.
func (e *Engine) writeBlock(block []auditEntry) error {
	q, entries := e.auditing, []auditEntry{}
	for tenant, n := range q.unsaid {
		entries = append(entries, auditEntry{tenant: tenant, time: q.now().UnixMilli(), op: auditLost, note: fmt.Sprintf("%d records could not be written", n)})
	}
	for _, a := range block {
		if a.op != "" && e.knownTenant(a.tenant) {
			entries = append(entries, a)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	err := e.store.updateAudit(context.Background(), func(t *tx) error {
		t.entries = slices.DeleteFunc(entries, func(a auditEntry) bool { return !e.knownTenant(a.tenant) }) // erased meanwhile
		return nil
	})
	if err == nil {
		clear(q.unsaid)
		return nil
	}
	for _, a := range entries {
		if a.op != auditLost {
			q.lose(a.tenant)
		}
	}
	if !errors.Is(err, ErrStorageFailed) { // which is logged once, when it happens
		e.log.Error("audit: records could not be written", "records", len(entries), "error", err)
	}
	return err
}

func (e *Engine) knownTenant(tenant string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.mu.sealers[tenant] != nil
}

// closeAudit writes what is left. REQUIRES: no call runs.
func (e *Engine) closeAudit() {
	close(e.auditing.entries)
	if e.started {
		<-e.auditing.done
	}
}
