package extract

import "math"

// unified is the model behind UnifiedScore: a logistic regression, no weight below zero, of whether a face is matched with
// a good photo of the same person at a false match rate of 1e-4 (cosine 0.419), on the measures as shares of 100. TestUnifiedScorePredicts
// fits it anew and says how it does.
//
// Fitted with the default pack on 5,466 samples of 514 people of LFW, half of those who have two photos or more in the part
// that was at hand (2 to 8 each): every photo as it is and made worse in two random ways (blur, motion, enlarged, reduced,
// dark, bright, contrast, half shadow, noise, JPEG, rolled, eyes painted over, mouth opened). Of 16,630 mated pairs of the other
// half 11.6 % are missed; 7.7, 5.5 and 3.7 % once the 5, 10 and 20 % with the lowest score are left out (by Sharpness, the
// best measure alone, 8.7, 7.5 and 7.1 %; by the norm alone 8.6, 6.6 and 4.5 %). Of the 3,634 among them that are of photos as
// taken 2.5 %, and 1.9, 1.5 and 1.2 %; there the norm alone does as well.
//
// What is not named got no weight, which is the embedder's merit: it bears what LFW has of turned heads and half shadows.
// Measures of the frame (HeadSize, margins, SingleFace) were not among the candidates.
var unified = struct {
	bias, norm float64 // norm: for half the template's length, at most 1
	weights    [NumMeasures]float64
}{
	bias: -9.03,
	norm: 7.71,
	weights: [NumMeasures]float64{
		Sharpness: 3.08, LuminanceMean: .43, OverExposure: 1.24, DynamicRange: 1.85, Compression: 1.36, EyesOpen: 1.28,
		EyesVisible: .52,
	},
}

// typicalNorm is the median length of templates before they are normalised, by embedding space, where it was measured (LFW).
// Shorter ones come from faces that the embedder can make less of; other embedders may not have that trait.
var typicalNorm = map[string]float64{"fr_feature-512-p1-87aacdfe5751": 3.7}

// unify sets the unified score. norm is the template's length by the typical one, 1 if unknown. A measure that is not known
// counts as 100; of points that are no face's, of which not even the sharpness is known, nothing is.
func (q *Quality) unify(norm float64) {
	if math.IsNaN(float64(q[Sharpness])) {
		q[UnifiedScore] = unmeasured
		return
	}
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
