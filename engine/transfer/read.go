package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"
	"math"
	"slices"
	"time"

	"mien/engine"
	"mien/engine/fields"
)

func newByteReader(b []byte) io.Reader { return bytes.NewReader(b) }

// Config of a Reader. The zero value reads files as Writer makes them.
type Config struct {
	// Open lets a file of NDJSON end without a trailer, as files made by hand do; then nobody notices if it was cut short.
	Open bool
	// NoHash leaves the SHA-256 of the trailer unchecked: each block has its CRC. For who has checked the file, or reads parts.
	NoHash bool
}

// Reader reads a file of people. Not for concurrent use.
type Reader struct {
	Header  Header
	Format  Format
	Version int // of the file

	in       *bufio.Reader
	config   Config
	hash     hash.Hash // nil: not checked
	offset   int64
	people   uint64 // read so far
	inBlock  uint32 // records left in block
	block    []byte // the rest of the block's body
	buffer   []byte // of block
	started  time.Time
	person   engine.PortablePerson
	vectors  []float32
	finished bool
}

// NewReader reads the header of a file. Errors: ErrFormat, ErrDamaged, ErrTruncated, r's.
func NewReader(r io.Reader, c Config) (*Reader, error) {
	t := &Reader{in: bufio.NewReaderSize(r, 64<<10), config: c, started: time.Now().UTC().Truncate(time.Millisecond)}
	if !c.NoHash {
		t.hash = sha256.New()
	}
	first, err := t.in.Peek(1)
	if err != nil {
		return nil, cut(err)
	}
	if first[0] == '{' {
		t.Format, err = NDJSON, t.lineHeader()
	} else {
		t.Format, err = Binary, t.binaryHeader()
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Offset is where in the file the next block, or line, begins: what was read before it has been yielded. Between two people
// of one block it is where that block began.
func (t *Reader) Offset() int64 { return t.offset }

// Skip makes the reader go on from an offset, after as many people, of which r, that begins there, has the rest. The trailer's hash is
// not checked. REQUIRES: nothing but the header was read.
func (t *Reader) Skip(r io.Reader, offset int64, people uint64) {
	t.in.Reset(r)
	t.offset, t.people, t.hash = offset, people, nil
}

// cut turns the end of the input into ErrTruncated.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it has no trailer", ErrTruncated)
	}
	return err
}

// take reads n bytes that the trailer's hash is of, into buffer.
func (t *Reader) take(buffer []byte, n int) ([]byte, error) {
	buffer = slices.Grow(buffer[:0], n)[:n]
	if _, err := io.ReadFull(t.in, buffer); err != nil {
		return buffer, cut(err)
	}
	return buffer, nil
}

// read notes that b was read.
func (t *Reader) read(b []byte) {
	t.offset += int64(len(b))
	if t.hash != nil {
		t.hash.Write(b)
	}
}

func (t *Reader) binaryHeader() error {
	const fixed = len(magic) + 4
	b, err := t.take(nil, fixed)
	if err != nil || string(b[:len(magic)]) != magic {
		return fmt.Errorf("%w: it does not begin as one", ErrFormat)
	}
	t.Version = int(binary.LittleEndian.Uint16(b[len(magic):]))
	if err := checkVersion(t.Version); err != nil {
		return err
	}
	n := int(binary.LittleEndian.Uint16(b[len(magic)+2:]))
	if n > MaxHeaderBytes {
		return fmt.Errorf("%w: its header has %d bytes", ErrFormat, n)
	}
	rest, err := t.take(nil, n+4)
	if err != nil {
		return err
	}
	b = append(b, rest...)
	if end := len(b) - 4; crc32.Checksum(b[:end], castagnoli) != binary.LittleEndian.Uint32(b[end:]) {
		return fmt.Errorf("%w: its header", ErrDamaged)
	}
	t.read(b)
	t.Header, err = parseHeader(b[fixed : len(b)-4])
	return err
}

func (t *Reader) lineHeader() error {
	line, err := t.nextLine()
	if err != nil {
		return err
	}
	var h struct {
		Mien    string `json:"mien"`
		Version int    `json:"version"`
		Header
	}
	if err := unmarshal(line, &h); err != nil || h.Mien != "export" {
		return fmt.Errorf(`%w: its first line is not a header such as {"mien":"export","version":1,"space":"…","dim":512}`, ErrFormat)
	}
	if err := checkVersion(h.Version); err != nil {
		return err
	}
	t.read(line)
	t.Header, t.Version = h.Header, h.Version
	return t.Header.validate()
}

