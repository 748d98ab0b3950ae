package engine

import "context"

// Actor is who makes a call, as audit records name it: the key and the request of a client, or a program.
type Actor struct {
	Tenant  string // whose log records what is of no gallery
	Key     string // id of the API key; "" where there is none
	Role    Role   // the key's
	Request string // the request's id, which its answer carries too
	Program string // what acts without a key: "retention", or a command on a stopped data folder; "" for clients
}

// actorContext carries an actor with one allocation.
type actorContext struct {
	context.Context
	actor Actor
}

type actorContextKey struct{}

// Value implements context.Context.
func (c *actorContext) Value(key any) any {
	if key == (actorContextKey{}) {
		return &c.actor
	}
	return c.Context.Value(key)
}

// WithActor returns a context whose calls are made by a. The innermost actor counts.
func WithActor(ctx context.Context, a Actor) context.Context { return &actorContext{ctx, a} }

// actorOf returns who makes a call; the zero Actor where nobody said.
func actorOf(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorContextKey{}).(*Actor); ok {
		return *a
	}
	return Actor{}
}
