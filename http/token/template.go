package token

import (
	"encoding/binary"
	"math"
)

const (
	templateFormat = 1
	templateHead   = 5
	maxScale       = 126
)

// Template is the payload of tokens of TypeTemplate and TypeProbe.
type Template struct {
	Quality uint8     // 0 to 100, of the photo; 255 if it isn't known
	Vector  []float32 // the embedding; its space is the token's
}

// AppendTemplate appends a template's payload to dst and returns the extended slice: 5 bytes and 2 for each number. Numbers
// are rounded to 16 bits of the largest, so each is off by at most 2⁻¹⁵ of it, and a cosine of 512 numbers by less
// than 10⁻⁵. Errors: ErrInvalid for no numbers, more than 65,535, none but zeros, or any that is not finite.
func AppendTemplate(dst []byte, t Template) ([]byte, error) {
	if len(t.Vector) == 0 || len(t.Vector) > math.MaxUint16 {
		return nil, invalid("a template of %d numbers", len(t.Vector))
	}
	scale, err := scaleOf(t.Vector)
	if err != nil {
		return nil, err
	}
	dst = append(dst, templateFormat)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Vector)))
	dst = append(dst, byte(scale), t.Quality)
	for _, x := range t.Vector {
		dst = binary.BigEndian.AppendUint16(dst, uint16(int16(scaled(x, scale))))
	}
	return dst, nil
}

// scaleOf returns the largest power of two by which the numbers stay in 16 bits.
func scaleOf(v []float32) (int, error) {
	var most float32
	for _, x := range v {
		if !(math.Abs(float64(x)) <= math.MaxFloat32) {
			return 0, invalid("a template with a number that is not finite")
		}
		most = max(most, float32(math.Abs(float64(x))))
	}
	_, exp := math.Frexp(float64(most))
	scale := min(15-exp, maxScale)
	if scaled(most, scale) > math.MaxInt16 {
		scale--
	}
	if scale < 0 || scaled(most, max(scale, 0)) == 0 {
		return 0, invalid("a template whose largest number is %g", most)
	}
	return scale, nil
}

func scaled(x float32, scale int) float64 { return math.RoundToEven(math.Ldexp(float64(x), scale)) }

// ParseTemplate is the inverse of AppendTemplate. It retains nothing of b and allocates the vector. Errors: ErrInvalid
// for what AppendTemplate can't have written.
func ParseTemplate(b []byte) (Template, error) {
	if len(b) < templateHead || b[0] != templateFormat {
		return Template{}, invalid("a template payload of another format")
	}
	dim, scale := int(binary.BigEndian.Uint16(b[1:])), int(b[3])
	if dim == 0 || len(b) != templateHead+2*dim || scale > maxScale {
		return Template{}, invalid("a template payload of %d bytes for %d numbers, scale %d", len(b), dim, scale)
	}
	t := Template{Quality: b[4], Vector: make([]float32, dim)}
	for i := range t.Vector {
		x := int16(binary.BigEndian.Uint16(b[templateHead+2*i:]))
		t.Vector[i] = float32(math.Ldexp(float64(x), -scale))
	}
	if again, err := scaleOf(t.Vector); err != nil || again != scale {
		return Template{}, invalid("a template payload with a scale that is not the largest")
	}
	return t, nil
}
