package simd

// Span is a run of N pixels of a row, From and those behind it; their weights are N from At.
type Span struct {
	From, At, N int

	few [4]float32 // the first weights, set by Reset
}

// RowScaler makes rows of RGB pixels, uint8[width][3], into rows of another width: each pixel is the sum of a span of the row's,
// times its weights, added in their order with one rounding each. Every level gives the same bits. Its memory is used
// again by the next Reset. Scale is safe for concurrent use.
type RowScaler struct {
	width   int
	spans   []Span
	weights []float32

	// What kernels read: floats in groups, as lanes that look at so many bytes of the row as a register has, and at those
	// three further for the next weight.
	lanes
	groups int
	taps   int       // weights of each float, 0 where a span is shorter
	starts []int32   // [groups][lanes]: where a lane's bytes begin
	picks  []uint8   // [groups][floats of a group][4]: which of them it takes, and what VPSHUFB makes zeros of
	table  []float32 // [groups][taps][floats of a group]
}

// lanes are how a kernel divides a group of floats.
type lanes struct{ group, lane, window int }

var (
	narrowLanes = lanes{8, 4, 16}
	wideLanes   = lanes{16, 16, 64}
)

// Reset makes s scale rows of width pixels to rows of len(spans), which begin in order. It retains weights, which are
// finite and not negative, until the next Reset. It panics if a span is empty or leaves the row or the weights.
func (s *RowScaler) Reset(width int, spans []Span, weights []float32) {
	s.width, s.spans, s.weights, s.taps = width, append(s.spans[:0], spans...), weights, 0
	for i, p := range spans {
		if p.N < 1 || p.From < 0 || p.From+p.N > width || p.At < 0 || p.At+p.N > len(weights) || i > 0 && p.From < spans[i-1].From {
			panic("BUG: simd: RowScaler: spans don't fit")
		}
		s.taps = max(s.taps, p.N)
		copy(s.spans[i].few[:], weights[p.At:][:p.N])
	}
	s.starts, s.picks, s.table, s.lanes = s.starts[:0], s.picks[:0], s.table[:0], scalerLanes()
	for s.groups = 0; s.describe(s.group * s.groups); s.groups++ {
		s.weigh(s.group * s.groups)
	}
}

// describe appends the lanes of the group of floats from i on, or says that kernels can't make them.
func (s *RowScaler) describe(i int) bool {
	if i+s.group > 3*len(s.spans) {
		return false
	}
	for end := i + s.group; i < end; i += s.lane {
		if !s.describeLane(i) {
			return false
		}
	}
	return true
}

func (s *RowScaler) describeLane(i int) bool {
	byteOf := func(j int) int { return 3*s.spans[j/3].From + j%3 }
	last := i + s.lane - 1
	// Spans begin in order: the least and the largest byte are at the ends, or where a pixel begins or ends beside them.
	start, end := min(byteOf(i), byteOf(i/3*3+3)), max(byteOf(last), byteOf(last/3*3-1))
	if start+3*(s.taps-1)+s.window > 3*s.width || end-start >= s.window {
		return false
	}
	s.starts = append(s.starts, int32(start))
	for j := i; j <= last; j++ {
		s.picks = append(s.picks, uint8(byteOf(j)-start), 0x80, 0x80, 0x80)
	}
	return true
}

// weigh appends the weights of the group of floats from i on to the table.
func (s *RowScaler) weigh(i int) {
	at := len(s.table)
	s.table = grown(s.table, at+s.group*s.taps)
	rows := s.table[at:]
	clear(rows)
	for j := range s.group {
		p := s.spans[(i+j)/3]
		for k, w := range s.weights[p.At:][:p.N] {
			rows[s.group*k+j] = w
		}
	}
}

// grown is s with n elements, those new ones with anything in them.
func grown[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	return append(s[:cap(s)], make([]T, n-cap(s))...)
}

