package extract

import (
	"cmp"
	"context"
	"math"
	"slices"

	"mien/extract/pack"
)

// steps are the pipeline as a pack's manifest describes it: what is done before and after each model. It is immutable.
type steps struct {
	detector  *detector
	landmarks *landmarker // nil: the detector finds five points
	align     *aligner
	embedder  *embedder
}

func newSteps(p *pack.Pipeline, dim int) *steps {
	s := &steps{
		detector: newDetector(p.Detector, p.Landmarks == nil), align: newAligner(p.Align, p.Embedder.Input),
		embedder: &embedder{newPixels(p.Embedder.Input), p.Embedder.Output, p.Embedder.Flip, dim},
	}
	if p.Landmarks != nil {
		s.landmarks = &landmarker{newPixels(p.Landmarks.Input), p.Landmarks}
	}
	return s
}

// detector is the step from a photo to boxes.
type detector struct {
	*pixels
	heads
	spec pack.Detection
}

func newDetector(d pack.Detection, points bool) *detector {
	d.Margin = cmp.Or(d.Margin, 1)
	return &detector{newPixels(d.Input), newHeads(d.Adapter, d.Input.Width, d.Input.Height, points), d}
}

// detection is a face before landmarks: box in source pixels.
type detection struct {
	x1, y1, x2, y2 float64
	score          float32
	five           *five // nil: the detector finds none
}

func (d detection) area() float64   { return (d.x2 - d.x1) * (d.y2 - d.y1) }
func (d detection) height() float64 { return d.y2 - d.y1 }

// moved is d in a picture whose pixel (x, y) is (x·kx + dx, y·ky + dy) of another.
func (d detection) moved(kx, ky, dx, dy float64) detection {
	d.x1, d.y1, d.x2, d.y2 = d.x1*kx+dx, d.y1*ky+dy, d.x2*kx+dx, d.y2*ky+dy
	if d.five != nil {
		p := *d.five
		for i := range p {
			p[i] = [2]float64{p[i][0]*kx + dx, p[i][1]*ky + dy}
		}
		d.five = &p
	}
	return d
}

func overlap(a, b detection) float64 {
	w := min(a.x2, b.x2) - max(a.x1, b.x1)
	h := min(a.y2, b.y2) - max(a.y1, b.y1)
	return max(w, 0) * max(h, 0)
}

// canvas is how a photo lies on the detector's input: scaled to w×h at (x, y).
type canvas struct{ w, h, x, y int }

// fit lays a photo of w×h pixels on the canvas. Faces that touch the border are missed by UltraFace (7 instead of 2 of
// 298), hence the margin.
func (d *detector) fit(w, h int) canvas {
	s := d.scale(w, h)
	cw := min(max(int(math.RoundToEven(float64(w)*s)), 1), d.w)
	ch := min(max(int(math.RoundToEven(float64(h)*s)), 1), d.h)
	if d.spec.Place == pack.Corner {
		return canvas{cw, ch, 0, 0}
	}
	return canvas{cw, ch, (d.w - cw) / 2, (d.h - ch) / 2}
}

// scale is how many canvas pixels a pixel of a photo of w×h has.
func (d *detector) scale(w, h int) float64 {
	return min(float64(d.w)/float64(w), float64(d.h)/float64(h)) * d.spec.Margin
}

// paint fills the detector's input with the photo m as c says, and with what the model wants around it.
func (d *detector) paint(in []float32, m *Image, c canvas) {
	d.surround(in, c, d.spec.Pad)
	if m.W == c.w && m.H == c.h {
		d.draw(in, m, c.x, c.y)
		return
	}
	small := borrowImage(c.w, c.h)
	defer small.giveBack()
	resizeInto(small, m)
	d.draw(in, small, c.x, c.y)
}

