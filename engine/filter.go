package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"strings"

	"mien/index"
)

// Filter says who a search may list. The zero value is the operation's default.
type Filter struct {
	// Status is StatusActive, StatusSuspended or StatusAny; "" is StatusActive for Identify, StatusAny for Duplicates.
	Status Status
	// Metadata names values of top-level fields, which the gallery's spec must name as Filterable: a person passes whose
	// metadata has, in each of the fields, one of the values. A value is a string, a float64 or a bool; at most MaxFilterValues
	// of a field. Fields that hold an array, an object or null have no value.
	Metadata map[string][]any
}

// StatusAny is everybody, in a Filter.
const StatusAny Status = "any"

// fieldSeed is of the hashes of field values, so that nobody can make two values that are taken for one.
var fieldSeed = maphash.MakeSeed()

// hashOf is a value's, never 0, and 0 for what can't be filtered by. Numbers are equal if their float64 are.
func hashOf(v any) uint64 {
	var h maphash.Hash
	h.SetSeed(fieldSeed)
	switch v := v.(type) {
	case string:
		h.WriteByte('s')
		h.WriteString(v)
	case float64:
		h.WriteByte('n')
		maphash.WriteComparable(&h, v+0) // −0 is 0
	case bool:
		h.WriteByte('b')
		h.WriteByte(byte(bit(v)))
	default:
		return 0
	}
	return max(h.Sum64(), 1)
}

// traits are what searches go by of a person besides templates.
type traits struct {
	suspended bool
	values    []uint64 // hashes of the gallery's filterable fields, in their order; 0 is none. Not changed in place
}

func (g *gallery) traitsOf(r *personRecord) traits {
	t := traits{suspended: r.suspended}
	if len(g.record.Filterable) == 0 {
		return t
	}
	t.values = make([]uint64, len(g.record.Filterable))
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.metadata, &fields) != nil { // there is none
		return t
	}
	for i, name := range g.record.Filterable {
		var v any
		if json.Unmarshal(fields[name], &v) == nil {
			t.values[i] = hashOf(v)
		}
	}
	return t
}

// States of a row that is somebody's, as columns has them.
const (
	rowActive = iota
	rowSuspended
)

// columns are the traits of people by row of the index, for masks of rows. They are there if the gallery has filterable fields or
// suspended people. Protected by gallery.mu.
type columns struct {
	states [2][]uint64 // rows as bits, by state
	values [][]uint64  // by field; 64 for each word of states
}

func (c *columns) set(row uint32, t traits) {
	for int(row/64) >= len(c.states[0]) {
		for i := range c.states {
			c.states[i] = append(c.states[i], 0)
		}
		for i := range c.values {
			c.values[i] = append(c.values[i], make([]uint64, 64)...)
		}
	}
	c.free(row)
	c.states[bit(t.suspended)][row/64] |= 1 << (row % 64)
	for i, v := range t.values {
		c.values[i][row] = v
	}
}

func (c *columns) free(row uint32) {
	for i := range c.states {
		c.states[i][row/64] &^= 1 << (row % 64)
	}
}

// describeLocked makes t the traits of a person, whose rows are there.
func (g *gallery) describeLocked(m *member, t traits) {
	g.mu.suspended += int(bit(t.suspended)) - int(bit(m.suspended))
	m.traits = t
	if g.mu.columns == nil && (t.suspended || len(g.record.Filterable) > 0) {
		g.makeColumnsLocked()
	}
	g.placeLocked(m)
}

func (g *gallery) makeColumnsLocked() {
	g.mu.columns = &columns{values: make([][]uint64, len(g.record.Filterable))}
	for _, m := range g.mu.people {
		g.placeLocked(m)
	}
}

// placeLocked writes a person's traits to their rows.
func (g *gallery) placeLocked(m *member) {
	if g.mu.columns == nil {
		return
	}
	for _, row := range m.rows {
		g.mu.columns.set(row, m.traits)
	}
}

// freeLocked says that nobody has the rows any more.
func (g *gallery) freeLocked(rows []uint32) {
	if g.mu.columns == nil {
		return
	}
	for _, row := range rows {
		g.mu.columns.free(row)
	}
}

// who is whom a search may list.
type who struct {
	states [2]bool // by a row's state
	fields []fieldFilter
}

// fieldFilter is the hashes that pass in one of the filterable fields.
type fieldFilter struct {
	field  int
	hashes []uint64
}

var everybody = who{states: [2]bool{true, true}}

// who compiles a filter. Errors: ErrFilter.
func (g *gallery) who(f Filter) (who, error) {
	status := f.Status
	if err := status.validate(); err != nil && status != StatusAny {
		return who{}, refuse(ErrFilter, "the filter's status %q is unknown: use %q, %q or %q", string(status), StatusActive, StatusSuspended, StatusAny)
	}
	w := who{states: [2]bool{rowActive: status != StatusSuspended, rowSuspended: status != StatusActive}}
	for name, values := range f.Metadata {
		i := slices.Index(g.record.Filterable, name)
		if i < 0 {
			return who{}, refuse(ErrFilter, "the gallery has no filterable field of this name: it can be filtered by %s", cmp.Or(strings.Join(g.record.Filterable, ", "), "status alone, for it was made without \"filterable\""))
		}
		if len(values) < 1 || len(values) > MaxFilterValues {
			return who{}, refuse(ErrFilter, "the filter has %d values for a field: give 1 to %d", len(values), MaxFilterValues)
		}
		field := fieldFilter{field: i}
		for _, v := range values {
			h := hashOf(v)
			if f, ok := v.(float64); h == 0 || ok && math.IsNaN(f) {
				return who{}, refuse(ErrFilter, "a filter's values are strings, numbers and booleans")
			}
			field.hashes = append(field.hashes, h)
		}
		w.fields = append(w.fields, field)
	}
	return w, nil
}

