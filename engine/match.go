package engine

import (
	"cmp"
	"context"
	"math"
	"slices"

	"mien/index"
)

// Verify decides whether the probe is of this person, by the best of the person's templates. The policy is
// the call's, else the gallery's, else FMR 1e-4; FPIR is taken at N = 1. Errors: ErrID, ErrGalleryNotFound,
// ErrPersonNotFound, ErrSpaceUnknown, ErrSpaceMismatch, ErrTemplateLength, ErrTemplateNotFinite,
// ErrTemplateZeroNorm, ErrPolicy, ErrClosed, ctx's.
func (e *Engine) Verify(ctx context.Context, tenant, gallery, id string, probe Template, policy Policy) (Decision, error) {
	if _, err := e.enterPerson(ctx, tenant, gallery, id); err != nil {
		return Decision{}, err
	}
	defer e.leave()
	g, err := e.searchable(tenant, gallery)
	if err != nil {
		return Decision{}, err
	}
	if err := policy.Validate(); err != nil {
		return Decision{}, err
	}
	q, err := g.probe(probe)
	if err != nil {
		return Decision{}, err
	}
	dot, err := g.bestDot(id, q)
	if err != nil {
		return Decision{}, err
	}
	return decide(g.space.Calibration, cosineOf(dot), policy.or(g.record.Policy.policy(), Policy{FMR: new(defaultVerifyFMR)})), nil
}

// bestDot holds mu so that the rows stay this person's.
func (g *gallery) bestDot(id string, q []float32) (float32, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	m := g.mu.people[id]
	if m == nil {
		return 0, errPersonNotFound
	}
	return g.bestDotLocked(m, q)
}

func (g *gallery) bestDotLocked(m *member, q []float32) (float32, error) {
	best := float32(math.Inf(-1))
	for _, row := range m.rows {
		dot, err := g.index.Dot(row, q)
		if err != nil {
			return 0, err
		}
		best = max(best, dot)
	}
	return best, nil
}

func decide(c Calibration, cosine float64, p Policy) Decision {
	threshold := p.threshold(c, 1)
	return Decision{Match: cosine >= threshold, Similarity: c.Similarity(cosine), Cosine: cosine, FMR: c.FMR(cosine),
		Extrapolated: c.Extrapolated(cosine), Threshold: threshold}
}

// Compare decides whether two templates of one configured space are of one person. The policy is as Verify's,
// without a gallery's. Errors: ErrSpaceUnknown, ErrSpaceMismatch, ErrTemplateLength, ErrTemplateNotFinite,
// ErrTemplateZeroNorm, ErrPolicy, ErrClosed, ctx's.
func (e *Engine) Compare(ctx context.Context, source, target Template, policy Policy) (Decision, error) {
	if err := e.enter(ctx); err != nil {
		return Decision{}, err
	}
	defer e.leave()
	if err := policy.Validate(); err != nil {
		return Decision{}, err
	}
	if source.Space != target.Space {
		return Decision{}, &SpaceMismatchError{Want: source.Space, Got: target.Space, Against: "source"}
	}
	space, err := e.Space(cmp.Or(source.Space, "?"))
	if err != nil {
		return Decision{}, err
	}
	a, err := unitVector(space, source.Vector)
	if err != nil {
		return Decision{}, err
	}
	b, err := unitVector(space, target.Vector)
	if err != nil {
		return Decision{}, err
	}
	dot := 0.0
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
	}
	return decide(space.Calibration, cosineOf(float32(dot)), policy.or(Policy{FMR: new(defaultVerifyFMR)})), nil
}

// Identify searches a gallery for who the probe is of. The policy is the call's, else the gallery's, else FPIR
// 1e-2 at the gallery's size. The search is exact and sees every write acknowledged before it began; the
// candidates are those of one moment between its begin and its end, however many people change meanwhile, and
// the size that decides threshold and FPIR is the gallery's when the search began. Errors: ErrID, ErrGalleryNotFound, ErrSpaceUnknown, ErrSpaceMismatch, ErrTemplateLength, ErrTemplateNotFinite,
// ErrTemplateZeroNorm, ErrPolicy, ErrLimit, ErrClosed, ctx's.
func (e *Engine) Identify(ctx context.Context, tenant, name string, probe Template, o IdentifyOptions) (Candidates, error) {
	return e.identify(ctx, tenant, name, probe, o, func(g *gallery) Policy {
		return o.Policy.or(g.record.Policy.policy(), Policy{FPIR: new(defaultIdentifyFPIR)})
	})
}

// Duplicates is Identify for a probe whose person should not be there: the policy is the call's, else FPIR
// 1e-3. The gallery's policy, which is meant for mates, is not used.
func (e *Engine) Duplicates(ctx context.Context, tenant, name string, probe Template, o IdentifyOptions) (Candidates, error) {
	return e.identify(ctx, tenant, name, probe, o, func(*gallery) Policy {
		return o.Policy.or(Policy{FPIR: new(defaultDuplicatesFPIR)})
	})
}

func (e *Engine) identify(ctx context.Context, tenant, name string, probe Template, o IdentifyOptions, policy func(*gallery) Policy) (Candidates, error) {
	if err := e.enter(ctx); err != nil {
		return Candidates{}, err
	}
	defer e.leave()
	g, err := e.searchable(tenant, name)
	if err != nil {
		return Candidates{}, err
	}
	if o.TopK < 0 || o.TopK > MaxTopK {
		return Candidates{}, refuse(ErrLimit, "top_k is %d: it must be from 1 to %d", o.TopK, MaxTopK)
	}
	if err := o.Policy.Validate(); err != nil {
		return Candidates{}, err
	}
	q, err := g.probe(probe)
	if err != nil {
		return Candidates{}, err
	}
	r, err := g.search(ctx, q, cmp.Or(o.TopK, DefaultTopK), policy(g))
	if err != nil {
		return Candidates{}, err
	}
	return Candidates{Candidates: r.found.calibrated(g.space.Calibration, r.n), Threshold: r.threshold, Searched: r.n}, nil
}

