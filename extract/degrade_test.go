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
	peaked  trait = 1 << iota // a little of it may do the photo good, or bring the head to where the model has its zero
	frame                     // it moves or cuts the frame and leaves the face as it is
	subject                   // it asks for a photo of one face alone
	extra                     // it came after the unified score was fitted: samples are not made worse by it
	seen                      // it asks for a photo on which the measure is at its best, 90 and more, to begin with
	crude                     // it is too crude for small faces: of a folder's its shares are printed, and not held against bounds
	turned                    // it moves the eyes in the frame
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
	// Of 199 photos of LFW 101 show the face at the third step. With a step of 28 before it 167 do, and of those the score falls in
	// order for 153: between 20 and 28 it may rise by some points.
	{"noise", []Measure{UnifiedScore}, []float64{0, 20, 35, 50}, noisy, 0},
	{"jpeg", []Measure{Compression}, []float64{100, 40, 20, 10, 5}, jpegOf, 0},
	{"roll", []Measure{PoseRoll}, []float64{0, 15, 30, 45}, rotated, 0},
	{"yaw", []Measure{PoseYaw}, []float64{0, 10, 20, 30}, yawed, extra | turned | peaked},
	{"pitch", []Measure{PosePitch}, []float64{0, 10, 20, 30}, pitched, extra | turned | peaked | crude},
	{"lids", []Measure{EyesOpen}, []float64{0, .4, .7, 1}, lidsClosed, extra | seen | crude},
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

// yawed turns the head by so many degrees, further the way it is turned already: the face is a photo on an upright cylinder as
// wide as the jaw, which is turned about its axis. What the turn brings to the front from behind the ear is a mirror image of
// what is before it, of no more than the degrees' width.
func yawed(m *Image, l *points, degrees float64) *Image {
	jaw := [2][2]float64{l.all[0], l.all[16]}
	radius := .52 * distance(jaw[0], jaw[1])
	axis := [2]float64{(jaw[0][0] + jaw[1][0]) / 2, (jaw[0][1] + jaw[1][1]) / 2}
	turn := math.Copysign(degrees, float64(l.five.pose().Yaw)) * math.Pi / 180
	across := unitTo(l.five[0], l.five[1])
	return onCylinder(m, axis, across, radius, turn)
}

// pitched bends the head by so many degrees, further the way it is bent: the face is a photo on an ellipsoid with a nose, seen from
// far. Without the nose the turn hardly shows. Depths are in distances from the eyes to the chin; they fade out around the face.
func pitched(m *Image, l *points, degrees float64) *Image {
	out := m.clone()
	if degrees == 0 {
		return out
	}
	middle, chin, nose := l.five.eyesMiddle(), l.all[8], l.five[2]
	unit := distance(middle, chin)
	down := unitTo(middle, chin)
	axis := [2]float64{middle[0] + .4*(chin[0]-middle[0]), middle[1] + .4*(chin[1]-middle[1])}
	along := func(p [2]float64, from [2]float64) (v, u float64) { // down the face, and across
		x, y := p[0]-from[0], p[1]-from[1]
		return (x*down[0] + y*down[1]) / unit, (x*down[1] - y*down[0]) / unit
	}
	sin, cos := math.Sincos(math.Copysign(degrees, float64(l.five.pose().Pitch)) * math.Pi / 180)
	depth := func(v, u, noseV, noseU float64) float64 {
		round := math.Sqrt(max(1-(u/.85)*(u/.85)-(v/1.2)*(v/1.2), 0))
		dv, du := (v-noseV)/.22, (u-noseU)/.14
		if dv < 0 {
			dv /= 2 // the bridge rises slowly to the tip
		}
		return .75*round + .3*math.Exp(-dv*dv-du*du)
	}
	noseV, noseU := along(nose, axis)
	for i := range m.W * m.H {
		p := [2]float64{float64(i % m.W), float64(i / m.W)}
		v, u := along(p, axis)
		r := math.Hypot(u/.85, v/1.2)
		if r >= 1.3 {
			continue
		}
		from := v
		for range 12 { // v = from·cos − depth·sin, for from
			from += .5 * ((v+(depth(from, u, noseV, noseU)-.4)*sin)/cos - from)
		}
		by := (from - v) * unit * min(max((1.3-r)/.3, 0), 1)
		m.sample(p[0]+by*down[0], p[1]+by*down[1], out.Pix[3*i:3*i+3])
	}
	return out
}

// unitTo is the direction from a to b.
func unitTo(a, b [2]float64) [2]float64 {
	d := distance(a, b)
	return [2]float64{(b[0] - a[0]) / d, (b[1] - a[1]) / d}
}

// onCylinder turns what lies within radius of an axis, along the direction across, as if it were on a cylinder seen from far:
// the middle moves against across for a turn above 0. What is further off stays.
func onCylinder(m *Image, axis, across [2]float64, radius, turn float64) *Image {
	out := m.clone()
	if turn == 0 {
		return out
	}
	for i := range m.W * m.H {
		x, y := float64(i%m.W), float64(i/m.W)
		u := ((x-axis[0])*across[0] + (y-axis[1])*across[1]) / radius
		if !(math.Abs(u) < 1) {
			continue
		}
		by := radius * (math.Sin(math.Asin(u)+turn) - u)
		m.sample(x+by*across[0], y+by*across[1], out.Pix[3*i:3*i+3])
	}
	return out
}

// sample writes the pixel at (x, y) into to, bilinearly, edges repeated.
func (m *Image) sample(x, y float64, to []uint8) {
	x, y = min(max(x, 0), float64(m.W-1)), min(max(y, 0), float64(m.H-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, m.W-1), min(y0+1, m.H-1)
	fx, fy := x-float64(x0), y-float64(y0)
	for c := range to {
		at := func(x, y int) float64 { return float64(m.Pix[3*(y*m.W+x)+c]) }
		to[c] = level((1-fy)*((1-fx)*at(x0, y0)+fx*at(x1, y0)) + fy*((1-fx)*at(x0, y1)+fx*at(x1, y1)))
	}
}

// lidsClosed draws the upper lids down over such a share of the open eyes: the skin between brow and lid is stretched, the eye
// beneath is covered and does not move, and the lashes are a dark line.
func lidsClosed(m *Image, l *points, share float64) *Image {
	out := m.clone()
	if share == 0 {
		return out
	}
	for i := range eyes {
		e := &eyes[i]
		from, to := l.all[e.corners[0]], l.all[e.corners[1]]
		mid, half := (from[0]+to[0])/2, distance(from, to)/2*1.1
		upper, lower := l.all.mean(e.lids[:2]...)[1], l.all.mean(e.lids[2:]...)[1]
		corner := (from[1] + to[1]) / 2
		for x := max(int(mid-half), 0); x <= min(int(mid+half), m.W-1); x++ {
			u := (float64(x) - mid) / half
			bow := 1 - u*u
			top, bottom := corner+1.15*(upper-corner)*bow, corner+1.15*(lower-corner)*bow
			lid := top + share*(bottom-top)
			skin := top - 1.2*(lower-upper)*bow // where the stretched skin begins
			lash := max(.12*(lower-upper), 1)
			for y := max(int(skin), 0); y <= min(int(lid+lash), m.H-1); y++ {
				to := out.Pix[3*(y*m.W+x) : 3*(y*m.W+x)+3]
				if at := float64(y); at <= lid {
					m.sample(float64(x), skin+(at-skin)*(top-skin)/max(lid-skin, 1e-3), to)
					continue
				}
				for c := range to {
					to[c] = uint8(float64(to[c])*.35 + 10)
				}
			}
		}
	}
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
