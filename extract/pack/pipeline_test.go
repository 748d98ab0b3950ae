package pack

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// second is a manifest of format 2 that is in order: five points by the detector, nothing but the two roles that must be.
func second() *Manifest {
	file := func(name string) File { return File{File: name, SHA256: sumOf([]byte(name))} }
	m := &Manifest{
		Format: 2, Name: "second", Dim: 128, Licence: "unknown", Use: "tests",
		Files: map[Role]File{Detector: file("detect.onnx"), Embedder: file("embed.onnx")},
		Pipeline: &Pipeline{
			Detector: Detection{Adapter: YuNet, Input: input(640, 640), Score: .6, IoU: .3, Place: Corner},
			Align:    Alignment{Template: ArcFace112}, Embedder: Embedding{Input: input(112, 112)},
		},
	}
	m.Space = m.SpaceID()
	return m
}

func input(w, h int) Input {
	return Input{Width: w, Height: h, Colour: BGR, Mean: []float32{0}, Std: []float32{1}}
}

// withLandmarks adds the step and its file.
func withLandmarks(m *Manifest) *Manifest {
	m.Pipeline.Landmarks = &Landmarking{Adapter: Points68, Input: input(64, 64), Side: 1}
	m.Files[Landmarks] = File{File: "points.onnx", SHA256: sumOf([]byte("points"))}
	m.Space = m.SpaceID()
	return m
}

func TestFormat2(t *testing.T) {
	for _, m := range []*Manifest{second(), withLandmarks(second())} {
		got, err := ParseManifest(m.JSON())
		if err != nil {
			t.Fatal(err)
		}
		if string(got.JSON()) != string(m.JSON()) || got.Steps().Embedder.Input.Width != 112 || got.Has(Pose) {
			t.Errorf("%s\nbecame\n%s", m.JSON(), got.JSON())
		}
	}
}

func TestFormat2Refuses(t *testing.T) {
	nan := float32(math.NaN())
	for want, change := range map[string]func(m *Manifest){
		"plain name":                        func(m *Manifest) { m.Name = "../second" },
		"preprocessing is of format 1":      func(m *Manifest) { m.Preprocessing = 1 },
		"no pipeline":                       func(m *Manifest) { m.Pipeline = nil },
		"licence: a text of 0 bytes":        func(m *Manifest) { m.Licence = "" },
		"use: a text of 16385 bytes":        func(m *Manifest) { m.Use = strings.Repeat("x", maxText+1) },
		`no file for role "embedder"`:       func(m *Manifest) { delete(m.Files, Embedder) },
		`a file for role "pose", of which`:  func(m *Manifest) { m.Files[Pose] = File{File: "p", SHA256: sumOf(nil)} },
		`no file for role "pose"`:           func(m *Manifest) { m.Pipeline.Others = map[Role]string{Pose: PoseBins} },
		"others.pose: adapter is":           func(m *Manifest) { m.Pipeline.Others = map[Role]string{Pose: "x"} },
		"none of liveness, pose and eyes":   func(m *Manifest) { m.Pipeline.Others = map[Role]string{Detector: ""} },
		"source and source_sha256":          func(m *Manifest) { f := m.Files[Embedder]; f.Source = "x"; m.Files[Embedder] = f },
		"detector.adapter":                  func(m *Manifest) { m.Pipeline.Detector.Adapter = "mtcnn" },
		"detector.place":                    func(m *Manifest) { m.Pipeline.Detector.Place = "left" },
		"detectors take rgb or bgr":         func(m *Manifest) { m.Pipeline.Detector.Input.Colour = Grey },
		"not a multiple of 32":              func(m *Manifest) { m.Pipeline.Detector.Input.Height = 650 },
		"detector.margin: 1.5":              func(m *Manifest) { m.Pipeline.Detector.Margin = 1.5 },
		"detector.margin: 0.001":            func(m *Manifest) { m.Pipeline.Detector.Margin = .001 },
		"would drop every box":              func(m *Manifest) { m.Pipeline.Detector.IoU = 0 },
		"detector.inside: -1":               func(m *Manifest) { m.Pipeline.Detector.Inside = -1 },
		"0×0 is not in 8..4096":             func(m *Manifest) { m.Pipeline.Detector.Input = Input{} },
		"4096×4096 is not":                  func(m *Manifest) { m.Pipeline.Detector.Input = input(4096, 4096) },
		"embedder.input.colour":             func(m *Manifest) { m.Pipeline.Embedder.Input.Colour = "cmyk" },
		"embedder.input.layout":             func(m *Manifest) { m.Pipeline.Embedder.Input.Layout = "chw" },
		"embedder.input.mean: 2 numbers":    func(m *Manifest) { m.Pipeline.Embedder.Input.Mean = []float32{1, 2} },
		"embedder.input.std: 0 is not in":   func(m *Manifest) { m.Pipeline.Embedder.Input.Std = []float32{0} },
		"embedder.output: a name":           func(m *Manifest) { m.Pipeline.Embedder.Output = strings.Repeat("x", 300) },
		"template dlib150 is for":           func(m *Manifest) { m.Pipeline.Align.Template = Dlib150 },
		"align.template":                    func(m *Manifest) { m.Pipeline.Align.Template = "ffhq" },
		"0 points, want a template or five": func(m *Manifest) { m.Pipeline.Align.Template = "" },
		"exclude each other":                func(m *Manifest) { m.Pipeline.Align.Points = make([][2]float64, 5) },
		"is there twice": func(m *Manifest) {
			m.Pipeline.Align = Alignment{Points: [][2]float64{{1, 1}, {2, 1}, {1, 1}, {3, 3}, {4, 4}}}
		},
		"is not in 112×112": func(m *Manifest) {
			m.Pipeline.Align = Alignment{Points: [][2]float64{{1, 1}, {2, 1}, {112, 1}, {3, 3}, {4, 4}}}
		},
		"there are no points to align by": func(m *Manifest) { m.Pipeline.Detector.Adapter = UltraFace },
		"is not a square":                 func(m *Manifest) { withLandmarks(m).Pipeline.Landmarks.Input.Width = 96 },
		"landmarks.adapter":               func(m *Manifest) { withLandmarks(m).Pipeline.Landmarks.Adapter = "fan" },
		"landmarks.side: 0":               func(m *Manifest) { withLandmarks(m).Pipeline.Landmarks.Side = 0 },
		"calibration points":              func(m *Manifest) { m.Calibration = []CalibrationPoint{{0, .5, false}} },
		"mean: NaN":                       func(m *Manifest) { m.Pipeline.Embedder.Input.Mean = []float32{nan} },
	} {
		m := second()
		change(m)
		if m.Pipeline != nil && !strings.HasPrefix(want, "mean: NaN") {
			m.Space = m.SpaceID()
		}
		if err := m.validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	m := second()
	m.Space += "0"
	if _, err := ParseManifest(m.JSON()); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), second().Space) {
		t.Errorf("another space: %v", err)
	}
}

