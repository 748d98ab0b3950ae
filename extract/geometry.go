package extract

import (
	"math"
	"sync"

	"mien/simd"
)

// Pixel convention: integer coordinates are pixel centres. Crops are made on uint8 with one rounding a stage, as
// the reference pipeline does.

// affine maps source to output pixels: x' = a·x + b·y + tx, y' = c·x + d·y + ty.
type affine struct{ a, b, tx, c, d, ty float64 }

func (m affine) apply(x, y float64) (float64, float64) {
	return m.a*x + m.b*y + m.tx, m.c*x + m.d*y + m.ty
}

func (m affine) det() float64 { return m.a*m.d - m.b*m.c }

// regular says that m can be inverted and has a scale that a crop of a real photo may have.
func (m affine) regular() bool {
	d := m.det()
	return d > 1e-8 && d < 1e8 && math.Abs(m.tx)+math.Abs(m.ty) < 1e9 // NaN fails
}

// inverse of a regular map.
func (m affine) inverse() affine {
	k := 1 / m.det()
	a, b, c, d := m.d*k, -m.b*k, -m.c*k, m.a*k
	return affine{a, b, -(a*m.tx + b*m.ty), c, d, -(c*m.tx + d*m.ty)}
}

// squareCrop maps the square of side s with its corner at (x, y) to size×size pixels: corners meet corners, so
// centres are moved by half a pixel on both sides.
func squareCrop(x, y, s float64, size int) affine {
	k := float64(size) / s
	return affine{k, 0, .5*k - .5 - x*k, 0, k, .5*k - .5 - y*k}
}

// similarity is the least-squares map without reflection from src to dst.
// Umeyama, IEEE PAMI 13(4), 1991, eq. 40–42, in the closed form of two dimensions.
//
// REQUIRES: as many of each, and more than one.
func similarity(src, dst [][2]float64) affine {
	ms, md := centroid(src), centroid(dst)
	var a, b, n float64
	for i := range src {
		sx, sy := src[i][0]-ms[0], src[i][1]-ms[1]
		dx, dy := dst[i][0]-md[0], dst[i][1]-md[1]
		a += sx*dx + sy*dy
		b += sx*dy - sy*dx
		n += sx*sx + sy*sy
	}
	a, b = a/n, b/n
	return affine{a, -b, md[0] - a*ms[0] + b*ms[1], b, a, md[1] - b*ms[0] - a*ms[1]}
}

func centroid(p [][2]float64) (m [2]float64) {
	for _, q := range p {
		m[0] += q[0] / float64(len(p))
		m[1] += q[1] / float64(len(p))
	}
	return m
}

// rect is a half-open rectangle of pixels.
type rect struct{ x0, y0, x1, y1 int }

// warp draws src through m into dst by bilinear interpolation; what lies outside src is 0. Where src is minified by
// more than two it is first blurred by a box of the scale's width, or the crop would alias: leaving that out moves
// a template to cosine 0.994 of the reference.
//
// REQUIRES: m.regular().
func warp(dst, src *Image, m affine) {
	w := walk{inv: m.inverse(), from: src}
	if q := blurSide(math.Sqrt(m.det())); q > 1 {
		origin := footprint(w.inv, dst.W, dst.H, src)
		w.from = borrowImage(origin.x1-origin.x0, origin.y1-origin.y0)
		defer w.from.giveBack()
		boxBlurInto(w.from, src, origin, q)
		w.ox, w.oy = float64(origin.x0), float64(origin.y0)
	}
	steps := borrow[float64](2 * dst.W)
	defer giveBack(steps)
	w.ax, w.cx = (*steps)[:dst.W], (*steps)[dst.W:]
	for x := range dst.W {
		w.ax[x], w.cx[x] = w.inv.a*float64(x), w.inv.c*float64(x)
	}
	for y := range dst.H {
		w.row(dst.row(y), float64(y))
	}
}

// blurSide is the side of the box that a crop of scale k is blurred by, 1 where it is not.
func blurSide(k float64) int {
	if k < .5 {
		return int(math.RoundToEven(1 / k))
	}
	return 1
}

// walk is the way of one warp over its source.
type walk struct {
	inv    affine
	from   *Image
	ox, oy float64   // where from begins in the source
	ax, cx []float64 // inv.a·x and inv.c·x
}

// at is the place in from of pixel x of a row, of which by and dy are inv.b·y and inv.d·y. The products are rounded before
// they are added, so that all processors draw the same.
func (w *walk) at(x int, by, dy float64) (float64, float64) {
	return w.ax[x] + by + w.inv.tx - w.ox, w.cx[x] + dy + w.inv.ty - w.oy
}

// inside says that four whole pixels lie around (x, y), for certain.
func (w *walk) inside(x, y float64) bool {
	return x >= 0 && y >= 0 && x <= float64(w.from.W-1)-1e-6 && y <= float64(w.from.H-1)-1e-6
}

