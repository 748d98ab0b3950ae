package extract

import "math"

// nearlyPlane are the points of eyes and lips: of all points of a face they lie nearest to one plane.
var nearlyPlane = func() (at []int) {
	for i := 36; i < 60; i++ {
		at = append(at, i)
	}
	return at
}()

// tip are the points of the nose that stand out of it the furthest.
var tip = [...]int{29, 30, 33}

// parallax is how far the tip of the nose moves from a to b against what the eyes and lips do: to the right of the image, in the
// frame of the eyes, and down, in distances of b from the eyes to the mouth. Eyes and lips are taken for a plane: their points give
// a projective map from a to b, which is all that moving, turning or tilting a flat picture can do (Hartley & Zisserman, Multiple View Geometry,
// 2nd ed., section 13.1). A nose follows it on a picture; on a head it does not. Both 0 where there are no 68 points or no such map.
func parallax(a, b *Face) (across, down float64) {
	if a.Landmarks == [68]Point{} || b.Landmarks == [68]Point{} {
		return 0, 0
	}
	var from, to [][2]float64
	for _, i := range nearlyPlane {
		from, to = append(from, a.Landmarks[i].vector()), append(to, b.Landmarks[i].vector())
	}
	h, ok := homographyOf(from, to)
	if !ok {
		return 0, 0
	}
	five := b.five()
	mid, roll := five.eyesMiddle(), five.roll()
	unit := distance(mid, [2]float64{(five[3][0] + five[4][0]) / 2, (five[3][1] + five[4][1]) / 2})
	sin, cos := math.Sincos(roll)
	for _, i := range tip {
		at, is := h.apply(a.Landmarks[i].vector()), b.Landmarks[i].vector()
		dx, dy := (is[0]-at[0])/unit, (is[1]-at[1])/unit
		across += (cos*dx + sin*dy) / float64(len(tip))
		down += (cos*dy - sin*dx) / float64(len(tip))
	}
	if !(math.Hypot(across, down) < 10) { // NaN fails
		return 0, 0
	}
	return across, down
}

func (p Point) vector() [2]float64 { return [2]float64{float64(p.X), float64(p.Y)} }

// five are the points that alignment uses.
func (f *Face) five() (v five) {
	for i, p := range f.Five {
		v[i] = p.vector()
	}
	return v
}

// homography is a projective map of the plane between points in axes of their own: rows of a 3×3 matrix whose last entry is 1.
type homography struct {
	from, to axes
	m        [8]float64
}

func (h *homography) apply(p [2]float64) [2]float64 {
	x := h.from.apply(p)
	w := h.m[6]*x[0] + h.m[7]*x[1] + 1
	return h.to.back([2]float64{(h.m[0]*x[0] + h.m[1]*x[1] + h.m[2]) / w, (h.m[3]*x[0] + h.m[4]*x[1] + h.m[5]) / w})
}

// homographyOf is the map that takes from to to with the least squares of the algebraic error, solved about the points' middle and in
// units of their spread, as Hartley (PAMI 19(6), 1997) has it. Not ok: the points don't determine one.
//
// REQUIRES: as many of each.
func homographyOf(from, to [][2]float64) (h homography, ok bool) {
	h.from, h.to = axesOf(from), axesOf(to)
	var m [8][9]float64 // normal equations, and their right side
	add := func(row [8]float64, is float64) {
		for i := range row {
			for j := range row {
				m[i][j] += row[i] * row[j]
			}
			m[i][8] += row[i] * is
		}
	}
	for i := range from {
		p, q := h.from.apply(from[i]), h.to.apply(to[i])
		add([8]float64{p[0], p[1], 1, 0, 0, 0, -p[0] * q[0], -p[1] * q[0]}, q[0])
		add([8]float64{0, 0, 0, p[0], p[1], 1, -p[0] * q[1], -p[1] * q[1]}, q[1])
	}
	h.m, ok = solve(&m)
	return h, ok
}

// axes are coordinates about a middle, in units of scale.
type axes struct {
	middle [2]float64
	scale  float64
}

func axesOf(p [][2]float64) axes {
	a := axes{middle: centroid(p)}
	for _, q := range p {
		a.scale += distance(q, a.middle) / float64(len(p))
	}
	return a
}

func (a axes) apply(p [2]float64) [2]float64 {
	return [2]float64{(p[0] - a.middle[0]) / a.scale, (p[1] - a.middle[1]) / a.scale}
}

func (a axes) back(p [2]float64) [2]float64 {
	return [2]float64{p[0]*a.scale + a.middle[0], p[1]*a.scale + a.middle[1]}
}

// solve returns x of the equations m, by Gauss's elimination with pivots.
func solve(m *[8][9]float64) (x [8]float64, ok bool) {
	for c := range x {
		best := c
		for r := c; r < len(m); r++ {
			if math.Abs(m[r][c]) > math.Abs(m[best][c]) {
				best = r
			}
		}
		if !(math.Abs(m[best][c]) > 1e-9) {
			return x, false
		}
		m[c], m[best] = m[best], m[c]
		for r := range m {
			if r == c {
				continue
			}
			k := m[r][c] / m[c][c]
			for j := c; j <= len(x); j++ {
				m[r][j] -= k * m[c][j]
			}
		}
	}
	for i := range x {
		x[i] = m[i][8] / m[i][i]
	}
	return x, true
}

// landmarks are the 68 points.
func (f *Face) landmarks() *landmarks {
	l := new(landmarks)
	for i, p := range f.Landmarks {
		l[i] = p.vector()
	}
	return l
}

func (f *Face) lidGaps() [2]float64 { return f.landmarks().lidGaps() }
