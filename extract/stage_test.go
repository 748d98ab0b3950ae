package extract

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeModel doubles its input in a millisecond, and remembers how many items each run had.
type fakeModel struct {
	mu    sync.Mutex
	sizes []int
	now   atomic.Int32 // runs under way
	most  atomic.Int32
	err   error
	takes time.Duration
}

func (f *fakeModel) run(r *run, n int) error {
	now := f.now.Add(1)
	defer f.now.Add(-1)
	for most := f.most.Load(); now > most && !f.most.CompareAndSwap(most, now); most = f.most.Load() {
	}
	time.Sleep(f.takes)
	for i := range n {
		r.outs[i][0][0] = 2 * r.in[i][0]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizes = append(f.sizes, n)
	return f.err
}

func fakeRun(max int) (*run, error) {
	r := &run{in: make([][]float32, max), outs: make([][][]float32, max)}
	for i := range max {
		r.in[i], r.outs[i] = make([]float32, 1), [][]float32{make([]float32, 1)}
	}
	return r, nil
}

// fakeStage has a device of its own and three milliseconds of patience.
func fakeStage(t *testing.T, f *fakeModel, b Batching, workers int) *stage {
	t.Helper()
	if f.takes == 0 {
		f.takes = time.Millisecond
	}
	s, err := newStage(stageConfig{
		role: "fake", cores: NewCores(workers), batching: b, runners: []runner{f}, newRun: fakeRun,
		delay: 3 * time.Millisecond, queue: 100, free: func() error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// double asks for the doubles of base, base+1, … and says what is wrong with the answers.
func double(ctx context.Context, s *stage, base, n int) error {
	s.cores.take()
	defer s.cores.give()
	got := make([]float32, n)
	err := s.do(ctx, n, func(i int, in []float32) { in[0] = float32(base + i) }, func(i int, outs [][]float32) { got[i] = outs[0][0] })
	if err != nil {
		return err
	}
	for i, v := range got {
		if v != float32(2*(base+i)) {
			return fmt.Errorf("item %d of %d: %v, want %d", i, base, v, 2*(base+i))
		}
	}
	return nil
}

// A lone call must not wait for company that can't come; while a core computes it waits for the delay and no longer.
func TestBatchDelay(t *testing.T) {
	for busy, want := range map[bool]time.Duration{false: time.Millisecond, true: 4 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := fakeStage(t, &fakeModel{}, Batching{Shared, 8}, 2)
			defer s.close()
			if busy {
				s.cores.take()
				defer s.cores.give()
			}
			start := time.Now()
			if err := double(t.Context(), s, 1, 1); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("busy %v: took %v, want %v", busy, took, want)
			}
		})
	}
}

// Calls that come while the device is busy share the next run, up to the cap, and each gets its own answers.
func TestBatchCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeModel{}
		s := fakeStage(t, f, Batching{Shared, 4}, 64)
		defer s.close()
		var calls sync.WaitGroup
		for i := range 11 {
			calls.Go(func() {
				if err := double(t.Context(), s, 100*i, 1+i%2); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		items := 0
		for _, n := range f.sizes {
			items += n
			if n > 4 {
				t.Errorf("a run of %d items, more than the cap", n)
			}
		}
		if items != 16 || len(f.sizes) > 6 || f.most.Load() != 1 {
			t.Errorf("runs of %v items, %d at once on one device", f.sizes, f.most.Load())
		}
	})
}

// A call of more items than a batch holds, alone and among others.
func TestBatchLargerThanCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeStage(t, &fakeModel{}, Batching{Shared, 3}, 4)
		defer s.close()
		var calls sync.WaitGroup
		for i := range 5 {
			calls.Go(func() {
				if err := double(t.Context(), s, 100*i, 20); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
	})
}

// A call that ends while it waits leaves at once; the others of its batch get their answers.
func TestBatchCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeModel{takes: time.Second}
		s := fakeStage(t, f, Batching{Shared, 4}, 8)
		defer s.close()
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		var calls sync.WaitGroup
		start := time.Now()
		calls.Go(func() {
			if err := double(ctx, s, 1, 2); !errors.Is(err, gone) || time.Since(start) != time.Millisecond {
				t.Errorf("%v after %v, want its cause after 1 ms", err, time.Since(start))
			}
		})
		calls.Go(func() {
			if err := double(t.Context(), s, 10, 2); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Millisecond)
		cancel(gone)
		calls.Wait()
	})
}

