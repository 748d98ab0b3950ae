package extract

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mien/extract/pack"
)

// Real weights of these detectors are not at hand where the tests run. What is tested is their arithmetic: outputs that
// say one face by the formulas that the projects publish, in graphs of the same signature.

// known is the face that the detectors of these tests see, in pixels of their input of 64×64.
var known = detection{x1: 17, y1: 14, x2: 41, y2: 46, score: .75, five: &five{{22, 26}, {36, 26.5}, {29, 33}, {24, 39}, {35, 40}}}

const knownSide = 64

// headCase is a detector's graph that gives the known face, and noise of a lower score.
type headCase struct {
	name, adapter string
	points        bool
	graph         func(g *testGraph, batch int64) *testGraph
}

// tensorOf is an output of n rows of values each; set puts numbers into a row.
type tensorOf struct {
	values int
	v      []float32
}

func rows(n, values int) tensorOf { return tensorOf{values, make([]float32, n*values)} }

func (t tensorOf) set(row int, v ...float64) tensorOf {
	for i, x := range v {
		t.v[row*t.values+i] = float32(x)
	}
	return t
}

// constantOf gives tensor t as output name; batch 0 leaves the first dimension open, −1 leaves it out.
func (g *testGraph) constantOf(name string, t tensorOf, batch int64) *testGraph {
	dims := []int64{int64(len(t.v) / t.values), int64(t.values)}
	if batch < 0 {
		return g.constant(name, t.v, dims...).output(name, dims...)
	}
	return g.constant(name, t.v, append([]int64{1}, dims...)...).output(name, append([]int64{batch}, dims...)...)
}

// scrfdGraph says the known face by node (3, 4) of stride 8, second anchor: distances from (24, 32) to the sides are 7, 18, 17
// and 14 pixels, all in strides.
func scrfdGraph(g *testGraph, batch int64, points bool) *testGraph {
	g.input(max(batch, 1), 3, knownSide, knownSide)
	const x, y, stride = 24, 32, 8
	row := (4*8+3)*2 + 1
	for level, n := range []int{128, 32, 8} {
		t := rows(n, 1).set(0, .3)
		if level == 0 {
			t.set(row, .75)
		}
		g.constantOf([]string{"448", "471", "494"}[level], t, batch)
	}
	for level, n := range []int{128, 32, 8} {
		t := rows(n, 4)
		if level == 0 {
			t.set(row, 7./stride, 18./stride, 17./stride, 14./stride)
		}
		g.constantOf([]string{"451", "474", "497"}[level], t, batch)
	}
	for level, n := range []int{128, 32, 8} {
		t := rows(n, 10)
		if level == 0 {
			var v []float64
			for _, p := range known.five {
				v = append(v, (p[0]-x)/stride, (p[1]-y)/stride)
			}
			t.set(row, v...)
		}
		if points {
			g.constantOf([]string{"454", "477", "500"}[level], t, batch)
		}
	}
	return g
}

// yuNetGraph says it by node (1, 1) of stride 16: the centre (29, 30) is (1.8125, 1.875) strides, the size e^(ln 1.5), e^(ln 2);
// .9 and .625 have the geometric mean .75.
func yuNetGraph(g *testGraph, batch int64) *testGraph {
	g.input(batch, 3, knownSide, knownSide)
	const row = 4 + 1
	for _, kind := range []string{"cls", "obj", "bbox", "kps"} { // the zoo's order
		for level, n := range []int{64, 16, 4} {
			t := rows(n, map[string]int{"cls": 1, "obj": 1, "bbox": 4, "kps": 10}[kind])
			if level == 1 {
				switch kind {
				case "cls":
					t.set(row, .9)
				case "obj":
					t.set(row, .625).set(row+1, 1.5)
				case "bbox":
					t.set(row, 29./16-1, 30./16-1, math.Log(24./16), math.Log(32./16))
				case "kps":
					var v []float64
					for _, p := range known.five {
						v = append(v, p[0]/16-1, p[1]/16-1)
					}
					t.set(row, v...)
				}
			}
			g.constantOf(strideName(kind, strides[level]), t, batch)
		}
	}
	return g
}

