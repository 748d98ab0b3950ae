package pack

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Edit names one rewriting of an ONNX graph. The numbers the graph computes stay the same; what each may change is
// stated with it.
type Edit string

const (
	// EditDynamicBatch makes the first dimension of every input and output the parameter "N", drops the recorded
	// shapes between nodes, and lets Reshape infer the batch: a constant shape [1, …] becomes [-1, …], or [0, …] (copy
	// the input's) where -1 is in it already. A batch of one gives the same bits as before.
	//
	// REQUIRES: a leading 1 in the shape of a Reshape means the batch, which holds for the pinned models.
	EditDynamicBatch Edit = "dynamic-batch"

	// EditPRelu computes PRelu(x, a) as Relu(x)·(1−a) + x·a. ONNX Runtime 1.30 on CPU runs the embedder 3.1 times as
	// fast so (2.4 against 7.5 ms a face, AMD EPYC, one thread); outputs differ by less than 3e-6.
	EditPRelu Edit = "prelu"

	// EditZeroTiny sets weights below 1e-20 to zero. The embedder has 176,911 of its 1,197,888 there, 8,938 of them
	// subnormal, and products of the others with activations are; each such product costs an Intel core some 150
	// cycles. Measured there: 55 ms a face before, 6 ms after, one thread, the same output to the bit (an AMD core of the
	// Zen 5 kind computes subnormals at full speed: 2.4 ms either way).
	EditZeroTiny Edit = "zero-tiny"
)

// EditFloat32IO makes inputs and outputs of float16 float32 by a Cast behind each input and before each output; the
// graph computes in float16 as before. A model without such is returned as it is.
const EditFloat32IO Edit = "float32-io"

// batchParam is the name that EditDynamicBatch gives to the batch dimension.
const batchParam = "N"

// Rewrite returns the ONNX model with the edits applied in order. The model is not modified; the result shares no
// memory with it. What no edit changes keeps its bytes and order, unknown fields too. The same input gives the same
// output. It takes a few times the memory of the model. Errors: ErrBadModel, or an unknown edit.
func Rewrite(model []byte, edits ...Edit) ([]byte, error) {
	return inside(model, []protowire.Number{modelGraph}, func(graph message) (message, error) {
		for _, e := range edits {
			var err error
			if graph, err = e.apply(graph); err != nil {
				return nil, fmt.Errorf("edit %s: %w", e, err)
			}
		}
		return graph, nil
	})
}

func (e Edit) apply(graph message) (message, error) {
	switch e {
	case EditDynamicBatch:
		return dynamicBatch(graph)
	case EditPRelu:
		return rewritePRelu(graph)
	case EditZeroTiny:
		return zeroTiny(graph)
	case EditFloat32IO:
		return float32IO(graph)
	}
	return nil, fmt.Errorf("pack: unknown edit %q", string(e))
}

// names returns what the string field key of every record num of the graph says: initialisers by their name, inputs
// by theirs.
func names(graph message, num, key protowire.Number) (map[string]bool, error) {
	set := make(map[string]bool)
	for _, f := range graph {
		if f.num != num {
			continue
		}
		m, err := f.message()
		if err != nil {
			return nil, err
		}
		all, err := m.texts(key)
		if err != nil {
			return nil, err
		}
		for _, name := range all {
			set[name] = true
		}
	}
	return set, nil
}

// message parses the content of a field that must be a message.
func (f field) message() (message, error) {
	if f.typ != protowire.BytesType {
		return nil, fmt.Errorf("%w: field %d has wire type %d, not bytes", ErrBadModel, f.num, f.typ)
	}
	return parse(f.val)
}
