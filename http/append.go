package http

import (
	"math"
	"strconv"
)

// jsonAppender is an answer that writes its JSON itself: of a verification by template, encoding/json's reflection took as long as the
// comparison. What it writes is byte for byte what encoding/json would; a test holds that.
type jsonAppender interface {
	// appendJSON appends the answer, or reports false for what it leaves to encoding/json.
	appendJSON(dst []byte) (_ []byte, ok bool)
}

func (b decisionBody) appendJSON(dst []byte) ([]byte, bool) {
	if b.Face != nil || !areFinite(b.Similarity, b.Cosine, b.FMR, b.Threshold) {
		return dst, false
	}
	dst = strconv.AppendBool(append(dst, `{"match":`...), b.Match)
	dst = appendFloat(append(dst, `,"similarity":`...), b.Similarity)
	dst = appendFloat(append(dst, `,"cosine":`...), b.Cosine)
	dst = appendFloat(append(dst, `,"fmr":`...), b.FMR)
	if b.Extrapolated {
		dst = append(dst, `,"extrapolated":true`...)
	}
	return append(appendFloat(append(dst, `,"threshold":`...), b.Threshold), '}'), true
}

func areFinite(all ...float64) bool {
	for _, x := range all {
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return false
		}
	}
	return true
}

// appendFloat writes a finite number as encoding/json does, which is as ES6 does.
func appendFloat(dst []byte, x float64) []byte {
	if abs := math.Abs(x); abs == 0 || abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(dst, x, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, x, 'e', -1, 64)
	if n := len(dst); dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' { // e-09 is written e-9
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
