package mpc

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// TestEnrolAll: people are enrolled together, each is told what came of it, and those who can't be take nobody with them.
func TestEnrolAll(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	ctx := t.Context()
	before := unit(rng, testDim)
	c.enrol("there", before)
	c.enrol("replaced", before)
	var people []Person
	for i := range 70 {
		people = append(people, Person{fmt.Sprint("user-", i), Enrolment{Policy: 1, Template: unit(rng, testDim)}})
	}
	want := make([]error, len(people))
	set := func(i int, p Person, err error) { people[i], want[i] = p, err }
	set(3, Person{"there", Enrolment{Policy: 1, Template: people[3].Template}}, ErrExists)
	set(5, Person{"replaced", Enrolment{Policy: 1, Template: people[5].Template, Replace: true}}, nil)
	set(7, Person{"user-6", Enrolment{Policy: 1, Template: people[7].Template}}, ErrPending)
	set(9, Person{"user-9", Enrolment{Policy: 1, Template: people[9].Template[1:]}}, ErrVector)
	set(11, Person{"user-11", Enrolment{Policy: 2, Template: people[11].Template}}, ErrPolicy)
	set(13, Person{canaryUser(1), Enrolment{Policy: 1, Template: people[13].Template}}, ErrMessage)
	set(15, Person{"", Enrolment{Policy: 1, Template: people[15].Template}}, ErrMessage)
	for i, out := range c.gateway.EnrolAll(ctx, "t", people) {
		if !errors.Is(out.Err, want[i]) || out.Err != nil && want[i] == nil {
			t.Fatalf("person %d: %v, want %v", i, out.Err, want[i])
		}
		generation := uint32(1)
		if people[i].User == "replaced" {
			generation = 2
		}
		if out.Err == nil && (out.Generation != generation || out.Template == ID{} || out.Time.IsZero()) {
			t.Fatalf("person %d: %+v", i, out)
		}
	}
	c.consistent()
	for i, p := range people {
		if want[i] != nil {
			continue
		}
		if i%8 == 5 {
			c.verify(p.User, p.Template, true)
		}
		if users, err := c.gateway.Identify(ctx, "t", 2, near(rng, p.Template, 0.9)); i%16 == 5 && (err != nil || !slices.Equal(users, []string{p.User})) {
			t.Fatalf("person %d: identified %v, %v", i, users, err)
		}
	}
	c.verify("there", before, true)
	c.verify("replaced", before, false)

	if out := c.gateway.EnrolAll(ctx, "t", nil); len(out) != 0 {
		t.Fatal(out)
	}
	for _, out := range c.gateway.EnrolAll(ctx, "u", slices.Repeat(people[:1], MaxItems+1)) {
		wantErr(t, out.Err, ErrMessage)
	}
	c.stopParty(1)
	c.awaitState(1, PartyAway)
	for _, out := range c.gateway.EnrolAll(ctx, "u", people[:2]) {
		wantErr(t, out.Err, ErrPartyDown)
	}
	c.start(1)
	c.ready()
	c.consistent()
}

// TestEnrolAllChecks: whoever fails a check is left out, and the others are enrolled in the same transaction: a party sees one answer about each.
func TestEnrolAllChecks(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	loose := testPolicies(t)
	for _, p := range c.policies { // as strict as none of random directions meets, but for those that are made so
		strict := p.Policies[1]
		strict.Params.Bound = 1 << 11
		p.Policies[1] = strict
	}
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	c.gateway.cfg.Policies = loose // of a gateway that said that it has the parties'
	var people []Person
	for i := range 33 {
		x := unit(rng, testDim)
		if i == 4 || i == 20 {
			x[i] = 2 // with a component of 2/√5
			x = normal(x)
		}
		people = append(people, Person{fmt.Sprint(i), Enrolment{Policy: 1, Template: x}})
	}
	begun := 0
	c.gateway.cfg.hook = func(step string) {
		if step == "begun" {
			begun++
		}
	}
	for i, out := range c.gateway.EnrolAll(t.Context(), "t", people) {
		if i == 4 || i == 20 {
			wantErr(t, out.Err, ErrProbe)
		} else if out.Err != nil {
			t.Fatalf("person %d: %v", i, out.Err)
		}
	}
	if begun != 1 {
		t.Errorf("%d transactions", begun)
	}
	c.consistent()
	c.verify("5", people[5].Template, true)
	ok, err := c.gateway.Enrolled("t", "4")
	if ok || err != nil {
		t.Fatal("who failed a check is enrolled", err)
	}
}

// TestEnrolAllSelfMatch: with a threshold of 1, whose template was rounded down does not match itself and is not enrolled; the parties forget
// what they had prepared of them.
func TestEnrolAllSelfMatch(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	for _, p := range c.policies {
		strict := p.Policies[1]
		strict.Cosine = 1
		p.Policies[1] = strict
	}
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	policy := c.policies[0].Policies[1]
	var people []Person
	for i := range 40 {
		people = append(people, Person{fmt.Sprint(i), Enrolment{Policy: 1, Template: unit(rng, testDim)}})
	}
	enrolled := 0
	for i, out := range c.gateway.EnrolAll(t.Context(), "t", people) {
		q := encode(t, policy.Params, people[i].Template)
		if plain(q, q) < int64(policy.threshold()) {
			wantErr(t, out.Err, ErrRefused)
			continue
		}
		if enrolled++; out.Err != nil {
			t.Fatalf("person %d: %v", i, out.Err)
		}
	}
	if enrolled == 0 || enrolled == len(people) {
		t.Fatalf("%d of %d: the test tests nothing", enrolled, len(people))
	}
	c.consistent()
	for _, p := range c.parties {
		if err := p.store.each([]byte{prefixPrepared}, func(_, _ []byte) error { return errStop }); err != nil {
			t.Error("something is still prepared:", err)
		}
	}
}
