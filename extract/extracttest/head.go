package extracttest

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	_ "image/png" // of testdata/golden
	"math"
	"os"
	"path/filepath"
	"testing"

	"mien/extract"
)

// Head is a photo of a face whose head can be turned.
type Head struct {
	photo image.Image
	face  extract.Face

	axis, down point   // about which it turns, and the direction from the eyes to the chin
	unit       float64 // the distance from the eyes to the chin, in pixels
	nose       point   // in units, across and down from the axis
}

type point struct{ x, y float64 }

// Turner is a face of testdata that the default pack takes for a living person, straight and turned: with other photos than this the pose model
// goes by hair and shoulders, which don't turn.
func Turner(t testing.TB) *Head {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "testdata", "golden", "g3.png"))
	if err != nil {
		t.Fatal(err)
	}
	return NewHead(t, data)
}

// NewHead reads a JPEG or PNG of one face, whose points Default finds.
func NewHead(t testing.TB, photo []byte) *Head {
	t.Helper()
	img, _, err := image.Decode(bytes.NewReader(photo))
	if err != nil {
		t.Fatal(err)
	}
	faces, err := Default(t).Extract(t.Context(), photo, extract.Options{Select: extract.SelectOne})
	if err != nil {
		t.Fatal(err)
	}
	h := &Head{photo: img, face: faces[0]}
	at := func(p extract.Point) point { return point{float64(p.X), float64(p.Y)} }
	left, right, chin := at(h.face.Five[0]), at(h.face.Five[1]), at(h.face.Landmarks[8])
	eyes := point{(left.x + right.x) / 2, (left.y + right.y) / 2}
	h.unit = math.Hypot(chin.x-eyes.x, chin.y-eyes.y)
	h.down = point{(chin.x - eyes.x) / h.unit, (chin.y - eyes.y) / h.unit}
	h.axis = point{eyes.x + .4*(chin.x-eyes.x), eyes.y + .4*(chin.y-eyes.y)}
	h.nose = h.along(at(h.face.Five[2]))
	return h
}

// Turned is a JPEG of the photo with the head turned by degrees, signed as extract.Pose is: an ellipsoid with a nose, seen from far. What was
// hidden is made of what is beside it. The pose model sees about two thirds of it; 40° of yaw and 28° of pitch are a turn and a raised
// chin to a PresentationPolicy of defaults.
func (h *Head) Turned(t testing.TB, yaw, pitch float64) []byte {
	sinYaw, cosYaw := math.Sincos(yaw * math.Pi / 180)
	sinPitch, cosPitch := math.Sincos(pitch * math.Pi / 180)
	return h.drawn(t, func(p point) point {
		to := h.along(p)
		r := math.Hypot(to.x/.85, to.y/1.2)
		if r >= 1.3 {
			return p
		}
		from := to
		for range 16 { // to = from·cos − depth·sin, for from
			z := h.depth(from)
			from.x += .5 * ((to.x+z*sinYaw)/cosYaw - from.x)
			from.y += .5 * ((to.y+z*sinPitch)/cosPitch - from.y)
		}
		fade := h.unit * min(max((1.3-r)/.3, 0), 1)
		x, y := (from.x-to.x)*fade, (from.y-to.y)*fade
		return point{p.x + x*h.down.y + y*h.down.x, p.y - x*h.down.x + y*h.down.y}
	})
}

// Tilted is a JPEG of the photo as a flat sheet that is turned by degrees before the camera, one and a half heights of the face's box away.
func (h *Head) Tilted(t testing.TB, yaw, pitch float64) []byte {
	sinYaw, cosYaw := math.Sincos(yaw * math.Pi / 180)
	sinPitch, cosPitch := math.Sincos(pitch * math.Pi / 180)
	away := 1.5 * float64(h.face.Box.Y2-h.face.Box.Y1)
	turn := func(x, y, z float64) (float64, float64, float64) {
		x, z = cosYaw*x-sinYaw*z, sinYaw*x+cosYaw*z
		return x, cosPitch*y - sinPitch*z, sinPitch*y + cosPitch*z
	}
	cx, cy, cz := turn(0, 0, -away)
	return h.drawn(t, func(p point) point {
		x, y, z := turn(p.x-h.axis.x, p.y-h.axis.y, away)
		k := -cz / z
		return point{h.axis.x + cx + k*x, h.axis.y + cy + k*y}
	})
}

// along gives a pixel's place in units across and down the face.
func (h *Head) along(p point) point {
	x, y := p.x-h.axis.x, p.y-h.axis.y
	return point{(x*h.down.y - y*h.down.x) / h.unit, (x*h.down.x + y*h.down.y) / h.unit}
}

// depth is how far towards the camera a point of the face lies, in units.
func (h *Head) depth(p point) float64 {
	round := math.Sqrt(max(1-(p.x/.85)*(p.x/.85)-(p.y/1.2)*(p.y/1.2), 0))
	x, y := (p.x-h.nose.x)/.14, (p.y-h.nose.y)/.22
	if y < 0 {
		y /= 2 // the bridge rises slowly to the tip
	}
	return .75*round + .3*math.Exp(-x*x-y*y) - .4
}

// drawn is a JPEG as large as the photo, each of whose pixels comes from where back says.
func (h *Head) drawn(t testing.TB, back func(p point) point) []byte {
	t.Helper()
	b := h.photo.Bounds()
	out := image.NewRGBA(b)
	for y := range b.Dy() {
		for x := range b.Dx() {
			out.SetRGBA(b.Min.X+x, b.Min.Y+y, h.colour(back(point{float64(x), float64(y)})))
		}
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, out, &jpeg.Options{Quality: 92}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// colour is that of the photo between pixels; beyond its edges it is that of the edge.
func (h *Head) colour(p point) color.RGBA {
	b := h.photo.Bounds()
	x, y := min(max(p.x, 0), float64(b.Dx()-1)), min(max(p.y, 0), float64(b.Dy()-1))
	x0, y0 := int(x), int(y)
	fx, fy := x-float64(x0), y-float64(y0)
	var sum [3]float64
	for i := range 4 {
		u, v := i&1, i>>1
		w := math.Abs(float64(1-u)-fx) * math.Abs(float64(1-v)-fy)
		r, g, bl, _ := h.photo.At(b.Min.X+min(x0+u, b.Dx()-1), b.Min.Y+min(y0+v, b.Dy()-1)).RGBA()
		sum[0], sum[1], sum[2] = sum[0]+w*float64(r>>8), sum[1]+w*float64(g>>8), sum[2]+w*float64(bl>>8)
	}
	return color.RGBA{uint8(sum[0] + .5), uint8(sum[1] + .5), uint8(sum[2] + .5), 255}
}
