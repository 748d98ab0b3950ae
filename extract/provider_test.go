package extract

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mien/extract/pack"
)

func TestParseDevices(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  []device
	}{
		{nil, []device{{CPU, ""}}}, {[]string{"cpu"}, []device{{CPU, ""}}}, {[]string{"auto"}, []device{{Auto, ""}}},
		{[]string{"cuda:0", "cuda:3"}, []device{{CUDA, "0"}, {CUDA, "3"}}}, {[]string{"tensorrt"}, []device{{TensorRT, ""}}},
		{[]string{"openvino:GPU"}, []device{{OpenVINO, "GPU"}}},
	} {
		if got, err := parseDevices(c.names); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, %v", c.names, got, err)
		}
	}
	for _, bad := range [][]string{
		{"gpu"}, {""}, {"cpu:1"}, {"cuda:x"}, {"cuda:-1"}, {"cuda:01"}, {"cuda:0", "cuda:0"}, {"cuda:0", "tensorrt:1"}, {"auto", "cpu"}, {"openvino", "openvino:CPU"},
	} {
		if got, err := parseDevices(bad); err == nil {
			t.Errorf("%v: %v, want an error", bad, got)
		}
	}
}

// The library of these tests has no CUDA: asked for by name that is an error of New that says so.
func TestProviderMissing(t *testing.T) {
	for _, name := range []string{CUDA, TensorRT, OpenVINO, CoreML, DirectML} {
		c := testConfig()
		c.Devices = []string{name}
		x, err := New(c)
		if !errors.Is(err, ErrNoProvider) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrNoProvider", name, err)
		}
		if err == nil {
			x.Close()
		}
	}
}

// Auto takes what there is, and says what.
func TestProviderAuto(t *testing.T) {
	var log bytes.Buffer
	c := testConfig()
	c.Devices, c.Logger = []string{Auto}, slog.New(slog.NewTextHandler(&log, nil))
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if p := x.Plan(); len(p) != 6 || !slices.Equal(p[0].Devices, []string{CPU}) || p[0].PerItem != 0 {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(log.String(), "on the CPU") {
		t.Errorf("logged %q", log.String())
	}
}

// brokenDevice is the CPU under another name, on which one model does not load or does not run from its nth run on.
type brokenDevice struct {
	opened
	failing bool
	runs    int
	from    int
}

func (b *brokenDevice) run(r *run, n int) error {
	if b.failing {
		if b.runs++; b.runs >= b.from {
			return device{CUDA, "0"}.explain(errors.New("CUDA failure 2: out of memory"))
		}
	}
	return b.opened.run(r, n)
}

// Auto falls back to the CPU wherever what it found fails on the way: at the first model or at a later one, when it loads, in its
// first run, while it is measured; whatever had been loaded is closed. Asked for by name the same is an error.
func TestAutoFallsBack(t *testing.T) {
	for what, c := range map[string]struct {
		role  string
		load  bool
		from  int
		told  bool
		found bool // that the device is taken at first
	}{
		"the detector does not load":          {pack.Detector, true, 0, true, false},
		"the detector does not run":           {pack.Detector, false, 1, true, false},
		"the embedder does not load":          {pack.Embedder, true, 0, true, true},
		"the embedder's first run fails":      {pack.Embedder, false, 1, true, true},
		"liveness fails while it is measured": {pack.Liveness, false, 2, false, true},
		"the last model's first run fails":    {pack.Liveness, false, 1, true, true},
	} {
		t.Run(what, func(t *testing.T) {
			if testing.Short() && c.role != pack.Embedder {
				t.Skip("skipped: the embedder's are the short tests")
			}
			var log bytes.Buffer
			live := 0
			config := testConfig()
			if config.Batching = nil; c.told {
				config.Batching = map[string]Batching{"": {Shared, 4}}
			}
			config.Devices, config.Logger = []string{Auto}, slog.New(slog.NewTextHandler(&log, nil))
			config.opens = func(m *model, d device) (opened, error) {
				if d.provider != CUDA && d.provider != CPU || d.id != "0" && d.provider == CUDA {
					return nil, ErrNoDevice
				}
				broken := d.provider == CUDA && m.role == c.role
				if broken && c.load {
					return nil, ErrDeviceMemory
				}
				s, err := m.open(device{provider: CPU})
				if err != nil {
					return nil, err
				}
				live++
				return &countedDevice{&brokenDevice{opened: s, failing: broken, from: c.from}, &live}, nil
			}
			x, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range x.Plan() {
				if !slices.Equal(p.Devices, []string{CPU}) {
					t.Errorf("%s runs on %v", p.Model, p.Devices)
				}
			}
			if len(x.Plan()) != 6 {
				t.Errorf("%d models", len(x.Plan()))
			}
			if got := strings.Contains(log.String(), "they failed on what was found"); got != c.found || !strings.Contains(log.String(), "on the CPU") {
				t.Errorf("logged %q", log.String())
			}
			if err := x.SelfTest(t.Context()); err != nil {
				t.Error(err)
			}
			if err := x.Close(); err != nil || live != 0 {
				t.Errorf("%v, %d sessions are left open", err, live)
			}
			config.Devices = []string{"cuda:0"}
			if x, err := New(config); !errors.Is(err, ErrDeviceMemory) || live != 0 {
				t.Errorf("by name: %v, %d sessions are left open", err, live)
				if err == nil {
					x.Close()
				}
			}
		})
	}
}

// countedDevice counts those that are open.
type countedDevice struct {
	opened
	live *int
}

func (c *countedDevice) close() error {
	*c.live--
	return c.opened.close()
}

// What ONNX Runtime and CUDA say, as far as it is known, is sorted.
func TestExplain(t *testing.T) {
	for text, want := range map[string]error{
		"CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=a":                         ErrNoDevice,
		"CUDA failure 101: invalid device ordinal ; GPU=32764":                                               ErrNoDevice,
		"CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version":                      ErrNoDevice,
		"CUDA failure 2: out of memory ; GPU=0":                                                              ErrDeviceMemory,
		"BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 1048576":       ErrDeviceMemory,
		"OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library":                       ErrNoProvider,
		"Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open": ErrNoProvider,
		"XNNPACK execution provider is not supported in this build.":                                         ErrNoProvider,
	} {
		if err := (device{CUDA, "0"}).explain(errors.New(text)); !errors.Is(err, want) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "cuda:0") {
			t.Errorf("%s: %v", text, err)
		}
	}
	plain := errors.New("something else")
	if err := (device{CPU, ""}).explain(plain); !errors.Is(err, plain) || errors.Is(err, ErrNoDevice) || errors.Is(err, ErrNoProvider) || errors.Is(err, ErrDeviceMemory) {
		t.Errorf("%v", err)
	}
}

