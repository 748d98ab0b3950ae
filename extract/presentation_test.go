package extract

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// actor is a head of 68 points in space that is turned, or a flat picture of it, with what the models would say.
type actor struct {
	points [68][3]float64 // in distances from the eyes to the chin, about the head's axis: right, down, and towards the camera
	person int            // which template it has
	score  float32        // of liveness
	r      *rand.Rand     // for the small movements of whoever is alive
}

// newActor has the points of a test face that looks into the camera, and the depths of pitched.
func newActor(t testing.TB, person int) *actor {
	l := golden(t)["g3"][0].Landmarks
	five := (*landmarks)(&l).five()
	unit, at := distance(five.eyesMiddle(), l[8]), centroid(l[:])
	a := &actor{person: person, score: .99, r: rand.New(rand.NewPCG(1, uint64(person)))}
	tip := [2]float64{(l[30][0] - at[0]) / unit, (l[30][1] - at[1]) / unit}
	for i, p := range l {
		x, y := (p[0]-at[0])/unit, (p[1]-at[1])/unit
		du, dv := (x-tip[0])/.14, (y-tip[1])/.22
		a.points[i] = [3]float64{x, y, .75*math.Sqrt(max(1-x*x/.7-y*y/1.4, 0)) + .3*math.Exp(-du*du-dv*dv)}
	}
	return a
}

// flat is a picture of the actor.
func (a *actor) flat() *actor {
	b := *a
	for i := range b.points {
		b.points[i][2] = 0
	}
	return &b
}

// at is the actor turned by degrees of yaw and pitch, seen from five heads' heights off.
func (a *actor) at(yaw, pitch float64) Face {
	f := Face{Pose: Pose{Yaw: float32(yaw), Pitch: float32(pitch)}, EyesOpen: [2]float32{1, 1}, Template: make([]float32, 8), Liveness: verdictOf(a.score)}
	f.Template[a.person], f.Quality[UnifiedScore] = 1, 90
	sy, cy := math.Sincos(-yaw * math.Pi / 180)
	sp, cp := math.Sincos(-pitch * math.Pi / 180)
	dx, dy := 9*a.r.Float64(), 9*a.r.Float64()
	for i, p := range a.points {
		x, z := cy*p[0]+sy*p[2], cy*p[2]-sy*p[0]
		y, z := cp*p[1]+sp*z, cp*z-sp*p[1]
		k := 100 * 5 / (5 - z)
		f.Landmarks[i] = Point{float32(200 + dx + k*x), float32(200 + dy + k*y)}
	}
	for i, p := range f.landmarks().five() {
		f.Five[i] = Point{float32(p[0]), float32(p[1])}
	}
	f.Box = Box{100, 100, 250, 300}
	return f
}

// shut closes the eyes: the lids meet in the middle.
func (f Face) shut() Face {
	f.EyesOpen = [2]float32{.01, .01}
	for _, e := range eyes {
		y := (f.Landmarks[e.corners[0]].Y + f.Landmarks[e.corners[1]].Y) / 2
		for _, i := range e.lids {
			f.Landmarks[i].Y = y + (f.Landmarks[i].Y-y)/5
		}
	}
	return f
}

func asked(c Challenge, faces ...Face) Step {
	s := Step{Challenge: c}
	for i, f := range faces {
		s.Shots = append(s.Shots, Shot{Face: f, At: time.Duration(i) * 100 * time.Millisecond})
	}
	return s
}

// A flat picture has no parallax, however it is turned; a head has, to the side that it turns to.
func TestParallax(t *testing.T) {
	a := newActor(t, 0)
	base, flat := a.at(0, 0), a.flat()
	front := flat.at(0, 0)
	for _, angle := range []float64{-45, -25, -10, 10, 25, 45} {
		for _, turn := range [][2]float64{{angle, 0}, {0, angle}, {angle, angle / 2}} {
			f := flat.at(turn[0], turn[1])
			if x, y := parallax(&front, &f); math.Hypot(x, y) > 1e-3 {
				t.Errorf("a picture turned by %v: (%.4f, %.4f), want none", turn, x, y)
			}
		}
		side, up := a.at(angle, 0), a.at(0, angle)
		if x, _ := parallax(&base, &side); -x*math.Copysign(1, angle) < .004*math.Abs(angle) {
			t.Errorf("a head turned by %v: %.3f to the right", angle, x)
		}
		if _, y := parallax(&base, &up); -y*math.Copysign(1, angle) < .003*math.Abs(angle) {
			t.Errorf("a head raised by %v: %.3f down", angle, y)
		}
	}
	point := base
	point.Landmarks = [68]Point{1: {1, 1}}
	for _, f := range []Face{{}, point} {
		if x, y := parallax(&base, &f); x != 0 || y != 0 {
			t.Errorf("points that are no face: (%v, %v)", x, y)
		}
	}
}

