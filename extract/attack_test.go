package extract

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Simulated presentation attacks, for want of real ones: a photo shown on a screen or printed, then taken by a camera.
// Every parameter is drawn at random. They are cruder than real attacks, whose makers choose the best of many: a rate
// measured on them compares methods and proves nothing about the field.

// light is linear light, red, green and blue; 1 is white.
type light [3]float64

func (l light) plus(m light, k float64) light {
	return light{l[0] + k*m[0], l[1] + k*m[1], l[2] + k*m[2]}
}

// luma of BT.709.
func (l light) luma() float64 { return .2126*l[0] + .7152*l[1] + .0722*l[2] }

// view is what is seen at a point, in pixels of the photo that the camera takes.
type view func(x, y float64) light

// linear turns a byte of sRGB into light.
var linear = func() (t [256]float64) {
	for i := range t {
		v := float64(i) / 255
		if t[i] = v / 12.92; v > .04045 {
			t[i] = math.Pow((v+.055)/1.055, 2.4)
		}
	}
	return t
}()

// encoded is linear's inverse after a power, a table over light of 0..1 in steps of 1/4095.
func encoded(gamma float64) (t [4096]float64) {
	for i := range t {
		v := math.Pow(float64(i)/4095, gamma)
		if t[i] = v * 12.92 * 255; v > .0031308 {
			t[i] = (1.055*math.Pow(v, 1/2.4) - .055) * 255
		}
	}
	return t
}

// surface is what light each point of a photo gives: light[h][w].
type surface struct {
	w, h int
	pix  []light
}

func surfaceOf(m *Image) surface {
	s := surface{m.W, m.H, make([]light, m.W*m.H)}
	for i := range s.pix {
		p := m.Pix[3*i:]
		s.pix[i] = light{linear[p[0]], linear[p[1]], linear[p[2]]}
	}
	return s
}

// between draws evenly from [a, b).
func between(r *rand.Rand, a, b float64) float64 { return a + (b-a)*r.Float64() }

// view looks at s through back, which maps the view's points to s's; past its edges it sees s mirrored.
func (s surface) view(back affine) view {
	at := func(x, y int) light { return s.pix[reflect101(y, s.h)*s.w+reflect101(x, s.w)] }
	return func(x, y float64) light {
		sx, sy := back.apply(x, y)
		x0, y0 := math.Floor(sx), math.Floor(sy)
		fx, fy, ix, iy := sx-x0, sy-y0, int(x0), int(y0)
		var l light
		l = l.plus(at(ix, iy), (1-fx)*(1-fy)).plus(at(ix+1, iy), fx*(1-fy))
		return l.plus(at(ix, iy+1), (1-fx)*fy).plus(at(ix+1, iy+1), fx*fy)
	}
}

// camera takes the photo of a view, good or bad alike for people and for attacks, so that nothing can be told by it.
type camera struct {
	blur, gain, gamma, noise, sharpen float64
	levels                            float64 // share of the darkest light that is taken off everywhere
	balance                           light
	quality                           int
	spread                            [7][2]float64 // of the samples of a pixel, mean 0
}

func randomCamera(r *rand.Rand) camera {
	c := camera{
		blur: between(r, .3, .9), gain: math.Exp2(between(r, -.4, .3)), gamma: between(r, .9, 1.1),
		noise: between(r, .001, .012), sharpen: between(r, 0, .8), levels: between(r, 0, .9),
		balance: light{between(r, .93, 1.07), 1, between(r, .93, 1.07)}, quality: 60 + r.IntN(36),
	}
	var sum [2]float64
	for i := range c.spread {
		for j := range sum {
			c.spread[i][j] = c.blur * r.NormFloat64()
			sum[j] += c.spread[i][j]
		}
	}
	for i := range c.spread {
		for j := range sum {
			c.spread[i][j] -= sum[j] / float64(len(c.spread))
		}
	}
	return c
}

// expose sets gain and black by what a grid of points of v shows, so that the mean is as bright as want, give or take c.gain.
func (c camera) expose(v view, w, h int, want float64) (gain, black float64) {
	const n = 24
	var sum float64
	all := make([]float64, 0, n*n)
	for i := range n * n {
		l := v(float64(i%n*w)/n, float64(i/n*h)/n).luma()
		sum, all = sum+l, append(all, l)
	}
	slices.Sort(all)
	black = c.levels * all[n*n/50]
	return c.gain * want / max(sum/(n*n)-black, .01), black
}