// nextLine reads a line with its end; what is yielded dies with the next. Errors: ErrTruncated for a line without an end,
// ErrDamaged for one that is too long, io.EOF.
func (t *Reader) nextLine() ([]byte, error) {
	t.buffer = t.buffer[:0]
	for {
		part, err := t.in.ReadSlice('\n')
		if len(t.buffer)+len(part) > maxLineBytes {
			return nil, fmt.Errorf("%w: a line has more than %d bytes", ErrDamaged, maxLineBytes)
		}
		t.buffer = append(t.buffer, part...)
		switch {
		case err == nil:
			return t.buffer, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(t.buffer) == 0:
			return nil, io.EOF
		default:
			return nil, cut(err)
		}
	}
}

// People yields everybody. What is yielded dies with the next. It ends with an error, ErrTruncated or ErrDamaged, if the file is
// not whole, after the people before that. It may be called once.
func (t *Reader) People() iter.Seq2[engine.PortablePerson, error] {
	return func(yield func(engine.PortablePerson, error) bool) {
		defer func() { clear(t.vectors[:cap(t.vectors)]); clear(t.buffer[:cap(t.buffer)]) }()
		for {
			more, err := t.next()
			if err != nil {
				yield(engine.PortablePerson{}, err)
				return
			}
			if !more || !yield(t.person, nil) {
				return
			}
		}
	}
}

// next reads a person into t.person; false is the end.
func (t *Reader) next() (bool, error) {
	if t.Format == NDJSON {
		return t.nextJSON()
	}
	if t.inBlock == 0 {
		more, err := t.nextBlock()
		if err != nil || !more {
			return false, err
		}
	}
	t.inBlock--
	if err := t.record(); err != nil {
		return false, err
	}
	t.people++
	if t.inBlock == 0 {
		if len(t.block) > 0 {
			return false, fmt.Errorf("%w: a block has bytes behind its records", ErrDamaged)
		}
		t.offset += int64(blockHead + len(t.buffer))
	}
	return true, nil
}

// nextBlock reads a block or the trailer.
func (t *Reader) nextBlock() (bool, error) {
	mark, err := t.in.Peek(1)
	if err != nil {
		return false, cut(err)
	}
	if mark[0] == trailerMark {
		return false, t.binaryTrailer()
	}
	head, err := t.take(nil, blockHead)
	if err != nil {
		return false, err
	}
	records, length := binary.LittleEndian.Uint32(head[1:]), binary.LittleEndian.Uint32(head[5:])
	if mark[0] != blockMark || records == 0 || length > MaxBlockBytes || records > length {
		return false, fmt.Errorf("%w: no block begins at byte %d", ErrDamaged, t.offset)
	}
	if t.buffer, err = t.take(t.buffer, int(length)); err != nil {
		return false, err
	}
	if crc := crc32.Update(crc32.Checksum(head[:9], castagnoli), castagnoli, t.buffer); crc != binary.LittleEndian.Uint32(head[9:]) {
		return false, fmt.Errorf("%w: the block at byte %d", ErrDamaged, t.offset)
	}
	if t.hash != nil {
		t.hash.Write(head)
		t.hash.Write(t.buffer)
	}
	t.block, t.inBlock = t.buffer, records
	return true, nil
}

func (t *Reader) binaryTrailer() error {
	b, err := t.take(nil, trailerBytes)
	if err != nil {
		return err
	}
	if crc32.Checksum(b[:trailerBytes-4], castagnoli) != binary.LittleEndian.Uint32(b[trailerBytes-4:]) {
		return fmt.Errorf("%w: its trailer", ErrDamaged)
	}
	return t.ends(binary.LittleEndian.Uint64(b[1:]), b[9:41])
}

// ends compares with what the trailer says.
func (t *Reader) ends(people uint64, sum []byte) error {
	if people != t.people {
		return fmt.Errorf("%w: its trailer says %d people and there are %d", ErrDamaged, people, t.people)
	}
	if t.hash != nil && !bytes.Equal(t.hash.Sum(nil), sum) {
		return fmt.Errorf("%w: it is not what its trailer's SHA-256 is of", ErrDamaged)
	}
	if _, err := t.in.Peek(1); !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("%w: there are bytes behind its trailer", ErrDamaged), err)
	}
	t.finished = true
	return nil
}

