package extract

import (
	"slices"
	"testing"
)

// What is said to be judged is judged, and nothing else: on some of these photos every measure is more than 0.
func TestMeasures(t *testing.T) {
	x := testExtractor(t)
	got := map[string]bool{}
	for _, name := range []string{"a_1", "b_1", "c_1", "group"} {
		faces, err := x.Extract(t.Context(), testFile(t, "faces/"+name+".jpg"), Options{Want: WantQuality | WantLiveness})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range faces {
			for m, v := range f.Quality {
				got[Measure(m).String()] = got[Measure(m).String()] || v > 0
			}
			got[LivenessMeasure] = got[LivenessMeasure] || f.Liveness.Score > 0
		}
	}
	listed := x.Measures()
	for name, judged := range got {
		if judged != slices.Contains(listed, name) {
			t.Errorf("%s: judged %v, listed %v", name, judged, !judged)
		}
	}
	if len(got) != NumMeasures+1 {
		t.Errorf("%d measures", len(got))
	}
}

func TestMeasureOf(t *testing.T) {
	for m := range Measure(NumMeasures) {
		if MeasureOf(m.String()) != m {
			t.Errorf("%s is %v", m, MeasureOf(m.String()))
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown name is let through")
		}
	}()
	MeasureOf("beauty")
}
