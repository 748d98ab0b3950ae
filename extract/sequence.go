package extract

import (
	"cmp"
	"math"
	"slices"
)

// stillBelow is how little, in heights of the box, the points of a face move between two frames that are the same picture.
// Measured: TestFuseLiveness logs what saving a photo again as a JPEG moves them, .0002 to .0008 of a box of 220 pixels. Of boxes of
// 110 pixels it is up to ten times as much: such copies are not seen. How still people sit was not measured: nobody had a film.
const stillBelow = .001

// Sequence is what photos of one presentation, taken one after the other, say together.
type Sequence struct {
	Liveness              // the verdict is that of the whole
	Passive       Verdict // that of the score alone
	Cosine        float32 // the least between two frames' templates
	Motion        float32 // the least that the face's points moved between two frames: RMS, in heights of its box
	SeveralPeople bool    // two frames are not of one person (PresentationPolicy.Same and Turned)
	SamePicture   bool    // two frames are the same picture
}

// FuseLiveness judges frames, each with its template, quality and liveness. The score is the median of theirs, the lower one of an
// even number. The verdict is that of the score; but where the frames are not all of one person, where two are the same
// picture, or where there are less than two, it is Uncertain at best.
//
// A still is told from a person only if the same picture came twice: a photo or screen that is held moves as people do.
// Frames are not retained. What it is worth against attacks is in doc.go, "Liveness".
func FuseLiveness(frames []*Face, policy PresentationPolicy) Sequence {
	q := Sequence{Liveness: Liveness{Verdict: Uncertain}, Passive: Uncertain}
	if len(frames) == 0 {
		return q
	}
	q.Liveness = medianLiveness(frames)
	q.Passive, q.Cosine, q.Motion = q.Verdict, 1, float32(math.Inf(1))
	policy = policy.withDefaults()
	for i, a := range frames {
		for _, b := range frames[:i] {
			q.compare(a, b, policy)
		}
	}
	q.SamePicture = !(q.Motion >= stillBelow)
	if q.Verdict == Live && (len(frames) < 2 || q.SeveralPeople || q.SamePicture) {
		q.Verdict = Uncertain
	}
	if len(frames) < 2 {
		q.Motion = 0
	}
	return q
}

// compare takes two frames into account.
func (q *Sequence) compare(a, b *Face, policy PresentationPolicy) {
	cosine := cosineOf(a, b)
	q.Cosine = min(q.Cosine, cosine)
	q.Motion = min(q.Motion, float32(motion(a, b)))
	q.SeveralPeople = q.SeveralPeople || !policy.onePerson(a, b, cosine)
}

// medianLiveness is that of the frame in the middle.
func medianLiveness(frames []*Face) Liveness {
	all := make([]Liveness, len(frames))
	for i := range frames {
		all[i] = frames[i].Liveness
	}
	slices.SortFunc(all, func(a, b Liveness) int { return cmp.Compare(a.Score, b.Score) })
	return all[(len(all)-1)/2]
}

// cosineOf is that of two frames' templates; -1 where one is missing.
func cosineOf(a, b *Face) (cos float32) {
	if len(a.Template) == 0 || len(a.Template) != len(b.Template) {
		return -1
	}
	for i, v := range a.Template {
		cos += v * b.Template[i]
	}
	return cos
}

// motion is the root mean square of what the points of a moved to b, in heights of a's box.
func motion(a, b *Face) float64 {
	p, q := a.Points(), b.Points()
	if len(p) != len(q) {
		return 0
	}
	var sum float64
	for i := range p {
		dx, dy := float64(p[i].X-q[i].X), float64(p[i].Y-q[i].Y)
		sum += dx*dx + dy*dy
	}
	return math.Sqrt(sum/float64(len(p))) / max(float64(a.Box.Y2-a.Box.Y1), 1)
}
