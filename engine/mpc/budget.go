package mpc

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// Limit bounds attempts in any window of a length.
type Limit struct {
	Attempts uint32
	Window   time.Duration
}

// Budgets are a party's bounds on attempts (2.12). All attempts count, as parties don't know what came of them. An identification is an answer
// about everybody of its tenant. So Record is of both, and verifications have what identifications can't use (verifications): who lets a tenant
// identify more raises Record by as much, and sees what a person's face is asked.
type Budgets struct {
	Record   []Limit `json:"record,omitempty"`   // answers about one person, by verifications and identifications; nil: DefaultRecordBudget
	Tenant   []Limit `json:"tenant,omitempty"`   // verifications of all records of a tenant together; nil: DefaultTenantBudget
	Identify []Limit `json:"identify,omitempty"` // identifications of a tenant, within each window of Record; nil: a third of Record
}

// What budgets are where none are given. The record's are those that keep an attacker who climbs a hill by accept and reject from
// a useful estimate: 640 answers lift a cosine of 0.60 to 0.66, 5,110 to 0.97.
var (
	DefaultRecordBudget = []Limit{{10, time.Minute}, {30, time.Hour}, {100, 24 * time.Hour}, {600, 30 * 24 * time.Hour}}
	DefaultTenantBudget = []Limit{{600_000, time.Minute}, {20_000_000, 24 * time.Hour}}
)

// identifyPart is the part of Record that is for identifications by default.
const identifyPart = 3

func (b Budgets) withDefaults() Budgets {
	if b.Record == nil {
		b.Record = DefaultRecordBudget
	}
	if b.Tenant == nil {
		b.Tenant = DefaultTenantBudget
	}
	if b.Identify == nil {
		b.Identify = slices.Clone(b.Record)
		for i := range b.Identify {
			b.Identify[i].Attempts /= identifyPart
		}
	}
	return b
}

// most is how many attempts limits let through in any window of a length.
func most(limits []Limit, window time.Duration) uint64 {
	n := uint64(math.MaxUint64)
	for _, l := range limits {
		n = min(n, uint64(l.Attempts)*uint64((window+l.Window-1)/l.Window))
	}
	return n
}

// verifications is what of the record's budget identifications can't use. REQUIRES: withDefaults, validate.
func (b Budgets) verifications() []Limit {
	limits := slices.Clone(b.Record)
	for i, l := range limits {
		limits[i].Attempts -= uint32(most(b.Identify, l.Window))
	}
	return limits
}

// maxLimits bounds the windows of one budget.
const maxLimits = 8

// validate is of a party that is searched, or not. Errors: ErrConfig.
func (b Budgets) validate(searched bool) error {
	for _, limits := range [][]Limit{b.Record, b.Tenant, b.Identify} {
		if len(limits) > maxLimits {
			return fmt.Errorf("%w: a budget of %d windows, want %d at most", ErrConfig, len(limits), maxLimits)
		}
		for _, l := range limits {
			if l.Attempts == 0 || l.Window < time.Second || l.Window > 366*24*time.Hour {
				return fmt.Errorf("%w: budget %d in %v: want 1 at least, in 1 s to 366 days", ErrConfig, l.Attempts, l.Window)
			}
		}
	}
	if b = b.withDefaults(); !searched {
		return nil
	}
	for _, l := range b.Record {
		if most(b.Identify, l.Window) >= uint64(l.Attempts) {
			return fmt.Errorf("%w: budgets: in %v identify allows more than the %d answers that record has for a person, each identification being one: lower identify, or raise record above it",
				ErrConfig, l.Window, l.Attempts)
		}
	}
	return nil
}

// windowParts is how many buckets make up a window. One more is kept, so that no window of the length, wherever it begins, has more
// attempts than its limit; the price is that an attempt counts for up to a 24th longer.
const windowParts = 24

// counter counts attempts in one window.
type counter struct {
	window time.Duration
	newest int64 // number of the newest bucket: time since 1970 in parts of the window
	counts [windowParts + 1]uint32
}

func (c *counter) part() int64 { return max(c.window.Milliseconds()/windowParts, 1) }

