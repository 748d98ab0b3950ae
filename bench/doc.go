// Package bench measures searches: how fast they are and what they miss, on galleries of any size that it makes itself.
//
// It promises:
//
//	B1  A gallery is a function of its seed: the same templates on every machine and in every version, but for the
//	    rounding of float32 sums. Tests pin some.
//	B2  Whatever is called found or missed is held against the best of all rows by float32 dot products, computed in the
//	    same run over the same templates.
//	B3  The float32 gallery is never held in memory: batches go by, into the index and past the exact comparison.
//
// # Galleries
//
// Identity i has a stream of random numbers and so has each of its photos j; a template is one photo. A row of a gallery
// is photo 0 of the identity of the same number, a mated probe photo 1. cos are cosines of two photos at 512 numbers,
// mean ± standard deviation:
//
//	variant    template, then scaled to length 1                 mated cos       impostor cos
//	space      mean + Σ gₖ betweenₖ + √q Σ hₖ withinₖ            0.689 ± 0.079   0.006 ± 0.096
//	isotropic  c + h √(0.449/dim), c = unit(g)                   0.691 ± 0.018   0.000 ± 0.044
//	clustered  the same, c = unit(√0.7 centre + √0.3 unit(g))    0.691 ± 0.018   0.000 ± 0.046, of which 1 in 1,000,
//	                                                                             of one cluster, 0.48 ± 0.03
//	latent24   c + h √(0.5625/dim), c = unit(Σ gₖ eₖ), k < 24    0.640 ± 0.022   0.000 ± 0.135
//	latent64   the same, k < 64                                  0.640 ± 0.022   0.000 ± 0.087
//	latent512  the same, k < 512                                 0.640 ± 0.022   0.000 ± 0.044
//
// g, standard normal, is the identity's, h and q the photo's; q is Gamma(6, 1/6), so that some photos are worse than
// others. eₖ are orthonormal and depend on the seed; a photo of a latent variant lies at cosine 0.8 to its identity's c.
// space.f32 holds mean and the two bases, 192 each, as 385 × 512 little-endian float32, each row of a basis an
// eigenvector times the square root of its eigenvalue. It was fitted to embeddings of real photos by the default model,
// where cosines were 0.702 ± 0.090 and 0.008 ± 0.097. No picture is in it.
//
// # Seeding
//
// A stream is math/rand/v2's PCG(splitMix(seed XOR splitMix(purpose)), splitMix(number)); number is the identity's, the
// cluster's, or k for eₖ, purpose 0 for identities, 1 for clusters and eₖ, 2+j for photo j. splitMix(z) is SplitMix64's
// output after one step from z. Drawn from them, in this order:
//
//	space      identity: 192 NormFloat64 (g); photo: 6 ExpFloat64, whose sum / 6 is q, 192 NormFloat64 (h)
//	isotropic  identity: dim NormFloat64 (g); photo: dim NormFloat64 (h)
//	clustered  identity: Uint64N(1000), its cluster, dim NormFloat64 (g); photo: dim NormFloat64 (h)
//	           cluster: dim NormFloat64, scaled to length 1, the centre
//	latent…    identity: as many NormFloat64 as in the name (g); photo: dim NormFloat64 (h)
//	           eₖ: dim NormFloat64, less what lies along e₀, …, eₖ₋₁, one after the other, scaled to length 1
//
// # What Index reports
//
//	mates             probes whose identity is enrolled: all of them
//	exact_found       probes whose mate is the exact best, at or above the threshold
//	found             probes whose mate is the index's best
//	index_misses      probes due an answer (the exact best less rounding reaches the threshold) that got none, or one
//	                  whose score is below the exact best by more than rounding, 6.2e-5 at 512 numbers: what the index, not
//	                  the gallery, is to blame for
//	index_misses_upper_95  the rate of misses among probes that were due that these exclude at 95 %, one-sided
//	searches, p50_ms, p99_ms  searches timed, and quantiles of one search's time from call to return while concurrency
//	                  goroutines search without pause
//	probes_per_second searches over the wall time that they took together
//	build_seconds     wall time inside the index's Append on all cores, and until a graph is linked; making templates and
//	                  the exact comparison is not in
//	m, ef_construction, ef  what a graph was built and searched with
//	bytes_per_template what the index says it holds, over rows
//
// # Limits, plainly
//
//   - Load is closed: a goroutine asks again when it was answered. Latencies are those of that concurrency, not of requests
//     that arrive on their own.
//   - The probes repeat after the first round. An index that remembers answers would look fast.
//   - Templates are drawn, not photographed. The real mated tail is longer than space's (1 % quantile 0.44, not 0.48), real
//     people have relatives, and the tails of Gaussians are all that reaches far out in a gallery of millions.
//   - Only space has structure within a photo's noise. isotropic, and latent512 at 512 numbers, which is isotropic but for
//     its noise, are the hardest for a graph and the easiest for a scan of codes; the fewer latent dimensions, the easier
//     for a graph.
package bench
