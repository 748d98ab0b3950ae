package extract

import (
	"mien/extract/pack"
)

// aligner says where the points of a face go in the embedder's input. It is immutable.
type aligner struct {
	w, h    int
	five    five         // targets of the five points
	of68    []int        // those of the 68 that are used where they are known; none: the five are
	targets [][2]float64 // theirs
}

func newAligner(a pack.Alignment, in pack.Input) *aligner {
	x := &aligner{w: in.Width, h: in.Height}
	switch a.Template {
	case pack.ArcFace112:
		x.five = arcFace
	case pack.Dlib150:
		mean := dlibChip(150, .25)
		x.five = mean.five()
		x.of68 = dlibPoints()
		for _, i := range x.of68 {
			x.targets = append(x.targets, mean[i])
		}
	default:
		copy(x.five[:], a.Points)
	}
	return x
}

// isArcFace says that crops are those of ArcFace's template, whose size and places measures of quality know.
func (x *aligner) isArcFace() bool {
	return x.w == alignSize && x.h == alignSize && x.five == arcFace && len(x.of68) == 0
}

// transform maps the photo to the embedder's input.
func (x *aligner) transform(p *points) affine {
	if p.all == nil || len(x.of68) == 0 {
		return similarity(p.five[:], x.five[:])
	}
	src := make([][2]float64, len(x.of68))
	for i, j := range x.of68 {
		src[i] = p.all[j]
	}
	return similarity(src, x.targets)
}

// cut returns the aligned crop of a face. Errors: errDegenerate.
func (x *aligner) cut(photo *picture, p *points) (*Image, error) {
	a := x.transform(p)
	if !a.regular() {
		return nil, errDegenerate
	}
	crop := newImage(x.w, x.h)
	photo.warp(crop, a)
	return crop, nil
}

// arcFace is where the eyes, the nose and the corners of the mouth go in a crop of 112×112 (ArcFace's template).
var arcFace = five{
	{38.2946, 51.6963}, {73.5318, 51.5014}, {56.0252, 71.7366}, {41.5493, 92.3655}, {70.7299, 92.2041},
}

// dlibMean is the mean shape that dlib aligns face chips by: points 17 to 67 of 68, in a frame where the face spans 0..1
// (dlib, image_transforms/interpolation.h, get_face_chip_details).
var dlibMean = [51][2]float64{
	{.000213256, .106454}, {.0752622, .038915}, {.18113, .0187482}, {.29077, .0344891}, {.393397, .0773906},
	{.586856, .0773906}, {.689483, .0344891}, {.799124, .0187482}, {.904991, .038915}, {.98004, .106454},
	{.490127, .203352}, {.490127, .307009}, {.490127, .409805}, {.490127, .515625}, {.36688, .587326},
	{.426036, .609345}, {.490127, .628106}, {.554217, .609345}, {.613373, .587326}, {.121737, .216423},
	{.187122, .178758}, {.265825, .179852}, {.334606, .231733}, {.260918, .245099}, {.182743, .244077},
	{.645647, .231733}, {.714428, .179852}, {.793132, .178758}, {.858516, .216423}, {.79751, .244077},
	{.719335, .245099}, {.254149, .780233}, {.340985, .745405}, {.428858, .727388}, {.490127, .742578},
	{.551395, .727388}, {.639268, .745405}, {.726104, .780233}, {.642159, .864805}, {.556721, .902192},
	{.490127, .909281}, {.423532, .902192}, {.338094, .864805}, {.290379, .784792}, {.428096, .778746},
	{.490127, .785343}, {.552157, .778746}, {.689874, .784792}, {.553364, .824182}, {.490127, .831803},
	{.42689, .824182},
}

// dlibChip places the mean shape on a chip of size×size pixels with a border of padding faces around it. Points 0 to 16,
// the jaw, stay 0.
//
// The chip is not dlib's to the pixel: dlib fits the mean shape to the face's points and turns that about, where the aligner
// fits the points to the mean shape, and dlib's chip has its corners at 0 and size-1, this one at 0 and size. Over 121 photos of
// LFW the templates of both have a median cosine of .9990, .9937 at the least. It stays so: templates are stored in this space.
func dlibChip(size, padding float64) *landmarks {
	l := new(landmarks)
	for i, p := range dlibMean {
		l[17+i] = [2]float64{(padding + p[0]) / (2*padding + 1) * size, (padding + p[1]) / (2*padding + 1) * size}
	}
	return l
}

// dlibPoints lists the points that dlib aligns by: nose, eyes and the upper lip.
func dlibPoints() (points []int) {
	for i := 27; i < 65; i++ {
		if i < 55 || i > 59 {
			points = append(points, i)
		}
	}
	return points
}
