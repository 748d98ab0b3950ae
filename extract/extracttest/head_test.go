package extracttest

import (
	"slices"
	"testing"

	"mien/extract"
)

func shots(t *testing.T, photos ...[]byte) (all []extract.Shot) {
	t.Helper()
	want := extract.WantTemplate | extract.WantQuality | extract.WantLiveness
	for _, data := range photos {
		faces, err := Default(t).Extract(t.Context(), data, extract.Options{Select: extract.SelectOne, Want: want})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, extract.Shot{Face: faces[0]})
	}
	return all
}

// With the default pack's models a head that turns is live, and its photo, which is tilted, is not.
func TestPresentModels(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: a dozen photos to make and extract")
	}
	t.Cleanup(Close)
	h := Turner(t)
	first := extract.Step{Challenge: extract.Centre, Shots: shots(t, h.Turned(t, 0, 0), h.Turned(t, 2, 1))}
	base := first.Shots[0].Face
	steps := []extract.Step{first,
		{Challenge: extract.TurnLeft, Shots: shots(t, h.Turned(t, -3, 0), h.Turned(t, -40, 0))},
		{Challenge: extract.TurnRight, Shots: shots(t, h.Turned(t, 3, 0), h.Turned(t, 40, 0))},
		{Challenge: extract.LookUp, Shots: shots(t, h.Turned(t, 0, 2), h.Turned(t, 0, 28))},
	}
	var policy extract.PresentationPolicy
	for _, s := range steps {
		if ok, hints := policy.Satisfied(base, s); !ok {
			t.Errorf("%s: %v, %+v", s.Challenge, hints, s.Shots[len(s.Shots)-1].Face.Pose)
		}
	}
	if p := extract.Present(steps, policy); p.Verdict != extract.Live {
		t.Errorf("a head that turns: %s for %v", p.Verdict, p.Reasons)
	}
	// The pose model takes this tilted photo for a head that is turned.
	tilted := shots(t, h.Tilted(t, 4, 0), h.Tilted(t, 62, 0))
	if ok, _ := (extract.PresentationPolicy{Parallax: -1}).Satisfied(base, extract.Step{Challenge: extract.TurnLeft, Shots: tilted}); !ok {
		t.Errorf("a tilted photo does not even seem to turn: %+v", tilted[1].Face.Pose)
	}
	flat := []extract.Step{first, {Challenge: extract.TurnLeft, Shots: tilted}}
	if p := extract.Present(flat, policy); p.Verdict == extract.Live || !slices.Contains(p.Reasons, extract.ReasonFlat) {
		t.Errorf("a tilted photo: %s for %v", p.Verdict, p.Reasons)
	}
	other := extract.Step{Challenge: extract.Centre, Shots: shots(t, Photo(t, "a_1.jpg"))}
	if p := extract.Present(append(steps, other), policy); p.Verdict == extract.Live || !slices.Contains(p.Reasons, extract.ReasonSeveralPeople) {
		t.Errorf("two people: %s for %v", p.Verdict, p.Reasons)
	}
}