// Scale sets dst, float32[len(spans)][3], to row scaled. It panics if the lengths don't fit those of Reset.
func (s *RowScaler) Scale(dst []float32, row []uint8) {
	if len(dst) != 3*len(s.spans) || len(row) != 3*s.width {
		panic("BUG: simd: RowScaler: dst and row don't fit")
	}
	s.scaleGeneric(dst, row, s.scaled(dst, row)/3)
}

// scaleGeneric makes the pixels from x on. Two to four samples, as photos that are little larger than the canvas have
// them, are spelt out in place: that halves the time for a photo of 640×480, and calls would take back half of it.
func (s *RowScaler) scaleGeneric(dst []float32, row []uint8, x int) {
	for ; x < len(s.spans); x++ {
		p, to := &s.spans[x], (*[3]float32)(dst[3*x:])
		a, b, c, d := p.few[0], p.few[1], p.few[2], p.few[3]
		switch p.N {
		case 2:
			q := (*[6]uint8)(row[3*p.From:])
			to[0] = times(a, q[0]) + times(b, q[3])
			to[1] = times(a, q[1]) + times(b, q[4])
			to[2] = times(a, q[2]) + times(b, q[5])
		case 3:
			q := (*[9]uint8)(row[3*p.From:])
			to[0] = times(a, q[0]) + times(b, q[3]) + times(c, q[6])
			to[1] = times(a, q[1]) + times(b, q[4]) + times(c, q[7])
			to[2] = times(a, q[2]) + times(b, q[5]) + times(c, q[8])
		case 4:
			q := (*[12]uint8)(row[3*p.From:])
			to[0] = times(a, q[0]) + times(b, q[3]) + times(c, q[6]) + times(d, q[9])
			to[1] = times(a, q[1]) + times(b, q[4]) + times(c, q[7]) + times(d, q[10])
			to[2] = times(a, q[2]) + times(b, q[5]) + times(c, q[8]) + times(d, q[11])
		default:
			scaleMany(to, row[3*p.From:], s.weights[p.At:][:p.N])
		}
	}
}

// byteValue is each byte as a float32: a load takes less time than a conversion.
var byteValue = func() (v [256]float32) {
	for i := range v {
		v[i] = float32(i)
	}
	return v
}()

// times is rounded before it is added, as kernels do it, also where the compiler could fuse the two.
func times(w float32, v uint8) float32 { return float32(w * byteValue[v]) }

func scaleMany(to *[3]float32, p []uint8, weights []float32) {
	var r, g, b float32
	for i, w := range weights {
		q := (*[3]uint8)(p[3*i:])
		r += times(w, q[0])
		g += times(w, q[1])
		b += times(w, q[2])
	}
	*to = [3]float32{r, g, b}
}

// MixLines sets dst to the sums of one to four lines times their weights, finite and not negative, added in their order with one
// rounding each, and rounded to integers, halves up. Lines without weight are not looked at. It panics if lengths don't fit. Every
// level gives the same. Allocates nothing.
//
// REQUIRES: the sums are not negative and below 255.5, or dst may be anything.
func MixLines(dst []uint8, lines *[4][]float32, weights []float32) {
	if len(weights) < 1 || len(weights) > 4 {
		panic("BUG: simd: MixLines: one to four weights")
	}
	for i := range weights {
		if len(lines[i]) != len(dst) {
			panic("BUG: simd: MixLines: dst and lines differ in length")
		}
	}
	n := mixLines(dst, lines, weights)
	mixLinesGeneric(dst, lines, weights, n)
}

// mixLinesGeneric makes dst from n on.
func mixLinesGeneric(dst []uint8, lines *[4][]float32, w []float32, n int) {
	dst = dst[n:]
	tail := func(i int) []float32 { return lines[i][n:] }
	switch len(w) {
	case 1:
		for i, v := range tail(0) {
			dst[i] = uint8(float32(w[0]*v) + .5)
		}
	case 2:
		mix2(dst, tail(0), tail(1), w[0], w[1])
	case 3:
		mix3(dst, tail(0), tail(1), tail(2), w[0], w[1], w[2])
	case 4:
		mix4(dst, tail(0), tail(1), tail(2), tail(3), w[0], w[1], w[2], w[3])
	}
}

