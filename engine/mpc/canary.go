package mpc

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// ErrCanary says that the parties gave a wrong answer about somebody whose template the gateway knows: one of them is faulty, or cheats.
var ErrCanary = errors.New("mpc: a wrong answer about a canary: a party is faulty or cheats")

// canaryPrefix is what user ids of canaries begin with. No other user may have such an id.
const canaryPrefix = "\x00canary "

// canary is the vector of a made-up person: normal numbers under a key of the gateway's, so that it is stored nowhere.
func (g *Gateway) canary(tenant string, n, dim int) []float32 {
	seed := sha256.Sum256(g.dir.mac("canary", fmt.Sprintf("%d\x00%s", n, tenant)))
	return unitOf(rand.New(rand.NewChaCha8(seed)), dim)
}

func unitOf(rng *rand.Rand, dim int) []float32 {
	x := make([]float64, dim)
	for j := range x {
		x[j] = rng.NormFloat64()
	}
	return normalised(x)
}

// strangerTo is a random vector at a right angle to another, which it never matches: of few numbers, some random ones would.
func strangerTo(of []float32) []float32 {
	x, dot := make([]float64, len(of)), 0.0
	for j, v := range of {
		x[j] = rand.NormFloat64()
		dot += x[j] * float64(v)
	}
	for j, v := range of {
		x[j] -= dot * float64(v)
	}
	return normalised(x)
}

func normalised(x []float64) []float32 {
	square := 0.0
	for _, v := range x {
		square += v * v
	}
	out := make([]float32, len(x))
	for j, v := range x {
		out[j] = float32(v / math.Sqrt(square))
	}
	return out
}

// canaries is how many a tenant has.
const canaries = 2

// CheckCanary verifies one of a tenant's canaries by a probe of its own and another by a stranger's, in random order; where there are none
// they are enrolled first. To the parties they are as all others, and cost what others do, in searches too; DeleteTenant erases them with the
// others. It finds faults, and cheating at random; a party that cheats about one person only it does not. Each call is an attempt of each canary,
// on average: every three hours is 240 in 30 days, of the 400 that verifications have by default. Errors: ErrCanary; Enrol's and Verify's.
func (g *Gateway) CheckCanary(ctx context.Context, tenant string, policy uint16) error {
	p, known := g.cfg.Policies.Policies[policy]
	if !known {
		return ErrPolicy
	}
	if err := g.enrolCanaries(ctx, tenant, policy, p.Params.Dim); err != nil {
		return err
	}
	stranger := rand.IntN(2)
	for k := range 2 {
		i := rand.IntN(canaries)
		x, want := g.canary(tenant, i, p.Params.Dim), true
		if k == stranger {
			x, want = strangerTo(x), false
		}
		a, err := g.attempt(tenant, policy, []Question{{canaryUser(i), x}})
		if err != nil {
			return err
		}
		a.canary = true
		match, err := a.run(ctx)
		if errors.Is(err, ErrResult) || errors.Is(err, ErrProbe) {
			return fmt.Errorf("%w: %w", ErrCanary, err)
		}
		if err != nil {
			return err
		}
		if match[0] != want {
			return fmt.Errorf("%w: want %v", ErrCanary, want)
		}
	}
	return nil
}

// enrolCanaries enrols those that are missing. Errors: Enrol's.
func (g *Gateway) enrolCanaries(ctx context.Context, tenant string, policy uint16, dim int) error {
	var people []Person
	for i := range canaries {
		enrolled, err := g.Enrolled(tenant, canaryUser(i))
		if err != nil {
			return err
		}
		if !enrolled {
			people = append(people, Person{canaryUser(i), Enrolment{Policy: policy, Template: g.canary(tenant, i, dim)}})
		}
	}
	if len(people) == 0 {
		return nil
	}
	for _, out := range g.enrolAll(ctx, tenant, people, func(string) error { return nil }) {
		if out.Err != nil && !errors.Is(out.Err, ErrExists) {
			return out.Err
		}
	}
	return nil
}

func canaryUser(i int) string {
	return canaryPrefix + string(binary.BigEndian.AppendUint32(nil, uint32(i)))
}
