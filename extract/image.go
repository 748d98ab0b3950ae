package extract

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"

	"mien/extract/jpeg"
)

// Image is 8-bit RGB, interleaved, rows top to bottom without padding: Pix is uint8[H][W][3].
type Image struct {
	W, H int
	Pix  []uint8
}

func newImage(w, h int) *Image { return &Image{W: w, H: h, Pix: make([]uint8, 3*w*h)} }

// row returns the bytes of row y.
func (m *Image) row(y int) []uint8 { return m.Pix[3*m.W*y : 3*m.W*(y+1)] }

// PNG encodes the image losslessly.
func (m *Image) PNG() ([]byte, error) {
	n := image.NewNRGBA(image.Rect(0, 0, m.W, m.H))
	for i := range m.W * m.H {
		copy(n.Pix[4*i:], m.Pix[3*i:3*i+3])
		n.Pix[4*i+3] = 0xff
	}
	var b bytes.Buffer
	if err := png.Encode(&b, n); err != nil {
		return nil, fmt.Errorf("extract: encode PNG: %w", err)
	}
	return b.Bytes(), nil
}

// codec is one of the formats that are decoded whole.
type codec struct {
	name        string
	magic       func(data []byte) bool
	config      func(io.Reader) (image.Config, error)
	decode      func(io.Reader) (image.Image, error)
	check       func(data []byte, maxPixels int) error // what the header does not say
	orientation func(data []byte) int
}

var codecs = []codec{
	{"PNG", hasPrefix("\x89PNG\r\n\x1a\n"), png.DecodeConfig, png.Decode, unchecked, pngOrientation},
	{"BMP", hasPrefix("BM"), bmp.DecodeConfig, bmp.Decode, unchecked, upright},
	{"WebP", isWebP, webp.DecodeConfig, webp.Decode, checkWebPFrames, webpOrientation},
}

func hasPrefix(magic string) func([]byte) bool {
	return func(data []byte) bool { return bytes.HasPrefix(data, []byte(magic)) }
}

func isWebP(data []byte) bool {
	return len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP"
}

func upright([]byte) int { return 1 }

func unchecked([]byte, int) error { return nil }

// limits of a photo.
type limits struct {
	pixels int // of what is decoded whole
	jpeg   int // pixels of a JPEG
}

// open reads a JPEG (grey, YCbCr, RGB, CMYK, YCCK; baseline or progressive), PNG (1 to 16 bits, transparency
// laid over white), BMP or WebP (one frame) and turns it upright by its EXIF orientation. Of a large JPEG only an
// overview is drawn (overviewShrink); scale is how many pixels of the detector's canvas a pixel of a photo of w×h
// upright pixels has.
//
// A header that states more than the limit is refused with ErrTooManyPixels before any pixel is decoded or
// allocated. When ctx ends, so does decoding at its next read. Other errors: ErrNotImage, ErrTruncated, ctx's. The
// result aliases nothing of data, and wants to be closed.
func open(ctx context.Context, data []byte, max limits, scale func(w, h int) float64) (*picture, error) {
	if bytes.HasPrefix(data, []byte("\xff\xd8\xff")) {
		return openJPEG(ctx, data, max.jpeg, scale)
	}
	for _, c := range codecs {
		if c.magic(data) {
			m, err := c.read(ctx, data, max.pixels)
			if err != nil {
				return nil, err
			}
			return newPicture(m), nil
		}
	}
	return nil, ErrNotImage
}

// openJPEG reads a JPEG's coded data.
func openJPEG(ctx context.Context, data []byte, maxPixels int, scale func(w, h int) float64) (*picture, error) {
	o := jpegOrientation(data)
	if o < 1 || o > 8 {
		o = 1
	}
	p, err := jpeg.Open(ctx, data, jpeg.Options{MaxPixels: maxPixels, Shrink: func(w, h int) int {
		w, h = orientedSize(o, w, h)
		return overviewShrink(w, h, scale(w, h))
	}})
	if err != nil {
		return nil, jpegError(err)
	}
	return newReduced(p, o), nil
}

