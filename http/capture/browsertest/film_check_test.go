package browsertest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mien/extract"
)

func cosine(a, b extract.Face) (c float32) {
	for i, v := range a.Template {
		c += v * b.Template[i]
	}
	return c
}

// faces are those of every nth picture of a film.
func (f film) faces(t *testing.T, n int) (all []extract.Face) {
	t.Helper()
	i := 0
	for p := range develop(f.shots()) {
		if i%n == 0 {
			all = append(all, face(t, p.jpegOf(t)))
		}
		i++
	}
	return all
}

// seen is what a film shows, by the extractor.
type seen struct{ left, right, up, cosine, live float32 }

// sum goes by the first picture: the least and the most yaw, the most that the head is raised, the least cosine and liveness.
func sum(all []extract.Face) seen {
	base := all[0]
	s := seen{cosine: 1, live: 1}
	for _, f := range all {
		s.left, s.right, s.up = min(s.left, f.Pose.Yaw), max(s.right, f.Pose.Yaw), max(s.up, f.Pose.Pitch-base.Pose.Pitch)
		s.cosine, s.live = min(s.cosine, cosine(base, f)), min(s.live, f.Liveness.Score)
	}
	return s
}

// The people of the films turn as they are asked to, remain one person, and pass as live.
func TestFilms(t *testing.T) {
	skipShort(t)
	var first []extract.Face
	for i, name := range []string{"ana", "arun", "carl"} {
		who := person(t, name)
		f := film{seed: uint64(i), light: 1, scenes: []scene{turnsLeft(who), turnsRight(who), looksUp(who)}}
		s := sum(f.faces(t, 11))
		t.Logf("%s: yaw %.0f° to %.0f°, raised by %.0f°; least cosine %.2f, liveness %.2f", name, s.left, s.right, s.up, s.cosine, s.live)
		if s.left > -24 || s.right < 24 || s.cosine < .6 || s.live < .5 || name == "ana" && s.up < 13 {
			t.Errorf("%s: turned too little, or somebody else", name)
		}
		asked := []extract.Challenge{extract.TurnLeft, extract.TurnRight}
		if name == "ana" {
			asked = append(asked, extract.LookUp)
		}
		steps := f.presentation(t, asked...)
		if p := extract.Present(steps, extract.PresentationPolicy{}); p.Verdict != extract.Live {
			t.Errorf("%s: %s %v", name, p.Verdict, p.Reasons)
		}
		ahead := steps[0].Shots[0].Face
		for _, other := range first {
			if c := cosine(ahead, other); c > .3 {
				t.Errorf("%s is like another, at %.2f", name, c)
			}
		}
		first = append(first, ahead)
	}
}

// What is not a person who turns does not pass: a photo that is held, and somebody else who turns in place of the first.
func TestFilmsOfAttacks(t *testing.T) {
	skipShort(t)
	ana, arun := person(t, "ana"), person(t, "arun")
	for _, c := range []struct {
		what   string
		scenes []scene
		reason string
	}{
		{"a photo", []scene{looks(4.2, ana)}, extract.ReasonNoChallenge},
		{"two people", inPlaceOf(ana, arun), extract.ReasonSeveralPeople},
	} {
		p := extract.Present(film{seed: 7, light: 1, scenes: c.scenes}.presentation(t, extract.TurnLeft), extract.PresentationPolicy{})
		if p.Verdict == extract.Live || !slices.Contains(p.Reasons, c.reason) {
			t.Errorf("%s: %s %v, want %s", c.what, p.Verdict, p.Reasons, c.reason)
		}
	}
}

// presentation is what a page would send of a film whose scenes are what is asked for, in order: three shots of the first second, then three of
// each scene, before, during and at the end of the movement.
func (f film) presentation(t *testing.T, asked ...extract.Challenge) []extract.Step {
	t.Helper()
	shots := f.shots()
	step := func(c extract.Challenge, at ...int) extract.Step {
		s := extract.Step{Challenge: c}
		for _, i := range at {
			for p := range develop(shots[i : i+1]) {
				s.Shots = append(s.Shots, extract.Shot{Face: face(t, p.jpegOf(t)), At: time.Duration(i) * time.Second / filmRate})
			}
		}
		return s
	}
	all := []extract.Step{step(extract.Centre, 1, 6, 11)}
	for i, c := range asked {
		start := int(float64(i) * turnSeconds * filmRate)
		all = append(all, step(c, start+13, start+20, start+30))
	}
	return all
}

// Two films of the same have no picture in common.
func TestFilmsDiffer(t *testing.T) {
	skipShort(t)
	who := person(t, "ana")
	sums := make(map[[len(picture{}.y)]uint8]bool)
	for seed := range uint64(2) {
		for p := range develop(film{seed: seed, light: 1, scenes: []scene{looks(1, who)}}.shots()) {
			if sums[p.y] {
				t.Error("a picture came twice")
			}
			sums[p.y] = true
		}
	}
}

// lfw is where photos of real people may lie.
var lfw = filepath.Join("..", "..", "..", "..", "shared", "faces", "lfw")

// realPeople are by package extract's measures one person each who looks into the camera, to the own left and to the right, with cosines of .79 to .80
// between the three photos: of all with several photos, those who are most like themselves.
var realPeople = map[string][3]string{
	"George_Robertson": {"0007", "0005", "0001"},
	"Paul_McCartney":   {"0006", "0001", "0005"},
	"Charles_Moose":    {"0004", "0003", "0008"},
}

// realPerson gives the three photos: into the camera, to the person's own left and to the right.
func realPerson(t *testing.T, name string) (ahead, left, right *head) {
	t.Helper()
	var heads [3]*head
	for i, n := range realPeople[name] {
		path := filepath.Join(lfw, name, name+"_"+n+".jpg")
		if _, err := os.Stat(path); err != nil {
			t.Skipf("skipped: there are no photos at %s", lfw)
		}
		heads[i] = photograph(t, path)
	}
	return heads[0], heads[1], heads[2]
}

func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short")
	}
}
