package extract

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// sheet is a photo that is held before a camera: turned about the face's middle by degrees, in box heights from the camera, bent round an upright
// cylinder of so many box heights (0: not at all).
type sheet struct {
	kind                       string
	yaw, pitch, roll           float64
	distance, radius, enlarged float64
}

// sheets are the ways to hold one that TestPresentationRates tries: to both sides each.
func sheets() (all []sheet) {
	for _, side := range []float64{-1, 1} {
		for _, angle := range []float64{20, 30, 45, 60} {
			all = append(all, sheet{"flat, turned", side * angle, 0, 0, 1.5, 0, 1}, sheet{"flat, turned", side * angle, 0, 0, 3, 0, 1})
		}
		for _, angle := range []float64{30, 45} {
			all = append(all, sheet{"flat, bent back", 0, side * angle, 0, 2, 0, 1}, sheet{"flat, both", angle, side * angle, side * 10, 2, 0, 1})
			for _, radius := range []float64{.5, .7, 1, 1.5} {
				kind := "bent, turned"
				if radius < 1 {
					kind = "bent as a head is, turned"
				}
				all = append(all, sheet{kind, side * angle, 0, 0, 2.5, radius, 1})
			}
		}
		all = append(all, sheet{"moved", 0, 0, side * 20, 5, 0, 1}, sheet{"moved", 0, 0, 0, 5, 0, 1 + side*.3})
	}
	return all
}

// hold is the photo of m, whose face is in box, held so.
func (s sheet) hold(m *Image, box Box) *Image {
	cx, cy, unit := float64(box.X1+box.X2)/2, float64(box.Y1+box.Y2)/2, float64(box.Y2-box.Y1)
	sinYaw, cosYaw := math.Sincos(s.yaw * math.Pi / 180)
	sinPitch, cosPitch := math.Sincos(s.pitch * math.Pi / 180)
	sinRoll, cosRoll := math.Sincos(s.roll * math.Pi / 180)
	turn := func(v [3]float64) [3]float64 {
		v = [3]float64{cosYaw*v[0] - sinYaw*v[2], v[1], sinYaw*v[0] + cosYaw*v[2]}
		return [3]float64{v[0], cosPitch*v[1] - sinPitch*v[2], sinPitch*v[1] + cosPitch*v[2]}
	}
	camera := turn([3]float64{0, 0, -s.distance * unit})
	out := newImage(m.W, m.H)
	for i := range m.W * m.H {
		x, y := (float64(i%m.W)-cx)/s.enlarged, (float64(i/m.W)-cy)/s.enlarged
		u, v, ok := s.meet(camera, turn([3]float64{cosRoll*x + sinRoll*y, cosRoll*y - sinRoll*x, s.distance * unit}), s.radius*unit)
		u, v = u+cx, v+cy
		if !ok || !(u > -1 && v > -1 && u < float64(m.W) && v < float64(m.H)) {
			copy(out.Pix[3*i:], []uint8{128, 120, 110})
			continue
		}
		bilinear(out.Pix[3*i:3*i+3], m, u, v)
	}
	return out
}

// meet is where a ray meets the sheet, in the photo's own coordinates.
func (s sheet) meet(from, ray [3]float64, radius float64) (u, v float64, ok bool) {
	if radius == 0 {
		k := -from[2] / ray[2]
		return from[0] + k*ray[0], from[1] + k*ray[1], true
	}
	z := from[2] - radius // from the cylinder's axis
	a, b, c := ray[0]*ray[0]+ray[2]*ray[2], 2*(from[0]*ray[0]+z*ray[2]), from[0]*from[0]+z*z-radius*radius
	d := b*b - 4*a*c
	if d < 0 {
		return 0, 0, false
	}
	k := (-b - math.Sqrt(d)) / (2 * a)
	return radius * math.Atan2(from[0]+k*ray[0], -(z+k*ray[2])), from[1] + k*ray[1], true
}

// presentationRates are photos of people, and of photos that were held before the camera.
type presentationRates struct {
	sync.Mutex
	people map[string][]*Face
	held   []held
	policy PresentationPolicy
}

type held struct {
	sheet      sheet
	base, face *Face
}

// TestPresentationRates measures the thresholds of PresentationPolicy on a folder of people with several photos: how often two photos
// of one person pass for two, and the reverse, by how far apart the heads are turned; whether who turned enough is told from a picture; and
// what a photo reaches that is tilted, bent and moved. -attacked says of how many people photos are held up.
func TestPresentationRates(t *testing.T) {
	if *facesFlag == "" {
		t.Skip("skipped: no folder of real photos (make liveness FACES=DIR)")
	}
	dir, _, _ := strings.Cut(*facesFlag, ",")
	r := presentationRates{people: map[string][]*Face{}, policy: PresentationPolicy{}.withDefaults()}
	people := onePhotoEach(t, dir, *peopleFlag)
	step := max(len(people) / *attacksFlag, 1)
	each(len(people), func(i int) { r.measure(t, people[i], i%step == 0) })
	r.report(t)
}

