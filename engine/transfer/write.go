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
	"time"

	"mien/engine"
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
	b := append([]byte(magic), Version, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	b = append(b, text...)
	t.write(binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)))
}

// jsonPerson is a person's line.
type jsonPerson struct {
	ID        string          `json:"id"`
	Metadata  json.RawMessage `json:"metadata,omitempty"`
	Created   time.Time       `json:"created,omitzero"`
	Updated   time.Time       `json:"updated,omitzero"`
	Templates []jsonTemplate  `json:"templates"`
}

type jsonTemplate struct {
	Number  uint32    `json:"number,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Source  string    `json:"source,omitempty"`
	F32     []byte    `json:"f32"`
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
	t.block = appendRecord(t.block, p)
	if t.count++; len(t.block) >= blockBytes {
		t.endBlock()
	}
	return t.err
}

func lineOf(p *engine.PortablePerson) jsonPerson {
	l := jsonPerson{ID: p.ID, Metadata: p.Metadata, Created: p.Created, Updated: p.Updated}
	for _, e := range p.Templates {
		l.Templates = append(l.Templates, jsonTemplate{e.Number, e.Created, e.Source, appendVector(nil, e.Vector)})
	}
	return l
}

func appendRecord(b []byte, p *engine.PortablePerson) []byte {
	b = appendString(b, p.ID)
	b = appendString(b, string(p.Metadata))
	b = binary.AppendUvarint(b, uint64(p.Created.UnixMilli()))
	b = binary.AppendUvarint(b, uint64(p.Updated.UnixMilli()))
	b = appendString(b, "")
	b = binary.AppendUvarint(b, uint64(len(p.Templates)))
	for _, e := range p.Templates {
		b = binary.AppendUvarint(b, uint64(e.Number))
		b = binary.AppendUvarint(b, uint64(e.Created.UnixMilli()))
		b = appendString(b, e.Source)
		b = appendString(b, "")
		b = appendVector(b, e.Vector)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendVector(b []byte, v []float32) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
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
