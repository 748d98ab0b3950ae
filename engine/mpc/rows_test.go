package mpc

import (
	"fmt"
	"slices"
	"testing"
)

// TestRowsChange: rows that are kept while people come, go and are replaced are what reading them anew gives, at the parties and at the
// gateway.
func TestRowsChange(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	ctx := t.Context()
	var some []Person
	enrol := func(from, to int) {
		t.Helper()
		some = some[:0]
		for i := from; i < to; i++ {
			some = append(some, Person{fmt.Sprint(i), Enrolment{Policy: 1, Template: unit(rng, testDim), Replace: true}})
		}
		for _, out := range c.gateway.EnrolAll(ctx, "t", some) {
			if out.Err != nil {
				t.Fatal(out.Err)
			}
		}
	}
	check := func() {
		t.Helper()
		c.consistent()
		tenant := c.gateway.dir.tenant("t")
		kept, err := c.gateway.list(tenant)
		if err != nil {
			t.Fatal(err)
		}
		read, err := c.gateway.dir.listing(tenant)
		if err != nil || kept.hash != read.hash || !slices.Equal(kept.rids, read.rids) || !slices.Equal(kept.of, read.of) {
			t.Fatalf("the gateway keeps %v and reads %v, %v", kept.of, read.of, err)
		}
		probe := Split(encode(t, c.policies[0].Policies[2].Params, unit(rng, testDim)))
		for i, p := range c.parties {
			r, err := p.galleries.rows(tenant, c.policies[0].Policies[2].rows())
			if err != nil {
				t.Fatal(err)
			}
			fresh, err := p.galleries.readAll(tenant, c.policies[0].Policies[2].rows())
			if err != nil {
				t.Fatal(err)
			}
			fresh.release = func() {}
			if r.hash != read.hash || fresh.hash != read.hash || !slices.Equal(r.rids, fresh.rids) || !slices.Equal(r.gens, fresh.gens) {
				t.Fatalf("party %d: %d rows, read %d, the gateway has %d", i, r.len(), fresh.len(), len(read.rids))
			}
			got, want := make([]uint16, r.len()), make([]uint16, r.len())
			r.products(got, probe[i])
			fresh.products(want, probe[i])
			if !slices.Equal(got, want) {
				t.Fatalf("party %d: products differ", i)
			}
			r.release()
		}
	}
	enrol(0, 3)
	check()
	enrol(3, 150) // more than a slab
	check()
	enrol(100, 200) // half of them anew
	check()
	for i := range 20 {
		if _, err := c.gateway.Delete(ctx, "t", fmt.Sprint(7*i)); err != nil {
			t.Fatal(err)
		}
	}
	check()
	enrol(0, 40) // into free slots
	for i := range 3 {
		if _, err := c.gateway.Delete(ctx, "t", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if err := c.gateway.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	check()
	if users, err := c.gateway.Identify(ctx, "t", 2, near(rng, some[39].Template, 0.9)); err != nil || !slices.Equal(users, []string{"39"}) {
		t.Fatal(users, err)
	}
	if _, err := c.gateway.DeleteTenant(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	check()
	enrol(5, 6)
	check()
}

// TestSlabs: rows are where they were put, whatever else comes and goes, and slots that are free are used before there are more.
func TestSlabs(t *testing.T) {
	rng := seeded(t)
	const dim = 32
	s, l := &slabs{dim: dim}, &listing[int32]{}
	want := make(map[ID]ShortShare)
	y := Split(encode(t, defaults(t, dim, IdentifyLogScale), unit(rng, dim)))[1]
	most := 0
	for range 60 {
		var changes []change[int32]
		for range rng.IntN(40) {
			rid := ID{byte(rng.IntN(256)), byte(rng.IntN(2))}
			if slices.ContainsFunc(changes, func(c change[int32]) bool { return c.rid == rid }) {
				continue
			}
			if slot, found := l.find(rid); found {
				s.free = append(s.free, slot)
			}
			delete(want, rid)
			c := change[int32]{rid: rid, in: rng.IntN(3) > 0}
			if c.in {
				v := ShortShare{make([]uint16, dim), make([]uint16, dim)}
				for j := range dim {
					v.Own[j], v.Next[j] = uint16(rng.Uint32()), uint16(rng.Uint32())
				}
				c.of, want[rid] = s.put(v), v
			}
			changes = append(changes, c)
		}
		l = l.with(changes)
		if len(l.rids) != len(want) || !slices.IsSortedFunc(l.rids, compareIDs) {
			t.Fatalf("%d rows, want %d in order", len(l.rids), len(want))
		}
		if most = max(most, len(want)); s.slots-len(s.free) != len(want) || s.slots > most+40 {
			t.Fatalf("%d slots, %d of them free, for %d rows, %d at most", s.slots, len(s.free), len(want), most)
		}
		got := make([]uint16, len(l.rids))
		s.products(got, l.of, y)
		for i, rid := range l.rids {
			v := want[rid]
			one := [1]uint16{}
			Gallery{v.Own, v.Next, 1}.products(one[:], y)
			if got[i] != one[0] {
				t.Fatalf("row %d: product %d, want %d", i, got[i], one[0])
			}
		}
	}
}
