package extract

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var (
	peopleFlag  = flag.Int("people", 3000, "how many people of each folder TestLivenessRates takes at most, a photo each, evenly spread")
	attacksFlag = flag.Int("attacked", 150, "of how many of them it makes attacks")
)

// presentation is one photo that was judged, and what it is.
type presentation struct {
	source  string // the folder
	person  string
	attack  string    // species; "" is bona fide
	retaken bool      // by the simulated camera, as attacks are
	scores  []float32 // by the model, for each of rateScales
}

// rateScales are the crops that the rules below are made of.
var rateScales = []float64{1, 1.5, 2.7}

// rules are ways to make a score of the model's. The last is what ships.
var rules = []struct {
	name  string
	score func(s []float32) float64
}{
	{"1.0 alone", func(s []float32) float64 { return float64(s[0]) }},
	{"1.5 alone", func(s []float32) float64 { return float64(s[1]) }},
	{"2.7 alone", func(s []float32) float64 { return float64(s[2]) }},
	{"1.0 and 2.7, plain mean", func(s []float32) float64 { return float64(s[0]+s[2]) / 2 }},
	{"1.0, 1.5 and 2.7, as log-odds", func(s []float32) float64 { return float64(livenessScore(s)) }},
	{"1.0 and 2.7, as log-odds (shipped)", func(s []float32) float64 { return float64(livenessScore([]float32{s[0], s[2]})) }},
}

// TestLivenessRates measures what liveness is worth: bona fide photos against simulated attacks made of them, in the words of
// ISO/IEC 30107-3. Thresholds at a BPCER come from one half of the people, rates from the other. -faces may name several
// folders, with commas between. Runs are alike but for -seed.
func TestLivenessRates(t *testing.T) {
	if *facesFlag == "" {
		t.Skip("skipped: no folder of real photos (make liveness FACES=DIR)")
	}
	var all livenessRates
	for dir := range strings.SplitSeq(*facesFlag, ",") {
		all.measure(t, dir)
	}
	all.report(t)
}

// The simulation must make pictures of faces: of a test face, which nobody is, all attacks but perhaps one are, and on the
// average they look less alive than the face itself through the same camera.
func TestSimulatedAttacks(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: attacks take long to simulate")
	}
	_, done := atWork(t)
	defer done()
	var l livenessRates
	file := filepath.Join("..", "testdata", "golden", "g4.png")
	l.attack(t, presentation{person: file}, file, 1)
	var person, attacks float64
	for _, p := range l.done {
		score := rules[len(rules)-1].score(p.scores)
		t.Logf("%.3f %s", score, cmp.Or(p.attack, "bona fide"))
		if p.attack == "" {
			person = score
		} else {
			attacks += score / float64(len(l.done)-1)
		}
	}
	if len(l.done) < len(species) || !(attacks < person-.02) {
		t.Errorf("faces in %d pictures of %d; attacks score %.3f, the face itself %.3f", len(l.done), 1+len(species), attacks, person)
	}
}

// Of few people all may be in one half: that is said, and nothing is divided by none.
func TestLivenessRatesOfFew(t *testing.T) {
	l := livenessRates{done: []presentation{{person: "one/photo.jpg", scores: []float32{.9, .9, .9}}}}
	var out strings.Builder
	l.species(&out, "rule", rules[0].score)
	if !strings.Contains(out.String(), "no thresholds") {
		t.Errorf("%q", out.String())
	}
}

type livenessRates struct {
	sync.Mutex
	done []presentation
}

// measure judges the photos of one folder and the attacks made of them.
func (l *livenessRates) measure(t *testing.T, dir string) {
	files := onePhotoEach(t, dir, *peopleFlag)
	if len(files) < 4 {
		t.Fatalf("%s has photos of %d people only", dir, len(files))
	}
	step := max(len(files) / *attacksFlag, 1)
	jobs := make(chan int, len(files)) // all in it at the start: a worker may end early, by t.Fatal
	for i := range files {
		jobs <- i
	}
	close(jobs)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			_, done := atWork(t)
			defer done()
			for i := range jobs {
				p := presentation{source: filepath.Base(dir), person: files[i]}
				l.judge(t, p, readFaces(t, p.person))
				if i%step == 0 {
					l.attack(t, p, files[(i+len(files)/2)%len(files)], uint64(i))
				}
			}
		})
	}
	workers.Wait()
}

