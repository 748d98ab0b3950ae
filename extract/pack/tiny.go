package pack

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// tinyWeight is far below what reaches the result: a sum of a thousand such weights times activations of a thousand is
// 1e-14, and float32 carries 7 digits of values near 1.
const tinyWeight = 1e-20

// zeroTiny is EditZeroTiny.
func zeroTiny(graph message) (message, error) {
	out := make(message, len(graph))
	for i, f := range graph {
		out[i] = f
		if f.num != graphInitializer {
			continue
		}
		t, err := f.message()
		if err != nil {
			return nil, err
		}
		if t, err = withoutTiny(t); err != nil {
			return nil, err
		}
		out[i] = messageField(graphInitializer, t)
	}
	return out, nil
}

// withoutTiny returns tensor t with its tiny weights set to zero; tensors of other types, and floats that are not raw
// bytes, are left as they are.
func withoutTiny(t message) (message, error) {
	kind, err := t.ints(tensorType)
	if err != nil || len(kind) != 1 || kind[0] != typeFloat {
		return t, err
	}
	i, err := t.index(tensorRawData)
	if err != nil || i < 0 {
		return t, err
	}
	if _, _, err := float32s(t); err != nil {
		return nil, err
	}
	raw := make([]byte, 0, len(t[i].val))
	for w := range len(t[i].val) / 4 {
		bits := binary.LittleEndian.Uint32(t[i].val[4*w:])
		if v := math.Float32frombits(bits); v != 0 && math.Abs(float64(v)) < tinyWeight {
			bits = 0
		}
		raw = binary.LittleEndian.AppendUint32(raw, bits)
	}
	out := append(message(nil), t...)
	out[i] = field{num: tensorRawData, typ: protowire.BytesType, val: raw}
	return out, nil
}
