package extract

import (
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The plain functions are what preprocessing version 1 was fixed with, one pixel after another: what is faster must
// draw the same bits.

func plainWarp(dst, src *Image, m affine) {
	inv := m.inverse()
	from, origin := src, rect{0, 0, src.W, src.H}
	if k := math.Sqrt(m.det()); k < .5 {
		q := int(math.RoundToEven(1 / k))
		origin = footprint(inv, dst.W, dst.H, src)
		from = plainBoxBlur(src, origin, q)
	}
	for y := range dst.H {
		row := dst.row(y)
		for x := range dst.W {
			sx, sy := float64(inv.a*float64(x))+float64(inv.b*float64(y))+inv.tx, float64(inv.c*float64(x))+float64(inv.d*float64(y))+inv.ty
			plainBilinear(row[3*x:3*x+3:3*x+3], from, sx-float64(origin.x0), sy-float64(origin.y0))
		}
	}
}

func plainBilinear(out []uint8, from *Image, x, y float64) {
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
			a += float32(fx * (float32(top[i+3]) - a)) // rounded: arm64 would fuse it
			b += float32(fx * (float32(bottom[i+3]) - b))
			out[i] = uint8(a + float32(fy*(b-a)) + .5)
		}
		return
	}
	for i := range out {
		var sum float32
		for _, p := range [4]struct {
			x, y   int
			weight float32
		}{{x0, y0, (1 - fx) * (1 - fy)}, {x0 + 1, y0, fx * (1 - fy)}, {x0, y0 + 1, (1 - fx) * fy}, {x0 + 1, y0 + 1, fx * fy}} {
			if p.x >= 0 && p.x < from.W && p.y >= 0 && p.y < from.H { // else 0
				sum += float32(p.weight * float32(from.row(p.y)[3*p.x+i]))
			}
		}
		out[i] = uint8(sum + .5)
	}
}

// At the border pixels outside count as 0. The weights here have no rounding, so the values are those of pen and paper.
func TestBilinearBorder(t *testing.T) {
	m := newImage(2, 2)
	copy(m.Pix, []uint8{80, 0, 8, 160, 4, 8, 40, 100, 8, 200, 240, 8})
	for _, c := range []struct {
		x, y float64
		want [3]uint8
	}{
		{-1, 0, [3]uint8{0, 0, 0}},
		{-.5, 0, [3]uint8{40, 0, 4}},
		{0, -.5, [3]uint8{40, 0, 4}},
		{.5, -.5, [3]uint8{60, 1, 4}},
		{-.25, .5, [3]uint8{45, 38, 6}}, // ¾ of 60, 50 (37.5) and 8
		{-.5, -.5, [3]uint8{20, 0, 2}},
		{1, 1, [3]uint8{200, 240, 8}},
		{1.5, 0, [3]uint8{80, 2, 4}},
		{1.25, .5, [3]uint8{135, 92, 6}}, // ¾ of 180, 122 (91.5) and 8
		{.5, 1.75, [3]uint8{30, 43, 2}},  // ¼ of 120, 170 (42.5) and 8
		{1.5, 1.5, [3]uint8{50, 60, 2}},
		{2, 1, [3]uint8{0, 0, 0}},
		{1, 2, [3]uint8{0, 0, 0}},
		{math.NaN(), 0, [3]uint8{0, 0, 0}},
	} {
		got := [3]uint8{9, 9, 9}
		bilinear(got[:], m, c.x, c.y)
		if got != c.want {
			t.Errorf("at %v, %v: %v, want %v", c.x, c.y, got, c.want)
		}
	}
}

func plainBoxBlur(src *Image, r rect, q int) *Image {
	out := newImage(max(r.x1-r.x0, 0), max(r.y1-r.y0, 0))
	if len(out.Pix) == 0 {
		return out
	}
	sums := make([]uint32, 3*out.W) // of q horizontal sums
	line := make([]uint32, 3*out.W)
	add := func(y int, sign uint32) {
		plainBoxRow(line, src.row(reflect101(y, src.H)), r.x0-q/2, q, src.W)
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

func plainBoxRow(dst []uint32, row []uint8, x0, q, w int) {
	var s [3]uint32
	for x := x0; x < x0+q-1; x++ {
		plainAddRGB(&s, row, reflect101(x, w), 1)
	}
	for x := x0; len(dst) > 0; x++ {
		plainAddRGB(&s, row, reflect101(x+q-1, w), 1)
		dst[0], dst[1], dst[2] = s[0], s[1], s[2]
		plainAddRGB(&s, row, reflect101(x, w), ^uint32(0))
		dst = dst[3:]
	}
}

func plainAddRGB(s *[3]uint32, row []uint8, x int, sign uint32) {
	p := row[3*x : 3*x+3 : 3*x+3]
	s[0] += sign * uint32(p[0])
	s[1] += sign * uint32(p[1])
	s[2] += sign * uint32(p[2])
}

func plainResize(src *Image, w, h int) *Image {
	tapsFor := plainLinearTaps
	if w < src.W || h < src.H {
		tapsFor = plainAreaTaps
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
				plainScaleRow(line, src.row(cached), xs)
			}
			for j, v := range line {
				sum[j] += float32(weight * v) // rounded: arm64 would fuse it
			}
		}
		row := out.row(y)
		for j, v := range sum {
			row[j] = uint8(v + .5)
		}
	}
	return out
}

