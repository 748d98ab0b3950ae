package jpeg

import (
	"context"
	"fmt"
	"math/bits"
)

// Here is what needs the coefficients of the whole photo in memory: progressive frames, and sequential ones
// whose components come in several scans. The walks are the standard library's, including that restart intervals
// of a scan of one component are counted in MCUs of the frame.

// store decodes a scan into the coefficients.
func (p *Photo) store(ctx context.Context, s *scan) error {
	p.makeRoom(s)
	in := segments{data: p.data, next: p.at}
	if err := in.begin(&p.reader, &p.memory.clean); err != nil {
		return err
	}
	mcus, visit := p.mcusX*p.mcusY, p.visitor(s)
	for mcu := range mcus {
		if mcu%p.mcusX == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.restarts(mcu) {
			start, err := in.restart(&p.reader)
			if err != nil {
				return err
			}
			s.restart(&p.reader, start)
		}
		if err := p.visitMCU(s, mcu, visit); err != nil {
			if err == errBits {
				err = in.fault(&p.reader)
			}
			return err
		}
	}
	p.at = in.next
	p.memory.clean = p.reader.buf
	return nil
}

// makeRoom gives the scan's components memory where they have none yet.
func (p *Photo) makeRoom(s *scan) {
	for i := range s.coders {
		if c := &p.comp[s.coders[i].comp]; c.coef == nil {
			p.memory.store(c, s.coders[i].comp, p.blocksX(c)*p.blocksY(c))
		}
	}
}

// errBits stands for segments.fault.
var errBits = fmt.Errorf("%w: bits", ErrFormat)

// visitor is how a scan decodes one block; it returns nil, errBits or another error.
func (p *Photo) visitor(s *scan) func(c *coder, b *[64]int16, busy *uint64) error {
	r := &p.reader
	switch {
	case !p.progressive:
		return r.wholeBlock
	case s.first == 0 && s.high == 0:
		return func(c *coder, b *[64]int16, _ *uint64) error { return r.firstDC(c, b, s.low) }
	case s.first == 0:
		return func(_ *coder, b *[64]int16, _ *uint64) error {
			b[0] |= int16(r.take(1) << s.low)
			return nil
		}
	case s.high == 0:
		return func(c *coder, b *[64]int16, busy *uint64) error { return r.firstAC(c.ac, b, busy, s) }
	}
	return func(c *coder, b *[64]int16, busy *uint64) error { return r.refineAC(c.ac, b, busy, s) }
}

func (p *Photo) visitMCU(s *scan, mcu int, visit func(*coder, *[64]int16, *uint64) error) error {
	for i := range s.coders {
		c := &s.coders[i]
		blocksX := p.blocksX(&p.comp[c.comp])
		coef, busy := p.comp[c.comp].coef, p.comp[c.comp].busy
		for j := range c.h * c.v {
			bx, by := mcu%p.mcusX*c.h+j%c.h, mcu/p.mcusX*c.v+j/c.h
			if len(s.coders) == 1 {
				at := mcu*c.h*c.v + j
				bx, by = at%blocksX, at/blocksX
				if bx*8 >= p.width || by*8 >= p.height {
					continue
				}
			}
			at := by*blocksX + bx
			if s.first > 0 && p.reader.eobRun > 0 && busy[at] == 0 { // nothing to refine
				p.reader.eobRun--
				continue
			}
			if err := visit(c, &coef[at], &busy[at]); err != nil {
				return err
			}
			if p.reader.drained() {
				return errBits
			}
		}
	}
	return nil
}

// unit are factors that leave coefficients as they are coded.
var unit = func() (f [64]int32) {
	for i := range f {
		f[i] = 1
	}
	return f
}()

// wholeBlock reads a block of a sequential scan.
func (r *reader) wholeBlock(c *coder, out *[64]int16, _ *uint64) error {
	var b block
	if r.block(c, &b, &unit, 63) < 0 {
		return errBits
	}
	for i, v := range b {
		out[i] = int16(v)
	}
	return nil
}

func (r *reader) firstDC(c *coder, b *[64]int16, low int) error {
	size, ok := r.symbol(c.dc)
	if !ok || size > 16 {
		return errBits
	}
	c.predict += int16(r.extended(int(size)))
	b[0] = c.predict << low
	return nil
}

