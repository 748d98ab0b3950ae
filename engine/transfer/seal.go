package transfer

import (
	"errors"
	"fmt"
	"io"

	"mien/engine/backup"
)

// KeyBytes is the length of a key that files are sealed with.
const KeyBytes = backup.KeyBytes

// ErrKey says that a file was sealed with another key.
var ErrKey = errors.New("transfer: the file is sealed with another key")

// sealedKind is what sealed files of people are, and backups are not.
const sealedKind = "people"

// Seal returns a writer whose content is sealed to w with a key of KeyBytes bytes, which is retained. Its Close ends the file, without which it
// does not open; w is the caller's to close. Errors of the writer: w's.
func Seal(w io.Writer, key []byte) (io.WriteCloser, error) { return backup.Seal(w, key, sealedKind) }

// IsSealed reports whether a file begins as a sealed one. Errors: r's.
func IsSealed(r io.ReaderAt) (bool, error) {
	head := make([]byte, len(backup.SealedMagic))
	n, err := r.ReadAt(head, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(head[:n]) == backup.SealedMagic, err
}

// OpenSealed returns what is in a sealed file of size bytes. Whole it is only if it was read to its end without an error. Errors, of it and of
// reading: ErrKey, ErrDamaged, ErrFormat, r's.
func OpenSealed(r io.ReaderAt, size int64, key []byte) (*io.SectionReader, error) {
	s, err := backup.OpenSealed(r, size, key, sealedKind)
	if err != nil {
		return nil, sealError(err)
	}
	return io.NewSectionReader(sealedReader{s}, 0, s.Size()), nil
}

// sealedReader gives package backup's errors the names of this package's.
type sealedReader struct{ io.ReaderAt }

// ReadAt implements io.ReaderAt.
func (r sealedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	return n, sealError(err)
}

func sealError(err error) error {
	switch {
	case errors.Is(err, backup.ErrKey):
		return ErrKey
	case errors.Is(err, backup.ErrFormat):
		return fmt.Errorf("%w: %w", ErrFormat, err)
	case errors.Is(err, backup.ErrDamaged):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
