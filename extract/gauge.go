package extract

import (
	"math"
	"slices"
	"sync"
)

const alignSize = 112 // of a crop aligned to ArcFace's template

// scene is what the measures of a face are made of.
type scene struct {
	photo  *picture
	points *points
	face   *Face  // box and pose, and what the eye model says if eyes
	crop   *Image // of alignSize, aligned to ArcFace's template; nil: it is cut anew
	eyes   bool   // there is an eye model
}

// gauge is memory to measure one face at a time.
type gauge struct {
	own    Image // a crop for packs that have another
	grey   [alignSize * alignSize]uint8
	face   [alignSize * alignSize]bool // pixels of the crop within the face's outline and the photo
	window Image                       // of the photo, unturned
	luma   []uint8                     // of window
}

var gauges = sync.Pool{New: func() any { return new(gauge) }}

// measure returns every measure but UnifiedScore and SingleFace, which need more than the face; of points that are no
// face's nothing is known. It allocates nothing in the long run.
func (s scene) measure() (q Quality) {
	a := similarity(s.points.five[:], arcFace[:])
	if !a.regular() {
		for i := range q {
			q[i] = unmeasured
		}
		return q
	}
	g := gauges.Get().(*gauge)
	defer gauges.Put(g)
	crop := g.load(s, a)
	s.measurePlace(&q)
	s.measureFeatures(&q)
	g.measureLight(&q)
	q[EyesVisible] = percent(rise(skinAroundEyes(crop), .18, .05))
	q[Sharpness] = percent(rise(math.Log(g.resolution(s)), math.Log(24), .3))
	q[Compression] = percent(1 - rise(g.blockiness(s)-1, 1.6, .35))
	q[SingleFace] = 100
	return q
}

// sigmoid rises from 0 to 1 around mid; width is the distance from there to .73.
func sigmoid(v, mid, width float64) float64 { return 1 / (1 + math.Exp((mid-v)/width)) }

// rise is sigmoid, shifted and stretched to begin with 0 at v = 0.
func rise(v, mid, width float64) float64 {
	zero := sigmoid(0, mid, width)
	return max(sigmoid(v, mid, width)-zero, 0) / (1 - zero)
}

// percent maps a share to a value of a measure; what is no number is the worst.
func percent(share float64) float32 {
	if !(share > 0) {
		return 0
	}
	return float32(100 * min(share, 1))
}

func distance(a, b [2]float64) float64 { return math.Hypot(b[0]-a[0], b[1]-a[1]) }

// apparent is the distance between the eyes in source pixels as it is seen.
func (f *five) apparent() float64 { return distance(f[0], f[1]) }

// eyesMiddle is the point between the eyes.
func (f *five) eyesMiddle() [2]float64 {
	return [2]float64{(f[0][0] + f[1][0]) / 2, (f[0][1] + f[1][1]) / 2}
}

// roll is the angle of the line between the eyes, clockwise, in radians.
func (f *five) roll() float64 { return math.Atan2(f[1][1]-f[0][1], f[1][0]-f[0][0]) }

// eyeDistance is that between the eyes in source pixels, as if the head were not turned (beyond 60° half of it is guessed).
// Of the yaw by the model and by the nose the smaller counts: on blurred faces the model sees turns of 60° where there are none.
func (s scene) eyeDistance() float64 {
	yaw := min(math.Abs(float64(s.face.Pose.Yaw)), math.Abs(float64(s.points.five.pose().Yaw)))
	return s.points.five.apparent() / max(math.Cos(yaw*math.Pi/180), .5)
}

// load fills in the aligned crop's part of g, which a maps from the photo, and returns the crop, valid as long as g is held.
func (g *gauge) load(s scene, a affine) *Image {
	crop := s.crop
	if crop == nil {
		crop = g.own.sized(alignSize, alignSize)
		s.photo.warp(crop, a)
	}
	for i := range g.grey {
		g.grey[i] = grey(crop.Pix[3*i : 3*i+3])
	}
	g.outline(s.points.all, a)
	g.clip(a.inverse(), s.photo)
	return crop
}

