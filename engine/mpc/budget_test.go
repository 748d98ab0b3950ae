package mpc

import (
	"bytes"
	"cmp"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// charge is what a meter does.
func (b budget) charge(limits []Limit, n uint32, now int64) error {
	err := b.mayCharge(limits, n, now)
	if err == nil {
		b.add(n)
	}
	return err
}

// TestBudgetCrash: a party that crashes again and again lets no more attempts through than one that does not, and one that is stopped in
// an orderly way no fewer.
func TestBudgetCrash(t *testing.T) {
	rng := seeded(t)
	limits := Budgets{Record: []Limit{{20, time.Hour}}, Tenant: DefaultTenantBudget}
	for crash := range 2 {
		disk, tenant, rid, allowed := vfs.NewCrashableMem(), newID(), newID(), 0
		for range 40 {
			s, err := openPartyStore(disk, "data", "c", 0, newTestRoot(t, "a"), testLog(t))
			if err != nil {
				t.Fatal(err)
			}
			for range 1 + rng.IntN(3) {
				durable, used, err := s.meters.charge(limits, tenant, []ID{rid}, 1_800_000_000_000)
				if errors.Is(err, ErrBudget) {
					break
				}
				if err := cmp.Or(err, durable()); err != nil {
					t.Fatal(err)
				}
				if allowed++; crash == 0 && used != uint64(allowed) {
					t.Fatalf("%d attempts were counted, of %d", used, allowed)
				}
			}
			if crash == 1 {
				disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * rng.IntN(3), RNG: rng})
			}
			if err := s.end(); err != nil {
				t.Fatal(err)
			}
		}
		if allowed > 20 || crash == 0 && allowed != 20 || allowed < 3 {
			t.Errorf("%d attempts of 20 were let through", allowed)
		}
	}
}

// TestBudgetWindows: whatever the moments of attempts, no window of a limit's length has more than it allows, and who waits a window
// and a 24th is let through.
func TestBudgetWindows(t *testing.T) {
	rng := seeded(t)
	limits := []Limit{{10, time.Minute}, {30, time.Hour}, {100, 24 * time.Hour}}
	for range 50 {
		b, now := budget(nil).fit(limits), int64(1_800_000_000_000)+rng.Int64N(1e9)
		var allowed []int64
		for range 1000 {
			now += rng.Int64N(int64(1) << rng.IntN(22))
			err := b.charge(limits, 1, now)
			if err == nil {
				allowed = append(allowed, now)
			}
			if retry, ok := errors.AsType[*BudgetError](err); ok && rng.IntN(20) == 0 {
				wait := retry.Retry.Milliseconds()
				if c := append(budget(nil), b...); c.charge(limits, 1, now+wait-1) == nil {
					t.Fatalf("an attempt %d ms before Retry is over", 1)
				}
				now += wait
				if err := b.charge(limits, 1, now); err != nil {
					t.Fatalf("after Retry: %v", err)
				}
				allowed = append(allowed, now)
			}
			if b, err := parseBudget(b.appendTo(nil)); err != nil || len(b) != len(limits) {
				t.Fatal(err)
			}
		}
		for _, l := range limits {
			for i, from := range allowed {
				n := uint32(0)
				for _, at := range allowed[i:] {
					if at-from < l.Window.Milliseconds() {
						n++
					}
				}
				if n > l.Attempts {
					t.Fatalf("%d attempts in %v", n, l.Window)
				}
			}
		}
		now += 25 * time.Hour.Milliseconds()
		if err := b.charge(limits, 10, now); err != nil {
			t.Fatalf("after a day and an hour: %v", err)
		}
		if err := b.charge(limits, 1, now-int64(time.Hour/time.Millisecond)); err == nil {
			t.Fatal("a clock that was set back gave attempts back")
		}
	}
}

// TestBudgetLimitsChange: a window that stays keeps its count.
func TestBudgetLimitsChange(t *testing.T) {
	const now = 1_800_000_000_000
	old := []Limit{{10, time.Minute}, {30, time.Hour}}
	b := budget(nil).fit(old)
	if err := b.charge(old, 7, now); err != nil {
		t.Fatal(err)
	}
	fresh := []Limit{{20, 2 * time.Minute}, {8, time.Hour}}
	b = b.fit(fresh)
	if err := b.charge(fresh, 2, now); err == nil {
		t.Error("the hour's count was lost")
	}
	if err := b.charge(fresh, 1, now); err != nil || b.used() != 8 {
		t.Errorf("%v, used %d", err, b.used())
	}
}

func FuzzParseBudget(f *testing.F) {
	b := budget(nil).fit(DefaultRecordBudget)
	_ = b.charge(DefaultRecordBudget, 3, 1_800_000_000_000)
	f.Add(b.appendTo(nil))
	f.Add([]byte{8, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := parseBudget(p)
		if err != nil {
			return
		}
		_ = b.fit(DefaultRecordBudget).charge(DefaultRecordBudget, 1, 1_800_000_000_000)
	})
}

