package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Kinds of findings.
const (
	// FindingMislabelled is a template that none of the person's others verifies, and that is as near to somebody else as an identification of
	// this gallery at FPIR 1e-2 asks for: a photo of the one person under the id of the other, likely.
	FindingMislabelled = "mislabelled"
	// FindingInconsistent is a template that none of the person's others verifies, and nobody else's is near to.
	FindingInconsistent = "inconsistent"
	// FindingLowQuality is a template of a photo whose unified score is below what the job asks for, such as a blurred one, and
	// that is neither of the others.
	FindingLowQuality = "low_quality"
)

// Pair is two people with templates at or above a job's threshold.
type Pair struct {
	Person     string  `json:"person"` // the smaller id
	Other      string  `json:"other"`
	Similarity float64 `json:"similarity"`
	Cosine     float64 `json:"cosine"` // of their nearest templates
	FMR        float64 `json:"fmr"`
	// Extrapolated says that similarity and fmr are beyond what the calibration's set could show.
	Extrapolated bool `json:"extrapolated,omitempty"`
}

// Finding is a reference that looks wrong.
type Finding struct {
	Kind     string `json:"kind"`
	Person   string `json:"person"`
	Template string `json:"template"` // id, unique within the person
	// Own is the cosine of the person's template that is nearest to this one; nil where there is no other.
	Own *float64 `json:"own_cosine,omitempty"`
	// Quality is the unified score of the template's photo, 0..100; nil where it was not judged.
	Quality *float64 `json:"quality,omitempty"`
	// Other is whom the template is nearest to otherwise, of FindingMislabelled.
	Other      string  `json:"other,omitempty"`
	Similarity float64 `json:"similarity,omitempty"`
	Cosine     float64 `json:"cosine,omitempty"`
	FMR        float64 `json:"fmr,omitempty"`
}

// resultRecord is the JSON under a result's key: a pair, or a finding. AAt and BAt are the people's next template numbers when they
// were compared: the result holds as long as they do (J3).
type resultRecord struct {
	Kind     string  `json:"kind"` // "pair" or a finding's
	A        string  `json:"a"`
	AAt      uint32  `json:"a_at"`
	B        string  `json:"b,omitempty"`
	BAt      uint32  `json:"b_at,omitempty"`
	Cosine   float64 `json:"cosine"`
	Template uint32  `json:"template,omitempty"`
	Own      float64 `json:"own,omitempty"`
	Quality  uint32  `json:"quality,omitempty"` // as in a templateRecord
}

const kindPair = "pair"

// resultKey is what there is one result of in a job.
type resultKey struct {
	pair     bool
	a, b     string // of a finding, b is ""
	template uint32
}

func (r *resultRecord) key() resultKey {
	if r.Kind == kindPair {
		return resultKey{pair: true, a: r.A, b: r.B}
	}
	return resultKey{a: r.A, template: r.Template}
}

// result is one in memory.
type result struct {
	resultRecord
	number uint32 // of its key in the store
}

// compareResults orders pairs, the nearest first, and then findings, by person.
func compareResults(x, y *result) int {
	if a, b := x.Kind == kindPair, y.Kind == kindPair; a != b {
		return boolOrder(a)
	} else if !a {
		return cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.Template, y.Template))
	}
	return cmp.Or(cmp.Compare(y.Cosine, x.Cosine), cmp.Compare(x.A, y.A), cmp.Compare(x.B, y.B))
}

func boolOrder(first bool) int {
	if first {
		return -1
	}
	return 1
}

// results are what a job has found.
type results struct {
	all                          map[resultKey]*result
	names                        map[string]int // how many results name a person
	next                         uint32         // the number of the next
	sorted                       []*result      // all of them, or nil if they changed
	pairs, findings, mislabelled int
	lowQuality                   int
}

func newResults() results {
	return results{all: make(map[resultKey]*result), names: make(map[string]int)}
}

func (r *results) count(x *result, n int) {
	r.sorted = nil
	for _, id := range []string{x.A, x.B} {
		if r.names[id] += n; r.names[id] == 0 {
			delete(r.names, id)
		}
	}
	switch x.Kind {
	case kindPair:
		r.pairs += n
	case FindingMislabelled:
		r.mislabelled += n
		r.findings += n
	case FindingLowQuality:
		r.lowQuality += n
		r.findings += n
	default:
		r.findings += n
	}
}

func (r *results) put(x *result) {
	if have := r.all[x.key()]; have != nil {
		r.count(have, -1)
	}
	r.all[x.key()] = x
	r.count(x, 1)
	r.next = max(r.next, x.number+1)
}