// advance makes the bucket of a moment, in ms, the newest. A clock that was set back counts into the newest that there was, but for one that
// is a whole window ahead: then the clock was wrong, and what was counted counts from now on. So an attempt counts for two windows at most.
func (c *counter) advance(now int64) {
	to := now / c.part()
	if c.newest > to+windowParts {
		c.newest = to
	}
	for steps := int64(0); c.newest < to && steps <= windowParts; steps++ {
		copy(c.counts[1:], c.counts[:windowParts])
		c.counts[0] = 0
		c.newest++
	}
	c.newest = max(c.newest, to)
}

func (c *counter) sum() (n uint64) {
	for _, k := range c.counts {
		n += uint64(k)
	}
	return n
}

// retryMs is how long it takes until enough buckets have left the window that n more attempts fit. REQUIRES: advance.
func (c *counter) retryMs(limit uint32, n uint32, now int64) int64 {
	left := c.sum()
	for i := windowParts; i >= 0; i-- {
		if left -= uint64(c.counts[i]); left+uint64(n) <= uint64(limit) {
			return max((c.newest+int64(windowParts+1-i))*c.part()-now, 1)
		}
	}
	return c.window.Milliseconds()
}

// budget is the counters of a record or tenant, one for each limit.
type budget []counter

// fit takes what was stored to the limits of today: a window that is not there any more is dropped, a new one begins empty.
func (b budget) fit(limits []Limit) budget {
	out := make(budget, len(limits))
	for i, l := range limits {
		out[i].window = l.Window
		for _, c := range b {
			if c.window == l.Window {
				out[i] = c
			}
		}
	}
	return out
}

// advance makes a moment, in ms, the newest.
func (b budget) advance(now int64) {
	for i := range b {
		b[i].advance(now)
	}
}

// mayCharge says whether each limit has room for n attempts more at a moment in ms. Errors: BudgetError. REQUIRES: fit.
func (b budget) mayCharge(limits []Limit, n uint32, now int64) error {
	b.advance(now)
	var retry int64
	for i := range b {
		if b[i].sum()+uint64(n) > uint64(limits[i].Attempts) {
			retry = max(retry, b[i].retryMs(limits[i].Attempts, n, now))
		}
	}
	if retry > 0 {
		return &BudgetError{time.Duration(retry) * time.Millisecond}
	}
	return nil
}

// add counts n attempts at the newest moment.
func (b budget) add(n uint32) {
	for i := range b {
		b[i].counts[0] += n
	}
}

// used is how many attempts the longest window has.
func (b budget) used() (n uint64) {
	var longest time.Duration
	for i := range b {
		if b[i].window >= longest {
			longest, n = b[i].window, b[i].sum()
		}
	}
	return n
}

// appendTo encodes b: count u8, then of each window: length in ms, number of the newest bucket, counts from the newest on; uvarints.
func (b budget) appendTo(dst []byte) []byte {
	dst = append(dst, byte(len(b)))
	for i := range b {
		dst = binary.AppendUvarint(dst, uint64(b[i].window.Milliseconds()))
		dst = binary.AppendUvarint(dst, uint64(b[i].newest))
		for _, k := range b[i].counts {
			dst = binary.AppendUvarint(dst, uint64(k))
		}
	}
	return dst
}

// parseBudget is the inverse of appendTo; no bytes are an empty budget. Errors: ErrCorrupt.
func parseBudget(p []byte) (budget, error) {
	if len(p) == 0 {
		return nil, nil
	}
	bad := fmt.Errorf("%w: budget", ErrCorrupt)
	b, p := make(budget, min(p[0], maxLimits)), p[1:]
	next := func() (v uint64) {
		v, n := binary.Uvarint(p)
		if n <= 0 {
			p = nil
			return 0
		}
		p = p[n:]
		return v
	}
	for i := range b {
		window, newest := next(), next()
		if window == 0 || window > 1<<40 || newest > 1<<50 {
			return nil, bad
		}
		b[i].window, b[i].newest = time.Duration(window)*time.Millisecond, int64(newest)
		for j := range b[i].counts {
			if p == nil {
				return nil, bad
			}
			b[i].counts[j] = uint32(next())
		}
	}
	if p == nil || len(p) > 0 {
		return nil, bad
	}
	return b, nil
}
