package extract

import "math"

// Around is the mean colour, sRGB in 0..255, of what m shows around the face in box, which is in m's pixels: of those further from it than half
// its width to the sides and above. Below it neck and body take on a screen's light as the face does. Where nothing is left, because the
// face fills the picture, it is all NaN, and satisfies no Flash.
func (m *Image) Around(box Box) (mean [3]float32) {
	room := (box.X2 - box.X1) / 2
	left, right, top := box.X1-room, box.X2+room, box.Y1-room
	var sum [3]float64
	n := 0
	for i := range m.W * m.H {
		if x, y := float32(i%m.W), float32(i/m.W); y > top && x > left && x < right {
			continue
		}
		for c, v := range m.at(i%m.W, i/m.W) {
			sum[c] += v
		}
		n++
	}
	for c := range mean {
		mean[c] = float32(sum[c] / float64(n))
	}
	return mean
}

// leastLit is the least change of the face's chroma, by that of the colours shown, which is not noise.
const leastLit = .01

// flashed says whether the colour of the face follows the colours that were shown, more than what is around it does.
func (p PresentationPolicy) flashed(shots []Shot) (bool, []string) {
	shown, seen := make([][2]float64, len(shots)), make([][2]float64, len(shots))
	for i := range shots {
		if !p.frontal(&shots[i].Face) {
			return false, []string{"look_straight"}
		}
		skin := chromaOf(shots[i].Face.skin())
		back := chromaOf(shots[i].Around)
		shown[i] = chromaOf(shots[i].Colour)
		seen[i] = [2]float64{skin[0] - back[0], skin[1] - back[1]}
	}
	if r, gain := follows(shown, seen); r >= float64(p.Flash) && gain >= leastLit {
		return true, nil
	}
	return false, []string{"less_light", "closer"}
}

// follows is the correlation of seen with shown, and by how much of shown seen changes; as they are, or with seen one shot later,
// whichever is better: a screen, a camera and a browser may together be late by one.
func follows(shown, seen [][2]float64) (r, gain float64) {
	for lag := range 2 {
		if n := len(shown) - lag; n >= leastFlashes {
			if rr, g := correlation(shown[:n], seen[lag:]); rr > r {
				r, gain = rr, g
			}
		}
	}
	return r, gain
}

// leastFlashes are the shots that a correlation takes at least: of two any two agree.
const leastFlashes = 4

// correlation is Pearson's of pairs that are taken about their means, and the slope of b by a; 0 if either never changes.
func correlation(a, b [][2]float64) (r, slope float64) {
	ma, mb := centroid(a), centroid(b)
	var aa, bb, ab float64
	for i := range a {
		for c := range ma {
			u, v := a[i][c]-ma[c], b[i][c]-mb[c]
			aa, bb, ab = aa+u*u, bb+v*v, ab+u*v
		}
	}
	if !(aa > 0 && bb > 0) {
		return 0, 0
	}
	return ab / math.Sqrt(aa*bb), ab / aa
}

// chromaOf is what a light of another colour adds the same amount to, however bright it is and whatever it falls on: the
// logarithms of red and blue by green, linear. dark keeps black from counting.
func chromaOf(srgb [3]float32) [2]float64 {
	const dark = .01
	var l [3]float64
	for c, v := range srgb {
		l[c] = linearOf(float64(v)/255) + dark
	}
	return [2]float64{math.Log(l[0] / l[1]), math.Log(l[2] / l[1])}
}

// linearOf is the light of a value of sRGB, both in 0..1 (IEC 61966-2-1).
func linearOf(v float64) float64 {
	if v <= .04045 {
		return v / 12.92
	}
	return math.Pow((v+.055)/1.055, 2.4)
}

// skin is the mean colour of the aligned crop between eyes and mouth, from cheek to cheek; NaN without a crop.
func (f *Face) skin() [3]float32 {
	nan := float32(math.NaN())
	if f.Crop == nil || f.Crop.W < 4 || f.Crop.H < 4 {
		return [3]float32{nan, nan, nan}
	}
	m := f.Crop
	c := m.mean(rect{m.W / 4, m.H / 2, m.W * 3 / 4, m.H * 3 / 4})
	return [3]float32{float32(c[0]), float32(c[1]), float32(c[2])}
}
