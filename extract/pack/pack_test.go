package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// tarballOf writes an npm tarball with the given members.
func tarballOf(t testing.TB, members map[string][]byte) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, data := range members {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "package.tgz")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tarballsOf is tarballOf for a definition of one package.
func tarballsOf(t testing.TB, d *Definition, members map[string][]byte) map[string]string {
	t.Helper()
	return map[string]string{d.Packages[0].Spec: tarballOf(t, members)}
}

// small is a definition of hand-made models, with the members of its tarball.
func small(t testing.TB) (*Definition, map[string][]byte) {
	t.Helper()
	d := Default()
	members := map[string][]byte{"package/LICENSE": []byte("as you like"), "package/index.js": []byte("//")}
	for i, role := range Roles() {
		source := dynamicModel()
		if len(d.Edits[role]) > 1 {
			source = preluModel()
		}
		source = append(source, varintField(998, int64(i)).append(nil)...)
		result, err := Rewrite(source, d.Edits[role]...)
		if err != nil {
			t.Fatal(err)
		}
		f := d.Manifest.Files[role]
		f.SourceSHA256, f.SHA256 = sumOf(source), sumOf(result)
		d.Manifest.Files[role], members[f.Source] = f, source
	}
	text := sumOf(members["package/LICENSE"])
	d.Manifest.LicenceFile.SHA256, d.Manifest.LicenceFile.SourceSHA256 = text, text
	d.Manifest.Space = d.Manifest.SpaceID()
	return d, members
}

// built is a small pack on disk.
func built(t testing.TB) (*Definition, string) {
	t.Helper()
	d, members := small(t)
	dir := filepath.Join(t.TempDir(), "models", "default")
	if err := d.Build(tarballsOf(t, d, members), dir); err != nil {
		t.Fatal(err)
	}
	return d, dir
}