// Nobody waits for a batch whose calls have all left: it is not run, and its memory serves again.
func TestBatchAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeModel{takes: time.Second}
		s := fakeStage(t, f, Batching{Shared, 4}, 8)
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		calls.Go(func() { _ = double(t.Context(), s, 1, 1) }) // keeps the device busy
		time.Sleep(10 * time.Millisecond)
		for range 20 {
			calls.Go(func() {
				if err := double(ctx, s, 1, 1); !errors.Is(err, context.Canceled) {
					t.Errorf("%v, want the end of its context", err)
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		cancel()
		calls.Wait()
		if err := double(t.Context(), s, 7, 4); err != nil {
			t.Error(err)
		}
		if err := s.close(); err != nil || len(s.idle) != cap(s.idle) {
			t.Errorf("closed with %d of %d memories at home, %v", len(s.idle), cap(s.idle), err)
		}
		if len(f.sizes) != 2 {
			t.Errorf("runs of %v items, want two", f.sizes)
		}
	})
}

// A panic of one call's fill or read is its own.
func TestBatchPanic(t *testing.T) {
	for _, where := range []string{"fill", "read"} {
		for _, b := range []Batching{{Single, 1}, {Calls, 4}, {Shared, 4}} {
			synctest.Test(t, func(t *testing.T) {
				s := fakeStage(t, &fakeModel{}, b, 8)
				defer s.close()
				var calls sync.WaitGroup
				calls.Go(func() {
					defer func() {
						if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "ouch") {
							t.Errorf("%v %s: recovered %v", b, where, v)
						}
					}()
					s.cores.take()
					defer s.cores.give()
					ouch := func(here string) {
						if here == where {
							panic("ouch")
						}
					}
					_ = s.do(t.Context(), 2, func(int, []float32) { ouch("fill") }, func(int, [][]float32) { ouch("read") })
				})
				for i := range 3 {
					calls.Go(func() {
						if err := double(t.Context(), s, 10*i, 1); err != nil {
							t.Error(err)
						}
					})
				}
				calls.Wait()
				if free := len(s.cores.free); free != 8 {
					t.Errorf("%v %s: %d of 8 cores came back", b, where, free)
				}
			})
		}
	}
}

// An error of a run goes to every call in it.
func TestBatchError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad")
		s := fakeStage(t, &fakeModel{err: bad}, Batching{Shared, 4}, 8)
		defer s.close()
		var calls sync.WaitGroup
		for i := range 6 {
			calls.Go(func() {
				if err := double(t.Context(), s, i, 1); !errors.Is(err, bad) {
					t.Errorf("%v, want the run's", err)
				}
			})
		}
		calls.Wait()
	})
}

func TestBatchBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeStage(t, &fakeModel{}, Batching{Shared, 4}, 8)
		defer s.close()
		s.shared.config.queue = 1
		var calls sync.WaitGroup
		calls.Go(func() { _ = double(t.Context(), s, 1, 1) })
		synctest.Wait()
		if err := double(t.Context(), s, 1, 1); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
		calls.Wait()
	})
}