// read returns the faces of score more than least that the detector's outputs tell of, best first, in the pixels of which the
// canvas shows the part r.
func (d *detector) read(outs [][]float32, least float64, c canvas, r rect) []detection {
	kx, ky := float64(r.x1-r.x0)/float64(c.w), float64(r.y1-r.y0)/float64(c.h)
	var found []detection
	for _, f := range d.boxes(outs, float32(least), nil) {
		f = f.moved(1, 1, -float64(c.x), -float64(c.y)).moved(kx, ky, float64(r.x0), float64(r.y0))
		if f.x2 > f.x1 && f.y2 > f.y1 && f.area() < math.MaxFloat32 { // NaN fails too
			found = append(found, f)
		}
	}
	return d.suppress(found)
}

// detect finds the faces of p, best first.
func (s *stages) detect(ctx context.Context, p *picture) ([]detection, error) {
	return s.sight(ctx, p, s.steps.detector.spec.Score)
}

// sight is detect for faces of score more than least.
func (s *stages) sight(ctx context.Context, p *picture, least float64) (found []detection, err error) {
	d := s.steps.detector
	m, covers := p.overview()
	c := d.fit(p.W, p.H)
	err = s.detector.do(ctx, 1,
		func(_ int, in []float32) { d.paint(in, m, c) },
		func(_ int, outs [][]float32) { found = d.read(outs, least, c, covers) })
	return found, err
}

// suppress keeps the best box of each face: greedy by score over IoU, then once more by containment.
func (d *detector) suppress(found []detection) []detection {
	sortByScore(found)
	found = keepApart(found, func(a, b detection) bool {
		o := overlap(a, b)
		return o/(a.area()+b.area()-o) <= d.spec.IoU
	})
	if d.spec.Inside == 0 {
		return found
	}
	return keepApart(found, func(a, b detection) bool { return apart(a, b, d.spec.Inside) })
}

func sortByScore(d []detection) {
	slices.SortStableFunc(d, func(a, b detection) int { return cmp.Compare(b.score, a.score) })
}

// apart says that no more than the share inside of the smaller box lies in the other.
func apart(a, b detection, inside float64) bool {
	return overlap(a, b)/min(a.area(), b.area()) <= inside
}

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
func (l *landmarks) five() five {
	return five{l.mean(37, 38, 40, 41), l.mean(43, 44, 46, 47), l[30], l[48], l[54]}
}

// points are what alignment rests on.
type points struct {
	five five
	all  *landmarks // nil: the pack finds five only
}

// landmarker is the step from a box to 68 points.
type landmarker struct {
	*pixels
	spec *pack.Landmarking
}

// first is where the points of d are looked for first: a square of so many box heights, shifted down.
func (x *landmarker) first(d detection) affine {
	side := x.spec.Side * d.height()
	return squareCrop((d.x1+d.x2)/2-side/2, (d.y1+d.y2)/2+x.spec.Down*side-side/2, side, x.w)
}

// upright maps the square around the points, turned by −a, to the landmark model's input.
func (x *landmarker) upright(l *landmarks, a float64) affine {
	turn := affine{math.Cos(a), math.Sin(a), 0, -math.Sin(a), math.Cos(a), 0}
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, p := range l {
		px, py := turn.apply(p[0], p[1])
		x0, y0, x1, y1 = min(x0, px), min(y0, py), max(x1, px), max(y1, py)
	}
	k := float64(x.w) / (max(x1-x0, y1-y0) * 1.12)
	mid := float64(x.w)/2 - .5
	return affine{
		turn.a * k, turn.b * k, mid - (x0+x1)/2*k,
		turn.c * k, turn.d * k, mid - (y0+y1)/2*k,
	}
}

// findPoints places the points of a face: those of the detector, or by the landmark model, once more on an upright crop
// when the head is rolled. Errors: errDegenerate.
func (s *stages) findPoints(ctx context.Context, p *picture, d detection) (*points, error) {
	if s.steps.landmarks == nil {
		if d.five == nil {
			panic("BUG: extract: a detector without points was let through")
		}
		return &points{five: *d.five}, nil
	}
	l, err := s.landmark(ctx, p, d)
	if err != nil {
		return nil, err
	}
	return &points{five: l.five(), all: l}, nil
}

