package extract

import (
	"context"
	"math"

	"mien/extract/pack"
)

const (
	eyeSize = 24
	eyeOpen = 1 // the class of an open eye
)

// eyePixels are grey in 0..1.
var eyePixels = newPixels(pack.Input{Width: eyeSize, Height: eyeSize, Colour: pack.Grey, Mean: []float32{0}, Std: []float32{255}})

// eyes are the points of each eye, that to the left of the image first: outer and inner corner (in the image's own
// direction) and the four points of the lids.
var eyes = [2]struct {
	corners [2]int
	lids    [4]int
}{
	{[2]int{36, 39}, [4]int{37, 38, 40, 41}},
	{[2]int{42, 45}, [4]int{43, 44, 46, 47}},
}

// eyeCrop maps the square of 1.6 widths around eye i to the eye model's input.
func (l *landmarks) eyeCrop(i int) affine {
	e := &eyes[i]
	mid := l.mean(e.lids[:]...)
	from, to := l[e.corners[0]], l[e.corners[1]]
	side := 1.6 * math.Hypot(to[0]-from[0], to[1]-from[1])
	return squareCrop(mid[0]-side/2, mid[1]-side/2, side, eyeSize)
}

// lidGaps are the gaps between the lids of each eye, that to the left of the image first, by the distance from the eyes to the chin.
func (l *landmarks) lidGaps() [2]float64 {
	five := l.five()
	chin := distance(five.eyesMiddle(), l[8])
	return [2]float64{
		max(distance(l[37], l[41]), distance(l[38], l[40])) / chin,
		max(distance(l[43], l[47]), distance(l[44], l[46])) / chin,
	}
}

// findEyesOpen tells for each eye the probability that it is open. It means little where the head is turned by more than 25°
// or the eye is less than 16 pixels wide.
func (s *stages) findEyesOpen(ctx context.Context, p *picture, l *landmarks) (open [2]float32, err error) {
	if s.eyes == nil {
		return open, nil
	}
	crops := [2]affine{l.eyeCrop(0), l.eyeCrop(1)}
	if !crops[0].regular() || !crops[1].regular() {
		return open, errDegenerate
	}
	err = s.eyes.do(ctx, 2,
		func(i int, in []float32) { eyePixels.crop(in, p, crops[i]) },
		func(i int, outs [][]float32) { open[i] = softmaxAt(outs[0], eyeOpen) })
	return open, err
}
