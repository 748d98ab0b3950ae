package pack

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of onnx.proto (ONNX 1.x, IR 4 and later) that the edits and SelfContained read or write.
const (
	modelIR       protowire.Number = 1
	modelProducer protowire.Number = 2
	modelGraph    protowire.Number = 7
	modelOpset    protowire.Number = 8
	modelTraining protowire.Number = 20
	modelFunction protowire.Number = 25

	trainingInitialization protowire.Number = 1
	trainingAlgorithm      protowire.Number = 2

	functionNode      protowire.Number = 7
	functionAttribute protowire.Number = 11

	opsetDomain  protowire.Number = 1
	opsetVersion protowire.Number = 2

	graphNode        protowire.Number = 1
	graphName        protowire.Number = 2
	graphInitializer protowire.Number = 5
	graphInput       protowire.Number = 11
	graphOutput      protowire.Number = 12
	graphValueInfo   protowire.Number = 13
	graphSparse      protowire.Number = 15

	nodeInput     protowire.Number = 1
	nodeOutput    protowire.Number = 2
	nodeOpType    protowire.Number = 4
	nodeAttribute protowire.Number = 5

	attributeName    protowire.Number = 1
	attributeInt     protowire.Number = 3
	attributeTensor  protowire.Number = 5
	attributeGraph   protowire.Number = 6
	attributeInts    protowire.Number = 8
	attributeTensors protowire.Number = 10
	attributeGraphs  protowire.Number = 11
	attributeType    protowire.Number = 20
	attributeSparse  protowire.Number = 22
	attributeSparses protowire.Number = 23

	sparseValues  protowire.Number = 1
	sparseIndices protowire.Number = 2

	tensorDims         protowire.Number = 1
	tensorType         protowire.Number = 2
	tensorFloatData    protowire.Number = 4
	tensorInt64Data    protowire.Number = 7
	tensorName         protowire.Number = 8
	tensorRawData      protowire.Number = 9
	tensorExternalData protowire.Number = 13
	tensorLocation     protowire.Number = 14

	valueName protowire.Number = 1
	valueType protowire.Number = 2

	typeTensor      protowire.Number = 1
	typeElement     protowire.Number = 1 // of a tensor's type
	typeTensorShape protowire.Number = 2
	shapeDim        protowire.Number = 1
	dimValue        protowire.Number = 1
	dimParam        protowire.Number = 2
)

// TensorProto.DataType.
const (
	typeFloat int64 = 1
	typeInt64 int64 = 7
	typeHalf  int64 = 10
)

// AttributeProto.AttributeType.
const (
	attributeIsInt  int64 = 2
	attributeIsInts int64 = 7
)

// tensorShape returns the dims of tensor t and their product. Errors: ErrBadModel, also for a product past 2^31.
func tensorShape(t message) ([]int64, int, error) {
	dims, err := t.ints(tensorDims)
	if err != nil {
		return nil, 0, err
	}
	size := int64(1)
	for _, d := range dims {
		if d < 0 || d > math.MaxInt32 || size*d > math.MaxInt32 {
			return nil, 0, fmt.Errorf("%w: tensor of shape %v", ErrBadModel, dims)
		}
		size *= d
	}
	return dims, int(size), nil
}

// tensorData returns the raw bytes of t, nil when its values are in a typed field. It refuses tensors of another type
// and values kept outside the file.
func tensorData(t message, want int64) ([]byte, error) {
	kind, err := t.ints(tensorType)
	if err != nil {
		return nil, err
	}
	if len(kind) != 1 || kind[0] != want {
		return nil, fmt.Errorf("%w: tensor of data type %v, want %d", ErrBadModel, kind, want)
	}
	if i, err := t.index(tensorExternalData); err != nil || i >= 0 {
		return nil, fmt.Errorf("%w: tensor with external data", ErrBadModel)
	}
	i, err := t.index(tensorRawData)
	if err != nil || i < 0 {
		return nil, err
	}
	return t[i].val, nil
}

// int64s returns the values of an int64 tensor of at most one dimension.
func int64s(t message) ([]int64, error) {
	dims, size, err := tensorShape(t)
	if err != nil {
		return nil, err
	}
	raw, err := tensorData(t, typeInt64)
	if err != nil {
		return nil, err
	}
	var out []int64
	if raw == nil {
		out, err = t.ints(tensorInt64Data)
	} else {
		out, err = int64sOf(raw)
	}
	if err == nil && (len(dims) > 1 || len(out) != size) {
		err = fmt.Errorf("%w: %d int64 values in a tensor of shape %v", ErrBadModel, len(out), dims)
	}
	return out, err
}

func int64sOf(raw []byte) ([]int64, error) {
	if len(raw)%8 != 0 {
		return nil, fmt.Errorf("%w: %d bytes of int64", ErrBadModel, len(raw))
	}
	out := make([]int64, len(raw)/8)
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return out, nil
}

// float32s returns the shape and values of a float32 tensor.
func float32s(t message) ([]int64, []float32, error) {
	dims, size, err := tensorShape(t)
	if err != nil {
		return nil, nil, err
	}
	raw, err := tensorData(t, typeFloat)
	if err != nil {
		return nil, nil, err
	}
	if raw == nil {
		for _, f := range t { // repeated float: fixed32 records, or one packed
			if f.num == tensorFloatData {
				raw = append(raw, f.val...)
			}
		}
	}
	if len(raw) != 4*size {
		return nil, nil, fmt.Errorf("%w: %d bytes of float32 in a tensor of shape %v", ErrBadModel, len(raw), dims)
	}
	out := make([]float32, size)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return dims, out, nil
}

// withInt64s returns tensor t with its values replaced; v has as many as before.
func withInt64s(t message, v []int64) message {
	raw := make([]byte, 0, 8*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return append(t.without(tensorInt64Data, tensorRawData), bytesField(tensorRawData, raw))
}

// newFloats makes a float32 initialiser.
func newFloats(name string, dims []int64, v []float32) message {
	var t message
	for _, d := range dims {
		t = append(t, varintField(tensorDims, d))
	}
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return append(t, varintField(tensorType, typeFloat), bytesField(tensorName, name), bytesField(tensorRawData, raw))
}

// newNode makes a node without attributes.
func newNode(op, output string, inputs ...string) message {
	var n message
	for _, in := range inputs {
		n = append(n, bytesField(nodeInput, in))
	}
	return append(n, bytesField(nodeOutput, output), bytesField(nodeOpType, op))
}
