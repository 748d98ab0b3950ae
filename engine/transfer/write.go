package transfer

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"time"

	"mien/engine"
	"mien/engine/fields"
)

// Writer writes a file of people. Not for concurrent use.
type Writer struct {
	out    *bufio.Writer
	hash   hash.Hash
	format Format
	dim    int
	people uint64
	block  []byte // records of the block under way; binary only
	count  uint32 // in block
	extra  []byte // of a record or template
	err    error
}

// NewWriter writes the header of a file to w. Errors: ErrFormat for a header that is not acceptable, w's.
func NewWriter(w io.Writer, f Format, h Header) (*Writer, error) {
	if err := h.validate(); err != nil {
		return nil, err
	}
	t := &Writer{hash: sha256.New(), format: f, dim: h.Dim}
	t.out = bufio.NewWriterSize(w, 256<<10)
	switch f {
	case Binary:
		t.binaryHeader(h)
	case NDJSON:
		t.line(struct {
			Mien    string `json:"mien"`
			Version int    `json:"version"`
			Header
		}{"export", Version, h})
	default:
		return nil, fmt.Errorf("transfer: format %q is unknown: use %q or %q", f, NDJSON, Binary)
	}
	return t, t.err
}

// write adds bytes that the trailer's hash is of.
func (t *Writer) write(b []byte) {
	if t.err == nil {
		t.hash.Write(b)
		_, t.err = t.out.Write(b)
	}
}

func (t *Writer) line(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: a line does not marshal: " + err.Error())
	}
	t.write(append(b, '\n'))
}

func (t *Writer) binaryHeader(h Header) {
	text, err := json.Marshal(h)
	if err != nil {
		panic("BUG: a header does not marshal: " + err.Error())
	}
	b := binary.LittleEndian.AppendUint16([]byte(magic), Version)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	b = append(b, text...)
	t.write(binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)))
}

// jsonPerson is a person's line. What is of version 2 stands last.
type jsonPerson struct {
	ID        string          `json:"id"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	Created   time.Time       `json:"created,omitzero"`
	Updated   time.Time       `json:"updated,omitzero"`
	Templates []jsonTemplate  `json:"templates"`

	Status  engine.Status   `json:"status,omitempty"`
	Expires time.Time       `json:"expires,omitzero"`
	Consent *engine.Consent `json:"consent,omitempty"`
	History []jsonTemplate  `json:"history,omitempty"`
}

// isFirst reports whether the line has nothing that version 1 has not.
func (l *jsonPerson) isFirst() bool {
	return l.Status == "" && l.Expires.IsZero() && l.Consent == nil && len(l.History) == 0 &&
		!slices.ContainsFunc(l.Templates, func(t jsonTemplate) bool { return t.Quality != nil || t.By != "" || !t.Replaced.IsZero() })
}

type jsonTemplate struct {
	Number   uint32    `json:"number,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	Source   string    `json:"source,omitempty"`
	Quality  *float64  `json:"quality,omitempty"`
	By       string    `json:"by,omitempty"`
	Replaced time.Time `json:"replaced,omitzero"` // of history only, where there is no f32
	F32      []byte    `json:"f32,omitempty"`
}

// Write adds a person, which is not retained. Templates must be of the header's dim. Errors: the writer's beneath.
func (t *Writer) Write(p *engine.PortablePerson) error {
	for _, e := range p.Templates {
		if len(e.Vector) != t.dim {
			panic(fmt.Sprintf("BUG: a template of %d numbers in a file of %d", len(e.Vector), t.dim))
		}
	}
	t.people++
	if t.format == NDJSON {
		t.line(lineOf(p))
		return t.err
	}
	t.block = t.appendRecord(t.block, p)
	if t.count++; len(t.block) >= blockBytes {
		t.endBlock()
	}
	return t.err
}

func lineOf(p *engine.PortablePerson) jsonPerson {
	l := jsonPerson{ID: p.ID, Metadata: p.Metadata, Created: p.Created, Updated: p.Updated, Status: p.Status, Expires: p.Expires, Consent: p.Consent}
	for _, e := range p.Templates {
		t := lineOfTemplate(&e)
		t.F32 = appendVector(nil, e.Vector)
		l.Templates = append(l.Templates, t)
	}
	for _, e := range p.History {
		l.History = append(l.History, lineOfTemplate(&e))
	}
	return l
}

