package extract

import (
	"context"
	"math"
	"slices"
)

// A group photo has faces that are too small on the detector's canvas: it finds those of 20 canvas pixels and more
// (98 % at 20, 80 % at 15, none below 8). So the photo is looked at again, level by level at twice the scale, in tiles
// that overlap by more than the height of a face that the level before may have missed. Most photos never get there:
// it ends with the first level that gives no reason to look closer (see mayHideSmaller).
//
// Where one face is wanted and the whole photo shows none, the same is done: one face is found from some 4 % of the
// photo's height on (TestSmallFaceAlone). A photo of 12 megapixels without a face then takes three to four times as long as
// its first look, and is read twice; one of 640×480 as long as before (BenchmarkNoFace).
//
// A level is drawn one row of tiles at a time, in memory of a bounded size, and the tiles of a row go to idle cores.
const (
	smallFace = 48            // canvas pixels: a level that finds one as small may have missed smaller ones
	sureFace  = 24            // canvas pixels: a box is good to a few source pixels
	tileShare = 2 * smallFace // canvas pixels that neighbouring tiles share
	lastScale = .8            // canvas pixels for a source pixel: a face of 25 source pixels has 20 there
	maxTiles  = 1024          // of a photo; a level that would need more is left out
	hintShare = .625          // of the least score of a face: what may be one

	sameFace = .55 // of the smaller box inside another, over levels: the same face
)

// With SelectAll faces are found down to 25 pixels' height, in photos of more than 25 megapixels down to 50, if the largest
// shows at twice the detector's canvas: by 4 of 480 pixels where there are many. Of those this many are returned, the best
// detections. Both bounds are the same work: a face's quality and liveness take three times as long as its template.
const (
	MaxFaces       = 512
	MaxJudgedFaces = 128 // with WantQuality or WantLiveness
)

// maxFaces is how many faces of a photo are returned at most.
func (w Want) maxFaces() int {
	if w&(WantQuality|WantLiveness) != 0 {
		return MaxJudgedFaces
	}
	return MaxFaces
}

// detectGroup finds the faces of p down to 25 pixels, the best most of them, best first.
func (s *stages) detectGroup(ctx context.Context, p *picture, most int) ([]detection, error) {
	d, left := s.steps.detector, maxTiles
	seen, err := s.sight(ctx, p, d.hint())
	if err != nil {
		return nil, err
	}
	kept := d.sure(seen)
	for at := d.scale(p.W, p.H); left == maxTiles && len(kept) == 0 || d.mayHideSmaller(seen, at); at *= 2 {
		z := newZoom(s, p, 2*at)
		if left -= z.tiles(); z.scale > lastScale || left < 0 {
			break
		}
		if seen, err = z.look(ctx); err != nil {
			return nil, err
		}
		kept = merge(kept, d.sure(seen), at)
	}
	sortByScore(kept)
	return kept[:min(len(kept), most)], nil
}

// mayLookCloser says that a photo of w×h pixels has a level after the whole.
func (d *detector) mayLookCloser(w, h int) bool { return 2*d.scale(w, h) <= lastScale }

// hint is the score of what may be a face.
func (d *detector) hint() float64 { return hintShare * d.spec.Score }

// sure returns those of seen, best first, that are faces.
func (d *detector) sure(seen []detection) []detection {
	n := slices.IndexFunc(seen, func(f detection) bool { return !(f.score > float32(d.spec.Score)) })
	if n < 0 {
		n = len(seen)
	}
	return slices.Clone(seen[:n])
}

