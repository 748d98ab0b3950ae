package extract

import (
	"math"
	"slices"
)

// stillBelow is how little, in heights of the box, the points of a face move between two frames that are the same picture.
// Measured: TestFuseLiveness logs what saving a photo again as a JPEG moves them.
const stillBelow = .001

// Sequence is what photos of one presentation, taken one after the other, say together.
type Sequence struct {
	Liveness
	Cosine float32 // the least between two frames' templates
	Motion float32 // the least that the face's points moved from one frame to the next: RMS, in heights of its box
}

// FuseLiveness judges frames, in the order in which they were taken, each with its template and liveness. The score is the
// median of theirs, the lower one of an even number. The verdict is that of the score; but where the frames are not all of
// one person (a cosine below samePerson), where two neighbours are the same picture, or where there are less than two, it is
// Uncertain at best.
//
// A still is told from a person only if the same picture came twice: a photo or screen that is held moves as people do.
// Frames are not retained. What it is worth against attacks is in doc.go, "Liveness".
func FuseLiveness(frames []Face, samePerson float32) Sequence {
	if len(frames) == 0 {
		return Sequence{Liveness: Liveness{Verdict: Uncertain}}
	}
	q := Sequence{Liveness: medianLiveness(frames), Cosine: leastCosine(frames), Motion: leastMotion(frames)}
	if q.Verdict == Live && (len(frames) < 2 || !(q.Cosine >= samePerson) || !(q.Motion >= stillBelow)) {
		q.Verdict = Uncertain
	}
	return q
}

// medianLiveness is that of the frame in the middle.
func medianLiveness(frames []Face) Liveness {
	all := make([]Liveness, len(frames))
	for i := range frames {
		all[i] = frames[i].Liveness
	}
	slices.SortFunc(all, func(a, b Liveness) int {
		switch {
		case a.Score < b.Score:
			return -1
		case a.Score > b.Score:
			return 1
		}
		return 0
	})
	return all[(len(all)-1)/2]
}

// leastCosine compares every two frames; 1 for a single one, -1 where a template is missing.
func leastCosine(frames []Face) float32 {
	least := float32(1)
	for i := range frames {
		for j := range i {
			a, b := frames[i].Template, frames[j].Template
			if len(a) == 0 || len(a) != len(b) {
				return -1
			}
			var cos float32
			for k := range a {
				cos += a[k] * b[k]
			}
			least = min(least, cos)
		}
	}
	return least
}

// leastMotion is the least movement between neighbours.
func leastMotion(frames []Face) float32 {
	least := math.Inf(1)
	for i := 1; i < len(frames); i++ {
		least = min(least, motion(&frames[i-1], &frames[i]))
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return float32(least)
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
