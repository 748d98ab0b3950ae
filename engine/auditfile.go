package engine

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// auditFileFormat names the format of exported logs (doc.go).
const auditFileFormat = "mien audit v1"

// auditFileHead is the first line of an exported log.
type auditFileHead struct {
	Format string    `json:"format"`
	Tenant string    `json:"tenant"`
	After  uint64    `json:"after"` // the records begin with the next one; 0: from the first
	Hash   AuditHash `json:"hash"`  // of that record; zeros for 0
}

// auditFileEnd is the last line.
type auditFileEnd struct {
	End     bool      `json:"end"`
	Records uint64    `json:"last"` // the last record's sequence
	Hash    AuditHash `json:"hash"`
}

// A record's line is {"hash":"64 hex digits","record":…}, in exactly these bytes, so that what was hashed can be cut out.
const (
	auditLineHash   = `{"hash":"`
	auditLineRecord = `","record":`
)

func appendAuditLine(dst []byte, h AuditHash, line []byte) []byte {
	dst = hex.AppendEncode(append(dst, auditLineHash...), h[:])
	return append(append(append(dst, auditLineRecord...), line...), "}\n"...)
}

// cutAuditLine is the inverse of appendAuditLine, without the line end.
func cutAuditLine(line []byte) (h AuditHash, record []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(auditLineHash))
	if !ok || len(rest) < 2*len(h) || h.UnmarshalText(rest[:2*len(h)]) != nil {
		return h, nil, false
	}
	record, ok = bytes.CutPrefix(rest[2*len(h):], []byte(auditLineRecord))
	if !ok {
		return h, nil, false
	}
	record, ok = bytes.CutSuffix(record, []byte{'}'})
	return h, record, ok
}

// readExactly reads the JSON of a header or a trailer, which has but one form.
func readExactly[T any](line []byte, v *T) bool {
	if json.Unmarshal(line, v) != nil {
		return false
	}
	again, err := json.Marshal(*v)
	return err == nil && bytes.Equal(line, again)
}

// ErrAuditFile says that an exported log is not what was exported. See AuditFileError.
var ErrAuditFile = errors.New("engine: the audit file does not verify")

// AuditFileError is an ErrAuditFile with the first record that is wrong.
type AuditFileError struct {
	Line int    // of the file, from 1
	Seq  uint64 // of the record that should be there, 0 if the line is no record
	Why  string
}

// Error says what is wrong and where.
func (e *AuditFileError) Error() string {
	if e.Seq == 0 {
		return fmt.Sprintf("line %d: %s", e.Line, e.Why)
	}
	return fmt.Sprintf("line %d, record %d: %s", e.Line, e.Seq, e.Why)
}

// Unwrap returns ErrAuditFile.
func (e *AuditFileError) Unwrap() error { return ErrAuditFile }

// AuditSummary is what an exported log that verifies holds.
type AuditSummary struct {
	Tenant  string    `json:"tenant"`
	After   uint64    `json:"after"`   // the records begin after this one
	Records uint64    `json:"records"` // in the file
	Head    AuditHead `json:"head"`    // of the last
	// Pruned says that records before the file's first were pruned: a record in the file says that the server did, of just these.
	Pruned bool `json:"pruned,omitempty"`
}

// maxAuditLine bounds a line of an exported log: a record is far shorter.
const maxAuditLine = 64 << 10

// VerifyAudit reads an exported log and checks every hash, without any key; noted, unless its Seq is 0, is a head that was noted
// down before and must be among the records. It holds a line in memory. Errors: ErrAuditFile, r's.
func VerifyAudit(r io.Reader, noted AuditHead) (AuditSummary, error) {
	v := &auditVerifier{lines: bufio.NewReaderSize(r, maxAuditLine), noted: noted}
	err := v.run()
	return v.sum, err
}

type auditVerifier struct {
	lines *bufio.Reader
	line  int
	noted AuditHead
	seen  bool // noted is among the records
	sum   AuditSummary
	first AuditHead // before the first record
}