// shoot returns the JPEG of v at w×h pixels. Where pattern is not nil, it is the fine structure of what is seen, which no
// blur reaches but its own: it is sampled at the pixels' centres, so it aliases as in a real camera.
func (c camera) shoot(t testing.TB, r *rand.Rand, v, pattern view, s *portrait) []byte {
	w, h := s.w, s.h
	gain, black := c.expose(v, w, h, s.brightness)
	lines, code := make([]float64, 3*w*h), encoded(c.gamma)
	for y := range h {
		for x := range w {
			l := c.gather(v, float64(x), float64(y), gain, black)
			if pattern != nil {
				p := pattern(float64(x), float64(y))
				l = light{l[0] * p[0], l[1] * p[1], l[2] * p[2]}
			}
			for i := range l {
				l[i] += c.noise * math.Sqrt(max(l[i], 0)+.05) * r.NormFloat64()
				lines[3*(y*w+x)+i] = code[int(4095*min(max(l[i], 0), 1))]
			}
		}
	}
	return encodeJPEG(t, sharpened(lines, w, h, c.sharpen), c.quality)
}

// gather is the light of one pixel.
func (c camera) gather(v view, x, y, gain, black float64) (l light) {
	for _, o := range c.spread {
		l = l.plus(v(x+o[0], y+o[1]), 1/float64(len(c.spread)))
	}
	for i := range l {
		l[i] = gain * c.balance[i] * max(l[i]-black, 0)
	}
	return l
}

// sharpened adds k times the difference to the mean of the four neighbours.
func sharpened(v []float64, w, h int, k float64) *Image {
	m := newImage(w, h)
	for y := range h {
		for x := range w {
			for c := range 3 {
				at := func(x, y int) float64 { return v[3*(min(max(y, 0), h-1)*w+min(max(x, 0), w-1))+c] }
				mean := (at(x-1, y) + at(x+1, y) + at(x, y-1) + at(x, y+1)) / 4
				m.Pix[3*(y*w+x)+c] = uint8(min(max(at(x, y)+k*(at(x, y)-mean), 0), 255) + .5)
			}
		}
	}
	return m
}

// portrait is a real photo and its face, and how the next photo shows them.
type portrait struct {
	photo *Image
	face  detection
	other *Image  // what lies behind, where something is held before it
	scale float64 // pixels of the photo that is taken per pixel of photo
	w, h  int     // of the photo that is taken

	room       float64 // how much larger than the photo what is taken is, ≥ 1
	brightness float64 // mean light of the photo
}

// frame chooses how large the next photo is and shows the face.
func (s *portrait) frame(r *rand.Rand, room float64) {
	s.scale, s.room = between(r, 100, 200)/s.face.height(), room
	s.w, s.h = int(float64(s.photo.W)*s.scale*room), int(float64(s.photo.H)*s.scale*room)
	s.brightness = 0
	shown := surfaceOf(s.photo)
	for _, l := range shown.pix {
		s.brightness += l.luma() / float64(len(shown.pix))
	}
}

// view shows m, the photo or what became of it, turned a little about its middle.
func (s *portrait) view(r *rand.Rand, m surface) view {
	const tilt = 8 // degrees
	a := between(r, -tilt, tilt) * math.Pi / 180
	k := s.scale
	back := affine{math.Cos(a) / k, math.Sin(a) / k, 0, -math.Sin(a) / k, math.Cos(a) / k, 0}
	x, y := back.apply(float64(s.w)/2, float64(s.h)/2)
	back.tx, back.ty = float64(s.photo.W)/2-x, float64(s.photo.H)/2-y
	return m.view(back)
}

// at is where the photo that is taken has a point of photo, but for the turn.
func (s *portrait) at(x, y float64) (float64, float64) {
	return float64(s.w)/2 + (x-float64(s.photo.W)/2)*s.scale, float64(s.h)/2 + (y-float64(s.photo.H)/2)*s.scale
}

// behind is a corner of the other photo, much enlarged: no face of its own.
func (s *portrait) behind(r *rand.Rand) view {
	k := between(r, .1, .25) * float64(s.other.W) / float64(s.w)
	return surfaceOf(s.other).view(affine{a: k, d: k})
}

// retaken is no attack: the photo through the same camera as the attacks, as if the person stood there.
func retaken(t testing.TB, r *rand.Rand, s *portrait) []byte {
	return randomCamera(r).shoot(t, r, s.view(r, surfaceOf(s.photo)), nil, s)
}

// lattice is the fine structure of a screen or of print: a product of waves, weakened by the camera's blur as they are
// finer. pitch is in pixels.
type lattice struct {
	pitch, angle float64
	depth        light // of the waves across, for each colour; along they have half of it
	phase        light
}

