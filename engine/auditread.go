package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// AuditQuery chooses records. The zero value is the newest DefaultListLimit.
type AuditQuery struct {
	From, To time.Time // From ≤ time < To; zero: no bound
	Gallery  string    // "": any
	Person   string    // who it is about, or who was found; "": any
	Limit    int       // 0: DefaultListLimit
	Cursor   string    // AuditPage.Next of the page before; "" begins at the newest
}

// AuditPage is some records, newest first.
type AuditPage struct {
	Records []AuditLine `json:"records"`
	// Next is the cursor of the next page; "" at the end. A page may have fewer records than were asked for, or none, and a next
	// one: a call looks at maxAuditScan records.
	Next string `json:"next,omitempty"`
}

// AuditLine is a record with its hash, in lists and in exported files.
type AuditLine struct {
	Hash   AuditHash       `json:"hash"`
	Record json.RawMessage `json:"record"` // an AuditRecord, as it was hashed
}

// maxAuditScan bounds the records that one list looks at: some 50 ms.
const maxAuditScan = 50_000

var errAuditPageFull = errors.New("engine: audit page full")

// AuditHead returns the newest record's sequence and hash: who notes them down can tell later, with the log or an exported file,
// that nothing before was changed, dropped or put between. Errors: ErrID, ErrAudit, ErrClosed, ctx's.
func (e *Engine) AuditHead(ctx context.Context, tenant string) (AuditHead, error) {
	if err := e.enterAudit(ctx, tenant); err != nil {
		return AuditHead{}, err
	}
	defer e.leave()
	return e.store.audit.durable(tenant), nil
}

// enterAudit is enter for calls that read a tenant's log, and has what was decided before the call in it.
func (e *Engine) enterAudit(ctx context.Context, tenant string) error {
	if err := checkName("tenant", tenant); err != nil {
		return err
	}
	if err := e.enter(ctx); err != nil {
		return err
	}
	if err := e.flushAudit(ctx); err != nil {
		e.leave()
		return err
	}
	return nil
}

// Audit lists records, newest first. It sees every write and decision that was answered before it began. Errors: ErrID, ErrLimit,
// ErrCursor, ErrAudit, ErrCorrupt, ErrClosed, ctx's.
func (e *Engine) Audit(ctx context.Context, tenant string, q AuditQuery) (AuditPage, error) {
	q.Limit = cmp.Or(q.Limit, DefaultListLimit)
	before, err := q.check()
	if err != nil {
		return AuditPage{}, err
	}
	if err := e.enterAudit(ctx, tenant); err != nil {
		return AuditPage{}, err
	}
	defer e.leave()
	if head := e.store.audit.durable(tenant); before == 0 || before > head.Seq+1 {
		before = head.Seq + 1
	}
	page, scanned := AuditPage{Records: []AuditLine{}}, 0
	want := q.matcher()
	err = e.eachBlockBack(tenant, before, func(first uint64, plain []byte) error {
		lines, err := linesBefore(tenant, first, plain, before)
		for i := len(lines) - 1; i >= 0 && err == nil; i-- {
			if len(page.Records) == q.Limit || scanned == maxAuditScan {
				page.Next = strconv.FormatUint(first+uint64(i)+1, 10)
				return errAuditPageFull
			}
			scanned++
			if ok, bad := want(lines[i].Record); bad != nil {
				return bad
			} else if ok {
				page.Records = append(page.Records, lines[i])
			}
		}
		return cmp.Or(err, ctx.Err())
	})
	if err != nil && !errors.Is(err, errAuditPageFull) {
		return AuditPage{}, err
	}
	return page, nil
}

func (q AuditQuery) check() (before uint64, err error) {
	if q.Limit < 1 || q.Limit > MaxListLimit {
		return 0, refuse(ErrLimit, "limit is %d: it must be from 1 to %d", q.Limit, MaxListLimit)
	}
	if q.Gallery != "" {
		if err := checkName("gallery", q.Gallery); err != nil {
			return 0, err
		}
	}
	if q.Person != "" {
		if err := checkPersonID(q.Person); err != nil {
			return 0, err
		}
	}
	if q.Cursor == "" {
		return 0, nil
	}
	before, err = strconv.ParseUint(q.Cursor, 10, 64)
	if err != nil || before == 0 || strconv.FormatUint(before, 10) != q.Cursor {
		return 0, refuse(ErrCursor, "the cursor is not one this server gave: pass \"next\" of the page before, unchanged, or none")
	}
	return before, nil
}

