package jpeg

import (
	"context"
	"errors"
	"fmt"
	"image"
	"sync"
)

// Errors of Open. Each is wrapped in text that says what was found.
var (
	// ErrFormat: the bytes are no JPEG, or a damaged one.
	ErrFormat = errors.New("jpeg: invalid format")
	// ErrTruncated: the JPEG begins well and ends too early.
	ErrTruncated = errors.New("jpeg: the data end too early")
	// ErrUnsupported: arithmetic coding, lossless, hierarchical, 12 bits, unusual sampling, CMYK without Adobe's marker.
	ErrUnsupported = errors.New("jpeg: unsupported kind")
)

// SizeError says that the header states more pixels than the caller allows.
type SizeError struct{ Width, Height, Max int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("jpeg: %d×%d has more than the %d pixels allowed", e.Width, e.Height, e.Max)
}

// Options of Open.
type Options struct {
	// MaxPixels is the largest photo that is decoded, by its header. Zero allows none.
	MaxPixels int
	// Shrink chooses the reduction of the overview, 1, 2, 4 or 8, from the photo's size; nil: 1.
	Shrink func(width, height int) int
}

// Photo is a JPEG whose coded data have been read once. Not safe for concurrent use.
type Photo struct {
	frame
	data     []byte // only while Open reads it
	at       int    // of data
	interval int    // MCUs between restart markers in the scans that follow
	quant    [4][64]int32
	jfif     bool
	adobe    int // transform of APP14, −1 without
	scans    int
	stored   bool // the coefficients are in memory; else once and the marks say how to decode again
	once     scan
	model    model
	reader   reader
	scratch  block
	shrink   int
	overview target
	*memory
}

// memory is what photos hand on to one another.
type memory struct {
	huff     huffman
	late     *huffman // defined behind the scan that can be decoded again
	clean    []byte   // coded data without stuffing
	marks    []mark
	starts   []int
	overview []uint8 // planes
	region   []uint8
	coef     [4][][64]int16
	busy     [4][]uint64
	rows     rows
}

var pool = sync.Pool{New: func() any { return new(memory) }}

// What a pool's member keeps at most; 12 megapixels of 4:2:0 at full size take 18 MB of planes, 36 of coefficients.
const (
	keepBytes  = 20 << 20
	keepBlocks = 40 << 20 / 128
)

func (m *memory) release() {
	for _, b := range []*[]byte{&m.clean, &m.overview, &m.region} {
		if cap(*b) > keepBytes {
			*b = nil
		}
	}
	for i := range m.coef {
		if cap(m.coef[i]) > keepBlocks {
			m.coef[i], m.busy[i] = nil, nil
		}
	}
	for i := range m.huff {
		for j := range m.huff[i] {
			m.huff[i][j].forget()
		}
	}
	m.late = nil
	pool.Put(m)
}

// store gives component i, which is c, n blocks of zeros.
func (m *memory) store(c *component, i, n int) {
	if cap(m.coef[i]) < n {
		m.coef[i], m.busy[i] = make([][64]int16, n), make([]uint64, n)
	}
	c.coef, c.busy = m.coef[i][:n], m.busy[i][:n]
	clear(c.coef)
	clear(c.busy)
}

// target is a rectangle of MCUs drawn into planes at a reduction.
type target struct {
	shrink         int
	x0, y0, x1, y1 int // MCUs
	planes         [4]plane
}

// plane is a component in a target.
type plane struct {
	pix     []uint8
	stride  int
	shrink  int // of the component: less than the target's where the component is stored reduced both ways
	rx, ry  int // pixels of the target that a sample is wide and high
	last    int // index of the zig-zag up to which coefficients are read
	factors [64]int32
	x0, y0  int // first sample
	size    int // samples of a block in one direction
}

// plan says how component i is drawn at a reduction.
func (p *Photo) plan(i, shrink int) plane {
	rx, ry := p.comp[0].h/p.comp[i].h, p.comp[0].v/p.comp[i].v
	own := max(shrink/min(rx, ry), 1)
	return plane{shrink: own, rx: rx * own / shrink, ry: ry * own / shrink, last: lastOf(own), size: 8 / own}
}

