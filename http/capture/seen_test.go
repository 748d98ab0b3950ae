package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"mien/engine"
)

// memory is an engine for frames that were seen, and a clock.
type memory struct {
	*engine.Engine
	t   *testing.T
	dir string
	now time.Time
	mu  sync.Mutex
}

func newMemory(t *testing.T) *memory {
	m := &memory{t: t, dir: t.TempDir(), now: time.Date(2026, 11, 30, 23, 50, 0, 0, time.UTC)}
	m.open()
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func (m *memory) open() {
	var err error
	m.Engine, err = engine.Open(engine.Config{Dir: m.dir, MasterKey: make([]byte, engine.MasterKeyBytes), Spaces: []engine.Space{{ID: "s", Dim: 8,
		Calibration: engine.Calibration{Points: []engine.CalibrationPoint{{Cosine: .2, FMR: 1e-2}, {Cosine: .6, FMR: 1e-6}}}}},
		Now: func() time.Time { m.mu.Lock(); defer m.mu.Unlock(); return m.now }})
	if err != nil {
		m.t.Fatal(err)
	}
	for _, tenant := range []string{"t", "u"} {
		if _, _, err := m.CreateGallery(m.t.Context(), tenant, "g", engine.GallerySpec{}); err != nil && !errors.Is(err, engine.ErrGalleryExists) {
			m.t.Fatal(err)
		}
	}
}

func (m *memory) passes(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

// printsOf are those of n frames like no others.
func printsOf(seed uint64, n int) []print {
	rng := rand.New(rand.NewPCG(seed, 9))
	list := make([]print, n)
	for i := range list {
		for j := range list[i] {
			list[i][j] = rng.Uint64()
		}
	}
	return list
}

// note demands how many of a session's frames were seen.
func (m *memory) note(s *seen, tenant, session string, prints []print, want int) {
	m.t.Helper()
	if n, err := s.note(m.t.Context(), tenant, session, prints); err != nil || n != want {
		m.t.Fatalf("%s: %d were seen (%v), want %d", session, n, err, want)
	}
}

// What another session of the tenant has sent is known for 30 days, after a restart as before; the session's own is not taken for it.
func TestSeen(t *testing.T) {
	m := newMemory(t)
	s := newSeen(m.Engine)
	first := printsOf(1, 7)
	m.note(s, "t", "a", first, 0)
	m.note(s, "t", "a", first, 0) // again, in another try
	m.note(s, "u", "b", first, 0) // of another tenant
	m.note(s, "t", "b", append(printsOf(2, 4), first[2:5]...), 3)
	m.note(s, "t", "b", first[2:5], 3) // to be caught does not make them its own

	half := printsOf(3, 2)
	copy(half[0][:], first[0][:printAlike]) // two words of one frame
	copy(half[1][:printAlike-1], first[1][:])
	half[1][3] = first[2][3] // one of each of two frames of one session is as good
	m.note(s, "t", "c", half, 2)
	one := printsOf(4, 1)
	one[0][0] = first[0][0]
	m.note(s, "t", "d", one, 0)

	m.passes(20 * time.Minute) // the next day
	m.note(s, "t", "e", printsOf(5, 3), 0)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.open()
	s = newSeen(m.Engine)
	m.note(s, "t", "f", first[:2], 2)
	m.note(s, "t", "g", printsOf(5, 3), 3)
	docs, err := m.Documents(t.Context(), "t", kindSeen, 0, "")
	if err != nil || len(docs) != 2 || docs[0].ID != "20261130.000000" || docs[1].ID != "20261201.000000" {
		t.Errorf("%v %v", docs, err)
	}
	for i := range docs {
		if left := docs[i].Expires.Sub(m.now); left < 30*24*time.Hour-time.Hour || left > 32*24*time.Hour || docs[i].Person != "" {
			t.Errorf("%s is kept for %v", docs[i].ID, left)
		}
	}
	m.passes(30*24*time.Hour - time.Hour)
	m.note(s, "t", "h", printsOf(5, 3), 3)
	m.passes(2 * 24 * time.Hour)
	for _, s := range []*seen{s, newSeen(m.Engine)} {
		m.note(s, "t", "i", printsOf(2, 4), 0)
	}
}

// Pages are of a bounded size, and together have all; of requests at the same time none loses another's.
func TestSeenPages(t *testing.T) {
	m := newMemory(t)
	s := newSeen(m.Engine)
	const sessions = 120
	var wg sync.WaitGroup
	for i := range uint64(sessions) {
		wg.Go(func() {
			if n, err := s.note(t.Context(), "t", fmt.Sprint("s", i), printsOf(100+i, 15)); n != 0 || err != nil {
				t.Errorf("%d: %d %v", i, n, err)
			}
		})
	}
	wg.Wait()
	docs, err := m.Documents(t.Context(), "t", kindSeen, 0, "")
	if err != nil || len(docs) < 2 || len(docs) > 5 {
		t.Fatal(len(docs), err)
	}
	for _, d := range docs {
		if len(d.Value) > maxPageBytes {
			t.Errorf("%s has %d bytes", d.ID, len(d.Value))
		}
	}
	again := newSeen(m.Engine)
	for i := range uint64(sessions) {
		m.note(again, "t", fmt.Sprint("x", i), printsOf(100+i, 2), 2)
	}
	after, err := m.Documents(t.Context(), "t", kindSeen, 0, "")
	if err != nil || len(after) < len(docs) {
		t.Error(len(after), err)
	}
}

// Tenants that were not asked for lately leave memory, and are read again.
func TestSeenIsBounded(t *testing.T) {
	m := newMemory(t)
	s := newSeen(m.Engine)
	s.limit = 3 * 10 * printWords
	for i, tenant := range []string{"t", "u", "t", "u"} {
		m.passes(time.Second)
		m.note(s, tenant, fmt.Sprint(i), printsOf(uint64(i), 20), 0)
		if len(s.mu.of) != 1 {
			t.Errorf("%d tenants in memory", len(s.mu.of))
		}
	}
	m.note(s, "t", "x", printsOf(0, 2), 2)
	m.note(s, "u", "x", printsOf(1, 2), 2)

	tenant := &seenTenant{days: map[string]*seenDay{}}
	for day := range 3 {
		d := tenant.day(fmt.Sprintf("2026112%d", day))
		for i := range uint64(maxSeenWords/2 + 1) {
			d.words[i] = 1
		}
	}
	tenant.forget(m.now)
	if len(tenant.days) != 1 || tenant.days["20261122"] == nil {
		t.Errorf("%d days are left", len(tenant.days))
	}
}

// A page that is not one is an error: nobody passes because it could not be read.
func TestSeenCorrupt(t *testing.T) {
	m := newMemory(t)
	put := func(id string, value []byte) {
		_, err := m.ChangeDocument(t.Context(), "t", kindSeen, id, engine.DocumentOptions{}, func(*engine.Document) (*engine.Document, error) {
			return &engine.Document{Value: value}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	page := append(binary.BigEndian.AppendUint64(nil, 7), 2)
	for id, value := range map[string][]byte{"20261130.000000": page, "20261130": nil, "20261130.x": nil} {
		put(id, value)
		if _, err := newSeen(m.Engine).note(t.Context(), "t", "a", printsOf(1, 1)); !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("%s: %v", id, err)
		}
		_, err := m.ChangeDocument(t.Context(), "t", kindSeen, id, engine.DocumentOptions{}, func(*engine.Document) (*engine.Document, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	s := newSeen(m.Engine)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.note(ctx, "t", "a", printsOf(1, 1)); err == nil {
		t.Error("a request that is over notes")
	}
	if _, err := s.note(t.Context(), "nobody", "a", printsOf(1, 1)); !errors.Is(err, engine.ErrTenantNotFound) {
		t.Errorf("no tenant: %v", err)
	}
}

func FuzzSeenPage(f *testing.F) {
	f.Add("20261130.000001", append(append(binary.BigEndian.AppendUint64(nil, 7), 1), make([]byte, 8*printWords)...))
	f.Add("x", []byte{})
	f.Fuzz(func(t *testing.T, id string, value []byte) {
		tenant := &seenTenant{days: map[string]*seenDay{}}
		err := tenant.read(&engine.Document{ID: id, Value: slices.Clone(value)})
		n := 0
		for _, d := range tenant.days {
			n += len(d.words)
		}
		if n > len(value)/8 || err != nil && !errors.Is(err, engine.ErrCorrupt) {
			t.Errorf("%d words of %d bytes, %v", n, len(value), err)
		}
	})
}
