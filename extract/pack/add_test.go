package pack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// download is a folder as a user makes it: models, and a manifest of format 2 without sums and space.
func download(t *testing.T, change func(m *Manifest)) string {
	t.Helper()
	dir := t.TempDir()
	m := second()
	m.Space, m.LicenceFile = "", &File{File: "LICENCE.txt"}
	for role, f := range m.Files {
		f.SHA256 = ""
		m.Files[role] = f
	}
	for name, b := range map[string][]byte{"detect.onnx": modelNamed("detect.onnx"), "embed.onnx": modelNamed("embed.onnx"),
		"LICENCE.txt": []byte("as you like"), "stray": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	change(m)
	if err := os.WriteFile(filepath.Join(dir, ManifestName), m.JSON(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fine(string) error { return nil }

func TestAdd(t *testing.T) {
	models := filepath.Join(t.TempDir(), "models")
	tried := ""
	m, err := Add(download(t, func(*Manifest) {}), models, func(dir string) error {
		tried = dir
		_, err := Load(dir)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(tried) != models || filepath.Base(tried) == m.Name {
		t.Errorf("tried in %s, where others may see it", tried)
	}
	want := second()
	for role, f := range want.Files {
		want.Files[role] = File{File: f.File, SHA256: sumOf(modelNamed(f.File))}
	}
	got, err := Load(filepath.Join(models, "second"))
	if err != nil || got.Space != want.SpaceID() || string(got.JSON()) != string(m.JSON()) {
		t.Errorf("%v, %v", got, err)
	}
	if entries, _ := os.ReadDir(filepath.Join(models, "second")); len(entries) != 4 {
		t.Errorf("files are %v, want the three that are named and the manifest", entries)
	}
	all, err := List(models)
	if err != nil || len(all) != 1 || all[0].Err != nil || all[0].Manifest.Name != "second" {
		t.Errorf("%v, %v", all, err)
	}
}

func TestAddRefuses(t *testing.T) {
	wrong := errors.New("it does not load")
	for name, c := range map[string]struct {
		change func(m *Manifest)
		try    func(string) error
		want   error
		says   string
	}{
		"does not load": {func(*Manifest) {}, func(string) error { return wrong }, wrong, ""},
		"no file":       {func(m *Manifest) { m.Files[Embedder] = File{File: "other.onnx"} }, fine, ErrMissing, "other.onnx"},
		"wrong sum":     {func(m *Manifest) { m.Files[Embedder] = File{File: "embed.onnx", SHA256: sumOf(nil)} }, fine, ErrCorrupt, "embed.onnx"},
		"wrong space":   {func(m *Manifest) { m.Space = "mine" }, fine, ErrCorrupt, "its models and steps make"},
		"a path":        {func(m *Manifest) { m.Files[Embedder] = File{File: "../embed.onnx"} }, fine, ErrCorrupt, "plain name"},
		"name is path":  {func(m *Manifest) { m.Name = ".." }, fine, ErrCorrupt, "plain name"},
		"no pipeline":   {func(m *Manifest) { m.Pipeline = nil }, fine, ErrCorrupt, "no pipeline"},
		"format 3":      {func(m *Manifest) { m.Format = 3 }, fine, ErrFormat, "format 3"},
	} {
		models := t.TempDir()
		_, err := Add(download(t, c.change), models, c.try)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(models); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
	models := t.TempDir()
	if _, err := Add(t.TempDir(), models, fine); !errors.Is(err, ErrMissing) {
		t.Errorf("an empty folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(models, "second"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Add(download(t, func(*Manifest) {}), models, fine); !errors.Is(err, ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
}

func TestListShowsDamage(t *testing.T) {
	d, dir := built(t)
	models := filepath.Dir(dir)
	for _, name := range []string{TempPrefix + "1", "no pack"} {
		if err := os.MkdirAll(filepath.Join(models, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, d.Manifest.Files[Pose].File), 3); err != nil {
		t.Fatal(err)
	}
	all, err := List(models)
	if err != nil || len(all) != 1 || !errors.Is(all[0].Err, ErrCorrupt) || all[0].Manifest != nil {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := List(filepath.Join(models, "none")); err == nil {
		t.Error("a folder that is not there was listed")
	}
}

// The manifest that the documentation shows must be one.
func TestDocumentedManifest(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(source)) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			text.WriteString(code)
		}
	}
	from, to := strings.Index(text.String(), "{\n"), strings.Index(text.String(), "\n}\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ManifestName), []byte(text.String()[from:to+2]), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"det_10g.onnx", "w600k_r50.onnx"} {
		if err := os.WriteFile(filepath.Join(dir, name), modelNamed(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Add(dir, t.TempDir(), fine)
	if err != nil {
		t.Fatal(err)
	}
	if m.Pipeline.Detector.Adapter != SCRFD || m.Dim != 512 || m.Pipeline.Landmarks != nil {
		t.Errorf("%s", m.JSON())
	}
}

func TestCalibrate(t *testing.T) {
	models := t.TempDir()
	m, err := Add(download(t, func(*Manifest) {}), models, fine)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(models, m.Name)
	points := []CalibrationPoint{{.1, .01, false}, {.3, 1e-6, true}}
	for name, c := range map[string]struct {
		space  string
		points []CalibrationPoint
	}{"another space": {"x", points}, "one point": {m.Space, points[:1]}, "none": {m.Space, nil}} {
		if _, err := Calibrate(dir, c.space, "tests", c.points); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := Load(dir); err != nil || got.Calibration != nil {
		t.Errorf("after refusals: %v, %v", got, err)
	}
	if _, err := Calibrate(dir, m.Space, "tests", points); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(dir); err != nil || len(got.Calibration) != 2 || got.CalibrationSource != "tests" || got.Space != m.Space {
		t.Errorf("%v, %v", got, err)
	}
	_, ours := built(t)
	if _, err := Calibrate(ours, Default().Manifest.Space, "tests", points); err == nil || !strings.Contains(err.Error(), "made by set-up") {
		t.Errorf("a pack of set-up: %v", err)
	}
}