func (s *stages) landmark(ctx context.Context, p *picture, d detection) (*landmarks, error) {
	x := s.steps.landmarks
	l, err := s.landmarkCrop(ctx, p, x.first(d))
	if err != nil {
		return nil, err
	}
	// The default pack places these points at corner + out·s, half a pixel from where the crop's own convention puts
	// them; the upright crop below has no such offset. Kept: it is part of its embedding space.
	for i := range l {
		l[i][0] += x.spec.Shift
		l[i][1] += x.spec.Shift
	}
	if a := l.roll(); x.spec.Again > 0 && math.Abs(a) > x.spec.Again*math.Pi/180 {
		return s.landmarkCrop(ctx, p, x.upright(l, a))
	}
	return l, nil
}

// landmarkCrop runs the model on the crop a and maps its points back.
func (s *stages) landmarkCrop(ctx context.Context, p *picture, a affine) (*landmarks, error) {
	if !a.regular() {
		return nil, errDegenerate
	}
	x, l := s.steps.landmarks, new(landmarks)
	err := s.landmarker.do(ctx, 1,
		func(_ int, in []float32) { x.crop(in, p, a) },
		func(_ int, outs [][]float32) { l.set(outs[0], float64(x.w), a.inverse()) })
	return l, err
}

// set reads the landmark model's output, (x, y) in 0..1 of a crop of size×size, and maps the points back to source pixels.
func (l *landmarks) set(out []float32, size float64, back affine) {
	for i := range l {
		l[i][0], l[i][1] = back.apply(float64(out[2*i])*size-.5, float64(out[2*i+1])*size-.5)
	}
}

// grey is BT.601 luma in 14-bit fixed point.
func grey(p []uint8) uint8 {
	return uint8((int(p[0])*4899 + int(p[1])*9617 + int(p[2])*1868 + 1<<13) >> 14)
}

// embedder is the step from an aligned crop to a template.
type embedder struct {
	*pixels
	output string // "": the first that fits
	flip   bool
	dim    int
}

func (e *embedder) bind(outs []port) ([]output, error) {
	shape := []int64{int64(e.dim)}
	if e.output != "" {
		return byName(outs, []output{{e.output, shape}})
	}
	return byShape(outs, shape)
}

// items is how many views of a face are embedded: two with its mirror image.
func (e *embedder) items() int {
	if e.flip {
		return 2
	}
	return 1
}

// embed returns the L2-normalised template of an aligned crop and the length that the model gave it. Errors: errDegenerate.
func (s *stages) embed(ctx context.Context, crop *Image) ([]float32, float64, error) {
	e := s.steps.embedder
	views := []*Image{crop}
	if e.flip {
		views = append(views, crop.mirrored())
	}
	outputs := make([][]float32, len(views))
	err := s.embedder.do(ctx, len(views),
		func(i int, in []float32) { e.draw(in, views[i], 0, 0) },
		func(i int, outs [][]float32) { outputs[i] = slices.Clone(outs[0]) })
	if err != nil {
		return nil, 0, err
	}
	t, norm, err := normalised(outputs...)
	return t, norm / float64(len(views)), err
}

// normalised returns the sum of the vectors at length 1, in memory of its own or the first's, and its length before.
func normalised(vectors ...[]float32) ([]float32, float64, error) {
	sum := vectors[0]
	for _, v := range vectors[1:] {
		for i, x := range v {
			sum[i] += x
		}
	}
	var n float64
	for _, x := range sum {
		n += float64(x) * float64(x)
	}
	n = math.Sqrt(n)
	if !(n > 1e-6 && n < math.MaxFloat32) { // NaN fails too
		return nil, 0, errDegenerate
	}
	for i, x := range sum {
		sum[i] = float32(float64(x) / n)
	}
	return sum, n, nil
}