// A sheet that is held straight is the photo; one that is turned is narrower, and none is seen past the horizon of a cylinder.
func TestHold(t *testing.T) {
	m := readImage(t, filepath.Join("..", "testdata", "faces", "a_1.jpg"))
	box := Box{60, 60, 160, 200}
	if same := (sheet{distance: 3, enlarged: 1}).hold(m, box); !slices.Equal(same.Pix, m.Pix) {
		t.Error("a sheet held straight is another picture")
	}
	m = newImage(200, 200)
	for i := range m.Pix {
		m.Pix[i] = 250
	}
	seen := func(s sheet) (n int) {
		for i, v := range s.hold(m, Box{60, 60, 140, 140}).Pix {
			if i%3 == 0 && v > 200 {
				n++
			}
		}
		return n
	}
	straight, turned := seen(sheet{distance: 3, enlarged: 1}), seen(sheet{yaw: 60, distance: 3, enlarged: 1})
	bent := seen(sheet{distance: 3, radius: .3, enlarged: 1})
	if straight != 200*200 || turned > straight*3/4 || turned < straight/4 || bent > straight/2 || bent == 0 {
		t.Errorf("of %d pixels %d are seen when turned by 60°, %d when bent to a rod", straight, turned, bent)
	}
}

// A face whose lids are drawn shut has closed eyes, by the models, and blinks.
func TestBlinkModels(t *testing.T) {
	m := readImage(t, filepath.Join("..", "testdata", "golden", "g0.png"))
	open, l, _ := look(t, m, WantQuality)
	shut, _, _ := look(t, lidsClosed(m, l, 1), WantQuality)
	for _, c := range []struct {
		shots []Face
		want  bool
	}{{[]Face{open, shut}, true}, {[]Face{open, open}, false}, {[]Face{shut, shut}, false}} {
		if ok, hints := (PresentationPolicy{}).Satisfied(open, asked(Blink, c.shots...)); ok != c.want {
			t.Errorf("%v: %v of %v and %v", ok, hints, c.shots[0].EyesOpen, c.shots[1].EyesOpen)
		}
	}
}

// Of nobody there is nothing to tell.
func TestPresentationRatesOfNone(t *testing.T) {
	new(presentationRates).report(t)
}

// measure takes all photos of a person, the first of which is in file.
func (r *presentationRates) measure(t *testing.T, file string, attack bool) {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	if err != nil {
		t.Error(err)
	}
	if attack {
		r.attack(t, file)
	}
	if len(files) < 2 {
		return
	}
	for _, file := range files {
		if f := r.extract(t, readFaces(t, file)); f != nil {
			r.Lock()
			r.people[filepath.Dir(file)] = append(r.people[filepath.Dir(file)], f)
			r.Unlock()
		}
	}
}

func (r *presentationRates) extract(t *testing.T, data []byte) *Face {
	faces, err := testExtractor(t).Extract(t.Context(), data, Options{Select: SelectCentral, Want: WantTemplate | WantQuality})
	if err != nil {
		if !errors.Is(err, ErrNoFace) && !errors.Is(err, ErrFaceTooSmall) {
			t.Error(err)
		}
		return nil
	}
	faces[0].Crop = nil
	return &faces[0]
}

// attack holds up a photo in every way.
func (r *presentationRates) attack(t *testing.T, file string) {
	data := readFaces(t, file)
	base := r.extract(t, data)
	if base == nil || !r.policy.frontal(base) {
		return
	}
	photo := decoded(t, data)
	for _, s := range sheets() {
		if f := r.extract(t, encodeJPEG(t, s.hold(photo, base.Box), 90)); f != nil {
			r.Lock()
			r.held = append(r.held, held{s, base, f})
			r.Unlock()
		}
	}
}

func (r *presentationRates) report(t *testing.T) {
	var out strings.Builder
	fmt.Fprintf(&out, "%% (95 %%) by %+v\n", r.policy)
	r.identity(&out)
	passed := r.movements(&out)
	r.attacks(&out)
	t.Log(out.String())
	if passed.trials >= 100 && passed.hits < passed.trials*9/10 {
		t.Errorf("of heads turned enough %v %% are told from pictures", passed)
	}
}

func count(in map[string]ratio, key string, hit bool) {
	r := in[key]
	if r.trials++; hit {
		r.hits++
	}
	in[key] = r
}