// Two devices work on one queue at once.
func TestBatchTwoDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &fakeModel{takes: time.Millisecond}, &fakeModel{takes: time.Millisecond}
		s, err := newStage(stageConfig{
			role: "fake", cores: NewCores(16), batching: Batching{Shared, 2}, runners: []runner{a, b}, newRun: fakeRun,
			delay: time.Millisecond, queue: 100, free: func() error { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		start := time.Now()
		var calls sync.WaitGroup
		for i := range 16 {
			calls.Go(func() {
				if err := double(t.Context(), s, i, 1); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if took := time.Since(start); took > 5*time.Millisecond || len(a.sizes) == 0 || len(b.sizes) == 0 {
			t.Errorf("took %v, runs of %v and %v", took, a.sizes, b.sizes)
		}
	})
}

// Whatever the strategy, no more runs are under way on the CPU than there are cores, and every answer is right.
func TestStageStress(t *testing.T) {
	for _, b := range []Batching{{Single, 1}, {Calls, 3}, {Shared, 5}} {
		f := &fakeModel{takes: 50 * time.Microsecond}
		s, err := newStage(stageConfig{
			role: "fake", cores: NewCores(3), batching: b, runners: []runner{f}, newRun: fakeRun, onCPU: true,
			delay: 200 * time.Microsecond, queue: 100, free: func() error { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		for i := range 40 {
			calls.Go(func() {
				for n := range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n%7)*200*time.Microsecond)
					if err := double(ctx, s, 1000*i+n, 1+(i+n)%9); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		calls.Wait()
		if err := double(t.Context(), s, 1, 30); err != nil {
			t.Error(err)
		}
		if n := f.most.Load(); n > 3 {
			t.Errorf("%v: %d runs at once on 3 cores", b, n)
		}
		if err := s.close(); err != nil || len(s.cores.free) != 3 || len(s.idle) != cap(s.idle) {
			t.Errorf("%v: %d cores and %d of %d memories at home, %v", b, len(s.cores.free), len(s.idle), cap(s.idle), err)
		}
	}
}

// Items of one call run side by side on idle cores, and one after another where there are none.
func TestSpread(t *testing.T) {
	for cores, want := range map[int]time.Duration{1: 6 * time.Millisecond, 2: 3 * time.Millisecond, 6: time.Millisecond, 9: time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			c := NewCores(cores)
			c.take()
			start := time.Now()
			var did atomic.Int32
			if err := c.spread(6, func(int) error { did.Add(1); time.Sleep(time.Millisecond); return nil }); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != want || did.Load() != 6 || len(c.free) != cores-1 {
				t.Errorf("%d cores: %d done in %v, %d idle; want %v", cores, did.Load(), took, len(c.free), want)
			}
			c.give()
		})
	}
}

// With a device, the faces of one photo share its runs even where there is one core: whoever waits gives it on.
func TestSpreadCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeModel{}
		s := fakeStage(t, f, Batching{Shared, 8}, 1)
		defer s.close()
		s.cores.crew.Store(16)
		s.cores.take()
		defer s.cores.give()
		got := make([]float32, 20)
		err := s.cores.spread(len(got), func(i int) error {
			return s.do(t.Context(), 1, func(_ int, in []float32) { in[0] = float32(i) }, func(_ int, outs [][]float32) { got[i] = outs[0][0] })
		})
		if err != nil {
			t.Error(err)
		}
		for i, v := range got {
			if v != float32(2*i) {
				t.Errorf("item %d: %v", i, v)
			}
		}
		if len(f.sizes) > 6 {
			t.Errorf("runs of %v items", f.sizes)
		}
	})
}

// A spread leaves the cores that it found to who wants them, an item later.
func TestSpreadYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCores(2)
		c.take()
		var other sync.WaitGroup
		other.Go(func() {
			time.Sleep(time.Millisecond / 2)
			start := time.Now()
			c.take()
			if took := time.Since(start); took != time.Millisecond/2 {
				t.Errorf("waited %v for a core", took)
			}
			time.Sleep(10 * time.Millisecond)
			c.give()
		})
		_ = c.spread(10, func(int) error { time.Sleep(time.Millisecond); return nil })
		c.give()
		other.Wait()
	})
}

// A core that is on its way to who waits for it is nobody else's.
func TestTryLeavesWanted(t *testing.T) {
	c := NewCores(1)
	c.wanted.Add(1)
	if c.try() {
		t.Error("an idle core was taken before those who wait")
	}
	c.wanted.Add(-1)
	if !c.try() {
		t.Error("an idle core that nobody waits for was not taken")
	}
}

func TestSpreadErrors(t *testing.T) {
	c := NewCores(4)
	c.take()
	defer c.give()
	err := c.spread(100, func(i int) error {
		if i >= 3 {
			return fmt.Errorf("item %d", i)
		}
		runtime.Gosched()
		return nil
	})
	if err == nil || err.Error() != "item 3" {
		t.Errorf("%v, want that of the first", err)
	}
	if err := c.spread(0, nil); err != nil {
		t.Error(err)
	}
}

func TestParseBatching(t *testing.T) {
	for text, want := range map[string]Batching{"single": {Single, 1}, "calls:8": {Calls, 8}, "shared:32": {Shared, 32}} {
		if got, err := ParseBatching(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "single:2", "calls", "shared:0", "shared:257", "shared:x", "other:3", "calls:-1"} {
		if got, err := ParseBatching(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}
