package extract

import (
	"math"

	"mien/extract/pack"
)

// heads is the adapter of a kind of detector: what its graph gives, and how that becomes boxes.
type heads interface {
	// bind picks the outputs that boxes reads, in its order, from those that a graph declares.
	bind(outs []port) ([]output, error)
	// boxes appends to found the faces of score more than least, in pixels of the detector's input, not yet suppressed.
	boxes(outs [][]float32, least float32, found []detection) []detection
}

// newHeads returns the adapter for a detector whose input is of w×h pixels, and which must find five points if points says so.
func newHeads(adapter string, w, h int, points bool) heads {
	switch adapter {
	case pack.UltraFace:
		return ultraFace{w, h}
	case pack.SCRFD:
		return scrfd{w, h, points}
	case pack.RetinaFace:
		return retinaFace{w, h, retinaPriors(w, h)}
	case pack.YuNet:
		return yuNet{w, h}
	}
	panic("BUG: extract: a manifest was let through with detector " + adapter)
}

// strides of the grids that SCRFD, RetinaFace and YuNet look at faces on.
var strides = [3]int{8, 16, 32}

// five are five points of a face: the eyes, the tip of the nose and the corners of the mouth, the left of the image first.
type five [5][2]float64

// gridPoints reads five points given as steps of a grid's stride from (x, y).
func gridPoints(v []float32, x, y, stride float64) *five {
	p := new(five)
	for i := range p {
		p[i] = [2]float64{x + float64(v[2*i])*stride, y + float64(v[2*i+1])*stride}
	}
	return p
}

// ultraFace: scores [n,2], of which [1] is a face's, and boxes [n,4] as corners in shares of the input. Four grids of
// strides 8 to 64 with 3, 2, 2 and 3 sizes a cell (Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB, vision/ssd).
type ultraFace struct{ w, h int }

func (u ultraFace) anchors() int64 {
	n := 0
	for i, sizes := range [4]int{3, 2, 2, 3} {
		n += cells(u.w, 8<<i) * cells(u.h, 8<<i) * sizes
	}
	return int64(n)
}

// cells is how many steps of stride cover side, the last perhaps in part.
func cells(side, stride int) int { return (side + stride - 1) / stride }

func (u ultraFace) bind(outs []port) ([]output, error) {
	return byShape(outs, []int64{u.anchors(), 2}, []int64{u.anchors(), 4})
}

func (u ultraFace) boxes(outs [][]float32, least float32, found []detection) []detection {
	scores, boxes := outs[0], outs[1]
	w, h := float64(u.w), float64(u.h)
	for i := range len(scores) / 2 {
		if s := scores[2*i+1]; s > least {
			b := boxes[4*i : 4*i+4]
			found = append(found, detection{float64(b[0]) * w, float64(b[1]) * h, float64(b[2]) * w, float64(b[3]) * h, s, nil})
		}
	}
	return found
}

// scrfd: for each stride a score, four distances to the sides of the box and, in nine-output files, five points, all for two
// equal anchors at each node of the grid, distances and points in strides (InsightFace, model_zoo/scrfd.py).
type scrfd struct {
	w, h   int
	points bool // a graph without them is refused
}

const scrfdAnchors = 2

func (s scrfd) nodes(level int) int64 {
	return int64(s.w / strides[level] * (s.h / strides[level]) * scrfdAnchors)
}

func (s scrfd) bind(outs []port) ([]output, error) {
	var want [][]int64
	kinds := []int64{1, 4, 10}
	if len(outs) < 9 && !s.points {
		kinds = kinds[:2]
	}
	for _, values := range kinds {
		for level := range strides {
			want = append(want, []int64{s.nodes(level), values})
		}
	}
	return byShape(outs, want...)
}