// retinaGraph says it by the prior of side 32 in cell (3, 3) of stride 8: its centre is (28, 28), offsets are in tenths of 32
// pixels, sizes e^(.2·x)·32.
func retinaGraph(g *testGraph, batch int64) *testGraph {
	g.input(batch, 3, knownSide, knownSide)
	n := 2 * (64 + 16 + 4)
	row := (3*8+3)*2 + 1
	loc, conf, points := rows(n, 4), rows(n, 2), rows(n, 10)
	loc.set(row, 1/3.2, 2/3.2, math.Log(24./32)/.2, math.Log(32./32)/.2)
	conf.set(row, .25, .75).set(0, .9, .1)
	var v []float64
	for _, p := range known.five {
		v = append(v, (p[0]-28)/3.2, (p[1]-28)/3.2)
	}
	points.set(row, v...)
	return g.constantOf("loc", loc, batch).constantOf("conf", conf, batch).constantOf("landms", points, batch)
}

// ultraGraph says it in shares of the input; grids of 8, 4, 2 and 1 cells have 3, 2, 2 and 3 boxes each.
func ultraGraph(g *testGraph, batch int64) *testGraph {
	g.input(batch, 3, knownSide, knownSide)
	n := 64*3 + 16*2 + 4*2 + 3
	scores, boxes := rows(n, 2).set(100, .25, .75).set(3, .5, .5), rows(n, 4).set(100, 17./64, 14./64, 41./64, 46./64)
	return g.constantOf("scores", scores, batch).constantOf("boxes", boxes, batch)
}

func headCases() []headCase {
	return []headCase{
		{"SCRFD", pack.SCRFD, true, func(g *testGraph, batch int64) *testGraph { return scrfdGraph(g, batch, true) }},
		{"SCRFD without points", pack.SCRFD, false, func(g *testGraph, batch int64) *testGraph { return scrfdGraph(g, batch, false) }},
		{"YuNet", pack.YuNet, true, yuNetGraph},
		{"RetinaFace", pack.RetinaFace, true, retinaGraph},
		{"UltraFace", pack.UltraFace, false, ultraGraph},
	}
}

// adapted is a manifest for a detector of 64×64 and an embedder of channel means on 32×32.
func adapted(c headCase) *pack.Manifest {
	in := func(side int) pack.Input {
		return pack.Input{Width: side, Height: side, Colour: pack.RGB, Mean: []float32{0}, Std: []float32{255}}
	}
	m := &pack.Manifest{
		Format: 2, Name: "adapted", Dim: 3, Licence: "ours", Use: "tests", Files: map[string]pack.File{},
		Pipeline: &pack.Pipeline{
			Detector: pack.Detection{Adapter: c.adapter, Input: in(knownSide), Score: .5, IoU: .4, Place: pack.Corner},
			Align:    pack.Alignment{Points: [][2]float64{{10, 12}, {22, 12}, {16, 18}, {12, 24}, {20, 24}}},
			Embedder: pack.Embedding{Input: in(32)},
		},
	}
	if !c.points {
		m.Pipeline.Landmarks = &pack.Landmarking{Adapter: pack.Points68, Input: in(48), Side: 1, Again: 15}
	}
	return m
}

