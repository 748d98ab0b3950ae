package extract

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recommended are the gates that README.md proposes, without and with liveness.
var recommended = []struct {
	name  string
	least map[string]float32
}{
	{"enrolment", map[string]float32{"unified_score": 50, "sharpness": 50, "illumination_uniformity": 50, "eyes_visible": 50}},
	{"probes", map[string]float32{"unified_score": 40}},
	{"enrolment, liveness 50", map[string]float32{"unified_score": 50, "sharpness": 50, "illumination_uniformity": 50, "eyes_visible": 50, LivenessMeasure: 50}},
	{"probes, liveness 50", map[string]float32{"unified_score": 40, LivenessMeasure: 50}},
}

// failed lists the measures of a gate that f does not reach.
func (f *Face) failed(least map[string]float32) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(least)) {
		value := 100 * f.Liveness.Score
		if name != LivenessMeasure {
			value = f.Quality[MeasureOf(name)]
		}
		if value < least[name] {
			names = append(names, name)
		}
	}
	return names
}

// refusals counts, for each of the recommended gates, the photos that it refuses and by which measures.
type refusals struct {
	sync.Mutex
	photos, faceless int
	of               [4]struct {
		refused int
		by      map[string]int
	}
}

func (r *refusals) add(f *Face) {
	r.Lock()
	defer r.Unlock()
	if r.photos++; f == nil {
		r.faceless++
		return
	}
	for i, g := range recommended {
		failed := f.failed(g.least)
		if len(failed) > 0 {
			r.of[i].refused++
		}
		for _, name := range failed {
			if r.of[i].by == nil {
				r.of[i].by = make(map[string]int)
			}
			r.of[i].by[name]++
		}
	}
}

// TestGatesRefuse counts how many photos the recommended gates refuse, of those whose person has no other photo in -faces: none
// of them had a part in the fit of the unified score. With the face in the middle, as sets of labelled photos have it, and with
// the largest, as a server takes it. README.md has the figures.
func TestGatesRefuse(t *testing.T) {
	if *facesFlag == "" {
		t.Skip("skipped: no folder of real photos (make quality FACES=DIR)")
	}
	var files []string
	for _, person := range glob(t, filepath.Join(*facesFlag, "*")) {
		if photos, _ := filepath.Glob(filepath.Join(person, "*.jpg")); len(photos) == 1 {
			files = append(files, photos[0])
		}
	}
	if len(files) == 0 {
		t.Skip("skipped: nobody has just one photo")
	}
	counts := map[Select]*refusals{SelectCentral: {}, SelectLargest: {}}
	each(len(files), func(i int) {
		data := readFaces(t, files[i])
		for which, r := range counts {
			faces, err := testExtractor(t).Extract(t.Context(), data, Options{Select: which, Want: WantQuality | WantLiveness})
			if err != nil {
				t.Logf("%s: %v", files[i], err)
				r.add(nil)
				continue
			}
			r.add(&faces[0])
		}
	})
	for which, name := range map[Select]string{SelectCentral: "the face in the middle", SelectLargest: "the largest face"} {
		r := counts[which]
		t.Logf("%d photos of as many people, %d without a face, %s:", r.photos, r.faceless, name)
		for i, g := range recommended {
			t.Logf("  %-24s refuses %4d, %% %v  %v", g.name, r.of[i].refused, ratio{r.of[i].refused, r.photos - r.faceless}, r.of[i].by)
		}
		if len(files) >= 1000 && !(float64(r.of[0].refused) < .12*float64(r.photos)) {
			t.Errorf("%s: the gate for enrolment refuses %d of %d ordinary photos", name, r.of[0].refused, r.photos)
		}
	}
}

// A gate refuses what is below it and names it; what just reaches it passes.
func TestRefusals(t *testing.T) {
	var f Face
	for i := range f.Quality {
		f.Quality[i] = 50
	}
	f.Liveness.Score = .5
	var r refusals
	r.add(&f)
	f.Quality[Sharpness], f.Liveness.Score = 49.9, .49
	r.add(&f)
	r.add(nil)
	if got := strings.Join(f.failed(recommended[2].least), " "); got != "liveness sharpness" {
		t.Errorf("failed: %q", got)
	}
	if r.photos != 3 || r.faceless != 1 || r.of[0].refused != 1 || r.of[1].refused != 0 || r.of[2].refused != 1 || r.of[3].refused != 1 || r.of[2].by["sharpness"] != 1 {
		t.Errorf("%+v", r.of)
	}
}