func (r *results) remove(x *result) {
	if r.all[x.key()] == x {
		delete(r.all, x.key())
		r.count(x, -1)
	}
}

// inOrder is all results by compareResults; not to be changed.
func (r *results) inOrder() []*result {
	if r.sorted == nil {
		r.sorted = make([]*result, 0, len(r.all))
		for _, x := range r.all {
			r.sorted = append(r.sorted, x)
		}
		slices.SortFunc(r.sorted, compareResults)
	}
	return r.sorted
}

// setResult stages a result, which is in memory once it is handed over.
func (x *job) setResult(t *tx, r *result) {
	t.set(resultKeyOf(x.g.record.Number, x.id, r.number), x.g.seal.seal(x.resultPlace(r.number), appendJSONRecord(r.resultRecord)))
	t.onHandOver = append(t.onHandOver, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.mu.put(r)
	})
}

func (x *job) deleteResult(t *tx, r *result) {
	t.delete(resultKeyOf(x.g.record.Number, x.id, r.number))
	t.onHandOver = append(t.onHandOver, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.mu.remove(r)
	})
}

func (x *job) resultPlace(number uint32) place {
	p := x.place()
	p.kind, p.number = kindJobResult, number
	return p
}

func (x *job) loadResult(number uint32, sealed []byte) error {
	plain, err := x.g.seal.open(nil, x.resultPlace(number), sealed)
	if err != nil {
		return err
	}
	r := &result{number: number}
	if err := parseJSONRecord(plain, &r.resultRecord); err != nil {
		return err
	}
	if x.mu.all[r.key()] != nil {
		return fmt.Errorf("%w: two results of one kind", ErrCorrupt)
	}
	x.mu.put(r)
	return nil
}

// dropResults stages the deletion of all results that name a person who is being deleted (J3).
func (g *gallery) dropResults(t *tx, id string) {
	for _, x := range g.jobs.ofGallery(g.record.Number) {
		for _, r := range x.resultsOf(id) {
			x.deleteResult(t, r)
		}
	}
}

// resultsOf returns the results that name a person. Few people are named by any.
func (x *job) resultsOf(id string) (all []*result) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.mu.names[id] == 0 {
		return nil
	}
	for _, r := range x.mu.all {
		if r.A == id || r.B == id {
			all = append(all, r)
		}
	}
	return all
}

// JobPairs returns up to limit of the pairs that a job has found, the nearest first, after the cursor's place, and the cursor of the
// next page, "" at the end; limit 0 is DefaultListLimit. Pairs of whom templates have changed since, or who are deleted, are not returned, so a
// page may have fewer than limit. While the job runs there may come more, before the cursor's place too. Errors: ErrJobNotFound, ErrLimit, ErrCursor, ErrStorageFailed,
// ErrCorrupt, ErrClosed, ctx's.
func (e *Engine) JobPairs(ctx context.Context, tenant, id string, limit int, cursor string) (pairs []Pair, next string, err error) {
	found, x, next, err := e.jobResults(ctx, tenant, id, limit, cursor, true)
	if err != nil {
		return nil, "", err
	}
	pairs = make([]Pair, len(found))
	for i, r := range found {
		pairs[i] = Pair{Person: r.A, Other: r.B, Cosine: r.Cosine, FMR: x.fmrAt(r.Cosine)}
		if s := x.g.space; s != nil {
			pairs[i].Similarity, pairs[i].Extrapolated = s.Calibration.Similarity(r.Cosine), s.Calibration.Extrapolated(r.Cosine)
		}
	}
	return pairs, next, nil
}

// JobFindings is JobPairs of the references that look wrong, by person.
func (e *Engine) JobFindings(ctx context.Context, tenant, id string, limit int, cursor string) (findings []Finding, next string, err error) {
	found, x, next, err := e.jobResults(ctx, tenant, id, limit, cursor, false)
	if err != nil {
		return nil, "", err
	}
	findings = make([]Finding, len(found))
	for i, r := range found {
		f := Finding{Kind: r.Kind, Person: r.A, Template: strconv.FormatUint(uint64(r.Template), 10), Other: r.B, Quality: scoreOf(r.Quality)}
		if r.Own <= 1 {
			f.Own = &r.Own
		}
		if s := x.g.space; s != nil && r.B != "" {
			f.Cosine, f.Similarity, f.FMR = r.Cosine, s.Calibration.Similarity(r.Cosine), x.fmrAt(r.Cosine)
		}
		findings[i] = f
	}
	return findings, next, nil
}

