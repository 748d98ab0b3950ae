package jpeg

import (
	"fmt"
	"image"
	"image/color"

	"mien/simd"
)

// model is how samples become colours.
type model int

const (
	grey model = iota
	ycc
	rgb
	cmyk
	ycck
)

// settle decides the model as the standard library does.
func (p *Photo) settle() error {
	id := func(i int) uint8 { return p.comp[i].id }
	switch {
	case len(p.comp) == 1:
		p.model = grey
	case len(p.comp) == 4 && p.adobe < 0:
		return fmt.Errorf("%w: four components without Adobe's marker", ErrUnsupported)
	case len(p.comp) == 4 && p.adobe == 0:
		p.model = cmyk
	case len(p.comp) == 4:
		p.model = ycck
	case !p.jfif && (p.adobe == 0 || id(0) == 'R' && id(1) == 'G' && id(2) == 'B'):
		p.model = rgb
	default:
		p.model = ycc
	}
	return nil
}

// rows are the upsampled colours of one row.
type rows struct {
	cb, cr []uint8
	mix    []uint16
}

func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// paint converts the pixels r of t's reduction, which t must hold, to RGB.
func (p *Photo) paint(dst []uint8, r image.Rectangle, t *target) {
	w := r.Dx()
	m := &p.memory.rows
	m.cb, m.cr, m.mix = grown(m.cb, w+2), grown(m.cr, w+2), grown(m.mix, w+4)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		out := dst[3*w*(y-r.Min.Y):][:3*w]
		luma := t.planes[0].row(y)[r.Min.X-t.planes[0].x0:][:w]
		switch p.model {
		case grey:
			greyRow(out, luma)
		case ycc:
			simd.YCbCrToRGB(out, luma, p.interpolated(m.cb, t, 1, r, y), p.interpolated(m.cr, t, 2, r, y))
		case rgb:
			rgbRow(out, luma, t.planes[1].repeated(m.cb, r, y), t.planes[2].repeated(m.cr, r, y))
		default:
			black := t.planes[3].row(y)[r.Min.X-t.planes[3].x0:][:w]
			cb, cr := t.planes[1].repeated(m.cb, r, y), t.planes[2].repeated(m.cr, r, y)
			inkRow(out, luma, cb, cr, black, p.model == ycck)
		}
	}
}

// row is row y of the samples, from x0 on.
func (pl *plane) row(y int) []uint8 { return pl.pix[(y-pl.y0)*pl.stride:][:pl.stride] }

// repeated is the samples at row y of the pixels r, each sample as often as it is wide. RGB and CMYK with subsampling are
// shown so by the standard library.
func (pl *plane) repeated(dst []uint8, r image.Rectangle, y int) []uint8 {
	row := pl.row(y / pl.ry)
	dst = dst[:r.Dx()]
	for x := range dst {
		dst[x] = row[(r.Min.X+x)/pl.rx-pl.x0]
	}
	return dst
}

// interpolated is row y of component i at the pixels of r, upsampled by the triangle filter that libjpeg calls fancy
// upsampling: a sample of full resolution lies at a quarter of the way between two stored ones, so it is 3/4 of
// the near and 1/4 of the far, in each direction that is subsampled by two; by four it is repeated. The reference values were
// made with it: over 2,046 pairs of LFW photos the cosine of a pair is off by 0.002 in the mean and 0.019 at most, with
// repeated samples by 0.003 and 0.052.
func (p *Photo) interpolated(dst []uint8, t *target, i int, r image.Rectangle, y int) []uint8 {
	pl := &t.planes[i]
	rx, ry, first := pl.rx, pl.ry, pl.x0
	if rx == 1 && ry == 1 {
		return pl.row(y)[r.Min.X-first:][:r.Dx()]
	}
	near := y / ry
	far := near
	if ry == 2 {
		far = min(max(near+2*(y&1)-1, 0), Reduced(Reduced(p.height, t.shrink), 2)-1)
	}
	a, b := pl.row(near), pl.row(far)
	lo, hi := r.Min.X/rx, (r.Max.X-1)/rx+1 // samples under r
	mix := p.memory.rows.mix[:hi-lo+2]
	simd.MixSamples(mix[1:1+hi-lo], a[lo-first:hi-first], b[lo-first:hi-first])
	if rx != 2 {
		for x := range r.Dx() {
			dst[x] = uint8((mix[1+(r.Min.X+x)/rx-lo] + 2) >> 2)
		}
		return dst[:r.Dx()]
	}
	left, right := max(lo-1, 0)-first, min(hi, Reduced(Reduced(p.width, t.shrink), 2)-1)-first
	mix[0] = 3*uint16(a[left]) + uint16(b[left])
	mix[1+hi-lo] = 3*uint16(a[right]) + uint16(b[right])
	simd.DoubleSamples(dst[:2*(hi-lo)], mix)
	return dst[r.Min.X&1:][:r.Dx()]
}

func greyRow(dst, luma []uint8) {
	for x, v := range luma {
		out := (*[3]uint8)(dst[3*x:])
		out[0], out[1], out[2] = v, v, v
	}
}

func rgbRow(dst, r, g, b []uint8) {
	for x := range r {
		out := (*[3]uint8)(dst[3*x:])
		out[0], out[1], out[2] = r[x], g[x], b[x]
	}
}

// inkRow converts four components of Adobe's inverted CMYK, or YCCK, where the first three are a picture of their own.
func inkRow(dst, c, m, y, k []uint8, luma bool) {
	for x := range c {
		r, g, b := c[x], m[x], y[x]
		if luma {
			r, g, b = color.YCbCrToRGB(r, g, b)
			r, g, b = ^r, ^g, ^b // to what 255 − sample is below
		}
		out := (*[3]uint8)(dst[3*x:])
		out[0], out[1], out[2] = ink(r, k[x]), ink(g, k[x]), ink(b, k[x])
	}
}

// ink is color.CMYK's conversion, rounded to 8 bits, for samples that are 255 without ink.
func ink(c, k uint8) uint8 {
	v := uint32(c) * 0x101 * (uint32(k) * 0x101) / 0xffff
	return uint8((v*255 + 0x7fff) / 0xffff)
}
