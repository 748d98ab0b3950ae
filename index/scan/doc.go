// Package scan is an exhaustive index of unit vectors: a search compares its probe with every row, first by codes
// of a few bytes, and reads what is longer of the few rows that may be in the answer.
//
//	short   20 B  signs in the gallery's principal directions   measured bound   only where a fit pays
//	sketch  64 B  signs after a random rotation                 derived bound    where there is no fit, or it passes too much
//	int8   512 B  the vector in 255 steps (sizes at dim 512)    derived bound
//	float32  2 KiB, in a file or in memory beside               the score
//
// A search begins with one of the first two, whichever it expects to read less by (probe.shortPays); what survives it
// goes to int8, and the best of that to float32. Scores are of float32 always.
//
// It promises:
//
//	I1  Searches see one moment. Every change gets the next epoch, and each row has the epochs at which it was
//	    born and died; a search sees the rows alive at the epoch it began with. So it sees all of a change or
//	    nothing, and every change that returned before.
//	I2  No search waits for a writer, nor a writer for a search. A row that no search can see any more is wiped, and
//	    then given out again: its codes zeroed, its vector overwritten. That begins, in the background, at the end of
//	    the change, or of the last search that began before it.
//	I3  A row that belongs into the answer is lost with a probability of at most Options.Miss, in the sense below; never
//	    with Options.Exact, nor among the first 1,024 rows of an index that never held more, nor below dim 64.
//	I4  Growing copies nothing but the first 1,024 rows: memory comes in segments of 65,536 rows outside the Go heap.
//	    Codes that are replaced, after a fit, live until no search reads them.
//	I5  Vectors on disk are sealed, as is the cache file. What does not open is an error (ErrCorrupt), not an answer.
//
// # What is alive
//
// A writer takes free rows under a lock, makes their codes without it, and then, under the lock again, sets born of
// the new rows and died of the old to the next epoch and publishes that. Kernels read the lanes of rows that are
// being written: what they make of them is dropped, because a survivor counts only if it is alive at the search's
// epoch. Searches in progress are registered with theirs (carousel); a dead row is free once it died no later than the
// oldest of them. Removed rows cost time until then, and nothing after.
//
// # Sharing a pass
//
// Memory is what limits a scan: one core streams 16 GB/s here and compares eight probes in the time of two. So
// concurrent searches share passes (carousel.go): a search gets on at the next chunk of 16,384 rows and off when it
// has come round, with everybody who is on compared in groups of 8, 4, 2 and 1. A search that is alone uses all
// workers, which are the goroutines of the searches themselves and what is started beside them, up to Config.Workers.
//
// # Miss probability
//
// Let t be what the score of a row must reach: the threshold, or the K-th best so far if that is larger. A first stage
// computes for each row an estimate that, for a row with score exactly t, is close to normal with known mean m(t) and
// deviation σ(t), and keeps rows with an estimate of at least m(t) − zσ(t), with 1 − Φ(z) = Options.Miss. A row with a higher
// score is lost more rarely, so the probability is stated for the worst: a mate at the threshold. It is over the
// rotation for the sketch, and over pairs like the gallery's for the short stage. TestMisses and `mien bench misses`
// count, with thresholds set to the score of each mate.
//
// A search for the K best without a high threshold begins with a guess of where the K-th will lie, from the distribution
// of scores that the fit has measured (guess.go); is it wrong, the search is made again without. That is a matter of time, not
// of what is found.
//
// # Sketch
//
// (RaBitQ, Gao and Long, arXiv:2405.12497, in the form that package simd computes.) Let x be the row and q the probe, of
// unit length, both rotated at random, n numbers; s the signs of x, s̄ = s/√n; v the probe quantised to 4 bits, e = v − q. Write
// s̄ = f x + √(1−f²) w with w orthogonal to x: f = ⟨s̄, x⟩ = ‖x‖₁/√n has mean √(2/π) and variance (1−3/π)/n (delta method
// on the mean of |g| over the root of that of g², g normal), and given x and f, w is uniform on the sphere orthogonal to x (their section
// 3.2). Then
//
//	⟨s̄, v⟩ = f(t + ⟨x, e⟩) + √(1−f²) ⟨w, v⟩
//	mean      √(2/π) t
//	variance  t²(1−3/π)/n  +  (2/π)‖e‖²/n  +  (1−2/π)(‖v‖²−t²)/(n−1)
//
// the three terms from the spread of f, the rounding of the probe (e behaves as if drawn independently of x) and w. The
// estimator ⟨s̄, v⟩/f, with a factor for each row, passes hardly less: 2.2e-3 against 2.5e-3 of impostors at t = 0.42 on the
// default model's space. So there is no factor, and one bound decides in the kernel.
//
// # int8
//
// Row and probe are rounded to multiples of their own scales a and b, so x = x̂ + d, q = q̂ + e with |dᵢ| ≤ a/2, |eᵢ| ≤ b/2, and
//
//	⟨q, x⟩ = ⟨q̂, x̂⟩ + ⟨q̂, d⟩ + ⟨e, x⟩
//
// What is rounded is the vector in the fitted basis or, without a fit, rotated at random (where its dim is a power of two;
// else as it is, with the length of the errors, √dim/2 steps, for a bound). Rounding errors then behave as uniform, independent of each other and of the other side; then the last two terms have mean
// 0 and variance (a²‖q̂‖² + b²‖x‖²)/12 ≈ (a² + b²)/12. They are given 6.2 deviations (3e-10), and 1e-4 for float32 arithmetic in the
// basis. With a fit the first 192 numbers hold most; of the rest it is known that |⟨q_tail, x_tail⟩| ≤ ‖q_tail‖‖x_tail‖ (Cauchy,
// Schwarz). With the largest scale and tail of all rows in place of the row's own, three cache lines decide on most survivors.
//
// # Short stage
//
// Once an index holds 32,768 rows, 9,000 are sampled; of two thirds the 160 principal directions are taken (fit.go), the
// head of a vector is its part in them, rotated so that its length is spread evenly, and the short code the head's signs. The
// probe's head is not rounded to signs: for each four signs it gives a table of 16 distances of one byte, which the
// kernel adds up (simd.ScanNibbles).
//
// How the estimate follows from the score is measured on the other third, at ten cosines, in pairs of a row x and
// t·x + √(1−t²)·u, u the direction of another held-out row: rows like the gallery's, at a cosine that real pairs rarely have. The
// deviation is taken 5 % larger. Three things keep it honest. A probe with more of its length beyond 192 numbers than
// 999 in 1,000 held-out rows takes the sketch instead; rows of that kind are marked, and go past the short stage, and where there are
// many their segment takes the sketch (codes.odd). And every search takes the sketch if the fit would not read less (fit.pays), as
// on vectors without principal directions. That a normal law holds so far out, at 4.75 deviations for a probability of 1e-6, is
// an extrapolation from some ten thousand pairs at each cosine. The fit is made once; a gallery that changes its nature afterwards loses speed first,
// as its probes leave the head.
//
// Centring on the gallery's mean was tried and left out: the mean of the default model's space has length 0.08.
//
// # Memory
//
// At dim 512, a row: life 16 B, tag 8, label 4, sketch 64, short code 20, int8 512, its scale 4: 628 B, 640 with what pages of
// 2 MiB round up. The first 1,024 rows are on the Go heap as float32 alone, so that a machine may hold a hundred thousand
// small galleries; they get codes when row 1,025 comes. The others' float32 rows are in the vectors file (vectors.go) or, without a
// folder, in memory.
//
// # Files
//
//	vectors  slot of row r at (r − 1024) × (4 dim + 28): nonce[12] ‖ AES-256-GCM of float32[dim] ‖ tag[16], additional data r ‖ id of the index
//	cache    "mienscan" ‖ version u32 ‖ n u32 ‖ sealed JSON header[n] ‖ sealed pieces
//
// The cache file holds the memory of the index at one moment, in pieces of 1 MiB that are sealed each with its number and
// the header's random name, so that no piece fits elsewhere. The seal takes the place of a CRC: it tells damage from
// what was written. Files are little-endian, and so must the machine be. A nonce is random: a key may seal 2^32 times (NIST SP
// 800-38D).
package scan
