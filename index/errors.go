package index

import "errors"

// The errors of this package. None is wrapped further here; callers compare with errors.Is.
var (
	// ErrDim says that a vector's length is not the index's dim, or that a dim is out of [1, MaxDim].
	ErrDim = errors.New("index: dimension mismatch")
	// ErrNotFinite says that a vector holds NaN or an infinity.
	ErrNotFinite = errors.New("index: vector is not finite")
	// ErrZero says that a vector has only zeros, so it has no direction to compare.
	ErrZero = errors.New("index: vector is all zero")
	// ErrRow says that a row number was never given out or has been removed.
	ErrRow = errors.New("index: no such row")
	// ErrK says that a search asked for fewer than one label.
	ErrK = errors.New("index: k must be at least 1")
	// ErrFull says that the index holds MaxRows rows.
	ErrFull = errors.New("index: full")
)
