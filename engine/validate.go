package engine

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mien/index/scan"
)

const maxDim = scan.MaxDim

// checkName holds for tenants and galleries: [A-Za-z0-9][A-Za-z0-9._-]{0,63}.
func checkName(what, name string) error {
	ok := len(name) > 0 && len(name) <= MaxNameBytes && isAlphanumeric(name[0])
	for i := 0; ok && i < len(name); i++ {
		ok = isAlphanumeric(name[i]) || strings.IndexByte("._-", name[i]) >= 0
	}
	if !ok {
		return refuse(ErrID, "the %s name is not acceptable: use 1 to %d of A-Z a-z 0-9 . _ -, the first a letter or digit", what, MaxNameBytes)
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func checkNames(tenant, gallery string) error {
	if err := checkName("tenant", tenant); err != nil {
		return err
	}
	return checkName("gallery", gallery)
}

func checkPersonID(id string) error {
	if isPlainID(id) {
		return nil
	}
	if len(id) == 0 || len(id) > MaxIDBytes || !utf8.ValidString(id) ||
		strings.ContainsFunc(id, isUnseen) || strings.TrimSpace(id) != id || id == "." || id == ".." { // dots: clients and proxies fold them
		return refuse(ErrID, "the person id is not acceptable: use 1 to %d bytes of UTF-8 without control characters, no space at either end, not . or ..", MaxIDBytes)
	}
	return nil
}

// isPlainID holds for ids that are acceptable by a look at their bytes: most are.
func isPlainID(id string) bool {
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(id) > 2 && len(id) <= MaxIDBytes
}

// isUnseen holds for control characters, and for those that turn the direction of text so that one id reads as another.
func isUnseen(r rune) bool {
	return unicode.IsControl(r) || '\u202a' <= r && r <= '\u202e' || '\u2066' <= r && r <= '\u2069'
}

// compactMetadata checks that metadata is a JSON object and drops the spaces between tokens. nil, and JSON
// null, stay nil.
func compactMetadata(m json.RawMessage) (json.RawMessage, error) {
	if len(m) > MaxMetadataBytes {
		return nil, refuse(ErrMetadata, "the metadata has %d bytes: the most is %d", len(m), MaxMetadataBytes)
	}
	trimmed := bytes.TrimSpace(m)
	if len(trimmed) == 0 || string(trimmed) == "null" {
		return nil, nil
	}
	var out bytes.Buffer
	if trimmed[0] != '{' || !utf8.Valid(trimmed) || json.Compact(&out, trimmed) != nil {
		return nil, refuse(ErrMetadata, "the metadata is not a JSON object: send one, as in {\"name\": \"…\"}")
	}
	return out.Bytes(), nil
}

// unitVector checks a template's numbers against its space and returns a copy of norm 1.
func unitVector(space Space, v []float32) ([]float32, error) { return appendUnit(nil, space, v) }

// unitTolerance is how far rounding to float32 takes the square of the norm of a unit vector from 1, and a bit more: each
// number changes by at most 2^-24 of itself, the square by twice that. Within it a vector is kept bit for bit, so that an
// exported template is imported as what it was.
const unitTolerance = 1.0 / (1 << 22)

// appendUnit is unitVector, appended to dst. Errors: *TemplateLengthError, ErrTemplateNotFinite, ErrTemplateZeroNorm.
func appendUnit(dst []float32, space Space, v []float32) ([]float32, error) {
	if len(v) != space.Dim {
		return dst, &TemplateLengthError{Space: space.ID, Want: space.Dim, Got: len(v)}
	}
	sum := squares(v)
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		i := slices.IndexFunc(v, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) })
		return dst, refuse(ErrTemplateNotFinite, "number %d of the template is %v: every number must be finite", i, v[i])
	}
	if sum == 0 {
		return dst, refuse(ErrTemplateZeroNorm, "the template is all zeros: it has no direction to compare")
	}
	if math.Abs(sum-1) <= unitTolerance {
		return append(dst, v...), nil
	}
	dst = slices.Grow(dst, len(v))
	scale := 1 / math.Sqrt(sum)
	for _, x := range v {
		dst = append(dst, float32(float64(x)*scale))
	}
	return dst, nil
}

// squares is the sum of the squares, in float64, in which those of float32 neither overflow nor vanish. Four sums, for the additions
// to overlap.
func squares(v []float32) float64 {
	var s [4]float64
	for len(v) >= 4 {
		a, b, c, d := float64(v[0]), float64(v[1]), float64(v[2]), float64(v[3])
		s[0] += a * a
		s[1] += b * b
		s[2] += c * c
		s[3] += d * d
		v = v[4:]
	}
	for _, x := range v {
		s[0] += float64(x) * float64(x)
	}
	return s[0] + s[1] + s[2] + s[3]
}

// cosineOf turns a dot product of unit vectors into a cosine. Rounding leaves a template against itself within
// 1e-6 of 1 (float32, dim ≤ 2^12, summed in lanes); there it is 1, so that a policy of cosine 1 finds it.
func cosineOf(dot float32) float64 {
	c := float64(dot)
	if c > 1-1e-6 {
		return 1
	}
	return max(c, -1)
}
