package pack

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// tfjsIndex writes a weights manifest.
func tfjsIndex(weights ...string) []byte {
	return fmt.Appendf(nil, `[{"weights": [%s], "paths": ["x.bin"]}]`, strings.Join(weights, ","))
}

func TestTFJSWeights(t *testing.T) {
	index := tfjsIndex(
		`{"name": "a", "shape": [2, 1], "dtype": "float32"}`,
		`{"name": "b", "shape": [3], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.1, "min": -1}}`)
	data := binary.LittleEndian.AppendUint32(nil, math.Float32bits(1.5))
	data = binary.LittleEndian.AppendUint32(data, math.Float32bits(-2))
	got, err := tfjsWeights(index, append(data, 0, 10, 255))
	if err != nil {
		t.Fatal(err)
	}
	if a := got["a"]; !slices.Equal(a.shape, []int64{2, 1}) || !slices.Equal(a.v, []float32{1.5, -2}) {
		t.Errorf("a is %v", a)
	}
	if b := got["b"]; !slices.Equal(b.v, []float32{-1, 0, 24.5}) {
		t.Errorf("b is %v", b)
	}
}

func TestTFJSWeightsRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		index []byte
		bytes int
	}{
		"no JSON":         {[]byte("{"), 0},
		"too few bytes":   {tfjsIndex(`{"name": "a", "shape": [2], "dtype": "float32"}`), 7},
		"too many bytes":  {tfjsIndex(`{"name": "a", "shape": [2], "dtype": "float32"}`), 9},
		"shape 0":         {tfjsIndex(`{"name": "a", "shape": [0], "dtype": "float32"}`), 0},
		"shape below 0":   {tfjsIndex(`{"name": "a", "shape": [-1, -4], "dtype": "float32"}`), 16},
		"shape past 2^31": {tfjsIndex(`{"name": "a", "shape": [65536, 65536, 65536, 65536], "dtype": "float32"}`), 0},
		"integers":        {tfjsIndex(`{"name": "a", "shape": [1], "dtype": "int32"}`), 4},
		"uint16":          {tfjsIndex(`{"name": "a", "shape": [1], "dtype": "float32", "quantization": {"dtype": "uint16"}}`), 2},
	} {
		if got, err := tfjsWeights(c.index, make([]byte, c.bytes)); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzTFJSWeights(f *testing.F) {
	f.Add(tfjsIndex(`{"name": "a", "shape": [2], "dtype": "float32"}`), make([]byte, 8))
	f.Add(tfjsIndex(`{"name": "a", "shape": [1, 3], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 1e300}}`), make([]byte, 3))
	f.Fuzz(func(t *testing.T, index, data []byte) {
		all, err := tfjsWeights(index, data)
		if err != nil {
			return
		}
		for name, a := range all {
			if len(a.v) > len(data) {
				t.Errorf("%q has %d numbers of %d bytes", name, len(a.v), len(data))
			}
		}
	})
}

func TestWeightsOfAnotherGraph(t *testing.T) {
	index := tfjsIndex(`{"name": "fc", "shape": [256, 128], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 1, "min": 0}}`)
	_, err := Weights{Graph: GraphFaceAPIRecognition, Index: "index.json"}.model(index, make([]byte, 256*128))
	if !errors.Is(err, ErrBadModel) || !strings.Contains(err.Error(), "conv32_down/conv/filters") {
		t.Error(err)
	}
	if _, err := (Weights{Graph: GraphFaceAPILandmarks, Index: "index.json"}).model(nil, nil); !errors.Is(err, ErrBadModel) {
		t.Error(err)
	}
	if _, err := (Weights{Graph: "other"}).model(nil, nil); err == nil {
		t.Error("an unknown graph was made")
	}
}

// landmarkWeights are the weights of buildLandmarks, all of them 1.
func landmarkWeights(t *testing.T) (index, data []byte) {
	t.Helper()
	var weights []tfjsWeight
	size := 0
	add := func(name string, shape ...int64) {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		weights, size = append(weights, tfjsWeight{Name: name, Shape: shape, DType: "float32"}), size+int(n)
	}
	in := int64(3)
	for block, out := range []int64{32, 64, 128, 256} {
		for conv := range 4 {
			at := fmt.Sprintf("dense%d/conv%d/", block, conv)
			if block+conv == 0 {
				add(at+"filters", 3, 3, in, out)
			} else {
				add(at+"depthwise_filter", 3, 3, in, 1)
				add(at+"pointwise_filter", 1, 1, in, out)
			}
			add(at+"bias", out)
			in = out
		}
	}
	add("fc/weights", 256, 136)
	add("fc/bias", 136)
	index, err := json.Marshal([]any{map[string]any{"weights": weights}})
	if err != nil {
		t.Fatal(err)
	}
	for range size {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(1))
	}
	return index, data
}

func TestWeightsBecomeAModel(t *testing.T) {
	index, data := landmarkWeights(t)
	w := Weights{Graph: GraphFaceAPILandmarks}
	b, err := w.model(index, data)
	if err != nil {
		t.Fatal(err)
	}
	graph := mustGraph(t, b)
	if dims := batch(t, graph); dims["input"] != batchParam || dims["output"] != batchParam || len(dims) != 2 {
		t.Errorf("inputs and outputs are %v", dims)
	}
	if ops := operators(t, graph); ops["Conv"] != 1+2*15 || ops["MatMul"] != 1 || ops["Relu"] != 16 {
		t.Errorf("operators are %v", ops)
	}
	again, err := w.model(index, data)
	if err != nil || sumOf(again) != sumOf(b) {
		t.Errorf("another time it is another model: %v", err)
	}
	more := tfjsIndex(`{"name": "stray", "shape": [1], "dtype": "float32"}`)
	index = append(append(index[:len(index)-1:len(index)-1], ','), more[1:]...)
	if _, err := w.model(index, append(data, 0, 0, 0, 0)); !errors.Is(err, ErrBadModel) || !strings.Contains(err.Error(), "1 of 50 weights") {
		t.Errorf("with a weight too many: %v", err)
	}
}

func TestChannelsFirst(t *testing.T) {
	a := array{shape: []int64{1, 2, 3, 2}, v: make([]float32, 12)} // h, w, in, out
	for i := range a.v {
		a.v[i] = float32(i)
	}
	// out 0: in 0 at (0, 6), in 1 at (2, 8), in 2 at (4, 10); out 1 one more each.
	if got, want := channelsFirst(a), []float32{0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
