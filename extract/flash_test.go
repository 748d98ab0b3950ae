package extract

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// flashes are shots of an actor before a screen that shows colours: the face takes on share of the colour, what is around it the other
// share, late shots later, and both have noise.
func flashes(a *actor, colours [][3]float32, face, around float64, late int) []Shot {
	r := rand.New(rand.NewPCG(3, 4))
	lit := func(own colour, share float64, i int) (c colour) {
		for k := range c {
			c[k] = own[k] + 3*r.NormFloat64()
			if i >= late {
				c[k] *= 1 - share + share*float64(colours[i-late][k])/255
			}
		}
		return c
	}
	var shots []Shot
	for i := range colours {
		f := a.at(0, 0)
		f.Crop = newImage(112, 112)
		skin, wall := lit(colour{190, 140, 120}, face, i), lit(colour{120, 125, 110}, around, i)
		for j := range f.Crop.Pix {
			f.Crop.Pix[j] = uint8(skin[j%3])
		}
		shots = append(shots, Shot{Face: f, Colour: colours[i], Around: [3]float32{float32(wall[0]), float32(wall[1]), float32(wall[2])}})
	}
	return shots
}

// The face must take on the colours, and more of them than what is around it.
func TestFlash(t *testing.T) {
	a := newActor(t, 0)
	colours := [][3]float32{{60, 90, 255}, {255, 220, 60}, {60, 255, 120}, {255, 90, 200}, {60, 220, 255}, {255, 160, 60}}
	other := slices.Clone(colours)
	slices.Reverse(other)
	wrong := flashes(a, other, .3, 0, 0)
	for i := range wrong {
		wrong[i].Colour = colours[i]
	}
	away := flashes(a, colours, .3, .05, 0)
	away[2].Face.Pose.Yaw = 40
	noCrop := flashes(a, colours, .3, 0, 0)
	noCrop[1].Face.Crop = nil
	for name, c := range map[string]struct {
		shots []Shot
		want  bool
	}{
		"face lit":               {flashes(a, colours, .3, .05, 0), true},
		"half as much behind":    {flashes(a, colours, .3, .15, 0), true},
		"one shot late":          {flashes(a, colours, .3, .05, 1), true},
		"two shots late":         {flashes(a, colours, .3, .05, 2), false},
		"the picture lit alike":  {flashes(a, colours, .3, .3, 0), false},
		"what is around it more": {flashes(a, colours, .05, .3, 0), false},
		"nothing lit":            {flashes(a, colours, 0, 0, 0), false},
		"other colours":          {wrong, false},
		"one colour":             {flashes(a, [][3]float32{{9, 9, 255}, {9, 9, 255}, {9, 9, 255}, {9, 9, 255}}, .3, 0, 0), false},
		"three shots":            {flashes(a, colours[:3], .3, 0, 0), false},
		"turned away":            {away, false},
		"no crop":                {noCrop, false},
		"none":                   {nil, false},
	} {
		if ok, hints := (PresentationPolicy{}).Satisfied(Face{}, Step{Challenge: Flash, Shots: c.shots}); ok != c.want || ok != (len(hints) == 0) {
			t.Errorf("%s: %v, %v", name, ok, hints)
		}
	}
}

// Around leaves out the face and what is below it.
func TestAround(t *testing.T) {
	m := newImage(400, 300)
	for i := range m.Pix {
		x, y := i/3%m.W, i/3/m.W
		m.Pix[i] = 40
		if x > 120 && x < 280 && y > 70 {
			m.Pix[i] = 250
		}
	}
	if got := m.Around(Box{X1: 160, Y1: 110, X2: 240, Y2: 220}); got != [3]float32{40, 40, 40} {
		t.Errorf("%v, want 40", got)
	}
	if got := m.Around(Box{X1: 0, Y1: 0, X2: 400, Y2: 300}); got[0] == got[0] {
		t.Errorf("a face that fills the photo: %v", got)
	}
	shots := flashes(newActor(t, 0), [][3]float32{{60, 90, 255}, {255, 220, 60}, {60, 255, 120}, {255, 90, 200}, {60, 220, 255}}, .3, 0, 0)
	for i := range shots {
		shots[i].Around = m.Around(Box{X1: 0, Y1: 0, X2: 400, Y2: 300})
	}
	if ok, _ := (PresentationPolicy{}).Satisfied(Face{}, Step{Challenge: Flash, Shots: shots}); ok {
		t.Error("a flash is seen without anything around the face")
	}
}
