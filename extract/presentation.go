package extract

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Challenge is what a person is asked to do before the camera (doc.go, "Presentations").
type Challenge string

// The challenges. Images are as a camera takes them, not mirrored: who turns to the own left turns to the image's right.
const (
	Centre    Challenge = "centre"     // look straight into the camera
	TurnLeft  Challenge = "turn_left"  // turn the head towards the own left
	TurnRight Challenge = "turn_right" // and towards the own right
	LookUp    Challenge = "look_up"    // raise the chin
	Blink     Challenge = "blink"      // close both eyes for about a second
	Flash     Challenge = "flash"      // hold still while the screen shows colours
)

// Challenges lists them all.
func Challenges() []Challenge { return []Challenge{Centre, TurnLeft, TurnRight, LookUp, Blink, Flash} }

// Shot is one photo of a presentation. Its face has all that can be wanted: template, quality and liveness.
type Shot struct {
	Face   Face
	At     time.Duration // when it was taken, from any start
	Colour [3]float32    // of Flash: what the screen showed, sRGB in 0..255
	Around [3]float32    // of Flash: the colour of what is around the face, sRGB in 0..255; see Image.Around
}

// looksLikePicture says it of the shot alone, whatever the others of its presentation are.
func (s *Shot) looksLikePicture() bool { return s.Face.Liveness.Verdict == Spoof }

// Step is a challenge and the shots that were taken for it, in order.
type Step struct {
	Challenge Challenge
	Shots     []Shot
}

// PresentationPolicy are the thresholds that a presentation is judged by. A field that is 0 has its default, which was measured with the
// default pack (doc.go, "Presentations").
type PresentationPolicy struct {
	Frontal  float32 // most degrees of yaw, and five more of pitch, that count as looking into the camera
	Turn     float32 // degrees of yaw of a turn, from the base frame; three quarters of it from the camera
	Up       float32 // degrees of pitch of LookUp, from the base frame
	Parallax float32 // least way of the nose against eyes and mouth in a turn, to the side that it goes to; see parallax
	Raise    float32 // and upwards in LookUp
	Same     float32 // least cosine of two frames of one person whose heads are turned alike
	Turned   float32 // and of two whose yaw and pitch differ by more than turnedApart
	Flash    float32 // least correlation of the face's colour with the colours shown
}

// turnedApart is from how many degrees between two heads on their templates are compared by PresentationPolicy.Turned.
const turnedApart = 20

func (p PresentationPolicy) withDefaults() PresentationPolicy {
	return PresentationPolicy{
		Frontal: cmp.Or(p.Frontal, 15), Turn: cmp.Or(p.Turn, 20), Up: cmp.Or(p.Up, 12),
		Parallax: cmp.Or(p.Parallax, .09), Raise: cmp.Or(p.Raise, .05),
		Same: cmp.Or(p.Same, .42), Turned: cmp.Or(p.Turned, .36), Flash: cmp.Or(p.Flash, .8),
	}
}

// onePerson says whether two frames are of one person, by their cosine.
func (p PresentationPolicy) onePerson(a, b *Face, cosine float32) bool {
	least := p.Same
	if math.Hypot(float64(a.Pose.Yaw-b.Pose.Yaw), float64(a.Pose.Pitch-b.Pose.Pitch)) > turnedApart {
		least = p.Turned
	}
	return cosine >= least
}

// frontal says that the head is turned to the camera.
func (p PresentationPolicy) frontal(f *Face) bool {
	return math.Abs(float64(f.Pose.Yaw)) <= float64(p.Frontal) && math.Abs(float64(f.Pose.Pitch)) <= float64(p.Frontal)+5
}

// Why a presentation is not Live, in Presentation.Reasons. The words are stable: audits hold them.
const (
	ReasonNoFrontal     = "no_frontal"     // no shot of a Centre step looks into the camera
	ReasonNotLive       = "not_live"       // the frames look like pictures of a person: Spoof; or all those do that could be matched
	ReasonUnsure        = "uncertain"      // or may be such
	ReasonSeveralPeople = "several_people" // two frames are not of one person
	ReasonSamePicture   = "same_picture"   // two frames are the same picture
	ReasonFlat          = "flat"           // a head that seemed to turn moved as a flat picture does
	ReasonNoFlash       = "no_flash"       // the face's colour did not follow the screen's, or what is around it did as much
	ReasonNoChallenge   = "no_challenge"   // another challenge is not satisfied, or there is none
)