func (t *Reader) nextJSON() (bool, error) {
	line, err := t.nextLine()
	if errors.Is(err, io.EOF) {
		if t.config.Open {
			return false, nil
		}
		return false, cut(err)
	}
	if err != nil {
		return false, err
	}
	if bytes.HasPrefix(line, []byte(`{"mien":`)) {
		return false, t.lineTrailer(line)
	}
	if err := t.personLine(line); err != nil {
		return false, fmt.Errorf("%w: line %d: %w", ErrDamaged, t.people+2, err)
	}
	t.read(line)
	t.people++
	return true, nil
}

func (t *Reader) lineTrailer(line []byte) error {
	var end jsonTrailer
	var names map[string]json.RawMessage // encoding/json takes them in any case
	if err := errors.Join(unmarshal(line, &end), json.Unmarshal(line, &names)); err != nil || end.Mien != "end" ||
		names["people"] == nil || len(names) > 2 && names["sha256"] == nil {
		return fmt.Errorf("%w: its trailer", ErrDamaged)
	}
	sum, err := hex.DecodeString(end.SHA256)
	if err != nil || len(sum) != sha256.Size && !(t.config.Open && len(sum) == 0) || hex.EncodeToString(sum) != end.SHA256 {
		return fmt.Errorf("%w: its trailer", ErrDamaged)
	}
	if len(sum) == 0 {
		t.hash = nil
	}
	return t.ends(end.People, sum)
}

// personLine decodes a line. JSON allocates: this is the slow form.
func (t *Reader) personLine(line []byte) error {
	var l jsonPerson
	if err := unmarshal(line, &l); err != nil {
		return err
	}
	if n := len(l.Templates); n > engine.MaxTemplates {
		return fmt.Errorf("%d templates, at most %d", n, engine.MaxTemplates)
	}
	if n := len(l.History); n > engine.MaxHistory {
		return fmt.Errorf("a history of %d templates, at most %d", n, engine.MaxHistory)
	}
	if t.Version == 1 && !l.isFirst() {
		return errors.New("it has fields of version 2, and the file's is 1")
	}
	p := engine.PortablePerson{ID: l.ID, Metadata: l.Metadata, Created: t.orNow(l.Created), Updated: t.orNow(l.Updated), Status: l.Status,
		Retention: engine.Retention{Expires: l.Expires, Consent: l.Consent}}
	for i, e := range l.History {
		if len(e.F32) > 0 || e.Replaced.IsZero() {
			return fmt.Errorf("template %d of the history has numbers, or was not replaced", i)
		}
		p.History = append(p.History, e.portable())
	}
	t.vectors = slices.Grow(t.vectors[:0], len(l.Templates)*t.Header.Dim)
	for i, e := range l.Templates {
		if len(e.F32) != 4*t.Header.Dim {
			return fmt.Errorf("template %d has %d bytes, and %d numbers have %d", i, len(e.F32), t.Header.Dim, 4*t.Header.Dim)
		}
		if e.Number == 0 {
			e.Number = uint32(i + 1)
		}
		if e.Source == "" {
			e.Source = "template"
		}
		if !e.Replaced.IsZero() {
			return fmt.Errorf("template %d was replaced, and is not of the history", i)
		}
		e.Created = t.orNow(e.Created)
		p.Templates = append(p.Templates, e.portable())
		p.Templates[i].Vector = t.vector(e.F32)
	}
	t.person = p
	return nil
}

// portable is the template without its vector.
func (e *jsonTemplate) portable() engine.PortableTemplate {
	return engine.PortableTemplate{Number: e.Number, Created: e.Created, Source: e.Source, Quality: e.Quality, By: e.By, Replaced: e.Replaced}
}

func (t *Reader) orNow(at time.Time) time.Time {
	if at.IsZero() {
		return t.started
	}
	return at
}

