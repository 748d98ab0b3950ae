package capture

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"image"
	"math"

	"mien/extract"
	"mien/extract/jpeg"
)

// Sizes of frames, in pixels.
const (
	leastSide   = 200  // of the shorter side
	longestSide = 1280 // the page sends 960 at the most, and 480 to be looked at
)

// picture is a frame, small.
type picture struct {
	width, height int // of the frame
	w, h          int // of pix: a half, a quarter or an eighth of that
	pix           []uint8
}

// openPicture reads a JPEG whose header states a size that is asked for: nothing of another is decoded. data are not retained. Errors: errNoJPEG, ctx's.
func openPicture(ctx context.Context, data []byte) (*picture, error) {
	photo, err := jpeg.Open(ctx, data, jpeg.Options{MaxPixels: longestSide * longestSide, Shrink: shrinkOf})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, errors.Join(errNoJPEG, err)
	}
	defer photo.Close()
	p := new(picture)
	p.width, p.height = photo.Size()
	if min(p.width, p.height) < leastSide || max(p.width, p.height) > longestSide {
		return nil, errNoJPEG
	}
	shrink := photo.Overview()
	p.w, p.h = p.width/shrink, p.height/shrink // whole pixels only: the last ones may show what fills a block
	p.pix = make([]uint8, 3*p.w*p.h)
	return p, photo.Region(ctx, p.pix, image.Rect(0, 0, p.w, p.h), shrink)
}

// shrinkOf leaves 60 pixels and more of the shorter side.
func shrinkOf(w, h int) int {
	switch side := min(w, h); {
	case side >= 480:
		return 8
	case side >= 240:
		return 4
	}
	return 2
}

// grey is the light of a pixel, from 0 to 255.
func (p *picture) grey(x, y int) float64 {
	c := p.pix[3*(y*p.w+x):]
	return .299*float64(c[0]) + .587*float64(c[1]) + .114*float64(c[2])
}

// light is the mean light of all of it, from 0 to 1.
func (p *picture) light() float64 {
	sum := 0.
	for y := range p.h {
		for x := range p.w {
			sum += p.grey(x, y)
		}
	}
	return sum / 255 / float64(p.w*p.h)
}

// around is the colour of what is around the face in b, which is in the frame's pixels, by the small picture that is at hand.
func (p *picture) around(b extract.Box) [3]float32 {
	k := float32(p.w) / float32(p.width)
	m := extract.Image{W: p.w, H: p.h, Pix: p.pix}
	return m.Around(extract.Box{X1: k * b.X1, Y1: k * b.Y1, X2: k * b.X2, Y2: k * b.Y2})
}

// A frame's print says whether a picture was sent before, in another session: it is of the picture, not of its bytes, and nobody without the tenant's
// key makes anything of it. A grid of 25×24 cells is laid over the frame. Where the light rises from one cell to the next by more than a share
// of the whole picture's contrast is a one, and the ones and zeros are four words, each with every fourth cell, of which a keyed hash is kept. Two
// words that are alike are the same picture: to save it again at another quality or brightness turns only cells that are near to the threshold. Whoever sits
// down again at the same desk moves what makes ones: of synthetic portraits before a wall that were saved again 32 of 32 have two words alike, of those that
// were moved by one percent of the frame's height or less 0 of 40. Finer grids lose what was saved again, coarser ones take what was moved for the same: of
// 12, 16, 20, 24 and 32 cells at shares of .1 to .4 this is the one without either (TestPrints).
const (
	printGrid  = 24
	printWords = 4
	printAlike = 2  // words of a frame
	printEdge  = .3 // of the standard deviation of the light
)

// print is the keyed hashes of a frame's words.
type print [printWords]uint64

// printOf is a frame's. key is the tenant's.
func printOf(key []byte, p *picture) (out print) {
	var bits [printWords][printGrid * printGrid / printWords / 8]byte
	cells, deviation := p.cells()
	for y := range printGrid {
		for x := range printGrid {
			if cells[y][x+1]-cells[y][x] > printEdge*deviation {
				word, at := (x+3*y)%printWords, (y*printGrid+x)/printWords
				bits[word][at/8] |= 1 << (at % 8)
			}
		}
	}
	for i, word := range bits {
		h := hmac.New(sha256.New, key)
		h.Write([]byte{byte(i)})
		h.Write(word[:])
		out[i] = binary.BigEndian.Uint64(h.Sum(nil))
	}
	return out
}

// cells are the mean light of each cell, and the standard deviation of all.
func (p *picture) cells() (cells [printGrid][printGrid + 1]float64, deviation float64) {
	sums := p.sums()
	at := func(x, y float64) float64 { // the sum of all before it, between pixels too
		x0, y0 := min(int(x), p.w-1), min(int(y), p.h-1)
		fx, fy := x-float64(x0), y-float64(y0)
		row := func(y int) float64 { return (1-fx)*sums[y*(p.w+1)+x0] + fx*sums[y*(p.w+1)+x0+1] }
		return (1-fy)*row(y0) + fy*row(y0+1)
	}
	w, h := float64(p.w)/(printGrid+1), float64(p.h)/printGrid
	var sum, squares float64
	for y := range printGrid {
		for x := range printGrid + 1 {
			x0, y0, x1, y1 := float64(x)*w, float64(y)*h, float64(x+1)*w, float64(y+1)*h
			v := (at(x1, y1) - at(x0, y1) - at(x1, y0) + at(x0, y0)) / (w * h)
			cells[y][x] = v
			sum, squares = sum+v, squares+v*v
		}
	}
	const n = printGrid * (printGrid + 1)
	return cells, math.Sqrt(max(squares/n-sum/n*sum/n, 0))
}

// sums is float64[h+1][w+1]: the light of all pixels above and to the left.
func (p *picture) sums() []float64 {
	stride := p.w + 1
	sums := make([]float64, stride*(p.h+1))
	for y := range p.h {
		line := 0.
		for x := range p.w {
			line += p.grey(x, y)
			sums[(y+1)*stride+x+1] = sums[y*stride+x+1] + line
		}
	}
	return sums
}
