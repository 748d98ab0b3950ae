package mpc

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// crashSteps are where each process ends in turn, by what goes on.
var crashSteps = map[string]struct{ party, gateway []string }{
	"enrol":   {[]string{"checked", "prepared", "commit", "committed"}, []string{"begun", "voted", "decided"}},
	"replace": {[]string{"checked", "prepared", "commit", "committed"}, []string{"begun", "voted", "decided"}},
	"bulk":    {[]string{"checked", "prepared", "commit", "committed"}, []string{"begun", "voted", "decided"}},
	"delete":  {[]string{"erase", "erased"}, []string{"erasing"}},
	"refresh": {[]string{"staged", "refresh", "switched"}, []string{"staged", "refreshing"}},
}

// TestCrash ends each process at each step of what changes records, and starts it again with what was durable. Then everybody has the
// same: what was acknowledged, or else what was there before or after.
func TestCrash(t *testing.T) {
	for op, steps := range crashSteps {
		for process := range Parties + 1 {
			list := steps.party
			if process == Parties {
				list = steps.gateway
			}
			for _, step := range list {
				t.Run(fmt.Sprintf("%s/%d/%s", op, process, step), func(t *testing.T) {
					t.Parallel()
					crashOnce(t, op, process, step)
				})
			}
		}
	}
}

func crashOnce(t *testing.T, op string, process int, step string) {
	rng, c := seeded(t), startWorld(t)
	before, after, other := unit(rng, testDim), unit(rng, testDim), unit(rng, testDim)
	c.enrol("other", other)
	if op != "enrol" {
		c.enrol("a", before)
	}
	bulk := []Person{{"a", Enrolment{Policy: 1, Template: after, Replace: true}}}
	for i := range 4 {
		bulk = append(bulk, Person{fmt.Sprint("bulk ", i), Enrolment{Policy: 1, Template: unit(rng, testDim), Replace: true}})
	}
	run := func(g *Gateway) (err error) {
		switch op {
		case "enrol", "replace":
			_, err = g.Enrol(context.Background(), "t", "a", Enrolment{Policy: 1, Template: after, Replace: true})
		case "bulk":
			for _, out := range g.EnrolAll(context.Background(), "t", bulk) {
				err = errors.Join(err, out.Err)
			}
		case "delete":
			_, err = g.Delete(context.Background(), "t", "a")
		case "refresh":
			err = g.Refresh(context.Background())
		}
		return err
	}
	hit, ended := c.crashAt(crashPoint{process: process, step: step, rng: rng}), make(chan error, 1)
	g := c.gateway
	go func() { ended <- run(g) }()
	select {
	case <-hit:
	case err := <-ended:
		t.Fatalf("it ended without the step: %v", err)
	}
	if process == Parties {
		go g.Close() // on the disk that is given up: who waits there is told
		c.startGateway()
	} else {
		c.start(process)
	}
	err := <-ended
	t.Logf("told: %v", err)
	c.consistent()
	c.verify("other", other, true)
	c.checkOutcome(op, before, after, err == nil)
	if op == "bulk" {
		c.allOrNone(bulk)
	}
	if err := run(c.gateway); err != nil && !errors.Is(err, ErrUnknown) {
		t.Fatal("again:", err)
	}
	c.consistent()
	c.checkOutcome(op, before, after, true)
	if op == "bulk" && !c.allOrNone(bulk) {
		t.Fatal("nobody is enrolled")
	}
}

// allOrNone finds that people who were enrolled together are as they were told, or none of them is.
func (c *world) allOrNone(people []Person) (all bool) {
	c.t.Helper()
	n := 0
	for _, p := range people {
		match, err := c.gateway.Verify(context.Background(), "t", p.User, 1, p.Template)
		if err != nil && !errors.Is(err, ErrUnknown) {
			c.t.Fatal(err)
		}
		if match {
			n++
		}
	}
	if n != 0 && n != len(people) {
		c.t.Fatalf("%d of %d are enrolled", n, len(people))
	}
	return n > 0
}

// checkOutcome finds what an operation made, or, if it was not acknowledged, what was before.
func (c *world) checkOutcome(op string, before, after []float32, acknowledged bool) {
	c.t.Helper()
	is := func(x []float32) bool {
		match, err := c.gateway.Verify(context.Background(), "t", "a", 1, x)
		if err != nil && !errors.Is(err, ErrUnknown) {
			c.t.Fatal(err)
		}
		return match
	}
	old, fresh := is(before), is(after)
	var happened bool
	switch op {
	case "enrol":
		happened = fresh
	case "replace", "bulk":
		if old == fresh {
			c.t.Fatalf("old %v and new %v", old, fresh)
		}
		happened = fresh
	case "delete":
		happened = !old
	case "refresh":
		if happened = old; !old {
			c.t.Fatal("a record was lost")
		}
	}
	if acknowledged && !happened {
		c.t.Fatalf("%s was acknowledged and has not happened", op)
	}
}