// attack judges a photo once more as every attack, and through the same camera without one.
func (l *livenessRates) attack(t *testing.T, p presentation, other string, stream uint64) {
	s := portrait{photo: decoded(t, readFaces(t, p.person)), other: decoded(t, readFaces(t, other))}
	found, err := testExtractor(t).stages.detect(t.Context(), newPicture(s.photo))
	if err != nil {
		t.Error(err)
	}
	if len(found) == 0 {
		return
	}
	s.face = largest(found)
	r := rand.New(rand.NewPCG(*seedFlag, stream))
	s.frame(r, 1)
	p.retaken = true
	l.judge(t, p, retaken(t, r, &s))
	p.retaken = false
	for _, sp := range species {
		s.frame(r, sp.room)
		p.attack = sp.name
		l.judge(t, p, sp.make(t, r, &s))
	}
}

// judge adds a presentation, unless no face is found in it: such a photo never gets as far as liveness.
func (l *livenessRates) judge(t *testing.T, p presentation, data []byte) {
	s := &testExtractor(t).stages
	pic := newPicture(decoded(t, data))
	found, err := s.detect(t.Context(), pic)
	if err == nil && len(found) > 0 {
		p.scores, err = s.livenessAt(t.Context(), pic, largest(found), rateScales)
	}
	if err != nil {
		t.Errorf("%s: %v", p.person, err)
	}
	if p.scores != nil {
		l.Lock()
		defer l.Unlock()
		l.done = append(l.done, p)
	}
}

// sequences counts presentations of three frames, by whether the first alone is taken for live and whether the three together are.
type sequences struct {
	sync.Mutex
	first, fused map[string]ratio // by species; "" is bona fide
}

func (s *sequences) add(species string, frames []*Face) {
	s.Lock()
	defer s.Unlock()
	count := func(in map[string]ratio, v Verdict) {
		r := in[species]
		if r.trials++; v == Live {
			r.hits++
		}
		in[species] = r
	}
	count(s.first, frames[0].Liveness.Verdict)
	count(s.fused, FuseLiveness(frames, PresentationPolicy{}).Verdict)
}

// TestSequenceRates measures what FuseLiveness adds to one photo: people and simulated attacks in three frames each. A frame is the
// same photo by another draw of the simulation: camera, tilt and light are drawn anew for each, so frames vary more than those of
// a second of video do, and a median gains more. -attacked says of how many people.
func TestSequenceRates(t *testing.T) {
	if *facesFlag == "" {
		t.Skip("skipped: no folder of real photos (make liveness FACES=DIR)")
	}
	dir, _, _ := strings.Cut(*facesFlag, ",")
	files := onePhotoEach(t, dir, *attacksFlag)
	s := sequences{first: map[string]ratio{}, fused: map[string]ratio{}}
	each(len(files), func(i int) {
		p := portrait{photo: decoded(t, readFaces(t, files[i])), other: decoded(t, readFaces(t, files[(i+len(files)/2)%len(files)]))}
		_, done := atWork(t)
		found, err := testExtractor(t).stages.detect(t.Context(), newPicture(p.photo))
		done()
		if err != nil || len(found) == 0 {
			return
		}
		p.face = largest(found)
		r := rand.New(rand.NewPCG(*seedFlag, uint64(i)))
		s.show(t, "", func() []byte { p.frame(r, 1); return retaken(t, r, &p) })
		for _, sp := range species {
			s.show(t, sp.name, func() []byte { p.frame(r, sp.room); return sp.make(t, r, &p) })
		}
	})
	const row = "%-24s %4d  first frame %-20v three frames %v"
	t.Logf("taken for live, %% (95 %%):")
	t.Logf(row, "people", s.first[""].trials, s.first[""], s.fused[""])
	var first, fused ratio
	for _, sp := range species {
		a, b := s.first[sp.name], s.fused[sp.name]
		t.Logf(row, sp.name, a.trials, a, b)
		first, fused = ratio{first.hits + a.hits, first.trials + a.trials}, ratio{fused.hits + b.hits, fused.trials + b.trials}
	}
	t.Logf(row, "all attacks", first.trials, first, fused)
}

