package extract

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// Constants of the default pack's pipeline, preprocessing version 1. Each was measured; changing one changes
// the embedding space (see doc.go) and needs a new version.
const (
	preprocessing    = 1
	templateDim      = 512
	detectW, detectH = 320, 240
	detectMargin     = .9 // of the canvas: faces that touch the border are missed (7 instead of 2 of 298)
	detectScore      = .8
	detectIoU        = .4  // greedy suppression
	detectInside     = .55 // of the smaller box inside a better one: the same face
	anchors          = 4420
	landmarkSize     = 64
	alignSize        = 112
	rollLimit        = 15 * math.Pi / 180 // beyond it landmarks are found again on an upright crop
)

// alignTarget is where the eyes, the nose and the corners of the mouth go in the aligned crop (ArcFace template).
var alignTarget = [5][2]float64{
	{38.2946, 51.6963}, {73.5318, 51.5014}, {56.0252, 71.7366}, {41.5493, 92.3655}, {70.7299, 92.2041},
}

// detection is a face before landmarks: box in source pixels.
type detection struct {
	x1, y1, x2, y2 float64
	score          float32
}

func (d detection) area() float64   { return (d.x2 - d.x1) * (d.y2 - d.y1) }
func (d detection) height() float64 { return d.y2 - d.y1 }

func overlap(a, b detection) float64 {
	w := min(a.x2, b.x2) - max(a.x1, b.x1)
	h := min(a.y2, b.y2) - max(a.y1, b.y1)
	return max(w, 0) * max(h, 0)
}

// canvas is how a photo lies on the detector's input: scaled to w×h at (x, y).
type canvas struct{ w, h, x, y int }

// fit lays a photo of w×h pixels on the canvas.
func fit(w, h int) canvas {
	s := min(detectW/float64(w), detectH/float64(h)) * detectMargin
	cw := max(int(math.RoundToEven(float64(w)*s)), 1)
	ch := max(int(math.RoundToEven(float64(h)*s)), 1)
	return canvas{cw, ch, (detectW - cw) / 2, (detectH - ch) / 2}
}

// draw fills the detector's input, float32[3][240][320] RGB (v−127)/128, grey 127 around the photo m.
func (c canvas) draw(in []float32, m *Image) {
	small := resize(m, c.w, c.h)
	clear(in) // (127−127)/128
	for ch := range 3 {
		for y := range c.h {
			row := small.row(y)
			out := in[(ch*detectH+c.y+y)*detectW+c.x:]
			for x := range c.w {
				out[x] = (float32(row[3*x+ch]) - 127) / 128
			}
		}
	}
}

// detections reads the detector's outputs, float32[4420][2] scores and float32[4420][4] boxes in 0..1 of the canvas, for a
// photo of w×h pixels.
func (c canvas) detections(scores, boxes []float32, w, h int) []detection {
	kx, ky := float64(w)/float64(c.w), float64(h)/float64(c.h)
	var found []detection
	for i := range anchors {
		if !(scores[2*i+1] > detectScore) {
			continue
		}
		b := boxes[4*i:]
		d := detection{
			(float64(b[0])*detectW - float64(c.x)) * kx, (float64(b[1])*detectH - float64(c.y)) * ky,
			(float64(b[2])*detectW - float64(c.x)) * kx, (float64(b[3])*detectH - float64(c.y)) * ky,
			scores[2*i+1],
		}
		if d.x2 > d.x1 && d.y2 > d.y1 { // NaN fails too
			found = append(found, d)
		}
	}
	return suppress(found)
}

// detect finds the faces of p, best first.
func (s *stages) detect(ctx context.Context, p *picture) (found []detection, err error) {
	m, c := p.overview(), fit(p.W, p.H)
	err = s.detector.do(ctx, 1,
		func(_ int, in []float32) { c.draw(in, m) },
		func(_ int, outs [][]float32) { found = c.detections(outs[0], outs[1], p.W, p.H) })
	return found, err
}

// suppress keeps the best box of each face: greedy by score over IoU, then once more by containment.
func suppress(d []detection) []detection {
	sortByScore(d)
	d = keepApart(d, func(a, b detection) bool {
		o := overlap(a, b)
		return o/(a.area()+b.area()-o) <= detectIoU
	})
	return keepApart(d, apart)
}

func sortByScore(d []detection) {
	slices.SortStableFunc(d, func(a, b detection) int { return cmp.Compare(b.score, a.score) })
}

// apart says that neither box lies in the other so far that both are one face.
func apart(a, b detection) bool { return overlap(a, b)/min(a.area(), b.area()) <= detectInside }

// keepApart keeps each box that is apart from every better one kept before it.
func keepApart(d []detection, apart func(a, b detection) bool) []detection {
	var kept []detection
	for _, b := range d {
		if !slices.ContainsFunc(kept, func(a detection) bool { return !apart(a, b) }) {
			kept = append(kept, b)
		}
	}
	return kept
}

// landmarks are 68 points in source pixels.
type landmarks [68][2]float64

func (l *landmarks) mean(points ...int) (p [2]float64) {
	for _, i := range points {
		p[0] += l[i][0] / float64(len(points))
		p[1] += l[i][1] / float64(len(points))
	}
	return p
}

