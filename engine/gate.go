package engine

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Gate is what a photo must reach to be used: the least value, in (0, 100], of each measure that it names. What it does
// not name may be anything, and nil lets every photo pass. Measures lists the names. A gate is never changed in place.
type Gate map[string]float64

// Gates are those of a gallery: Enrol for the photos that its people are enrolled with, Probe for those that are
// searched, verified and checked for duplicates with.
type Gates struct {
	Enrol Gate `json:"enrol,omitempty"`
	Probe Gate `json:"probe,omitempty"`
}

// Photo is what a template that was made of a photo here is judged by, and the photo.
type Photo struct {
	Judged map[string]float64 // what was judged, by the measure's name: [0, 100], more is better
	Gate   Gate               // of this call, beside the gallery's: of what both name the higher value counts

	// Image is the photo as it was sent, and Box where its face is: x1, y1, x2, y2 in pixels of the upright photo. A gallery
	// that keeps photos stores them, of at most MaxPhotoBytes; no other looks at them.
	Image []byte
	Box   [4]float32
}

// Reason is why a photo does not pass a gate. Code is stable; several measures may have one.
type Reason struct {
	Code    string  `json:"code"`
	Measure string  `json:"measure"`
	Value   float64 `json:"value"`
	Least   float64 `json:"least"`
	Advice  string  `json:"advice"` // what to do about it, for a person
}

// String is the advice, with the numbers.
func (r Reason) String() string {
	return fmt.Sprintf("%s (%s is %.1f, at least %v is asked for)", r.Advice, r.Measure, math.Floor(10*r.Value)/10, r.Least)
}

// QualityError is an ErrQuality with what the photo lacks, in the order of Measures.
type QualityError struct {
	Template int // which of the call's templates, from 0
	Reasons  []Reason
}

// Error says what the photo lacks and what to do.
func (e *QualityError) Error() string {
	lines := make([]string, len(e.Reasons))
	for i, r := range e.Reasons {
		lines[i] = r.String()
	}
	return "the photo is not good enough: " + strings.Join(lines, "; ")
}

// Unwrap returns ErrQuality.
func (e *QualityError) Unwrap() error { return ErrQuality }

// measures is the one table of what a gate may ask for: the measure, the reason if it is not reached, and what to do
// then. Names and sense are those of package extract (ISO/IEC 29794-5), and liveness, which is its score × 100. Codes are
// never renamed; where a photo that can't be used at all has a code of the API already, the measure has the same.
var measures = []struct{ name, code, advice string }{
	{"unified_score", "quality_failed", "take a sharp, evenly lit photo of the whole face from the front"},
	{"sharpness", "sharpness_failed", "the photo is blurred: hold still, focus on the face and clean the lens"},
	{"luminance_mean", "brightness_failed", "the face is too dark or too pale: light it from the front, evenly"},
	{"luminance_variance", "contrast_failed", "the face has too little contrast: use more light, and no haze or filter"},
	{"under_exposure_prevention", "brightness_failed", "parts of the face are black: use more light from the front"},
	{"over_exposure_prevention", "brightness_failed", "parts of the face are white: use less direct light or no flash"},
	{"illumination_uniformity", "light_uniformity_failed", "one side of the face is in shadow: light both sides alike"},
	{"dynamic_range", "contrast_failed", "the photo has too few shades: use more light, and no haze or filter"},
	{"no_compression_artefacts", "compression_failed", "the photo is compressed too far: send the camera's file as it is"},
	{"inter_eye_distance", "face_too_small", "the face is too small: come closer, or send a larger photo"},
	{"head_size", "head_size_failed", "the head is too small or too large in the photo: let it fill about half of the height"},
	{"margin_left", "face_cut_off", "the face is cut off at the left: keep the whole head in the photo"},
	{"margin_right", "face_cut_off", "the face is cut off at the right: keep the whole head in the photo"},
	{"margin_above", "face_cut_off", "the face is cut off at the top: keep the whole head in the photo"},
	{"margin_below", "face_cut_off", "the face is cut off at the bottom: keep the whole head in the photo"},
	{"head_pose_yaw", "pose_yaw_failed", "the head is turned to a side: look straight into the camera"},
	{"head_pose_pitch", "pose_pitch_failed", "the head is bent up or down: hold the camera at the height of the eyes"},
	{"head_pose_roll", "pose_roll_failed", "the head leans to a side: hold head and camera upright"},
	{"eyes_open", "eyes_closed", "the eyes are closed: open them"},
	{"mouth_closed", "mouth_open", "the mouth is open: close it"},
	{"eyes_visible", "eyes_covered", "the eyes are covered: take off sunglasses, and keep hair and hands away"},
	{"single_face_present", "several_faces", "there are other faces: one person alone should be in the photo"},
	{"liveness", "liveness_failed", "the photo may be of a picture or a screen: take one of the person before the camera"},
}