func lineOfTemplate(e *engine.PortableTemplate) jsonTemplate {
	return jsonTemplate{Number: e.Number, Created: e.Created, Source: e.Source, Quality: e.Quality, By: e.By, Replaced: e.Replaced}
}

// Tags of a person's extra. Numbers are never reused.
const (
	tagStatus    = 1
	tagRetention = 2
	tagHistory   = 3
)

func (t *Writer) appendRecord(b []byte, p *engine.PortablePerson) []byte {
	b = fields.AppendString(b, p.ID)
	b = fields.AppendString(b, p.Metadata)
	b = binary.AppendUvarint(b, uint64(p.Created.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(p.Updated.UnixMilli()))
	t.extra = appendExtra(t.extra[:0], p)
	b = fields.AppendString(b, t.extra)
	b = binary.AppendUvarint(b, uint64(len(p.Templates)))
	for i := range p.Templates {
		e := &p.Templates[i]
		b = appendTemplate(b, e)
		t.extra = t.extra[:0]
		if e.Quality != nil || e.By != "" {
			t.extra = appendProvenance(t.extra, e)
		}
		b = fields.AppendString(b, t.extra)
		b = appendVector(b, e.Vector)
	}
	return b
}

func appendTemplate(b []byte, e *engine.PortableTemplate) []byte {
	b = binary.AppendUvarint(b, uint64(e.Number))
	b = binary.AppendUvarint(b, uint64(e.Created.UnixMilli()))
	return fields.AppendString(b, e.Source)
}

func appendProvenance(b []byte, e *engine.PortableTemplate) []byte {
	quality := uint64(0)
	if e.Quality != nil {
		quality = 1 + uint64(100**e.Quality+0.5)
	}
	return fields.AppendString(binary.AppendUvarint(b, quality), e.By)
}

// appendExtra appends what version 2 says of a person.
func appendExtra(b []byte, p *engine.PortablePerson) []byte {
	if p.Status != "" {
		b = fields.AppendString(append(b, tagStatus), string(p.Status))
	}
	if !p.Expires.IsZero() || p.Consent != nil {
		b = fields.AppendString(append(b, tagRetention), appendRetention(nil, p.Retention))
	}
	if len(p.History) > 0 {
		history := binary.AppendUvarint(nil, uint64(len(p.History)))
		for i := range p.History {
			e := &p.History[i]
			history = appendProvenance(appendTemplate(history, e), e)
			history = appendTime(history, e.Replaced)
		}
		b = fields.AppendString(append(b, tagHistory), history)
	}
	return b
}

func appendRetention(b []byte, r engine.Retention) []byte {
	b = appendTime(b, r.Expires)
	c := r.Consent
	if c == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	for _, s := range []string{c.Purpose, c.Basis, c.Reference} {
		b = fields.AppendString(b, s)
	}
	return appendTime(appendTime(b, c.Given), c.Expires)
}

// appendTime appends milliseconds, 0 for no time.
func appendTime(b []byte, at time.Time) []byte {
	if at.IsZero() {
		return append(b, 0)
	}
	return binary.AppendUvarint(b, uint64(at.UnixMilli()))
}

func appendVector(b []byte, v []float32) []byte {
	from := len(b)
	b = slices.Grow(b, 4*len(v))[:from+4*len(v)]
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[from+4*i:], math.Float32bits(x))
	}
	return b
}

func (t *Writer) endBlock() {
	head := append(make([]byte, 0, blockHead), blockMark)
	head = binary.LittleEndian.AppendUint32(head, t.count)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(t.block)))
	crc := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, t.block)
	t.write(binary.LittleEndian.AppendUint32(head, crc))
	t.write(t.block)
	t.block, t.count = t.block[:0], 0
}

// Close writes the trailer; it does not close the writer beneath. Errors: that writer's.
func (t *Writer) Close() error {
	if t.format == Binary && t.count > 0 {
		t.endBlock()
	}
	sum := t.hash.Sum(nil)
	if t.format == NDJSON {
		t.line(jsonTrailer{"end", t.people, hex.EncodeToString(sum)})
	} else {
		b := binary.LittleEndian.AppendUint64([]byte{trailerMark}, t.people)
		b = append(b, sum...)
		t.write(binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)))
	}
	clear(t.block[:cap(t.block)])
	if t.err == nil {
		t.err = t.out.Flush()
	}
	return t.err
}

type jsonTrailer struct {
	Mien   string `json:"mien"`
	People uint64 `json:"people"`
	SHA256 string `json:"sha256"`
}
