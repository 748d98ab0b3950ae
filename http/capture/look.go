package capture

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mien/extract"
	"mien/http/dialect"
)

// Hints: what the person should do, worst first. Directions are those of a mirror: left is towards the left of the picture that they see of themselves, which
// is the right of the one that the camera takes.
const (
	hintNoFace    = "no_face"
	hintSeveral   = "several_faces"
	hintCloser    = "closer"
	hintFurther   = "further"
	hintLeft      = "left"
	hintRight     = "right"
	hintUp        = "up"
	hintDown      = "down"
	hintMoreLight = "more_light"
	hintLessLight = "less_light"
	hintEvenLight = "even_light"
	hintHoldStill = "hold_still"
	hintStraight  = "look_straight"
	hintUncover   = "uncover_eyes"

	maxHints = 2
)

// What a picture is taken with. Each bound has room to the opposite one, so that no face gets opposite hints, whatever a camera's noise makes of it
// (TestHintsHold). Lengths are shares of the height of what the page shows: of the picture the part in the middle that is as 3:4.
const (
	// leastHeight and mostHeight are of the face's box, from the forehead to the chin. At a frame of 720 pixels that is 145 of them and more, of which the
	// template suffers nothing; the most is the oval's own height, so that no turn takes the face out of the picture. The box of one and the same face varies by .04.
	leastHeight = .36
	mostHeight  = .90
	// How far the box's middle may be from the middle shown. The oval is three quarters as wide as high, and a box without hair is low in it.
	mostAside = .13
	mostAbove = .16
	mostBelow = .20

	// leastAlone is of SingleFace: the next face has a fifth of this one's area at the most, as that of somebody who is more than twice as far.
	leastAlone = 80
	// leastLight is of LuminanceMean and UnderExposure, leastGlare of OverExposure and, where it is bright, LuminanceMean; leastEven of IlluminationUniformity, leastSharp
	// of Sharpness, leastEyes of EyesVisible. Portraits in good light have 75 and more of each. They are lower than what a gate for enrolment would ask for: it
	// is no use to keep somebody before the camera for what will do.
	leastLight = 30
	leastGlare = 35
	leastEven  = 60
	leastSharp = 25
	leastEyes  = 40
	// leastMatched is of the unified score: below it the face is not matched well, and where it is also as dark as dimFace, light is what it lacks.
	leastMatched = 40
	dimFace      = .3
	// bright parts faces that are too dark from those that are too bright, and nightfall is the light of a whole picture in which no face can be found: of 0 to 1.
	bright    = .45
	nightfall = .12

	maxLookBytes = 128 << 10
)

// look is what is found on a frame.
type look struct {
	picture *picture
	face    *extract.Face // the largest; nil: none, or too small to say anything of
	small   bool          // there is one, of less pixels than are needed
}

// several reports whether somebody else is near as well.
func (l *look) several() bool {
	return l.face != nil && l.face.Quality[extract.SingleFace] < leastAlone
}

// hints says what is wrong with a frame, worst first; none: it shows what a challenge leads to. base is a face of the same try that looks into the camera; nil: the
// challenge itself is not looked at. To turn or to raise the head changes light and place, so those are asked for when the head is straight.
func (l *look) hints(kind extract.Challenge, base *extract.Face) []string {
	switch {
	case l.small:
		return []string{hintCloser}
	case l.face == nil && l.picture.light() < nightfall:
		return []string{hintMoreLight, hintNoFace}
	case l.face == nil:
		return []string{hintNoFace}
	case l.several():
		return []string{hintSeveral}
	}
	var list []string
	if kind == extract.Centre || kind == extract.Flash {
		list = append(l.place(), l.light()...)
	}
	if base != nil {
		_, lacks := extract.PresentationPolicy{}.Look(*base, kind, *l.face)
		list = append(list, lacks...)
	}
	if kind == extract.Centre && l.face.Quality[extract.EyesVisible] < leastEyes {
		list = append(list, hintUncover)
	}
	if list == nil {
		return []string{}
	}
	return list[:min(len(list), maxHints)]
}

// place says where the face should go.
func (l *look) place() (hints []string) {
	shown := math.Min(float64(l.picture.height), float64(l.picture.width)*4/3)
	b := l.face.Box
	x := (float64(b.X1+b.X2) - float64(l.picture.width)) / 2 / shown
	y := (float64(b.Y1+b.Y2) - float64(l.picture.height)) / 2 / shown
	switch size := float64(b.Y2-b.Y1) / shown; {
	case size < leastHeight:
		hints = append(hints, hintCloser)
	case size > mostHeight:
		hints = append(hints, hintFurther)
	}
	switch {
	case x < -mostAside: // to the right in the mirror
		hints = append(hints, hintLeft)
	case x > mostAside:
		hints = append(hints, hintRight)
	}
	switch {
	case y < -mostAbove:
		hints = append(hints, hintDown)
	case y > mostBelow:
		hints = append(hints, hintUp)
	}
	return hints
}

