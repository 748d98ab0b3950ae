package main

import (
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progressEvery is how often progress is a line where there is no terminal.
const progressEvery = 5 * time.Second

// progress shows how far long work is, on stderr: a bar on a terminal, else a line of JSON every few seconds. Safe for
// concurrent use.
type progress struct {
	mu    sync.Mutex // guards everything below
	what  string
	bar   *progressbar.ProgressBar // nil: lines
	max   int64
	last  time.Time
	begin time.Time
}

// newProgress counts units up to max, −1 where that is not known yet.
func newProgress(out *output, what, unit string, max int64) *progress {
	p := &progress{what: what, max: max, begin: time.Now(), last: time.Now()}
	if !out.json && term.IsTerminal(int(os.Stderr.Fd())) {
		options := []progressbar.Option{progressbar.OptionSetDescription(what), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
			progressbar.OptionSetItsString(unit), progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100 * time.Millisecond)}
		if unit == "bytes" {
			options = append(options, progressbar.OptionShowBytes(true))
		}
		p.bar = progressbar.NewOptions64(max, options...)
	}
	return p
}

func (p *progress) total(max int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.max = max
	if p.bar != nil {
		p.bar.ChangeMax64(max)
	}
}

// at says that n of the units are done. A broken terminal or pipe must not stop the work.
func (p *progress) at(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Set64(n)
		return
	}
	if now := time.Now(); now.Sub(p.last) >= progressEvery {
		p.last = now
		_ = json.NewEncoder(os.Stderr).Encode(map[string]any{"progress": p.what, "done": n, "of": p.max, "seconds": int(now.Sub(p.begin).Seconds())})
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
