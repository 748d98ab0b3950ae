package extract

import "math"

const (
	windowEyes = 48  // least pixels between the eyes in the window for sharpness; a larger face is reduced to less than twice that
	windowSide = 176 // most pixels of a window's side
)

// cut fills the window with the w×h pixels of the photo, each the mean of q×q, that begin at (x, y), clipped to the photo.
func (g *gauge) cut(p *picture, x, y, w, h, q int) {
	x0, y0 := max(x, 0), max(y, 0)
	x1, y1 := min(x+w*q, p.W), min(y+h*q, p.H)
	g.window.sized(max((x1-x0)/q, 0), max((y1-y0)/q, 0))
	n := g.window.W * g.window.H
	if cap(g.luma) < n {
		g.luma = make([]uint8, n)
	}
	g.luma = g.luma[:n]
	if n == 0 {
		return
	}
	k, shift := 1/float64(q), .5/float64(q)-.5
	p.warp(&g.window, affine{k, 0, shift - float64(x0)*k, 0, k, shift - float64(y0)*k})
	for i := range g.luma {
		g.luma[i] = grey(g.window.Pix[3*i : 3*i+3])
	}
}

// resolution tells how fine the details of the face are: the distance between the eyes in widths (standard deviations)
// of the blur, the worst of four directions. Enlarging a photo does not raise it.
//
// An edge blurred by σ has a Gaussian for its gradient g; blurred once more by σ = 1 the gradient is h, and
// Σgh/Σh² = √((2σ²+2)/(2σ²+1)), whatever its contrast. White noise adds known amounts to both sums, which are taken off.
func (g *gauge) resolution(s scene) float64 {
	f := &s.points.five
	q := max(int(f.apparent()/windowEyes), 1)
	mid := f.eyesMiddle()
	cx, cy := (2*mid[0]+f[3][0]+f[4][0])/4, (2*mid[1]+f[3][1]+f[4][1])/4
	side := min(int(1.9*f.apparent()/float64(q)), windowSide)
	g.cut(s.photo, int(cx)-side*q/2, int(cy)-side*q/2, side, side, q)
	w, h := g.window.W, g.window.H
	if w < 9 || h < 9 {
		return 1
	}
	noise := g.noise()
	var widest float64
	for _, step := range [4]int{1, w, w + 1, w - 1} {
		v := blurVariance(g.luma, w, h, step, noise*noise)
		if step > w || step == w-1 && w > 1 {
			v *= 2 // a diagonal step is √2 long
		}
		widest = max(widest, v)
	}
	return s.eyeDistance() / float64(q) / math.Sqrt(widest)
}

// blurVariance is σ² of the blur along a direction, in steps², of w×h grey pixels with noise of variance noise; more where
// noise hides what edges there are.
func blurVariance(m []uint8, w, h, step int, noise float64) float64 {
	var gh, hh int64
	for y := 3; y < h-3; y++ {
		for i := y*w + 3; i < y*w+w-3; i++ {
			a, b, c := int64(m[i-3*step]), int64(m[i-2*step]), int64(m[i-step])
			d, e, f := int64(m[i+step]), int64(m[i+2*step]), int64(m[i+3*step])
			slope := d - c
			blurred := c - a + f - d + 4*(e-b) + 6*slope // ×16, by the binomial kernel 1 4 6 4 1
			gh += slope * blurred
			hh += blurred * blurred
		}
	}
	n := float64((w - 6) * (h - 6))
	all := float64(hh) / 256 / n
	edges := all - .328*noise
	if !(edges > .01*all) { // nothing but noise, or one colour
		return 1e3
	}
	q := (float64(gh)/16/n - .625*noise) / edges
	q2 := max(q*q, 1.001)
	hidden := all / edges
	return max((2-q2)/(2*(q2-1)), .05) * hidden * hidden
}

// noise is the standard deviation of white noise in the window. J. Immerkær, "Fast Noise Variance Estimation", 1996, eq. 6.
func (g *gauge) noise() float64 {
	w, h, m := g.window.W, g.window.H, g.luma
	var sum int
	for y := 1; y < h-1; y++ {
		for i := y*w + 1; i < y*w+w-1; i++ {
			v := int(m[i-w-1]) + int(m[i-w+1]) + int(m[i+w-1]) + int(m[i+w+1]) + 4*int(m[i]) -
				2*(int(m[i-w])+int(m[i+w])+int(m[i-1])+int(m[i+1]))
			sum += max(v, -v)
		}
	}
	return math.Sqrt(math.Pi/2) * float64(sum) / float64(6*(w-2)*(h-2))
}

// blockiness compares the jumps between columns and between rows that are 8 apart with the others: 1 is none.
func (g *gauge) blockiness(s scene) float64 {
	b := s.face.Box
	const side = 128
	g.cut(s.photo, int(b.X1+b.X2)/2-side/2, int(b.Y1+b.Y2)/2-side/2, side, side, 1)
	w, h := g.window.W, g.window.H
	if w < 24 || h < 24 {
		return 1
	}
	return math.Sqrt(jumps(g.luma, w, h, 1, w) * jumps(g.luma, h, w, w, 1))
}

// jumps looks along lines of n pixels, step apart; there are lines of them, stride apart. It returns the largest mean jump of the
// eight phases by the mean of the others. A jump is what the slopes on both sides don't explain.
func jumps(m []uint8, n, lines, step, stride int) float64 {
	var sum, count [8]int
	for k := range lines {
		line := m[k*stride:]
		for i := 2; i < n-1; i++ {
			o := i * step
			a, b, c, d := int(line[o-2*step]), int(line[o-step]), int(line[o]), int(line[o+step])
			v := 3*(c-b) - (d - a) // twice (c−b) minus the mean of the slopes beside it
			sum[i%8] += max(v, -v)
			count[i%8]++
		}
	}
	var top, all float64
	for phase, v := range sum {
		mean := float64(v) / float64(count[phase])
		top, all = max(top, mean), all+mean
	}
	return (top + 1) / ((all-top)/7 + 1)
}
