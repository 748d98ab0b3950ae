package http

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"mien/engine"
)

// A frame is templates in binary, for clients to whom base64 and JSON cost more than the comparison: the whole body of a request
// whose Content-Type is frameType, with its options in the query, as with a raw image. Integers and numbers are little-endian.
//
//	0  'M' 'T' 'F' '1'
//	4  templates u16, 1 to engine.MaxTemplates
//	6  dim u16
//	8  length of the space's id u16, n
//	10 the space's id, UTF-8
//	10+n  templates × dim × float32; nothing after
const (
	frameType  = "application/vnd.mien.templates"
	frameMagic = "MTF1"
	frameHead  = 10
)

// takeFrame decodes a frame of at most most templates into the subject.
func (s *subject) takeFrame(most int) func([]byte, string) error {
	return func(body []byte, _ string) error {
		if len(body) < frameHead || string(body[:4]) != frameMagic {
			return fail(codeBadFrame, "the body does not begin as a frame of templates: MTF1, then three numbers of 16 bits")
		}
		n, dim, name := int(u16(body[4:])), int(u16(body[6:])), int(u16(body[8:]))
		want := frameHead + name + 4*n*dim
		switch {
		case n < 1 || n > most:
			return fail(codeBadFrame, "the frame has %d templates; %s", n, atMost(most))
		case name < 1 || name > maxText:
			return fail(codeBadFrame, "the frame's embedding space has an id of %d bytes; 1 to %d are allowed", name, maxText)
		case len(body) != want:
			return fail(codeBadFrame, "the frame has %d bytes; %d templates of %d numbers and an id of %d bytes make %d", len(body), n, dim, name, want)
		}
		space, numbers := string(body[frameHead:frameHead+name]), body[frameHead+name:]
		for range n {
			v := slices.Grow(s.vector(), dim)
			s.templates = append(s.templates, engine.Template{Space: space, Vector: appendFloat32s(v, numbers[:4*dim]), Source: "template"})
			numbers = numbers[4*dim:]
		}
		return nil
	}
}

func atMost(n int) string {
	if n == 1 {
		return "one is asked about"
	}
	return fmt.Sprintf("1 to %d are allowed", n)
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

// appendFloat32s appends the numbers of little-endian bytes.
func appendFloat32s(dst []float32, data []byte) []float32 {
	for ; len(data) >= 4; data = data[4:] {
		dst = append(dst, math.Float32frombits(binary.LittleEndian.Uint32(data)))
	}
	return dst
}

// decodeFrame takes the body for the form's frame, and the query for its options.
func (r *request) decodeFrame(body []byte, fields []field) error {
	i := slices.IndexFunc(fields, func(f field) bool { return f.frame != nil })
	if i < 0 {
		return fail(codeUnsupported, "a frame of templates is not understood here; send application/json")
	}
	if err := r.eachQuery(fields); err != nil {
		return err
	}
	return fields[i].frame(body, "body")
}