// row draws row y: its middle part, all of whose pixels lie inside, without asking for each.
func (w *walk) row(out []uint8, y float64) {
	by, dy := float64(w.inv.b*y), float64(w.inv.d*y)
	lo, hi := 0, len(w.ax)
	for ; lo < hi; lo++ {
		sx, sy := w.at(lo, by, dy)
		if w.inside(sx, sy) {
			break
		}
		bilinear(out[3*lo:3*lo+3:3*lo+3], w.from, sx, sy)
	}
	for ; hi > lo; hi-- {
		sx, sy := w.at(hi-1, by, dy)
		if w.inside(sx, sy) {
			break
		}
		bilinear(out[3*hi-3:3*hi:3*hi], w.from, sx, sy)
	}
	simd.Bilinear(out[3*lo:3*hi], w.from.Pix, w.from.W,
		&simd.Ramp{A: w.ax[lo:hi], B: by, T: w.inv.tx, O: w.ox}, &simd.Ramp{A: w.cx[lo:hi], B: dy, T: w.inv.ty, O: w.oy})
}

// footprint bounds the pixels of src that a w×h output reads through inv.
func footprint(inv affine, w, h int, src *Image) rect {
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for _, corner := range [4][2]int{{0, 0}, {w - 1, 0}, {0, h - 1}, {w - 1, h - 1}} {
		x, y := inv.apply(float64(corner[0]), float64(corner[1]))
		lo[0], lo[1] = min(lo[0], x), min(lo[1], y)
		hi[0], hi[1] = max(hi[0], x), max(hi[1], y)
	}
	at := func(v float64, limit int) int { return int(min(max(v, 0), float64(limit))) }
	return rect{at(lo[0], src.W), at(lo[1], src.H), at(hi[0]+2, src.W), at(hi[1]+2, src.H)}
}

// bilinear writes the colour of from at (x, y), at its border: elsewhere simd.Bilinear does.
func bilinear(out []uint8, from *Image, x, y float64) {
	if !(x > -1 && y > -1 && x < float64(from.W) && y < float64(from.H)) {
		out[0], out[1], out[2] = 0, 0, 0
		return
	}
	x0, y0 := int(x+1)-1, int(y+1)-1 // floor: x, y > −1
	fx, fy := float32(x-float64(x0)), float32(y-float64(y0))
	var sum [3]float32
	addPixel(&sum, from, x0, y0, (1-fx)*(1-fy))
	addPixel(&sum, from, x0+1, y0, fx*(1-fy))
	addPixel(&sum, from, x0, y0+1, (1-fx)*fy)
	addPixel(&sum, from, x0+1, y0+1, fx*fy)
	for i := range out {
		out[i] = uint8(sum[i] + .5)
	}
}

// addPixel adds weight × pixel; pixels outside count as 0.
func addPixel(sum *[3]float32, from *Image, x, y int, weight float32) {
	if uint(x) >= uint(from.W) || uint(y) >= uint(from.H) {
		return
	}
	p := from.Pix[3*(y*from.W+x):]
	sum[0] += float32(weight * float32(p[0])) // rounded, so that all processors draw the same
	sum[1] += float32(weight * float32(p[1]))
	sum[2] += float32(weight * float32(p[2]))
}

// boxBlurInto writes the part r of src after a q×q box filter, borders reflected without repeating the edge, into out of that
// part's size. An even box reaches one pixel further to the left and up, as OpenCV's does.
func boxBlurInto(out, src *Image, r rect, q int) {
	if len(out.Pix) == 0 {
		return
	}
	c := newColumns(r.x0-q/2, r.x1-q/2+q-1, src.W)
	defer c.close()
	first := r.y0 - q/2
	for y := first; y < first+q; y++ {
		c.add(src.row(reflect101(y, src.H)))
	}
	for y := range out.H {
		if y > 0 {
			c.replace(src.row(reflect101(first+y-1, src.H)), src.row(reflect101(first+y+q-1, src.H)))
		}
		c.reflect()
		simd.BoxMeans(out.row(y), c.all, q)
	}
}

// columns are sums of a box's height over the columns x0 … x1−1 of an image w pixels wide; those outside are reflected.
type columns struct {
	x0, x1, w int
	lo, hi    int // what is summed: x0 … x1−1, or all where some are reflected
	reflects  bool
	memory    *[]uint32
	sums      []uint32 // of lo … hi−1, three each
	all       []uint32 // of x0 … x1−1
}

func newColumns(x0, x1, w int) columns {
	c := columns{x0: x0, x1: x1, w: w, lo: x0, hi: x1, reflects: x0 < 0 || x1 > w}
	if c.reflects {
		c.lo, c.hi = 0, w
	}
	n, all := 3*(c.hi-c.lo), 3*(x1-x0)
	c.memory = borrow[uint32](n + all)
	c.sums, c.all = (*c.memory)[:n], (*c.memory)[n:]
	clear(c.sums)
	if !c.reflects {
		c.all = c.sums
	}
	return c
}

