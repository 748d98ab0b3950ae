package extract

import (
	"context"
	"image"
	"math"
	"sync"

	"mien/extract/jpeg"
)

// picture is a decoded photo, upright. All that the models see of it goes through overview and warp, so that a large
// photo need not exist in full: of a large JPEG there is an overview, and what a crop needs is decoded for it, as
// small as the crop allows. Safe for concurrent use.
type picture struct {
	W, H int    // of the upright photo in full
	view *Image // the whole photo, perhaps reduced
	seen rect   // the pixels of the photo in full that view covers

	shrink   int    // of view
	borrowed bool   // view is to be given back
	large    *large // nil where view is the photo in full
}

// large is a photo that is decoded by parts.
type large struct {
	w, h        int // of the upright photo
	orientation int
	mu          sync.Mutex
	photo       *jpeg.Photo // nil once closed. Protected by mu.
}

const (
	// smallPhoto is a number of pixels up to which a photo is decoded in full: there is little to gain, and
	// templates are those of the reference pipeline to the last bit.
	smallPhoto = 1 << 20
	// partPixels bounds the parts of a large photo that are in memory at once, but for what one row of a crop reads.
	// An overview for a canvas of 320×240 is no larger either.
	partPixels = keepBytes / 3
)

func newPicture(m *Image) *picture {
	return &picture{W: m.W, H: m.H, view: m, seen: rect{0, 0, m.W, m.H}, shrink: 1}
}

// newReduced takes over a JPEG and draws its overview.
func newReduced(photo *jpeg.Photo, orientation int) *picture {
	w, h := photo.Size()
	l := &large{orientation: orientation, photo: photo}
	l.w, l.h = orientedSize(orientation, w, h)
	shrink := photo.Overview()
	all := rect{0, 0, jpeg.Reduced(l.w, shrink), jpeg.Reduced(l.h, shrink)}
	p := &picture{W: l.w, H: l.h, view: l.part(all, shrink), seen: l.covers(shrink), shrink: shrink, borrowed: true}
	if shrink == 1 {
		l.close() // the view is all there is to know
	} else {
		p.large = l
	}
	return p
}

// overviewShrink is how much a photo of w×h pixels may be reduced to find faces in: to no less than twice its size on the
// detector's canvas, at scale canvas pixels a pixel.
func overviewShrink(w, h int, scale float64) int {
	if w*h <= smallPhoto {
		return 1
	}
	return powerOfTwo(1 / (2 * scale))
}

// powerOfTwo is the largest reduction of 1, 2, 4 and 8 that is at most limit, and 1 at least.
func powerOfTwo(limit float64) int {
	shrink := 1
	for shrink < 8 && float64(2*shrink) <= limit {
		shrink *= 2
	}
	return shrink
}

// close gives the photo's memory to the next one. After it, warp draws nothing of a large photo, and the overview must not be
// read. It is called once.
func (p *picture) close() {
	if p.large != nil {
		p.large.close()
	}
	if p.borrowed {
		p.view.giveBack()
	}
}

func (l *large) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.photo.Close()
	l.photo = nil
}

// overview is the whole photo, in full or reduced, but never to less than twice the detector's canvas, and the part of the
// photo in full that it covers: a few pixels more than the photo where that is no multiple of the reduction. The caller
// must not change it. It is valid until close.
func (p *picture) overview() (m *Image, covers rect) { return p.view, p.seen }

// warp draws the photo through m, which maps its full-size pixels to dst's (see the function warp).
//
// A crop of a face that is large in the photo comes from the overview: nothing is decoded for it.
//
// REQUIRES: m.regular().
func (p *picture) warp(dst *Image, m affine) {
	k := math.Sqrt(m.det())
	switch {
	case p.large == nil:
		warp(dst, p.view, m)
	case reducible(k, p.shrink):
		warp(dst, p.view, p.large.onReduced(m, p.shrink))
	default:
		p.large.warp(dst, m, reductionFor(k))
	}
}

// warp draws bands of dst whose parts of the photo are of a bounded size.
func (l *large) warp(dst *Image, m affine, shrink int) {
	m = l.onReduced(m, shrink)
	for y := 0; y < dst.H; {
		h, part := l.band(dst.W, dst.H-y, m, shrink)
		l.warpBand(&Image{W: dst.W, H: h, Pix: dst.Pix[3*dst.W*y : 3*dst.W*(y+h)]}, m, part, shrink)
		y += h
		m.ty -= float64(h)
	}
}

// band is how many of the next h rows of a crop through m are drawn at once, and which part of the reduced photo they read.
func (l *large) band(w, h int, m affine, shrink int) (int, rect) {
	for {
		part := l.reads(w, h, m, shrink)
		if h == 1 || (part.x1-part.x0)*(part.y1-part.y0) <= partPixels {
			return h, part
		}
		h = (h + 1) / 2
	}
}

