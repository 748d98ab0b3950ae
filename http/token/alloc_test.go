//go:build !race

package token

import (
	"bytes"
	"encoding/base64"
	"runtime"
	"testing"
	"time"
)

// bytesOf is what one run of f allocates.
func bytesOf(f func()) int {
	const runs = 20
	var before, after runtime.MemStats
	f()
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc-before.TotalAlloc) / runs
}

// Promise 5: what isn't authentic costs no memory of its size; what is, once its size.
func TestMemoryOfOpening(t *testing.T) {
	s := newTestSealer(t, Config{})
	claims := testClaims()
	claims.Payload = make([]byte, 1<<20)
	sealed := mustSeal(t, s, claims)
	open := func(token []byte, want error) int {
		return bytesOf(func() {
			if _, err := s.Open(token, testWant()); err != want {
				t.Fatal(err)
			}
		})
	}
	const fixed = 4 << 10
	n := open(sealed, nil)
	if t.Logf("%d bytes beside the payload", n-1<<20); n > 1<<20+1<<13+fixed { // Go rounds large ones up to pages of 8 KiB
		t.Errorf("1 MiB opens in %d bytes", n)
	}
	for at := range peekChars - 5 { // the last five characters hold four bytes of the nonce
		forged := bytes.Clone(sealed)
		if forged[at] = 'A'; sealed[at] == 'A' {
			forged[at] = 'B'
		}
		if n := open(forged, ErrDoesNotOpen); n > fixed {
			t.Errorf("with character %d forged, %d bytes are allocated", at, n)
		}
	}
	if n := open(append(sealed, bytes.Repeat([]byte("A"), 100<<20)...), ErrDoesNotOpen); n > 0 {
		t.Errorf("for 100 MiB, %d bytes are allocated", n)
	}
}

func TestMemoryOfSealing(t *testing.T) {
	s := newTestSealer(t, Config{})
	claims := testClaims()
	claims.Payload = make([]byte, 1<<20)
	dst := make([]byte, 0, base64.StdEncoding.EncodedLen(1<<20+1000))
	n := bytesOf(func() {
		if _, err := s.AppendSealed(dst, claims); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1<<20+1<<14 {
		t.Errorf("1 MiB is sealed in %d bytes", n)
	}
	t.Logf("beside the payload: %d bytes", n-1<<20)
}

// The bound of NewMemory's comment, of a full one.
func TestMemoryOfMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := NewMemory(defaultSpent, time.Now)
	until := time.Now().Add(time.Hour)
	for i := range defaultSpent {
		if err := m.Spend(Use{ID{byte(i), byte(i >> 8), byte(i >> 16)}, time.Now(), until}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int(after.HeapAlloc-before.HeapAlloc) / defaultSpent
	if t.Logf("%d bytes for each token", each); each > 90 {
		t.Errorf("a used token takes %d bytes", each)
	}
	runtime.KeepAlive(m)
}
