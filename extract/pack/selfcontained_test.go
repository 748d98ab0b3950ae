package pack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// external are tensors that are kept elsewhere, in every way to say so.
func external() map[string]message {
	entry := message{bytesField(1, "location"), bytesField(2, "../secret")}
	whole := rawInts("w", 1, 2)
	return map[string]message{
		"external_data alone":      append(whole[:len(whole):len(whole)], messageField(tensorExternalData, entry)),
		"data_location alone":      append(whole[:len(whole):len(whole)], varintField(tensorLocation, 1)),
		"location of another kind": append(whole[:len(whole):len(whole)], bytesField(tensorLocation, "\x01")),
		"default, then external":   append(whole[:len(whole):len(whole)], varintField(tensorLocation, 0), varintField(tensorLocation, 1)),
	}
}

// places are models that hold tensor t at every place where onnx.proto has one.
func places(t message) map[string][]byte {
	attribute := func(num protowire.Number, m message) field {
		return messageField(nodeAttribute, message{bytesField(attributeName, "a"), messageField(num, m)})
	}
	graph := message{initializer(t)}
	sparse := func(num protowire.Number) message { return message{messageField(num, t)} }
	in := func(a field) []byte { return model(message{node("If", nil, "y", a)}) }
	two := message{messageField(modelGraph, nil), messageField(modelGraph, graph)}
	training := func(num protowire.Number) []byte {
		return message{messageField(modelGraph, nil), messageField(modelTraining, message{messageField(num, graph)})}.append(nil)
	}
	function := func(f field) []byte {
		return message{messageField(modelGraph, nil), messageField(modelFunction, message{f})}.append(nil)
	}
	constant := constant("c", t)
	constant.num = functionNode
	return map[string][]byte{
		"initializer":                model(graph),
		"second graph":               two.append(nil),
		"sparse initializer values":  model(message{messageField(graphSparse, sparse(sparseValues))}),
		"sparse initializer indices": model(message{messageField(graphSparse, sparse(sparseIndices))}),
		"attribute t":                in(attribute(attributeTensor, t)),
		"attribute tensors":          in(attribute(attributeTensors, t)),
		"attribute g":                in(attribute(attributeGraph, graph)),
		"attribute graphs":           in(attribute(attributeGraphs, graph)),
		"graph in a graph":           in(attribute(attributeGraph, message{node("If", nil, "y", attribute(attributeGraph, graph))})),
		"attribute sparse_tensor":    in(attribute(attributeSparse, sparse(sparseValues))),
		"attribute sparse_tensors":   in(attribute(attributeSparses, sparse(sparseIndices))),
		"function's node":            function(constant),
		"function's attribute":       function(field{num: functionAttribute, typ: protowire.BytesType, val: attribute(attributeTensor, t).val}),
		"training initialization":    training(trainingInitialization),
		"training algorithm":         training(trainingAlgorithm),
	}
}

func TestSelfContained(t *testing.T) {
	for place, b := range places(append(rawInts("w", 1, 2), varintField(tensorLocation, 0))) {
		if err := SelfContained(b); err != nil {
			t.Errorf("%s, with its data: %v", place, err)
		}
	}
	for how, tensor := range external() {
		for place, b := range places(tensor) {
			if err := SelfContained(b); !errors.Is(err, ErrBadModel) || !strings.Contains(err.Error(), "not in the file") {
				t.Errorf("%s in %s: %v", how, place, err)
			}
		}
	}
}

func TestSelfContainedRefuses(t *testing.T) {
	deep := message(nil)
	for range maxNesting {
		deep = message{node("If", nil, "y", messageField(nodeAttribute, message{messageField(attributeGraph, deep)}))}
	}
	for says, b := range map[string][]byte{
		"compiled for a device": model(message{node("EPContext", nil, "y")}),
		"own format":            append([]byte{0x12, 0x10, 0, 0}, "ORTM and some more"...),
		"nested deeper":         model(deep),
		"not bytes":             model(message{varintField(graphInitializer, 1)}),
		"2^29":                  damaged["field number 2^29+7"],
		"at byte 0":             damaged["bytes cut short"],
	} {
		if err := SelfContained(b); !errors.Is(err, ErrBadModel) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// A file of nothing but small records must not cost many times its size.
func TestSelfContainedAllocatesLittle(t *testing.T) {
	b := model(message{bytesField(graphNode, strings.Repeat("\x0a\x00", 1<<20))})
	if n := testing.AllocsPerRun(1, func() {
		if err := SelfContained(b); err != nil {
			t.Fatal(err)
		}
	}); n > 100 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzSelfContained(f *testing.F) {
	for _, tensor := range external() {
		for _, b := range places(tensor) {
			f.Add(b)
		}
	}
	for _, b := range damaged {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := SelfContained(b); err != nil && !errors.Is(err, ErrBadModel) {
			t.Fatal(err)
		}
	})
}

func TestAddRefusesExternalData(t *testing.T) {
	dir := download(t, func(*Manifest) {})
	bad := places(external()["external_data alone"])["attribute g"]
	if err := os.WriteFile(filepath.Join(dir, "embed.onnx"), bad, 0o644); err != nil {
		t.Fatal(err)
	}
	models := t.TempDir()
	if _, err := Add(dir, models, fine); !errors.Is(err, ErrBadModel) || !strings.Contains(err.Error(), "embed.onnx") {
		t.Errorf("%v", err)
	}
	if left, _ := os.ReadDir(models); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
