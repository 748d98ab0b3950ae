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
	Five      [5]Point  // eyes, tip of the nose, corners of the mouth; the left of the image first
	Landmarks [68]Point // iBUG 68-point order; all zero from a pack that finds five points only
	Crop      *Image    // aligned to the embedder's template, as large as its input
	Template  []float32 // float32[dim], ‖·‖₂ = 1; nil unless asked for
	Norm      float32   // ‖·‖₂ of what the embedder gave; 0 without Template

	// Of WantQuality; zero without it.
	Pose     Pose
	EyesOpen [2]float32 // probability that the eye to the left and to the right of the image is open
	Quality  Quality

	Liveness Liveness // of WantLiveness; zero without it
}

// Points are the landmarks as the pack finds them: 68, or the five. They alias the face.
func (f *Face) Points() []Point {
	if f.Landmarks == [68]Point{} {
		return f.Five[:]
	}
	return f.Landmarks[:]
}

// Pose is how the head is turned, in degrees.
type Pose struct {
	Yaw   float32 `json:"yaw"`   // > 0: to the left side of the image
	Pitch float32 `json:"pitch"` // > 0: up
	Roll  float32 `json:"roll"`  // > 0: clockwise in the image
}

// Verdict is what passive liveness makes of a face.
type Verdict string

// The verdicts. They are a risk signal: doc.go says what they can't see.
const (
	Live      Verdict = "live"
	Spoof     Verdict = "spoof"
	Uncertain Verdict = "uncertain" // ask for more: another photo, or an active challenge
)

// Liveness is a score for the face being a person before the camera, not a picture of one.
type Liveness struct {
	Score   float32 // [0, 1]
	Verdict Verdict
}

// Select says which faces of a photo are wanted.
type Select int

const (
	SelectAll     Select = iota // a group's faces, best detection first: see MaxFaces; none is not an error
	SelectOne                   // exactly one: ErrNoFace, ErrSeveralFaces
	SelectLargest               // the one of the largest box: ErrNoFace
	SelectCentral               // the one whose box is nearest to the photo's middle, as sets of labelled photos have it: ErrNoFace
)

// Want says what is to be found out about each face.
type Want uint8

// What may be wanted. Boxes, scores, landmarks and crops always come.
const (
	WantTemplate Want = 1 << iota
	WantQuality       // pose, eyes and quality: two more models, and the template's
	WantLiveness      // one more model, run on several crops
)

// Options of one extraction.
type Options struct {
	Select Select
	Want   Want // 0 is WantTemplate
}

// Errors of an extraction. Each is wrapped in text that says what was found; typed errors carry fields.
var (
	// ErrNotImage: the bytes are no JPEG, PNG, BMP or WebP, or one that is damaged or of an unsupported kind.
	ErrNotImage = errors.New("extract: not a readable JPEG, PNG, BMP or WebP image")
	// ErrTruncated: the image begins well and ends too early.
	ErrTruncated = errors.New("extract: the image ends too early")
	// ErrTooManyPixels: the header states more pixels than the limit; nothing was decoded. See PixelsError.
	ErrTooManyPixels = errors.New("extract: too many pixels")
	// ErrNoFace: no face was found where one is required, or none that is large enough to be seen (see MaxFaces).
	ErrNoFace = errors.New("extract: no face found, or only one that is too small to be seen")
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
