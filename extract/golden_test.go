package extract

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"mien/extract/pack"
)

var (
	libraryFlag = flag.String("library", "", "path of ONNX Runtime's shared library; empty: build/lib")
	packFlag    = flag.String("pack", filepath.Join("..", "build", "models", "default"), "folder of the model pack")
)

func testLibrary() string {
	if *libraryFlag != "" {
		return *libraryFlag
	}
	name := "libonnxruntime.so"
	if runtime.GOOS == "darwin" {
		name = "libonnxruntime.dylib"
	}
	return filepath.Join("..", "build", "lib", runtime.GOOS+"-"+runtime.GOARCH, name)
}

// testConfig measures nothing, so that a test does the same each time.
func testConfig() Config {
	return Config{Library: testLibrary(), Pack: *packFlag, Batching: map[string]Batching{"": {Single, 1}}}
}

// shared is one extractor for all tests that don't need their own; the library is loaded by the first that does.
var shared = sync.OnceValues(func() (*Extractor, error) {
	x, err := New(testConfig())
	if err == nil {
		closeShared = x.Close
	}
	return x, err
})

var closeShared = func() error { return nil }

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if err := closeShared(); err != nil {
		panic(err)
	}
	os.Exit(code)
}

func testExtractor(t testing.TB) *Extractor {
	t.Helper()
	x, err := shared()
	if err != nil {
		t.Fatalf("%v (make setup fetches library and models)", err)
	}
	return x
}

// atWork takes a core of the shared extractor until done is called, as whoever calls its stages must.
func atWork(t testing.TB) (x *Extractor, done func()) {
	t.Helper()
	x = testExtractor(t)
	if err := x.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	return x, x.giveBack
}

func mustExtract(t testing.TB, name string, o Options) []Face {
	t.Helper()
	faces, err := testExtractor(t).Extract(t.Context(), testFile(t, name), o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return faces
}

// goldenFace is what the reference pipeline computed (testdata/README.md).
type goldenFace struct {
	Box       [4]float64
	Score     float64
	Landmarks [68][2]float64
	Embedding []float32
	Pose      [3]float64 // yaw, pitch, roll
	EyesOpen  [2]float64 `json:"eyes_open"`
	Liveness  struct {
		Face    float64 `json:"1.0"`
		Context float64 `json:"2.7"`
	} `json:"liveness_real"`
}

func golden(t testing.TB) map[string][]goldenFace {
	t.Helper()
	g := map[string][]goldenFace{}
	if err := json.Unmarshal(testFile(t, "golden/golden.json"), &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func dot(a, b []float32) (s float64) {
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

// The tolerances are those of the pack's specification: a pixel, a pixel, cosine 0.999, a degree, a probability of .05.
func TestGolden(t *testing.T) {
	for name, want := range golden(t) {
		got := mustExtract(t, "golden/"+name+".png", Options{Want: WantTemplate | WantQuality})
		if len(got) != len(want) {
			t.Errorf("%s: %d faces, want %d", name, len(got), len(want))
			continue
		}
		for i := range want {
			compareGolden(t, name, got[i], want[i])
			comparePose(t, name, got[i], want[i])
		}
	}
}

func compareGolden(t *testing.T, name string, got Face, want goldenFace) {
	t.Helper()
	box := [4]float64{float64(got.Box.X1), float64(got.Box.Y1), float64(got.Box.X2), float64(got.Box.Y2)}
	var boxOff, pointOff float64
	for i := range box {
		boxOff = max(boxOff, math.Abs(box[i]-want.Box[i]))
	}
	for i, p := range got.Landmarks {
		pointOff = max(pointOff, math.Hypot(float64(p.X)-want.Landmarks[i][0], float64(p.Y)-want.Landmarks[i][1]))
	}
	cos := dot(got.Template, want.Embedding)
	t.Logf("%s: box off by %.3f px, landmarks by %.3f px, score %+.1e, cosine %.6f", name, boxOff, pointOff, float64(got.Score)-want.Score, cos)
	if !(boxOff <= 1) || !(pointOff <= 1) || !(math.Abs(float64(got.Score)-want.Score) <= 1e-3) {
		t.Errorf("%s: box off by %.2f px, landmarks by %.2f px, score %.4f for %.4f", name, boxOff, pointOff, got.Score, want.Score)
	}
	if !(cos >= .999) {
		t.Errorf("%s: template at cosine %.5f of the reference, want 0.999", name, cos)
	}
	if n := dot(got.Template, got.Template); !(math.Abs(n-1) <= 1e-5) {
		t.Errorf("%s: template has ‖t‖² = %v", name, n)
	}
}

func comparePose(t *testing.T, name string, got Face, want goldenFace) {
	t.Helper()
	var pose, eyes float64
	for i, v := range [3]float32{got.Pose.Yaw, got.Pose.Pitch, got.Pose.Roll} {
		pose = max(pose, math.Abs(float64(v)-want.Pose[i]))
	}
	for i, v := range got.EyesOpen {
		eyes = max(eyes, math.Abs(float64(v)-want.EyesOpen[i]))
	}
	t.Logf("%s: pose off by %.3f°, eyes by %.4f", name, pose, eyes)
	if !(pose <= 1) || !(eyes <= .05) {
		t.Errorf("%s: pose %+v for %v, eyes %v for %v", name, got.Pose, want.Pose, got.EyesOpen, want.EyesOpen)
	}
}

// Edited graphs must compute what the published ones compute, on real faces: the bits where only shapes and weights
// too small to matter were touched, else within 1e-5 (PRelu is summed in another order).
func TestEditedGraphsAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: every published model is read again")
	}
	x := testExtractor(t)
	d := pack.Default()
	for _, g := range x.stages.steps.graphs() {
		published, err := d.Source(testTarball(t, d), g.role)
		if err != nil {
			t.Fatal(err)
		}
		edited, err := x.manifest.Read(x.config.Pack, g.role)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"golden/g0.png", "golden/g5.png", "faces/b_1.jpg"} {
			face := mustExtract(t, name, Options{Select: SelectOne})[0]
			want, got := runOn(t, g, published, face.Crop), runOn(t, g, edited, face.Crop)
			var off float64
			for i := range want {
				off = max(off, math.Abs(float64(want[i]-got[i])))
			}
			t.Logf("%s %s: off by %.1e at most", name, g.role, off)
			if !(off <= 1e-5) {
				t.Errorf("%s: %s differs by %v from the published graph", name, g.role, off)
			}
		}
	}
}

// testTarball finds the package that the pack was built from among the downloads.
func testTarball(t *testing.T, d *pack.Definition) string {
	t.Helper()
	cache := os.Getenv("MIEN_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		cache = filepath.Join(base, "mien")
	}
	tarball := filepath.Join(cache, "sha256", d.Packages[0].SHA256)
	if _, err := os.Stat(tarball); err != nil {
		t.Skipf("the published models are no longer in the download cache (%v); make setup fetches them", err)
	}
	return tarball
}

// runOn runs a graph on crop, resized to its input and scaled to [-1, 1], and returns all its outputs.
func runOn(t *testing.T, g graph, data []byte, crop *Image) []float32 {
	t.Helper()
	m, err := newModel(g, data)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.open(device{provider: CPU})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	r, err := m.newRun(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	small := resize(crop, int(g.in[2]), int(g.in[1]))
	plane := small.W * small.H
	for i := range r.in[0] {
		r.in[0][i] = (float32(small.Pix[i%plane*3+i/plane]) - 127.5) / 127.5
	}
	if err := s.run(r, 1); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(r.outs[0]...)
}
