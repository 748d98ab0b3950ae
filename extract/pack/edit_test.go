package pack

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// dynamicModel has every case of EditDynamicBatch.
func dynamicModel() []byte {
	return model(message{
		node("Reshape", []string{"x", "raw"}, "a"),
		node("Reshape", []string{"a", "packed"}, "b"),
		constant("constant", rawInts("", 1, 2, 58, 28, 28)),
		constant("other", rawInts("", 1, 7)),
		node("Reshape", []string{"b", "constant"}, "c"),
		node("Reshape", []string{"c", "listed"}, "d"),
		node("Reshape", []string{"d", "short"}, "e"),
		node("Reshape", []string{"e", "two"}, "f"),
		node("Expand", []string{"f", "not a reshape"}, "y"),
		bytesField(2, "graph name"),
		initializer(rawInts("raw", 1, -1)),
		initializer(listedInts("packed", true, 1, -1, 28, 28)),
		initializer(listedInts("listed", false, 1, 3, 4)),
		initializer(rawInts("short", 1)),
		initializer(rawInts("two", 2, -1)),
		initializer(rawInts("not a reshape", 1, 9)),
		value(graphInput, "x", 1, 3, 240, 320),
		value(graphInput, "raw", 1), // IR 3: an initialiser among the inputs
		value(graphOutput, "y", 1, 512),
		value(graphValueInfo, "a", 1, 512),
		bytesField(777, "unknown"),
	})
}

func TestDynamicBatch(t *testing.T) {
	out, err := Rewrite(dynamicModel(), EditDynamicBatch)
	if err != nil {
		t.Fatal(err)
	}
	graph := mustGraph(t, out)
	want := map[string][]int64{
		"raw": {0, -1}, "packed": {0, -1, 28, 28}, "constant": {-1, 2, 58, 28, 28}, "listed": {-1, 3, 4},
		"short": {1}, "two": {2, -1}, "not a reshape": {1, 9}, "other": {1, 7},
	}
	if got := tensors(t, graph); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("shapes are %v, want %v", got, want)
	}
	if got, want := batch(t, graph), (map[string]string{"x": "N", "raw": "1", "y": "N"}); !maps.Equal(got, want) {
		t.Errorf("first dimensions are %v, want %v", got, want)
	}
	if i, _ := graph.index(graphValueInfo); i >= 0 {
		t.Error("value_info is still there")
	}
	for num, where := range map[protowire.Number]message{999: mustParse(t, out), 777: graph} {
		if s, _ := where.text(num); s != "unknown" {
			t.Errorf("unknown field %d became %q", num, s)
		}
	}
}

func TestDynamicBatchRefusesScalars(t *testing.T) {
	if _, err := Rewrite(model(message{value(graphInput, "x")}), EditDynamicBatch); !errors.Is(err, ErrBadModel) {
		t.Fatal(err)
	}
}