// prepare gives t planes in mem for the MCUs from (x0, y0) to before (x1, y1). Components that no scan has are 0.
func (p *Photo) prepare(t *target, mem *[]uint8, x0, y0, x1, y1, shrink int) {
	*t = target{shrink: shrink, x0: x0, y0: y0, x1: x1, y1: y1}
	need := 0
	for i := range p.comp {
		t.planes[i] = p.plan(i, shrink)
		size := t.planes[i].size
		need += (x1 - x0) * (y1 - y0) * p.comp[i].h * p.comp[i].v * size * size
	}
	if cap(*mem) < need {
		*mem = make([]uint8, need)
	}
	rest := (*mem)[:need]
	for i := range p.comp {
		c, pl := &p.comp[i], &t.planes[i]
		pl.x0, pl.y0 = x0*c.h*pl.size, y0*c.v*pl.size
		pl.stride = (x1 - x0) * c.h * pl.size
		n := pl.stride * (y1 - y0) * c.v * pl.size
		pl.pix, rest = rest[:n:n], rest[n:]
		pl.factors = scaled(&c.q, pl.shrink)
		if !c.scanned {
			clear(pl.pix)
		}
	}
}

// errAgain: what seemed to have one scan has several.
var errAgain = errors.New("jpeg: several scans")

// Open reads all of data and decodes an overview.
//
// Data are not retained. It stops when ctx ends. Errors: ErrFormat, ErrTruncated, ErrUnsupported, *SizeError, ctx's cause.
// The caller must Close the photo.
func Open(ctx context.Context, data []byte, o Options) (*Photo, error) {
	p, err := open(ctx, data, o, false)
	if err == errAgain {
		p, err = open(ctx, data, o, true)
	}
	return p, err
}

func open(ctx context.Context, data []byte, o Options, stored bool) (*Photo, error) {
	p := &Photo{data: data, adobe: -1, stored: stored, memory: pool.Get().(*memory)}
	if err := p.read(ctx, o); err != nil {
		p.Close()
		return nil, err
	}
	p.data = nil
	return p, nil
}

// Close gives the photo's memory to the next one. The photo must not be used after.
func (p *Photo) Close() {
	if p.memory != nil {
		p.memory.release()
		p.memory = nil
	}
}

func (p *Photo) read(ctx context.Context, o Options) error {
	if len(p.data) < 2 || p.data[0] != 0xff || p.data[1] != markerSOI {
		return fmt.Errorf("%w: no JPEG", ErrFormat)
	}
	for p.at = 2; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		marker, next, err := nextMarker(p.data, p.at)
		if err != nil {
			return err
		}
		if p.at = next; marker == markerEOI {
			return p.finish(ctx)
		}
		if marker >= markerRST0 && marker <= markerRST7 {
			continue
		}
		body, next, err := segment(p.data, p.at)
		if err != nil {
			return err
		}
		p.at = next
		if err := p.segment(ctx, marker, body, o); err != nil {
			return err
		}
	}
}

func (p *Photo) segment(ctx context.Context, marker uint8, body []byte, o Options) error {
	switch marker {
	case markerSOF0, markerSOF1, markerSOF2:
		return p.begin(marker, body, o)
	case markerDHT:
		return p.tables().parse(body, p.baseline)
	case markerDQT:
		return parseDQT(&p.quant, body)
	case markerDRI:
		if len(body) != 2 {
			return fmt.Errorf("%w: restart interval of wrong length", ErrFormat)
		}
		p.interval = int(body[0])<<8 | int(body[1])
	case markerSOS:
		return p.scan(ctx, body)
	case markerAPP0:
		if len(body) >= 5 {
			p.jfif = string(body[:5]) == "JFIF\x00"
		}
	case markerAPP14:
		if len(body) >= 12 && string(body[:5]) == "Adobe" {
			p.adobe = int(body[11])
		}
	default:
		switch {
		case marker < markerSOF0:
			return fmt.Errorf("%w: marker %#x", ErrFormat, marker)
		case marker < markerAPP0 || marker > markerAPP15 && marker != markerCOM:
			return fmt.Errorf("%w: marker %#x", ErrUnsupported, marker)
		}
	}
	return nil
}

// begin reads the frame header and decides by its size.
func (p *Photo) begin(marker uint8, body []byte, o Options) error {
	if err := p.parseSOF(body, marker); err != nil {
		return err
	}
	if p.width == 0 || p.height == 0 {
		return fmt.Errorf("%w: %d×%d", ErrFormat, p.width, p.height)
	}
	if int64(p.width)*int64(p.height) > int64(o.MaxPixels) {
		return &SizeError{p.width, p.height, o.MaxPixels}
	}
	p.shrink = 1
	if o.Shrink != nil {
		p.shrink = o.Shrink(p.width, p.height)
	}
	return nil
}

// tables are the Huffman tables that a definition goes to: not those with which regions are decoded again.
func (p *Photo) tables() *huffman {
	if p.scans == 0 || p.stored {
		return &p.memory.huff
	}
	if p.memory.late == nil {
		p.memory.late = new(huffman)
	}
	return p.memory.late
}

