package pack

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// Weights says how a model that is published as bare weights becomes an ONNX graph. The weights are a file of
// TensorFlow.js (its "weights manifest" format: a list of names, shapes and quantisations, and the numbers one after
// the other).
type Weights struct {
	Graph string `json:"graph"` // which: see the constants
	Index string `json:"index"` // the weights manifest in the source package; the model's Source is the numbers
}

// The graphs that weights can be put into.
const (
	GraphFaceAPIRecognition = "face-api-recognition" // the port of dlib's face recognition ResNet
	GraphFaceAPILandmarks   = "face-api-landmarks"   // its net of 68 points
)

// model returns the ONNX model. The same bytes give the same model on every machine. Errors: ErrBadModel.
func (w Weights) model(index, data []byte) ([]byte, error) {
	build, ok := map[string]func(*builder){
		GraphFaceAPIRecognition: buildRecognition, GraphFaceAPILandmarks: buildLandmarks,
	}[w.Graph]
	if !ok {
		return nil, fmt.Errorf("pack: unknown graph %q", w.Graph)
	}
	weights, err := tfjsWeights(index, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBadModel, w.Index, err)
	}
	b := &builder{weights: weights}
	build(b)
	if b.err == nil && len(weights) > len(b.used) {
		b.err = fmt.Errorf("%d of %d weights are not of this graph", len(weights)-len(b.used), len(weights))
	}
	if b.err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBadModel, w.Index, b.err)
	}
	return b.model(), nil
}

// array is a tensor of weights as TensorFlow.js keeps it: channels last.
type array struct {
	shape []int64
	v     []float32
}

// tfjsWeight is an entry of a weights manifest.
type tfjsWeight struct {
	Name         string  `json:"name"`
	Shape        []int64 `json:"shape"`
	DType        string  `json:"dtype"`
	Quantization *struct {
		DType string  `json:"dtype"`
		Scale float64 `json:"scale"`
		Min   float64 `json:"min"`
	} `json:"quantization"`
}

// tfjsWeights reads weights of TensorFlow.js: float32, or uint8 q that stands for q·scale + min.
func tfjsWeights(index, data []byte) (map[string]array, error) {
	var groups []struct {
		Weights []tfjsWeight `json:"weights"`
	}
	if err := json.Unmarshal(index, &groups); err != nil {
		return nil, err
	}
	all := make(map[string]array)
	for _, g := range groups {
		for _, w := range g.Weights {
			a, n, err := w.read(data)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", w.Name, err)
			}
			all[w.Name], data = a, data[n:]
		}
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("%d bytes too many", len(data))
	}
	return all, nil
}

// read takes a weight from the head of data and returns how many bytes it took.
func (w tfjsWeight) read(data []byte) (array, int, error) {
	size := int64(1)
	for _, d := range w.Shape {
		if d < 1 || d > math.MaxInt32 || size*d > math.MaxInt32 {
			return array{}, 0, fmt.Errorf("shape %v", w.Shape)
		}
		size *= d
	}
	width := int64(4)
	if w.Quantization != nil {
		width = 1
	}
	if w.DType != "float32" || w.Quantization != nil && w.Quantization.DType != "uint8" {
		return array{}, 0, fmt.Errorf("type %s is not float32, plain or as uint8", w.DType)
	}
	if size*width > int64(len(data)) {
		return array{}, 0, fmt.Errorf("%d bytes wanted, %d left", size*width, len(data))
	}
	a := array{w.Shape, make([]float32, size)}
	for i := range a.v {
		a.v[i] = w.number(data, i)
	}
	return a, int(size * width), nil
}

func (w tfjsWeight) number(data []byte, i int) float32 {
	if q := w.Quantization; q != nil {
		return float32(float64(float64(data[i])*q.Scale) + q.Min) // not fused: the same bits everywhere
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
}
