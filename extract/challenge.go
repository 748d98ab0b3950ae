package extract

import (
	"math"
	"slices"
)

// sideOf is the sign of the yaw that a turn goes to, and of the way that the nose takes.
var sideOf = map[Challenge]float32{TurnLeft: -1, TurnRight: 1}

// Satisfied says whether the shots of a step show what its challenge asks for, and if not what the person should do: words of
// hint, the most important first. base is a frame of the same presentation that looks into the camera; Centre doesn't read
// it. Of a turn and of LookUp the first shot must be from before the movement, so that a head that is held turned does not pass; of
// Blink an open eye must come before the closed ones. Nothing is retained.
func (p PresentationPolicy) Satisfied(base Face, s Step) (ok bool, hints []string) {
	p = p.withDefaults()
	switch {
	case len(s.Shots) == 0:
		return false, []string{"no_face"}
	case s.Challenge == Flash:
		return p.flashed(s.Shots)
	case s.Challenge == Centre:
		return p.shows(&base, s, 0)
	case s.Challenge == Blink:
		return p.blinked(&base, s)
	}
	if p.begun(&base, s.Challenge, &s.Shots[0].Face) {
		return false, []string{"look_straight"}
	}
	return p.shows(&base, s, 1)
}

// shows says whether a shot from the first on shows what is asked for; the hints are those of the last.
func (p PresentationPolicy) shows(base *Face, s Step, first int) (bool, []string) {
	for _, shot := range s.Shots[first:] {
		if len(p.look(base, s.Challenge, &shot.Face)) == 0 {
			return true, nil
		}
	}
	return false, p.look(base, s.Challenge, &s.Shots[len(s.Shots)-1].Face)
}

// Look is Satisfied for one frame of a movement: ready says that it shows where the challenge leads to. Of Flash it says only that
// the person looks into the camera.
func (p PresentationPolicy) Look(base Face, c Challenge, frame Face) (ready bool, hints []string) {
	p = p.withDefaults()
	hints = p.look(&base, c, &frame)
	return len(hints) == 0, hints
}

// look returns what the person should do; nothing: the frame shows it.
func (p PresentationPolicy) look(base *Face, c Challenge, f *Face) []string {
	switch c {
	case TurnLeft, TurnRight:
		return p.lookTurned(base, sideOf[c], f)
	case LookUp:
		return p.lookRaised(base, f)
	case Blink:
		if !eyesClosed(base, f) {
			return []string{"close_eyes"}
		}
	}
	if !p.frontal(f) {
		return []string{"look_straight"}
	}
	return nil
}

func (p PresentationPolicy) lookTurned(base *Face, side float32, f *Face) []string {
	by, to := side*(f.Pose.Yaw-base.Pose.Yaw), side*f.Pose.Yaw
	across, _ := parallax(base, f)
	switch {
	case by < -p.Turn/2:
		return []string{"turn_other_way"}
	case to > mostTurn:
		return []string{"turn_less"}
	case !(by >= p.Turn && to >= p.Turn*.75 && -float64(side)*across >= float64(p.Parallax)):
		return []string{"turn_more"}
	}
	return nil
}

func (p PresentationPolicy) lookRaised(base *Face, f *Face) []string {
	_, down := parallax(base, f)
	switch {
	case math.Abs(float64(f.Pose.Yaw-base.Pose.Yaw)) > float64(p.Turn):
		return []string{"look_straight"}
	case !(f.Pose.Pitch-base.Pose.Pitch >= p.Up && -down >= float64(p.Raise)):
		return []string{"look_up_more"}
	}
	return nil
}

// begun says that a movement has gone half of its way.
func (p PresentationPolicy) begun(base *Face, c Challenge, f *Face) bool {
	if c == LookUp {
		return f.Pose.Pitch-base.Pose.Pitch > p.Up/2
	}
	return sideOf[c]*(f.Pose.Yaw-base.Pose.Yaw) > p.Turn/2
}

// blinked says that both eyes were open and later closed, while the head looked into the camera.
func (p PresentationPolicy) blinked(base *Face, s Step) (bool, []string) {
	open := slices.IndexFunc(s.Shots, func(x Shot) bool { return p.frontal(&x.Face) && min(x.Face.EyesOpen[0], x.Face.EyesOpen[1]) >= .5 })
	switch {
	case open < 0 && !p.frontal(&s.Shots[0].Face):
		return false, []string{"look_straight"}
	case open < 0:
		return false, []string{"uncover_eyes"}
	}
	return p.shows(base, s, open+1)
}

// eyesClosed says it of both. The model must be of the opinion, and the lids must not be further apart than in base: the points of lids that
// close move by a third of the gap or by nothing, but blur and tilt, which may mislead the model, often widen it.
func eyesClosed(base, f *Face) bool {
	gap, before := f.lidGaps(), base.lidGaps()
	for i, open := range f.EyesOpen {
		if !(open < .5 && gap[i] <= before[i]) {
			return false
		}
	}
	return true
}

// mostTurn is how far a head may be turned: beyond it faces are lost and their points are guessed.
const mostTurn = 60