func TestSatisfied(t *testing.T) {
	a := newActor(t, 0)
	base, flat := a.at(1, -3), a.flat()
	for name, c := range map[string]struct {
		step Step
		want string // the first hint; "" is satisfied
	}{
		"none":                   {asked(TurnLeft), "no_face"},
		"straight":               {asked(Centre, a.at(2, 3)), ""},
		"late":                   {asked(Centre, a.at(30, 3), a.at(2, 3)), ""},
		"away":                   {asked(Centre, a.at(20, 3)), "look_straight"},
		"down":                   {asked(Centre, a.at(0, -25)), "look_straight"},
		"left":                   {asked(TurnLeft, a.at(0, 0), a.at(-12, 0), a.at(-26, 0)), ""},
		"left and back":          {asked(TurnLeft, a.at(0, 0), a.at(-26, 0), a.at(-5, 0)), ""},
		"right":                  {asked(TurnRight, a.at(0, 0), a.at(12, 0), a.at(28, 0)), ""},
		"the other way":          {asked(TurnLeft, a.at(0, 0), a.at(28, 0)), "turn_other_way"},
		"a little":               {asked(TurnLeft, a.at(0, 0), a.at(-12, 0)), "turn_more"},
		"too far":                {asked(TurnLeft, a.at(0, 0), a.at(-70, 0)), "turn_less"},
		"turned before":          {asked(TurnLeft, a.at(-24, 0), a.at(-28, 0)), "look_straight"},
		"no pose":                {asked(TurnLeft, a.at(0, 0), a.at(math.NaN(), math.NaN())), "turn_more"},
		"no pose, straight":      {asked(Centre, a.at(math.NaN(), 0)), "look_straight"},
		"a picture turned":       {asked(TurnLeft, flat.at(0, 0), flat.at(-28, 0)), "turn_more"},
		"up":                     {asked(LookUp, a.at(0, 0), a.at(1, 20)), ""},
		"not up":                 {asked(LookUp, a.at(0, 0), a.at(1, 5)), "look_up_more"},
		"aside":                  {asked(LookUp, a.at(0, 0), a.at(28, 20)), "look_straight"},
		"a picture bent back":    {asked(LookUp, flat.at(0, 0), flat.at(0, 25)), "look_up_more"},
		"blink":                  {asked(Blink, a.at(0, 0), a.at(0, 0).shut(), a.at(0, 0)), ""},
		"eyes open":              {asked(Blink, a.at(0, 0), a.at(1, 0)), "close_eyes"},
		"eyes closed throughout": {asked(Blink, a.at(0, 0).shut(), a.at(1, 0).shut()), "uncover_eyes"},
		"opened only":            {asked(Blink, a.at(0, 0).shut(), a.at(1, 0)), "close_eyes"},
	} {
		if c.step.Challenge == LookUp && name == "a picture bent back" {
			base = flat.at(0, 0)
		}
		ok, hints := PresentationPolicy{}.Satisfied(base, c.step)
		if got := append(hints, "")[0]; got != c.want || ok != (c.want == "") {
			t.Errorf("%s: %v, %v; want %q", name, ok, hints, c.want)
		}
		base = a.at(1, -3)
	}
	if ok, hints := (PresentationPolicy{}).Look(base, TurnRight, a.at(26, 0)); !ok || hints != nil {
		t.Errorf("one frame of a turn: %v, %v", ok, hints)
	}
}

