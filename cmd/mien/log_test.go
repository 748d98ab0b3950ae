package main

import (
	"bytes"
	"log/slog"
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
