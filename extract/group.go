package extract

import (
	"context"
	"math"
	"slices"
)

// A group photo has faces that are too small on the detector's canvas: it finds those of 20 canvas pixels and more
// (98 % at 20, 80 % at 15, none below 8). So the photo is looked at again, level by level at twice the scale, in tiles
// that overlap by more than the height of a face that the level before may have missed. Most photos never get there:
// it ends with the first level on which no small face is found.
const (
	smallFace = 48            // canvas pixels: a level that finds one as small may have missed smaller ones
	sureFace  = 24            // canvas pixels: a box is good to a few source pixels
	tileShare = 2 * smallFace // canvas pixels that neighbouring tiles share
	lastScale = .8            // canvas pixels for a source pixel: a face of 25 source pixels has 20 there

	sameFace = .55 // of the smaller box inside another, over levels: the same face
)

// MaxFaces is how many faces of a photo are returned at most, the best detections.
const MaxFaces = 512

// detectGroup finds the faces of p down to 25 pixels, best first.
func (s *stages) detectGroup(ctx context.Context, p *picture) ([]detection, error) {
	kept, err := s.detect(ctx, p)
	if err != nil {
		return nil, err
	}
	scale := s.steps.detector.scale(p.W, p.H)
	for found := kept; mayHideSmaller(found, scale); {
		if scale *= 2; scale > lastScale {
			break
		}
		if found, err = s.detectTiles(ctx, p, scale); err != nil {
			return nil, err
		}
		kept = merge(kept, found, scale/2)
	}
	sortByScore(kept)
	return kept[:min(len(kept), MaxFaces)], nil
}

// mayHideSmaller says that at scale some face is small, or that nothing at all was found.
func mayHideSmaller(found []detection, scale float64) bool {
	return len(found) == 0 || slices.ContainsFunc(found, func(d detection) bool { return d.height()*scale < smallFace })
}

// merge adds what a level found to what was kept of the levels before it, the last of them at scale. A face that was
// sureFace canvas pixels high there, or higher, stays as it was seen; a smaller one's box is rough, and gives way to the
// new one.
func merge(kept, found []detection, scale float64) []detection {
	rough := func(d detection) bool { return d.height()*scale < sureFace }
	var weak []detection
	for _, d := range kept {
		if rough(d) {
			weak = append(weak, d)
		}
	}
	kept = slices.DeleteFunc(kept, rough)
	found = apartFrom(kept, found)
	return slices.Concat(kept, apartFrom(found, weak), found)
}

// apartFrom returns those of found that are no second sight of a kept one: a larger scale sees parts of large faces
// as faces.
func apartFrom(kept, found []detection) []detection {
	return slices.DeleteFunc(found, func(b detection) bool {
		return slices.ContainsFunc(kept, func(a detection) bool { return !apart(a, b, sameFace) })
	})
}

// detectTiles finds the small faces of p at scale.
func (s *stages) detectTiles(ctx context.Context, p *picture, scale float64) ([]detection, error) {
	level := newImage(max(int(float64(p.W)*scale), 1), max(int(float64(p.H)*scale), 1))
	p.warp(level, affine{scale, 0, .5*scale - .5, 0, scale, .5*scale - .5})
	var all []detection
	tileW, tileH := s.steps.detector.tile()
	for _, y := range starts(level.H, tileH) {
		for _, x := range starts(level.W, tileW) {
			t := level.part(rect{x, y, min(x+tileW, level.W), min(y+tileH, level.H)})
			found, err := s.detect(ctx, newPicture(t))
			if err != nil {
				return nil, err
			}
			all = append(all, smallOnes(found, level, t, x, y)...)
		}
		if len(all) > 8*MaxFaces {
			break // no photo of people
		}
	}
	for i, d := range all {
		all[i] = d.moved(1/scale, 1/scale, 0, 0)
	}
	return s.steps.detector.suppress(all), nil
}

// tile is the part of the detector's canvas that its margin leaves.
func (d *detector) tile() (w, h int) {
	return int(math.Round(float64(d.w) * d.spec.Margin)), int(math.Round(float64(d.h) * d.spec.Margin))
}

// starts spaces spans of size evenly over total, each sharing at least tileShare with the next.
func starts(total, size int) []int {
	at := []int{0}
	if rest := total - size; rest > 0 {
		step := max(size-tileShare, (size+1)/2)
		n := (rest + step - 1) / step
		for i := 1; i <= n; i++ {
			at = append(at, rest*i/n)
		}
	}
	return at
}

// part copies the pixels of r.
func (m *Image) part(r rect) *Image {
	out := newImage(r.x1-r.x0, r.y1-r.y0)
	for y := range out.H {
		copy(out.row(y), m.row(r.y0 + y)[3*r.x0:])
	}
	return out
}

// smallOnes moves what was found on the tile t at (x, y) to its place on the level, without what is large, which the level
// before has found, and what an edge of the tile cuts, which a neighbour has whole.
func smallOnes(found []detection, level, t *Image, x, y int) []detection {
	w, h := float64(t.W), float64(t.H)
	found = slices.DeleteFunc(found, func(d detection) bool {
		return d.height() > tileShare || x > 0 && d.x1 < 0 || y > 0 && d.y1 < 0 ||
			x+t.W < level.W && d.x2 > w || y+t.H < level.H && d.y2 > h
	})
	for i, d := range found {
		found[i] = d.moved(1, 1, float64(x), float64(y))
	}
	return found
}