func (c *columns) close() { giveBack(c.memory) }

func (c *columns) add(row []uint8) {
	row = row[3*c.lo:][:len(c.sums)]
	for i, v := range row {
		c.sums[i] += uint32(v)
	}
}

func (c *columns) replace(old, row []uint8) {
	old, row = old[3*c.lo:][:len(c.sums)], row[3*c.lo:][:len(c.sums)]
	simd.ReplaceSamples(c.sums, old, row)
}

// reflect fills in all.
func (c *columns) reflect() {
	if !c.reflects {
		return // it is sums
	}
	for x := c.x0; x < c.x1; x++ {
		copy(c.all[3*(x-c.x0):][:3], c.sums[3*(reflect101(x, c.w)-c.lo):])
	}
}

// reflect101 folds i into [0, n): …2 1 | 0 1 2 … n-1 | n-2….
func reflect101(i, n int) int {
	if uint(i) < uint(n) {
		return i
	}
	if n == 1 {
		return 0
	}
	period := 2 * (n - 1)
	i = ((i % period) + period) % period
	return min(i, period-i)
}

// taps are the source samples, and their weights, that make up each output sample of one dimension.
type taps struct {
	spans   []simd.Span
	weights []float32
	rows    simd.RowScaler
}

// resizeInto draws src into dst: by area where it shrinks, bilinear with replicated edges where it grows.
func resizeInto(dst, src *Image) {
	xs, ys := tapsPool.Get().(*taps), tapsPool.Get().(*taps)
	defer tapsPool.Put(xs)
	defer tapsPool.Put(ys)
	if dst.W < src.W || dst.H < src.H {
		xs.area(src.W, dst.W)
		ys.area(src.H, dst.H)
	} else {
		xs.linear(src.W, dst.W)
		ys.linear(src.H, dst.H)
	}
	xs.rows.Reset(src.W, xs.spans, xs.weights)
	memory := borrow[float32](5 * 3 * dst.W)
	defer giveBack(memory)
	l := lines{src: src, scaler: &xs.rows, memory: *memory, rows: [4]int{-1, -1, -1, -1}}
	for y, t := range ys.spans {
		w := ys.weights[t.At : t.At+t.N]
		if len(w) > 4 {
			l.mixMany(dst.row(y), t.From, w)
			continue
		}
		var some [4][]float32
		for i := range w {
			some[i] = l.row(t.From + i)
		}
		simd.MixLines(dst.row(y), &some, w)
	}
}

var tapsPool = sync.Pool{New: func() any { return new(taps) }}

// lines are rows of src, scaled: any four that follow each other, for neighbouring rows of the result share some.
type lines struct {
	src    *Image
	scaler *simd.RowScaler
	memory []float32 // four lines, and one for sums
	rows   [4]int    // of src, that each line holds
}

func (l *lines) at(i int) []float32 {
	n := len(l.memory) / 5
	return l.memory[i*n : (i+1)*n]
}

// row is row y of src, scaled; valid until the fourth row after it is asked for.
func (l *lines) row(y int) []float32 {
	line := l.at(y & 3)
	if l.rows[y&3] != y {
		l.rows[y&3] = y
		l.scaler.Scale(line, l.src.row(y))
	}
	return line
}

// mixMany writes the weighted sum of the rows from y on.
func (l *lines) mixMany(row []uint8, y int, weights []float32) {
	sum := l.at(4)
	clear(sum)
	for i, w := range weights {
		simd.AddScaled(sum, l.row(y+i), w)
	}
	simd.RoundBytes(row, sum)
}

// area weighs every source sample by the part of it that the output sample covers.
func (t *taps) area(from, to int) {
	t.spans, t.weights = t.spans[:0], t.weights[:0]
	scale := float64(from) / float64(to)
	for i := range to {
		lo := float64(i) * scale
		hi := min(lo+scale, float64(from))
		first, end := int(lo), min(int(math.Ceil(hi-1e-9)), from)
		at := len(t.weights)
		for j := first; j < end; j++ {
			t.weights = append(t.weights, float32((min(float64(j+1), hi)-max(float64(j), lo))/(hi-lo)))
		}
		t.add(first, at)
	}
}

// add ends a span whose weights are those from at on.
func (t *taps) add(from, at int) {
	t.spans = append(t.spans, simd.Span{From: from, At: at, N: len(t.weights) - at})
}

// linear interpolates between the two nearest samples.
func (t *taps) linear(from, to int) {
	t.spans, t.weights = t.spans[:0], t.weights[:0]
	scale := float64(from) / float64(to)
	for i := range to {
		at := min(max((float64(i)+.5)*scale-.5, 0), float64(from-1))
		first := int(at)
		f := float32(at - float64(first))
		last := len(t.weights)
		if first+1 == from {
			t.weights = append(t.weights, 1)
		} else {
			t.weights = append(t.weights, 1-f, f)
		}
		t.add(first, last)
	}
}