func TestBuildThenLoad(t *testing.T) {
	d, dir := built(t)
	m, err := d.Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.JSON(), d.Manifest.JSON()) {
		t.Error("the manifest on disk is not the definition's")
	}
	for _, role := range Roles() {
		b, err := m.Read(dir, role)
		if err != nil || sumOf(b) != m.Files[role].SHA256 {
			t.Errorf("%s: %d bytes, %v", role, len(b), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the folder has mode %v: others could not read it", info.Mode())
	}
	noTemporaries(t, filepath.Dir(dir))
}

func noTemporaries(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, TempPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBuildReplacesADamagedPack(t *testing.T) {
	d, dir := built(t)
	file := filepath.Join(dir, d.Manifest.Files[Embedder].File)
	if err := os.WriteFile(file, []byte("rot"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "stray"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, members := small(t)
	if err := d.Build(tarballsOf(t, d, members), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Check(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "stray")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file of the old pack is in the new one")
	}
	noTemporaries(t, filepath.Dir(dir))
}

func TestBuildsAtOnce(t *testing.T) {
	d, members := small(t)
	tarball := tarballsOf(t, d, members)
	dir := filepath.Join(t.TempDir(), "default")
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = d.Build(tarball, dir) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Check(dir); err != nil {
		t.Fatal(err)
	}
	noTemporaries(t, filepath.Dir(dir))
}

func TestBuildFailsWhole(t *testing.T) {
	type change func(d *Definition, members map[string][]byte)
	const source = "package/model/fr_pose.onnx"
	edit := func(role Role, f func(*File)) change {
		return func(d *Definition, _ map[string][]byte) {
			file := d.Manifest.Files[role]
			f(&file)
			d.Manifest.Files[role] = file
		}
	}
	for _, c := range []struct {
		name   string
		want   error
		names  string
		change change
	}{
		{"source changed", ErrCorrupt, source, func(_ *Definition, m map[string][]byte) { m[source][3] ^= 1 }},
		{"source missing", ErrMissing, source, func(_ *Definition, m map[string][]byte) { delete(m, source) }},
		{"licence missing", ErrMissing, "LICENSE", func(_ *Definition, m map[string][]byte) { delete(m, "package/LICENSE") }},
		{"result not as pinned", ErrCorrupt, "pose_fr.onnx", edit(Pose, func(f *File) { f.SHA256 = sumOf(nil) })},
		{"source no model", ErrBadModel, source, func(d *Definition, m map[string][]byte) {
			m[source] = []byte("<html>")
			edit(Pose, func(f *File) { f.SourceSHA256 = sumOf(m[source]) })(d, m)
		}},
	} {
		d, members := small(t)
		c.change(d, members)
		_, dir := built(t)
		before, _ := os.ReadDir(dir)
		for _, dir := range []string{dir, filepath.Join(t.TempDir(), "new")} {
			err := d.Build(tarballsOf(t, d, members), dir)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.names) {
				t.Errorf("%s: %v", c.name, err)
			}
			noTemporaries(t, filepath.Dir(dir))
		}
		after, _ := os.ReadDir(dir)
		if _, err := Load(dir); err != nil || len(before) != len(after) {
			t.Errorf("%s: the pack that was there: %v", c.name, err)
		}
	}
}

func TestBuildOntoAFile(t *testing.T) {
	d, members := small(t)
	dir := filepath.Join(t.TempDir(), "default")
	if err := os.WriteFile(dir, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Build(tarballsOf(t, d, members), dir); err == nil {
		t.Fatal("a file was replaced")
	}
	if b, err := os.ReadFile(dir); err != nil || string(b) != "mine" {
		t.Fatalf("the file is now %q, %v", b, err)
	}
	noTemporaries(t, filepath.Dir(dir))
}

func TestSource(t *testing.T) {
	d, members := small(t)
	file := d.Manifest.Files[Pose]
	b, err := d.Source(tarballOf(t, members), Pose)
	if err != nil || !bytes.Equal(b, members[file.Source]) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := d.Source(tarballOf(t, members), "nose"); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	members[file.Source] = nil
	if _, err := d.Source(tarballOf(t, members), Pose); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestMembersOfDamagedTarballs(t *testing.T) {
	_, members := small(t)
	good, err := os.ReadFile(tarballOf(t, members))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bad.tgz")
	for _, b := range [][]byte{nil, []byte("not gzip"), good[:10], good[:len(good)/2], good[:len(good)-20]} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Members(path, "package/nothing"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	if _, err := Members(filepath.Join(t.TempDir(), "none"), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestLoadNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		want  error
		names string
		spoil func(dir string) error
	}{
		{"no folder", ErrMissing, "default", func(dir string) error { return os.RemoveAll(dir) }},
		{"no manifest", ErrMissing, ManifestName, func(dir string) error { return os.Remove(filepath.Join(dir, ManifestName)) }},
		{"no model", ErrMissing, "eye_fr.onnx", func(dir string) error { return os.Remove(filepath.Join(dir, "eye_fr.onnx")) }},
		{"empty model", ErrCorrupt, "eye_fr.onnx", func(dir string) error { return os.Truncate(filepath.Join(dir, "eye_fr.onnx"), 0) }},
		{"short model", ErrCorrupt, "pose_fr.onnx", func(dir string) error { return os.Truncate(filepath.Join(dir, "pose_fr.onnx"), 99) }},
		{"huge manifest", ErrCorrupt, ManifestName, func(dir string) error {
			return os.Truncate(filepath.Join(dir, ManifestName), maxManifestBytes+1)
		}},
		{"link out of the folder", nil, "LICENSE", func(dir string) error {
			out := filepath.Join(dir, "..", "out")
			return errors.Join(os.Rename(filepath.Join(dir, "LICENSE"), out), os.Symlink(out, filepath.Join(dir, "LICENSE")))
		}},
	} {
		_, dir := built(t)
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		m, err := Load(dir)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, m, err)
			continue
		}
		for _, part := range []string{dir, c.names, advice} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q lacks %q", c.name, err, part)
			}
		}
	}
}

func TestReadChecksAgain(t *testing.T) {
	d, dir := built(t)
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, d.Manifest.Files[Detector].File), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Read(dir, Detector); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if _, err := m.Read(dir, "nose"); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

func TestCheckWantsThisProgramsPack(t *testing.T) {
	d, dir := built(t)
	d.Manifest.Licence += "."
	if _, err := d.Check(dir); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestParseManifestRefuses(t *testing.T) {
	calibration := func(m *Manifest, p ...CalibrationPoint) { m.Calibration = p }
	file := func(m *Manifest, f func(*File)) {
		x := m.Files[Pose]
		f(&x)
		m.Files[Pose] = x
	}
	for name, change := range map[string]func(m *Manifest){
		"no name":        func(m *Manifest) { m.Name = "" },
		"dim 0":          func(m *Manifest) { m.Dim = 0 },
		"dim of another": func(m *Manifest) { m.Dim = 256 },
		"dim too large":  func(m *Manifest) { m.Dim = maxDim + 1; m.Space = m.SpaceID() },
		"other space":    func(m *Manifest) { m.Space += "x" },
		"other weights":  func(m *Manifest) { m.Files[Embedder] = m.Files[Pose] },
		"no pose":        func(m *Manifest) { delete(m.Files, Pose) },
		"unknown role": func(m *Manifest) {
			m.Files["nose"] = File{File: "n", SHA256: sumOf(nil), Source: "n", SourceSHA256: sumOf(nil)}
		},
		"path":             func(m *Manifest) { file(m, func(f *File) { f.File = "../pose.onnx" }) },
		"absolute path":    func(m *Manifest) { file(m, func(f *File) { f.File = "/pose.onnx" }) },
		"hidden":           func(m *Manifest) { file(m, func(f *File) { f.File = ".pose.onnx" }) },
		"no file name":     func(m *Manifest) { file(m, func(f *File) { f.File = "" }) },
		"same file twice":  func(m *Manifest) { file(m, func(f *File) { f.File = m.Files[Eyes].File }) },
		"manifest as file": func(m *Manifest) { file(m, func(f *File) { f.File = ManifestName }) },
		"short sum":        func(m *Manifest) { file(m, func(f *File) { f.SHA256 = f.SHA256[2:] }) },
		"sum in capitals":  func(m *Manifest) { file(m, func(f *File) { f.SHA256 = strings.ToUpper(f.SHA256) }) },
		"no sum":           func(m *Manifest) { file(m, func(f *File) { f.SourceSHA256 = "" }) },
		"no licence file":  func(m *Manifest) { m.LicenceFile = nil },
		"no calibration":   func(m *Manifest) { calibration(m) },
		"one point":        func(m *Manifest) { calibration(m, CalibrationPoint{0, .5, false}) },
		"cosine falls":     func(m *Manifest) { calibration(m, CalibrationPoint{.5, .5, false}, CalibrationPoint{0, .1, false}) },
		"fmr rises":        func(m *Manifest) { calibration(m, CalibrationPoint{0, .1, false}, CalibrationPoint{.5, .5, false}) },
		"fmr stays":        func(m *Manifest) { calibration(m, CalibrationPoint{0, .1, false}, CalibrationPoint{.5, .1, false}) },
		"fmr 0":            func(m *Manifest) { calibration(m, CalibrationPoint{0, .1, false}, CalibrationPoint{.5, 0, false}) },
		"cosine 2":         func(m *Manifest) { calibration(m, CalibrationPoint{0, .1, false}, CalibrationPoint{2, .01, false}) },
	} {
		m := &Default().Manifest
		change(m)
		if _, err := ParseManifest(m.JSON()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseManifestRefusesOtherText(t *testing.T) {
	good := string(Default().Manifest.JSON())
	for text, want := range map[string]error{
		"":                      ErrCorrupt,
		"{":                     ErrCorrupt,
		"[]":                    ErrCorrupt,
		"{}":                    ErrFormat,
		good + "{}":             ErrCorrupt,
		good[:len(good)/2]:      ErrCorrupt,
		`{"format": "1"}`:       ErrCorrupt,
		`{"format": 2}`:         ErrCorrupt,
		`{"format": 3}`:         ErrFormat,
		`{"new": 1,` + good[1:]: ErrCorrupt,
		strings.Replace(good, `"format": 1`, `"format": 3`, 1): ErrFormat,
	} {
		if _, err := ParseManifest([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", text, err, want)
		}
	}
	if _, err := ParseManifest([]byte(good)); err != nil {
		t.Error(err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(Default().Manifest.JSON())
	f.Add(withLandmarks(second()).JSON())
	f.Add([]byte(`{"format": 2, "pipeline": {"align": {"points": [[1, 2]]}}}`))
	f.Add([]byte(`{"format": 1, "files": null, "calibration": [{"cosine": 1e999}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		if again, err := ParseManifest(m.JSON()); err != nil || !bytes.Equal(again.JSON(), m.JSON()) {
			t.Fatalf("%s\ndoes not survive writing: %v", b, err)
		}
	})
}

func TestDefaultIsWhatTheEngineExpects(t *testing.T) {
	m := Default().Manifest
	if m.Space != "fr_feature-512-p1-87aacdfe5751" || m.Dim != 512 {
		t.Errorf("space %q of dim %d: templates already stored would be lost", m.Space, m.Dim)
	}
	for _, part := range []string{"MIT", "undocumented", "undeclared"} {
		if !strings.Contains(m.Licence, part) {
			t.Errorf("the licence text does not say %q", part)
		}
	}
	last := m.Calibration[len(m.Calibration)-1]
	if last != (CalibrationPoint{Cosine: .488, FMR: 1e-5}) {
		t.Errorf("the last calibration point is %v: past 1e-5 the label errors of LFW decide", last)
	}
	if !json.Valid(m.JSON()) {
		t.Error("not JSON")
	}
}

// Its templates are stored under this space; and who takes the pack for its licence must be told what is known.
func TestFaceAPIDefinition(t *testing.T) {
	m := FaceAPI().Manifest
	if m.Space != "face_recognition_model-128-4f954e6c2c2c" || m.Has(Liveness) || m.Has(Pose) || m.Has(Eyes) {
		t.Errorf("space %q, files %v", m.Space, m.Files)
	}
	for _, part := range []string{"MIT", "public domain", "UltraFace", "does not name them"} {
		if !strings.Contains(m.Licence, part) {
			t.Errorf("the licence text does not say %q", part)
		}
	}
	if !strings.Contains(m.Use, "no liveness") {
		t.Error("the text on use does not warn of missing liveness")
	}
	if d := Definitions(); len(d) != 2 || d[0].Manifest.Name != "default" {
		t.Errorf("%d definitions", len(d))
	}
}

func TestWriteFileReplacesWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, want := range []string{"first", "second, longer", ""} {
		if err := WriteFile(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Fatalf("%q, %v", b, err)
		}
	}
	noTemporaries(t, filepath.Dir(path))
	if err := WriteFile(filepath.Join(path, "below a file"), nil); err == nil {
		t.Fatal("no error")
	}
}
