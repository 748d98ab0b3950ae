package extract

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

// degradation makes a photo worse step by step. Its steps begin with the amount that leaves the photo as it is.
type degradation struct {
	name     string
	measures []Measure // that must fall
	steps    []float64
	apply    func(m *Image, l *points, amount float64) *Image // l are the face's points in m
	traits   trait
}

// trait says what a degradation is like.
type trait uint8

const (
	peaked  trait = 1 << iota // a little of it may do the photo good
	frame                     // it moves or cuts the frame and leaves the face as it is
	subject                   // it asks for a photo of one face alone
	extra                     // it came after the unified score was fitted: samples are not made worse by it
)

func (d *degradation) is(t trait) bool { return d.traits&t != 0 }

var degradations = []degradation{
	{"gaussian blur", []Measure{Sharpness}, []float64{0, .02, .04, .07, .1}, gaussian, 0},
	{"motion blur", []Measure{Sharpness}, []float64{0, .08, .15, .25}, shaken, 0},
	{"enlarged", []Measure{Sharpness}, []float64{1, 2, 4, 6}, enlarged, 0},
	{"reduced", []Measure{InterEyeDistance}, []float64{1, 1.5, 2, 3}, reduced, 0},
	{"dark", []Measure{LuminanceMean, DynamicRange}, []float64{1, .5, .3, .2, .12}, gain, peaked},
	{"crushed", []Measure{UnderExposure, LuminanceMean}, []float64{0, 50, 90, 130, 160}, crushed, peaked | extra},
	{"bright", []Measure{LuminanceMean, OverExposure}, []float64{1, 1.6, 2.2, 3, 4}, gain, peaked},
	{"contrast", []Measure{LuminanceVariance, DynamicRange}, []float64{1, .6, .4, .3, .22}, contrast, 0},
	{"half shadow", []Measure{IlluminationUniformity}, []float64{1, .7, .5, .35, .25}, halfShadow, peaked},
	{"noise", []Measure{UnifiedScore}, []float64{0, 20, 35, 50}, noisy, 0},
	{"jpeg", []Measure{Compression}, []float64{100, 40, 20, 10, 5}, jpegOf, 0},
	{"roll", []Measure{PoseRoll}, []float64{0, 15, 30, 45}, rotated, 0},
	{"eye bar", []Measure{EyesVisible}, []float64{0, .35, .6, .8}, eyeBar, 0},
	{"mouth", []Measure{MouthClosed}, []float64{0, .08, .16}, mouthOpened, 0},
	{"left edge", []Measure{MarginLeft}, []float64{2, 1, .7, .4}, cutLeft, frame},
	{"right edge", []Measure{MarginRight}, []float64{2, 1, .7, .4}, cutRight, frame},
	{"upper edge", []Measure{MarginAbove}, []float64{2.5, 1.5, 1.2, .9}, cutAbove, frame},
	{"lower edge", []Measure{MarginBelow}, []float64{2.5, 1.9, 1.6, 1.3}, cutBelow, frame},
	{"canvas", []Measure{HeadSize}, []float64{1.5, 3, 5, 7}, canvased, frame},
	{"second face", []Measure{SingleFace}, []float64{0, .4, .6, .9}, secondFace, frame | subject},
}

func (m *Image) clone() *Image {
	out := newImage(m.W, m.H)
	copy(out.Pix, m.Pix)
	return out
}

// level rounds to a grey level.
func level(v float64) uint8 { return uint8(min(max(v+.5, 0), 255)) }

// convolve runs a kernel along rows (step 3) or columns (step 3·W), edges repeated.
func convolve(m *Image, kernel []float64, columns bool) *Image {
	out := newImage(m.W, m.H)
	r := len(kernel) / 2
	for y := range m.H {
		for x := range m.W {
			var sum [3]float64
			for i, k := range kernel {
				sx, sy := min(max(x+i-r, 0), m.W-1), y
				if columns {
					sx, sy = x, min(max(y+i-r, 0), m.H-1)
				}
				p := m.Pix[3*(sy*m.W+sx):]
				for c := range sum {
					sum[c] += k * float64(p[c])
				}
			}
			for c, v := range sum {
				out.Pix[3*(y*m.W+x)+c] = level(v)
			}
		}
	}
	return out
}

// gaussian blurs by so many eye distances.
func gaussian(m *Image, l *points, amount float64) *Image {
	sigma := amount * l.five.apparent()
	if sigma == 0 {
		return m
	}
	r := int(math.Ceil(3 * sigma))
	kernel := make([]float64, 2*r+1)
	var sum float64
	for i := range kernel {
		d := float64(i-r) / sigma
		kernel[i] = math.Exp(-d * d / 2)
		sum += kernel[i]
	}
	for i := range kernel {
		kernel[i] /= sum
	}
	return convolve(convolve(m, kernel, false), kernel, true)
}

// shaken blurs along rows over so many eye distances.
func shaken(m *Image, l *points, amount float64) *Image {
	n := 2*int(amount*l.five.apparent()/2) + 1
	kernel := make([]float64, n)
	for i := range kernel {
		kernel[i] = 1 / float64(n)
	}
	return convolve(m, kernel, false)
}

func reduced(m *Image, _ *points, times float64) *Image {
	return resize(m, int(float64(m.W)/times), int(float64(m.H)/times))
}

// enlarged is what is left of a photo that was reduced and brought to its size again.
func enlarged(m *Image, l *points, times float64) *Image {
	return resize(reduced(m, l, times), m.W, m.H)
}

func gain(m *Image, _ *points, times float64) *Image {
	return toned(m, func(v float64) float64 { return v * times })
}