// roll is the angle of the line between the eyes, clockwise, in radians.
func (l *landmarks) roll() float64 {
	left, right := l.mean(36, 37, 38, 39, 40, 41), l.mean(42, 43, 44, 45, 46, 47)
	return math.Atan2(right[1]-left[1], right[0]-left[0])
}

// five are the points that alignment uses: eyes (lids only), tip of the nose, corners of the mouth.
func (l *landmarks) five() [5][2]float64 {
	return [5][2]float64{l.mean(37, 38, 40, 41), l.mean(43, 44, 46, 47), l[30], l[48], l[54]}
}

// landmark places the 68 points: on a square of 0.9 box heights, shifted down by a tenth; once more on an
// upright crop when the head is rolled.
func (s *stages) landmark(ctx context.Context, p *picture, d detection) (*landmarks, error) {
	side := .9 * d.height()
	x, y := (d.x1+d.x2)/2-side/2, (d.y1+d.y2)/2+.1*side-side/2
	l, err := s.landmarkCrop(ctx, p, squareCrop(x, y, side, landmarkSize))
	if err != nil {
		return nil, err
	}
	// Preprocessing version 1 places these points at corner + out·s, half a pixel from where the crop's own
	// convention puts them; the upright crop below has no such offset. Kept: it is part of the embedding space.
	for i := range l {
		l[i][0] += .5
		l[i][1] += .5
	}
	if a := l.roll(); math.Abs(a) > rollLimit {
		return s.landmarkCrop(ctx, p, l.uprightCrop(a))
	}
	return l, nil
}

// uprightCrop maps the square around the points, turned by −a, to the landmark model's input.
func (l *landmarks) uprightCrop(a float64) affine {
	turn := affine{math.Cos(a), math.Sin(a), 0, -math.Sin(a), math.Cos(a), 0}
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, p := range l {
		x, y := turn.apply(p[0], p[1])
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
	}
	k := landmarkSize / (max(x1-x0, y1-y0) * 1.12)
	const mid = landmarkSize/2 - .5
	return affine{
		turn.a * k, turn.b * k, mid - (x0+x1)/2*k,
		turn.c * k, turn.d * k, mid - (y0+y1)/2*k,
	}
}

// landmarkCrop runs the model on the crop a, grey/256, and maps its points back.
func (s *stages) landmarkCrop(ctx context.Context, p *picture, a affine) (*landmarks, error) {
	if !a.regular() {
		return nil, errDegenerate
	}
	l := new(landmarks)
	err := s.landmarker.do(ctx, 1,
		func(_ int, in []float32) { drawGrey(in, p, a, landmarkSize, 256) },
		func(_ int, outs [][]float32) { l.set(outs[0], a.inverse()) })
	return l, err
}

// drawGrey fills in, float32[1][size][size], with the crop a of p in grey divided by scale.
func drawGrey(in []float32, p *picture, a affine, size int, scale float32) {
	crop := newImage(size, size)
	p.warp(crop, a)
	for i := range in {
		in[i] = float32(grey(crop.Pix[3*i:])) / scale
	}
}

// set reads the landmark model's output, (x, y) in 0..1 of the crop, and maps the points back to source pixels.
func (l *landmarks) set(out []float32, back affine) {
	for i := range l {
		l[i][0], l[i][1] = back.apply(float64(out[2*i])*landmarkSize-.5, float64(out[2*i+1])*landmarkSize-.5)
	}
}

// grey is BT.601 luma in 14-bit fixed point.
func grey(p []uint8) uint8 {
	return uint8((int(p[0])*4899 + int(p[1])*9617 + int(p[2])*1868 + 1<<13) >> 14)
}

// align cuts the embedder's 112×112 crop.
func align(p *picture, l *landmarks) (*Image, error) {
	five := l.five()
	a := similarity(&five, &alignTarget)
	if !a.regular() {
		return nil, errDegenerate
	}
	crop := newImage(alignSize, alignSize)
	p.warp(crop, a)
	return crop, nil
}

// embed returns the L2-normalised template of an aligned crop: BGR (v−127.5)/127.5.
func (s *stages) embed(ctx context.Context, crop *Image) (t []float32, err error) {
	var degenerate error
	err = s.embedder.do(ctx, 1,
		func(_ int, in []float32) { drawBGR(in, crop) },
		func(_ int, outs [][]float32) { t, degenerate = normalised(outs[0]) })
	return t, cmp.Or(err, degenerate)
}

func drawBGR(in []float32, crop *Image) {
	plane := crop.W * crop.H
	for i := range plane {
		p := crop.Pix[3*i : 3*i+3]
		in[i], in[plane+i], in[2*plane+i] = pixel(p[2]), pixel(p[1]), pixel(p[0])
	}
}

func pixel(v uint8) float32 { return (float32(v) - 127.5) / 127.5 }

// normalised returns v / ‖v‖₂ in memory of its own.
func normalised(v []float32) ([]float32, error) {
	var n float64
	for _, x := range v {
		n += float64(x) * float64(x)
	}
	n = math.Sqrt(n)
	if !(n > 1e-6 && n < math.MaxFloat32) { // NaN fails too
		return nil, errDegenerate
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / n)
	}
	return out, nil
}
