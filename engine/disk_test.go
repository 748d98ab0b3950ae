package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// failAfter fails every write-side operation that matches, from the countdown's end on, as a full disk does.
type failAfter struct {
	countdown atomic.Int64
	match     func(errorfs.Op) bool
}

func (f *failAfter) String() string { return "fail after" }

func (f *failAfter) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpLock || !f.match(op) || f.countdown.Add(-1) >= 0 {
		return nil
	}
	return syscall.ENOSPC
}

func isWAL(op errorfs.Op) bool   { return strings.HasSuffix(op.Path, ".log") }
func isTable(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".sst") }
func isManifest(op errorfs.Op) bool {
	return strings.Contains(op.Path, "MANIFEST") || strings.Contains(op.Path, "marker")
}

// TestDiskFails breaks the disk at every kind of file, at a random operation, under concurrent writers with
// flushes. The process lives; reads and searches go on; after a restart every acknowledged write is there.
func TestDiskFails(t *testing.T) {
	for name, match := range map[string]func(errorfs.Op) bool{
		"log": isWAL, "table": isTable, "manifest": isManifest, "any": func(errorfs.Op) bool { return true },
		"new log": func(op errorfs.Op) bool {
			return isWAL(op) && (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite)
		},
		"log sync": func(op errorfs.Op) bool {
			return isWAL(op) && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData)
		},
	} {
		t.Run(name, func(t *testing.T) {
			rng := newRand(t)
			for range scaled(3) {
				diskRound(t, rng, match)
			}
		})
	}
}

func diskRound(t *testing.T, rng *rand.Rand, match func(errorfs.Op) bool) {
	const clients = 3
	mem, fail := vfs.NewCrashableMem(), &failAfter{match: match}
	fail.countdown.Store(1 << 40)
	e := open(t, testConfig(errorfs.Wrap(mem, fail)))
	ledgers := make([]*ledger, clients)
	for i := range ledgers {
		mustGallery(t, e, "t", fmt.Sprintf("g%d", i))
		ledgers[i] = &ledger{acked: map[string]uint64{}, space: spaceA}
	}
	keep := PersonSpec{Templates: []Template{template(1, 2, 3, 4)}}
	if _, _, err := e.PutPerson(t.Context(), "t", "g0", "kept", keep); err != nil {
		t.Fatal(err)
	}
	fail.countdown.Store(int64(rng.IntN(12)))
	stop := new(atomic.Bool)
	var wg sync.WaitGroup
	for i, l := range ledgers {
		own := rand.New(rand.NewPCG(rng.Uint64(), 2))
		wg.Go(func() {
			if err := l.run(e, fmt.Sprintf("g%d", i), own, stop); err != nil {
				wantErr(t, err, ErrStorageFailed)
			}
		})
	}
	halted := flushUntilHalted(e)
	stop.Store(true)
	wg.Wait()
	if !halted {
		t.Fatal("the injected error never came")
	}
	readsGoOn(t, e)
	wantErr(t, e.Close(), ErrStorageFailed)
	for _, clone := range []*vfs.MemFS{mem.CrashClone(vfs.CrashCloneCfg{}), mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})} {
		final := snapshots(ledgers)
		final[0].acked["kept"] = 5 // meta, three galleries, then this
		openImage(t, clone, final, final)
	}
}

