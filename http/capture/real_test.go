package capture_test

import (
	"bytes"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	xdraw "golang.org/x/image/draw"

	"mien/extract"
	"mien/extract/extracttest"
)

// lens takes pictures of a head, each with the noise of a camera and moved by some pixels.
type lens struct {
	t    testing.TB
	head *extracttest.Head
	seen map[float64]*image.RGBA // the head turned by degrees
	rng  *rand.Rand
	n    int // pictures that were taken
}

// newLens is before extracttest.Turner, at half its size: to turn it costs a quarter.
func newLens(t testing.TB) *lens {
	file, err := os.Open(filepath.Join("..", "..", "testdata", "golden", "g3.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	img, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	half := image.NewRGBA(image.Rect(0, 0, img.Bounds().Dx()/2, img.Bounds().Dy()/2))
	xdraw.CatmullRom.Scale(half, half.Bounds(), img, img.Bounds(), draw.Src, nil)
	var b bytes.Buffer
	if err := png.Encode(&b, half); err != nil {
		t.Fatal(err)
	}
	return &lens{t: t, head: extracttest.NewHead(t, b.Bytes()), seen: map[float64]*image.RGBA{}, rng: rand.New(rand.NewPCG(1, 5))}
}

func (l *lens) decoded(photo []byte) *image.RGBA {
	l.t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(photo))
	if err != nil {
		l.t.Fatal(err)
	}
	out := image.NewRGBA(img.Bounds())
	draw.Draw(out, out.Bounds(), img, img.Bounds().Min, draw.Src)
	return out
}

// take takes a picture of a picture.
func (l *lens) take(of *image.RGBA) []byte {
	l.t.Helper()
	b := of.Bounds()
	out := image.NewRGBA(b)
	draw.Draw(out, b, of, image.Point{}, draw.Src)
	draw.Draw(out, b.Add(image.Pt(l.n%7-3, l.n/7%7-3)), of, b.Min, draw.Src)
	l.n++
	for i, v := range out.Pix {
		bits := l.rng.Uint32()
		out.Pix[i] = uint8(min(max(int(v)+int(bits&3)+int(bits>>2&3)-3, 0), 255))
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, out, &jpeg.Options{Quality: 92}); err != nil {
		l.t.Fatal(err)
	}
	return buf.Bytes()
}

// turned takes the head at several angles.
func (l *lens) turned(angles ...float64) (frames [][]byte) {
	for _, a := range angles {
		if l.seen[a] == nil {
			l.seen[a] = l.decoded(l.head.Turned(l.t, a, 0))
		}
		frames = append(frames, l.take(l.seen[a]))
	}
	return frames
}

// thrice takes a photo of testdata three times.
func (l *lens) thrice(name string) [][]byte {
	img := l.decoded(extracttest.Photo(l.t, name))
	return [][]byte{l.take(img), l.take(img), l.take(img)}
}

// does is what somebody in front of the lens does who follows.
func (l *lens) does(kind extract.Challenge) [][]byte {
	switch kind {
	case extract.TurnLeft:
		return l.turned(0, -40, -40)
	case extract.TurnRight:
		return l.turned(0, 40, 40)
	}
	return l.turned(0, 0, 0)
}

// turns is the body of a session whose only challenge is a turn.
func turns(flow string) string {
	return `{"gallery":"people","challenges":["turn_left","turn_right"],"steps":1,` + flow + `}`
}

// follow sends what do gives for each task until one is asked for again, or the try has ended.
func (p *page) follow(do func(kind extract.Challenge) [][]byte) answered {
	p.t.Helper()
	p.start()
	for {
		if got := p.send(do(p.task.Kind)); got.Step == nil {
			return got
		}
	}
}

// The whole with the real models. A still picture doesn't pass the turn, nor a picture that is turned, nor who turns the other way; and two people in
// one try don't, of whom one sits for the first pictures and the other turns.
func TestRealFaces(t *testing.T) {
	w, l := still(t, nil), newLens(t)
	opposite := map[extract.Challenge]extract.Challenge{extract.Centre: extract.Centre, extract.TurnLeft: extract.TurnRight, extract.TurnRight: extract.TurnLeft}
	tilted := map[extract.Challenge]*image.RGBA{extract.TurnLeft: l.decoded(l.head.Tilted(t, -40, 0)), extract.TurnRight: l.decoded(l.head.Tilted(t, 40, 0))}
	straight := l.turned
	for name, x := range map[string]struct {
		does func(kind extract.Challenge) [][]byte
		want string // the hint of a task that is asked for again, or the reason of the try
	}{
		"the other way":   {func(kind extract.Challenge) [][]byte { return l.does(opposite[kind]) }, "turn_other_way"},
		"a still picture": {func(extract.Challenge) [][]byte { return l.thrice("a_1.jpg") }, "turn_more"},
		"a picture that is turned": {func(kind extract.Challenge) [][]byte {
			if kind == extract.Centre {
				return l.does(kind)
			}
			return append(straight(0), l.take(tilted[kind]), l.take(tilted[kind]))
		}, "turn_more"},
		"two people": {func(kind extract.Challenge) [][]byte {
			if kind == extract.Centre {
				return l.does(kind)
			}
			return append(l.thrice("b_1.jpg")[:1], l.does(kind)[1:]...)
		}, "several_people"},
		"nobody":    {func(extract.Challenge) [][]byte { return l.thrice("noface.jpg") }, "no_face"},
		"two faces": {func(extract.Challenge) [][]byte { return l.thrice("group.jpg") }, "several_faces"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.enter(t, w.make(t, turns(`"flow":"liveness"`)))
			got := p.follow(x.does)
			if got.Failed != nil && got.Failed.Reason != x.want || got.Again != nil && got.Hints[0] != x.want || got.Done {
				t.Errorf("%+v %+v, want %s", got, got.Failed, x.want)
			}
		})
	}
}

// A person whom the page has enrolled is verified by it; the pictures of the one session are no good in another, though they are saved again.
func TestRealRoundTrip(t *testing.T) {
	w, l := still(t, nil), newLens(t)
	for _, flow := range []string{"enroll", "verify"} {
		p := w.enter(t, w.make(t, turns(`"flow":"`+flow+`","person":"ada"`)))
		if got := p.follow(l.does); !got.Done {
			t.Fatalf("%s: %+v %v", flow, got.Failed, w.notes(t))
		}
		if x := w.look(t, p.x); x.Status != "success" || x.Person != "ada" || x.Liveness != "live" || flow == "verify" && (x.Score == nil || *x.Score < .9) {
			t.Fatalf("%+v", x)
		}
		stolen := p.sent
		thief := w.enter(t, w.make(t, turns(`"flow":"verify","person":"ada"`)))
		thief.follow(func(kind extract.Challenge) [][]byte {
			if kind != extract.Centre {
				return l.does(kind)
			}
			var again [][]byte
			for _, data := range stolen[:3] {
				var b bytes.Buffer
				if err := jpeg.Encode(&b, l.decoded(data), &jpeg.Options{Quality: 85}); err != nil {
					t.Fatal(err)
				}
				again = append(again, b.Bytes())
			}
			return again
		}).failed(t, "frames_damaged", 2)
	}
}
