package token

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func singleUse(ttl time.Duration) Claims {
	c := testClaims()
	c.SingleUse, c.TTL = true, ttl
	return c
}

// Promise 4: of any number of openers at once, one wins, and the keys may change meanwhile.
func TestSingleUseUnderConcurrency(t *testing.T) {
	s := newTestSealer(t, Config{})
	const tokens, openers = 40, 16
	var sealed [tokens][]byte
	var won, lost [tokens]atomic.Int32
	for i := range sealed {
		sealed[i] = mustSeal(t, s, singleUse(time.Minute))
	}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range openers {
		wg.Go(func() {
			<-start
			for i := range tokens { // all in one order, so that they meet
				switch _, err := s.Open(sealed[i], testWant()); {
				case err == nil:
					won[i].Add(1)
				case errors.Is(err, ErrReplayed):
					lost[i].Add(1)
				default:
					t.Errorf("token %d: %v", i, err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range uint32(200) {
			if err := s.SetKeys(testKey(100+i, byte(i+1)), testKey(7, 0x0b)); err != nil {
				t.Error(err)
			}
		}
	})
	close(start)
	wg.Wait()
	for i := range tokens {
		if won[i].Load() != 1 || lost[i].Load() != openers-1 {
			t.Errorf("token %d opened %d times, was refused %d times", i, won[i].Load(), lost[i].Load())
		}
	}
}

// The same of Memory alone, where openers spend no time but in it.
func TestMemoryUnderConcurrency(t *testing.T) {
	const uses, spenders = 20000, 8
	m := NewMemory(uses, newClock().now)
	var won [uses]atomic.Int32
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range spenders {
		wg.Go(func() {
			<-start
			for i := range uses {
				u := Use{ID{byte(i), byte(i >> 8)}, time.Unix(testIssued, 0), time.Unix(testExpires, 0)}
				if m.Spend(u) == nil {
					won[i].Add(1)
				}
				if i%16 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	close(start)
	wg.Wait()
	for i := range uses {
		if n := won[i].Load(); n != 1 {
			t.Errorf("use %d was taken %d times", i, n)
		}
	}
}

// A token that is refused for another reason, or isn't authentic, is not spent.
func TestRefusedIsNotSpent(t *testing.T) {
	c := newClock()
	s := newTestSealer(t, Config{Now: c.now})
	sealed := mustSeal(t, s, singleUse(time.Minute))
	for _, w := range []Want{{}, {Type: TypeProbe, Purpose: PurposeAuthenticate, Audience: "dev-1"},
		{Type: TypeTemplate, Purpose: PurposeAuthenticate, Audience: "dev-1", Subject: "bob"},
		{Type: TypeTemplate, Purpose: PurposeAuthenticate, Audience: "dev-1", Space: "s2"}} {
		if _, err := s.Open(sealed, w); err == nil || errors.Is(err, ErrReplayed) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	c.advance(-time.Minute)
	_, err := s.Open(sealed, testWant())
	wantErr(t, "early", err, ErrEarly)
	c.advance(time.Minute)
	_, err = s.Open(sealed, testWant())
	wantErr(t, "in time", err, nil)
	_, err = s.Open(sealed, testWant())
	wantErr(t, "again", err, ErrReplayed)
}

// A used token is refused at every moment until it has expired, with the skew, and never opens afterwards, not even if
// the clock goes back.
func TestRemembersUntilExpiry(t *testing.T) {
	c := newClock()
	m := NewMemory(10, c.now)
	s := newTestSealer(t, Config{Now: c.now, Spent: m, Skew: 1500 * time.Microsecond})
	sealed := mustSeal(t, s, singleUse(time.Second))
	open := func() error { _, err := s.Open(sealed, testWant()); return err }
	wantErr(t, "first", open(), nil)
	for range 1000 {
		wantErr(t, "before expiry", open(), ErrReplayed)
		c.advance(time.Millisecond)
	}
	c.advance(1500 * time.Microsecond)
	wantErr(t, "the last moment", open(), ErrReplayed)
	c.advance(time.Nanosecond)
	wantErr(t, "expired", open(), ErrExpired)
	c.advance(time.Second)
	other := mustSeal(t, s, singleUse(time.Second))
	_, err := s.Open(other, testWant())
	wantErr(t, "another", err, nil)
	if n := len(m.mu.used); n != 1 || len(m.mu.queue) != 1 {
		t.Errorf("%d are remembered where 1 has not expired", n)
	}
	c.advance(-1500 * time.Millisecond)
	wantErr(t, "forgotten, and the clock set back", open(), ErrReplayed)
}

func TestFullRefuses(t *testing.T) {
	c := newClock()
	s := newTestSealer(t, Config{Now: c.now, Skew: -1, Spent: NewMemory(3, c.now)})
	open := func(token []byte) error { _, err := s.Open(token, testWant()); return err }
	first := mustSeal(t, s, singleUse(time.Second))
	wantErr(t, "1", open(first), nil)
	wantErr(t, "2", open(mustSeal(t, s, singleUse(time.Hour))), nil)
	wantErr(t, "3", open(mustSeal(t, s, singleUse(time.Hour))), nil)
	late := mustSeal(t, s, singleUse(time.Hour))
	wantErr(t, "4", open(late), ErrFull)
	wantErr(t, "1 again", open(first), ErrReplayed)
	many := testClaims()
	wantErr(t, "not single use", open(mustSeal(t, s, many)), nil)
	c.advance(time.Second + time.Millisecond)
	wantErr(t, "4, with room", open(late), nil)
	wantErr(t, "5", open(mustSeal(t, s, singleUse(time.Hour))), ErrFull)
}

// A Memory that begins anew, as after a restart, takes no token from before.
func TestRestart(t *testing.T) {
	c := newClock()
	c.advance(700 * time.Millisecond)
	s := newTestSealer(t, Config{Now: c.now})
	before := mustSeal(t, s, singleUse(time.Hour))
	_, err := s.Open(before, testWant())
	wantErr(t, "before", err, nil)
	c.advance(time.Second)
	again := newTestSealer(t, Config{Now: c.now})
	_, err = again.Open(before, testWant())
	wantErr(t, "after", err, ErrReplayed)
	_, err = again.Open(mustSeal(t, again, singleUse(time.Hour)), testWant())
	wantErr(t, "a new one", err, nil)
}

type failing struct{ error }

func (f failing) Spend(Use) error { return f.error }

// Without a record of its use a token does not open.
func TestSpentFails(t *testing.T) {
	broken := errors.New("disk is gone")
	s := newTestSealer(t, Config{Spent: failing{broken}})
	o, err := s.Open(mustSeal(t, s, singleUse(time.Minute)), testWant())
	if wantErr(t, "broken", err, broken); o.Payload != nil {
		t.Error("a payload comes with an error")
	}
}

// Random uses at random times agree with a record of everything.
func TestMemoryAgainstRecord(t *testing.T) {
	c := newClock()
	const capacity = 20
	m := NewMemory(capacity, c.now)
	record := map[ID]time.Time{}
	full, replayed := 0, 0
	for i := range 5000 {
		c.advance(time.Duration(i*7919%400) * time.Millisecond)
		u := Use{ID: ID{byte(i * 31), byte(i * 31 >> 8)}, Issued: c.now(), Until: c.now().Add(time.Duration(i*104729%9000) * time.Millisecond)}
		if i%5 == 0 {
			u.ID = ID{byte((i - 3) * 31), byte((i - 3) * 31 >> 8)}
		}
		live := 0
		for _, until := range record {
			if !until.Before(c.now()) {
				live++
			}
		}
		var want error
		if until, used := record[u.ID]; used && !until.Before(c.now()) {
			want = ErrReplayed
			replayed++
		} else if live >= capacity {
			want = ErrFull
			full++
		}
		err := m.Spend(u)
		if wantErr(t, fmt.Sprint("use ", i), err, want); err == nil {
			record[u.ID] = u.Until
		}
	}
	if full < 50 || replayed < 50 {
		t.Errorf("only %d were refused as full, %d as replayed", full, replayed)
	}
}
