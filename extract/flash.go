package extract

import (
	"context"
	"math"
)

// Around is the mean colour, sRGB in 0..255, of what a photo shows around the face in box: of the pixels further from it than half its
// size to the sides. Where there is nothing, because the face fills the photo, it is all NaN. Errors: Extract's but those of faces.
func (x *Extractor) Around(ctx context.Context, data []byte, box Box) (mean [3]float32, err error) {
	_, err = x.within(ctx, data, func(p *picture) ([]Face, error) {
		mean = around(p, box)
		return nil, nil
	})
	return mean, err
}

func around(p *picture, b Box) (mean [3]float32) {
	m, covers := p.overview()
	k := float32(m.W) / float32(covers.x1-covers.x0)
	room := (b.X2 - b.X1) / 2
	left, right, top := (b.X1-room)*k, (b.X2+room)*k, (b.Y1-room)*k
	var sum [3]float64
	n := 0
	for y := range m.H {
		row := m.row(y)
		for x := range m.W {
			if float32(y) > top && float32(x) > left && float32(x) < right {
				continue // the face, and what is below it: neck and body are lit by the screen as the face is
			}
			for c := range sum {
				sum[c] += float64(row[3*x+c])
			}
			n++
		}
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