// light says what is wrong with the light, and with what takes it for granted.
func (l *look) light() []string {
	q := &l.face.Quality
	light := cropLight(l.face.Crop)
	switch {
	case light < bright && min(q[extract.LuminanceMean], q[extract.UnderExposure]) < leastLight, light < dimFace && q[extract.UnifiedScore] < leastMatched:
		return []string{hintMoreLight}
	case light >= bright && min(q[extract.LuminanceMean], q[extract.OverExposure]) < leastGlare:
		return []string{hintLessLight}
	case q[extract.IlluminationUniformity] < leastEven:
		return []string{hintEvenLight}
	case q[extract.Sharpness] < leastSharp:
		return []string{hintHoldStill}
	}
	return nil
}

// cropLight is the mean light of the middle of an aligned crop, from 0 to 1.
func cropLight(m *extract.Image) float64 {
	if m == nil {
		return 0
	}
	var sum float64
	n := 0
	for y := m.H / 4; y < m.H*3/4; y++ {
		for x := m.W / 4; x < m.W*3/4; x++ {
			p := m.Pix[3*(y*m.W+x):]
			sum += .299*float64(p[0]) + .587*float64(p[1]) + .114*float64(p[2])
			n++
		}
	}
	return sum / 255 / max(float64(n), 1)
}

// lookAt finds the face on a frame. Errors: errNoJPEG, the extractor's.
func lookAt(ctx context.Context, x Extractor, data []byte, want extract.Want) (look, error) {
	p, err := openPicture(ctx, data)
	if err != nil {
		return look{}, err
	}
	found, err := x.Extract(ctx, data, extract.Options{Select: extract.SelectLargest, Want: want})
	switch {
	case errors.Is(err, extract.ErrNoFace):
		return look{picture: p}, nil
	case errors.Is(err, extract.ErrFaceTooSmall):
		return look{picture: p, small: true}, nil
	case errors.Is(err, extract.ErrNotImage) || errors.Is(err, extract.ErrTruncated) || errors.Is(err, extract.ErrTooManyPixels):
		return look{}, errors.Join(errNoJPEG, err)
	case err != nil:
		return look{}, err
	}
	return look{picture: p, face: &found[0]}, nil
}

// lookAll is lookAt for all frames of a step, side by side. Errors: the first one's.
func (s *Service) lookAll(c *dialect.Call, x *Session, frames [][]byte, want extract.Want) ([]look, error) {
	extractor, err := s.extractor(c.Ctx, c.Key.Tenant, x.Gallery)
	if err != nil {
		return nil, err
	}
	looks, errs := make([]look, len(frames)), make([]error, len(frames))
	var wg sync.WaitGroup
	for i, data := range frames {
		wg.Go(func() { looks[i], errs[i] = lookAt(c.Ctx, extractor, data, want) })
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return looks, nil
}

// lookBody is what the page is told of a picture.
type lookBody struct {
	Hints []string `json:"hints"`
	Ready bool     `json:"ready"` // the challenge is seen now
}

// look looks at a small picture, so that the person is guided. Nothing of it is kept. One at a time is looked at; others, and those of a step that is not on, are answered that
// there is nothing to say.
func (s *Service) look(c *dialect.Call, x *Session) (dialect.Answer, error) {
	n, err := stepOf(c.Target)
	if err != nil {
		return dialect.Answer{}, err
	}
	data, err := c.Body()
	if err != nil {
		return dialect.Answer{}, err
	}
	defer clear(data)
	if len(data) > maxLookBytes {
		return dialect.Answer{}, &dialect.Refusal{Code: "body_too_large", Detail: fmt.Sprintf("a picture may have %d bytes at most", maxLookBytes)}
	}
	at := place{c.Key.Tenant, x.ID}
	kind, base, ok := s.tries.watch(at, n, s.engine.Now())
	if !ok {
		return dialect.JSON(200, lookBody{Hints: []string{}}), nil
	}
	defer s.tries.unwatch(at)
	extractor, err := s.extractor(c.Ctx, c.Key.Tenant, x.Gallery)
	if err != nil {
		return dialect.Answer{}, err
	}
	seen, err := lookAt(c.Ctx, extractor, data, extract.WantQuality)
	if errors.Is(err, errNoJPEG) {
		err = &dialect.Refusal{Code: "not_an_image", Detail: fmt.Sprintf("send a JPEG whose sides are from %d to %d pixels", leastSide, longestSide)}
	}
	if err != nil {
		return dialect.Answer{}, err
	}
	if base == nil {
		base = seen.face
	}
	hints := seen.hints(kind, base)
	return dialect.JSON(200, lookBody{hints, len(hints) == 0}), nil
}

// stepOf reads the query of a picture. Errors: *dialect.Refusal.
func stepOf(target string) (int, error) {
	_, query, _ := strings.Cut(target, "?")
	text, ok := strings.CutPrefix(query, "step=")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 0 {
		return 0, &dialect.Refusal{Code: "bad_request", Detail: "say which step the picture is of: ?step=0"}
	}
	return n, nil
}