// jpegError gives the decoder's errors our names.
func jpegError(err error) error {
	size, tooLarge := errors.AsType[*jpeg.SizeError](err)
	switch {
	case tooLarge:
		return &PixelsError{Width: size.Width, Height: size.Height, Max: size.Max}
	case errors.Is(err, jpeg.ErrTruncated):
		return fmt.Errorf("%w (JPEG)", ErrTruncated)
	case errors.Is(err, jpeg.ErrFormat), errors.Is(err, jpeg.ErrUnsupported):
		return fmt.Errorf("%w: %v", ErrNotImage, err)
	}
	return err
}

func (c *codec) read(ctx context.Context, data []byte, maxPixels int) (*Image, error) {
	head := &watched{Reader: bytes.NewReader(data), ctx: ctx}
	size, err := c.config(head)
	if err != nil {
		return nil, c.failed(err, head)
	}
	if size.Width <= 0 || size.Height <= 0 {
		return nil, fmt.Errorf("%w: %s of %d×%d", ErrNotImage, c.name, size.Width, size.Height)
	}
	if err := checkPixels(size.Width, size.Height, maxPixels); err != nil {
		return nil, err
	}
	if err := c.check(data, maxPixels); err != nil {
		return nil, err
	}
	in := &watched{Reader: bytes.NewReader(data), ctx: ctx}
	m, err := c.decode(in)
	if err != nil {
		return nil, c.failed(err, in)
	}
	rgb := toRGB(m)
	w, h := orientedSize(c.orientation(data), rgb.W, rgb.H)
	return orient(newImage(w, h), rgb, c.orientation(data)), nil
}

// watched ends with its context, and remembers that a decoder wanted more than there was: their own errors for
// that differ.
type watched struct {
	*bytes.Reader
	ctx   context.Context
	ended bool
}

func (r *watched) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.Reader.Read(p)
	r.ended = r.ended || err == io.EOF
	return n, err
}

func (r *watched) ReadByte() (byte, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	b, err := r.Reader.ReadByte()
	r.ended = r.ended || err == io.EOF
	return b, err
}

// checkPixels compares in 64 bits: a header may state 2³¹ × 2³¹.
func checkPixels(w, h, maxPixels int) error {
	if int64(w) > int64(maxPixels)/int64(max(h, 1)) {
		return &PixelsError{Width: w, Height: h, Max: maxPixels}
	}
	return nil
}

// failed sorts a decoder's error.
func (c *codec) failed(err error, in *watched) error {
	if in.ctx.Err() != nil {
		return context.Cause(in.ctx)
	}
	if in.ended || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w (%s)", ErrTruncated, c.name)
	}
	return fmt.Errorf("%w: %s: %v", ErrNotImage, c.name, err)
}

// checkWebPFrames checks the size that each frame header states, for a canvas header may state less
// than the frame behind it has, and the decoder trusts the frame.
func checkWebPFrames(data []byte, maxPixels int) error {
	for id, body := range riffChunks(data) {
		w, h := 0, 0
		switch {
		case id == "VP8 " && len(body) >= 10:
			w, h = int(binary.LittleEndian.Uint16(body[6:]))&0x3fff, int(binary.LittleEndian.Uint16(body[8:]))&0x3fff
		case id == "VP8L" && len(body) >= 5:
			bits := binary.LittleEndian.Uint32(body[1:])
			w, h = int(bits&0x3fff)+1, int(bits>>14&0x3fff)+1
		}
		if err := checkPixels(w, h, maxPixels); err != nil {
			return err
		}
	}
	return nil
}

// toRGB converts what the decoders return; the common kinds have a loop of their own.
func toRGB(m image.Image) *Image {
	b := m.Bounds()
	out := newImage(b.Dx(), b.Dy())
	switch m := m.(type) {
	case *image.YCbCr:
		ycbcrToRGB(out, m)
	case *image.NYCbCrA:
		ycbcrToRGB(out, &m.YCbCr)
		overWhite(out, m)
	case *image.RGBA: // opaque: the decoders return NRGBA where there is transparency
		for y := range out.H {
			copy4to3(out.row(y), m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):])
		}
	case *image.Gray:
		for y := range out.H {
			greyToRGB(out.row(y), m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):])
		}
	default:
		anyToRGB(out, m)
	}
	return out
}

