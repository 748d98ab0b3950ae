package capture

import (
	"image"
	"image/color"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mien/extract"
	"mien/extract/extracttest"
)

// seen640 is a look at a good face in a frame of 640×480: its box of .6 of the height in the middle.
func seen640(change func(l *look)) *look {
	crop := &extract.Image{W: 16, H: 16, Pix: make([]uint8, 3*16*16)}
	l := &look{picture: &picture{width: 640, height: 480, w: 80, h: 60, pix: make([]uint8, 3*80*60)}, face: &extract.Face{Crop: crop}}
	lit(l, .5)
	box(l, .6, 0, 0)
	for m := range l.face.Quality {
		l.face.Quality[m] = 90
	}
	if change != nil {
		change(l)
	}
	return l
}

// lit gives the crop a light.
func lit(l *look, light float64) {
	for i := range l.face.Crop.Pix {
		l.face.Crop.Pix[i] = uint8(255 * light)
	}
}

// box sets the face's: its height and how far its middle is from the picture's, in heights of what is shown.
func box(l *look, size, dx, dy float64) {
	shown := min(float64(l.picture.height), float64(l.picture.width)*4/3)
	x, y, h := float64(l.picture.width)/2+dx*shown, float64(l.picture.height)/2+dy*shown, size*shown
	l.face.Box = extract.Box{X1: float32(x - .4*h), Y1: float32(y - h/2), X2: float32(x + .4*h), Y2: float32(y + h/2)}
}

func measured(m extract.Measure, v float32) func(l *look) {
	return func(l *look) { l.face.Quality[m] = v }
}

