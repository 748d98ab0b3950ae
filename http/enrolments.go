package http

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// enrolments keeps enrolments with the parties, of which a tenant may have many at once, apart from deletions of galleries, of which there is one
// at a time and no enrolment beside it. Else somebody could be enrolled between the erasure of a gallery's people and the gallery's end, and
// be there when another gallery gets the name. It is of this process: no two gateways have the same tenant (package mpc). Safe for concurrent use.
type enrolments struct {
	waits func() // of tests: a turn is waited for
	mu    struct {
		sync.Mutex
		of map[string]*turn // of tenants who have or wait for one
	}
}

// turn is a tenant's.
type turn struct {
	places *semaphore.Weighted // of enrolments; a deletion takes all
	users  int                 // Protected by enrolments.mu
}

const everyPlace = 1 << 30

// share begins an enrolment, alone a deletion; give ends it. Errors: ctx's.
func (e *enrolments) share(ctx context.Context, tenant string) (give func(), err error) {
	return e.take(ctx, tenant, 1)
}

func (e *enrolments) alone(ctx context.Context, tenant string) (give func(), err error) {
	return e.take(ctx, tenant, everyPlace)
}

func (e *enrolments) take(ctx context.Context, tenant string, n int64) (give func(), err error) {
	t := e.enter(tenant)
	if !t.places.TryAcquire(n) {
		if e.waits != nil {
			e.waits()
		}
		if err := t.places.Acquire(ctx, n); err != nil {
			e.leave(tenant, t)
			return nil, err
		}
	}
	return func() { t.places.Release(n); e.leave(tenant, t) }, nil
}

func (e *enrolments) enter(tenant string) *turn {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.mu.of[tenant]
	if t == nil {
		if e.mu.of == nil {
			e.mu.of = make(map[string]*turn)
		}
		t = &turn{places: semaphore.NewWeighted(everyPlace)}
		e.mu.of[tenant] = t
	}
	t.users++
	return t
}

func (e *enrolments) leave(tenant string, t *turn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(e.mu.of, tenant)
	}
}
