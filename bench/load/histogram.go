package load

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in bins of 2^-fine of their value: 3.4 KiB for each factor of ten, whatever their number. The
// zero value is empty. Not safe for concurrent use.
type histogram struct {
	bins []uint64
	n    uint64
	max  time.Duration
}

// fine is the bits that a bin's number keeps of a duration in nanoseconds, beside the first.
const fine = 7

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	b := bin(uint64(d))
	if b >= len(h.bins) {
		h.bins = append(h.bins, make([]uint64, b+1-len(h.bins))...)
	}
	h.bins[b]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	if len(o.bins) > len(h.bins) {
		h.bins = append(h.bins, make([]uint64, len(o.bins)-len(h.bins))...)
	}
	for b, n := range o.bins {
		h.bins[b] += n
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// bin is v itself below 2^fine, from there 2^fine bins for each power of two.
func bin(v uint64) int {
	shift := max(bits.Len64(v)-1-fine, 0)
	return shift<<fine + int(v>>shift)
}

// upper is the greatest value of a bin.
func upper(b int) time.Duration {
	if b < 1<<(fine+1) {
		return time.Duration(b)
	}
	shift := b>>fine - 1
	return time.Duration((b-shift<<fine+1)<<shift - 1)
}

// quantile is the least upper edge of a bin that a share p of the durations does not exceed; 0 of none.
func (h *histogram) quantile(p float64) time.Duration {
	left := uint64(math.Ceil(p * float64(h.n)))
	for b, n := range h.bins {
		if n >= left {
			return min(upper(b), h.max)
		}
		left -= n
	}
	return h.max
}

// Quantiles of durations, in milliseconds; all 0 where N is 0.
type Quantiles struct {
	N    uint64  `json:"n"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p99_9_ms"`
	Max  float64 `json:"max_ms"`
}

func (h *histogram) quantiles() Quantiles {
	ms := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
	return Quantiles{h.n, ms(h.quantile(0.5)), ms(h.quantile(0.9)), ms(h.quantile(0.99)), ms(h.quantile(0.999)), ms(h.max)}
}