// fits returns v << low where the coefficients can hold it.
func fits(v, low int) (int16, error) {
	if v <<= low; v != int(int16(v)) {
		return 0, fmt.Errorf("%w: a coefficient of %d", ErrFormat, v)
	}
	return int16(v), nil
}

// firstAC reads the first bits of a band of coefficients (G.1.2.2).
func (r *reader) firstAC(t *table, b *[64]int16, busy *uint64, s *scan) (err error) {
	if r.eobRun > 0 {
		r.eobRun--
		return nil
	}
	for k := s.first; k <= s.last; k++ {
		symbol, ok := r.symbol(t)
		if !ok {
			return errBits
		}
		run, size := int(symbol>>4), int(symbol&15)
		switch {
		case size > 0:
			if k += run; k > s.last {
				return nil
			}
			if b[natural[k]&63], err = fits(r.extended(size), s.low); err != nil {
				return err
			}
			*busy |= 1 << k
		case run == 15:
			k += 15
		default:
			r.eobRun = 1<<run | r.take(run) - 1
			return nil
		}
	}
	return nil
}

// refineAC reads one more bit of a band (G.1.2.3).
func (r *reader) refineAC(t *table, b *[64]int16, busy *uint64, s *scan) error {
	k := s.first
	for r.eobRun == 0 && k <= s.last {
		symbol, ok := r.symbol(t)
		if !ok {
			return errBits
		}
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 && run < 15 {
			r.eobRun = 1<<run | r.take(run)
			break
		}
		var v int16
		switch size {
		case 0:
		case 1:
			v = int16(2*r.take(1)-1) << s.low
		default:
			return fmt.Errorf("%w: a refinement by %d bits", ErrFormat, size)
		}
		var err error
		if k, err = r.correct(b, *busy, k, s, run); err != nil {
			return err
		}
		if k > s.last {
			return fmt.Errorf("%w: too many coefficients", ErrFormat)
		}
		if v != 0 {
			b[natural[k]&63] = v
			*busy |= 1 << k
		}
		k++
	}
	if r.eobRun > 0 {
		r.eobRun--
		_, err := r.correct(b, *busy, k, s, 64)
		return err
	}
	return nil
}

// correct reads a bit for each coefficient that isn't 0, which busy tells, from index k on until zeros of those that
// are have been passed; it returns the index of the next that is, or one behind the band. So a step costs a bit of the data: a few bytes may
// refine a photo without end, but only what took bytes to be there.
func (r *reader) correct(b *[64]int16, busy uint64, k int, s *scan, zeros int) (int, error) {
	for rest := busy >> k << k & (2<<s.last - 1); rest != 0; rest &= rest - 1 {
		next := bits.TrailingZeros64(rest)
		if next-k > zeros {
			break
		}
		zeros, k = zeros-(next-k), next+1
		if r.take(1) == 0 {
			continue
		}
		at := natural[next&63] & 63
		step := 1 << s.low
		if b[at] < 0 {
			step = -step
		}
		var err error
		if b[at], err = fits(int(b[at])+step, 0); err != nil {
			return 0, err
		}
	}
	return k + zeros, nil
}

// fromStore draws the blocks of t from the coefficients.
func (p *Photo) fromStore(ctx context.Context, t *target) error {
	for i := range p.comp {
		c := &p.comp[i]
		if !c.scanned {
			continue
		}
		for by := t.y0 * c.v; by < t.y1*c.v; by++ {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			p.drawBlocks(t, i, by)
		}
	}
	return nil
}

// drawBlocks draws one row of blocks of component i.
func (p *Photo) drawBlocks(t *target, i, by int) {
	c, pl := &p.comp[i], &t.planes[i]
	row := c.coef[by*p.blocksX(c):][t.x0*c.h : t.x1*c.h]
	for bx := range row {
		last := dequantise(&p.scratch, &row[bx], &pl.factors, pl.last)
		inverse(pl.pix[((by-t.y0*c.v)*pl.stride+bx)*pl.size:], pl.stride, &p.scratch, last, pl.shrink)
	}
	clear(p.scratch[:])
}

// dequantise writes the coefficients up to index limit of the zig-zag, and returns the last that is not 0.
func dequantise(b *block, coef *[64]int16, factors *[64]int32, limit int) (last int) {
	for k := range limit + 1 {
		at := natural[k&63] & 63
		v := int32(coef[at])
		b[at] = v * factors[k&63]
		if v != 0 {
			last = k
		}
	}
	return last
}
