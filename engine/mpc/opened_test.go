package mpc

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func testStore(t *testing.T) *partyStore {
	t.Helper()
	s, err := openPartyStore(vfs.NewCrashableMem(), "data", "c", 0, newTestRoot(t, "a"), testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// enrolled writes a generation of a record whose components all are its number.
func enrolled(t *testing.T, s *partyStore, of Subject, gen uint32) {
	t.Helper()
	v := shares{share: Share{slices.Repeat([]uint32{gen}, 8), slices.Repeat([]uint32{gen}, 8)}}
	h := head{state: stateActive, logScale: VerifyLogScale, dim: 8, model: 1, gen: gen, tx: newID(), template: templateOf(of, ID{})}
	if err := s.prepare([]Subject{of}, []head{h}, []shares{v}, s.versionNow()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.commit(batch{of.Tenant, h.tx, []member{{of.RID, gen, ID{}}}}); err != nil {
		t.Fatal(err)
	}
}

func wiped(s Share) bool {
	return !slices.ContainsFunc(append(slices.Clone(s.Own), s.Next...), func(v uint32) bool { return v != 0 })
}

// TestOpenRecordsAreWiped: what is open of a record that is replaced or erased is overwritten, when its last user is done with it, and nobody is
// given it any more.
func TestOpenRecordsAreWiped(t *testing.T) {
	s, of := testStore(t), Subject{newID(), newID()}
	enrolled(t, s, of, 1)
	first, err := s.open(of)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.open(of)
	if err != nil || again != first || first.share.Own[0] != 1 {
		t.Fatal("a record that is open was read again", err)
	}
	enrolled(t, s, of, 2)
	s.opened.release([]*openRecord{first})
	if wiped(first.share) {
		t.Error("a record was overwritten while it is used")
	}
	s.opened.release([]*openRecord{again})
	if !wiped(first.share) {
		t.Error("a record that was replaced is still in memory")
	}
	second, err := s.open(of)
	if err != nil || second.head.gen != 2 || second.share.Own[0] != 2 {
		t.Fatal(second, err)
	}
	s.opened.release([]*openRecord{second})
	if _, err := s.erase(erasure{of: of, tx: newID(), gen: 2}, 1); err != nil {
		t.Fatal(err)
	}
	if !wiped(second.share) {
		t.Error("a record that was erased is still in memory")
	}
	_, err = s.open(of)
	wantErr(t, err, ErrUnknown)
}

// TestOpenRecordsOfARefresh: those of shares that are past are overwritten, and the parties go on with the new ones.
func TestOpenRecordsOfARefresh(t *testing.T) {
	rng, w := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	w.enrol("u", x)
	w.verify("u", x, true)
	of := w.gateway.dir.subject("t", "u")
	var before [Parties]*openRecord
	for i, p := range w.parties {
		if before[i] = p.store.opened.take(of); before[i] == nil {
			t.Fatalf("party %d keeps nothing of who was verified", i)
		}
		p.store.opened.release(before[i : i+1])
	}
	if err := w.gateway.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := range w.parties {
		if !wiped(before[i].share) {
			t.Errorf("party %d has shares of before the refresh in memory", i)
		}
	}
	w.verify("u", x, true)
}

// TestOpenRecordsAreBounded: others make room.
func TestOpenRecordsAreBounded(t *testing.T) {
	var r openRecords
	share := Share{make([]uint32, 1<<20), nil} // counted as 8 MiB
	for range 3 * openedBytes / (8 << 20) {
		o := r.keep(Subject{newID(), newID()}, &openRecord{share: share})
		r.release([]*openRecord{o})
		if r.bytes > openedBytes || len(r.of) == 0 {
			t.Fatalf("%d records of %d bytes are kept", len(r.of), r.bytes)
		}
	}
	r.dropAll()
	if r.bytes != 0 || len(r.of) != 0 {
		t.Errorf("%d bytes are left of nothing", r.bytes)
	}
}

// TestOpenRecordsWhileWritten: whatever readers do meanwhile, from when a write returned nobody is given what was before it.
func TestOpenRecordsWhileWritten(t *testing.T) {
	s, of := testStore(t), Subject{newID(), newID()}
	var written atomic.Uint32 // twice the generation, and one more once it is erased
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !isClosed(stop) {
				least := written.Load()
				o, err := s.open(of)
				if err != nil {
					continue // it is erased, or not there yet
				}
				if gen := o.head.gen; 2*gen < least || o.share.Own[0] != gen || o.share.Next[7] != gen {
					t.Errorf("generation %d of %v was open after write %d", gen, o.share, least)
				}
				s.opened.release([]*openRecord{o})
			}
		})
	}
	for gen := uint32(1); gen <= 60; gen++ {
		enrolled(t, s, of, gen)
		written.Store(2 * gen)
		if gen%3 == 0 {
			if _, err := s.erase(erasure{of: of, tx: newID(), gen: gen}, 1); err != nil {
				t.Fatal(err)
			}
			written.Store(2*gen + 1)
		}
	}
	close(stop)
	wg.Wait()
}