// mayHideSmaller says that what was seen at scale is a reason to look closer: a small face or, where there is no face, a small
// thing that may be one. A blank photo shows none, so it costs one level; a crowd of nothing but tiny faces shows hints.
func (d *detector) mayHideSmaller(seen []detection, scale float64) bool {
	if sure := d.sure(seen); len(sure) > 0 {
		seen = sure
	}
	return slices.ContainsFunc(seen, func(f detection) bool { return f.height()*scale < smallFace })
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

// zoom is a photo at a scale, looked at in tiles.
type zoom struct {
	*stages
	photo        *picture
	scale        float64
	w, h         int
	tileW, tileH int
	seen         []detection // in pixels of the level
}

func newZoom(s *stages, p *picture, scale float64) *zoom {
	z := &zoom{stages: s, photo: p, scale: scale}
	z.w, z.h = max(int(float64(p.W)*scale), 1), max(int(float64(p.H)*scale), 1)
	z.tileW, z.tileH = s.steps.detector.tile()
	z.tileW, z.tileH = min(z.tileW, z.w), min(z.tileH, z.h)
	return z
}

// tile is the part of the detector's canvas that its margin leaves.
func (d *detector) tile() (w, h int) {
	return int(math.Round(float64(d.w) * d.spec.Margin)), int(math.Round(float64(d.h) * d.spec.Margin))
}

func (z *zoom) tiles() int { return spans(z.w, z.tileW) * spans(z.h, z.tileH) }

// look finds the small faces of the photo, and what may be some, best first.
func (z *zoom) look(ctx context.Context) ([]detection, error) {
	wide := max(partPixels/(z.tileW*z.tileH), 1) // tiles of a row at once
	for xs := range slices.Chunk(starts(z.w, z.tileW), wide) {
		if err := z.lookDown(ctx, xs); err != nil {
			return nil, err
		}
	}
	for i, d := range z.seen {
		z.seen[i] = d.moved(1/z.scale, 1/z.scale, 0, 0)
	}
	return z.steps.detector.suppress(z.seen), nil
}

// lookDown looks at the tiles that begin at the columns xs, row by row. What a row shares with the one before is drawn once.
func (z *zoom) lookDown(ctx context.Context, xs []int) error {
	band := borrowImage(xs[len(xs)-1]+z.tileW-xs[0], z.tileH)
	defer band.giveBack()
	drawn := 0 // rows of the level
	for _, y := range starts(z.h, z.tileH) {
		old := max(drawn-y, 0)
		copy(band.Pix, band.Pix[3*band.W*(band.H-old):])
		z.draw(&Image{W: band.W, H: band.H - old, Pix: band.Pix[3*band.W*old:]}, xs[0], y+old)
		drawn = y + band.H
		if err := z.lookAlong(ctx, band, xs, y); err != nil {
			return err
		}
		if len(z.seen) > 8*MaxFaces {
			return nil // no photo of people
		}
	}
	return nil
}

// draw fills m with the level's pixels from (x, y) on, so many rows at once as read a part of the photo of a bounded size:
// where it is reduced, that part is blurred first.
func (z *zoom) draw(m *Image, x, y int) {
	at := .5*z.scale - .5
	rows := max(int(.75*partPixels*z.scale*z.scale)/m.W, 1)
	for from := 0; from < m.H; from += rows {
		to := min(from+rows, m.H)
		some := &Image{W: m.W, H: to - from, Pix: m.Pix[3*m.W*from : 3*m.W*to]}
		z.photo.warp(some, affine{z.scale, 0, at - float64(x), 0, z.scale, at - float64(y+from)})
	}
}

// lookAlong looks at a row of tiles: those of the band at y that begin at the columns xs of the level.
func (z *zoom) lookAlong(ctx context.Context, band *Image, xs []int, y int) error {
	seen := make([][]detection, len(xs))
	err := z.cores.spread(len(xs), func(i int) error {
		from := xs[i] - xs[0]
		tile := band.part(rect{from, 0, from + z.tileW, z.tileH})
		defer tile.giveBack()
		found, err := z.sight(ctx, newPicture(tile), z.steps.detector.hint())
		seen[i] = z.smallOnes(found, xs[i], y)
		return err
	})
	z.seen = append(z.seen, slices.Concat(seen...)...)
	return err
}

// part copies the pixels of r into a borrowed image.
func (m *Image) part(r rect) *Image {
	out := borrowImage(r.x1-r.x0, r.y1-r.y0)
	for y := range out.H {
		copy(out.row(y), m.row(r.y0 + y)[3*r.x0:])
	}
	return out
}

// smallOnes moves what was found on the tile at (x, y) to its place on the level, without what is large, which the level
// before has found, and what an edge of the tile cuts, which a neighbour has whole.
func (z *zoom) smallOnes(found []detection, x, y int) []detection {
	w, h := float64(z.tileW), float64(z.tileH)
	found = slices.DeleteFunc(found, func(d detection) bool {
		return d.height() > tileShare || x > 0 && d.x1 < 0 || y > 0 && d.y1 < 0 ||
			x+z.tileW < z.w && d.x2 > w || y+z.tileH < z.h && d.y2 > h
	})
	for i, d := range found {
		found[i] = d.moved(1, 1, float64(x), float64(y))
	}
	return found
}

// spans is how many of size, each sharing at least tileShare with the next, cover total.
func spans(total, size int) int {
	step := max(size-tileShare, (size+1)/2)
	return 1 + (max(total-size, 0)+step-1)/step
}

// starts spaces spans evenly.
func starts(total, size int) []int {
	at := make([]int, spans(total, size))
	for i := range at {
		at[i] = max(total-size, 0) * i / max(len(at)-1, 1)
	}
	return at
}
