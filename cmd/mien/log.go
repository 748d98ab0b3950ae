package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	logDelay  = 50 * time.Millisecond
	logBuffer = 64 << 10
)

// logWriter collects lines and writes them together: a record of every request, written by itself, costs as much as the request. A line
// waits for logDelay at most, and not at all if it is a warning or worse. Safe for concurrent use.
type logWriter struct {
	mu struct {
		sync.Mutex
		to    io.Writer
		lines []byte
		timer *time.Timer // nil while nothing waits
	}
}

func newLogWriter(to io.Writer) *logWriter {
	w := new(logWriter)
	w.mu.to = to
	return w
}

// Write never fails: whoever logs has nothing to do about it.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.lines = append(w.mu.lines, line...)
	if len(w.mu.lines) >= logBuffer {
		w.flushLocked()
	} else if w.mu.timer == nil {
		w.mu.timer = time.AfterFunc(logDelay, w.flush)
	}
	return len(line), nil
}

func (w *logWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
}

func (w *logWriter) flushLocked() {
	if w.mu.timer != nil {
		w.mu.timer.Stop()
		w.mu.timer = nil
	}
	if len(w.mu.lines) > 0 {
		_, _ = w.mu.to.Write(w.mu.lines)
		w.mu.lines = w.mu.lines[:0]
	}
}

// logHandler flushes after what should be seen at once.
type logHandler struct {
	slog.Handler
	w *logWriter
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.w.flush()
	}
	return err
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs), h.w}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name), h.w}
}
