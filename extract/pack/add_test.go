package pack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
		"format 1": {func(m *Manifest) {
			files := m.Files
			*m = Default().Manifest
			m.Files, m.Space = files, ""
			for role, f := range m.Files {
				m.Files[role] = File{File: f.File, Source: "package/model/fr_feature.onnx", SourceSHA256: Default().Manifest.Files[Embedder].SourceSHA256}
			}
		}, fine, ErrFormat, "manifest of format 2"},
		"another's source": {func(m *Manifest) {
			f := Default().Manifest.Files[Embedder]
			m.Files[Embedder] = File{File: "embed.onnx", Source: f.Source, SourceSHA256: f.SourceSHA256}
		}, fine, ErrCorrupt, "leave source"},
		"format 3": {func(m *Manifest) { m.Format = 3 }, fine, ErrFormat, "format 3"},
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

// The files that set-up makes keep their source, so that a copy of its pack with other steps behind the crop stays in its space.
func TestKnown(t *testing.T) {
	for _, d := range Definitions() {
		for role, f := range d.Manifest.Files {
			f.File = "another name.onnx"
			if !known(role, f) {
				t.Errorf("%s of %s is not known", role, d.Manifest.Name)
			}
			f.SHA256 = sumOf(nil)
			if known(role, f) {
				t.Errorf("another file than %s of %s is known", role, d.Manifest.Name)
			}
		}
	}
	if known(Landmarks, Default().Manifest.Files[Embedder]) {
		t.Error("an embedder is known as landmarks")
	}
}

// A pipe without a writer must not hold up whoever looks at a pack, and a folder is no file either.
func TestOnlyRegularFiles(t *testing.T) {
	for kind, put := range map[string]func(string) error{
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		for _, name := range []string{ManifestName, "embed.onnx", "LICENCE.txt"} {
			from := download(t, func(*Manifest) {})
			models := t.TempDir()
			m, err := Add(from, models, fine)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(models, m.Name)
			for _, d := range []string{from, dir} {
				path := filepath.Join(d, name)
				if err := errors.Join(os.Remove(path), put(path)); err != nil {
					t.Fatal(err)
				}
			}
			in := map[string]func() error{
				"Load": func() error { _, err := Load(dir); return err },
				"Add":  func() error { _, err := Add(from, t.TempDir(), fine); return err },
			}
			if name == "embed.onnx" {
				in["Read"] = func() error { _, err := m.Read(dir, Embedder); return err }
			}
			for what, do := range in {
				if err := inTime(t, do); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), name+" is not a regular file") {
					t.Errorf("%s with a %s for %s: %v", what, kind, name, err)
				}
			}
		}
	}
}

// inTime does what must not hang.
func inTime(t *testing.T, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
		return nil
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
