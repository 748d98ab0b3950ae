package mpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
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
	f.Add(appendBits(nil, Bits{65, 1, []uint64{1, 1, 5}, []uint64{2, 0, 6}}), uint16(65))
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		if s, rest, err := UnpackShare(b, int(n)); err == nil && (!s.fits(int(n)) || len(rest) >= len(b)) {
			t.Fatal("a packed share of another length")
		}
		if s, err := ParseShare(b, int(n)); err == nil && !bytes.Equal(AppendShare(nil, s), b) {
			t.Fatal("a share was written otherwise")
		}
		r := &reader{b: b}
		if a := r.bits(); r.end() == nil && !bytes.Equal(appendBits(nil, a), b) {
			t.Fatal("answers were written otherwise")
		}
	})
}

// FuzzRequests has a party without peers answer requests, sealed ones among them: it refuses what is malformed, and what is not ends for want of
// the others. Nobody is enrolled, decided or found by it, and no envelope opens.
func FuzzRequests(f *testing.F) {
	key := mustShareKey(f)
	p, err := OpenParty(PartyConfig{Index: 1, Cluster: "test", Dir: "data", FS: vfs.NewMem(), Root: newTestRoot(f, "fuzz"), Identity: mustIdentity(f, PartyRole(1)),
		Listener: noListener{}, Next: "nobody:1", Policies: testPolicies(f), ShareKey: key, Timeout: time.Nanosecond})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = p.store.end() })
	g := &gatewayLink{index: 7}
	g.drained.Store(true)
	of := Subject{ID{1}, ID{2}}
	share := SplitPacked(make([]uint32, testDim))[1]
	about := Envelope{Cluster: "test", Tenant: of.Tenant, RID: of.RID, Op: SealEnrol, Policy: 1, Party: 1, Instance: p.instance, Nonce: ID{3}, Expires: time.UnixMilli(0)}
	sealed, err := about.Seal(key.PublicKey(), slices.Concat(share, share))
	if err != nil {
		f.Fatal(err)
	}
	verify := (&verifyMessage{1, 1, of.Tenant, []ID{of.RID}, []uint32{1}}).appendTo(nil)
	identify := slices.Concat([]byte{2, 0, 1, 0}, of.Tenant[:])
	prepare := (&prepareMessage{policy: 1, model: 1, batch: batch{of.Tenant, newTx(7), []member{{rid: of.RID, gen: 1}}}, sid: MakeSID(7, 1)}).appendTo(nil)
	for _, b := range [][]byte{share, slices.Concat(share, share), sealed, sealed[:envelopeHead], sealed[:len(sealed)-1], nil} {
		for kind, head := range map[FrameType][]byte{FrameVerify: verify, FrameVerifySealed: verify, FrameIdentify: identify, FrameIdentifySealed: identify,
			FramePrepare: prepare, FramePrepareSealed: prepare} {
			f.Add(byte(kind), slices.Concat(head, b))
		}
	}
	f.Add(byte(FrameHello), p.settings.appendTo([]byte{1}))
	for _, kind := range []FrameType{FrameCommit, FrameAbort, FrameDelete, FrameDeleteTenant, FrameRefreshCommit, FrameHello} {
		f.Add(byte(kind), bytes.Repeat([]byte{1}, 101))
	}
	sid := uint64(1)
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		sid++
		answer, err := p.answer(t.Context(), g, Frame{SID: MakeSID(7, sid), Type: FrameType(kind), Payload: payload})
		switch r := (&reader{b: answer}); FrameType(kind) {
		case FrameVerify, FrameVerifySealed, FrameIdentify, FrameIdentifySealed, FramePrepare, FramePrepareSealed:
			nobody := FrameType(kind) == FrameIdentify && r.u32() == 0 && r.bits().N == 0 && !r.bad // of a tenant that has nobody
			if err == nil && !nobody || err != nil && codeOf(err) == codeInternal {
				t.Fatalf("type %d: %v", kind, err)
			}
			if _, found, _ := p.store.head(of); found || p.nonces.n > 0 {
				t.Fatal("it changed something")
			}
		}
	})
}

// noListener is of a party that is not served.
type noListener struct{ net.Listener }

// FuzzEnvelopes: what an envelope has in its head is read, or refused, and nothing opens that was not sealed.
func FuzzEnvelopes(f *testing.F) {
	key := mustShareKey(f)
	about := Envelope{Cluster: "test", Op: SealVerify, Expires: time.UnixMilli(5)}
	sealed, err := about.Seal(key.PublicKey(), []byte("share"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:envelopeHead+1])
	f.Fuzz(func(t *testing.T, b []byte) {
		e := Envelope{Cluster: "test", Op: SealVerify}
		shares, err := e.Open(key, b)
		if bytes.Equal(b, sealed) != (err == nil) || err == nil && string(shares) != "share" {
			t.Fatal(err)
		}
		if err != nil && !errors.Is(err, ErrEnvelope) && !errors.Is(err, ErrEnvelopeUsed) {
			t.Fatal(err)
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
		c := [Parties][]uint64{{5, 4, 9}, {6, 6, 8}, {1, 2, 1}} // three answers, and two verdicts
		var b [Parties]Bits
		for i := range b {
			b[i] = Bits{3, 2, slices.Clone(c[i]), slices.Clone(c[(i+1)%Parties])}
		}
		return b
	}
	if got, err := OpenBits(good()); err != nil || !slices.Equal(got, []bool{false, true, false}) {
		t.Fatal(got, err)
	}
	for i := range Parties {
		for name, change := range map[string]func(b *Bits){
			"own":      func(b *Bits) { b.Own[0] ^= 2 },
			"next":     func(b *Bits) { b.Next[0] ^= 1 },
			"count":    func(b *Bits) { b.N = 4 },
			"verdicts": func(b *Bits) { b.Probes = 1 },
			"verdict":  func(b *Bits) { b.Own[2] ^= 1 },
			"words":    func(b *Bits) { b.Own = append(b.Own, 0) },
			"none":     func(b *Bits) { *b = Bits{} },
		} {
			b := good()
			change(&b[i])
			if _, err := OpenBits(b); !errors.Is(err, ErrResult) {
				t.Errorf("party %d, %s: %v", i, name, err)
			}
		}
	}
	failed := good()
	failed[0].Own[2] ^= 1 << 40
	failed[2].Next[2] ^= 1 << 40
	if _, err := OpenBits(failed); !errors.Is(err, ErrProbe) || !strings.Contains(err.Error(), "item 1") {
		t.Errorf("a verdict: %v", err)
	}
}
