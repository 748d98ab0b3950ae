package browsertest

import (
	"image"
	"math"
	"math/rand/v2"
	"sync"
)

// What the made-up camera takes.
const (
	filmWidth, filmHeight = 640, 480
	filmRate              = 12 // pictures a second
)

// film is what a camera takes of scenes, one after the other. Two films with different seeds have no picture in common, not even where they show
// the same: who was filmed sways a little, comes nearer and goes back, and light and sensor are never the same twice.
type film struct {
	seed   uint64
	scenes []scene
	light  float64 // 1: as in the photo
}

// scene shows people side by side while they take poses.
type scene struct {
	who     []*head
	seconds float64
	poses   []pose
}

// pose is how the head is turned at a time of the scene, in degrees as head.turned has them. Between two the head moves
// evenly; after the last it stays.
type pose struct{ at, yaw, pitch float64 }

// looks is a scene of somebody who looks into the camera.
func looks(seconds float64, who ...*head) scene { return scene{who: who, seconds: seconds} }

// turnSeconds is how long a turn takes, from looking ahead to looking ahead again.
const turnSeconds = 4.2

// turns is a scene of somebody who looks into the camera, turns by yaw and pitch, stays so and looks back.
func turns(who *head, yaw, pitch float64) scene {
	return scene{who: []*head{who}, seconds: turnSeconds, poses: []pose{{1.2, 0, 0}, {2, yaw, pitch}, {3.2, yaw, pitch}, {4, 0, 0}}}
}

// How far people turn in degrees as head.turned has them, so that each of them comes to 24° at least by the extractor's measure: a portrait that already looks
// to a side turns less to the other. Left is the person's own: the right side of the image.
const (
	toLeft, toRight, upwards = 36, 39, 30
)

func turnsLeft(who *head) scene  { return turns(who, -toLeft, 0) }
func turnsRight(who *head) scene { return turns(who, toRight, 0) }
func looksUp(who *head) scene    { return turns(who, 0, upwards) }

// inPlaceOf is somebody who looks into the camera, and somebody else who turns to the left in their place.
func inPlaceOf(looker, turner *head) []scene {
	s := turnsLeft(turner)
	before := looks(s.poses[0].at, looker)
	s.seconds -= before.seconds
	for i := range s.poses {
		s.poses[i].at -= before.seconds
	}
	return []scene{before, s}
}

func (s scene) poseAt(t float64) (yaw, pitch float64) {
	last := pose{}
	for _, p := range s.poses {
		if t < p.at {
			f := smooth((t - last.at) / (p.at - last.at))
			return last.yaw + f*(p.yaw-last.yaw), last.pitch + f*(p.pitch-last.pitch)
		}
		last = p
	}
	return last.yaw, last.pitch
}

// shots are the pictures of the film, each as a function that draws it.
func (f film) shots() []func(out *picture) {
	r := rand.New(rand.NewPCG(f.seed, 8))
	sway := newSway(r)
	var all []func(*picture)
	for _, s := range f.scenes {
		for i := range int(s.seconds * filmRate) {
			yaw, pitch := s.poseAt(float64(i) / filmRate)
			light, seed, place := f.light*(1+.02*(r.Float64()-.5)), r.Uint64()|1, sway.at(float64(len(all))/filmRate)
			all = append(all, func(out *picture) { out.take(s.seen(yaw, pitch), place, light, seed) })
		}
	}
	return all
}

// seen is what is before the camera: people side by side, each as high as the picture, what is beside them mirrored.
func (s scene) seen(yaw, pitch float64) *picture {
	if len(s.who) == 1 {
		return s.who[0].scene(yaw, pitch)
	}
	photos := make([]*image.RGBA, len(s.who))
	for i, h := range s.who {
		photos[i] = h.photo
	}
	return newPicture(photos)
}

// look is the colour at a point of photos side by side, each as high as the picture and mirrored at its sides.
func look(photos []*image.RGBA, x, y float64) [3]float64 {
	wide := float64(filmWidth) / float64(len(photos))
	i := min(max(int(x/wide), 0), len(photos)-1)
	m := photos[i]
	scale := float64(m.Rect.Dy()) / filmHeight
	px := (x-wide*(float64(i)+.5))*scale + float64(m.Rect.Dx())/2
	w := float64(m.Rect.Dx() - 1)
	if px < 0 {
		px = -px
	}
	if px > w {
		px = 2*w - px
	}
	return sample(m, px, y*scale)
}

// affine maps the points of a picture to those of the scene, about the middle.
type affine struct{ cos, sin, dx, dy float64 }

// sway is how nobody holds still, and sits down each time elsewhere: from a place that is a dozen pixels off, slow sums of sines of some pixels, a percent
// in size and half a degree.
type sway [4]struct {
	middle float64
	waves  [3]struct{ size, speed, phase float64 }
}

func newSway(r *rand.Rand) *sway {
	s := new(sway)
	for i, size := range [...]float64{3, 2, .012, .008} { // x, y, size, angle
		s[i].middle = 8 * size * (r.Float64() - .5)
		for k := range s[i].waves {
			w := &s[i].waves[k]
			w.size, w.speed, w.phase = size/float64(k+1), (.4+r.Float64())*float64(2*k+1), 7*r.Float64()
		}
	}
	return s
}

