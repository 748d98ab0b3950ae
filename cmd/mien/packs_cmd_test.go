package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mien/extract"
	"mien/extract/pack"
)

// spelledOut is the default pack as a user would write it down by hand in format 2: no sums, no space, no calibration.
func spelledOut(t *testing.T, change func(m *pack.Manifest)) string {
	t.Helper()
	from, dir := filepath.Join("..", "..", "build", "models", "default"), filepath.Join(t.TempDir(), "download")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	m, err := pack.Load(from)
	if err != nil {
		t.Fatal(err)
	}
	m.Name, m.Use, m.Pipeline, m.Space, m.Calibration = "mine", "tests", m.Steps(), "", nil
	m.Format, m.Preprocessing = 2, 0
	for role, f := range m.Files {
		m.Files[role] = pack.File{File: f.File}
	}
	m.LicenceFile = &pack.File{File: m.LicenceFile.File}
	change(m)
	if err := os.WriteFile(filepath.Join(dir, pack.ManifestName), m.JSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPacksAddListCheck(t *testing.T) {
	packs := filepath.Join(t.TempDir(), "models")
	env := append(setUp(t), "MIEN_PACKS="+packs)
	from := spelledOut(t, func(*pack.Manifest) {})
	out, stderr, code := mien(t, env, "packs", "add", from)
	if code != 0 || !strings.Contains(out, `pack "mine"`) || !strings.Contains(out, "no calibration") {
		t.Fatalf("add: exit code %d\n%s%s", code, out, stderr)
	}
	if _, stderr, code := mien(t, env, "packs", "add", from); code != 1 || !strings.Contains(stderr, "is there: delete it") {
		t.Errorf("add again: exit code %d, %s", code, stderr)
	}
	out, stderr, code = mien(t, env, "packs", "list")
	if code != 0 || !strings.Contains(out, "embed_fr_feature-512-") || !strings.Contains(out, "not calibrated") {
		t.Errorf("list: exit code %d\n%s%s", code, out, stderr)
	}
	mine, ours := checked(t, env, "mine"), checked(t, env, filepath.Join("..", "..", "build", "models", "default"))
	for i, p := range mine.Cosines {
		if p.Cosine != ours.Cosines[i].Cosine || p.FMR != nil || ours.Cosines[i].FMR == nil {
			t.Errorf("%s and %s: %+v by the pack spelled out, %+v by the default", p.A, p.B, p, ours.Cosines[i])
		}
	}
	if len(mine.Cosines) != 3 || len(mine.Models) != 6 || mine.Photos[0].Faces[0].Pose == nil || !(mine.Photos[0].Faces[0].Norm > 1) {
		t.Errorf("the report lacks something: %+v", mine)
	}
	calibrate(t, env, mine.Space)
	if err := os.Remove(filepath.Join(packs, "mine", "LICENSE")); err != nil {
		t.Fatal(err)
	}
	if out, stderr, code := mien(t, env, "packs", "list"); code != 1 || !strings.Contains(out, "damaged") || !strings.Contains(stderr, "1 of 1") {
		t.Errorf("list of a damaged pack: exit code %d\n%s%s", code, out, stderr)
	}
}

// calibrate gives the pack "mine" a calibration, after files that are none are refused.
func calibrate(t *testing.T, env []string, space string) {
	t.Helper()
	for _, c := range []struct{ text, says string }{
		{`{"format": 2}`, "not a calibration file"},
		{`{"format": 1, "space": "x", "points": [{"cosine": 0.1, "fmr": 0.01}, {"cosine": 0.5, "fmr": 1e-7}]}`, "of space x"},
		{`{"format": 1, "space": "` + space + `", "points": [{"cosine": 0.1, "fmr": 0.01}, {"cosine": 0.9, "fmr": 0.009}]}`, "cosine 1"},
		{`{"format": 1, "space": "` + space + `", "points": [{"cosine": 0.1, "fmr": 0.01}, {"cosine": 0.5, "fmr": 1e-7}]}`, ""},
	} {
		file := filepath.Join(t.TempDir(), "calibration.json")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := mien(t, env, "packs", "calibrate", "--pack", "mine", file)
		if (code == 0) != (c.says == "") || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit code %d, %s", c.text, code, stderr)
		}
	}
	if out, stderr, code := mien(t, env, "packs", "list"); code != 0 || strings.Contains(out, "not calibrated") {
		t.Errorf("list: exit code %d\n%s%s", code, out, stderr)
	}
}

func checked(t *testing.T, env []string, name string) *packReport {
	t.Helper()
	out, stderr, code := mien(t, env, "--json", "packs", "check", "--pack", name, photo("a_1.jpg"), photo("a_2.jpg"), photo("b_1.jpg"))
	if code != 0 {
		t.Fatalf("check %s: exit code %d\n%s%s", name, code, out, stderr)
	}
	r := new(packReport)
	if err := json.Unmarshal([]byte(out), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// What does not load must not get among the packs.
func TestPacksAddRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *pack.Manifest)
		says   string
	}{
		"another size":    {func(m *pack.Manifest) { m.Pipeline.Landmarks.Input.Width, m.Pipeline.Landmarks.Input.Height = 96, 96 }, "want one of [N [1 96 96]]"},
		"another adapter": {func(m *pack.Manifest) { m.Pipeline.Detector.Adapter = pack.RetinaFace }, "detector model"},
		"a wrong sum": {func(m *pack.Manifest) {
			f := m.Files[pack.Pose]
			f.SHA256 = strings.Repeat("0", 64)
			m.Files[pack.Pose] = f
		}, "has sha256"},
		"no such file": {func(m *pack.Manifest) { m.Files[pack.Pose] = pack.File{File: "pose.onnx"} }, "pose.onnx"},
	} {
		packs := filepath.Join(t.TempDir(), "models")
		_, stderr, code := mien(t, append(setUp(t), "MIEN_PACKS="+packs), "packs", "add", spelledOut(t, c.change))
		if code != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit code %d, %q lacks %q", name, code, stderr, c.says)
		}
		if left, _ := os.ReadDir(packs); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

// A pack whose crops are wrong loads; only photos tell.
func TestPacksCheckFindsWhatIsWrong(t *testing.T) {
	packs := t.TempDir()
	env := append(setUp(t), "MIEN_PACKS="+packs)
	low := spelledOut(t, func(m *pack.Manifest) { m.Pipeline.Landmarks.Down = 1 })
	if _, stderr, code := mien(t, env, "packs", "add", low); code != 0 {
		t.Fatal(stderr)
	}
	out, stderr, code := mien(t, env, "packs", "check", "--pack", "mine", photo("a_1.jpg"), photo("noface.jpg"))
	if code != 1 || !strings.Contains(out, "a_1.jpg, face 1: its points") || !strings.Contains(out, "noface.jpg: no face found") {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
}

// The unified score is printed, and what is poor by name in the order of the measures; what is not known is left out.
func TestPacksCheckShowsQuality(t *testing.T) {
	var q extract.Quality
	for i := range q {
		q[i] = 90
	}
	q[extract.UnifiedScore], q[extract.Sharpness], q[extract.EyesOpen], q[extract.SingleFace] = 49.6, 12, float32(math.NaN()), 3
	f := faceReport{Quality: qualityOf(q)}
	if got, want := f.qualityText(), "\n    unified_score 50, but sharpness 12, single_face_present 3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, known := f.Quality["eyes_open"]; known || len(f.Quality) != extract.NumMeasures-1 || !strings.Contains(f.text(), "unified_score") {
		t.Errorf("%v, %q", f.Quality, f.text())
	}
	f.Quality = map[string]float32{"unified_score": 80, "sharpness": 50}
	if got := f.qualityText(); got != "\n    unified_score 80" {
		t.Errorf("%q", got)
	}
}

func TestFacePoints(t *testing.T) {
	box := extract.Box{X1: 0, Y1: 0, X2: 100, Y2: 120}
	face := [5]extract.Point{{X: 30, Y: 40}, {X: 70, Y: 40}, {X: 50, Y: 60}, {X: 35, Y: 90}, {X: 65, Y: 90}}
	if roll, ok := facePoints(face, box); !ok || roll != 0 {
		t.Errorf("upright: %v, %v", roll, ok)
	}
	turned := [5]extract.Point{{X: 70, Y: 30}, {X: 70, Y: 70}, {X: 50, Y: 50}, {X: 20, Y: 35}, {X: 20, Y: 65}}
	if roll, ok := facePoints(turned, box); !ok || roll != 90 {
		t.Errorf("turned by a quarter: %v, %v", roll, ok)
	}
	mirrored, far := face, face
	mirrored[0], mirrored[1], mirrored[3], mirrored[4] = face[1], face[0], face[4], face[3]
	far[2].X = 900
	for name, points := range map[string][5]extract.Point{"mirrored": mirrored, "far off": far, "nothing": {}} {
		if _, ok := facePoints(points, box); ok {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestJudgePeople(t *testing.T) {
	for _, c := range []struct {
		names []string
		same  float64 // of the first two
		says  string
	}{
		{[]string{"a_1.jpg", "a_2.jpg", "b_1.jpg"}, .9, ""},
		{[]string{"a_1.jpg", "a_2.jpg", "b_1.jpg"}, .1, "less alike"},
		{[]string{"x.jpg", "y.jpg", "z.jpg"}, .1, ""},
	} {
		r := &packReport{}
		n := c.names
		r.Cosines = []pairReport{{A: n[0], B: n[1], Cosine: c.same}, {A: n[0], B: n[2], Cosine: .2}, {A: n[1], B: n[2], Cosine: .3}}
		r.judgePeople()
		if got := strings.Join(r.Problems, ""); (c.says == "") != (got == "") || !strings.Contains(got, c.says) {
			t.Errorf("%v at %v: %q, want %q", c.names, c.same, got, c.says)
		}
	}
	r := &packReport{Photos: []photoReport{{Faces: make([]faceReport, 1)}}, Cosines: slices.Repeat([]pairReport{{Cosine: .995}}, 3)}
	if r.judge(); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "alike") {
		t.Errorf("templates that are all alike: %q", r.Problems)
	}
}