// matcher tells which records the query chooses. A record without the quoted names is not parsed.
func (q AuditQuery) matcher() func(line []byte) (bool, error) {
	var names [][]byte
	for _, name := range []string{q.Gallery, q.Person} {
		if name != "" {
			names = append(names, appendJSONString(nil, name))
		}
	}
	if len(names) == 0 && q.From.IsZero() && q.To.IsZero() {
		return func([]byte) (bool, error) { return true, nil }
	}
	return func(line []byte) (bool, error) {
		for _, name := range names {
			if !bytes.Contains(line, name) {
				return false, nil
			}
		}
		var r AuditRecord
		if err := json.Unmarshal(line, &r); err != nil {
			return false, fmt.Errorf("%w: audit record: %w", ErrCorrupt, err)
		}
		return q.chooses(&r), nil
	}
}

func (q AuditQuery) chooses(r *AuditRecord) bool {
	about := q.Person == "" || r.Person == q.Person
	for _, id := range r.Found {
		about = about || id == q.Person
	}
	return about && (q.Gallery == "" || r.Gallery == q.Gallery) &&
		!r.Time.Before(q.From) && (q.To.IsZero() || r.Time.Before(q.To))
}

// isOlder reports whether a record is of a time before.
func isOlder(line []byte, before time.Time) (bool, error) {
	var r struct{ Time time.Time }
	if err := json.Unmarshal(line, &r); err != nil {
		return false, fmt.Errorf("%w: audit record: %w", ErrCorrupt, err)
	}
	return r.Time.Before(before), nil
}

// linesBefore are copies of a block's records of lower sequence than before.
func linesBefore(tenant string, first uint64, plain []byte, before uint64) (lines []AuditLine, err error) {
	_, err = auditLines(tenant, first, plain, func(at AuditHead, line []byte) error {
		if at.Seq < before {
			lines = append(lines, AuditLine{at.Hash, bytes.Clone(line)})
		}
		return nil
	})
	return lines, err
}

