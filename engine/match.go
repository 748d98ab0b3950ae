package engine

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"mien/index"
)

// Verify decides whether the probe is of this person, by the best of the person's templates. The policy is
// the call's, else the gallery's, else FMR 1e-4. Its rates are the person's: of a comparison with all n templates, whose best score
// is up to n times as often a stranger's as one score is (doc.go, People). Errors: ErrID, ErrGalleryNotFound,
// ErrPersonNotFound, ErrSuspended, ErrSpaceUnknown, ErrSpaceMismatch, ErrTemplateLength, ErrTemplateNotFinite,
// ErrTemplateZeroNorm, ErrPolicy, ErrGate, ErrQuality and ErrUnjudged (of the gallery's gate for probes),
// ErrAttempts (Config.Attempts), ErrStorageFailed (see ErrStorageFailed), ErrClosed, ctx's.
func (e *Engine) Verify(ctx context.Context, tenant, name, id string, probe Template, policy Policy) (Decision, error) {
	if err := e.enterPerson(ctx, tenant, name, id); err != nil {
		return Decision{}, err
	}
	defer e.leave()
	if err := policy.Validate(); err != nil {
		return Decision{}, err
	}
	return inGallery(e, tenant, name, func(g *gallery) (Decision, error) { return e.verify(ctx, g, id, probe, policy) })
}

// probes are unit vectors for as long as a comparison of two templates takes.
var probes = sync.Pool{New: func() any { return new([]float32) }}

func (e *Engine) verify(ctx context.Context, g *gallery, id string, probe Template, policy Policy) (Decision, error) {
	e.answering.Add(1)
	defer e.answering.Add(-1)
	scratch := probes.Get().(*[]float32)
	defer probes.Put(scratch)
	q, err := g.appendProbe((*scratch)[:0], probe)
	if err != nil {
		return Decision{}, err
	}
	*scratch = q
	defer clear(q)
	var dot float32
	var n int
	err = e.reading(ctx, g, func() (err error) {
		dot, n, err = g.bestDot(id, q)
		return err
	})
	if err != nil {
		return Decision{}, err
	}
	own := g.rules.Load().policy.or(verifyDefault)
	d := decide(g.space.Calibration, cosineOf(dot), n, policy.or(own))
	match := d.Match
	if !policy.IsZero() {
		// What fails is decided by the gallery's policy: by a call's, which may let everybody through, no question would.
		match = d.Cosine >= own.thresholdOfBest(g.space.Calibration, n)
	}
	if err := e.attempts.settle(subject{g.tenant, g.name, id}, match); err != nil {
		return Decision{}, err
	}
	policy = policy.or(own)
	return told(d, e.decided(ctx, d.entry(&auditEntry{tenant: g.tenant, op: AuditVerify, gallery: g.name, person: id}, policy)))
}

// told is what is told of a decision: nothing, if it could not be recorded.
func told[T any](v T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

// entry completes the record of a decision.
func (d Decision) entry(a *auditEntry, p Policy) *auditEntry {
	a.outcome, a.fmr, a.policy, a.threshold = AuditNoMatch, d.FMR, auditPolicyOf(p), d.Threshold
	if d.Match {
		a.outcome = AuditMatch
	}
	return a
}

// bestDot is the best of a person's n templates. It holds mu so that the rows stay this person's.
func (g *gallery) bestDot(id string, q []float32) (best float32, n int, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	m := g.mu.people[id]
	if m == nil || g.isDue(m.due) {
		return 0, 0, errPersonNotFound
	}
	if g.mu.behind != nil {
		return 0, 0, g.mu.behind
	}
	if m.suspended {
		return 0, 0, errSuspended
	}
	best, err = g.bestRowLocked(m, q)
	return best, len(m.rows), err
}

func (g *gallery) bestRowLocked(m *member, q []float32) (float32, error) {
	best := float32(math.Inf(-1))
	for _, row := range m.rows {
		dot, err := g.mu.index.Dot(row, q)
		if err != nil {
			return 0, err
		}
		best = max(best, dot)
	}
	return best, nil
}

// decide decides by the best of n comparisons.
func decide(c Calibration, cosine float64, n int, p Policy) Decision {
	threshold := p.thresholdOfBest(c, n)
	return Decision{Match: cosine >= threshold, Similarity: c.Similarity(cosine), Cosine: cosine, FMR: fmrOfBest(c.FMR(cosine), n),
		Extrapolated: c.Extrapolated(cosine), Threshold: threshold}
}

// Compare decides whether two templates of one configured space are of one person. The policy is as Verify's,
// without a gallery's; so is the gate. It is recorded in the log of the actor's tenant, if there is one. Errors: ErrSpaceUnknown, ErrSpaceMismatch, ErrTemplateLength, ErrTemplateNotFinite,
// ErrTemplateZeroNorm, ErrPolicy, ErrGate, ErrQuality (of Template 0, the source, or 1, the target), ErrUnjudged, ErrClosed,
// ctx's.
func (e *Engine) Compare(ctx context.Context, source, target Template, policy Policy) (Decision, error) {
	return e.CompareFor(ctx, "", "", source, target, policy)
}

// CompareFor is Compare where it is known whose templates they are, or are said to be: its record names gallery and person, which need
// not be there, as AuditRefusal does.
func (e *Engine) CompareFor(ctx context.Context, gallery, person string, source, target Template, policy Policy) (Decision, error) {
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
	for i, t := range []Template{source, target} {
		if err := Gate(nil).admit(t); err != nil {
			return Decision{}, atTemplate(err, i)
		}
	}
	dot := 0.0
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
	}
	policy = policy.or(verifyDefault)
	d := decide(space.Calibration, cosineOf(float32(dot)), 1, policy)
	entry := &auditEntry{tenant: actorOf(ctx).Tenant, op: AuditCompare}
	entry.nameIfFit(gallery, person)
	return told(d, e.decided(ctx, d.entry(entry, policy)))
}

