package extract

import "image"

// chroma upsamples the colour planes of a YCbCr image, a row at a time, by the triangle filter that libjpeg
// calls fancy upsampling: a sample of full resolution lies at a quarter of the way between two stored ones, so it
// is 3/4 of the near and 1/4 of the far, in each direction that is subsampled by two. The reference values were
// made with it: over 2,046 pairs of LFW photos the cosine of a pair is off by 0.002 in the mean and 0.019 at most,
// with repeated samples by 0.003 and 0.052.
type chroma struct {
	m      *image.YCbCr
	hx, hy int // subsampling, 1 or 2 (4 horizontally is repeated)
	w      int // width of the stored planes
	h      int
	cb, cr []uint8  // the upsampled row, as long as the image is wide, rounded up to the subsampling
	mix    []uint16 // a row of the vertical pass, 4 × the value
}

func newChroma(m *image.YCbCr) *chroma {
	c := &chroma{m: m, hx: 1, hy: 1}
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		c.hx = 2
	case image.YCbCrSubsampleRatio420:
		c.hx, c.hy = 2, 2
	case image.YCbCrSubsampleRatio440:
		c.hy = 2
	case image.YCbCrSubsampleRatio411:
		c.hx = 4
	case image.YCbCrSubsampleRatio410:
		c.hx, c.hy = 4, 2
	}
	r := m.Rect
	c.w, c.h = (r.Dx()+c.hx-1)/c.hx, (r.Dy()+c.hy-1)/c.hy
	c.cb, c.cr = make([]uint8, c.w*c.hx), make([]uint8, c.w*c.hx)
	c.mix = make([]uint16, c.w)
	return c
}

// row returns the chroma of image row y, valid until the next call.
func (c *chroma) row(y int) (cb, cr []uint8) {
	c.upsample(c.cb, c.m.Cb, y)
	c.upsample(c.cr, c.m.Cr, y)
	return c.cb, c.cr
}

func (c *chroma) upsample(dst, plane []uint8, y int) {
	c.mixRows(plane, y)
	switch c.hx {
	case 2:
		triangle(dst, c.mix)
	default:
		for x := range dst {
			dst[x] = uint8((c.mix[x/c.hx] + 2) >> 2)
		}
	}
}

// mixRows leaves 4 × the vertically interpolated row in c.mix.
func (c *chroma) mixRows(plane []uint8, y int) {
	near := y / c.hy
	far := near
	if c.hy == 2 {
		far = min(max(near+2*(y&1)-1, 0), c.h-1)
	}
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