// sized makes m an image of w×h in the memory that it has, if that is enough. The pixels are whatever they were.
func (m *Image) sized(w, h int) *Image {
	if cap(m.Pix) < 3*w*h {
		m.Pix = make([]uint8, 3*w*h)
	}
	m.W, m.H, m.Pix = w, h, m.Pix[:3*w*h]
	return m
}

// outlinePoints is how many points the face's outline has: the jaw's and the brows'.
const outlinePoints = 27

// outline sets g.face to the polygon of jaw and brows, which a maps from the photo; without them to the ellipse that
// such polygons fill most of.
func (g *gauge) outline(l *landmarks, a affine) {
	var polygon [outlinePoints][2]float64
	for i := range polygon {
		switch {
		case l == nil:
			s, c := math.Sincos(2 * math.Pi * float64(i) / outlinePoints)
			polygon[i] = [2]float64{56 + 40*c, 72 + 38*s}
		case i < 17:
			polygon[i][0], polygon[i][1] = a.apply(l[i][0], l[i][1])
		default:
			brow := l[outlinePoints-1+17-i]
			polygon[i][0], polygon[i][1] = a.apply(brow[0], brow[1])
		}
	}
	clear(g.face[:])
	var cuts [outlinePoints]float64
	for y := range alignSize {
		row := g.face[y*alignSize:][:alignSize]
		found := crossings(cuts[:0], &polygon, float64(y))
		for i := 0; i+1 < len(found); i += 2 {
			from, to := max(int(math.Ceil(found[i])), 0), min(int(math.Ceil(found[i+1])), alignSize)
			for x := from; x < to; x++ {
				row[x] = true
			}
		}
	}
}

// crossings appends to dst where the polygon's edges cross row y, in rising order: an even number.
func crossings(dst []float64, polygon *[outlinePoints][2]float64, y float64) []float64 {
	from := polygon[outlinePoints-1]
	for _, to := range polygon {
		if (from[1] <= y) != (to[1] <= y) {
			dst = append(dst, from[0]+(y-from[1])/(to[1]-from[1])*(to[0]-from[0]))
		}
		from = to
	}
	slices.Sort(dst)
	return dst
}

// clip takes out of g.face what lies outside the photo; back maps the crop to the photo.
func (g *gauge) clip(back affine, p *picture) {
	for i, in := range g.face {
		if in {
			x, y := back.apply(float64(i%alignSize), float64(i/alignSize))
			g.face[i] = x >= 0 && y >= 0 && x <= float64(p.W-1) && y <= float64(p.H-1)
		}
	}
}

// measurePlace fills in how large the face is, where in the photo, and how it is turned.
func (s scene) measurePlace(q *Quality) {
	mid, eyes := s.points.five.eyesMiddle(), s.eyeDistance()
	q[InterEyeDistance] = percent(rise(eyes, 35, 10))
	head := float64(s.face.Box.Y2-s.face.Box.Y1) / float64(s.photo.H)
	q[HeadSize] = percent(rise(head, .12, .03) * (1 - rise(head, .9, .04)))
	q[MarginLeft] = percent(rise(mid[0]/eyes, .9, .1))
	q[MarginRight] = percent(rise((float64(s.photo.W-1)-mid[0])/eyes, .9, .1))
	q[MarginAbove] = percent(rise(mid[1]/eyes, 1.4, .1))
	q[MarginBelow] = percent(rise((float64(s.photo.H-1)-mid[1])/eyes, 1.8, .1))
	q[PoseYaw] = frontal(float64(s.face.Pose.Yaw) * math.Pi / 180)
	q[PosePitch] = frontal(float64(s.face.Pose.Pitch) * math.Pi / 180)
	q[PoseRoll] = frontal(s.points.five.roll())
}

