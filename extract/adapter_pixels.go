package extract

import "mien/extract/pack"

// pixels writes pictures into a model's input as its manifest says. It is immutable.
type pixels struct {
	w, h   int
	colour string
	nhwc   bool
	value  [3][256]float32 // of a byte in each of the model's channels
}

func newPixels(in pack.Input) *pixels {
	p := &pixels{w: in.Width, h: in.Height, colour: in.Colour, nhwc: in.Layout == pack.NHWC}
	at := func(v []float32, c int) float32 { return v[min(c, len(v)-1)] }
	for c := range in.Channels() {
		for v := range p.value[c] {
			p.value[c][v] = (float32(v) - at(in.Mean, c)) / at(in.Std, c)
		}
	}
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

// fill makes the whole of in one grey.
func (p *pixels) fill(in []float32, grey uint8) {
	plane := p.w * p.h
	if p.nhwc && p.channels() == 3 {
		for i := 0; i < len(in); i += 3 {
			in[i], in[i+1], in[i+2] = p.value[0][grey], p.value[1][grey], p.value[2][grey]
		}
		return
	}
	for c := range p.channels() {
		v, out := p.value[c][grey], in[c*plane:(c+1)*plane]
		for i := range out {
			out[i] = v
		}
	}
}

// draw writes m into in with its corner at (x, y). REQUIRES: it lies inside.
func (p *pixels) draw(in []float32, m *Image, x, y int) {
	for r := range m.H {
		row, at := m.row(r), (y+r)*p.w+x
		for c := range p.channels() {
			value, from, step := &p.value[c], p.channel(c), 1
			out := in[c*p.w*p.h+at:]
			if p.nhwc {
				out, step = in[at*p.channels()+c:], p.channels()
			}
			if p.colour == pack.Grey {
				drawGreyRow(out, row, step, value)
				continue
			}
			if step == 1 {
				drawRow(out[:m.W], row[from:], value)
				continue
			}
			for i := range m.W {
				out[i*step] = value[row[3*i+from]]
			}
		}
	}
}

// drawRow draws every third of row.
func drawRow(out []float32, row []uint8, value *[256]float32) {
	for i := range out {
		out[i] = value[row[3*i]]
	}
}

// channel is where a picture, which is RGB, keeps channel c of the model.
func (p *pixels) channel(c int) int {
	if p.colour == pack.BGR {
		return 2 - c
	}
	return c
}

func drawGreyRow(out []float32, row []uint8, step int, value *[256]float32) {
	for i := 0; 3*i < len(row); i++ {
		out[i*step] = value[grey(row[3*i:])]
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