// identity prints how often two photos of one person are taken for two people, and two people for one. Labels of the folder are taken as they are.
func (r *presentationRates) identity(out *strings.Builder) {
	key := func(a, b *Face) string {
		return fmt.Sprintf("%02.0f°", 10*math.Floor(math.Hypot(float64(a.Pose.Yaw-b.Pose.Yaw), float64(a.Pose.Pitch-b.Pose.Pitch))/10))
	}
	mated, others := map[string]ratio{}, map[string]ratio{}
	var all []*Face
	var owner []string
	for person, faces := range r.people {
		for i, a := range faces {
			all, owner = append(all, a), append(owner, person)
			for _, b := range faces[:i] {
				count(mated, key(a, b), !r.policy.onePerson(a, b, cosineOf(a, b)))
			}
		}
	}
	rnd := rand.New(rand.NewPCG(*seedFlag, 1))
	for range min(len(all)*len(all), 500_000) {
		if i, j := rnd.IntN(len(all)), rnd.IntN(len(all)); owner[i] != owner[j] {
			count(others, key(all[i], all[j]), r.policy.onePerson(all[i], all[j], cosineOf(all[i], all[j])))
		}
	}
	fmt.Fprintf(out, "apart   one person taken for two              two people taken for one\n")
	for _, k := range slices.Sorted(maps.Keys(mated)) {
		m, o := mated[k], others[k]
		fmt.Fprintf(out, "%s     %5d of %6d: %-20v %4d of %6d: %s\n", k, m.hits, m.trials, m, o.hits, o.trials, o.fine())
	}
}

// movements prints, of pairs of photos of which the second is turned far enough by the pose model, how many are told from a picture.
func (r *presentationRates) movements(out *strings.Builder) (all ratio) {
	told := map[string]ratio{}
	blind := r.policy
	blind.Parallax, blind.Raise = float32(math.Inf(-1)), float32(math.Inf(-1))
	for _, faces := range r.people {
		for _, a := range faces {
			for _, b := range faces {
				if a == b || !r.policy.frontal(a) || cosineOf(a, b) < r.policy.Turned {
					continue
				}
				for _, c := range []Challenge{TurnLeft, TurnRight, LookUp} {
					if pose, _ := blind.Look(*a, c, *b); !pose {
						continue
					}
					by, name := math.Abs(float64(a.Pose.Yaw-b.Pose.Yaw)), "turn"
					if c == LookUp {
						by, name = float64(b.Pose.Pitch-a.Pose.Pitch), "look up"
					}
					ok, _ := r.policy.Look(*a, c, *b)
					count(told, fmt.Sprintf("%-7s by %2.0f°", name, 5*math.Floor(by/5)), ok)
					if name == "turn" {
						all.trials++
						if ok {
							all.hits++
						}
					}
				}
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(told)) {
		fmt.Fprintf(out, "%s: %4d of %4d: %v\n", k, told[k].hits, told[k].trials, told[k])
	}
	return all
}

// attacks prints how many of the photos held up pass for a turn to either side, for LookUp and for closed eyes, and how many would by
// the pose model alone.
func (r *presentationRates) attacks(out *strings.Builder) {
	blind := r.policy
	blind.Parallax, blind.Raise = float32(math.Inf(-1)), float32(math.Inf(-1))
	turned, seem, raised, shut := map[string]ratio{}, map[string]ratio{}, map[string]ratio{}, map[string]ratio{}
	for _, h := range r.held {
		k := fmt.Sprintf("%-26s %2.0f°", h.sheet.kind, max(math.Abs(h.sheet.yaw), math.Abs(h.sheet.pitch)))
		either := func(p PresentationPolicy) bool {
			left, _ := p.Look(*h.base, TurnLeft, *h.face)
			right, _ := p.Look(*h.base, TurnRight, *h.face)
			return left || right
		}
		up, _ := r.policy.Look(*h.base, LookUp, *h.face)
		closed, _ := r.policy.Look(*h.base, Blink, *h.face)
		count(turned, k, either(r.policy))
		count(seem, k, either(blind))
		count(raised, k, up)
		count(shut, k, closed && min(h.base.EyesOpen[0], h.base.EyesOpen[1]) >= .5)
	}
	fmt.Fprintf(out, "photos held up                      n  a turn by pose alone  a turn           look up          closed eyes\n")
	for _, k := range slices.Sorted(maps.Keys(turned)) {
		fmt.Fprintf(out, "%s  %5d  %-20v  %-15v  %-15v  %v\n", k, turned[k].trials, seem[k], turned[k], raised[k], shut[k])
	}
}