func copy4to3(dst, src []uint8) {
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+4 {
		copy(dst[i:i+3], src[j:j+3])
	}
}

func greyToRGB(dst, src []uint8) {
	for i := 0; i < len(dst); i += 3 {
		v := src[i/3]
		dst[i], dst[i+1], dst[i+2] = v, v, v
	}
}

// anyToRGB reads pixel by pixel and lays transparency over white, as a viewer on a white page shows it: a
// person who looks at the photo and the engine must see the same.
func anyToRGB(out *Image, m image.Image) {
	b := m.Bounds()
	for y := range out.H {
		row := out.row(y)
		for x := range out.W {
			c := color.RGBA64Model.Convert(m.At(b.Min.X+x, b.Min.Y+y)).(color.RGBA64)
			white := 0xffff - uint32(c.A) // colours are premultiplied
			for i, v := range [3]uint16{c.R, c.G, c.B} {
				row[3*x+i] = uint8((min(uint32(v)+white, 0xffff)*255 + 0x7fff) / 0xffff)
			}
		}
	}
}

// overWhite lays m's transparency over white.
func overWhite(out *Image, m *image.NYCbCrA) {
	for y := range out.H {
		alpha := m.A[m.AOffset(m.Rect.Min.X, m.Rect.Min.Y+y):]
		for i, v := range out.row(y) {
			a := int(alpha[i/3])
			out.Pix[3*out.W*y+i] = uint8((int(v)*a + 255*(255-a) + 127) / 255)
		}
	}
}

// studioToRGB is BT.601 with luma in 16..235 and chroma in 16..240, as WebP has it (RFC 6386, section 9.2). The standard
// library's matrix is JPEG's, of full range, and would leave the photo flat.
func studioToRGB(y, cb, cr uint8) (r, g, b uint8) {
	l, u, v := 76309*(int(y)-16), int(cb)-128, int(cr)-128 // 16-bit fixed point
	clamp := func(x int) uint8 { return uint8(min(max((x+1<<15)>>16, 0), 255)) }
	return clamp(l + 104597*v), clamp(l - 25675*u - 53279*v), clamp(l + 132201*u)
}

// ycbcrToRGB converts WebP's colours, chroma interpolated.
func ycbcrToRGB(out *Image, m *image.YCbCr) {
	up := newChroma(m)
	for y := range out.H {
		cb, cr := up.row(y)
		luma := m.Y[m.YOffset(m.Rect.Min.X, m.Rect.Min.Y+y):]
		row := out.row(y)
		for x := range out.W {
			row[3*x], row[3*x+1], row[3*x+2] = studioToRGB(luma[x], cb[x], cr[x])
		}
	}
}

// orient draws m upright into out and returns that: o is EXIF tag 0x0112, 1..8 (TIFF 6.0 section 8, "Orientation"). Where m
// is upright, it returns m.
//
// REQUIRES: out has m's size, turned by o.
func orient(out, m *Image, o int) *Image {
	if o <= 1 || o > 8 {
		return m
	}
	for y := range m.H {
		src := m.row(y)
		for x := range m.W {
			tx, ty := orientedAt(o, x, y, m.W, m.H)
			copy(out.Pix[3*(ty*out.W+tx):], src[3*x:3*x+3])
		}
	}
	return out
}

// orientedSize is the size of a w×h image after orient.
func orientedSize(o, w, h int) (int, int) {
	if o >= 5 && o <= 8 {
		return h, w
	}
	return w, h
}

// orientedAt is where the stored pixel (x, y) of a w×h image is shown.
func orientedAt(o, x, y, w, h int) (int, int) {
	switch o {
	case 2:
		return w - 1 - x, y
	case 3:
		return w - 1 - x, h - 1 - y
	case 4:
		return x, h - 1 - y
	case 5:
		return y, x
	case 6:
		return h - 1 - y, x
	case 7:
		return h - 1 - y, w - 1 - x
	case 8:
		return y, w - 1 - x
	}
	return x, y
}
