package index

import "errors"

// The errors of this package and of those below it. Callers compare with errors.Is.
var (
	// ErrDim says that a vector's length is not the index's dim, or that a dim is out of range.
	ErrDim = errors.New("index: dimension mismatch")
	// ErrNotFinite says that a vector holds NaN or an infinity.
	ErrNotFinite = errors.New("index: vector is not finite")
	// ErrNorm says that a vector's length is not 1 ± 1e-4.
	ErrNorm = errors.New("index: vector is not of unit length")
	// ErrRow says that a row number was never given out or has been removed.
	ErrRow = errors.New("index: no such row")
	// ErrK says that a search asked for no labels, or for all without a threshold.
	ErrK = errors.New("index: k must be at least 1, or 0 with a threshold above 0")
	// ErrOptions says that a search's miss probability, EF or threshold is out of range.
	ErrOptions = errors.New("index: options out of range")
	// ErrFull says that the index holds as many rows as it can.
	ErrFull = errors.New("index: full")
	// ErrClosed says that the index was closed.
	ErrClosed = errors.New("index: closed")
	// ErrCorrupt says that a file is damaged, was changed, or is of another index.
	ErrCorrupt = errors.New("index: file is damaged")
	// ErrConfig says that an index can't be made so.
	ErrConfig = errors.New("index: configuration")
)