func (v *auditVerifier) run() error {
	var head auditFileHead
	line, err := v.next()
	if err != nil {
		return err
	}
	if !readExactly(line, &head) || head.Format != auditFileFormat {
		return v.wrong(0, "this is no export of an audit log: its first line is not a header of format %q", auditFileFormat)
	}
	v.first = AuditHead{head.After, head.Hash}
	v.sum = AuditSummary{Tenant: head.Tenant, After: head.After, Head: v.first}
	if head.After == 0 && head.Hash != (AuditHash{}) {
		return v.wrong(0, "the first record of a log has nothing before it, and the header says the hash of something")
	}
	v.note()
	for {
		if line, err = v.next(); err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte(auditLineHash)) {
			return v.end(line)
		}
		if err := v.record(line); err != nil {
			return err
		}
	}
}

func (v *auditVerifier) wrong(seq uint64, format string, args ...any) error {
	return &AuditFileError{v.line, seq, fmt.Sprintf(format, args...)}
}

// next reads a line; the file must not end before the trailer.
func (v *auditVerifier) next() ([]byte, error) {
	v.line++
	line, err := v.lines.ReadSlice('\n')
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, v.wrong(0, "the line is longer than %d bytes", maxAuditLine)
	case errors.Is(err, io.EOF):
		return nil, v.wrong(v.sum.Head.Seq+1, "the file ends before its last line: it was cut, or its export was interrupted")
	}
	return nil, err
}

func (v *auditVerifier) record(line []byte) error {
	seq := v.sum.Head.Seq + 1
	said, record, ok := cutAuditLine(line)
	var r AuditRecord
	if !ok || json.Unmarshal(record, &r) != nil {
		return v.wrong(seq, "the line is not a record")
	}
	if r.Seq != seq {
		return v.wrong(seq, "here is record %d: some were dropped, doubled or put in another order", r.Seq)
	}
	next := v.sum.Head.follow(v.sum.Tenant, record)
	if next.Hash != said {
		return v.wrong(seq, "its hash is %s and should be %s: it, or the order, the tenant or what came before it, was changed", said, next.Hash)
	}
	v.sum.Head = next
	v.sum.Records++
	if r.Op == auditPrune && v.sum.After > 0 {
		v.sum.Pruned = v.sum.Pruned || strings.HasSuffix(r.Note, pruneNote(v.first))
	}
	v.note()
	return v.compare()
}

// note takes notice of the noted head.
func (v *auditVerifier) note() { v.seen = v.seen || v.sum.Head == v.noted }

func (v *auditVerifier) compare() error {
	if at := v.sum.Head; at.Seq == v.noted.Seq && at.Hash != v.noted.Hash {
		return v.wrong(at.Seq, "its hash is not the one that was noted down, %s: the log was rewritten at or before it", v.noted.Hash)
	}
	return nil
}

// end checks the trailer, and that nothing follows it.
func (v *auditVerifier) end(line []byte) error {
	var end auditFileEnd
	if !readExactly(line, &end) || !end.End {
		return v.wrong(v.sum.Head.Seq+1, "the line is neither a record nor the end of an export")
	}
	if (AuditHead{end.Records, end.Hash}) != v.sum.Head {
		return v.wrong(v.sum.Head.Seq+1, "the export ends with record %d and the file with %d: records were dropped at the end", end.Records, v.sum.Head.Seq)
	}
	if _, err := v.lines.ReadByte(); !errors.Is(err, io.EOF) {
		v.line++
		return v.wrong(0, "something follows the end of the export")
	}
	switch {
	case v.noted.Seq == 0 || v.seen:
		return nil
	case v.noted.Seq <= v.sum.After:
		return v.wrong(0, "record %d, which was noted down, is before the first of this file, %d: export from before it", v.noted.Seq, v.sum.After+1)
	}
	return v.wrong(0, "record %d, which was noted down, is missing: the log ends with %d and was cut", v.noted.Seq, v.sum.Head.Seq)
}

// pruneNote is what the record of a pruning ends in.
func pruneNote(last AuditHead) string { return fmt.Sprintf("through %d %s", last.Seq, last.Hash) }
