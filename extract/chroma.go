package extract

import "image"

// chroma upsamples the colour planes of a WebP, which are subsampled by two both ways, a row at a time, by the triangle filter
// that libjpeg calls fancy upsampling: a sample of full resolution lies at a quarter of the way between two stored
// ones, so it is 3/4 of the near and 1/4 of the far, in each direction. Package jpeg does the same for JPEG.
type chroma struct {
	m      *image.YCbCr
	w, h   int      // of the stored planes
	cb, cr []uint8  // the upsampled row, as long as the image is wide, rounded up to even
	mix    []uint16 // a row of the vertical pass, 4 × the value
}

func newChroma(m *image.YCbCr) *chroma {
	w, h := (m.Rect.Dx()+1)/2, (m.Rect.Dy()+1)/2
	return &chroma{m: m, w: w, h: h, cb: make([]uint8, 2*w), cr: make([]uint8, 2*w), mix: make([]uint16, w)}
}

// row returns the chroma of image row y, valid until the next call.
func (c *chroma) row(y int) (cb, cr []uint8) {
	c.mixRows(c.m.Cb, y)
	triangle(c.cb, c.mix)
	c.mixRows(c.m.Cr, y)
	triangle(c.cr, c.mix)
	return c.cb, c.cr
}

// mixRows leaves 4 × the vertically interpolated row in c.mix.
func (c *chroma) mixRows(plane []uint8, y int) {
	near := y / 2
	far := min(max(near+2*(y&1)-1, 0), c.h-1)
	a, b := plane[near*c.m.CStride:], plane[far*c.m.CStride:]
	for x := range c.mix {
		c.mix[x] = 3*uint16(a[x]) + uint16(b[x])
	}
}

// triangle doubles a row that holds 4 × the values; the ends repeat. libjpeg rounds 8 up at the left sample and
// 7 at the right one, so that halves do not drift.
func triangle(dst []uint8, mix []uint16) {
	last := len(mix) - 1
	for x, v := range mix {
		left, right := mix[max(x-1, 0)], mix[min(x+1, last)]
		dst[2*x] = uint8((3*v + left + 8) >> 4)
		dst[2*x+1] = uint8((3*v + right + 7) >> 4)
	}
}