// Measures lists the names that a gate may use.
func Measures() []string {
	names := make([]string, len(measures))
	for i, m := range measures {
		names[i] = m.name
	}
	return names
}

// ReasonCodes lists the codes that a Reason may have, each once, in the order of Measures.
func ReasonCodes() []string {
	var codes []string
	for _, m := range measures {
		if !slices.Contains(codes, m.code) {
			codes = append(codes, m.code)
		}
	}
	return codes
}

// Validate reports whether every measure is known and every value in (0, 100]. Errors: ErrGate.
func (g Gate) Validate() error {
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if !slices.Contains(Measures(), name) {
			return refuse(ErrGate, "the gate names %q, which is no measure; the measures are: %s", name, strings.Join(Measures(), ", "))
		}
		if v := g[name]; !(v > 0 && v <= 100) {
			return refuse(ErrGate, "the gate asks for %s of %v: it must be more than 0 and at most 100; leave out what may be anything", name, v)
		}
	}
	return nil
}

// Check decides whether a photo of which this was judged passes. Errors: *QualityError, which is an ErrQuality, with
// Template 0; ErrUnjudged, where the gate asks for what was not judged; ErrGate.
func (g Gate) Check(judged map[string]float64) error {
	if err := g.Validate(); err != nil { // a newer version's: it may know more measures
		return err
	}
	var reasons []Reason
	for _, m := range measures {
		least, asked := g[m.name]
		if !asked {
			continue
		}
		value, ok := judged[m.name]
		if !ok || math.IsNaN(value) {
			return refuse(ErrUnjudged, "the gate asks for %s, which was not judged of this photo: "+
				"if the gallery's gate has just been changed, send the photo again", m.name)
		}
		if value < least {
			reasons = append(reasons, Reason{m.code, m.name, value, least, m.advice})
		}
	}
	if reasons == nil {
		return nil
	}
	return &QualityError{Reasons: reasons}
}

// Stricter returns the gate that asks for what g asks for and what o asks for. It may be g or o itself.
func (g Gate) Stricter(o Gate) Gate {
	if len(o) == 0 {
		return g
	}
	both := maps.Clone(o)
	for name, least := range g {
		both[name] = max(least, both[name])
	}
	return both
}

// admit decides about a template: one that came as a template passes, because nothing is known of its photo. Errors:
// ErrGate, for the call's; those of Check.
func (g Gate) admit(t Template) error {
	if t.Photo == nil {
		return nil
	}
	return cmp.Or(t.Photo.Gate.Validate(), g.Stricter(t.Photo.Gate).Check(t.Photo.Judged))
}

// IsZero reports whether every photo passes; encoding/json omits such gates.
func (g Gates) IsZero() bool { return len(g.Enrol) == 0 && len(g.Probe) == 0 }

// Validate is that of both gates.
func (g Gates) Validate() error { return cmp.Or(g.Enrol.Validate(), g.Probe.Validate()) }

func (g Gates) equal(o Gates) bool {
	return maps.Equal(g.Enrol, o.Enrol) && maps.Equal(g.Probe, o.Probe)
}

func (g Gates) clone() Gates { return Gates{maps.Clone(g.Enrol), maps.Clone(g.Probe)} }