// crushed loses the darkest levels, as an under-exposed photo does.
func crushed(m *Image, _ *points, levels float64) *Image {
	return toned(m, func(v float64) float64 { return v - levels })
}

func contrast(m *Image, _ *points, share float64) *Image {
	return toned(m, func(v float64) float64 { return 128 + (v-128)*share })
}

func toned(m *Image, f func(v float64) float64) *Image {
	out := newImage(m.W, m.H)
	for i, v := range m.Pix {
		out.Pix[i] = level(f(float64(v)))
	}
	return out
}

// halfShadow darkens the half of the photo to the right of the nose.
func halfShadow(m *Image, l *points, gain float64) *Image {
	out := m.clone()
	edge := l.five[2][0]
	width := .1 * l.five.apparent()
	for i := range m.W * m.H {
		t := sigmoid(float64(i%m.W), edge, width)
		for c := range 3 {
			out.Pix[3*i+c] = level(float64(m.Pix[3*i+c]) * (1 - t + t*gain))
		}
	}
	return out
}

func noisy(m *Image, _ *points, sigma float64) *Image {
	out := newImage(m.W, m.H)
	r := rand.New(rand.NewPCG(1, 2))
	for i, v := range m.Pix {
		out.Pix[i] = level(float64(v) + sigma*r.NormFloat64())
	}
	return out
}

func jpegOf(m *Image, _ *points, quality float64) *Image {
	n := image.NewRGBA(image.Rect(0, 0, m.W, m.H))
	for i := range m.W * m.H {
		copy(n.Pix[4*i:], m.Pix[3*i:3*i+3])
		n.Pix[4*i+3] = 255
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, n, &jpeg.Options{Quality: int(quality)}); err != nil {
		panic(err)
	}
	out, err := decode(context.Background(), b.Bytes(), m.W*m.H)
	if err != nil {
		panic(err)
	}
	return out
}

// rotated turns the photo about the face, further the way it is turned already.
func rotated(m *Image, l *points, angle float64) *Image {
	if angle == 0 {
		return m
	}
	x, y := l.five[2][0], l.five[2][1]
	s, c := math.Sincos(math.Copysign(angle, l.five.roll()) * math.Pi / 180)
	out := newImage(m.W, m.H)
	warp(out, m, affine{c, -s, x - c*x + s*y, s, c, y - s*x - c*y})
	return out
}

// eyeBar paints dark glasses over both eyes; amount is how little light they let through.
func eyeBar(m *Image, l *points, amount float64) *Image {
	out := m.clone()
	d := l.five.apparent()
	left, right := l.five[0], l.five[1]
	for i := range m.W * m.H {
		x, y := float64(i%m.W), float64(i/m.W)
		for _, c := range [2][2]float64{left, right} {
			dx, dy := (x-c[0])/(.42*d), (y-c[1]-.05*d)/(.32*d)
			if dx*dx+dy*dy < 1 {
				for k := range 3 {
					out.Pix[3*i+k] = level(float64(m.Pix[3*i+k])*(1-amount) + 20*amount)
				}
			}
		}
	}
	return out
}

// mouthOpened moves all below the lips down and fills the gap with dark; amount is in distances from the eyes to the chin.
func mouthOpened(m *Image, l *points, amount float64) *Image {
	gap := amount * (l.all[8][1] - l.five.eyesMiddle()[1])
	out := m.clone()
	mid, half := (l.five[3][0]+l.five[4][0])/2, (l.five[4][0]-l.five[3][0])/2
	lip := (l.all[62][1] + l.all[66][1]) / 2
	for i := range m.W * m.H {
		x, y := i%m.W, i/m.W
		u := (float64(x) - mid) / half
		open := gap * max(1-u*u, 0)
		if float64(y) <= lip {
			continue
		}
		from := float64(y) - open
		if float64(y) > lip && from < lip {
			out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = 40, 15, 15
			continue
		}
		copy(out.Pix[3*i:3*i+3], m.Pix[3*(int(from)*m.W+x):])
	}
	return out
}

// The cuts take off what is further than so many eye distances from the middle of the eyes.
func cutLeft(m *Image, l *points, amount float64) *Image {
	return m.part(rect{max(int(l.five.eyesMiddle()[0]-amount*l.five.apparent()), 0), 0, m.W, m.H})
}

func cutRight(m *Image, l *points, amount float64) *Image {
	return m.part(rect{0, 0, min(int(l.five.eyesMiddle()[0]+amount*l.five.apparent()), m.W), m.H})
}

func cutAbove(m *Image, l *points, amount float64) *Image {
	return m.part(rect{0, max(int(l.five.eyesMiddle()[1]-amount*l.five.apparent()), 0), m.W, m.H})
}

func cutBelow(m *Image, l *points, amount float64) *Image {
	return m.part(rect{0, 0, m.W, min(int(l.five.eyesMiddle()[1]+amount*l.five.apparent()), m.H)})
}

// canvased puts the photo on a grey canvas so many times as large.
func canvased(m *Image, _ *points, times float64) *Image {
	out := newImage(int(float64(m.W)*times), int(float64(m.H)*times))
	for i := range out.Pix {
		out.Pix[i] = 127
	}
	paste(out, m, (out.W-m.W)/2, (out.H-m.H)/2)
	return out
}

func paste(dst, m *Image, x, y int) {
	for i := range m.H {
		copy(dst.row(y + i)[3*x:], m.row(i))
	}
}

// secondFace puts a copy of the photo beside it, of so many times its size.
func secondFace(m *Image, _ *points, size float64) *Image {
	out := newImage(2*m.W, m.H)
	paste(out, m, 0, 0)
	if size > 0 {
		paste(out, resize(m, int(float64(m.W)*size), int(float64(m.H)*size)), m.W, 0)
	}
	return out
}
