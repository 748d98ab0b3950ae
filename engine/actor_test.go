package engine

import (
	"context"
	"testing"
)

func TestActor(t *testing.T) {
	if got := actorOf(t.Context()); got != (Actor{}) {
		t.Errorf("a context without an actor has %+v", got)
	}
	want := Actor{Key: "0123456789abcdef", Role: RoleMatcher, Request: "r1"}
	ctx, cancel := context.WithCancel(WithActor(t.Context(), want))
	defer cancel()
	if got := actorOf(ctx); got != want {
		t.Errorf("actor is %+v, want %+v", got, want)
	}
	inner := Actor{Program: "retention"}
	if got := actorOf(WithActor(ctx, inner)); got != inner {
		t.Errorf("the innermost actor is %+v, want %+v", got, inner)
	}
}