// ranked are candidates with their cosines only, best first, ties by id.
type ranked []Candidate

// searched is what a search found, and what it was measured by.
type searched struct {
	found     ranked
	n         int // templates when it began
	threshold float64
}

const (
	// maxTies bounds how far search looks for equals of the last candidate: beyond that many identical
	// templates, which of them are listed is by label, that is, by age.
	maxTies = 1024
	// maxSpoilt is how many searches changes may spoil before one is made without changes.
	maxSpoilt = 3
)

// search finds the topK best people at or above the policy's threshold. The index breaks ties by label; people
// are ordered by id, so while the last place is tied it asks for more.
//
// Changes may spoil a search: there are more than are remembered, or they took so many hits that the topK-th
// candidate may be beyond the last hit. Then it searches again, after maxSpoilt times holding mu: what is
// durable meanwhile waits for that search before it is in memory and acknowledged, in every gallery, for one
// goroutine changes memory (W3), and so do searches that begin behind such a write. It takes 4,096 changes of
// one gallery within one search, four times in a row, to come to that; the alternative is a search that a
// steady stream of writes can starve.
func (g *gallery) search(ctx context.Context, q []float32, topK int, p Policy) (searched, error) {
	k, spoilt := topK+1, 0
	for {
		r, s, err := g.searchOnce(ctx, q, topK, k, p, spoilt >= maxSpoilt)
		if err != nil || s == settled {
			return r, err
		}
		if s == overrun || s == short {
			spoilt++
		}
		if s == tied || s == short {
			k *= 2
		}
	}
}

// state is how far a search can be relied on.
type state int

const (
	settled state = iota
	tied          // the last place is tied with people beyond the hits
	short         // changes took so many hits that people beyond them may have a place
	overrun       // who changed is not known
)

// searchOnce searches for k labels and ranks the people as they are afterwards.
func (g *gallery) searchOnce(ctx context.Context, q []float32, topK, k int, p Policy, hold bool) (searched, state, error) {
	g.mu.RLock()
	from, n := g.mu.changes.count, g.mu.templates
	if hold {
		defer g.mu.RUnlock()
	} else {
		g.mu.RUnlock()
	}
	r := searched{n: n, threshold: p.threshold(g.space.Calibration, n)}
	hits, err := g.index.SearchInto(ctx, make([]index.Hit, 0, k), q, k, floorFloat32(r.threshold))
	if err != nil {
		return r, settled, err
	}
	if !hold {
		g.mu.RLock()
		defer g.mu.RUnlock()
	}
	changed, known := g.mu.changes.since(from)
	if !known {
		return r, overrun, nil
	}
	if r.found, err = g.rankLocked(hits, changed, q, r.threshold); err != nil {
		return r, settled, err
	}
	s := r.found.stateOf(hits, topK, k, r.threshold)
	if s == tied && len(changed) > 0 {
		s = short
	}
	r.found = r.found[:min(len(r.found), topK)]
	return r, s, nil
}

// rankLocked names the hits, taking those that changed since the search began, and may have been seen half or not
// at all, from their rows of now. That takes some 0.5 µs a row at dim 512 (measured), so 16 ms if 4,096 people of
// 8 templates changed.
func (g *gallery) rankLocked(hits []index.Hit, changed []uint32, q []float32, threshold float64) (ranked, error) {
	found := make(ranked, 0, len(hits))
	add := func(label uint32, dot float32) {
		if cosine := cosineOf(dot); cosine >= threshold {
			found = append(found, Candidate{Person: g.mu.ids[label], Cosine: cosine})
		}
	}
	for _, h := range hits {
		if _, again := slices.BinarySearch(changed, h.Label); !again {
			add(h.Label, h.Score)
		}
	}
	for _, label := range changed {
		m := g.mu.people[g.mu.ids[label]]
		if m == nil {
			continue // deleted
		}
		dot, err := g.bestDotLocked(m, q)
		if err != nil {
			return nil, err
		}
		add(label, dot)
	}
	slices.SortFunc(found, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Person, b.Person))
	})
	return found, nil
}

// stateOf tells whether the first topK may lack somebody who is not among the k hits that were asked for: such
// people, if they did not change, are at most as near as the last hit.
func (r ranked) stateOf(hits []index.Hit, topK, k int, threshold float64) state {
	if len(hits) < k {
		return settled // there is nobody else
	}
	beyond := cosineOf(hits[k-1].Score)
	if beyond < threshold {
		return settled
	}
	if len(r) >= topK && (r[topK-1].Cosine > beyond || r[topK-1].Cosine == beyond && k > maxTies) {
		return settled
	}
	return tied
}

// floorFloat32 is the largest float32 that is not above x, less the room that cosineOf gives to rounding near 1
// and −1, so that the index drops nobody whom the threshold lets through.
func floorFloat32(x float64) float32 {
	if x <= -1 {
		return float32(math.Inf(-1))
	}
	f := float32(min(x, 1-1e-6))
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

func (r ranked) calibrated(c Calibration, n int) []Candidate {
	for i := range r {
		x := &r[i]
		x.Similarity, x.FMR = c.Similarity(x.Cosine), c.FMR(x.Cosine)
		x.FPIR, x.Extrapolated = fpirOf(x.FMR, n), c.Extrapolated(x.Cosine)
	}
	return r
}
