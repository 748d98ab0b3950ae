package main

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogWriter says when lines are written: together after a while, at once with a warning or when they are many.
func TestLogWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := newLogWriter(&out)
		log := slog.New(logHandler{slog.NewTextHandler(w, nil), w}).With("a", 1).WithGroup("g")
		lines := func(want int) {
			t.Helper()
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			if got := strings.Count(out.String(), "\n"); got != want {
				t.Fatalf("%d lines are written, want %d:\n%s", got, want, &out)
			}
		}
		log.Info("first")
		log.Info("second")
		time.Sleep(logDelay - 1)
		lines(0)
		time.Sleep(2 * time.Nanosecond)
		lines(2)
		log.Info("third")
		log.Warn("fourth")
		lines(4)
		time.Sleep(2 * logDelay)
		lines(4)
		log.Info(strings.Repeat("x", logBuffer))
		lines(5)
		log.Info("last")
		w.flush()
		lines(6)
		if !strings.Contains(out.String(), "msg=last a=1") {
			t.Error(out.String())
		}
	})
}

// TestLogWriterConcurrent writes from many goroutines: no line is lost or broken.
func TestLogWriterConcurrent(t *testing.T) {
	var out bytes.Buffer
	w := newLogWriter(&out)
	line := strings.Repeat("y", 99) + "\n"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				_, _ = w.Write([]byte(line))
			}
		})
	}
	wg.Wait()
	w.flush()
	if got := strings.Count(out.String(), line); got != 8000 || out.Len() != 8000*len(line) {
		t.Errorf("%d whole lines in %d bytes", got, out.Len())
	}
}

// TestJSONHandler holds lines against slog's own, those that it leaves to slog too.
func TestJSONHandler(t *testing.T) {
	var got, want bytes.Buffer
	mine, theirs := jsonHandler{slog.NewJSONHandler(&got, nil), &got}, slog.NewJSONHandler(&want, nil)
	attrs := []slog.Attr{{}, slog.String("", "x"), slog.String("a", ""), slog.String("b", "plain <&> text"), slog.String("c", "quote \" slash \\ line\n"),
		slog.String("d", "é\x00\x7f\xff"), slog.String("odd\"key", "x"), slog.Int("e", -5), slog.Uint64("f", math.MaxUint64), slog.Bool("g", true),
		slog.Float64("h", 0), slog.Float64("i", 0.213), slog.Float64("j", -1e6), slog.Float64("k", 1e-7), slog.Float64("l", 1e21), slog.Float64("m", math.Inf(1)),
		slog.Float64("n", math.NaN()), slog.Duration("o", time.Second), slog.Time("p", time.Unix(1, 5)), slog.Any("q", errors.New("no")),
		slog.Any("r", []int{1}), slog.Group("s", slog.Int("t", 1)), slog.Any("u", nil)}
	at := time.Now()
	for i := range attrs {
		for _, when := range []time.Time{at, at.UTC(), {}, time.Unix(1e12, 0)} {
			r := slog.NewRecord(when, slog.Level(i%9), []string{"request", "odd \"message\""}[i%2], 0)
			r.AddAttrs(slog.String("first", "1"), attrs[i], slog.String("last", "2"))
			if err, other := mine.Handle(t.Context(), r), theirs.Handle(t.Context(), r); (err == nil) != (other == nil) {
				t.Errorf("%v, want %v", err, other)
			}
			if got.String() != want.String() {
				t.Errorf("%q, want %q", got.String(), want.String())
			}
			got.Reset()
			want.Reset()
		}
	}
}