func plainScaleRow(dst []float32, row []uint8, taps []plainTap) {
	for x, t := range taps {
		var r, g, b float32
		p := row[3*t.from:]
		for i, w := range t.weights {
			r += float32(w * float32(p[3*i]))
			g += float32(w * float32(p[3*i+1]))
			b += float32(w * float32(p[3*i+2]))
		}
		dst[3*x], dst[3*x+1], dst[3*x+2] = r, g, b
	}
}

func plainAreaTaps(from, to int) []plainTap {
	scale := float64(from) / float64(to)
	taps := make([]plainTap, to)
	for i := range taps {
		lo := float64(i) * scale
		hi := min(lo+scale, float64(from))
		first, end := int(lo), min(int(math.Ceil(hi-1e-9)), from)
		t := plainTap{from: first, weights: make([]float32, end-first)}
		for j := range t.weights {
			left, right := float64(first+j), float64(first+j+1)
			t.weights[j] = float32((min(right, hi) - max(left, lo)) / (hi - lo))
		}
		taps[i] = t
	}
	return taps
}

func plainLinearTaps(from, to int) []plainTap {
	scale := float64(from) / float64(to)
	taps := make([]plainTap, to)
	for i := range taps {
		at := min(max((float64(i)+.5)*scale-.5, 0), float64(from-1))
		first := int(at)
		f := float32(at - float64(first))
		taps[i] = plainTap{first, []float32{1 - f, f}}
		if first+1 == from {
			taps[i].weights = []float32{1}
		}
	}
	return taps
}

type plainTap struct {
	from    int
	weights []float32
}

func randomImage(r *rand.Rand, w, h int) *Image {
	m := newImage(w, h)
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32())
	}
	return m
}

// dirty leaves something in the pools that must not show.
func dirty(r *rand.Rand) {
	m := randomImage(r, 300, 300)
	m.giveBack()
	f := borrow[uint32](5000)
	for i := range *f {
		(*f)[i] = r.Uint32()
	}
	giveBack(f)
}

func TestWarpSameBits(t *testing.T) {
	r := random(t)
	for range rounds(400) {
		dirty(r)
		src := randomImage(r, 1+r.IntN(200), 1+r.IntN(200))
		k := math.Exp(3*r.Float64() - 2) // .13 … 2.7
		turn := 2 * math.Pi * r.Float64()
		if r.IntN(3) == 0 {
			turn = 0
		}
		m := affine{a: k * math.Cos(turn), b: -k * math.Sin(turn), c: k * math.Sin(turn), d: k * math.Cos(turn)}
		if r.IntN(5) == 0 {
			m.a, m.d = 1, 1 // on the grid
			m.b, m.c = 0, 0
		}
		w, h := 1+r.IntN(100), 1+r.IntN(100)
		cx, cy := m.apply(float64(r.IntN(src.W)), float64(r.IntN(src.H)))
		m.tx, m.ty = float64(w/2)-cx, float64(h/2)-cy
		got, want := randomImage(r, w, h), newImage(w, h)
		warp(got, src, m)
		plainWarp(want, src, m)
		if !slices.Equal(got.Pix, want.Pix) {
			t.Fatalf("%d×%d to %d×%d through %+v differs", src.W, src.H, w, h, m)
		}
	}
}

func TestBlurSameBits(t *testing.T) {
	r := random(t)
	for range rounds(400) {
		dirty(r)
		src := randomImage(r, 1+r.IntN(80), 1+r.IntN(80))
		x, y := r.IntN(src.W), r.IntN(src.H)
		part := rect{x, y, x + 1 + r.IntN(src.W-x), y + 1 + r.IntN(src.H-y)}
		q := 1 + r.IntN(40)
		want := plainBoxBlur(src, part, q)
		got := randomImage(r, want.W, want.H)
		boxBlurInto(got, src, part, q)
		if !slices.Equal(got.Pix, want.Pix) {
			t.Fatalf("part %v of %d×%d by %d differs", part, src.W, src.H, q)
		}
	}
}

func TestResizeSameBits(t *testing.T) {
	r := random(t)
	for range rounds(200) {
		dirty(r)
		src := randomImage(r, 1+r.IntN(300), 1+r.IntN(300))
		w, h := 1+r.IntN(320), 1+r.IntN(240)
		if !slices.Equal(resize(src, w, h).Pix, plainResize(src, w, h).Pix) {
			t.Fatalf("%d×%d to %d×%d differs", src.W, src.H, w, h)
		}
	}
}

var seedFlag = flag.Uint64("seed", 0, "of random tests; 0: another each time")

// rounds is how many of n rounds a random test does.
func rounds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

func random(t *testing.T) *rand.Rand {
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// BenchmarkGeometry is what happens to pixels between decoding and models, for a face of 200 pixels in a photo of 640×480.
func BenchmarkGeometry(b *testing.B) {
	src := randomImage(rand.New(rand.NewPCG(1, 1)), 640, 480)
	run := func(name string, do func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			start := processorTime()
			for b.Loop() {
				do()
			}
			reportProcessor(b, start)
		})
	}
	for _, c := range []struct {
		name string
		size int
		side float64
	}{{"landmarks", 64, 180}, {"align", 112, 200}, {"align turned", 112, 200}, {"pose", 224, 200}, {"liveness wide", 128, 479}} {
		m := squareCrop(100, 50, c.side, c.size)
		if c.name == "align turned" {
			m.b, m.c = -.1, .1
		}
		dst := newImage(c.size, c.size)
		run("warp "+c.name, func() { warp(dst, src, m) })
		run("plain "+c.name, func() { plainWarp(dst, src, m) })
	}
	small := newImage(288, 216)
	run("resize", func() { resizeInto(small, src) })
	run("plain resize", func() { plainResize(src, 288, 216) })
}
