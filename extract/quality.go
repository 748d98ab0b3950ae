package extract

import (
	"fmt"
	"math"
	"slices"

	"mien/extract/pack"
)

// Measure names a component of a face's quality, after ISO/IEC 29794-5:2025. A value goes from 0 to 100, and more is always
// better: UnderExposure is what the standard calls under-exposure prevention. The names and, where they are said to be, the mappings
// are those of OFIQ, the standard's reference code, as we know them; nothing was compared with its output, and no
// conformance is claimed.
//
// σ(v, m, w) below is the sigmoid 1/(1+exp((m−v)/w)): 50 at v = m. ρ(v, m, w) is the same, stretched to be 0 at v = 0: below
// 50 at v = m. "Crop" is the face aligned to ArcFace's template at 112×112, eyes 35
// pixels apart; "face" its pixels within the outline of jaw and brows (without 68 points an ellipse) and within the photo. Grey is
// BT.601 luma. Where a mapping is ours it was set so that ordinary good photos reach 60 to 70 and more:
// TestGoodPhotosScoreWell, TestMeasuresFall.
type Measure uint8

// The measures.
const (
	// UnifiedScore is one number for the whole: how likely the face is to be matched with its mate. See unified.go: σ(z, 2, 0.8) of
	// the log odds z that a logistic model gives: 50 is one miss in eight at FMR 1e-4. It is about matching alone: a
	// photo may match well and still break every rule of a passport office.
	UnifiedScore Measure = iota

	// Sharpness is that no detail is lost to blur by focus or movement, to enlarging, or to noise. Native: the distance between the
	// eyes (as if the head were not turned) in standard deviations of the blur, worst of four directions, from how much more blur
	// softens the edges of the photo, at 48 to 96 pixels between the eyes or fewer if there are fewer (resolution in texture.go).
	// Mapping: ρ(ln v, ln 24, 0.3). It can't tell a smooth face from a soft photo, nor movement beyond a quarter of the distance
	// between the eyes from less.
	Sharpness

	// LuminanceMean is that the face is neither dark nor pale on the whole. Native: mean grey of the face, white 1. Mapping, as
	// OFIQ's: σ(v, 0.2, 0.05)·(1−σ(v, 0.8, 0.05)). Dark skin in poor light loses first.
	LuminanceMean

	// LuminanceVariance is that it has contrast. Native: variance of the same. Mapping, as OFIQ's: sin(π·60v/(60v+1)); but past its peak at
	// v = 1/60 it stays 100, for there OverExposure, UnderExposure and IlluminationUniformity say what is wrong.
	LuminanceVariance

	// UnderExposure is that few of its pixels are black. Native: share of the face at grey 0 to 25. Mapping: 1−ρ(v, 0.45, 0.12).
	UnderExposure

	// OverExposure is that few of its pixels are white. Native: share of the face at grey 247 to 255. Mapping: 0.08/(0.08+v).
	OverExposure

	// IlluminationUniformity is that both halves are lit alike. Native: intersection of the grey histograms of the left and the
	// right half of the face between eyes and mouth, smoothed over 49 levels. Mapping, as OFIQ's: v^0.3. A turned head that
	// shows little of one half makes it unsure.
	IlluminationUniformity

	// DynamicRange is that many grey levels are used. Native: entropy of the face's grey histogram in bits. Mapping, as OFIQ's: v/8. Noise
	// raises it.
	DynamicRange

	// Compression is that there are no visible artefacts of compression. Native: how much more the grey jumps from block to block of 8×8
	// than elsewhere, by 128×128 photo pixels around the face's middle: 1.3 for JPEGs of quality 90, 1.75 at 75, 2.1 at
	// 50, 3 at 20, 4 at 10, whatever the picture. Mapping: 1−ρ(v−1, 1.6, 0.35). It sees blocks wherever
	// the grid begins, so crops and turns by 90° don't matter, but not after the photo was scaled or turned otherwise, nor artefacts of
	// other kinds (WebP's smoothing shows as lost sharpness).
	Compression

	// InterEyeDistance is that there are enough pixels between the eyes. Native: photo pixels between the eyes over the cosine of the
	// yaw. Mapping: ρ(v, 35, 10): 35 is what the embedder's crop has. OFIQ's, for passports, has 50 at 70.
	InterEyeDistance

	// HeadSize is that the head is neither small nor too large in the photo. Native: height of the face's box (forehead to chin) by the
	// photo's. Mapping: ρ(v, 0.12, 0.03)·(1−ρ(v, 0.9, 0.04)); OFIQ's wants 0.45 from eyes to chin, as in a passport.
	HeadSize

	// MarginLeft, MarginRight, MarginAbove and MarginBelow are that the head is not cut off. Native: from the middle of the eyes to the
	// photo's edge, in distances between the eyes. Mapping: ρ(v, m, 0.1) with m 0.9 to the sides, 1.4 above, 1.8 below; OFIQ's is σ,
	// which is the same within 0.02 here.
	// Room around a head that leans is measured along the photo's sides.
	MarginLeft
	MarginRight
	MarginAbove
	MarginBelow

	// PoseYaw, PosePitch and PoseRoll are that the head is not turned, bent or leaning. Native: degrees by the pose model, roll by the
	// line between the eyes (the model is off by 10° and more past 40°); without the model by where the tip of the nose lies. Mapping,
	// as OFIQ's: cos², 0 from 90° on.
	PoseYaw
	PosePitch
	PoseRoll

	// EyesOpen is that both eyes are open: the worse of the two. Native: two parts what the eye model says, one part ρ(v, 0.04, 0.01) of the gap
	// between the lids by the distance from eyes to chin; without the model the latter alone, without 68 points NaN. Unsure for the far
	// eye of a head turned by more than 25°, for eyes of less than 16 pixels, and behind glasses.
	EyesOpen

	// MouthClosed is that the mouth is closed. Native: the gap between the inner lips by the distance from eyes to chin. Mapping,
	// as OFIQ's but stretched: 1−ρ(v, 0.2, 0.06): a smile that shows teeth has 80 to 95. Without 68 points NaN.
	MouthClosed

	// EyesVisible is that neither sunglasses, hair nor a hand hides the eyes. Native: the share of the pixels around each eye of the crop
	// that have the colour of the cheek below, the worse eye counting three times the other. Mapping: ρ(v, 0.18, 0.05).
	// It misses a hand or a mask in the colour of the cheek, and takes deep shade under a hat for glasses.
	// Behind dark glasses the points drift by up to a tenth of the distance between the eyes, and let in skin beside the glasses: as
	// those get darker still it may rise by some points, below 65 (10 of 200 photos of LFW; not with the points of the bare face, as
	// five of them showed).
	EyesVisible

	// SingleFace is that nobody else of a size that matters is in the photo. Native: area of the largest other face's box by that of this one.
	// Mapping, as OFIQ's: 1−v.
	SingleFace

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

// Quality holds a value in [0, 100] for each Measure, or NaN where the pack can't tell.
type Quality [NumMeasures]float32

// unmeasured is the value of a measure that the pack has no model for.
var unmeasured = float32(math.NaN())

// LivenessMeasure is Liveness.Score × 100 as a measure beside those of Quality.
const LivenessMeasure = "liveness"

// MeasureOf is the inverse of String. It panics on a name that no Measure has.
func MeasureOf(name string) Measure {
	i := slices.Index(measureNames[:], name)
	if i < 0 {
		panic("BUG: extract: no measure is named " + name)
	}
	return Measure(i)
}

// Measures lists the names of what this extractor's pack can judge: those of Quality that WantQuality fills in, and
// LivenessMeasure.
func (x *Extractor) Measures() []string {
	var names []string
	for i, name := range measureNames {
		if m := Measure(i); m != EyesOpen && m != MouthClosed || x.Manifest().Has(pack.Landmarks) {
			names = append(names, name)
		}
	}
	if x.Manifest().Has(pack.Liveness) {
		names = append(names, LivenessMeasure)
	}
	return names
}