// reads is what a w×h crop through m reads of the reduced photo, with what the blur reads around it.
func (l *large) reads(w, h int, m affine, shrink int) rect {
	around := blurSide(math.Sqrt(m.det())) - 1
	all := &Image{W: jpeg.Reduced(l.w, shrink), H: jpeg.Reduced(l.h, shrink)}
	r := footprint(m.inverse(), w, h, all)
	return rect{max(r.x0-around, 0), max(r.y0-around, 0), min(r.x1+around, all.W), min(r.y1+around, all.H)}
}

func (l *large) warpBand(dst *Image, m affine, r rect, shrink int) {
	if r.x1 <= r.x0 || r.y1 <= r.y0 {
		clear(dst.Pix)
		return
	}
	m.tx, m.ty = m.apply(float64(r.x0), float64(r.y0))
	from := l.part(r, shrink)
	defer from.giveBack()
	warp(dst, from, m)
}

// reductionFor is the most by which the photo may be reduced for a crop of scale k.
func reductionFor(k float64) int {
	shrink := 8
	for shrink > 1 && !reducible(k, shrink) {
		shrink /= 2
	}
	return shrink
}

// reducible says that the photo may be reduced by shrink for a crop of scale k < 0.5: by no more than 1/2k, and so that the box
// blur which is left, in full pixels, is off by a sixth at most. Without that a crop may be blurred by 8 pixels instead
// of 10, and a template be at cosine 0.9995 to the whole photo's instead of 0.9998.
func reducible(k float64, shrink int) bool {
	if shrink > 1 && 2*k*float64(shrink) > 1 {
		return false
	}
	full, left := blurSide(k), shrink*blurSide(k*float64(shrink))
	return max(full-left, left-full)*6 <= full
}

// onReduced is m for the pixels of the upright photo reduced by shrink, of which pixel i lies at shrink·i + (shrink−1)/2 of
// what they cover. An even box blur moves what it blurs by half a pixel; m makes up for the difference between the pixels of both sizes.
func (l *large) onReduced(m affine, shrink int) affine {
	if shrink == 1 {
		return m
	}
	s, k := float64(shrink), math.Sqrt(m.det())
	at := (s-1)/2 + evenShift(k) - s*evenShift(k*s)
	all := l.covers(shrink)
	tx, ty := m.apply(float64(all.x0)+at, float64(all.y0)+at)
	return affine{m.a * s, m.b * s, tx, m.c * s, m.d * s, ty}
}

// covers is the part of the upright photo that its pixels reduced by shrink cover. They may reach beyond the photo, at the
// end of what is stored, and so at its begin where it is shown flipped.
func (l *large) covers(shrink int) rect {
	w, h := shrink*jpeg.Reduced(l.w, shrink), shrink*jpeg.Reduced(l.h, shrink)
	r := rect{0, 0, w, h}
	switch l.orientation {
	case 2, 3, 6, 7:
		r.x0, r.x1 = l.w-w, l.w
	}
	switch l.orientation {
	case 3, 4, 7, 8:
		r.y0, r.y1 = l.h-h, l.h
	}
	return r
}

// evenShift is how far to the left and up the blur for scale k looks.
func evenShift(k float64) float64 {
	if blurSide(k)%2 == 0 {
		return .5
	}
	return 0
}

// part decodes the part r of the upright photo reduced by shrink into a borrowed image.
func (l *large) part(r rect, shrink int) *Image {
	out := borrowImage(r.x1-r.x0, r.y1-r.y0)
	if l.orientation == 1 {
		l.decode(out, r.x0, r.y0, shrink)
		return out
	}
	w, h := jpeg.Reduced(l.w, shrink), jpeg.Reduced(l.h, shrink)
	x0, y0 := orientedAt(inverseOrientation(l.orientation), r.x0, r.y0, w, h)
	x1, y1 := orientedAt(inverseOrientation(l.orientation), r.x1-1, r.y1-1, w, h)
	stored := borrowImage(max(x0, x1)+1-min(x0, x1), max(y0, y1)+1-min(y0, y1))
	defer stored.giveBack()
	l.decode(stored, min(x0, x1), min(y0, y1), shrink)
	return orient(out, stored, l.orientation)
}

// decode fills m with what is stored at (x, y) of the reduced photo; with black once the photo is closed. It does without
// the caller's context, for a bounded part: what is drawn is then always whole.
func (l *large) decode(m *Image, x, y, shrink int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.photo == nil {
		clear(m.Pix)
		return
	}
	if err := l.photo.Region(context.Background(), m.Pix, image.Rect(x, y, x+m.W, y+m.H), shrink); err != nil {
		panic("BUG: extract: " + err.Error())
	}
}

// inverseOrientation undoes an orientation.
func inverseOrientation(o int) int {
	switch o {
	case 6:
		return 8
	case 8:
		return 6
	}
	return o
}
