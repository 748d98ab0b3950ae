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
	return decide(g.space.Calibration, cosineOf(dot), policy.or(g.record.Policy, Policy{FMR: new(defaultVerifyFMR)})), nil
}

// bestDot holds mu so that the rows stay this person's.
func (g *gallery) bestDot(id string, q []float32) (float32, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	m := g.mu.people[id]
	if m == nil {
		return 0, errPersonNotFound
	}
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
	return Decision{Match: cosine >= threshold, Similarity: c.Similarity(cosine), Cosine: cosine, FMR: c.FMR(cosine), Threshold: threshold}
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
// 1e-2 at the gallery's size. The search is exact and sees every write acknowledged before it began. Errors:
// ErrID, ErrGalleryNotFound, ErrSpaceUnknown, ErrSpaceMismatch, ErrTemplateLength, ErrTemplateNotFinite,
// ErrTemplateZeroNorm, ErrPolicy, ErrLimit, ErrClosed, ctx's.
func (e *Engine) Identify(ctx context.Context, tenant, name string, probe Template, o IdentifyOptions) (Candidates, error) {
	return e.identify(ctx, tenant, name, probe, o, func(g *gallery) Policy {
		return o.Policy.or(g.record.Policy, Policy{FPIR: new(defaultIdentifyFPIR)})
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
	n := g.index.Rows()
	threshold := policy(g).threshold(g.space.Calibration, n)
	found, err := g.search(ctx, q, cmp.Or(o.TopK, DefaultTopK), threshold)
	if err != nil {
		return Candidates{}, err
	}
	return Candidates{Candidates: found.calibrated(g.space.Calibration, n), Threshold: threshold, Searched: n}, nil
}

// ranked are candidates with their cosines only, best first, ties by id.
type ranked []Candidate

// maxTies bounds how far search looks for equals of the last candidate: beyond that many identical templates,
// which of them are listed is by label, that is, by age.
const maxTies = 1024

// search finds the topK best people at or above the threshold. The index breaks ties by label; people are
// ordered by id, so while the last place is tied it asks for more.
func (g *gallery) search(ctx context.Context, q []float32, topK int, threshold float64) (ranked, error) {
	for k := topK + 1; ; k *= 2 {
		hits, err := g.index.SearchInto(ctx, make([]index.Hit, 0, k), q, k, floorFloat32(threshold))
		if err != nil {
			return nil, err
		}
		tied := len(hits) == k && cosineOf(hits[k-1].Score) == cosineOf(hits[topK-1].Score)
		if tied && k <= maxTies {
			continue
		}
		found := g.named(hits, threshold)
		return found[:min(len(found), topK)], nil
	}
}

// floorFloat32 is the largest float32 that is not above x, less the room that cosineOf gives to rounding near 1,
// so that the index drops nobody whom the threshold lets through.
func floorFloat32(x float64) float32 {
	f := float32(min(x, 1-1e-6))
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

// named turns labels into people, leaving out who was deleted since.
func (g *gallery) named(hits []index.Hit, threshold float64) ranked {
	g.mu.RLock()
	defer g.mu.RUnlock()
	found := make(ranked, 0, len(hits))
	for _, h := range hits {
		id, cosine := g.mu.ids[h.Label], cosineOf(h.Score)
		if id != "" && cosine >= threshold {
			found = append(found, Candidate{Person: id, Cosine: cosine})
		}
	}
	slices.SortFunc(found, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Person, b.Person))
	})
	return found
}

func (r ranked) calibrated(c Calibration, n int) []Candidate {
	for i := range r {
		x := &r[i]
		x.Similarity, x.FMR = c.Similarity(x.Cosine), c.FMR(x.Cosine)
		x.FPIR = fpirOf(x.FMR, n)
	}
	return r
}