func (g lattice) view(blur float64, in inside) view {
	f := 1 / g.pitch
	pass := math.Exp(-2*math.Pi*math.Pi*blur*blur*f*f) * math.Abs(math.Sin(math.Pi*f)/(math.Pi*f))
	sin, cos := math.Sincos(g.angle)
	return func(x, y float64) (l light) {
		if !in(x, y) {
			return light{1, 1, 1}
		}
		u, v := 2*math.Pi*f*(cos*x+sin*y), 2*math.Pi*f*(cos*y-sin*x)
		along := math.Cos(v)
		for i := range l {
			l[i] = 1 + pass*g.depth[i]*(math.Cos(u+g.phase[i])+along/2)
		}
		return l
	}
}

// tone is how a medium changes light: gamma, then a range from black to white, for each colour, after mixing with grey.
type tone struct {
	gamma, colour float64
	black, white  light
}

func (o tone) apply(l light) light {
	grey := l.luma()
	for i := range l {
		v := math.Pow(min(max(grey+o.colour*(l[i]-grey), 0), 1), o.gamma)
		l[i] = o.black[i] + (o.white[i]-o.black[i])*v
	}
	return l
}

func screenTone(r *rand.Rand) tone {
	b := between(r, .004, .05)
	return tone{
		gamma: between(r, .8, 1.25), colour: between(r, .85, 1.2), black: light{b, b, b * between(r, 1, 1.4)},
		white: light{between(r, .8, 1), between(r, .92, 1), between(r, .98, 1.2)},
	}
}

func printTone(r *rand.Rand) tone {
	b, w := between(r, .03, .12), between(r, .7, .95)
	warm := between(r, .9, 1.1)
	return tone{
		gamma: between(r, .85, 1.3), colour: between(r, .55, 1), black: light{b, b, b},
		white: light{w * warm, w, w / warm},
	}
}

// subpixels is the grid of a screen: stripes of red, green and blue a third of a pixel apart.
func subpixels(r *rand.Rand) lattice {
	p := between(r, 0, 2*math.Pi)
	return lattice{
		pitch: between(r, .55, 2.6), angle: between(r, -.3, .3), depth: light{.6, .6, .6},
		phase: light{p, p + 2*math.Pi/3, p + 4*math.Pi/3},
	}
}

// dots is the raster of print.
func dots(r *rand.Rand) lattice {
	d := between(r, .05, .5)
	return lattice{
		pitch: between(r, .5, 2.2), angle: between(r, .2, 1.3), depth: light{d, d, d},
		phase: light{between(r, 0, 6), between(r, 0, 6), between(r, 0, 6)},
	}
}

// glare adds a bright spot, a veil, or neither, to what v shows.
func glare(r *rand.Rand, v view, w, h int) view {
	veil, spot := between(r, 0, .05), 0.
	if r.Float64() < .4 {
		spot = between(r, .05, .6)
	}
	x0, y0, size := between(r, 0, float64(w)), between(r, 0, float64(h)), between(r, .08, .35)*float64(w)
	return func(x, y float64) light {
		d := ((x-x0)*(x-x0) + (y-y0)*(y-y0)) / (size * size)
		return v(x, y).plus(light{1, 1, 1}, veil+spot*math.Exp(-d))
	}
}

// shade lights a sheet unevenly: a slope, and a bend.
func shade(r *rand.Rand, v view, w, h int) view {
	a, slope, bend := between(r, 0, 2*math.Pi), between(r, 0, .4), between(r, 0, .3)
	sin, cos := math.Sincos(a)
	return func(x, y float64) light {
		u := (cos*(x-float64(w)/2) + sin*(y-float64(h)/2)) / float64(w)
		k := 1 + slope*u - bend*u*u*4
		l := v(x, y)
		return light{k * l[0], k * l[1], k * l[2]}
	}
}

// over is m in the tone of a medium.
func (o tone) over(m *Image) surface {
	s := surfaceOf(m)
	for i, l := range s.pix {
		s.pix[i] = o.apply(l)
	}
	return s
}

// inside says where the medium of an attack is.
type inside func(x, y float64) bool

func everywhere(float64, float64) bool { return true }

// framed shows v in a rectangle about the face, then a border of that light, then what is behind.
func (s *portrait) framed(r *rand.Rand, v view, border light, width float64) (view, inside) {
	back, h := s.behind(r), s.face.height()*s.scale*s.room
	cx, cy := s.at((s.face.x1+s.face.x2)/2, (s.face.y1+s.face.y2)/2)
	left, right := cx-h*between(r, .45, .75), cx+h*between(r, .45, .75)
	top, bottom := cy-h*between(r, .55, .8), cy+h*between(r, .55, .85)
	sin, cos := math.Sincos(between(r, -.12, .12))
	beyond := func(x, y float64) float64 {
		u, w := cx+cos*(x-cx)+sin*(y-cy), cy+cos*(y-cy)-sin*(x-cx)
		return max(left-u, u-right, top-w, w-bottom)
	}
	return func(x, y float64) light {
		switch out := beyond(x, y); {
		case out <= 0:
			return v(x, y)
		case out <= width:
			return border
		}
		return back(x, y)
	}, func(x, y float64) bool { return beyond(x, y) <= 0 }
}

