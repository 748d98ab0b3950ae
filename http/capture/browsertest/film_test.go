package browsertest

import (
	"bufio"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// What the made-up camera takes: the file repeats from its start when it is over.
const (
	filmWidth, filmHeight = 640, 480
	filmRate              = 15 // pictures a second
)

// film is what a camera sees. Two films with different seeds have no picture in common, not even where they show the same:
// who was filmed sways a little, comes nearer and goes back, and light and sensor are never the same twice.
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

// How far is asked for, so that each of the people comes to 24° at least: a portrait that already looks to a side turns less to the other.
// Left is the person's own: the right side of the image.
func turnsLeft(who *head) scene  { return turns(who, -35, 0) }
func turnsRight(who *head) scene { return turns(who, 38, 0) }
func looksUp(who *head) scene    { return turns(who, 0, 30) }

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
	scale := int(light * 256)
	move(p.y[:], seen.y[:], filmWidth, filmHeight, place, func(v int) uint8 {
		seed ^= seed << 13 // xorshift64
		seed ^= seed >> 7
		seed ^= seed << 17
		return uint8(min(max(16+(v-16)*scale>>8+int(seed>>62)+int(seed>>60&3)-3, 16), 235))
	})
	colour := func(v int) uint8 { return uint8(128 + (v-128)*scale>>8) }
	move(p.u[:], seen.u[:], filmWidth/2, filmHeight/2, place, colour)
	move(p.v[:], seen.v[:], filmWidth/2, filmHeight/2, place, colour)
}

// move resamples a plane of w×h by the affine, given for a plane of filmWidth, between pixels linearly.
func move(out, in []uint8, w, h int, a affine, then func(int) uint8) {
	k := float64(w) / filmWidth
	const one = 1 << 16
	stepX, stepY := int(a.cos*one), int(a.sin*one)
	for y := range h {
		dy := float64(y) - float64(h)/2
		px := int((-a.cos*float64(w)/2 - a.sin*dy + a.dx*k + float64(w)/2) * one)
		py := int((-a.sin*float64(w)/2 + a.cos*dy + a.dy*k + float64(h)/2) * one)
		for x := range w {
			sx, sy := min(max(px, 0), (w-1)*one-1), min(max(py, 0), (h-1)*one-1)
			i, fx, fy := sy>>16*w+sx>>16, sx&(one-1)>>8, sy&(one-1)>>8
			top := int(in[i])*(256-fx) + int(in[i+1])*fx
			below := int(in[i+w])*(256-fx) + int(in[i+w+1])*fx
			out[y*w+x] = then((top*(256-fy) + below*fy + 1<<15) >> 16)
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

// write puts the film at path as YUV4MPEG2; who reads the file before finds either the one that was there or all of it.
func (f film) write(t testing.TB, path string) {
	t.Helper()
	temp, err := os.CreateTemp(filepath.Dir(path), ".film-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(temp.Name())
	w := bufio.NewWriterSize(temp, 1<<20)
	fmt.Fprintf(w, "YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n", filmWidth, filmHeight, filmRate)
	for p := range develop(f.shots()) {
		w.WriteString("FRAME\n")
		w.Write(p.y[:])
		w.Write(p.u[:])
		w.Write(p.v[:])
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := temp.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		t.Fatal(err)
	}
}

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
