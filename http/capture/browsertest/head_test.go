package browsertest

import (
	"image"
	"math"
	"sync"

	"mien/extract"
)

// head is a portrait with what is needed to turn it: a photo made to look from another side, so that a film can show a
// person turn where there is one photo only.
//
// The head is taken for an ellipsoid with a nose on it, seen from far away and turned about its own middle. Each row of
// pixels is moved by itself for a turn to a side, each column for one up or down; what comes to lie behind is hidden, what
// was hidden before is drawn by stretching what is beside it. Around the head that fades into the background, which stays.
type head struct {
	photo *image.RGBA
	at    ellipse
	nose  nose

	mu   sync.Mutex
	seen map[[2]int]*picture // by whole degrees; protected by mu
}

// ellipse has its middle at x, y and half axes a and b along x and y.
type ellipse struct{ x, y, a, b float64 }

// nose is a ridge that rises from between the eyes to the tip.
type nose struct{ x, top, tip, width, height float64 }

// newHead takes the measures from the landmarks: the ellipse is as wide as the jaw and half as much again for ears and hair.
func newHead(photo *image.RGBA, f extract.Face) *head {
	p := f.Landmarks
	width := float64(p[16].X - p[0].X)
	middle, brows, chin := float64(p[16].X+p[0].X)/2, float64(p[19].Y+p[24].Y)/2, float64(p[8].Y)
	tall := (chin - brows) * 1.1
	return &head{
		photo: photo,
		at:    ellipse{middle, chin - tall, width * .62, tall},
		seen:  make(map[[2]int]*picture),
		nose:  nose{float64(p[30].X), float64(p[27].Y), float64(p[30].Y), width * .09, width * .2},
	}
}

// depth is how far the surface is before the plane through the head's middle, in pixels.
func (h *head) depth(x, y float64) float64 {
	dx, dy := (x-h.at.x)/h.at.a, (y-h.at.y)/h.at.b
	round := h.at.a * math.Sqrt(max(0, 1-dx*dx-dy*dy))
	n := h.nose
	along := (y - n.top) / (n.tip - n.top)
	rise := min(max(along, 0), 1)
	if along > 1 {
		rise = math.Exp(-sq((along - 1) / .18))
	}
	return round + n.height*rise*math.Exp(-sq((x-n.x)/n.width)/2)
}

// part is how much a point moves with the head: 1 on it, 0 from half its size beyond, the neck more than the air.
func (h *head) part(x, y float64) float64 {
	r := math.Hypot((x-h.at.x)/h.at.a, (y-h.at.y)/h.at.b)
	return smooth((1.7 - r) / .6)
}

func sq(v float64) float64 { return v * v }

// smooth is 0 below 0, 1 above 1, and without a corner between.
func smooth(v float64) float64 {
	v = min(max(v, 0), 1)
	return v * v * (3 - 2*v)
}

// turned is the portrait with the head turned by yaw (> 0: to the left side of the image) and pitch (> 0: up), in degrees.
func (h *head) turned(yaw, pitch float64) *image.RGBA {
	out := h.photo
	if yaw != 0 {
		out = h.shifted(out, -yaw, false)
	}
	if pitch != 0 {
		out = h.shifted(out, -pitch, true)
	}
	return out
}

// scene is the head turned to whole degrees before a camera; it is kept for the next time.
func (h *head) scene(yaw, pitch float64) *picture {
	key := [2]int{int(math.Round(yaw)), int(math.Round(pitch))}
	h.mu.Lock()
	p := h.seen[key]
	h.mu.Unlock()
	if p == nil {
		p = newPicture([]*image.RGBA{h.turned(float64(key[0]), float64(key[1]))})
		h.mu.Lock()
		h.seen[key] = p
		h.mu.Unlock()
	}
	return p
}

// shifted turns by angle towards greater coordinates, along x or, down, along y.
func (h *head) shifted(photo *image.RGBA, angle float64, down bool) *image.RGBA {
	w, t := photo.Rect.Dx(), photo.Rect.Dy()
	sin, cos := math.Sincos(angle * math.Pi / 180)
	out := image.NewRGBA(photo.Rect)
	lines, length, middle := t, w, h.at.x
	if down {
		lines, length, middle = w, t, h.at.y
	}
	for line := range lines {
		from := source(length, func(at float64) (to, depth float64) {
			x, y := at, float64(line)
			if down {
				x, y = y, x
			}
			z := h.depth(x, y)
			return at + h.part(x, y)*((at-middle)*(cos-1)+z*sin), z*cos - (at-middle)*sin
		})
		for i, at := range from {
			if down {
				set(out, line, i, sample(photo, float64(line), at))
			} else {
				set(out, i, line, sample(photo, at, float64(line)))
			}
		}
	}
	return out
}

// source says for each of n places of a line from where its pixel comes, if what is at a place is moved as move says. Of what
// comes to the same place the nearest is seen.
func source(n int, move func(at float64) (to, depth float64)) []float64 {
	from, near := make([]float64, n), make([]float64, n)
	for i := range near {
		near[i], from[i] = math.Inf(-1), -1
	}
	last, lastDepth := move(0)
	for at := .5; at <= float64(n-1); at += .5 {
		to, depth := move(at)
		for i := int(math.Ceil(last)); float64(i) <= to; i++ {
			if i >= 0 && i < n && max(depth, lastDepth) > near[i] {
				near[i], from[i] = max(depth, lastDepth), at-.5+.5*(float64(i)-last)/max(to-last, 1e-9)
			}
		}
		last, lastDepth = to, depth
	}
	fill(from)
	return from
}

// fill draws a line through the places (-1) that nothing came to.
func fill(from []float64) {
	for i := 0; i < len(from); i++ {
		if from[i] >= 0 {
			continue
		}
		j := i
		for j < len(from) && from[j] < 0 {
			j++
		}
		left, right := 0., float64(len(from)-1)
		if i > 0 {
			left = from[i-1]
		}
		if j < len(from) {
			right = from[j]
		}
		for k := i; k < j; k++ {
			from[k] = left + (right-left)*float64(k-i+1)/float64(j-i+1)
		}
		i = j
	}
}

func set(m *image.RGBA, x, y int, c [3]float64) {
	i := m.PixOffset(x, y)
	m.Pix[i], m.Pix[i+1], m.Pix[i+2], m.Pix[i+3] = uint8(c[0]+.5), uint8(c[1]+.5), uint8(c[2]+.5), 255
}

// sample is the colour at a point between pixels; beyond the edge, that of the edge.
func sample(m *image.RGBA, x, y float64) (c [3]float64) {
	x, y = min(max(x, 0), float64(m.Rect.Dx()-1)), min(max(y, 0), float64(m.Rect.Dy()-1))
	x0, y0 := int(x), int(y)
	dx, dy := x-float64(x0), y-float64(y0)
	right, below := 4, m.Stride
	if x0 == m.Rect.Dx()-1 {
		right = 0
	}
	if y0 == m.Rect.Dy()-1 {
		below = 0
	}
	i := y0*m.Stride + 4*x0
	for k := range 3 {
		top := float64(m.Pix[i+k])*(1-dx) + float64(m.Pix[i+right+k])*dx
		bottom := float64(m.Pix[i+below+k])*(1-dx) + float64(m.Pix[i+below+right+k])*dx
		c[k] = top*(1-dy) + bottom*dy
	}
	return c
}
