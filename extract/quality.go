package extract

import "fmt"

// Measure names a component of a face's quality, after ISO/IEC 29794-5:2025. A value goes from 0 to 100, and more is always
// better: UnderExposure is what the standard calls under-exposure prevention.
type Measure uint8

// The measures.
const (
	UnifiedScore           Measure = iota // one number for the whole: how likely the face is to be matched with its mate
	Sharpness                             // no blur by focus or movement
	LuminanceMean                         // the face is neither dark nor pale on the whole
	LuminanceVariance                     // it has contrast
	UnderExposure                         // few of its pixels are black
	OverExposure                          // few of its pixels are white
	IlluminationUniformity                // both halves are lit alike
	DynamicRange                          // many grey levels are used
	Compression                           // no visible artefacts of compression
	InterEyeDistance                      // pixels between the eyes
	HeadSize                              // share of the photo's height that the head takes
	MarginLeft                            // room between the head and the photo's edges
	MarginRight
	MarginAbove
	MarginBelow
	PoseYaw // the head is not turned
	PosePitch
	PoseRoll
	EyesOpen
	MouthClosed
	EyesVisible     // no sunglasses, hair or hand before the eyes
	SingleFace      // nobody else of a size that matters
	NumMeasures int = iota
)

var measureNames = [NumMeasures]string{
	"unified_score", "sharpness", "luminance_mean", "luminance_variance", "under_exposure_prevention", "over_exposure_prevention",
	"illumination_uniformity", "dynamic_range", "no_compression_artefacts", "inter_eye_distance", "head_size",
	"margin_left", "margin_right", "margin_above", "margin_below", "head_pose_yaw", "head_pose_pitch", "head_pose_roll",
	"eyes_open", "mouth_closed", "eyes_visible", "single_face_present",
}

// String is the measure's name in the API.
func (m Measure) String() string {
	if int(m) >= NumMeasures {
		return fmt.Sprintf("measure %d", uint8(m))
	}
	return measureNames[m]
}

// Quality holds a value in [0, 100] for each Measure.
type Quality [NumMeasures]float32