func (p *Photo) scan(ctx context.Context, body []byte) error {
	s, err := p.parseSOS(body, &p.memory.huff)
	if err != nil {
		return err
	}
	s.interval = p.interval
	p.scans++
	switch {
	case p.scans > maxScans:
		return fmt.Errorf("%w: more than %d scans", ErrFormat, maxScans)
	case p.scans == 1:
		p.stored = p.stored || p.progressive || len(s.coders) < len(p.comp)
	case !p.stored:
		return errAgain
	}
	if err := p.admit(&s); err != nil {
		return err
	}
	if p.stored {
		return p.store(ctx, &s)
	}
	p.once = s
	return p.stream(ctx, &p.once)
}

// admit notes which components the scan has. A block's DC takes a bit at least, so data too short for that are refused before
// memory is taken for the blocks; AC coefficients may be shorter, but follow DC.
func (p *Photo) admit(s *scan) error {
	for i := range s.coders {
		c := &p.comp[s.coders[i].comp]
		if s.first > 0 && !c.scanned {
			return fmt.Errorf("%w: AC coefficients before DC", ErrFormat)
		}
		blocks := (p.width + 7) / 8 * ((p.height + 7) / 8) * c.h * c.v / (p.comp[0].h * p.comp[0].v)
		if s.first == 0 && blocks/8 > len(p.data)-p.at {
			return ErrTruncated
		}
		c.scanned, c.q = true, p.quant[c.tq]
	}
	return nil
}

// finish draws the overview where stream has not, and settles what the colours are.
func (p *Photo) finish(ctx context.Context) error {
	if p.scans == 0 {
		return fmt.Errorf("%w: no scan", ErrFormat)
	}
	if !p.stored {
		return p.settle()
	}
	for i := range p.comp {
		if c := &p.comp[i]; p.progressive {
			c.q = p.quant[c.tq]
		}
	}
	p.prepare(&p.overview, &p.memory.overview, 0, 0, p.mcusX, p.mcusY, p.shrink)
	if err := p.fromStore(ctx, &p.overview); err != nil {
		return err
	}
	return p.settle()
}

// Size of the photo as it is stored, in pixels. EXIF's orientation is not looked at.
func (p *Photo) Size() (width, height int) { return p.width, p.height }

// Overview is the reduction at which the whole photo is at hand: regions at it cost no decoding.
func (p *Photo) Overview() int { return p.shrink }

// Reduced is how many pixels n pixels become: n / shrink, rounded up.
func Reduced(n, shrink int) int { return (n + shrink - 1) / shrink }

// Region writes the pixels of r as RGB, uint8[r.Dy()][r.Dx()][3], to dst.
//
// r is in pixels of the photo reduced by shrink, which is 1, 2, 4 or 8, so within Reduced(width) × Reduced(height): pixel
// (x, y) is the mean of the photo's pixels from (shrink·x, shrink·y) to before (shrink·(x+1), shrink·(y+1)), but
// for frequencies that would alias. Whatever r is, a pixel has the same value. The last column and row may reach over the
// photo's edge into what the encoder filled its last blocks with.
//
// It stops when ctx ends, with ctx's cause, its only error. In the steady state it doesn't allocate.
//
// REQUIRES: r is not empty and lies in the reduced photo; len(dst) ≥ 3·r.Dx()·r.Dy().
func (p *Photo) Region(ctx context.Context, dst []uint8, r image.Rectangle, shrink int) error {
	if shrink == p.shrink {
		p.paint(dst, r, &p.overview)
		return nil
	}
	var t target
	colour := p.plan(len(p.comp)/2, shrink)
	c := &p.comp[len(p.comp)/2]
	x0, x1 := mcuSpan(r.Min.X, r.Max.X, Reduced(p.width, shrink), colour.rx, colour.size*c.h)
	y0, y1 := mcuSpan(r.Min.Y, r.Max.Y, Reduced(p.height, shrink), colour.ry, colour.size*c.v)
	p.prepare(&t, &p.memory.region, x0, y0, x1, y1, shrink)
	draw := p.again
	if p.stored {
		draw = p.fromStore
	}
	if err := draw(ctx, &t); err != nil {
		return err
	}
	p.paint(dst, r, &t)
	return nil
}

// mcuSpan is which MCUs hold the samples for pixels from lo to before hi of n: a sample of colour is ratio pixels, an MCU has
// unit of them, and interpolation reads one more on each side.
func mcuSpan(lo, hi, n, ratio, unit int) (first, end int) {
	if ratio > 1 {
		lo, hi = max(lo-ratio, 0), min(hi+ratio, n)
	}
	return lo / ratio / unit, ((hi-1)/ratio + unit) / unit
}