// vector appends little-endian numbers to t.vectors. REQUIRES: it has room.
func (t *Reader) vector(b []byte) []float32 {
	from := len(t.vectors)
	t.vectors = t.vectors[:from+len(b)/4]
	v := t.vectors[from:len(t.vectors):len(t.vectors)]
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// record decodes the next record of the block into t.person.
func (t *Reader) record() error {
	d := decoder{fields.Of(t.block)}
	p := &t.person
	*p = engine.PortablePerson{ID: d.String(engine.MaxIDBytes), Metadata: json.RawMessage(d.Bytes(engine.MaxMetadataBytes)),
		Created: d.time(), Updated: d.time(), Templates: p.Templates[:0]}
	if extra := d.Bytes(t.maxExtra()); extra != nil && !parseExtra(p, extra) {
		d.Bad = true
	}
	n := int(d.Uint(engine.MaxTemplates))
	p.Templates = slices.Grow(p.Templates, n)
	t.vectors = slices.Grow(t.vectors[:0], n*t.Header.Dim)
	for range n {
		e := d.template()
		if extra := d.Bytes(t.maxExtra()); extra != nil {
			x := decoder{fields.Of(extra)}
			x.provenance(&e)
			d.Bad = d.Bad || !x.Whole()
		}
		if raw := d.Raw(4 * t.Header.Dim); raw != nil {
			e.Vector = t.vector(raw)
		}
		p.Templates = append(p.Templates, e)
	}
	if d.Bad {
		return fmt.Errorf("%w: a record of the block at byte %d", ErrDamaged, t.offset)
	}
	t.block = d.Rest
	return nil
}

// maxExtra bounds an extra: version 1 has none.
func (t *Reader) maxExtra() int {
	if t.Version == 1 {
		return 0
	}
	return maxExtraBytes
}

// parseExtra reads what version 2 says of a person, and says whether it is that.
func parseExtra(p *engine.PortablePerson, extra []byte) bool {
	d := decoder{fields.Of(extra)}
	for last := uint64(0); len(d.Rest) > 0; {
		tag := d.Uint(tagHistory)
		payload := decoder{fields.Of(d.Bytes(maxExtraBytes))}
		if d.Bad || tag <= last {
			return false
		}
		switch last = tag; tag {
		case tagStatus:
			p.Status = engine.Status(payload.Raw(len(payload.Rest)))
		case tagRetention:
			payload.retention(&p.Retention)
		case tagHistory:
			for range payload.Uint(engine.MaxHistory) {
				e := payload.template()
				payload.provenance(&e)
				e.Replaced = payload.someTime()
				p.History = append(p.History, e)
			}
		}
		if !payload.Whole() {
			return false
		}
	}
	return !d.Bad
}

// maxExtraBytes bounds extras: a consent, or a history, and its tag.
const maxExtraBytes = 4*(engine.MaxConsentBytes+8) + engine.MaxHistory*(engine.MaxSourceBytes+engine.MaxByBytes+64) + 256

// source is a template's, without an allocation for the common ones.
func source(b []byte) string {
	switch string(b) {
	case "image":
		return "image"
	case "template":
		return "template"
	}
	return string(b)
}

// decoder reads fields, and what records have of them.
type decoder struct{ fields.Decoder }

// template reads what appendTemplate appends.
func (d *decoder) template() engine.PortableTemplate {
	return engine.PortableTemplate{Number: uint32(d.Uint(math.MaxUint32)), Created: d.time(), Source: source(d.Bytes(engine.MaxSourceBytes))}
}

// provenance reads what appendProvenance appends.
func (d *decoder) provenance(e *engine.PortableTemplate) {
	if q := d.Uint(1 + 100*100); q > 0 {
		e.Quality = new(float64(q-1) / 100)
	}
	e.By = d.String(engine.MaxByBytes)
}

// retention reads what appendRetention appends.
func (d *decoder) retention(r *engine.Retention) {
	r.Expires = d.someTime()
	if d.Uint(1) == 0 {
		return
	}
	c := &engine.Consent{Purpose: d.String(engine.MaxConsentBytes), Basis: d.String(engine.MaxConsentBytes), Reference: d.String(engine.MaxConsentBytes),
		Given: d.someTime(), Expires: d.someTime()}
	r.Consent = c
}

func (d *decoder) time() time.Time { return d.millis(d.Uint(math.MaxInt64)) }

// someTime is time, or none for 0.
func (d *decoder) someTime() time.Time {
	ms := d.Uint(math.MaxInt64)
	if ms == 0 {
		return time.Time{}
	}
	return d.millis(ms)
}

func (d *decoder) millis(ms uint64) time.Time {
	at, ok := millis(ms)
	d.Bad = d.Bad || !ok
	return at
}
