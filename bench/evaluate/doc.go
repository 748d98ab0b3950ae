// Package evaluate measures how often templates err on a set of labelled photos, in the words of ISO/IEC 19795-1
// (recognition) and 30107-3 (presentation attack detection), and writes a report that a person can read.
//
// It works on records, not on photos: a template, or the reason why there is none, quality values, a liveness score. So it
// needs no models. It promises:
//
//	V1  Every two photos are compared, by float32 dot products (or every pair of a list); nothing is sampled, and nothing is
//	    taken out, whatever its label looks like. What looks wrong is listed.
//	V2  Every rate comes with its counts and its bounds.
//	V3  The same set and seed give the same report, but for the last bits of sums.
//	V4  Memory is that of the templates, two histograms of 200,000 bins for each core, and the 262,144 highest non-mated
//	    scores: it does not grow with the comparisons. A bin is 1e-5 of cosine wide, and a threshold is the lower edge of one.
//	V5  The page is one file: no script, and nothing is fetched.
//
// # Rates and their bounds
//
// FMR and FNMR are of comparisons of photos that have a template; failures to acquire are counted apart. In identification a
// photo without a template is a search that finds nobody. The threshold for an FMR target is the least at which the measured
// rate is at most the target.
//
// Bounds of Clopper and Pearson hold for independent trials, but each photo is in many comparisons and each person in more:
// with few people they are far too narrow (of twenty people of whom four always fail, 760 of 3,800 comparisons fail,
// which reads as 19 to 21 %, while another twenty people may have 5 or 40 %). So people are drawn again and again, with
// replacement, and the quantiles of the rates of 1,000 such draws stand beside them. FNMRByPerson is a third view: the mean of
// everybody's own rate, which people with hundreds of photos don't dominate.
//
// # Calibration
//
// The false match rate is counted as far down as counts go, four points a decade, and extrapolated beyond:
//
//	log10 FMR = a + b cosine + c cosine², c ≤ 0
//
// is fitted by least squares to the counted curve from 1e-2 to 1e-4 (or to the rate with 100 counts), at 64 thresholds
// spread evenly. Counting ends at fewer than ten, or where the lower 95 % bound of the count lies more than a quarter above the
// fit. From there, the fit goes on through the last counted point, to 1e-9.
//
// Why a parabola: a cosine is a sum of hundreds of weakly dependent products, so that its tail is near that of a normal law,
// whose logarithm is a parabola. Held against what is known: on 13 million comparisons of LFW it expects 530 above 0.44, at
// half the least rate that it was fitted to, where 546 are counted; on 220 million made-up ones of the default model's space
// (package bench), without label errors, 1.3e-6 where 1.0e-6 is counted, and 1.7e-7 for 1.0e-7, three decades beyond. A
// straight line through the last decade, which is how the engine goes on beyond the last point, says nearly the same down to
// 1e-6 and ten times as much at 0.7. A generalised Pareto tail fitted to LFW's comparisons ends at 0.86, and calls what lies
// beyond impossible.
//
// Why stop where counts leave the fit: sets of real photos have label errors, one person under two names, whose cosines are
// those of mates. A few dozen of them in millions are all that is left of LFW's far tail (31 comparisons above 0.62, where the
// fit expects half a comparison), and a calibration that follows them says that 0.75 is no better than one in a million. They
// are not taken out of any rate, and lift the fit a little: on the safe side.
//
// # Limits, plainly
//
//   - A set says something of people, cameras and light like its own. Relatives and twins are rare in any set; the
//     extrapolation knows nothing of them.
//   - Below a rate of one in a million or so the points are the fit's word alone. They are marked.
//   - Non-mated comparisons of one photo with all others are not independent, so the bootstrap takes them by people; its
//     bounds are wide, not exact.
package evaluate