// show extracts three frames and counts them, if a face is found in each.
func (s *sequences) show(t *testing.T, species string, frame func() []byte) {
	var frames []*Face
	for range 3 {
		faces, err := testExtractor(t).Extract(t.Context(), frame(), Options{Select: SelectLargest, Want: WantTemplate | WantLiveness})
		if errors.Is(err, ErrNoFace) || errors.Is(err, ErrFaceTooSmall) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		frames = append(frames, &faces[0])
	}
	s.add(species, frames)
}

// onePhotoEach lists the first photo of up to n people, evenly spread: a folder is a person, but a photo in dir itself is one
// of its own.
func onePhotoEach(t *testing.T, dir string, n int) []string {
	var files []string
	seen := map[string]bool{dir: false}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		person := filepath.Dir(path)
		if err != nil || e.IsDir() || seen[person] || !slices.Contains([]string{".jpg", ".jpeg", ".png"}, strings.ToLower(filepath.Ext(path))) {
			return err
		}
		seen[person] = person != filepath.Clean(dir)
		files = append(files, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var some []string
	for i := range min(n, len(files)) {
		some = append(some, files[i*len(files)/min(n, len(files))])
	}
	return some
}

func readFaces(t *testing.T, file string) []byte {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	return data
}

func decoded(t testing.TB, data []byte) *Image {
	const maxPixels = 25_000_000 // as Config has it: a small face in a large photo makes large attacks
	m, err := decode(t.Context(), data, maxPixels)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func largest(found []detection) detection {
	return slices.MaxFunc(found, func(a, b detection) int { return cmp.Compare(a.area(), b.area()) })
}

// pick returns the scores, by a rule, of the presentations that keep accepts, sorted.
func (l *livenessRates) pick(rule func([]float32) float64, keep func(p *presentation) bool) []float64 {
	var out []float64
	for i := range l.done {
		if p := &l.done[i]; keep(p) {
			out = append(out, rule(p.scores))
		}
	}
	slices.Sort(out)
	return out
}

// half splits the people of every source in two, the same way in every run.
func (p *presentation) half() int {
	h := fnv.New32a()
	h.Write([]byte(filepath.Base(filepath.Dir(p.person)) + filepath.Base(p.person)))
	return int(h.Sum32() >> 16 & 1)
}

// below counts the scores under t, with a 95 % interval.
func below(scores []float64, t float64) ratio {
	n, _ := slices.BinarySearch(scores, t)
	return ratio{n, len(scores)}
}

// ratio is hits of trials.
type ratio struct{ hits, trials int }

func (r ratio) not() ratio { return ratio{r.trials - r.hits, r.trials} }

// String is the rate in percent with its 95 % interval.
func (r ratio) String() string { return r.percent(1) }

// fine is for rates far below a percent.
func (r ratio) fine() string { return r.percent(3) }

// percent gives the rate and its Wilson interval (Wilson 1927, JASA 22:209; z = 1.96) with so many digits after the point.
func (r ratio) percent(digits int) string {
	if r.trials == 0 {
		return "none"
	}
	n, p, z := float64(r.trials), float64(r.hits)/float64(r.trials), 1.96
	mid, half := (p+z*z/(2*n))/(1+z*z/n), z/(1+z*z/n)*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, 100*p, digits, 100*max(mid-half, 0), digits, 100*(mid+half))
}

// auc is the chance that a bona fide score is above that of an attack; both are sorted.
func auc(bona, attack []float64) float64 {
	var sum float64
	for _, b := range bona {
		lo, _ := slices.BinarySearch(attack, b)
		hi := lo
		for hi < len(attack) && attack[hi] == b {
			hi++
		}
		sum += float64(lo+hi) / 2
	}
	return sum / float64(len(bona)*len(attack))
}

// report prints the rates as tables of Markdown and checks the published ones.
func (l *livenessRates) report(t *testing.T) {
	var out strings.Builder
	for _, rule := range rules {
		l.species(&out, rule.name, rule.score)
	}
	l.verdicts(&out)
	t.Logf("%d presentations of %s\n%s", len(l.done), *facesFlag, out.String())
	l.check(t)
}

// check holds bounds a little beyond what was measured (doc.go), once there are people enough.
func (l *livenessRates) check(t *testing.T) {
	shipped := rules[len(rules)-1].score
	bona := l.pick(shipped, func(p *presentation) bool { return p.attack == "" && !p.retaken })
	attacks := l.pick(shipped, func(p *presentation) bool { return p.attack != "" })
	if len(bona) < 100 {
		return
	}
	refused, u := below(bona, uncertainFrom), auc(bona, attacks)
	if float64(refused.hits)/float64(refused.trials) > .03 || u < .86 {
		t.Errorf("of people's photos %v %% are spoof, AUC %.3f: worse than published", refused, u)
	}
}

// species prints, for a rule, AUC and APCER at thresholds where one half of the people has a BPCER of 1 and 5 %.
func (l *livenessRates) species(out *strings.Builder, name string, rule func([]float32) float64) {
	bona := func(half int) []float64 {
		return l.pick(rule, func(p *presentation) bool { return p.attack == "" && p.half() == half })
	}
	fit, held := bona(0), bona(1)
	if len(fit) == 0 || len(held) == 0 {
		fmt.Fprintf(out, "\n%s: all of the few people are in one half, so there are no thresholds and no rates\n", name)
		return
	}
	t1, t5 := fit[len(fit)/100], fit[len(fit)/20]
	fmt.Fprintf(out, "\n%s: thresholds %.3f and %.3f, BPCER %v and %v %% on the other half\n\n| attack | n | AUC | APCER %% at BPCER 1 %% | at 5 %% |\n|---|---|---|---|---|\n",
		name, t1, t5, below(held, t1), below(held, t5))
	for _, sp := range species {
		a := l.pick(rule, func(p *presentation) bool { return p.attack == sp.name && p.half() == 1 })
		fmt.Fprintf(out, "| %s | %d | %.3f | %v | %v |\n", sp.name, len(a), auc(held, a), below(a, t1).not(), below(a, t5).not())
	}
}

// verdicts prints the shares of the verdicts that ship, for bona fide photos by source and for every species.
func (l *livenessRates) verdicts(out *strings.Builder) {
	rule := rules[len(rules)-1].score
	fmt.Fprintf(out, "\nverdicts: live from %.2f, uncertain from %.2f\n\n| photos | n | spoof %% | not live %% |\n|---|---|---|---|\n", liveFrom, uncertainFrom)
	line := func(name string, keep func(p *presentation) bool) {
		s := l.pick(rule, keep)
		fmt.Fprintf(out, "| %s | %d | %v | %v |\n", name, len(s), below(s, uncertainFrom), below(s, liveFrom))
	}
	for dir := range strings.SplitSeq(*facesFlag, ",") {
		source := filepath.Base(dir)
		line(source+", as they are", func(p *presentation) bool { return p.attack == "" && p.source == source && !p.retaken })
		line(source+", retaken", func(p *presentation) bool { return p.attack == "" && p.source == source && p.retaken })
	}
	for _, sp := range species {
		line(sp.name, func(p *presentation) bool { return p.attack == sp.name })
	}
}