// jobResults returns some results of one sort that hold still, in order.
func (e *Engine) jobResults(ctx context.Context, tenant, id string, limit int, cursor string, pairs bool) (found []*result, x *job, next string, err error) {
	if x, err = e.enterJob(ctx, tenant, id); err != nil {
		return nil, nil, "", err
	}
	defer e.leave()
	limit = cmp.Or(limit, DefaultListLimit)
	if limit < 1 || limit > MaxListLimit {
		return nil, nil, "", refuse(ErrLimit, "limit is %d: it must be from 1 to %d", limit, MaxListLimit)
	}
	after, err := parseResultCursor(cursor, pairs)
	if err != nil {
		return nil, nil, "", err
	}
	// A page looks at so many results at most, however many of them hold no more.
	page, more := x.page(after, pairs, 4*limit)
	for i, r := range page {
		if len(found) == limit {
			page, more = page[:i], true
			break
		}
		holds, err := x.g.holdsResult(e.store, r)
		if err != nil {
			return nil, nil, "", err
		}
		if holds {
			found = append(found, r)
		}
	}
	if more {
		next = formatResultCursor(page[len(page)-1])
	}
	return found, x, next, e.store.settle(ctx, e.store.last.Load()) // W4
}

// page is up to n results of one sort after a place, nil for the first, and whether there are more.
func (x *job) page(after *result, pairs bool, n int) (page []*result, more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	all, most := x.mu.inOrder(), x.mu.record.MaxPairs
	from, to := x.mu.pairs, len(all)
	if pairs {
		from, to = 0, min(x.mu.pairs, most)
	}
	all = all[from:to]
	if after != nil {
		at, there := slices.BinarySearchFunc(all, after, compareResults)
		if there {
			at++
		}
		all = all[at:]
	}
	return slices.Clone(all[:min(n, len(all))]), len(all) > n
}

// holdsResult reports whether the people of a result have the templates that they had.
func (g *gallery) holdsResult(s *store, r *result) (bool, error) {
	for _, p := range []struct {
		id string
		at uint32
	}{{r.A, r.AAt}, {r.B, r.BAt}} {
		if p.id == "" {
			continue
		}
		have, err := g.readPerson(s, p.id)
		if err != nil || have == nil || have.next != p.at {
			return false, err
		}
	}
	return true, nil
}

// readPerson reads the record of a person as the store will have it, nil if there is none.
func (g *gallery) readPerson(s *store, id string) (*personRecord, error) {
	sealed, found, err := s.get(nil, personKey(g.record.Number, id))
	if err != nil || !found {
		return nil, err
	}
	return g.openPerson(id, sealed)
}

// A cursor of results has, after its version, whether it is of pairs, the cosine (float64, big-endian) and the ids of a pair with
// 0x00 between, or the person's id and 0x00 and the number of the template (u32).
func formatResultCursor(r *result) string {
	b := []byte{cursorVersion, byte(bit(r.Kind == kindPair))}
	if r.Kind == kindPair {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.Cosine))
		return base64.RawURLEncoding.EncodeToString(append(append(append(b, r.A...), 0), r.B...))
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(append(append(b, r.A...), 0), r.Template))
}

func parseResultCursor(cursor string, pairs bool) (*result, error) {
	if cursor == "" {
		return nil, nil
	}
	if len(cursor) <= base64.RawURLEncoding.EncodedLen(2+8+2*MaxIDBytes+1) {
		b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
		if err == nil && len(b) > 2 && b[0] == cursorVersion && b[1] == byte(bit(pairs)) {
			if r := parseResultPlace(b[2:], pairs); r != nil && formatResultCursor(r) == cursor {
				return r, nil
			}
		}
	}
	return nil, errCursor
}

// parseResultPlace is nil for what formatResultCursor can't have written.
func parseResultPlace(b []byte, pairs bool) *result {
	r := new(result)
	if pairs {
		if len(b) < 8 {
			return nil
		}
		r.Kind, r.Cosine = kindPair, math.Float64frombits(binary.BigEndian.Uint64(b))
		b = b[8:]
	}
	a, rest, ok := bytes.Cut(b, []byte{0})
	switch {
	case !ok || checkPersonID(string(a)) != nil || math.IsNaN(r.Cosine):
		return nil
	case pairs && checkPersonID(string(rest)) == nil:
		r.B = string(rest)
	case !pairs && len(rest) == 4:
		r.Kind, r.Template = FindingInconsistent, binary.BigEndian.Uint32(rest)
	default:
		return nil
	}
	r.A = string(a)
	return r
}
