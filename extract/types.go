package extract

import (
	"errors"
	"fmt"
)

// Point is a position in source pixels of the upright photo; integer coordinates are pixel centres.
type Point struct {
	X float32 `json:"x"`
	Y float32 `json:"y"`
}

// Box is a face from forehead to chin, in source pixels of the upright photo. It is neither clipped to the
// photo nor squared.
type Box struct {
	X1 float32 `json:"x1"`
	Y1 float32 `json:"y1"`
	X2 float32 `json:"x2"`
	Y2 float32 `json:"y2"`
}

// Face is one face of a photo. It owns its memory: nothing in it aliases the photo, a pool or another face.
type Face struct {
	Box       Box
	Score     float32   // detector's confidence in (0, 1]
	Landmarks [68]Point // iBUG 68-point order
	Crop      *Image    // aligned to the embedder's template, 112×112
	Template  []float32 // float32[dim], ‖·‖₂ = 1
}

// Select says which faces of a photo are wanted.
type Select int

const (
	SelectAll     Select = iota // every face, best detection first; none is not an error
	SelectOne                   // exactly one: ErrNoFace, ErrSeveralFaces
	SelectLargest               // the one of the largest box: ErrNoFace
)

// Options of one extraction.
type Options struct {
	Select Select
}

// Errors of an extraction. Each is wrapped in text that says what was found; typed errors carry fields.
var (
	// ErrNotImage: the bytes are no JPEG, PNG, BMP or WebP, or one that is damaged or of an unsupported kind.
	ErrNotImage = errors.New("extract: not a readable JPEG, PNG, BMP or WebP image")
	// ErrTruncated: the image begins well and ends too early.
	ErrTruncated = errors.New("extract: the image ends too early")
	// ErrTooManyPixels: the header states more pixels than the limit; nothing was decoded. See PixelsError.
	ErrTooManyPixels = errors.New("extract: too many pixels")
	// ErrNoFace: no face was found where one is required.
	ErrNoFace = errors.New("extract: no face found")
	// ErrSeveralFaces: several faces were found where exactly one is required. See FacesError.
	ErrSeveralFaces = errors.New("extract: several faces found")
	// ErrFaceTooSmall: the face is too small to be told from others. See SizeError.
	ErrFaceTooSmall = errors.New("extract: face too small")
	// ErrBusy: the queue for the models is full; try again later.
	ErrBusy = errors.New("extract: all workers are busy and the queue is full")
	// ErrClosed: the extractor was closed.
	ErrClosed = errors.New("extract: closed")
)

// PixelsError is ErrTooManyPixels with the size that the header states.
type PixelsError struct {
	Width, Height int
	Max           int // the limit, in pixels
}

func (e *PixelsError) Error() string {
	return fmt.Sprintf("extract: image of %d×%d has more than the %d pixels allowed", e.Width, e.Height, e.Max)
}

// Is makes errors.Is(err, ErrTooManyPixels) hold.
func (e *PixelsError) Is(target error) bool { return target == ErrTooManyPixels }

// FacesError is ErrSeveralFaces with how many were found.
type FacesError struct{ Found int }

func (e *FacesError) Error() string {
	return fmt.Sprintf("extract: %d faces found, one expected", e.Found)
}

// Is makes errors.Is(err, ErrSeveralFaces) hold.
func (e *FacesError) Is(target error) bool { return target == ErrSeveralFaces }

// SizeError is ErrFaceTooSmall with the height of the face's box and the least height, in source pixels.
type SizeError struct{ Height, Min float32 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("extract: face of %.0f pixels height is below the least of %.0f", e.Height, e.Min)
}

// Is makes errors.Is(err, ErrFaceTooSmall) hold.
func (e *SizeError) Is(target error) bool { return target == ErrFaceTooSmall }
