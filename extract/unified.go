package extract

import "math"

// unified is the model behind UnifiedScore: a logistic regression, no weight below zero, of whether a face is matched with
// a good photo of the same person at a false match rate of 1e-4 (cosine 0.419), on the measures as shares of 100. TestUnifiedScore
// fits it anew and says how it does.
//
// Fitted with the default pack on half the people of LFW who have two photos or more in the part that was at hand (2 to 8
// each, 510 people), every photo as it is and made worse in two random ways (blur, motion, enlarged, reduced, dark,
// bright, contrast, half shadow, noise, JPEG, rolled, eyes painted over, mouth opened). What is not named got no weight: the
// measures of pose, for this embedder bears what LFW has of it; those of the photo's frame were not among the candidates.
var unified = struct {
	bias, norm float64
	weights    [NumMeasures]float64
}{
	bias: -7.04,
	norm: 4.25,
	weights: [NumMeasures]float64{
		Sharpness: 3.19, LuminanceMean: 1.25, UnderExposure: .08, OverExposure: 1.11, DynamicRange: .76, Compression: 1.33,
		EyesOpen: 1.36, EyesVisible: .16,
	},
}

// typicalNorm is the median length of templates before they are normalised, by embedding space, where it was measured (LFW).
// Shorter ones come from faces that the embedder can make less of; other embedders may not have that trait.
var typicalNorm = map[string]float64{"fr_feature-512-p1-87aacdfe5751": 3.7}

// unify sets the unified score. norm is the template's length by the typical one, 1 if unknown. A measure that is not known
// counts as 100.
func (q *Quality) unify(norm float64) {
	z := unified.bias + unified.norm*min(norm, 2)/2
	for m, w := range unified.weights {
		v := float64(q[m])
		if math.IsNaN(v) {
			v = 100
		}
		z += w * v / 100
	}
	q[UnifiedScore] = percent(sigmoid(z, 2, .8))
}
