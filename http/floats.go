package http

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
)

// sextets has what each character of base64 is worth at each place of a quad, whose three bytes come out little-endian;
// notBase64 of what is none. encoding/base64 and a second pass over its bytes take three times as long.
var sextets = func() (t [4][256]uint32) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for place := range t {
		for c := range t[place] {
			t[place][c] = notBase64
		}
		for x, c := range []byte(alphabet) {
			bits := uint32(x) << (6 * (3 - place)) // big-endian
			t[place][c] = bits>>16 | bits&0xff00 | bits&0xff<<16
		}
	}
	return t
}()

const notBase64 = 1 << 31

// quads is two quads of eight characters.
func quads(x uint64) (uint32, uint32) {
	return sextets[0][byte(x)] | sextets[1][byte(x>>8)] | sextets[2][byte(x>>16)] | sextets[3][byte(x>>24)],
		sextets[0][byte(x>>32)] | sextets[1][byte(x>>40)] | sextets[2][byte(x>>48)] | sextets[3][byte(x>>56)]
}

// appendFloats appends the little-endian float32 numbers that s is base64 of to dst, and reports whether it is: of no whole
// number of them, or of none, it is not.
func appendFloats(dst []float32, s []byte) ([]float32, bool) {
	var bad uint32
	for ; len(s) > 16; s = s[16:] { // the last quads may be padded
		a, b := quads(binary.LittleEndian.Uint64(s))
		c, d := quads(binary.LittleEndian.Uint64(s[8:]))
		bad |= a | b | c | d
		dst = append(dst, math.Float32frombits(a|b<<24), math.Float32frombits(b>>8|c<<16), math.Float32frombits(c>>16|d<<8))
	}
	var room [12]byte
	n, err := strictBase64.Decode(room[:], s)
	if bad&notBase64 != 0 || err != nil || n == 0 || n%4 != 0 || bytes.ContainsAny(s, "\r\n") {
		return dst, false
	}
	return appendFloat32s(dst, room[:n]), true
}

// takeFloats decodes base64 of little-endian float32 numbers, over what dst has, or into new memory where that is too small.
func takeFloats(dst *[]float32) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] == '"' {
			s := raw[1 : len(raw)-1]
			v := *dst
			if n := base64.StdEncoding.DecodedLen(len(s)) / 4; cap(v) < n {
				v = make([]float32, 0, n)
			}
			var ok bool
			if *dst, ok = appendFloats(v[:0], s); ok {
				return nil
			}
		}
		return takeOddFloats(dst)(raw, at)
	}
}

// takeOddFloats is takeFloats for what is written in another way than usual, or wrong: it says how.
func takeOddFloats(dst *[]float32) func([]byte, string) error {
	return func(raw []byte, at string) error {
		buf := newBody(base64.StdEncoding.DecodedLen(len(raw)))
		defer freeBody(buf)
		data := buf
		if err := takeBytes(&data)(raw, at); err != nil {
			return err
		}
		if len(data)%4 != 0 {
			return fail(codeTemplateLength, "%q has %d bytes, which is no whole number of float32", at, len(data))
		}
		*dst = appendFloat32s((*dst)[:0], data)
		return nil
	}
}
