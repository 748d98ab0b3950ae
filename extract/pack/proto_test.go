package pack

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// What hand-made models are built of.

func model(graph message) []byte {
	m := message{varintField(1, 7), bytesField(2, "test")}
	m = append(m, messageField(modelGraph, graph), bytesField(999, "unknown"))
	return m.append(nil)
}

// modelNamed is a model without nodes, another for each name.
func modelNamed(name string) []byte { return model(message{bytesField(graphName, name)}) }

func value(num protowire.Number, name string, dims ...int64) field {
	var shape message
	for _, d := range dims {
		shape = append(shape, messageField(shapeDim, message{varintField(dimValue, d)}))
	}
	tensor := message{varintField(1, typeFloat), messageField(typeTensorShape, shape)}
	return messageField(num, message{bytesField(valueName, name), messageField(valueType, message{messageField(typeTensor, tensor)})})
}

func node(op string, inputs []string, output string, attributes ...field) field {
	return messageField(graphNode, append(newNode(op, output, inputs...), attributes...))
}

func rawInts(name string, v ...int64) message {
	return withInt64s(message{varintField(tensorDims, int64(len(v))), varintField(tensorType, typeInt64), bytesField(tensorName, name)}, v)
}

func listedInts(name string, packed bool, v ...int64) message {
	t := message{varintField(tensorDims, int64(len(v))), varintField(tensorType, typeInt64)}
	var all []byte
	for _, x := range v {
		if all = protowire.AppendVarint(all, uint64(x)); !packed {
			t = append(t, varintField(tensorInt64Data, x))
		}
	}
	if packed {
		t = append(t, bytesField(tensorInt64Data, all))
	}
	return append(t, bytesField(tensorName, name))
}

func constant(output string, t message) field {
	a := message{bytesField(attributeName, "value"), messageField(attributeTensor, t), varintField(20, 4)}
	return node("Constant", nil, output, messageField(nodeAttribute, a))
}

func initializer(t message) field { return messageField(graphInitializer, t) }

// What they are read with.

// mustGraph returns the graph of a model that must have one.
func mustGraph(t testing.TB, b []byte) message {
	t.Helper()
	m, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.only(modelGraph)
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, m[i].val)
}

func mustParse(t testing.TB, b []byte) message {
	t.Helper()
	m, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// tensors returns the int64 initialisers and constants of a graph by name.
func tensors(t testing.TB, graph message) map[string][]int64 {
	t.Helper()
	out := make(map[string][]int64)
	keep := func(name string, m message) {
		if v, err := int64s(m); err == nil {
			out[name] = v
		}
	}
	for _, f := range graph {
		m := message(nil)
		if f.num == graphInitializer || f.num == graphNode {
			m = mustParse(t, f.val)
		}
		if f.num == graphInitializer {
			name, _ := m.text(tensorName)
			keep(name, m)
		}
		if op, _ := m.text(nodeOpType); f.num == graphNode && op == "Constant" {
			name, _ := m.text(nodeOutput)
			i, _ := m.only(nodeAttribute)
			a := mustParse(t, m[i].val)
			i, _ = a.only(attributeTensor)
			keep(name, mustParse(t, a[i].val))
		}
	}
	return out
}

// batch returns the first dimension of every input and output: its parameter, or "1", "2", ….
func batch(t testing.TB, graph message) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, f := range graph {
		if f.num != graphInput && f.num != graphOutput {
			continue
		}
		m := mustParse(t, f.val)
		name, _ := m.text(valueName)
		b := f.val
		for _, num := range []protowire.Number{valueType, typeTensor, typeTensorShape, shapeDim} {
			m := mustParse(t, b)
			i, err := m.index(num)
			if err != nil || i < 0 {
				t.Fatalf("%s: no field %d: %v", name, num, err)
			}
			b = m[i].val
		}
		dim := mustParse(t, b)
		out[name], _ = dim.text(dimParam)
		if v, _ := dim.ints(dimValue); len(v) > 0 {
			out[name] += string(rune('0' + v[0]))
		}
	}
	return out
}

// operators counts the nodes of a graph by operator.
func operators(t testing.TB, graph message) map[string]int {
	t.Helper()
	out := make(map[string]int)
	for _, f := range graph {
		if f.num == graphNode {
			op, _, err := nodeInputs(f)
			if err != nil {
				t.Fatal(err)
			}
			out[op]++
		}
	}
	return out
}

// evaluate runs a graph of PRelu, Relu, Mul and Add on x, an NCHW tensor of the given channels, N = 1, in float32. It
// is the specification of those operators, as far as the test needs them.
func evaluate(t testing.TB, graph message, input, output string, x []float32, channels int) []float32 {
	t.Helper()
	values := map[string][]float32{input: x}
	for _, f := range graph {
		if f.num == graphInitializer {
			m := mustParse(t, f.val)
			name, _ := m.text(tensorName)
			_, v, err := float32s(m)
			if err != nil {
				t.Fatal(err)
			}
			values[name] = perChannel(v, len(x), channels)
		}
	}
	for _, f := range graph {
		if f.num != graphNode {
			continue
		}
		op, in, err := nodeInputs(f)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := mustParse(t, f.val).text(nodeOutput)
		values[name] = apply(t, op, values[in[0]], values[in[len(in)-1]])
	}
	return values[output]
}

// perChannel repeats one value per channel over the pixels of each.
func perChannel(v []float32, n, channels int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = v[i/(n/channels)]
	}
	return out
}

func apply(t testing.TB, op string, a, b []float32) []float32 {
	t.Helper()
	out := make([]float32, len(a))
	for i := range a {
		switch op {
		case "PRelu":
			out[i] = a[i]
			if a[i] < 0 {
				out[i] = float32(a[i] * b[i])
			}
		case "Relu":
			out[i] = max(a[i], 0)
		case "Mul":
			out[i] = float32(a[i] * b[i])
		case "Add":
			out[i] = a[i] + b[i]
		default:
			t.Fatalf("operator %s", op)
		}
	}
	return out
}

func TestFloat32sReadsEveryEncoding(t *testing.T) {
	want := []float32{1, -0.25, float32(math.Inf(1))}
	var raw []byte
	head := message{varintField(tensorDims, 3), varintField(tensorType, typeFloat)}
	single := head
	for _, v := range want {
		b := binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))
		raw = append(raw, b...)
		single = append(single[:len(single):len(single)], field{num: tensorFloatData, typ: protowire.Fixed32Type, val: b})
	}
	for name, m := range map[string]message{
		"raw":    append(head[:2:2], bytesField(tensorRawData, raw)),
		"packed": append(head[:2:2], bytesField(tensorFloatData, raw)),
		"single": single,
	} {
		_, got, err := float32s(m)
		if err != nil || len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestHandMadeModelIsItself(t *testing.T) {
	b := model(message{node("Relu", []string{"x"}, "y")})
	if got := mustParse(t, b).append(nil); !bytes.Equal(got, b) {
		t.Fatalf("%x became %x", b, got)
	}
}
