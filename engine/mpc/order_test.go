package mpc

import (
	"bytes"
	"reflect"
	"testing"
)

// TestByteOrder: what is made of shares is the same on machines whose memory is in the other order than messages.
func TestByteOrder(t *testing.T) {
	rng := seeded(t)
	seed, packed := [seedBytes]byte{1, 2, 3}, make([]byte, 1+seedBytes+1+4*7)
	for i := range packed {
		packed[i] = byte(rng.Uint32())
	}
	packed[0], packed[1+seedBytes] = 0, 1
	made := func() (all []any) {
		s, rest, err := UnpackShare(packed, 7)
		if err != nil {
			t.Fatal(err)
		}
		return append(all, draw(&seed, 9), s, len(rest), AppendShare([]byte{5}, s), words(packed[:32]))
	}
	native := made()
	defer func(was bool) { littleEndian = was }(littleEndian)
	littleEndian = false
	if !reflect.DeepEqual(made(), native) {
		t.Error("shares differ by the order of bytes in memory")
	}
	if s := native[1].(Share); !bytes.Equal(AppendShare(nil, s)[4*7:], packed[2+seedBytes:]) {
		t.Errorf("%v is not what was sent", s.Next)
	}
}