func mix2(dst []uint8, a, b []float32, wa, wb float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = uint8(float32(wa*a[i]) + float32(wb*b[i]) + .5)
	}
}

func mix3(dst []uint8, a, b, c []float32, wa, wb, wc float32) {
	a, b, c = a[:len(dst)], b[:len(dst)], c[:len(dst)]
	for i := range dst {
		dst[i] = uint8(float32(wa*a[i]) + float32(wb*b[i]) + float32(wc*c[i]) + .5)
	}
}

func mix4(dst []uint8, a, b, c, d []float32, wa, wb, wc, wd float32) {
	a, b, c, d = a[:len(dst)], b[:len(dst)], c[:len(dst)], d[:len(dst)]
	for i := range dst {
		dst[i] = uint8(float32(wa*a[i]) + float32(wb*b[i]) + float32(wc*c[i]) + float32(wd*d[i]) + .5)
	}
}

// AddScaled adds weight × line to sum, the product rounded first. It panics if they differ in length. Every level gives the
// same bits. Allocates nothing.
func AddScaled(sum, line []float32, weight float32) {
	if len(sum) != len(line) {
		panic("BUG: simd: AddScaled: sum and line differ in length")
	}
	n := addScaled(sum, line, weight)
	addScaledGeneric(sum[n:], line[n:], weight)
}

func addScaledGeneric(sum, line []float32, weight float32) {
	line = line[:len(sum)]
	for i, v := range line {
		sum[i] += float32(weight * v)
	}
}

// RoundBytes sets dst to the integers nearest to src, halves up. It panics if they differ in length. Allocates nothing.
//
// REQUIRES: 0 ≤ src[i] < 255.5, or dst[i] may be anything.
func RoundBytes(dst []uint8, src []float32) {
	if len(dst) != len(src) {
		panic("BUG: simd: RoundBytes: dst and src differ in length")
	}
	n := roundBytes(dst, src)
	roundBytesGeneric(dst[n:], src[n:])
}

func roundBytesGeneric(dst []uint8, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = uint8(v + .5)
	}
}

// Normaliser turns bytes of RGB pixels into a model's numbers. It is immutable.
type Normaliser struct {
	// Value is what each byte of each channel becomes.
	Value     [3][256]float32
	mean, std [3]float32
}

// NewNormaliser is (v − mean)/std for channels in a picture's order, both steps rounded.
func NewNormaliser(mean, std [3]float32) *Normaliser {
	n := &Normaliser{mean: mean, std: std}
	for c := range n.Value {
		for v := range n.Value[c] {
			n.Value[c][v] = (float32(v) - mean[c]) / std[c]
		}
	}
	return n
}

// Planes writes each channel of rgb, uint8[n][3], to a plane of its own, of n floats. It panics if the lengths don't fit. Every
// level gives the same bits. Allocates nothing.
func (n *Normaliser) Planes(r, g, b []float32, rgb []uint8) {
	if len(g) != len(r) || len(b) != len(r) || len(rgb) != 3*len(r) {
		panic("BUG: simd: Planes: planes and rgb don't fit")
	}
	i := n.planes(r, g, b, rgb)
	n.planesGeneric(r[i:], g[i:], b[i:], rgb[3*i:])
}

func (n *Normaliser) planesGeneric(r, g, b []float32, rgb []uint8) {
	g, b = g[:len(r)], b[:len(r)]
	for i := range r {
		p := (*[3]uint8)(rgb[3*i:])
		r[i], g[i], b[i] = n.Value[0][p[0]], n.Value[1][p[1]], n.Value[2][p[2]]
	}
}
