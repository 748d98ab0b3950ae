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

// Edited graphs must compute what the published ones compute, on the very tensors that the stages see on real faces: within 1e-5 of
// the largest number of an output. And a batch of four must give each of its items what it gets alone.
func TestEditedGraphsAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: every published model is read again")
	}
	x, seen := watchedStages(t)
	for _, name := range []string{"golden/g0.png", "golden/g5.png", "faces/b_1.jpg", "faces/group.jpg"} {
		if _, err := x.Extract(t.Context(), testFile(t, name), Options{Want: WantTemplate | WantQuality | WantLiveness}); err != nil {
			t.Fatal(err)
		}
	}
	d := pack.Default()
	for i, g := range x.stages.steps.graphs() {
		published, err := d.Source(testTarball(t, d), g.role)
		if err != nil {
			t.Fatal(err)
		}
		edited, err := x.manifest.Read(x.config.Pack, g.role)
		if err != nil {
			t.Fatal(err)
		}
		inputs := seen[i].inputs
		if len(inputs) < 4 {
			t.Fatalf("%s: the stage saw %d inputs", g.role, len(inputs))
		}
		want, got, four := runOn(t, g, published, inputs, 1), runOn(t, g, edited, inputs, 1), runOn(t, g, edited, inputs, 4)
		off, apart := furthest(want, got), furthest(got, four)
		t.Logf("%-10s %d inputs: off by %.1e of the largest number from the published graph; in batches of four from alone by %.1e", g.role, len(inputs), off, apart)
		if !(off <= 1e-5) || !(apart <= 1e-5) {
			t.Errorf("%s: differs by %v from the published graph, in a batch by %v", g.role, off, apart)
		}
	}
}

// stageWatcher keeps a copy of what a model is run on.
type stageWatcher struct {
	runner
	mu     sync.Mutex
	inputs [][]float32
}

func (w *stageWatcher) run(r *run, n int) error {
	w.mu.Lock()
	for i := range n {
		w.inputs = append(w.inputs, slices.Clone(r.in[i]))
	}
	w.mu.Unlock()
	return w.runner.run(r, n)
}

// watchedStages is an extractor of its own and what its stages see, in the order of stages.all.
func watchedStages(t *testing.T) (*Extractor, []*stageWatcher) {
	t.Helper()
	x, err := New(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	var all []*stageWatcher
	for _, s := range x.stages.all() {
		w := &stageWatcher{runner: (*s).runner}
		(*s).runner = w
		all = append(all, w)
	}
	return x, all
}

// furthest is the largest difference of two runs' outputs, by the largest number of each output. It is infinite if one has no numbers.
func furthest(want, got [][][]float32) (most float64) {
	for i := range want {
		for j := range want[i] {
			largest, off := 0., math.Inf(1)
			for k, v := range want[i][j] {
				largest = max(largest, math.Abs(float64(v)))
				if d := math.Abs(float64(v - got[i][j][k])); k == 0 || !(d <= off) {
					off = d
				}
			}
			most = max(most, off/largest)
		}
	}
	return most
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

// runOn runs a graph on inputs, so many at once, and returns all outputs of each.
func runOn(t *testing.T, g graph, data []byte, inputs [][]float32, batch int) (all [][][]float32) {
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
	r, err := m.newRun(batch)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for some := range slices.Chunk(inputs, batch) {
		for i, in := range some {
			copy(r.in[i], in)
		}
		if err := s.run(r, len(some)); err != nil {
			t.Fatal(err)
		}
		for i := range some {
			var outs [][]float32
			for _, out := range r.outs[i] {
				outs = append(outs, slices.Clone(out))
			}
			all = append(all, outs)
		}
	}
	return all
}
