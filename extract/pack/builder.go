package pack

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// builder makes an ONNX graph out of weights: each method adds a node and returns the name of its output. The first
// thing that is wrong stays in err, and the methods after it do nothing of use.
type builder struct {
	weights map[string]array
	used    map[string]bool
	nodes   message
	tensors message
	in, out field
	err     error
}

// weight returns the weight of that name, which must have these dimensions; −1 stands for any.
func (b *builder) weight(name string, dims ...int64) array {
	a, ok := b.weights[name]
	fits := ok && slices.EqualFunc(a.shape, dims, func(have, want int64) bool { return want < 0 || have == want })
	if !fits {
		if b.err == nil {
			b.err = fmt.Errorf("weight %q has shape %v, want %v", name, a.shape, dims)
		}
		return array{shape: make([]int64, len(dims))}
	}
	if b.used == nil {
		b.used = make(map[string]bool)
	}
	b.used[name] = true
	return a
}

// node adds a node of one output, named after its place.
func (b *builder) node(op string, inputs []string, attributes ...field) string {
	output := fmt.Sprintf("%s_%d", op, len(b.nodes)+1)
	b.nodes = append(b.nodes, messageField(graphNode, append(newNode(op, output, inputs...), attributes...)))
	return output
}

// floats adds a constant.
func (b *builder) floats(dims []int64, v ...float32) string {
	name := fmt.Sprintf("w_%d", len(b.tensors)+1)
	b.tensors = append(b.tensors, messageField(graphInitializer, newFloats(name, dims, v)))
	return name
}

// ints adds a constant of one dimension.
func (b *builder) ints(v ...int64) string {
	name := fmt.Sprintf("w_%d", len(b.tensors)+1)
	t := message{varintField(tensorDims, int64(len(v))), varintField(tensorType, typeInt64), bytesField(tensorName, name)}
	b.tensors = append(b.tensors, messageField(graphInitializer, withInt64s(t, v)))
	return name
}

// conv adds a convolution with a square kernel given as TensorFlow's [k, k, in, out], or [k, k, channels, 1] for one of
// depth alone. pads are those of ONNX: top, left, bottom, right.
func (b *builder) conv(x string, filters array, bias []float32, stride int64, depthwise bool, pads ...int64) string {
	k, in, out := filters.shape[0], filters.shape[2], filters.shape[3]
	dims, group := []int64{out, in, k, k}, int64(1)
	if depthwise {
		dims, group = []int64{in, 1, k, k}, in
	}
	inputs := []string{x, b.floats(dims, channelsFirst(filters)...)}
	if bias != nil {
		inputs = append(inputs, b.floats([]int64{int64(len(bias))}, bias...))
	}
	return b.node("Conv", inputs, intsAttribute("kernel_shape", k, k), intsAttribute("strides", stride, stride),
		intsAttribute("pads", pads...), intAttribute("group", group))
}

// channelsFirst turns [h, w, in, out] into [out, in, h, w]; for a filter of depth alone, [h, w, c, 1], that is [1, c, h,
// w], the same numbers as [c, 1, h, w].
func channelsFirst(a array) []float32 {
	taps, in, out := a.shape[0]*a.shape[1], a.shape[2], a.shape[3]
	v := make([]float32, len(a.v))
	for t := range taps {
		for i := range in {
			for o := range out {
				v[(o*in+i)*taps+t] = a.v[(t*in+i)*out+o]
			}
		}
	}
	return v
}

// input declares the graph's input, float32[N, dims…].
func (b *builder) input(name string, dims ...int64) string {
	b.in = valueField(graphInput, name, dims)
	return name
}

// output names x, float32[N, dims…], as the graph's result.
func (b *builder) output(x, name string, dims ...int64) {
	b.nodes = append(b.nodes, messageField(graphNode, newNode("Identity", name, x)))
	b.out = valueField(graphOutput, name, dims)
}

// valueField declares a float32 tensor of any batch.
func valueField(at protowire.Number, name string, dims []int64) field {
	shape := message{messageField(shapeDim, message{bytesField(dimParam, batchParam)})}
	for _, d := range dims {
		shape = append(shape, messageField(shapeDim, message{varintField(dimValue, d)}))
	}
	tensor := message{varintField(typeElement, typeFloat), messageField(typeTensorShape, shape)}
	return messageField(at, message{bytesField(valueName, name), messageField(valueType, message{messageField(typeTensor, tensor)})})
}

// model returns the whole as an ONNX ModelProto of IR 7, opset 13.
func (b *builder) model() []byte {
	graph := append(slices.Clone(b.nodes), bytesField(graphName, "mien"))
	graph = append(append(graph, b.tensors...), b.in, b.out)
	return message{
		varintField(modelIR, 7), bytesField(modelProducer, "mien"),
		messageField(modelOpset, message{bytesField(opsetDomain, ""), varintField(opsetVersion, 13)}),
		messageField(modelGraph, graph),
	}.append(nil)
}

func intAttribute(name string, v int64) field {
	return messageField(nodeAttribute, message{bytesField(attributeName, name), varintField(attributeInt, v), varintField(attributeType, attributeIsInt)})
}

func intsAttribute(name string, v ...int64) field {
	a := message{bytesField(attributeName, name)}
	for _, x := range v {
		a = append(a, varintField(attributeInts, x))
	}
	return messageField(nodeAttribute, append(a, varintField(attributeType, attributeIsInts)))
}