// What is not told is measured, within bounds; what is told is kept.
func TestPlanMeasured(t *testing.T) {
	c := testConfig()
	c.Batching = map[string]Batching{pack.Detector: {Calls, 3}, pack.Eyes: {Shared, 6}}
	start := time.Now()
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	t.Logf("ready after %v", time.Since(start))
	for _, p := range x.Plan() {
		t.Logf("%+v", p)
		told, ok := c.Batching[p.Model]
		if ok && (p.Batching != told || p.PerItem != 0) {
			t.Errorf("%s: %+v, want %v", p.Model, p, told)
		}
		if !ok && (p.PerItem <= 0 || len(p.Tried) == 0 || p.Batching.validate() != nil || p.Batching.Strategy == Shared) {
			t.Errorf("%s: %+v, want a measured strategy for the CPU", p.Model, p)
		}
	}
	want := mustExtract(t, "faces/group.jpg", Options{Want: WantTemplate | WantQuality})
	got, err := x.Extract(t.Context(), testFile(t, "faces/group.jpg"), Options{Want: WantTemplate | WantQuality})
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d faces, %v", len(got), err)
	}
	for i := range got {
		if dot(got[i].Template, want[i].Template) < .99999 || max(got[i].EyesOpen[0]-want[i].EyesOpen[0], want[i].EyesOpen[0]-got[i].EyesOpen[0]) > 1e-3 {
			t.Errorf("face %d differs with shared runs", i)
		}
	}
}

// The smallest batch wins unless a larger one is clearly faster.
func TestFastest(t *testing.T) {
	for _, c := range []struct {
		perItem []time.Duration
		want    int
	}{
		{[]time.Duration{100, 100, 100}, 1}, {[]time.Duration{100, 95, 94}, 1}, {[]time.Duration{100, 80, 79}, 2}, {[]time.Duration{100, 120, 50}, 4},
	} {
		var all []Trial
		for i, d := range c.perItem {
			all = append(all, Trial{Batching{Calls, 1 << i}, d})
		}
		if got := fastest(all); got.Batching.Max != c.want {
			t.Errorf("%v: batch %d, want %d", c.perItem, got.Batching.Max, c.want)
		}
	}
}

// What is told gives way to what a graph and a device can do.
func TestPossible(t *testing.T) {
	for _, c := range []struct {
		told  Batching
		onCPU bool
		fixed int
		want  Batching
	}{
		{Batching{Single, 1}, true, 0, Batching{Single, 1}}, {Batching{Single, 1}, true, 1, Batching{Single, 1}}, {Batching{Single, 1}, true, 4, Batching{Calls, 4}},
		{Batching{Shared, 8}, true, 0, Batching{Shared, 8}}, {Batching{Calls, 8}, true, 0, Batching{Calls, 8}}, {Batching{Single, 1}, false, 0, Batching{Shared, 1}},
		{Batching{Calls, 8}, true, 1, Batching{Calls, 1}}, {Batching{Shared, 8}, false, 4, Batching{Shared, 4}}, {Batching{Calls, 8}, false, 0, Batching{Shared, 8}}, {Batching{Calls, 2}, false, 4, Batching{Shared, 4}},
	} {
		if got := (&stageConfig{onCPU: c.onCPU}).possible(c.told, c.fixed); got != c.want {
			t.Errorf("%v, on the CPU %v, fixed %d: %v, want %v", c.told, c.onCPU, c.fixed, got, c.want)
		}
	}
}

// Extractors that share cores compute on no more than there are, and outlive each other.
func TestSharedCores(t *testing.T) {
	c := testConfig()
	c.Workers, c.Cores = 1, NewCores(1)
	c.Batching = map[string]Batching{"": {Shared, 2}}
	photo := testFile(t, "faces/group.jpg")
	var calls sync.WaitGroup
	for n := range 2 {
		x, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		calls.Go(func() {
			defer x.Close()
			for range 2 - n {
				if faces, err := x.Extract(t.Context(), photo, Options{}); err != nil || len(faces) != 2 {
					t.Errorf("%d faces, %v", len(faces), err)
				}
			}
		})
	}
	calls.Wait()
	if len(c.Cores.free) != 1 || len(c.Cores.batchers) != 0 {
		t.Errorf("%d cores are idle, %d batchers are left", len(c.Cores.free), len(c.Cores.batchers))
	}
	c.Workers = 2
	if x, err := New(c); err == nil {
		x.Close()
		t.Error("two workers on one shared core")
	}
}