// Identify searches a gallery for who the probe is of. The policy is the call's, else the gallery's, else FPIR
// 1e-2 at the gallery's size. The search sees every write acknowledged before it began; the candidates are those
// of one moment between its begin and its end (doc.go, S1), their cosines are of float32 vectors, and the size that
// decides threshold and FPIR is the gallery's when the search began. What a search may miss says IdentifyOptions.
// Errors: ErrID, ErrGalleryNotFound, ErrSpaceUnknown, ErrSpaceMismatch, ErrTemplateLength, ErrTemplateNotFinite,
// ErrTemplateZeroNorm, ErrPolicy, ErrLimit, ErrGate, ErrQuality and ErrUnjudged (of the gallery's gate for probes),
// ErrStorageFailed (see ErrStorageFailed), ErrClosed, ctx's.
func (e *Engine) Identify(ctx context.Context, tenant, name string, probe Template, o IdentifyOptions) (Candidates, error) {
	o.Filter.Status = cmp.Or(o.Filter.Status, StatusActive)
	return e.identify(ctx, AuditIdentify, tenant, name, probe, o, func(g *gallery) Policy {
		return o.Policy.or(g.rules.Load().policy, Policy{FPIR: new(defaultIdentifyFPIR)})
	})
}

// Duplicates is Identify for a probe whose person should not be there: the policy is the call's, else the gallery's for
// duplicates, else FPIR 1e-3. The gallery's other policy, which is meant for mates, is not used.
func (e *Engine) Duplicates(ctx context.Context, tenant, name string, probe Template, o IdentifyOptions) (Candidates, error) {
	o.Filter.Status = cmp.Or(o.Filter.Status, StatusAny)
	return e.identify(ctx, AuditDuplicates, tenant, name, probe, o, func(g *gallery) Policy { return o.Policy.or(g.duplicatePolicy()) })
}

func (e *Engine) identify(ctx context.Context, op, tenant, name string, probe Template, o IdentifyOptions, policy func(*gallery) Policy) (Candidates, error) {
	if err := e.enter(ctx); err != nil {
		return Candidates{}, err
	}
	defer e.leave()
	if _, err := e.gallery(tenant, name); err != nil {
		return Candidates{}, err
	}
	if o.TopK < 0 || o.TopK > MaxTopK {
		return Candidates{}, refuse(ErrLimit, "top_k is %d: it must be from 1 to %d", o.TopK, MaxTopK)
	}
	if o.EF < 0 || o.EF > MaxEF {
		return Candidates{}, refuse(ErrLimit, "ef is %d: it must be from 1 to %d", o.EF, MaxEF)
	}
	if err := o.Policy.Validate(); err != nil {
		return Candidates{}, err
	}
	return inGallery(e, tenant, name, func(g *gallery) (Candidates, error) { return e.identifyIn(ctx, op, g, probe, o, policy) })
}

func (e *Engine) identifyIn(ctx context.Context, op string, g *gallery, probe Template, o IdentifyOptions, policy func(*gallery) Policy) (Candidates, error) {
	e.answering.Add(1)
	defer e.answering.Add(-1)
	q, err := g.appendProbe(nil, probe)
	if err != nil {
		return Candidates{}, err
	}
	w, err := g.who(o.Filter)
	if err != nil {
		return Candidates{}, err
	}
	topK, decides, masked := cmp.Or(o.TopK, DefaultTopK), policy(g), false
	var r searched
	err = e.reading(ctx, g, func() (err error) {
		search := g.search
		if masked = g.needsMask(w); masked {
			search = g.searchMasked
		}
		r, err = search(ctx, q, topK, index.Options{Exact: o.Exact, EF: o.EF}, decides, w)
		return err
	})
	if err != nil {
		return Candidates{}, err
	}
	if !masked { // or its rows may be others' by now
		e.offer(sample{g, q, topK, index.Options{K: topK + 1, Threshold: floorFloat32(r.threshold), Exact: o.Exact, EF: o.EF}, r.threshold})
	}
	c := Candidates{Candidates: r.found.calibrated(g.space.Calibration, r.n), Threshold: r.threshold, Searched: r.n}
	return told(c, e.decided(ctx, c.entry(&auditEntry{tenant: g.tenant, op: op, gallery: g.name}, decides)))
}