// packOf writes a pack of the graphs by role.
func packOf(t *testing.T, m *pack.Manifest, graphs map[string]*testGraph) string {
	t.Helper()
	dir := t.TempDir()
	for role, g := range graphs {
		data := g.model()
		sum := sha256.Sum256(data)
		m.Files[role] = pack.File{File: role + ".onnx", SHA256: hex.EncodeToString(sum[:])}
		if err := os.WriteFile(filepath.Join(dir, role+".onnx"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m.Space = m.SpaceID()
	if err := os.WriteFile(filepath.Join(dir, pack.ManifestName), m.JSON(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pointsGraph says all 68 points in the middle of the crop, but the eyes and the mouth, so that there is something to align.
func pointsGraph(g *testGraph, batch int64) *testGraph {
	t := rows(1, 136)
	for i := range t.v {
		t.v[i] = .5
	}
	for i, p := range map[int][2]float32{37: {.3, .3}, 38: {.3, .3}, 40: {.3, .3}, 41: {.3, .3}, 43: {.7, .3}, 44: {.7, .3},
		46: {.7, .3}, 47: {.7, .3}, 48: {.35, .7}, 54: {.65, .7}} {
		t.v[2*i], t.v[2*i+1] = p[0], p[1]
	}
	return g.input(batch, 3, 48, 48).constant("points", t.v, 1, 136).output("points", batch, 136)
}

// Every adapter, with a batch that is fixed, open and missing, in float32 and float16, must find the known face: the
// photo is twice the detector's input, so everything is twice as far.
func TestAdaptersFindTheFace(t *testing.T) {
	testExtractor(t) // the library stays loaded
	photo := newImage(2*knownSide, 2*knownSide)
	for i := range photo.Pix {
		photo.Pix[i] = [3]uint8{200, 100, 50}[i%3]
	}
	data, err := photo.PNG()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range headCases() {
		for _, batch := range []int64{1, 0, -1} {
			for _, half := range []bool{false, true} {
				if batch < 0 && c.adapter != pack.SCRFD {
					continue // only InsightFace's exports drop the batch
				}
				m := adapted(c)
				graphs := map[string]*testGraph{
					pack.Detector: c.graph(&testGraph{half: half}, batch), pack.Embedder: meansOf(&testGraph{half: half}, max(batch, 0), 3, 32, 32),
				}
				if !c.points {
					graphs[pack.Landmarks] = pointsGraph(&testGraph{half: half}, max(batch, 0))
				}
				findKnown(t, c, packOf(t, m, graphs), data, half)
			}
		}
	}
}

func findKnown(t *testing.T, c headCase, dir string, data []byte, half bool) {
	t.Helper()
	x, err := New(Config{Library: testLibrary(), Pack: dir, Workers: 1})
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	defer x.Close()
	if err := x.SelfTest(t.Context()); err != nil {
		t.Errorf("%s: self-test: %v", c.name, err)
	}
	faces, err := x.Extract(t.Context(), data, Options{Select: SelectOne, Want: WantTemplate | WantQuality | WantLiveness})
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	f, off := faces[0], 1e-3
	if half {
		off = .1 // 11 bits of 128 pixels
	}
	near := func(got float32, want float64) bool { return math.Abs(float64(got)-want) <= off }
	if !near(f.Box.X1, 34) || !near(f.Box.Y1, 28) || !near(f.Box.X2, 82) || !near(f.Box.Y2, 92) || !near(f.Score, .75) {
		t.Errorf("%s: box %v of score %v", c.name, f.Box, f.Score)
	}
	if c.points {
		for i, p := range known.five {
			if !near(f.Five[i].X, 2*p[0]) || !near(f.Five[i].Y, 2*p[1]) {
				t.Errorf("%s: point %d is %v, want twice %v", c.name, i, f.Five[i], p)
			}
		}
	}
	if got, want := len(f.Points()), map[bool]int{true: 5, false: 68}[c.points]; got != want {
		t.Errorf("%s: %d points, want %d", c.name, got, want)
	}
	length := math.Sqrt(200*200 + 100*100 + 50*50)
	for i, want := range []float64{200, 100, 50} {
		if got := float64(f.Template[i]); !(math.Abs(got-want/length) <= 5e-3) {
			t.Errorf("%s: template %v", c.name, f.Template)
		}
	}
	if got := float64(f.Norm) * 255; !(math.Abs(got-length) <= 2) {
		t.Errorf("%s: norm %v", c.name, f.Norm)
	}
	if f.Liveness.Verdict != Uncertain {
		t.Errorf("%s: without a model liveness is %v", c.name, f.Liveness)
	}
}

// Graphs of another signature must be refused when the pack is loaded, with what was found and what is wanted.
func TestAdaptersRefuseOtherGraphs(t *testing.T) {
	testExtractor(t)
	yunet := headCase{"YuNet", pack.YuNet, true, yuNetGraph}
	good := func() map[string]*testGraph {
		return map[string]*testGraph{pack.Detector: yuNetGraph(&testGraph{}, 1), pack.Embedder: means(0, 3, 32, 32)}
	}
	for name, c := range map[string]struct {
		change func(m *pack.Manifest, g map[string]*testGraph)
		says   string
	}{
		"another detector": {func(_ *pack.Manifest, g map[string]*testGraph) { g[pack.Detector] = retinaGraph(&testGraph{}, 1) }, `want "cls_8"`},
		"six outputs for nine": {func(m *pack.Manifest, g map[string]*testGraph) {
			m.Pipeline.Detector.Adapter = pack.SCRFD
			g[pack.Detector] = scrfdGraph(&testGraph{}, 1, false)
		}, "want one more of [N [128 10]]"},
		"another size": {func(m *pack.Manifest, _ map[string]*testGraph) {
			m.Pipeline.Embedder.Input.Width = 48
		}, "input is [image[-1 3 32 32]], want one of [N [3 32 48]]"},
		"another dim":    {func(m *pack.Manifest, _ map[string]*testGraph) { m.Dim = 128 }, "want one more of [N [128]]"},
		"no such output": {func(m *pack.Manifest, _ map[string]*testGraph) { m.Pipeline.Embedder.Output = "fc1" }, `want "fc1"`},
		"two inputs": {func(_ *pack.Manifest, g map[string]*testGraph) {
			g[pack.Embedder].port(11, "second", 1, 1)
		}, "second[1 1]"},
		"no model":               {func(_ *pack.Manifest, g map[string]*testGraph) { g[pack.Embedder].nodes = []byte("no nodes") }, "embedder model"},
		"a batch of 2^45":        {func(_ *pack.Manifest, g map[string]*testGraph) { g[pack.Embedder] = means(1<<45, 3, 32, 32) }, "want a batch of at most 1024"},
		"a batch past any sense": {func(_ *pack.Manifest, g map[string]*testGraph) { g[pack.Embedder] = means(1<<62, 3, 32, 32) }, "want a batch of at most 1024"},
		"a batch of much memory": {func(m *pack.Manifest, g map[string]*testGraph) {
			m.Pipeline.Embedder.Input.Width, m.Pipeline.Embedder.Input.Height, m.Pipeline.Align.Points = 512, 512, [][2]float64{{10, 12}, {22, 12}, {16, 18}, {12, 24}, {20, 24}}
			g[pack.Embedder] = means(1000, 3, 512, 512)
		}, "numbers an input or output"},
		"a weight in another file": {func(_ *pack.Manifest, g map[string]*testGraph) {
			where := cat(msg(1, []byte("location")), msg(2, []byte("doc.go")))
			size := cat(msg(1, []byte("length")), msg(2, []byte("4")))
			g[pack.Embedder].nodes = append(g[pack.Embedder].nodes,
				msg(5, cat(integer(1, 1), integer(2, onnxFloat), msg(8, []byte("w")), msg(13, where), msg(13, size), integer(14, 1)))...)
		}, "data is not in the file"},
	} {
		m, graphs := adapted(yunet), good()
		c.change(m, graphs)
		x, err := New(Config{Library: testLibrary(), Pack: packOf(t, m, graphs), Workers: 1})
		if err == nil {
			x.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// A mirrored crop's output is added: means of channels don't change by that, but a graph that sees sides does.
func TestFlip(t *testing.T) {
	testExtractor(t)
	m := adapted(headCase{"YuNet", pack.YuNet, true, yuNetGraph})
	m.Pipeline.Embedder.Flip, m.Dim = true, 3*32*32
	flat := (&testGraph{}).input(0, 3, 32, 32).node("Flatten", "image", "template").output("template", 0, 3*32*32)
	dir := packOf(t, m, map[string]*testGraph{pack.Detector: yuNetGraph(&testGraph{}, 1), pack.Embedder: flat})
	x, err := New(Config{Library: testLibrary(), Pack: dir, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	crop := newImage(32, 32)
	for i := range crop.Pix {
		crop.Pix[i] = uint8(i * 7)
	}
	if err := x.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, _, err := x.stages.embed(t.Context(), crop)
	x.giveBack()
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if mirror := i/32*32 + 31 - i%32; math.Abs(float64(got[i]-got[mirror])) > 1e-6 {
			t.Fatalf("element %d is %v and its mirror image %v", i, got[i], got[mirror])
		}
	}
}

func TestPixels(t *testing.T) {
	m := newImage(2, 1)
	copy(m.Pix, []uint8{10, 20, 30, 40, 50, 60})
	for _, c := range []struct {
		colour, layout string
		want           []float32
	}{
		{pack.RGB, "", []float32{9, 39, 9, 24, 9, 19}},
		{pack.BGR, pack.NCHW, []float32{29, 59, 9, 24, 7. / 3, 37. / 3}},
		{pack.RGB, pack.NHWC, []float32{9, 9, 9, 39, 24, 19}},
	} {
		p := newPixels(pack.Input{Width: 2, Height: 1, Colour: c.colour, Layout: c.layout, Mean: []float32{1, 2, 3}, Std: []float32{1, 2, 3}})
		in := make([]float32, 6)
		p.draw(in, m, 0, 0)
		for i, want := range c.want {
			if !(math.Abs(float64(in[i]-want)) <= 1e-5) {
				t.Errorf("%s %s: %v, want %v", c.colour, c.layout, in, c.want)
				break
			}
		}
	}
	p := newPixels(pack.Input{Width: 2, Height: 1, Colour: pack.Grey, Mean: []float32{0}, Std: []float32{2}})
	in := make([]float32, 2)
	p.draw(in, m, 0, 0)
	if in[0] != float32(grey(m.Pix))/2 || in[1] != float32(grey(m.Pix[3:]))/2 {
		t.Errorf("grey: %v", in)
	}
}

// What a picture doesn't cover is grey, wherever it lies, and nothing else is written.
func TestSurround(t *testing.T) {
	const w, h, untouched = 5, 4, -77
	for _, layout := range []string{pack.NCHW, pack.NHWC} {
		for _, colour := range []string{pack.BGR, pack.Grey} {
			p := newPixels(pack.Input{Width: w, Height: h, Colour: colour, Layout: layout, Mean: []float32{1, 2, 3}, Std: []float32{1, 2, 3}})
			n := p.channels()
			for i := range w * h * w * h {
				c := canvas{x: i % w, y: i / w % h}
				c.w, c.h = min(1+i/w/h%w, w-c.x), min(1+i/w/h/w, h-c.y)
				in := slices.Repeat([]float32{untouched}, n*w*h)
				p.surround(in, c, 13)
				for j, v := range in {
					at, channel := j%(w*h), j/(w*h)
					if layout == pack.NHWC {
						at, channel = j/n, j%n
					}
					want := (13 - float32(channel+1)) / float32(channel+1)
					if x, y := at%w-c.x, at/w-c.y; x >= 0 && x < c.w && y >= 0 && y < c.h {
						want = untouched
					}
					if v != want {
						t.Fatalf("%s %s, %+v: %v at %d, want %v", layout, colour, c, v, j, want)
					}
				}
			}
		}
	}
}

// dlib's chip: the mean shape itself, drawn at any place, must be put where the chip has it.
func TestDlibChip(t *testing.T) {
	x := newAligner(pack.Alignment{Template: pack.Dlib150}, pack.Input{Width: 150, Height: 150})
	if len(x.of68) != 33 {
		t.Errorf("%d points, want 33", len(x.of68))
	}
	chip := dlibChip(150, .25)
	if p := chip[30]; math.Abs(p[0]-74.0127) > 1e-4 || math.Abs(p[1]-76.5625) > 1e-4 { // (.25 + .490127) / 1.5 · 150
		t.Errorf("the tip of the nose is at %v", p)
	}
	turn := affine{.8, -.6, 300, .6, .8, 40}
	seen := new(landmarks)
	for i, p := range chip {
		seen[i][0], seen[i][1] = turn.apply(p[0], p[1])
	}
	for name, q := range map[string]*points{"68": {five: seen.five(), all: seen}, "5": {five: seen.five()}} {
		a := x.transform(q)
		for i := 27; i < 68; i++ {
			px, py := a.apply(seen[i][0], seen[i][1])
			if math.Hypot(px-chip[i][0], py-chip[i][1]) > 1e-6 {
				t.Errorf("by %s points: point %d comes to (%v, %v), want %v", name, i, px, py, chip[i])
			}
		}
	}
}

func TestAlignRefusesDegeneratePoints(t *testing.T) {
	x := newAligner(pack.Alignment{Template: pack.ArcFace112}, pack.Input{Width: 112, Height: 112})
	for name, q := range map[string]five{"one place": {}, "no number": {{math.NaN(), 0}}, "far": {{1e300, 0}}} {
		if crop, err := x.cut(newPicture(newImage(9, 9)), &points{five: q}); !errors.Is(err, errDegenerate) {
			t.Errorf("%s: %v, %v", name, crop, err)
		}
	}
}