func (w who) has(t traits) bool {
	if !w.states[bit(t.suspended)] {
		return false
	}
	for _, f := range w.fields {
		if !slices.Contains(f.hashes, t.values[f.field]) {
			return false
		}
	}
	return true
}

// needsMask reports whether a search must be told which rows it may list. Where nobody is suspended, active people are all.
func (g *gallery) needsMask(w who) bool {
	if len(w.fields) > 0 || !w.states[rowActive] {
		return true
	}
	if w.states[rowSuspended] {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.mu.suspended > 0
}

// mask is the rows that w may list, and how many they are.
func (c *columns) mask(w who) (*index.Bitmap, int) {
	b, n := new(index.Bitmap), 0
	if c == nil {
		return b, 0
	}
	for i := range c.states[0] {
		word := uint64(0)
		for state, rows := range c.states {
			if w.states[state] {
				word |= rows[i]
			}
		}
		for _, f := range w.fields {
			if word != 0 {
				word &= f.passes(c.values[f.field][64*i : 64*i+64])
			}
		}
		if word != 0 {
			b.SetWord(i, word)
			n += bits.OnesCount64(word)
		}
	}
	return b, n
}

// passes is which of 64 values pass, as bits.
func (f fieldFilter) passes(values []uint64) (word uint64) {
	for _, h := range f.hashes {
		for i, v := range values[:64] {
			word |= same(v, h) << (i & 63)
		}
	}
	return word
}

// same is 1 if a and b are equal, without a branch.
func same(a, b uint64) uint64 {
	x := a ^ b
	return 1 ^ (x|-x)>>63
}

// searchMasked is search among some of the people (doc.go, S3).
func (g *gallery) searchMasked(ctx context.Context, q []float32, topK int, o index.Options, p Policy, w who) (searched, error) {
	mark := g.recent.begin()
	defer func() { g.recent.end() }()
	o.K = topK + 1
	for {
		r, s, err := g.searchMaskedOnce(ctx, mark, q, topK, o, p, w)
		switch {
		case err != nil || s == settled:
			return r, err
		case s == tied:
			o.K *= 2
		case s == spoilt: // more was written than is kept
			g.recent.end()
			mark = g.recent.begin()
		}
	}
}

func (g *gallery) searchMaskedOnce(ctx context.Context, mark uint64, q []float32, topK int, o index.Options, p Policy, w who) (searched, state, error) {
	x, mask, n, err := g.beginMasked(w)
	r := searched{n: n}
	if err != nil {
		return r, settled, err
	}
	r.threshold = p.threshold(g.space.Calibration, n)
	o.Threshold, o.Filter = floorFloat32(r.threshold), mask
	hits, err := x.SearchInto(ctx, make([]index.Hit, 0, o.K), q, o)
	if err != nil {
		return r, settled, err
	}
	err = g.nameMasked(&r, mark, hits, q, w)
	if errors.Is(err, errStale) {
		return r, spoilt, nil
	}
	if err != nil {
		return r, settled, err
	}
	s := r.found.stateOf(hits, topK, o.K, r.threshold)
	r.found = r.found[:min(len(r.found), topK)]
	return r, s, nil
}

func (g *gallery) beginMasked(w who) (x searcher, mask *index.Bitmap, n int, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	mask, n = g.mu.columns.mask(w)
	return g.mu.index, mask, n, g.mu.behind
}

// nameMasked makes of the hits the people of this moment: those who were not written since the mark as the index found them, and
// those who were as they are now. Errors: errStale, if the latter are not all known; the index's.
func (g *gallery) nameMasked(r *searched, mark uint64, hits []index.Hit, q []float32, w who) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.mu.behind != nil {
		return g.mu.behind
	}
	changed := map[string]bool{}
	if err := g.recent.since(mark, func(w recentWrite) { changed[w.person] = true }); err != nil {
		return err
	}
	r.found = make(ranked, 0, len(hits))
	add := func(id string, m *member, dot float32) {
		if cosine := cosineOf(dot); cosine >= r.threshold && !g.isDue(m.due) {
			r.found = append(r.found, Candidate{Person: id, Cosine: cosine, Status: statusOf(m.suspended)})
		}
	}
	for _, h := range hits {
		if id := g.mu.ids[h.Label]; id != "" && !changed[id] {
			add(id, g.mu.people[id], h.Score)
		}
	}
	for id := range changed {
		m := g.mu.people[id]
		if m == nil || !w.has(m.traits) {
			continue
		}
		best, err := g.bestRowLocked(m, q)
		if err != nil {
			return err
		}
		add(id, m, best)
	}
	r.found.sort()
	return nil
}