// What a synthetic face is told, of the first step and of others.
func TestHints(t *testing.T) {
	for name, c := range map[string]struct {
		kind extract.Challenge
		l    *look
		want string
	}{
		"good":                  {extract.Centre, seen640(nil), ""},
		"good in colours":       {extract.Flash, seen640(nil), ""},
		"nobody":                {extract.Centre, seen640(func(l *look) { l.face = nil; l.picture.pix = slices.Repeat([]uint8{90}, len(l.picture.pix)) }), "no_face"},
		"nobody in the dark":    {extract.Centre, seen640(func(l *look) { l.face = nil }), "more_light no_face"},
		"too small to be found": {extract.Blink, seen640(func(l *look) { l.face, l.small = nil, true }), "closer"},
		"two":                   {extract.TurnLeft, seen640(measured(extract.SingleFace, 70)), "several_faces"},
		"somebody far behind":   {extract.TurnLeft, seen640(measured(extract.SingleFace, 85)), ""},
		"far":                   {extract.Centre, seen640(func(l *look) { box(l, .3, 0, 0) }), "closer"},
		"near":                  {extract.Centre, seen640(func(l *look) { box(l, .95, 0, 0) }), "further"},
		"to the image's left":   {extract.Centre, seen640(func(l *look) { box(l, .5, -.2, 0) }), "left"}, // a mirror shows it to the right
		"to the image's right":  {extract.Centre, seen640(func(l *look) { box(l, .5, .2, 0) }), "right"},
		"high":                  {extract.Centre, seen640(func(l *look) { box(l, .5, 0, -.2) }), "down"},
		"low":                   {extract.Centre, seen640(func(l *look) { box(l, .5, 0, .25) }), "up"},
		"far, left and high":    {extract.Centre, seen640(func(l *look) { box(l, .3, -.2, -.3) }), "closer left"},
		"anywhere, moving":      {extract.LookUp, seen640(func(l *look) { box(l, .3, -.2, -.3) }), ""},
		"dark":                  {extract.Centre, seen640(func(l *look) { lit(l, .1); l.face.Quality[extract.LuminanceMean] = 10 }), "more_light"},
		"black":                 {extract.Centre, seen640(func(l *look) { lit(l, .1); l.face.Quality[extract.UnderExposure] = 10 }), "more_light"},
		"dim and not matched":   {extract.Centre, seen640(func(l *look) { lit(l, .2); l.face.Quality[extract.UnifiedScore] = 20 }), "more_light"},
		"dark skin, well lit":   {extract.Centre, seen640(func(l *look) { lit(l, .2); l.face.Quality[extract.LuminanceMean] = 50 }), ""},
		"bright":                {extract.Centre, seen640(func(l *look) { lit(l, .9); l.face.Quality[extract.LuminanceMean] = 10 }), "less_light"},
		"glare":                 {extract.Centre, seen640(func(l *look) { lit(l, .6); l.face.Quality[extract.OverExposure] = 20 }), "less_light"},
		"from one side":         {extract.Centre, seen640(measured(extract.IlluminationUniformity, 40)), "even_light"},
		"from a side, turned":   {extract.TurnRight, seen640(measured(extract.IlluminationUniformity, 40)), ""},
		"blurred":               {extract.Centre, seen640(measured(extract.Sharpness, 10)), "hold_still"},
		"sunglasses":            {extract.Centre, seen640(measured(extract.EyesVisible, 5)), "uncover_eyes"},
		"dark and off":          {extract.Centre, seen640(func(l *look) { box(l, .5, .2, 0); lit(l, .1); l.face.Quality[extract.LuminanceMean] = 10 }), "right more_light"},
		"a phone held upright":  {extract.Centre, seen640(func(l *look) { l.picture.width, l.picture.height = 405, 720; box(l, .6, .05, 0) }), ""},
		"and far":               {extract.Centre, seen640(func(l *look) { l.picture.width, l.picture.height = 405, 720; box(l, .3, 0, 0) }), "closer"},
	} {
		if got := strings.Join(c.l.hints(c.kind, nil), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	aside := seen640(func(l *look) { l.face.Pose.Yaw = 30 })
	if got := aside.hints(extract.Centre, aside.face); !slices.Equal(got, []string{"look_straight"}) {
		t.Errorf("aside: %v", got)
	}
}

// opposite hints, which no face may get whatever a camera makes of it.
var opposite = map[string]string{
	hintCloser: hintFurther, hintLeft: hintRight, hintUp: hintDown, hintMoreLight: hintLessLight,
	hintFurther: hintCloser, hintRight: hintLeft, hintDown: hintUp, hintLessLight: hintMoreLight,
}

// A face is told the same things or fewer as its measures shake, and never the opposite; and the same picture is told the same.
func TestHintsHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	any := func(a, b float64) float64 { return a + (b-a)*rng.Float64() }
	for range 2000 {
		size, dx, dy, light := any(.1, 1.2), any(-.5, .5), any(-.5, .5), any(0, 1)
		quality := map[extract.Measure]float64{}
		for _, m := range []extract.Measure{extract.LuminanceMean, extract.UnderExposure, extract.OverExposure, extract.IlluminationUniformity, extract.UnifiedScore} {
			quality[m] = any(0, 100)
		}
		told := map[string]bool{}
		for range 8 {
			l := seen640(func(l *look) {
				lit(l, min(max(light+any(-.03, .03), 0), 1))
				box(l, size*any(.94, 1.06), dx+any(-.03, .03), dy+any(-.03, .03))
				for m, v := range quality {
					l.face.Quality[m] = float32(min(max(v+any(-5, 5), 0), 100))
				}
			})
			hints := l.hints(extract.Centre, nil)
			if again := l.hints(extract.Centre, nil); !slices.Equal(again, hints) {
				t.Fatalf("%v, and then %v", hints, again)
			}
			for _, h := range hints {
				told[h] = true
			}
			if len(hints) > maxHints {
				t.Fatalf("%v", hints)
			}
		}
		for h := range told {
			if light > bright-.04 && light < bright+.04 && (h == hintMoreLight || h == hintLessLight) {
				continue // half lit and at once too dark and too bright: no face is
			}
			if told[opposite[h]] {
				t.Fatalf("%s and %s of one face: size %.2f at (%.2f, %.2f), light %.2f, %v", h, opposite[h], size, dx, dy, light, quality)
			}
		}
	}
}

// What real models make of photos that are well taken and of others.
func TestHintsOfPhotos(t *testing.T) {
	x := extracttest.Default(t)
	halfDark := func(img *image.RGBA) {
		b := img.Bounds()
		for y := range b.Dy() {
			for x := range b.Dx() / 2 {
				c := img.RGBAAt(x, y)
				img.SetRGBA(x, y, color.RGBA{c.R / 5, c.G / 5, c.B / 5, 255})
			}
		}
	}
	for name, c := range map[string]struct {
		scene scene
		want  string // the first hint
	}{
		"a":               {scene{photo: "a_1.jpg", noise: 3}, ""},
		"b":               {scene{photo: "b_1.jpg", noise: 3}, ""},
		"b, darker":       {scene{photo: "b_2.jpg", noise: 3}, ""},
		"c":               {scene{photo: "c_1.jpg", size: .9, noise: 3}, ""},
		"glasses":         {scene{photo: "glasses.jpg", size: .9}, ""},
		"a phone":         {scene{photo: "a_2.jpg", width: 270, height: 480, size: .7}, ""},
		"sunglasses":      {scene{photo: "sunglasses.jpg"}, "uncover_eyes"},
		"nobody":          {scene{}, "no_face"},
		"far":             {scene{photo: "a_1.jpg", size: .4}, "closer"},
		"near":            {scene{photo: "a_1.jpg", size: 1.6}, "further"},
		"to a side":       {scene{photo: "a_1.jpg", size: .8, dx: .3}, "right"},
		"low":             {scene{photo: "a_1.jpg", size: .7, dy: .3}, "up"},
		"in the dark":     {scene{photo: "b_1.jpg", light: .05, noise: 2}, "more_light"},
		"in a dim room":   {scene{photo: "a_1.jpg", light: .2, noise: 2}, "more_light"},
		"in the sun":      {scene{photo: "a_1.jpg", light: 2.5}, "less_light"},
		"beside a window": {scene{photo: "a_1.jpg", change: halfDark}, "even_light"},
		"two":             {scene{photo: "a_1.jpg", size: .8, second: "b_1.jpg", secondSize: .7, secondAt: .5}, "several_faces"},
		"somebody behind": {scene{photo: "a_1.jpg", size: .8, second: "b_1.jpg", secondSize: .22, secondAt: .5}, ""},
	} {
		if c.scene.width == 0 {
			c.scene.width, c.scene.height = 480, 360
		}
		c.scene.quality = 70
		l, err := lookAt(t.Context(), x, c.scene.jpeg(t), extract.WantQuality)
		if err != nil {
			t.Fatal(err)
		}
		if got := append(l.hints(extract.Centre, l.face), "")[0]; got != c.want {
			t.Errorf("%s: %v, want %q", name, l.hints(extract.Centre, l.face), c.want)
		}
	}
}

// Prints: what is saved again is the same picture, who sits down again is not.
func TestPrints(t *testing.T) {
	key := []byte("a key")
	of := func(s scene) print {
		p, err := openPicture(t.Context(), s.jpeg(t))
		if err != nil {
			t.Fatal(err)
		}
		return printOf(key, p)
	}
	alike := func(a, b print) (n int) {
		for i := range a {
			if a[i] == b[i] {
				n++
			}
		}
		return n
	}
	same, other := map[int]int{}, map[int]int{}
	for _, photo := range []string{"a_1.jpg", "b_1.jpg", "glasses.jpg"} {
		for _, size := range []float64{.8} {
			base := scene{photo: photo, size: size, noise: 3, seed: 1, width: 480, height: 360}
			print := of(base)
			for _, again := range []func(*scene){
				func(s *scene) { s.quality = 60 }, func(s *scene) { s.quality = 75 }, func(s *scene) { s.quality = 97 }, func(s *scene) { s.light = .97 },
			} {
				s := base
				again(&s)
				same[alike(print, of(s))]++
			}
			for _, again := range []func(*scene){ // the same photo before the same wall, a moment later: by less than people move
				func(s *scene) { s.dx, s.seed = .012, 2 }, func(s *scene) { s.dy, s.seed = .012, 3 }, func(s *scene) { s.size, s.seed = s.size*1.03, 4 },
				func(s *scene) { s.dx, s.dy, s.seed = -.01, .01, 5 },
			} {
				s := base
				again(&s)
				other[alike(print, of(s))]++
			}
		}
	}
	t.Logf("words alike of 4: saved again %v, moved a little %v", same, other)
	if n := same[0] + same[1]; n > 1 {
		t.Errorf("%d of 12 that were saved again are not told", n)
	}
	if n := other[2] + other[3] + other[4]; n > 0 {
		t.Errorf("%d that were taken again are taken for the same", n)
	}
}