func (s *sway) at(t float64) affine {
	var v [4]float64
	for i := range s {
		v[i] = s[i].middle
		for _, w := range s[i].waves {
			v[i] += w.size * math.Sin(w.speed*t+w.phase)
		}
	}
	sin, cos := math.Sincos(v[3])
	return affine{(1 + v[2]) * cos, (1 + v[2]) * sin, v[0], v[1]}
}

// picture is a picture as YUV4MPEG2 has it, 4:2:0, BT.601 in 16..235.
type picture struct {
	y    [filmWidth * filmHeight]uint8
	u, v [filmWidth * filmHeight / 4]uint8
}

func newPicture(photos []*image.RGBA) *picture {
	p := new(picture)
	for y := range filmHeight {
		for x := range filmWidth {
			c := look(photos, float64(x), float64(y))
			r, g, b := c[0], c[1], c[2]
			p.y[y*filmWidth+x] = uint8(16.5 + .257*r + .504*g + .098*b)
			if x&1 == 0 && y&1 == 0 {
				i := y/2*(filmWidth/2) + x/2
				p.u[i] = uint8(128.5 - .148*r - .291*g + .439*b)
				p.v[i] = uint8(128.5 + .439*r - .368*g - .071*b)
			}
		}
	}
	return p
}

// take makes p what a camera takes of the scene seen: moved to its place, in a light, with the noise of a sensor.
func (p *picture) take(seen *picture, place affine, light float64, seed uint64) {
	var grey, colour [256]uint8
	for v := range grey {
		grey[v] = uint8(min(max(16+float64(v-16)*light, 18), 233))
		colour[v] = uint8(128 + float64(v-128)*min(light, 1))
	}
	move(p.y[:], seen.y[:], filmWidth, filmHeight, place, &grey, seed)
	move(p.u[:], seen.u[:], filmWidth/2, filmHeight/2, place, &colour, 0)
	move(p.v[:], seen.v[:], filmWidth/2, filmHeight/2, place, &colour, 0)
}

// move resamples a plane of w×h by the affine, given for a plane of filmWidth, between pixels linearly, and maps what it finds. With a seed up to two
// levels of noise are added.
func move(out, in []uint8, w, h int, a affine, to *[256]uint8, seed uint64) {
	k := float64(w) / filmWidth
	const one = 1 << 16
	stepX, stepY := int(a.cos*one), int(a.sin*one)
	for y := range h {
		dy := float64(y) - float64(h)/2
		px := int((-a.cos*float64(w)/2 - a.sin*dy + a.dx*k + float64(w)/2) * one)
		py := int((-a.sin*float64(w)/2 + a.cos*dy + a.dy*k + float64(h)/2) * one)
		row := out[y*w : y*w+w]
		noise := uint64(0)
		for x := range row {
			sx, sy := min(max(px, 0), (w-1)*one-1), min(max(py, 0), (h-1)*one-1)
			i, fx, fy := sy>>16*w+sx>>16, sx&(one-1)>>8, sy&(one-1)>>8
			pair, below := in[i:i+2:i+2], in[i+w:i+w+2:i+w+2]
			top := int(pair[0])<<8 + (int(pair[1])-int(pair[0]))*fx
			bottom := int(below[0])<<8 + (int(below[1])-int(below[0]))*fx
			v := to[uint8((top<<8+(bottom-top)*fy+1<<15)>>16)]
			if seed != 0 {
				if noise == 0 { // xorshift64: 16 pixels each
					seed ^= seed << 13
					seed ^= seed >> 7
					seed ^= seed << 17
					noise = seed
				}
				v += uint8(noise&3) - uint8(noise>>2&3) + uint8(noise&1)
				noise >>= 4
			}
			row[x] = v
			px, py = px+stepX, py+stepY
		}
	}
}

// rgb is the picture in colours of 0..255.
func (p *picture) rgb() *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, filmWidth, filmHeight))
	for y := range filmHeight {
		for x := range filmWidth {
			j := y/2*(filmWidth/2) + x/2
			l, u, v := 1.164*(float64(p.y[y*filmWidth+x])-16), float64(p.u[j])-128, float64(p.v[j])-128
			set(m, x, y, [3]float64{clip(l + 1.596*v), clip(l - .392*u - .813*v), clip(l + 2.017*u)})
		}
	}
	return m
}

func clip(v float64) float64 { return min(max(v, 0), 255) }

// develop draws the pictures side by side and yields them in order; each is valid until the next.
func develop(shots []func(*picture)) func(yield func(*picture) bool) {
	return func(yield func(*picture) bool) {
		pictures := make([]picture, 16)
		for len(shots) > 0 {
			n := min(len(shots), len(pictures))
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() { shots[i](&pictures[i]) })
			}
			wg.Wait()
			for i := range n {
				if !yield(&pictures[i]) {
					return
				}
			}
			shots = shots[n:]
		}
	}
}