// Whatever changes a template must change the space; what only decides which faces are seen must not.
func TestSpaceFollowsWhatMakesTemplates(t *testing.T) {
	was := withLandmarks(second()).Space
	file := func(m *Manifest, role Role) { f := m.Files[role]; f.SHA256 = sumOf([]byte("other")); m.Files[role] = f }
	for name, c := range map[string]struct {
		change func(m *Manifest)
		moves  bool
	}{
		"embedder's weights": {func(m *Manifest) { file(m, Embedder) }, true},
		"landmarks' weights": {func(m *Manifest) { file(m, Landmarks) }, true},
		"colour":             {func(m *Manifest) { m.Pipeline.Embedder.Input.Colour = RGB }, true},
		"mean":               {func(m *Manifest) { m.Pipeline.Embedder.Input.Mean = []float32{1} }, true},
		"flip":               {func(m *Manifest) { m.Pipeline.Embedder.Flip = true }, true},
		"dim":                {func(m *Manifest) { m.Dim++ }, true},
		"landmarks' crop":    {func(m *Manifest) { m.Pipeline.Landmarks.Side = 1.1 }, true},
		"points by detector": {func(m *Manifest) { m.Pipeline.Landmarks = nil }, true},
		"detector's weights": {func(m *Manifest) { file(m, Detector) }, false},
		"detector's score":   {func(m *Manifest) { m.Pipeline.Detector.Score = .9 }, false},
		"embedder's own file": {func(m *Manifest) {
			f := m.Files[Embedder]
			f.SourceSHA256 = f.SHA256
			f.SHA256 = sumOf(nil)
			m.Files[Embedder] = f
		}, false},
		"licence": {func(m *Manifest) { m.Licence = "other" }, false},
	} {
		m := withLandmarks(second())
		c.change(m)
		if moved := m.SpaceID() != was; moved != c.moves {
			t.Errorf("%s: the space moved: %v", name, moved)
		}
	}
	if was != "embed-128-252ba239cc8c" {
		t.Errorf("the space of a known manifest is now %s: templates stored in it are lost", was)
	}
}

// Format 1 means what it meant when templates were stored by it.
func TestFormat1Steps(t *testing.T) {
	m := Default().Manifest
	p := m.Steps()
	if err := p.validate(); err != nil {
		t.Error(err)
	}
	if got, want := len(p.roles()), len(Roles()); got != want {
		t.Errorf("%d roles, want %d", got, want)
	}
	for name, change := range map[string]func(m *Manifest){
		"pipeline":         func(m *Manifest) { m.Pipeline = p },
		"use":              func(m *Manifest) { m.Use = "x" },
		"preprocessing 2":  func(m *Manifest) { m.Preprocessing = 2; m.Space = m.SpaceID() },
		"no preprocessing": func(m *Manifest) { m.Preprocessing = 0; m.Space = m.SpaceID() },
		"other package":    func(m *Manifest) { f := m.Files[Pose]; f.Package = "x"; m.Files[Pose] = f },
	} {
		m := &Default().Manifest
		change(m)
		if _, err := ParseManifest(m.JSON()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
