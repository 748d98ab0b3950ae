package extract

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Group photos leave a place to others, and have a queue of their own.
func TestGroupsLeaveAPlace(t *testing.T) {
	c := testConfig()
	c.Workers, c.Queue = 2, 2
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := x.groups.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	photo := testFile(t, "faces/a_1.jpg")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	waited := make(chan error)
	go func() {
		_, err := x.Extract(ctx, photo, Options{Select: SelectAll})
		waited <- err
	}()
	waitFor(t, func() bool { return x.groups.load.Load() == 2 })
	if _, err := x.Extract(t.Context(), photo, Options{Select: SelectAll}); !errors.Is(err, ErrBusy) {
		t.Errorf("a group photo more than may wait: %v, want ErrBusy", err)
	}
	if _, err := x.Extract(t.Context(), photo, Options{Select: SelectOne}); err != nil {
		t.Errorf("a photo of one while group photos wait: %v", err)
	}
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting group photo: %v, want its context's end", err)
	}
	x.groups.leave()
	if faces, err := x.Extract(t.Context(), photo, Options{Select: SelectAll}); err != nil || len(faces) != 1 {
		t.Errorf("a group photo when there is a place: %d faces, %v", len(faces), err)
	}
}
