package index

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// DefaultMiss is the probability that a search loses a row which belongs into its answer, unless Options says
// another.
const DefaultMiss = 1e-6

// MaxEF bounds Options.EF: beyond, an exhaustive scan takes less time.
const MaxEF = 1 << 14

// Hit is one label of a search's answer with its best row's score, a dot product.
type Hit struct {
	Label uint32
	Score float32
}

// Options are what a search may choose. The zero value asks for nothing: K or Threshold must be set.
type Options struct {
	// K is how many labels are wanted at most; 0 is all that reach Threshold, which must then be above 0.
	K int
	// Threshold is the least score of a hit; −1 takes everything.
	Threshold float32
	// Exact compares the probe with every row in float32: nothing is missed, and everything is read.
	Exact bool
	// Miss is the probability that a row which belongs into the answer is lost: 0 is DefaultMiss, at least
	// 1e-12. Lower costs time: candidates are kept on weaker evidence.
	Miss float64
	// EF is how many candidates a graph keeps in sight (Malkov and Yashunin, arXiv:1603.09320, ef): more find more and
	// take longer. 0 is the index's own; at most MaxEF. A scan has none.
	EF int
	// Filter, if not nil, holds the rows that may be in the answer. It must not change during the search.
	Filter *Bitmap
}

// Query is one of the searches that are made together.
type Query struct {
	Vector  []float32 // unit length; not retained
	Options Options
	From    uint32 // rows of lower numbers may be passed over
	Hits    []Hit  // the answer
}

// Validate fills in defaults. Errors: ErrK, ErrOptions.
func (o Options) Validate() (Options, error) {
	o.Miss = cmp.Or(o.Miss, DefaultMiss)
	o.Threshold = min(max(o.Threshold, -2), 2) // scores are within ±1, or hardly beyond
	switch {
	case o.K < 0 || o.K == 0 && !(o.Threshold > 0):
		return o, ErrK
	case o.EF < 0 || o.EF > MaxEF || !(o.Miss >= 1e-12 && o.Miss <= 0.5) || math.IsNaN(float64(o.Threshold)):
		return o, ErrOptions
	}
	return o, nil
}

// Bitmap is a set of rows. The zero value is empty. Not safe for use while it changes.
type Bitmap struct {
	words []uint64
}

// Set puts a row into the set.
func (b *Bitmap) Set(row uint32) {
	if w := int(row / 64); w >= len(b.words) {
		b.words = append(b.words, make([]uint64, w+1-len(b.words))...)
	}
	b.words[row/64] |= 1 << (row % 64)
}

// SetWord makes the 64 rows from 64×i those of the bits.
func (b *Bitmap) SetWord(i int, word uint64) {
	if i >= len(b.words) {
		b.words = append(b.words, make([]uint64, i+1-len(b.words))...)
	}
	b.words[i] = word
}

// Has reports whether a row is in the set.
func (b *Bitmap) Has(row uint32) bool { return b.Word(int(row/64))>>(row%64)&1 != 0 }

// Count is the number of rows in the set.
func (b *Bitmap) Count() (n int) {
	for _, w := range b.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// Word is the 64 rows from 64×i as bits.
func (b *Bitmap) Word(i int) uint64 {
	if i >= len(b.words) {
		return 0
	}
	return b.words[i]
}

// Top keeps the K best labels, each once, sorted best first; ties go to the smaller label. Insertion into a
// sorted array beats a heap here: K is small, and after the first rows few scores pass the bound. With K = 0 it
// keeps every label that reaches the threshold. Not safe for concurrent use.
type Top struct {
	k     int
	bound float32
	hits  []Hit
	at    map[uint32]int // of labels, when k is 0
}

// Reset empties it.
func (t *Top) Reset(k int, threshold float32) {
	t.k, t.bound, t.hits = k, threshold, t.hits[:0]
	clear(t.at)
}

// Bound is what a score must reach to matter: the threshold, then the k-th best.
func (t *Top) Bound() float32 { return t.bound }

// Hits are the labels taken so far, sorted if K is not 0; valid until the next call.
func (t *Top) Hits() []Hit { return t.hits }

// Offer takes a label if its score is among the k best. One that is there already keeps its better score.
func (t *Top) Offer(label uint32, score float32) {
	if !(score >= t.bound) { // drops NaN too
		return
	}
	if t.k == 0 {
		t.offerAll(label, score)
		return
	}
	h := Hit{label, score}
	for i, have := range t.hits {
		if have.Label != label {
			continue
		}
		if have.Score >= score {
			return
		}
		t.hits = slices.Delete(t.hits, i, i+1)
		break
	}
	at, _ := slices.BinarySearchFunc(t.hits, h, CompareHits)
	if at == t.k {
		return
	}
	t.hits = t.hits[:min(len(t.hits), t.k-1)]
	t.hits = slices.Insert(t.hits, at, h)
	if len(t.hits) == t.k {
		t.bound = t.hits[t.k-1].Score
	}
}

func (t *Top) offerAll(label uint32, score float32) {
	if t.at == nil {
		t.at = make(map[uint32]int)
	}
	i, known := t.at[label]
	if !known {
		t.at[label] = len(t.hits)
		t.hits = append(t.hits, Hit{label, score})
		return
	}
	t.hits[i].Score = max(t.hits[i].Score, score)
}

// CompareHits orders by score, best first, then by label.
func CompareHits(a, b Hit) int {
	switch {
	case a.Score > b.Score:
		return -1
	case a.Score < b.Score:
		return 1
	}
	return cmp.Compare(a.Label, b.Label)
}
