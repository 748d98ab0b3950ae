package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"mien/index"
)

// DuplicateCheck says what becomes of an enrolment whose face is another person's of the gallery already.
type DuplicateCheck string

// The duplicate checks, from the loosest to the strictest.
const (
	DuplicatesOff    DuplicateCheck = "off"    // nobody looks
	DuplicatesWarn   DuplicateCheck = "warn"   // who is alike is named, and the person enrolled
	DuplicatesReject DuplicateCheck = "reject" // who is alike is named, and nothing changes: ErrDuplicate
)

var duplicateChecks = []DuplicateCheck{DuplicatesOff, DuplicatesWarn, DuplicatesReject}

// Validate reports whether it is one of the above, or "", which says nothing. Errors: ErrDuplicateCheck.
func (d DuplicateCheck) Validate() error {
	if d == "" || slices.Contains(duplicateChecks, d) {
		return nil
	}
	return refuse(ErrDuplicateCheck, "duplicates %q is unknown: use %q, %q or %q", string(d), DuplicatesReject, DuplicatesWarn, DuplicatesOff)
}

// in is the check of a call in a gallery: as with gates, a call may ask for more than its gallery, and for less only if it
// overrules (D5).
func (d DuplicateCheck) in(gallery DuplicateCheck, overrule bool) DuplicateCheck {
	strictness := func(d DuplicateCheck) int { return slices.Index(duplicateChecks, d) } // −1 for ""
	if d != "" && (overrule || strictness(d) > strictness(gallery)) {
		return d
	}
	return cmp.Or(gallery, DuplicatesOff)
}

const (
	// maxNamed is how many people a duplicate check names at most, the most alike.
	maxNamed = 10
	// duplicatesEF is how hard a check looks in a graph: four times the default, for nobody waits for an enrolment as for a
	// search, and what it misses stays.
	duplicatesEF = 512
	// maxRecentVectors bounds what recentWrites keeps beyond what is not in memory: 8 MiB at dim 512, for as long as checks
	// run. A check takes milliseconds, in which a store writes tens.
	maxRecentVectors = 4096
)

// errStale says that what a check found before the turn can't be completed in it. No client sees it: the check is made again.
var errStale = errors.New("engine: a duplicate check is stale")

// recentWrites are those writes of a gallery that a search may not see, in commit order (doc.go, D2): what is handed over and
// not in memory yet and, while checks run, what has come into memory since the first of them began. The zero value is empty.
// Safe for concurrent use.
type recentWrites struct {
	sync.Mutex
	writes     []recentWrite
	remembered int    // of writes, the first: they are in memory
	vectors    int    // of writes
	handed     uint64 // sequence number of the last write that was handed over
	last       uint64 // that of the last one that is in memory
	forgotten  uint64 // that of the last one that was dropped while somebody might have asked for it
	checks     int    // that run
}

// recentWrite is what a write did to a person's templates, if anything: it may have changed what filters go by.
type recentWrite struct {
	seq     uint64
	person  string
	clears  bool // those that were there are gone
	vectors [][]float32
}

// begin returns the sequence number that since is to be asked from. The caller calls end.
func (r *recentWrites) begin() (mark uint64) {
	r.Lock()
	defer r.Unlock()
	r.checks++
	return r.last
}

func (r *recentWrites) end() {
	r.Lock()
	defer r.Unlock()
	if r.checks--; r.checks == 0 {
		r.dropLocked()
	}
}

// add notes writes that are handed over as one. REQUIRES: the turn.
func (r *recentWrites) add(all ...recentWrite) {
	r.Lock()
	defer r.Unlock()
	r.writes = append(r.writes, all...)
	for _, w := range all {
		r.vectors += len(w.vectors)
		r.handed = w.seq
	}
}

// handedOver is the sequence number of the last write that was handed over, 0 if there was none. REQUIRES: the turn.
func (r *recentWrites) handedOver() uint64 {
	r.Lock()
	defer r.Unlock()
	return r.handed
}

// inMemory is the sequence number of the last write that is in memory.
func (r *recentWrites) inMemory() uint64 {
	r.Lock()
	defer r.Unlock()
	return r.last
}

// remember notes that the next write is in memory, where a search that begins from now on finds it.
func (r *recentWrites) remember(seq uint64) {
	r.Lock()
	defer r.Unlock()
	r.remembered++
	r.last = seq
	switch {
	case r.checks == 0:
		r.dropLocked()
	case r.vectors > maxRecentVectors:
		r.dropLocked()
		r.forgotten = seq
	}
}

// rememberBlock notes that the next n writes, of one sequence number, are in memory, and drops them: their vectors are used again.
func (r *recentWrites) rememberBlock(n int, seq uint64) {
	r.Lock()
	defer r.Unlock()
	r.remembered += n
	r.last = seq
	r.dropLocked()
	if r.checks > 0 {
		r.forgotten = seq
	}
}

// dropLocked drops what is in memory.
func (r *recentWrites) dropLocked() {
	for _, w := range r.writes[:r.remembered] {
		r.vectors -= len(w.vectors)
	}
	clear(r.writes[:r.remembered])
	r.writes = r.writes[r.remembered:]
	if r.remembered = 0; len(r.writes) == 0 {
		r.writes = nil
	}
}

// since calls f with each write after the mark, in commit order, while it holds the lock. Errors: errStale, if not all are known.
func (r *recentWrites) since(mark uint64, f func(recentWrite)) error {
	r.Lock()
	defer r.Unlock()
	if mark < r.forgotten {
		return errStale
	}
	for _, w := range r.writes {
		if w.seq > mark {
			f(w)
		}
	}
	return nil
}

