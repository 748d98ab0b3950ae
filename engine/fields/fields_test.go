package fields

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
)

// TestRoundTrip: what was appended is read; and cut anywhere, it is bad and yields zeros from there on.
func TestRoundTrip(t *testing.T) {
	b := binary.AppendUvarint(AppendString(AppendString(binary.AppendUvarint(nil, math.MaxUint64), "template"), []byte(nil)), 7)
	b = append(b, "raw"...)
	read := func(d *Decoder) (uint64, string, []byte, uint64, []byte) {
		return d.Uint(math.MaxUint64), d.String(8), d.Bytes(8), d.Uint(7), d.Raw(3)
	}
	d := Of(b)
	if v, s, none, w, raw := read(&d); v != math.MaxUint64 || s != "template" || none != nil || w != 7 || string(raw) != "raw" || !d.Whole() {
		t.Errorf("%d %q %v %d %q %+v", v, s, none, w, raw, d)
	}
	for n := range b {
		d := Of(b[:n])
		if _, _, _, _, raw := read(&d); raw != nil || !d.Bad || d.Whole() || d.Rest != nil {
			t.Errorf("cut at %d: %q, %+v", n, raw, d)
		}
	}
}

// TestBounds: what is beyond its bound, or no number, is bad.
func TestBounds(t *testing.T) {
	for name, f := range map[string]func(*Decoder){
		"integer":    func(d *Decoder) { d.Uint(199) },
		"string":     func(d *Decoder) { d.String(199) },
		"bytes":      func(d *Decoder) { d.Bytes(199) },
		"raw":        func(d *Decoder) { d.Raw(300) },
		"no integer": func(d *Decoder) { d.Rest = bytes.Repeat([]byte{0xff}, 12); d.Uint(math.MaxUint64) },
	} {
		d := Of(AppendString(nil, string(make([]byte, 200))))
		if f(&d); !d.Bad || d.Rest != nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