// cut shows v within the outline of the head alone.
func (s *portrait) cut(r *rand.Rand, v view) (view, inside) {
	back, h := s.behind(r), s.face.height()*s.scale
	cx, cy := s.at((s.face.x1+s.face.x2)/2, (s.face.y1+s.face.y2)/2-.06*s.face.height())
	rx, ry := h*between(r, .46, .56), h*between(r, .6, .7)
	rim, corner := between(r, .99, 1.04), between(r, 0, 6)
	outline := func(x, y float64) float64 {
		u, w := (x-cx)/rx, (y-cy)/ry
		return math.Hypot(u, w) * (1 + .03*math.Sin(7*math.Atan2(w, u)+corner))
	}
	return func(x, y float64) light {
		switch d := outline(x, y); {
		case d <= 1:
			return v(x, y)
		case d <= rim:
			return light{.8, .8, .8} // the paper's edge
		}
		return back(x, y)
	}, func(x, y float64) bool { return outline(x, y) <= 1 }
}

// compressed is the photo as a frame of poor video.
func (s *portrait) compressed(t testing.TB, r *rand.Rand) *Image {
	k := between(r, 55, 110) / s.face.height()
	small := resize(s.photo, max(int(k*float64(s.photo.W)), 16), max(int(k*float64(s.photo.H)), 16))
	return resize(decoded(t, encodeJPEG(t, small, 15+r.IntN(30))), s.photo.W, s.photo.H)
}

// surround puts something around what a view shows.
type surround func(v view) (view, inside)

func bare(v view) (view, inside) { return v, everywhere }

// onScreen takes m, the photo or what became of it, from a screen.
func onScreen(t testing.TB, r *rand.Rand, s *portrait, m *Image, around surround) []byte {
	c := randomCamera(r)
	shown, in := around(s.view(r, screenTone(r).over(m)))
	return c.shoot(t, r, glare(r, shown, s.w, s.h), subpixels(r).view(c.blur, in), s)
}

// onPaper takes the photo from a print.
func onPaper(t testing.TB, r *rand.Rand, s *portrait, around surround) []byte {
	c := randomCamera(r)
	shown, in := around(s.view(r, printTone(r).over(s.photo)))
	return c.shoot(t, r, shade(r, shown, s.w, s.h), dots(r).view(c.blur, in), s)
}

func deviceSeen(t testing.TB, r *rand.Rand, s *portrait) []byte {
	b, width := between(r, .005, .05), s.face.height()*s.scale*between(r, .04, .25)
	return onScreen(t, r, s, s.photo, func(v view) (view, inside) { return s.framed(r, v, light{b, b, b}, width) })
}

func borderSeen(t testing.TB, r *rand.Rand, s *portrait) []byte {
	w, width := between(r, .7, .95), s.face.height()*s.scale*between(r, .03, .2)
	return onPaper(t, r, s, func(v view) (view, inside) { return s.framed(r, v, light{w, w, w}, width) })
}

// species are the attacks: name as doc.go has it, how much more than the photo is seen, and how one is made.
var species = []struct {
	name string
	room float64
	make func(testing.TB, *rand.Rand, *portrait) []byte
}{
	{"screen, fills the photo", 1, func(t testing.TB, r *rand.Rand, s *portrait) []byte {
		return onScreen(t, r, s, s.photo, bare)
	}},
	{"screen, device seen", 1, deviceSeen},
	{"screen, further off", 1.7, deviceSeen},
	{"video on a screen", 1, func(t testing.TB, r *rand.Rand, s *portrait) []byte {
		return onScreen(t, r, s, s.compressed(t, r), bare)
	}},
	{"print, fills the photo", 1, func(t testing.TB, r *rand.Rand, s *portrait) []byte {
		return onPaper(t, r, s, bare)
	}},
	{"print, border seen", 1, borderSeen},
	{"print, further off", 1.7, borderSeen},
	{"print, cut out", 1, func(t testing.TB, r *rand.Rand, s *portrait) []byte {
		return onPaper(t, r, s, func(v view) (view, inside) { return s.cut(r, v) })
	}},
}
