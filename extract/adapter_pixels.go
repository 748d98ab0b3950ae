package extract

import (
	"mien/extract/pack"
	"mien/simd"
)

// pixels writes pictures into a model's input as its manifest says. It is immutable.
type pixels struct {
	w, h   int
	colour string
	nhwc   bool
	norm   *simd.Normaliser // in a picture's order of channels
}

func newPixels(in pack.Input) *pixels {
	p := &pixels{w: in.Width, h: in.Height, colour: in.Colour, nhwc: in.Layout == pack.NHWC}
	at := func(v []float32, c int) float32 { return v[min(c, len(v)-1)] }
	var mean, std [3]float32
	for c := range mean {
		mean[p.channel(c)], std[p.channel(c)] = at(in.Mean, c), at(in.Std, c)
	}
	p.norm = simd.NewNormaliser(mean, std)
	return p
}

func (p *pixels) channels() int {
	if p.colour == pack.Grey {
		return 1
	}
	return 3
}

// shape is that of one item, without the batch.
func (p *pixels) shape() []int64 {
	c, h, w := int64(p.channels()), int64(p.h), int64(p.w)
	if p.nhwc {
		return []int64{h, w, c}
	}
	return []int64{c, h, w}
}

// surround makes all of in around c one grey.
func (p *pixels) surround(in []float32, c canvas, grey uint8) {
	unit, planes := 1, p.channels() // floats beside one another, and how often
	if p.nhwc {
		unit, planes = planes, 1
	}
	fill := func(s []float32, plane int) {
		for i := range min(unit, len(s)) {
			s[i] = p.value(plane + i)[grey]
		}
		repeat(s, unit)
	}
	row, gap := unit*p.w, unit*(p.w-c.w)
	start := row*c.y + unit*c.x
	end := start + row*(c.h-1) + unit*c.w
	for i := range planes {
		plane := in[i*row*p.h:][:row*p.h]
		fill(plane[:start], i)
		fill(plane[end:], i)
		if c.h == 1 {
			continue
		}
		between := plane[start+unit*c.w:][:gap] // two rows of c
		fill(between, i)
		for y := 2; y < c.h; y++ {
			copy(plane[start+row*y-gap:], between)
		}
	}
}

// repeat fills s with its first n elements.
func repeat(s []float32, n int) {
	for ; n < len(s); n *= 2 {
		copy(s[n:], s[:n])
	}
}

// draw writes m into in with its corner at (x, y). REQUIRES: it lies inside.
func (p *pixels) draw(in []float32, m *Image, x, y int) {
	size := p.w * p.h
	for r := range m.H {
		row, at := m.row(r), (y+r)*p.w+x
		switch {
		case p.colour == pack.Grey:
			drawGreyRow(in[at:], row, p.value(0))
		case p.nhwc:
			p.drawPixels(in[3*at:], row)
		default:
			plane := func(c int) []float32 { return in[p.channel(c)*size+at:][:m.W] }
			p.norm.Planes(plane(0), plane(1), plane(2), row)
		}
	}
}

// drawPixels writes a row with the channels of a pixel beside one another.
func (p *pixels) drawPixels(out []float32, row []uint8) {
	for c := range 3 {
		value, from := p.value(c), p.channel(c)
		for i := 0; i < len(row); i += 3 {
			out[i+c] = value[row[i+from]]
		}
	}
}

// value is what bytes become in channel c of the model.
func (p *pixels) value(c int) *[256]float32 { return &p.norm.Value[p.channel(c)] }

// channel is where a picture, which is RGB, keeps channel c of the model, and the other way round.
func (p *pixels) channel(c int) int {
	if p.colour == pack.BGR {
		return 2 - c
	}
	return c
}

func drawGreyRow(out []float32, row []uint8, value *[256]float32) {
	for i := 0; 3*i < len(row); i++ {
		out[i] = value[grey(row[3*i:])]
	}
}

// crop fills in with the part of photo that a maps to it.
func (p *pixels) crop(in []float32, photo *picture, a affine) {
	m := borrowImage(p.w, p.h)
	defer m.giveBack()
	photo.warp(m, a)
	p.draw(in, m, 0, 0)
}

// mirrored returns m with left and right exchanged.
func (m *Image) mirrored() *Image {
	out := newImage(m.W, m.H)
	for y := range m.H {
		from, to := m.row(y), out.row(y)
		for x := range m.W {
			copy(to[3*x:3*x+3], from[3*(m.W-1-x):])
		}
	}
	return out
}