// frontal is 100·cos² of an angle in radians, and 0 from a right angle on.
func frontal(angle float64) float32 {
	c := max(math.Cos(angle), 0)
	return percent(c * c)
}

// measureFeatures fills in what 68 points and the eye model tell, NaN without the points.
func (s scene) measureFeatures(q *Quality) {
	l := s.points.all
	if l == nil {
		q[EyesOpen], q[MouthClosed] = unmeasured, unmeasured
		return
	}
	chin := distance(s.points.five.eyesMiddle(), l[8])
	lips := max(distance(l[61], l[67]), distance(l[62], l[66]), distance(l[63], l[65]))
	q[MouthClosed] = percent(1 - rise(lips/chin, .2, .06))
	worst := 1.
	for i, gap := range l.lidGaps() {
		open := rise(gap, .04, .01)
		if s.eyes {
			open = (open + 2*float64(s.face.EyesOpen[i])) / 3
		}
		worst = min(worst, open)
	}
	q[EyesOpen] = percent(worst)
}

// measureLight fills in what histograms of the face tell.
func (g *gauge) measureLight(q *Quality) {
	var all histogram
	var sides [2]histogram
	const nose, eyes, mouth = alignSize / 2, 58, 84 // places of the template
	for i, in := range g.face {
		if !in {
			continue
		}
		v := g.grey[i]
		all[v]++
		if x, y := i%alignSize, i/alignSize; y >= eyes && y < mouth {
			sides[min(x/nose, 1)][v]++
		}
	}
	all.scale()
	mean, variance := all.moments()
	q[LuminanceMean] = percent(sigmoid(mean, .2, .05) * (1 - sigmoid(mean, .8, .05)))
	q[LuminanceVariance] = percent(math.Sin(min(60*variance/(60*variance+1), .5) * math.Pi))
	q[UnderExposure] = percent(1 - rise(all.share(0, 25), .45, .12))
	q[OverExposure] = percent(.08 / (.08 + all.share(247, 255)))
	q[DynamicRange] = percent(all.entropy() / 8)
	q[IlluminationUniformity] = percent(math.Pow(common(sides[0], sides[1]), .3))
}

// histogram holds the share of pixels at each grey level.
type histogram [256]float64

// scale makes the shares sum to 1.
func (h *histogram) scale() {
	var n float64
	for _, v := range h {
		n += v
	}
	for i := range h {
		h[i] /= max(n, 1)
	}
}

// moments are the mean and the variance with white as 1.
func (h *histogram) moments() (mean, variance float64) {
	for i, v := range h {
		mean += v * float64(i) / 255
	}
	for i, v := range h {
		d := float64(i)/255 - mean
		variance += v * d * d
	}
	return mean, variance
}

// share of the levels from lo to hi.
func (h *histogram) share(lo, hi int) (s float64) {
	for _, v := range h[lo : hi+1] {
		s += v
	}
	return s
}

// entropy is in bits.
func (h *histogram) entropy() (e float64) {
	for _, v := range h {
		if v > 0 {
			e -= v * math.Log2(v)
		}
	}
	return e
}

// common is the intersection of two histograms, both smoothed over 49 levels: smooth skin has so narrow ones that less
// would take soft shading for half a shadow.
func common(a, b histogram) (s float64) {
	a.smooth(24)
	b.smooth(24)
	for i := range a {
		s += min(a[i], b[i])
	}
	return s
}

// smooth spreads each level over its r neighbours on both sides, edges repeated, and scales.
func (h *histogram) smooth(r int) {
	from := *h
	at := func(i int) float64 { return from[min(max(i, 0), 255)] }
	var sum float64
	for i := -r; i < r; i++ {
		sum += at(i)
	}
	for i := range h {
		sum += at(i + r)
		h[i] = sum
		sum -= at(i - r)
	}
	h.scale()
}
