package extract

import (
	"image"

	"mien/simd"
)

// chroma upsamples the colour planes of a WebP, which are subsampled by two both ways, a row at a time, by the triangle filter
// that libjpeg calls fancy upsampling: a sample of full resolution lies at a quarter of the way between two stored
// ones, so it is 3/4 of the near and 1/4 of the far, in each direction. Package jpeg does the same for JPEG.
type chroma struct {
	m      *image.YCbCr
	w, h   int      // of the stored planes
	cb, cr []uint8  // the upsampled row, as long as the image is wide, rounded up to even
	mix    []uint16 // a row of the vertical pass, 4 × the value; the ends twice
}

func newChroma(m *image.YCbCr) *chroma {
	w, h := (m.Rect.Dx()+1)/2, (m.Rect.Dy()+1)/2
	return &chroma{m: m, w: w, h: h, cb: make([]uint8, 2*w), cr: make([]uint8, 2*w), mix: make([]uint16, w+2)}
}

// row returns the chroma of image row y, valid until the next call.
func (c *chroma) row(y int) (cb, cr []uint8) {
	c.mixRows(c.m.Cb, y)
	simd.DoubleSamples(c.cb, c.mix)
	c.mixRows(c.m.Cr, y)
	simd.DoubleSamples(c.cr, c.mix)
	return c.cb, c.cr
}

// mixRows leaves 4 × the vertically interpolated row in c.mix.
func (c *chroma) mixRows(plane []uint8, y int) {
	near := y / 2
	far := min(max(near+2*(y&1)-1, 0), c.h-1)
	a, b := plane[near*c.m.CStride:], plane[far*c.m.CStride:]
	simd.MixSamples(c.mix[1:1+c.w], a[:c.w], b[:c.w])
	c.mix[0], c.mix[1+c.w] = c.mix[1], c.mix[c.w]
}
