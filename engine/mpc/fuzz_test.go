package mpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
)

// FuzzReadFrame: what is read is what was written; anything else is an error, and costs no memory that was not sent.
func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(nil, Frame{1, FrameVerify, 0, []byte("payload")}))
	f.Add(AppendFrame(AppendFrame(nil, Frame{SID: 2, Type: framePing}), Frame{SID: 3, Type: frameSessionAborted, Payload: []byte{1, 0, 0, 0, 0}}))
	f.Add(binary.LittleEndian.AppendUint32(nil, 1<<32-1))
	f.Add(append(binary.LittleEndian.AppendUint32(nil, MaxFrame+restOfHead), make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			before := r.Len()
			frame, err := ReadFrame(r)
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, ErrFrame) {
					t.Fatal(err)
				}
				return
			}
			if at := len(b) - before; !bytes.Equal(AppendFrame(nil, frame), b[at:len(b)-r.Len()]) {
				t.Fatal("it was written otherwise")
			}
			if frame.Type == frameSessionAborted && !errors.Is(abortOf(frame.Payload), ErrAborted) {
				t.Fatal("an abort that is none")
			}
		}
	})
}

// FuzzShares has the decoders of shares and answers.
func FuzzShares(f *testing.F) {
	q := make([]uint32, 8)
	for _, b := range SplitPacked(q) {
		f.Add(b, uint16(8))
	}
	f.Add(AppendShare(nil, Split(q)[1]), uint16(8))
	f.Add(AppendBits(nil, Bits{65, []uint64{1, 1}, []uint64{2, 0}}), uint16(65))
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		if s, rest, err := UnpackShare(b, int(n)); err == nil && (!s.fits(int(n)) || len(rest) >= len(b)) {
			t.Fatal("a packed share of another length")
		}
		if s, err := ParseShare(b, int(n)); err == nil && !bytes.Equal(AppendShare(nil, s), b) {
			t.Fatal("a share was written otherwise")
		}
		if a, err := ParseBits(b, int(n)); err == nil && !bytes.Equal(AppendBits(nil, a), b) {
			t.Fatal("answers were written otherwise")
		}
	})
}

func TestShares(t *testing.T) {
	rng := seeded(t)
	for _, dim := range []int{1, 2, 33, 512, MaxDim} {
		q := make([]uint32, dim)
		for j := range q {
			q[j] = rng.Uint32()
		}
		var unpacked [Parties]Share
		for i, b := range SplitPacked(q) {
			s, rest, err := UnpackShare(append(b, "rest"...), dim)
			if err != nil || string(rest) != "rest" {
				t.Fatal(err)
			}
			unpacked[i] = s
			for n := 0; n < len(b); n += 1 + n/8 {
				if _, _, err := UnpackShare(b[:n], dim); !errors.Is(err, ErrShare) {
					t.Fatalf("%d of %d bytes: %v", n, len(b), err)
				}
			}
		}
		for _, shares := range [][Parties]Share{unpacked, Split(q)} {
			for i, s := range shares {
				next := shares[(i+1)%Parties]
				if !slices.Equal(s.Next, next.Own) {
					t.Fatalf("the copies of component %d differ", (i+1)%Parties)
				}
				if !slices.Equal(Join(s, next), q) {
					t.Fatalf("parties %d and the next don't have the vector", i)
				}
			}
			short := shares[1].Short()
			if short.Own[0] != uint16(shares[1].Own[0]) || len(short.Next) != dim {
				t.Fatal("a short share is not the share modulo 2^16")
			}
		}
	}
}

// Join is what two parties together have, i and i+1: everything. It is in no program.
func Join(s, next Share) []uint32 {
	q := make([]uint32, len(s.Own))
	for j := range q {
		q[j] = s.Own[j] + s.Next[j] + next.Next[j]
	}
	return q
}

func TestOpenBits(t *testing.T) {
	good := func() [Parties]Bits {
		c := [Parties][]uint64{{5}, {6}, {1}}
		var b [Parties]Bits
		for i := range b {
			b[i] = Bits{3, slices.Clone(c[i]), slices.Clone(c[(i+1)%Parties])}
		}
		return b
	}
	if got, err := OpenBits(good()); err != nil || !slices.Equal(got, []bool{false, true, false}) {
		t.Fatal(got, err)
	}
	for i := range Parties {
		for name, change := range map[string]func(b *Bits){
			"own":   func(b *Bits) { b.Own[0] ^= 2 },
			"next":  func(b *Bits) { b.Next[0] ^= 1 },
			"count": func(b *Bits) { b.N = 4 },
			"words": func(b *Bits) { b.Own = append(b.Own, 0) },
			"none":  func(b *Bits) { *b = Bits{} },
		} {
			b := good()
			change(&b[i])
			if _, err := OpenBits(b); !errors.Is(err, ErrResult) {
				t.Errorf("party %d, %s: %v", i, name, err)
			}
		}
	}
	if _, err := ParseBits(AppendBits(nil, Bits{3, []uint64{8}, []uint64{0}}), 3); !errors.Is(err, ErrResult) {
		t.Error("a bit behind the answers")
	}
}
