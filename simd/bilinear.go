package simd

import "math"

// Ramp is a coordinate of pixels in a row: A[i] + B + T − O, added in this order. A rises or falls from end to end.
type Ramp struct {
	A       []float64
	B, T, O float64
}

func (r *Ramp) at(i int) float64 { return r.A[i] + r.B + r.T - r.O }

// reaches is the whole part of the largest coordinate, or −1 where one is negative.
func (r *Ramp) reaches() int {
	first, last := r.at(0), r.at(len(r.A)-1)
	if !(min(first, last) >= 0 && max(first, last) < 1<<30) { // NaN fails too
		return -1
	}
	return int(max(first, last)+1) - 1
}

// Bilinear sets out, uint8[len(x.A)][3], to the colours at (x, y) of a picture, uint8[…][width][3]: pixels' centres have whole
// coordinates, and between four of them is interpolated, first along the rows, in float32, every product rounded. Every level
// gives the same. It panics if lengths don't fit or a place at the ends has no four pixels around it. Allocates nothing.
//
// REQUIRES: A of both rises or falls.
func Bilinear(out, pix []uint8, width int, x, y *Ramp) {
	n := len(x.A)
	if len(y.A) != n || len(out) != 3*n {
		panic("BUG: simd: Bilinear: out, x and y don't fit")
	}
	if n == 0 {
		return // of a picture of any size, none included
	}
	if width < 1 {
		panic("BUG: simd: Bilinear: a picture without pixels")
	}
	height := len(pix) / (3 * width)
	right, down := x.reaches(), y.reaches()
	if uint(right) >= uint(width-1) || uint(down) >= uint(height-1) {
		panic("BUG: simd: Bilinear: a place outside")
	}
	done := 0
	if down < height-2 && len(pix) <= math.MaxInt32 { // there is something behind the last pixel
		done = bilinear(out, pix, 3*width, x, y)
	}
	bilinearGeneric(out[3*done:], pix, 3*width, &Ramp{x.A[done:], x.B, x.T, x.O}, &Ramp{y.A[done:], y.B, y.T, y.O})
}

func bilinearGeneric(out, pix []uint8, stride int, x, y *Ramp) {
	bx, tx, ox, by, ty, oy := x.B, x.T, x.O, y.B, y.T, y.O
	ay := y.A[:len(x.A)]
	for i, a := range x.A {
		x, y := a+bx+tx-ox, ay[i]+by+ty-oy
		x0, y0 := int(x+1)-1, int(y+1)-1
		fx, fy := float32(x-float64(x0)), float32(y-float64(y0))
		at := y0*stride + 3*x0
		top, bottom := (*[6]uint8)(pix[at:]), (*[6]uint8)(pix[at+stride:])
		to := (*[3]uint8)(out[3*i:])
		to[0] = between(top[0], top[3], bottom[0], bottom[3], fx, fy)
		to[1] = between(top[1], top[4], bottom[1], bottom[4], fx, fy)
		to[2] = between(top[2], top[5], bottom[2], bottom[5], fx, fy)
	}
}

// between interpolates four samples.
func between(topLeft, topRight, bottomLeft, bottomRight uint8, fx, fy float32) uint8 {
	a, b := byteValue[topLeft], byteValue[bottomLeft]
	a += float32(fx * (byteValue[topRight] - a))
	b += float32(fx * (byteValue[bottomRight] - b))
	return uint8(a + float32(fy*(b-a)) + .5)
}