// enrolChecks are those of one try of an enrolment: of the gallery and, of one that is being moved, of its successor.
type enrolChecks struct {
	kind DuplicateCheck
	all  []*galleryCheck
}

// galleryCheck compares new templates with everybody else's of a gallery: by a search before the store's turn, and in the turn
// with what was written since the search began.
type galleryCheck struct {
	g         *gallery
	probes    [][]float32
	mark      uint64
	n         int // templates when the search began
	threshold float64
	found     map[string]float64 // best cosines of people at or above the threshold, the person's own included
	more      bool               // there may be more of them
}

// begin searches for who is alike in the galleries that an enrolment writes to. The caller calls end, whatever it returns.
func (c *enrolChecks) begin(ctx context.Context, e *Engine, g enrolment, o EnrolOptions, own, next []Template) error {
	if err := o.Duplicates.Validate(); err != nil {
		return err
	}
	if c.kind = o.Duplicates.in(g.rules.Load().duplicates, o.Overrule); c.kind == DuplicatesOff {
		return nil
	}
	for _, side := range []struct {
		g         *gallery
		templates []Template
	}{{g.gallery, own}, {g.next, next}} {
		if len(side.templates) == 0 {
			continue
		}
		check := &galleryCheck{g: side.g}
		for _, t := range side.templates {
			check.probes = append(check.probes, t.Vector)
		}
		check.mark = side.g.recent.begin()
		c.all = append(c.all, check)
		err := e.reading(ctx, side.g, func() error { return check.search(ctx) })
		if errors.Is(err, ErrGalleryNotFound) {
			return errMoved // or deleted, which who tries again finds out
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *enrolChecks) end() {
	for _, check := range c.all {
		check.g.recent.end()
	}
}

// search may run again after a repair of the index.
func (c *galleryCheck) search(ctx context.Context) error {
	c.found, c.more = map[string]float64{}, false
	for i, q := range c.probes {
		r, err := c.g.search(ctx, q, maxNamed+1, index.Options{EF: duplicatesEF}, c.g.duplicatePolicy(), everybody)
		if err != nil {
			return err
		}
		if i == 0 {
			c.n, c.threshold = r.n, r.threshold
		}
		c.more = c.more || len(r.found) > maxNamed
		for _, f := range r.found {
			c.note(f.Person, f.Cosine)
		}
	}
	return nil
}

func (c *galleryCheck) note(person string, cosine float64) {
	if have, ok := c.found[person]; !ok || cosine > have {
		c.found[person] = cosine
	}
}

// complete makes of what was found before what is so in the turn, and returns who is alike but the person. Errors: errStale.
// REQUIRES: the turn.
func (c *galleryCheck) complete(person string) (map[string]float64, error) {
	gone := false
	err := c.g.recent.since(c.mark, func(w recentWrite) {
		if _, ok := c.found[w.person]; ok && w.clears && w.person != person {
			delete(c.found, w.person)
			gone = true
		}
		for _, v := range w.vectors {
			for _, q := range c.probes {
				if cosine := cosineOf(dot(q, v)); cosine >= c.threshold {
					c.note(w.person, cosine)
				}
			}
		}
	})
	if err == nil && gone && c.more {
		err = errStale // somebody may take the place
	}
	delete(c.found, person)
	return c.found, err
}

// dot is that of two vectors of one length. Four sums, for the additions to overlap.
func dot(a, b []float32) float32 {
	var s [4]float32
	b = b[:len(a)]
	for len(a) >= 4 {
		s[0] += a[0] * b[0]
		s[1] += a[1] * b[1]
		s[2] += a[2] * b[2]
		s[3] += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s[0] += a[i] * b[i]
	}
	return s[0] + s[1] + s[2] + s[3]
}

// complete returns whom the enrolment of a person duplicates, best first. Errors: errStale; DuplicateError, if the check
// rejects them. REQUIRES: the turn.
func (c *enrolChecks) complete(person string) ([]Candidate, error) {
	all := map[string]Candidate{}
	for _, check := range c.all {
		found, err := check.complete(person)
		if err != nil {
			return nil, err
		}
		for _, x := range check.candidates(found) {
			if have, ok := all[x.Person]; !ok || x.FMR < have.FMR {
				all[x.Person] = x
			}
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	named := slices.SortedFunc(maps.Values(all), func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.FMR, b.FMR), cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Person, b.Person))
	})
	named = named[:min(len(named), maxNamed)]
	if c.kind == DuplicatesReject {
		return nil, &DuplicateError{named}
	}
	return named, nil
}

func (c *galleryCheck) candidates(found map[string]float64) []Candidate {
	r := make(ranked, 0, len(found))
	c.g.mu.RLock()
	for id, cosine := range found {
		m := c.g.mu.people[id] // nil of who is not in memory yet, and so new and active
		r = append(r, Candidate{Person: id, Cosine: cosine, Status: statusOf(m != nil && m.suspended)})
	}
	c.g.mu.RUnlock()
	return r.calibrated(c.g.space.Calibration, c.n)
}

// duplicatePolicy is the gallery's, else FPIR 1e-3 at its size.
func (g *gallery) duplicatePolicy() Policy {
	return g.rules.Load().duplicatePolicy.or(Policy{FPIR: new(defaultDuplicatesFPIR)})
}