func (s scrfd) boxes(outs [][]float32, least float32, found []detection) []detection {
	for level, stride := range strides {
		columns, step := s.w/stride, float64(stride)
		for i, score := range outs[level] {
			if !(score > least) {
				continue
			}
			node := i / scrfdAnchors
			x, y := float64(node%columns)*step, float64(node/columns)*step
			b := outs[3+level][4*i : 4*i+4]
			d := detection{x - float64(b[0])*step, y - float64(b[1])*step, x + float64(b[2])*step, y + float64(b[3])*step, score, nil}
			if len(outs) == 9 {
				d.five = gridPoints(outs[6+level][10*i:10*i+10], x, y, step)
			}
			found = append(found, d)
		}
	}
	return found
}

// yuNet: for each stride the probabilities of a face and of an object, of which the score is the geometric mean, a box
// by its centre and the logarithm of its size, and five points, all in strides from the node of the grid (OpenCV,
// modules/objdetect/src/face_detect.cpp).
type yuNet struct{ w, h int }

func (y yuNet) bind(outs []port) ([]output, error) {
	var want []output
	for _, kind := range []struct {
		name   string
		values int64
	}{{"cls", 1}, {"obj", 1}, {"bbox", 4}, {"kps", 10}} {
		for _, stride := range strides {
			want = append(want, output{strideName(kind.name, stride), []int64{int64(y.w / stride * (y.h / stride)), kind.values}})
		}
	}
	return byName(outs, want)
}

func (y yuNet) boxes(outs [][]float32, least float32, found []detection) []detection {
	for level, stride := range strides {
		columns, step := y.w/stride, float64(stride)
		cls, obj, boxes, points := outs[level], outs[3+level], outs[6+level], outs[9+level]
		for i := range cls {
			score := float32(math.Sqrt(float64(unit(cls[i]) * unit(obj[i]))))
			if !(score > least) {
				continue
			}
			c, r, b := float64(i%columns), float64(i/columns), boxes[4*i:4*i+4]
			cx, cy := (c+float64(b[0]))*step, (r+float64(b[1]))*step
			w, h := math.Exp(float64(b[2]))*step, math.Exp(float64(b[3]))*step
			found = append(found, detection{cx - w/2, cy - h/2, cx + w/2, cy + h/2, score,
				gridPoints(points[10*i:10*i+10], c*step, r*step, step)})
		}
	}
	return found
}

// unit clamps a probability to [0, 1].
func unit(v float32) float32 { return min(max(v, 0), 1) }

// retinaFace: loc [n,4], conf [n,2], of which [1] is a face's, and landms [n,10], as offsets from prior boxes with
// variances .1 and .2 (biubug6/Pytorch_Retinaface, utils/box_utils.py and layers/functions/prior_box.py).
type retinaFace struct {
	w, h   int
	priors [][3]float64 // centre and side, in pixels of the input
}

// retinaSizes are the sides of the priors at each stride.
var retinaSizes = [3][2]float64{{16, 32}, {64, 128}, {256, 512}}

func retinaPriors(w, h int) (priors [][3]float64) {
	for level, stride := range strides {
		for y := range cells(h, stride) {
			for x := range cells(w, stride) {
				for _, side := range retinaSizes[level] {
					priors = append(priors, [3]float64{(float64(x) + .5) * float64(stride), (float64(y) + .5) * float64(stride), side})
				}
			}
		}
	}
	return priors
}

func (r retinaFace) bind(outs []port) ([]output, error) {
	n := int64(len(r.priors))
	return byShape(outs, []int64{n, 4}, []int64{n, 2}, []int64{n, 10})
}

func (r retinaFace) boxes(outs [][]float32, least float32, found []detection) []detection {
	const near, size = .1, .2
	loc, conf, points := outs[0], outs[1], outs[2]
	for i, p := range r.priors {
		score := conf[2*i+1]
		if !(score > least) {
			continue
		}
		l := loc[4*i : 4*i+4]
		cx, cy := p[0]+float64(l[0])*near*p[2], p[1]+float64(l[1])*near*p[2]
		w, h := p[2]*math.Exp(float64(l[2])*size), p[2]*math.Exp(float64(l[3])*size)
		found = append(found, detection{cx - w/2, cy - h/2, cx + w/2, cy + h/2, score,
			gridPoints(points[10*i:10*i+10], p[0], p[1], near*p[2])})
	}
	return found
}
