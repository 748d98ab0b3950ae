package extract

import "math"

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
	inv := m.inverse()
	from, origin := src, rect{0, 0, src.W, src.H}
	if q := blurSide(math.Sqrt(m.det())); q > 1 {
		origin = footprint(inv, dst.W, dst.H, src)
		from = boxBlur(src, origin, q)
	}
	for y := range dst.H {
		row := dst.row(y)
		for x := range dst.W {
			sx, sy := inv.apply(float64(x), float64(y))
			bilinear(row[3*x:3*x+3:3*x+3], from, sx-float64(origin.x0), sy-float64(origin.y0))
		}
	}
}

// blurSide is the side of the box that a crop of scale k is blurred by, 1 where it is not.
func blurSide(k float64) int {
	if k < .5 {
		return int(math.RoundToEven(1 / k))
	}
	return 1
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

// bilinear writes the colour of from at (x, y).
func bilinear(out []uint8, from *Image, x, y float64) {
	if !(x > -1 && y > -1 && x < float64(from.W) && y < float64(from.H)) {
		out[0], out[1], out[2] = 0, 0, 0
		return
	}
	x0, y0 := int(x+1)-1, int(y+1)-1 // floor: x, y > −1
	fx, fy := float32(x-float64(x0)), float32(y-float64(y0))
	if x0 >= 0 && y0 >= 0 && x0+1 < from.W && y0+1 < from.H {
		p := 3 * (y0*from.W + x0)
		top, bottom := from.Pix[p:p+6:p+6], from.Pix[p+3*from.W:p+3*from.W+6:p+3*from.W+6]
		for i := range 3 {
			a, b := float32(top[i]), float32(bottom[i])
			a += fx * (float32(top[i+3]) - a)
			b += fx * (float32(bottom[i+3]) - b)
			out[i] = uint8(a + fy*(b-a) + .5)
		}
		return
	}
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
	sum[0] += weight * float32(p[0])
	sum[1] += weight * float32(p[1])
	sum[2] += weight * float32(p[2])
}

// boxBlur returns the part r of src after a q×q box filter, borders reflected without repeating the edge. An even
// box reaches one pixel further to the left and up, as OpenCV's does.
func boxBlur(src *Image, r rect, q int) *Image {
	out := newImage(max(r.x1-r.x0, 0), max(r.y1-r.y0, 0))
	if len(out.Pix) == 0 {
		return out
	}
	sums := make([]uint32, 3*out.W) // of q horizontal sums
	line := make([]uint32, 3*out.W)
	add := func(y int, sign uint32) {
		boxRow(line, src.row(reflect101(y, src.H)), r.x0-q/2, q, src.W)
		for i, v := range line {
			sums[i] += sign * v
		}
	}
	for y := r.y0 - q/2; y < r.y0-q/2+q-1; y++ {
		add(y, 1)
	}
	area := uint32(q * q)
	reciprocal := (1<<40 + uint64(area) - 1) / uint64(area) // exact for sums below 2⁴⁰ / area
	for y := range out.H {
		top := r.y0 + y - q/2
		add(top+q-1, 1)
		row := out.row(y)
		for i, v := range sums {
			row[i] = uint8(uint64(v+area/2) * reciprocal >> 40)
		}
		add(top, ^uint32(0)) // subtract
	}
	return out
}

// boxRow writes the running sums of q pixels of row that begin at x0, x0+1, ….
func boxRow(dst []uint32, row []uint8, x0, q, w int) {
	var s [3]uint32
	for x := x0; x < x0+q-1; x++ {
		addRGB(&s, row, reflect101(x, w), 1)
	}
	for x := x0; len(dst) > 0; x++ {
		addRGB(&s, row, reflect101(x+q-1, w), 1)
		dst[0], dst[1], dst[2] = s[0], s[1], s[2]
		addRGB(&s, row, reflect101(x, w), ^uint32(0))
		dst = dst[3:]
	}
}

func addRGB(s *[3]uint32, row []uint8, x int, sign uint32) {
	p := row[3*x : 3*x+3 : 3*x+3]
	s[0] += sign * uint32(p[0])
	s[1] += sign * uint32(p[1])
	s[2] += sign * uint32(p[2])
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

// tap is a span of source samples and their weights for one output sample.
type tap struct {
	from    int
	weights []float32
}

// resize scales src to w×h: by area where it shrinks, bilinear with replicated edges where it grows.
func resize(src *Image, w, h int) *Image {
	tapsFor := linearTaps
	if w < src.W || h < src.H {
		tapsFor = areaTaps
	}
	xs, ys := tapsFor(src.W, w), tapsFor(src.H, h)
	out := newImage(w, h)
	line, sum := make([]float32, 3*w), make([]float32, 3*w)
	cached := -1 // enlarging reads most source rows twice or more
	for y, t := range ys {
		clear(sum)
		for i, weight := range t.weights {
			if t.from+i != cached {
				cached = t.from + i
				scaleRow(line, src.row(cached), xs)
			}
			for j, v := range line {
				sum[j] += weight * v
			}
		}
		row := out.row(y)
		for j, v := range sum {
			row[j] = uint8(v + .5)
		}
	}
	return out
}

func scaleRow(dst []float32, row []uint8, taps []tap) {
	for x, t := range taps {
		var r, g, b float32
		p := row[3*t.from:]
		for i, w := range t.weights {
			r += w * float32(p[3*i])
			g += w * float32(p[3*i+1])
			b += w * float32(p[3*i+2])
		}
		dst[3*x], dst[3*x+1], dst[3*x+2] = r, g, b
	}
}

// areaTaps weighs every source sample by the part of it that the output sample covers.
func areaTaps(from, to int) []tap {
	scale := float64(from) / float64(to)
	taps := make([]tap, to)
	for i := range taps {
		lo := float64(i) * scale
		hi := min(lo+scale, float64(from))
		first, end := int(lo), min(int(math.Ceil(hi-1e-9)), from)
		t := tap{from: first, weights: make([]float32, end-first)}
		for j := range t.weights {
			left, right := float64(first+j), float64(first+j+1)
			t.weights[j] = float32((min(right, hi) - max(left, lo)) / (hi - lo))
		}
		taps[i] = t
	}
	return taps
}

// linearTaps interpolates between the two nearest samples.
func linearTaps(from, to int) []tap {
	scale := float64(from) / float64(to)
	taps := make([]tap, to)
	for i := range taps {
		at := min(max((float64(i)+.5)*scale-.5, 0), float64(from-1))
		first := int(at)
		f := float32(at - float64(first))
		taps[i] = tap{first, []float32{1 - f, f}}
		if first+1 == from {
			taps[i].weights = []float32{1}
		}
	}
	return taps
}