// FuzzMessages: whatever a gateway or a party sends, it is read or refused, and takes no more memory than it has bytes.
func FuzzMessages(f *testing.F) {
	v := verifyMessage{1, 2, newID(), []ID{newID()}, []uint32{7}}
	f.Add(v.appendTo(nil))
	m := prepareMessage{1, 1, batch{newID(), newID(), []member{{newID(), 3, newID()}}}, 4, 5}
	f.Add(m.appendTo(nil))
	of := m.batch.subjects()[0]
	h := hello{store: newID(), state: 1, key: make([]byte, 32), doubts: []doubt{{of, m.batch.tx, 1}}}
	f.Add(h.appendTo(nil))
	f.Add(appendBits(nil, Bits{65, 1, make([]uint64, 3), make([]uint64, 3)}))
	f.Add((&Receipt{Key: make([]byte, 32), Signature: make([]byte, 64)}).appendTo(nil))
	f.Add(erasure{of, m.batch.tx, 1}.appendTo(nil))
	active := head{state: stateActive, dim: 2, gallery: 7}
	f.Add(append(active.appendTo(appendSubject(nil, of)), make([]byte, 12)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func(*reader){
			func(r *reader) { r.verify() }, func(r *reader) { r.prepare() }, func(r *reader) { r.hello() }, func(r *reader) { r.bits() },
			func(r *reader) { r.receipt(0, Subject{}) }, func(r *reader) { r.erasure() }, func(r *reader) { r.batch() }, func(r *reader) { r.repaired() }, func(r *reader) { r.share(64) },
		} {
			r := &reader{b: b}
			read(r)
			_ = r.end()
		}
		_ = errorOf(0, b)
		if keys, err := parseKeyFile(b); err == nil && len(keys) > len(b) {
			t.Error("more keys than bytes")
		}
		if r, err := parsePrepared(b); err == nil && !bytes.Equal(r.appendTo(nil), b) {
			t.Error("a prepared record changed")
		}
	})
}

// TestPersonBudget: in no window are there more answers about a person, by verifications and identifications together, than the record's
// budget has, whoever comes first; and neither uses up what the other has.
func TestPersonBudget(t *testing.T) {
	rng := seeded(t)
	for range 30 {
		p := testPolicies(t)
		p.Budgets.Record = []Limit{{uint32(4 + rng.IntN(20)), time.Minute}, {uint32(10 + rng.IntN(90)), time.Hour}}
		if rng.IntN(2) == 0 { // windows of its own
			p.Budgets.Identify = []Limit{{uint32(1 + rng.IntN(3)), 2 * time.Minute}, {1 + uint32(rng.IntN(9)), time.Duration(20+rng.IntN(200)) * time.Minute}}
		}
		if p.validate() != nil {
			continue
		}
		b := p.counted()
		verify, identify, now := budget(nil).fit(b.Record), budget(nil).fit(b.Identify), int64(1_800_000_000_000)
		var told []int64
		did := map[bool]int{}
		for range 2000 {
			now += rng.Int64N(int64(1) << rng.IntN(20))
			of, limits, by := verify, b.Record, rng.IntN(2) == 0
			if by {
				of, limits = identify, b.Identify
			}
			if of.charge(limits, 1, now) == nil {
				told = append(told, now)
				did[by]++
			}
		}
		for _, l := range p.Budgets.Record {
			from := 0
			for to, at := range told {
				for at-told[from] >= l.Window.Milliseconds() {
					from++
				}
				if n := to - from + 1; n > int(l.Attempts) {
					t.Fatalf("%d answers in %v of %+v", n, l.Window, p.Budgets)
				}
			}
		}
		if did[true] == 0 || did[false] == 0 {
			t.Fatalf("%v of %+v", did, p.Budgets)
		}
	}
}

// TestBudgetsAreChecked: identifications are within the record's budget, where there can be any.
func TestBudgetsAreChecked(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		b    Budgets
		want error
	}{
		{Budgets{}, nil},
		{Budgets{Record: []Limit{{1, time.Hour}}}, nil}, // nobody is identified
		{Budgets{Identify: []Limit{{1000, day}}}, ErrConfig},
		{Budgets{Identify: []Limit{{9, time.Minute}, {29, time.Hour}, {99, day}, {599, 30 * day}}}, nil},
		{Budgets{Identify: []Limit{{9, time.Minute}, {29, time.Hour}, {99, day}}}, ErrConfig}, // 2,970 in 30 days
		{Budgets{Record: []Limit{{1010, day}}, Identify: []Limit{{1000, day}}}, nil},
		{Budgets{Record: []Limit{{1010, day}}, Identify: []Limit{{1000, day - time.Second}}}, ErrConfig},
		{Budgets{Record: []Limit{{0, day}}}, ErrConfig},
	} {
		p := testPolicies(t)
		p.Budgets = c.b
		if err := p.validate(); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.b, err, c.want)
		}
	}
	p := testPolicies(t)
	p.Budgets = Budgets{Identify: []Limit{{1000, day}}}
	verify := p.Policies[1]
	verify.Gallery = 0
	p.Policies = map[uint16]Policy{1: verify}
	if err := p.validate(); err != nil || p.counted().Record[0] != DefaultRecordBudget[0] {
		t.Errorf("without identifications: %v, %+v", err, p.counted().Record)
	}
}

// TestBudgetClock: attempts that were counted while a clock was far ahead count, from when it is right again, for a window, and not until
// the time that it showed.
func TestBudgetClock(t *testing.T) {
	limits := []Limit{{10, time.Hour}}
	hour, now := time.Hour.Milliseconds(), int64(1_800_000_000_000)
	b := budget(nil).fit(limits)
	if err := b.charge(limits, 10, now+10_000*hour); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{now, now + hour/2, now + hour - 1} {
		if b.charge(limits, 1, at) == nil {
			t.Fatal("a clock that was set back gave attempts back")
		}
	}
	if err := b.charge(limits, 10, now+hour+hour/windowParts); err != nil {
		t.Fatal(err)
	}
	for i := range int64(100) { // a clock that goes to and fro by less than a window ages nothing
		if b.charge(limits, 1, now+hour+i%2*hour/2) == nil {
			t.Fatal("a clock that goes to and fro gave attempts back")
		}
	}
}
