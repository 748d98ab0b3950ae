package token

import (
	"fmt"
	"testing"
)

func BenchmarkSealAndOpen(b *testing.B) {
	s := newTestSealer(b, Config{})
	for _, n := range []int{1040, 200 << 10} {
		claims := testClaims()
		claims.Payload = make([]byte, n)
		sealed := mustSeal(b, s, claims)
		b.Run(fmt.Sprintf("seal/bytes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			dst := make([]byte, 0, 2*n)
			for b.Loop() {
				if _, err := s.AppendSealed(dst, claims); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("open/bytes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				if _, err := s.Open(sealed, testWant()); err != nil {
					b.Fatal(err)
				}
			}
		})
		forged := append([]byte(nil), sealed...)
		forged[60] ^= 1 // of the commitment
		b.Run(fmt.Sprintf("refuse/bytes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Open(forged, testWant()); err == nil {
					b.Fatal("a forged token opens")
				}
			}
		})
	}
}