// eachBlockBack visits the blocks that begin before a sequence, last first.
func (e *Engine) eachBlockBack(tenant string, before uint64, visit func(first uint64, plain []byte) error) (err error) {
	iter, err := e.store.db.NewIter(&pebble.IterOptions{LowerBound: auditPrefix(tenant), UpperBound: auditKey(tenant, before)})
	if err != nil {
		return fmt.Errorf("engine: read: %w", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for ok := iter.Last(); ok; ok = iter.Prev() {
		sealed, err := iter.ValueAndErr()
		if err != nil {
			return fmt.Errorf("engine: read: %w", err)
		}
		first, plain, err := e.openAudit(tenant, iter.Key(), sealed)
		if err != nil {
			return err
		}
		if err := visit(first, plain); err != nil {
			return err
		}
	}
	return iter.Error()
}

// openAudit opens a block. Errors: ErrCorrupt.
func (e *Engine) openAudit(tenant string, key, sealed []byte) (first uint64, plain []byte, err error) {
	e.mu.RLock()
	seal := e.mu.sealers[tenant]
	e.mu.RUnlock()
	prefix := auditPrefix(tenant)
	if seal == nil || len(key) != len(prefix)+8 {
		return 0, nil, fmt.Errorf("%w: audit block without its tenant", ErrCorrupt)
	}
	first = binary.BigEndian.Uint64(key[len(prefix):])
	plain, err = seal.open(nil, auditPlace(tenant, first), sealed)
	return first, plain, err
}

// loadAudit finds each log's end.
func (e *Engine) loadAudit() error {
	for tenant := range e.mu.sealers {
		err := e.eachBlockBack(tenant, 1<<63, func(first uint64, plain []byte) error {
			head, err := auditLines(tenant, first, plain, func(AuditHead, []byte) error { return nil })
			if err != nil {
				return err
			}
			e.store.audit.heads[tenant] = head
			e.store.audit.keepDurable(tenant, head)
			return errAuditPageFull
		})
		if err != nil && !errors.Is(err, errAuditPageFull) {
			return fmt.Errorf("engine: load audit log of tenant %q: %w", tenant, err)
		}
	}
	return nil
}

// AuditExport is a tenant's log as a file (doc.go), read block by block: one block is in memory. Used by one goroutine.
type AuditExport struct {
	e      *Engine
	ctx    context.Context
	tenant string
	end    AuditHead // where it ends
	at     AuditHead // the last record in the file so far
	begun  bool
	ended  bool
	buf    bytes.Buffer // what is not read yet
}

// ExportAudit begins an export of the records after a sequence, 0 for all, up to the newest at this moment. Errors: ErrID,
// ErrCursor (there is no such record, or not any more), ErrAudit, ErrCorrupt, ErrClosed, ctx's.
func (e *Engine) ExportAudit(ctx context.Context, tenant string, after uint64) (*AuditExport, error) {
	if err := e.enterAudit(ctx, tenant); err != nil {
		return nil, err
	}
	defer e.leave()
	x := &AuditExport{e: e, ctx: ctx, tenant: tenant, end: e.store.audit.durable(tenant), at: AuditHead{Seq: after}}
	if after > x.end.Seq {
		return nil, refuse(ErrCursor, "there is no audit record %d: the newest is %d", after, x.end.Seq)
	}
	return x, x.start()
}

// start finds the head to begin after: the record named, or the one before the first there is.
func (x *AuditExport) start() error {
	prefix := auditPrefix(x.tenant)
	lower := prefix
	if x.at.Seq > 0 {
		err := x.e.eachBlockBack(x.tenant, x.at.Seq+1, func(first uint64, _ []byte) error {
			lower = auditKey(x.tenant, first)
			return errAuditPageFull
		})
		if err != nil && !errors.Is(err, errAuditPageFull) {
			return err
		}
	}
	after, found := x.at.Seq, false
	err := x.e.store.each(lower, prefixEnd(prefix), func(key, sealed []byte) (bool, error) {
		first, plain, err := x.e.openAudit(x.tenant, key, sealed)
		if err != nil {
			return false, err
		}
		if after == 0 || after == first-1 {
			x.at, found = AuditHead{Seq: first - 1}, true
			_, err = auditLines(x.tenant, first, plain, func(AuditHead, []byte) error { return nil })
			x.at.Hash = AuditHash(plain[1:auditBlockHead])
			return false, err
		}
		_, err = auditLines(x.tenant, first, plain, func(at AuditHead, _ []byte) error {
			if at.Seq == after {
				x.at, found = at, true
			}
			return nil
		})
		return false, err
	})
	if err != nil || found || after == 0 {
		return err
	}
	return refuse(ErrCursor, "there is no audit record %d any more: it was pruned", after)
}

// Read implements io.Reader. Errors: ErrCorrupt (also if the records that are next were pruned meanwhile), ErrClosed, ctx's.
func (x *AuditExport) Read(p []byte) (int, error) {
	for x.buf.Len() == 0 {
		if x.ended {
			return 0, io.EOF
		}
		x.buf.Reset()
		if err := x.more(); err != nil {
			return 0, err
		}
	}
	return x.buf.Read(p)
}

// more writes the header, the next block or the trailer to buf.
func (x *AuditExport) more() error {
	if err := x.e.enter(x.ctx); err != nil {
		return err
	}
	defer x.e.leave()
	switch {
	case !x.begun:
		x.begun = true
		return x.line(auditFileHead{Format: auditFileFormat, Tenant: x.tenant, After: x.at.Seq, Hash: x.at.Hash})
	case x.at.Seq >= x.end.Seq:
		x.ended = true
		return x.line(auditFileEnd{End: true, Records: x.at.Seq, Hash: x.at.Hash})
	}
	return x.block()
}

func (x *AuditExport) line(v any) error {
	b, err := json.Marshal(v)
	x.buf.Write(append(b, '\n'))
	return err
}

// block writes the records of the block that has the next one.
func (x *AuditExport) block() error {
	next := x.at.Seq + 1
	err := x.e.eachBlockBack(x.tenant, next+1, func(first uint64, plain []byte) error {
		_, err := auditLines(x.tenant, first, plain, func(at AuditHead, line []byte) error {
			if at.Seq < next || at.Seq > x.end.Seq {
				return nil
			}
			x.at = at
			x.buf.Write(appendAuditLine(x.buf.AvailableBuffer(), at.Hash, line))
			return nil
		})
		return cmp.Or(err, errAuditPageFull)
	})
	if err != nil && !errors.Is(err, errAuditPageFull) {
		return err
	}
	if x.at.Seq < next {
		return fmt.Errorf("%w: audit record %d is missing", ErrCorrupt, next)
	}
	return nil
}
