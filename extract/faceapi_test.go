package extract

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mien/extract/pack"
)

var faceAPIPack = filepath.Join("..", "build", "models", "faceapi")

func faceAPI(t *testing.T) *Extractor {
	t.Helper()
	testExtractor(t) // the library stays loaded
	if _, err := os.Stat(faceAPIPack); err != nil {
		t.Skipf("the pack is not set up (%v): make setup", err)
	}
	x, err := New(Config{Library: testLibrary(), Pack: faceAPIPack, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// Both graphs must compute what TensorFlow.js computes by the code and weights of the package (testdata/README.md).
func TestFaceAPIAsTensorFlow(t *testing.T) {
	x := faceAPI(t)
	var want struct{ Embedding, Points []float32 }
	if err := json.Unmarshal(testFile(t, "golden/faceapi.json"), &want); err != nil {
		t.Fatal(err)
	}
	for role, c := range map[string]struct {
		stage *stage
		want  []float32
		size  int
	}{pack.Embedder: {x.stages.embedder, want.Embedding, 150}, pack.Landmarks: {x.stages.landmarker, want.Points, 112}} {
		var off float64
		read := func(_ int, outs [][]float32) {
			for i, v := range outs[0] {
				off = max(off, math.Abs(float64(v-c.want[i])))
			}
		}
		if err := c.stage.do(t.Context(), 1, func(_ int, in []float32) { waves(in, c.size) }, read); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: off by %.1e at most", role, off)
		if !(off <= 1e-5) {
			t.Errorf("%s differs by %v from TensorFlow.js", role, off)
		}
	}
}

// waves is the picture that TensorFlow.js was given: RGB 0..255 and a little more.
func waves(in []float32, size int) {
	for y := range size {
		for x := range size {
			for c := range 3 {
				wave := 127.5 + 100*math.Sin(float64(x*(c+1))/9)*math.Cos(float64(y)/float64(7+c))
				in[(c*size+y)*size+x] = float32(math.Floor(wave)) + float32((x*31+y*17+c*7)%23)
			}
		}
	}
}

// The same person must score above every other, and nothing be said that the pack can't know.
func TestFaceAPIIdentities(t *testing.T) {
	x := faceAPI(t)
	templates := map[string][]float32{}
	for _, name := range []string{"a_1", "a_2", "a_3", "b_1", "b_2", "c_1", "c_2"} {
		faces, err := x.Extract(t.Context(), testFile(t, "faces/"+name+".jpg"), Options{Select: SelectOne, Want: WantTemplate | WantQuality | WantLiveness})
		if err != nil {
			t.Fatal(err)
		}
		f := faces[0]
		if f.EyesOpen != [2]float32{} || f.Liveness != (Liveness{Verdict: Uncertain}) {
			t.Errorf("%s: eyes %v, liveness %v from a pack without the models", name, f.EyesOpen, f.Liveness)
		}
		templates[name] = f.Template
	}
	for na, a := range templates {
		for nb, b := range templates {
			if cos := dot(a, b); na[0] == nb[0] && cos < .96 || na[0] != nb[0] && cos > .93 {
				t.Errorf("%s and %s: cosine %.3f", na, nb, cos)
			}
		}
	}
}