func TestPresent(t *testing.T) {
	a, b := newActor(t, 0), newActor(t, 1)
	dull, shady := newActor(t, 0), newActor(t, 0)
	dull.score, shady.score = .02, .5
	flat := a.flat()
	good := func(a *actor) []Step {
		best := a.at(1, -3)
		best.Quality[UnifiedScore] = 95
		return []Step{asked(Centre, a.at(22, 0), a.at(0, 0), best, a.at(4, 2)),
			asked(TurnLeft, a.at(0, 0), a.at(-13, 0), a.at(-26, 0)), asked(Blink, a.at(0, 0), a.at(0, 0).shut())}
	}
	with := func(steps []Step, more ...Step) []Step { return append(slices.Clip(steps), more...) }
	same := good(a)
	same[2].Shots[0] = same[1].Shots[0]
	for name, c := range map[string]struct {
		steps   []Step
		want    Verdict
		reasons []string
	}{
		"nothing":         {nil, Uncertain, []string{ReasonNoFrontal, ReasonUnsure}},
		"a person":        {good(a), Live, nil},
		"no challenge":    {good(a)[:1], Uncertain, []string{ReasonNoChallenge}},
		"no first look":   {good(a)[1:], Uncertain, []string{ReasonNoFrontal}},
		"never straight":  {[]Step{asked(Centre, a.at(20, 0)), good(a)[1]}, Uncertain, []string{ReasonNoFrontal}},
		"pictures":        {good(dull), Spoof, []string{ReasonNotLive}},
		"perhaps":         {good(shady), Uncertain, []string{ReasonUnsure}},
		"two people":      {with(good(a), asked(TurnRight, b.at(0, 0), b.at(28, 0))), Uncertain, []string{ReasonSeveralPeople}},
		"a picture twice": {same, Uncertain, []string{ReasonSamePicture}},
		"a flat turn":     {[]Step{asked(Centre, flat.at(0, 0)), asked(TurnLeft, flat.at(0, 0), flat.at(-28, 0))}, Uncertain, []string{ReasonFlat}},
		"no turn":         {with(good(a), asked(TurnRight, a.at(0, 0), a.at(3, 0))), Uncertain, []string{ReasonNoChallenge}},
		"no flash":        {with(good(a), asked(Flash, a.at(0, 0), a.at(1, 0))), Uncertain, []string{ReasonNoFlash}},
		"all of it": {with(good(dull), asked(TurnRight, b.at(0, 0), b.at(3, 0))), Spoof,
			[]string{ReasonNotLive, ReasonSeveralPeople, ReasonNoChallenge}},
	} {
		got := Present(c.steps, PresentationPolicy{})
		if got.Verdict != c.want || !slices.Equal(got.Reasons, c.reasons) {
			t.Errorf("%s: %s for %v, want %s for %v", name, got.Verdict, got.Reasons, c.want, c.reasons)
		}
	}
	hidden := good(a) // the first look is a picture, and there are more frames that are live
	for i := range hidden[0].Shots {
		hidden[0].Shots[i].Face.Liveness = verdictOf(.02)
	}
	if got := Present(with(hidden, good(a)[1]), PresentationPolicy{}); got.Verdict != Uncertain || got.Passive != Live || !slices.Equal(got.Reasons, []string{ReasonNotLive}) {
		t.Errorf("a picture among live frames: %+v", got)
	}
	hidden[0].Shots[1].Face.Liveness = verdictOf(.99)
	if got := Present(hidden, PresentationPolicy{}); got.Best != (Place{0, 1}) {
		t.Errorf("what is live is matched, not %+v", got.Best)
	}
	if got := Present(good(a), PresentationPolicy{}); got.Best != (Place{0, 2}) || got.Cosine != 1 || !(got.Motion > 0) {
		t.Errorf("%+v", got)
	}
	if got := Present(good(a)[1:], PresentationPolicy{}); got.Best != (Place{-1, -1}) {
		t.Errorf("best of none: %+v", got.Best)
	}
}

// Heads that are turned further from each other may differ more.
func TestOnePersonByPose(t *testing.T) {
	a := newActor(t, 0)
	near, far := a.at(0, 0), a.at(-26, 0)
	p := PresentationPolicy{Same: .5, Turned: .4}.withDefaults()
	for _, c := range []struct {
		b      *Face
		cosine float32
		want   bool
	}{{&near, .5, true}, {&near, .49, false}, {&far, .4, true}, {&far, .39, false}} {
		if got := p.onePerson(&near, c.b, c.cosine); got != c.want {
			t.Errorf("yaw %v at %v: %v", c.b.Pose.Yaw, c.cosine, got)
		}
	}
}
