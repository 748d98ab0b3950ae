package extract

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// What small ONNX models of tests are made of. Field numbers are those of onnx.proto.

// testGraph is a graph of one input and any outputs; half makes all of its ports float16.
type testGraph struct {
	nodes []byte
	ports []byte
	half  bool
}

const (
	onnxFloat = 1
	onnxHalf  = 10
)

func msg(num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

func integer(num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(v))
}

func cat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func (g *testGraph) kind() int64 {
	if g.half {
		return onnxHalf
	}
	return onnxFloat
}

// port declares an input (11) or output (12); a dimension of 0 is left open.
func (g *testGraph) port(at protowire.Number, name string, dims ...int64) *testGraph {
	var shape []byte
	for _, d := range dims {
		dim := integer(1, d)
		if d == 0 {
			dim = msg(2, []byte("any"))
		}
		shape = append(shape, msg(1, dim)...)
	}
	tensor := cat(integer(1, g.kind()), msg(2, shape))
	g.ports = append(g.ports, msg(at, cat(msg(1, []byte(name)), msg(2, msg(1, tensor))))...)
	return g
}

func (g *testGraph) input(dims ...int64) *testGraph { return g.port(11, "image", dims...) }

func (g *testGraph) output(name string, dims ...int64) *testGraph { return g.port(12, name, dims...) }

func (g *testGraph) node(op, in, out string, attributes ...[]byte) *testGraph {
	body := cat(msg(1, []byte(in)), msg(2, []byte(out)), msg(4, []byte(op)))
	for _, a := range attributes {
		body = append(body, msg(5, a)...)
	}
	g.nodes = append(g.nodes, msg(1, body)...)
	return g
}

// constant makes out the given numbers, whatever the input.
func (g *testGraph) constant(out string, v []float32, dims ...int64) *testGraph {
	var t, raw []byte
	for _, d := range dims {
		t = append(t, integer(1, d)...)
	}
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	t = cat(t, integer(2, onnxFloat), msg(9, raw))
	value := cat(msg(1, []byte("value")), msg(5, t), integer(20, 4))
	body := cat(msg(2, []byte(out+"_f32")), msg(4, []byte("Constant")), msg(5, value))
	g.nodes = append(g.nodes, msg(1, body)...)
	return g.node("Cast", out+"_f32", out, intAttribute("to", g.kind()))
}

func intAttribute(name string, v int64) []byte {
	return cat(msg(1, []byte(name)), integer(3, v), integer(20, 2))
}

func (g *testGraph) model() []byte {
	graph := cat(g.nodes, msg(2, []byte("test")), g.ports)
	return cat(integer(1, 7), msg(8, cat(msg(1, nil), integer(2, 13))), msg(7, graph))
}

// means is an embedder: the mean of each channel of its input.
func means(in ...int64) *testGraph {
	return meansOf(&testGraph{}, in...)
}

func meansOf(g *testGraph, in ...int64) *testGraph {
	return g.input(in...).node("GlobalAveragePool", "image", "pooled").node("Flatten", "pooled", "template").output("template", in[0], in[1])
}