func TestShapeTensorsThatLie(t *testing.T) {
	good := rawInts("s", 1, -1)
	for name, bad := range map[string]message{
		"more dims than values": append(good.without(tensorDims), varintField(tensorDims, 3)),
		"two dimensions":        append(message{varintField(tensorDims, 1)}, good...),
		"negative dim":          append(good.without(tensorDims), varintField(tensorDims, -2)),
		"dims of 2^62":          append(good, varintField(tensorDims, 1<<31), varintField(tensorDims, 1<<31)),
		"float":                 append(good.without(tensorType), varintField(tensorType, typeFloat)),
		"no type":               good.without(tensorType),
		"external":              append(good, bytesField(tensorExternalData, "")),
		"15 bytes":              append(good.without(tensorRawData), bytesField(tensorRawData, make([]byte, 15))),
		"packed cut short":      append(good.without(tensorRawData), bytesField(tensorInt64Data, []byte{1, 0x80})),
	} {
		b := model(message{node("Reshape", []string{"x", "s"}, "y"), initializer(bad)})
		if _, err := Rewrite(b, EditDynamicBatch); !errors.Is(err, ErrBadModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const preluChannels = 3

// preluModel has two PRelu of two slope shapes, an initialiser between the slopes, and a slope that is also an input.
func preluModel() []byte {
	return model(message{
		node("PRelu", []string{"x", "slope1"}, "a"),
		node("Mul", []string{"a", "scale"}, "b"),
		node("PRelu", []string{"b", "slope2"}, "y"),
		initializer(newFloats("slope1", []int64{preluChannels, 1, 1}, []float32{0.25, -0.5, 0})),
		initializer(newFloats("scale", []int64{preluChannels}, []float32{2, -1, 0.1})),
		initializer(newFloats("slope2", []int64{1, preluChannels, 1, 1}, []float32{0.1, 1, 1.5})),
		value(graphInput, "x", 1, preluChannels, 4, 5),
		value(graphInput, "slope1", preluChannels, 1, 1),
		value(graphOutput, "y", 1, preluChannels, 4, 5),
	})
}

func TestPReluRewriteComputesTheSame(t *testing.T) {
	before := preluModel()
	after, err := Rewrite(before, EditPRelu)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, preluChannels*20)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	want := evaluate(t, mustGraph(t, before), "x", "y", x, preluChannels)
	got := evaluate(t, mustGraph(t, after), "x", "y", x, preluChannels)
	for i := range want {
		// Each rewrite rounds 1−a, two products and a sum: four roundings of values ≤ 2.5·|x|, twice in a row.
		bound := 8 * 2.5 * math.Abs(float64(x[i])) * 2 * 0x1p-24 * 2
		if diff := math.Abs(float64(got[i] - want[i])); !(diff <= bound) {
			t.Errorf("x %v: %v became %v, off by %g > %g", x[i], want[i], got[i], diff, bound)
		}
	}
}

func TestPReluRewriteLeavesNoSlope(t *testing.T) {
	after, err := Rewrite(preluModel(), EditPRelu)
	if err != nil {
		t.Fatal(err)
	}
	graph := mustGraph(t, after)
	if got, want := operators(t, graph), (map[string]int{"Relu": 2, "Mul": 5, "Add": 2}); !maps.Equal(got, want) {
		t.Errorf("operators are %v, want %v", got, want)
	}
	inits, err := names(graph, graphInitializer, tensorName)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"scale": true, "pr1_1ma": true, "pr1_a": true, "pr2_1ma": true, "pr2_a": true}
	if !maps.Equal(inits, want) {
		t.Errorf("initialisers are %v, want %v", inits, want)
	}
	if inputs, _ := names(graph, graphInput, valueName); !maps.Equal(inputs, map[string]bool{"x": true}) {
		t.Errorf("inputs are %v, want x alone", inputs)
	}
}

func TestPReluRewriteKeepsASlopeThatOthersRead(t *testing.T) {
	b := model(message{
		node("PRelu", []string{"x", "s"}, "a"),
		node("Mul", []string{"a", "s"}, "y"),
		initializer(newFloats("s", []int64{1, 1, 1}, []float32{0.5})),
	})
	after, err := Rewrite(b, EditPRelu)
	if err != nil {
		t.Fatal(err)
	}
	if inits, _ := names(mustGraph(t, after), graphInitializer, tensorName); !inits["s"] {
		t.Fatalf("initialisers are %v", inits)
	}
}

func TestPReluRewriteRefuses(t *testing.T) {
	x := []string{"x", "s"}
	good := newFloats("s", []int64{2, 1, 1}, []float32{1, 2})
	for name, graph := range map[string]message{
		"slope is computed":      {node("PRelu", x, "y")},
		"slope per pixel":        {node("PRelu", x, "y"), initializer(newFloats("s", []int64{1, 2, 1}, []float32{1, 2}))},
		"slope of one dimension": {node("PRelu", x, "y"), initializer(newFloats("s", []int64{2}, []float32{1, 2}))},
		"slope of int64":         {node("PRelu", x, "y"), initializer(rawInts("s", 1, 2))},
		"slope of wrong size":    {node("PRelu", x, "y"), initializer(append(good.without(tensorRawData), bytesField(tensorRawData, make([]byte, 12))))},
		"one input":              {node("PRelu", x[:1], "y"), initializer(good)},
		"two outputs":            {node("PRelu", x, "y", bytesField(nodeOutput, "z")), initializer(good)},
		"name taken":             {node("PRelu", x, "y"), node("Relu", []string{"y"}, "pr1_m"), initializer(good)},
	} {
		if _, err := Rewrite(model(graph), EditPRelu); !errors.Is(err, ErrBadModel) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknownEdit(t *testing.T) {
	if _, err := Rewrite(model(nil), "transpose"); err == nil {
		t.Fatal("accepted")
	}
}

// Every prefix of a good model is handled, and so is every single changed byte.
func TestRewriteOfMangledModels(t *testing.T) {
	for _, good := range [][]byte{dynamicModel(), preluModel()} {
		for i := range good {
			bad := slices.Clone(good)
			bad[i] ^= 0x55
			for _, b := range [][]byte{good[:i], bad} {
				if _, err := Rewrite(b, EditDynamicBatch, EditPRelu); err != nil && !errors.Is(err, ErrBadModel) {
					t.Fatalf("byte %d: %v", i, err)
				}
			}
		}
	}
}

func TestZeroTiny(t *testing.T) {
	weights := []float32{1, -1e-19, 9e-21, -9e-21, 1e-40, 0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.NaN())}
	want := []float32{1, -1e-19, 0, 0, 0, 0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.NaN())}
	before := model(message{messageField(graphInitializer, newFloats("w", []int64{9}, weights))})
	after, err := Rewrite(before, EditZeroTiny)
	if err != nil {
		t.Fatal(err)
	}
	if wanted := model(message{messageField(graphInitializer, newFloats("w", []int64{9}, want))}); !bytes.Equal(after, wanted) {
		t.Errorf("got %x, want %x", after, wanted)
	}
	short := newFloats("w", []int64{8}, weights)
	if _, err := Rewrite(model(message{messageField(graphInitializer, short)}), EditZeroTiny); !errors.Is(err, ErrBadModel) {
		t.Errorf("a tensor of the wrong size: %v, want ErrBadModel", err)
	}
}

// halfModel is y = Relu(Abs(x)) in float16, with a float32 output beside it.
func halfModel() message {
	half := func(num protowire.Number, name string) field {
		f := value(num, name, 1, 4)
		b, err := inside(f.val, []protowire.Number{valueType, typeTensor}, func(t message) (message, error) {
			return append(message{varintField(typeElement, typeHalf)}, t.without(typeElement)...), nil
		})
		if err != nil {
			panic(err)
		}
		return bytesField(num, b)
	}
	return message{
		half(graphInput, "x"), half(graphOutput, "y"), value(graphOutput, "z", 1, 4),
		node("Abs", []string{"x"}, "a"), node("Relu", []string{"a"}, "y"), node("Cast", []string{"y"}, "z", intAttribute("to", typeFloat)),
	}
}

func TestFloat32IO(t *testing.T) {
	out, err := Rewrite(model(halfModel()), EditFloat32IO)
	if err != nil {
		t.Fatal(err)
	}
	graph := mustGraph(t, out)
	if half, err := halfValues(graph); err != nil || len(half) != 0 {
		t.Errorf("still float16: %v, %v", half, err)
	}
	var got []string
	for _, f := range graph {
		if f.num != graphNode {
			continue
		}
		op, in, err := nodeInputs(f)
		if err != nil {
			t.Fatal(err)
		}
		out, _ := mustParse(t, f.val).text(nodeOutput)
		got = append(got, in[0]+" "+op+" "+out)
	}
	want := []string{"x Cast x/float16", "x/float16 Abs a", "a Relu y/float16", "y/float16 Cast z", "y/float16 Cast y"}
	if !slices.Equal(got, want) {
		t.Errorf("nodes are %q, want %q", got, want)
	}
	again, err := Rewrite(out, EditFloat32IO)
	if err != nil || !bytes.Equal(again, out) {
		t.Errorf("a model without float16 was changed: %v", err)
	}
}

func TestFloat32IORefuses(t *testing.T) {
	taken := append(halfModel(), node("Abs", []string{"a"}, "y"+halfSuffix))
	if _, err := Rewrite(model(taken), EditFloat32IO); !errors.Is(err, ErrBadModel) {
		t.Error(err)
	}
	if _, err := Rewrite(model(message{messageField(graphInput, message{bytesField(valueName, "x")})}), EditFloat32IO); !errors.Is(err, ErrBadModel) {
		t.Error(err)
	}
}
