package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"mien/engine"
)

// Version is of files that are written; those of all versions from 1 are read.
const Version = 2

// Format is the form of a file.
type Format string

// The forms of files.
const (
	NDJSON Format = "ndjson"
	Binary Format = "binary"
)

// Media types of the forms.
const (
	NDJSONType = "application/x-ndjson"
	BinaryType = "application/vnd.mien.people"
)

// Bounds of files.
const (
	MaxHeaderBytes = 4 << 10 // of the header's JSON
	MaxBlockBytes  = 4 << 20 // of a block's body
	MaxDim         = 4096    // numbers of a template
	blockBytes     = 1 << 20 // where a writer ends a block
)

// maxLineBytes bounds a line of NDJSON: a person with all templates of MaxDim in base64, metadata, escapes.
const maxLineBytes = engine.MaxTemplates*(4*MaxDim*4/3+1024) + 6*engine.MaxMetadataBytes + 16<<10

var (
	// ErrFormat says that the bytes are no file of people, or one of a version that this program does not know.
	ErrFormat = errors.New("transfer: not a file of people that this program can read")
	// ErrDamaged says that a file of people is not as it was written.
	ErrDamaged = errors.New("transfer: the file is damaged")
	// ErrTruncated says that a file of people ends before its trailer.
	ErrTruncated = errors.New("transfer: the file is cut short")
)

// Header is what a file says of its people.
type Header struct {
	Space   string    `json:"space"` // of all templates
	Dim     int       `json:"dim"`
	Gallery string    `json:"gallery,omitempty"` // where they come from
	Created time.Time `json:"created,omitzero"`  // of the file
}

func (h Header) validate() error {
	if h.Space == "" || h.Dim < 1 || h.Dim > MaxDim || len(h.Space) > 256 || len(h.Gallery) > engine.MaxNameBytes {
		return fmt.Errorf("%w: the header must name the embedding space and its dim, 1 to %d", ErrFormat, MaxDim)
	}
	return nil
}

// checkVersion refuses versions that this program does not know.
func checkVersion(v int) error {
	if v < 1 || v > Version {
		return fmt.Errorf("%w: it is of version %d, and this program knows 1 to %d", ErrFormat, v, Version)
	}
	return nil
}

// parseHeader reads the JSON of a binary header.
func parseHeader(b []byte) (h Header, err error) {
	if err := unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("%w: header: %w", ErrFormat, err)
	}
	return h, h.validate()
}

const (
	magic        = "mien people\n"
	blockMark    = 1
	trailerMark  = 2
	blockHead    = 1 + 4 + 4 + 4
	trailerBytes = 1 + 8 + 32 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// unmarshal decodes one JSON object, strictly.
func unmarshal(b []byte, v any) error {
	d := json.NewDecoder(newByteReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("data behind the object")
	}
	return nil
}

func millis(ms uint64) (time.Time, bool) {
	const last = 253_402_300_799_999 // of the year 9999
	return time.UnixMilli(int64(min(ms, last))).UTC(), ms <= last
}