// entry completes the record of a search.
func (c Candidates) entry(a *auditEntry, p Policy) *auditEntry {
	a.outcome, a.fmr, a.policy, a.threshold = AuditNoMatch, 1, auditPolicyOf(p), c.Threshold
	a.searched, a.candidates = true, len(c.Candidates)
	if a.candidates > 0 {
		a.outcome, a.fmr = AuditMatch, c.Candidates[0].FMR
		a.found = make([]string, min(a.candidates, maxAuditFound))
	}
	for i := range a.found {
		a.found[i] = c.Candidates[i].Person
	}
	return a
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
	// templates, which of them are listed is by label, that is, mostly by age.
	maxTies = 1024
	// maxSpoilt is how many searches deletions may spoil before one leaves out who was deleted.
	maxSpoilt = 3
)

// search finds the topK best people of w at or above the policy's threshold, with o's Exact and EF. REQUIRES: w needs no mask. The index breaks ties by label; people
// are ordered by id, so while the last place is tied it asks for more.
//
// The index answers with labels as of one moment. Who was deleted between that moment and the naming has no name
// any more, and such a search is made again: it takes somebody who would be listed, deleted within the
// microseconds or milliseconds of one search. A client that deletes such people without end could do that for
// ever; so after maxSpoilt searches who was deleted is left out. That is no wrong answer about anybody: everyone
// else is listed as of the one moment, nobody of that moment is missing who was still there at the end, because
// the list is then filled from beyond (stateOf), and a person whose deletion is durable is not shown. What it
// lacks is one moment at which exactly these were there: somebody enrolled just before such a deletion may be
// missing from a list that the deleted is missing from too. To keep the names of the deleted until nobody searches
// would mend that, at the price of holding personal data that was deleted.
func (g *gallery) search(ctx context.Context, q []float32, topK int, o index.Options, p Policy, w who) (searched, error) {
	o.K = topK + 1
	spoilings := 0
	for {
		r, s, err := g.searchOnce(ctx, q, topK, o, p, w, spoilings >= maxSpoilt)
		switch {
		case err != nil || s == settled:
			return r, err
		case s == spoilt:
			spoilings++
		case s == tied:
			o.K *= 2
		}
	}
}

// state is how far a search can be relied on.
type state int

const (
	settled state = iota
	tied          // the last place is tied with people beyond the hits
	spoilt        // somebody who was found is deleted
)

// searchOnce searches for o.K labels at or above the policy's threshold and names them.
func (g *gallery) searchOnce(ctx context.Context, q []float32, topK int, o index.Options, p Policy, w who, drop bool) (searched, state, error) {
	x, n, err := g.beginSearch()
	if err != nil {
		return searched{}, settled, err
	}
	r := searched{n: n, threshold: p.threshold(g.space.Calibration, n)}
	o.Threshold = floorFloat32(r.threshold)
	hits, err := x.SearchInto(ctx, make([]index.Hit, 0, o.K), q, o)
	if err != nil {
		return r, settled, err
	}
	var whole bool
	r.found, whole = g.named(hits, r.threshold, w)
	if !whole && !drop {
		return r, spoilt, nil
	}
	s := r.found.stateOf(hits, topK, o.K, r.threshold)
	r.found = r.found[:min(len(r.found), topK)]
	return r, s, nil
}

func (g *gallery) beginSearch() (x searcher, templates int, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.mu.index, g.mu.templates, g.mu.behind
}

// named turns hits into people, but for who is due; whole is false if some are deleted, or not w's by now, who are left out
// too.
func (g *gallery) named(hits []index.Hit, threshold float64, w who) (found ranked, whole bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	found, whole = make(ranked, 0, len(hits)), true
	for _, h := range hits {
		id, cosine := g.mu.ids[h.Label], cosineOf(h.Score)
		if id == "" || !w.has(g.mu.people[id].traits) {
			whole = false
		} else if cosine >= threshold && !g.isDue(g.mu.people[id].due) {
			found = append(found, Candidate{Person: id, Cosine: cosine, Status: statusOf(g.mu.people[id].suspended)})
		}
	}
	found.sort()
	return found, whole
}

func (r ranked) sort() {
	slices.SortFunc(r, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Person, b.Person))
	})
}

// stateOf tells whether the first topK may lack somebody who is not among the k hits that were asked for: such
// people are at most as near as the last hit.
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