// flushUntilHalted makes Pebble rotate its log and write tables and manifests; it runs as Pebble's own
// background work does, in a goroutine that a halt may park.
func flushUntilHalted(e *Engine) bool {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				_, _ = e.store.db.AsyncFlush()
			}
		}
	}()
	select {
	case <-e.store.fs.halted:
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

func readsGoOn(t *testing.T, e *Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	probe := template(1, 2, 3, 4)
	if d, err := e.Verify(ctx, "t", "g0", "kept", probe, Policy{}); err != nil || !d.Match {
		t.Errorf("verify: %+v, %v", d, err)
	}
	if c, err := e.Identify(ctx, "t", "g0", probe, IdentifyOptions{}); err != nil || len(c.Candidates) == 0 {
		t.Errorf("identify: %+v, %v", c, err)
	}
	if p, err := e.Person(ctx, "t", "g0", "kept"); err != nil || p.ID != "kept" {
		t.Errorf("get: %+v, %v", p, err)
	}
	if _, _, err := e.People(ctx, "t", "g0", 0, ""); err != nil && !errors.Is(err, ErrStorageFailed) {
		t.Errorf("list: %v", err)
	}
	wantErr(t, e.Ready(), ErrStorageFailed)
	_, _, err := e.CreateGallery(ctx, "t", "another", GallerySpec{})
	wantErr(t, err, ErrStorageFailed)
	if Detail(err) == "" {
		t.Error("the client is told nothing")
	}
}

// TestOpenFails: errors while opening are returned, and nothing is left locked.
func TestOpenFails(t *testing.T) {
	for name, match := range map[string]func(errorfs.Op) bool{"log": isWAL, "manifest": isManifest, "any": func(errorfs.Op) bool { return true }} {
		t.Run(name, func(t *testing.T) {
			for n := range 25 {
				mem, fail := vfs.NewCrashableMem(), &failAfter{match: match}
				fail.countdown.Store(int64(n))
				e, err := Open(testConfig(errorfs.Wrap(mem, fail)))
				if err == nil {
					_ = e.Close() // later operations may fail here
				}
				again, err := Open(testConfig(mem))
				if err != nil {
					t.Fatalf("after a failure at %d: %v", n, err)
				}
				if err := again.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestOpenOnFullDisk: a store whose log must be replayed to tables, on a disk that has no room for them. Open says
// so, the lock is free, nothing spins, and with room again everything is there.
func TestOpenOnFullDisk(t *testing.T) {
	mem, ids := vfs.NewCrashableMem(), map[string]uint64{}
	e := open(t, testConfig(mem))
	mustGallery(t, e, "t", "g0")
	metadata := fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("y", 8000))
	for i := range 60 { // more than the first memtable
		p, _, err := e.PutPerson(t.Context(), "t", "g0", fmt.Sprint(i), PersonSpec{Templates: []Template{template(1, 2, 3, 4)}, Metadata: metadata})
		if err != nil {
			t.Fatal(err)
		}
		ids[p.ID] = p.Version
	}
	all := []*ledger{{acked: ids}}
	for name, match := range map[string]func(errorfs.Op) bool{"log": isWAL, "table": isTable, "manifest": isManifest, "any": func(errorfs.Op) bool { return true }} {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for n := 0; n < 60; n += 1 + n/shorter(4, 1) {
				image, fail := mem.CrashClone(vfs.CrashCloneCfg{}), &failAfter{match: match}
				fail.countdown.Store(int64(n))
				if err := openWithin(t, testConfig(errorfs.Wrap(image, fail))); err != nil {
					failed++
					wantErr(t, err, ErrStorageFull)
					wantErr(t, err, syscall.ENOSPC)
				}
				ops := fail.countdown.Load()
				time.Sleep(5 * time.Millisecond)
				if again := fail.countdown.Load(); again != ops {
					t.Errorf("after Open failed, %d operations more", ops-again)
				}
				openImage(t, image, all, all)
			}
			if failed == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

// openWithin opens an engine and closes it again.
func openWithin(t *testing.T, c Config) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		e, err := Open(c)
		if err == nil {
			_ = e.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("Open does not return")
		return nil
	}
}

// TestOpenNeedsRoom: below a quarter of MinFreeBytes, a store is refused before its log is replayed; one that is
// in use is still said to be.
func TestOpenNeedsRoom(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(1000)
	c := testConfig(fs)
	c.MinFreeBytes = 400
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	fs.free.Store(99)
	_, err := Open(c)
	wantErr(t, err, ErrInUse)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(c)
	if wantErr(t, err, ErrStorageFull); !strings.Contains(err.Error(), "no room to open the store") {
		t.Errorf("it says %q", err)
	}
	never := c
	never.MinFreeBytes = -1
	if err := open(t, never).Close(); err != nil {
		t.Error(err)
	}
	fs.free.Store(100)
	mustCheck(t, open(t, c))
}

func TestStorageFull(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(1000)
	c := testConfig(fs)
	c.MinFreeBytes, c.diskCheckEvery = 400, time.Nanosecond
	e, ctx := open(t, c), t.Context()
	mustGallery(t, e, "t", "g")
	spec := PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}
	put := func() error {
		_, _, err := e.PutPerson(ctx, "t", "g", "p", spec)
		return err
	}
	if err := errors.Join(put(), e.Ready()); err != nil {
		t.Fatal(err)
	}
	fs.free.Store(399)
	wantErr(t, put(), ErrStorageFull)
	wantErr(t, e.Ready(), ErrStorageFull)
	if _, err := e.Verify(ctx, "t", "g", "p", template(1, 0, 0, 0), Policy{}); err != nil {
		t.Errorf("verify on a full disk: %v", err)
	}
	if err := e.DeletePerson(ctx, "t", "g", "p", WriteOptions{}); err != nil {
		t.Errorf("deletions free space and must pass: %v", err)
	}
	fs.free.Store(99)
	wantErr(t, e.DeleteGallery(ctx, "t", "g"), ErrStorageFull)
	fs.free.Store(400)
	if err := errors.Join(put(), e.Ready()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	mustCheck(t, e)
}

type sizedFS struct {
	vfs.FS
	free atomic.Uint64
}

func (s *sizedFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: s.free.Load(), TotalBytes: 1 << 20}, nil
}