// Presentation is what a presentation shows.
type Presentation struct {
	Sequence          // of all shots, in order; its verdict is that of the whole
	Reasons  []string // why it is not Live, in the order of the constants; none if it is
	Best     Place    // the shot to be matched: of those of Centre that look into the camera the one of the best unified score, before any that looks like a picture
}

// Place is a shot of a step, by index; both −1: none.
type Place struct{ Step, Shot int }

// Present judges steps, in the order in which they were made. The verdict is Spoof if the frames look like pictures of a person
// (FuseLiveness). It is Live if they don't, nor does Best by itself, they are all of one person and no two are the same picture, there is a step of Centre, and at least one of another
// challenge, and all are Satisfied. Else it is Uncertain. Frames are not retained.
//
// It reads no clock and keeps nothing; what it is worth is in doc.go, "Presentations".
func Present(steps []Step, policy PresentationPolicy) Presentation {
	policy = policy.withDefaults()
	p := Presentation{Sequence: FuseLiveness(framesOf(steps), policy), Best: policy.best(steps)}
	note := func(is bool, reason string) {
		if is && !slices.Contains(p.Reasons, reason) {
			p.Reasons = append(p.Reasons, reason)
		}
	}
	note(p.Best.Step < 0, ReasonNoFrontal)
	note(p.Passive == Spoof || p.Best.Step >= 0 && steps[p.Best.Step].Shots[p.Best.Shot].looksLikePicture(), ReasonNotLive)
	note(p.Passive == Uncertain, ReasonUnsure)
	note(p.SeveralPeople, ReasonSeveralPeople)
	note(p.SamePicture, ReasonSamePicture)
	if p.Best.Step >= 0 {
		for _, reason := range policy.unsatisfied(&steps[p.Best.Step].Shots[p.Best.Shot].Face, steps) {
			note(true, reason)
		}
	}
	if p.Verdict == Live && len(p.Reasons) > 0 {
		p.Verdict = Uncertain
	}
	return p
}

func framesOf(steps []Step) (frames []*Face) {
	for i := range steps {
		for j := range steps[i].Shots {
			frames = append(frames, &steps[i].Shots[j].Face)
		}
	}
	return frames
}

// best is the place of the shot to be matched.
func (p PresentationPolicy) best(steps []Step) Place {
	place, most, picture := Place{-1, -1}, float32(-1), true
	for i, s := range steps {
		if s.Challenge != Centre {
			continue
		}
		for j := range s.Shots {
			f, flat := &s.Shots[j].Face, s.Shots[j].looksLikePicture()
			if q := f.Quality[UnifiedScore]; p.frontal(f) && (flat == picture && q > most || !flat && picture) {
				place, most, picture = Place{i, j}, q, flat
			}
		}
	}
	return place
}

// unsatisfied lists what is wrong with the steps, in the order of the reasons.
func (p PresentationPolicy) unsatisfied(base *Face, steps []Step) (reasons []string) {
	asked := 0
	for _, s := range steps {
		if s.Challenge != Centre {
			asked++
		}
		ok, _ := p.Satisfied(*base, s)
		switch {
		case ok:
		case s.Challenge == Flash:
			reasons = append(reasons, ReasonNoFlash)
		case p.flat(base, s):
			reasons = append(reasons, ReasonFlat)
		default:
			reasons = append(reasons, ReasonNoChallenge)
		}
	}
	if asked == 0 {
		reasons = append(reasons, ReasonNoChallenge)
	}
	slices.SortFunc(reasons, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return reasons
}

// rank is the place of a challenge's reason among the others.
func rank(reason string) int {
	return slices.Index([]string{ReasonFlat, ReasonNoFlash, ReasonNoChallenge}, reason)
}

// flat says that a movement would be what was asked for, were it not for the nose.
func (p PresentationPolicy) flat(base *Face, s Step) bool {
	p.Parallax, p.Raise = float32(math.Inf(-1)), float32(math.Inf(-1))
	ok, _ := p.Satisfied(*base, s)
	return ok
}
