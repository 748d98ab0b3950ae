package pack

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// dynamicBatch is EditDynamicBatch.
func dynamicBatch(graph message) (message, error) {
	initial, err := names(graph, graphInitializer, tensorName)
	if err != nil {
		return nil, err
	}
	shapes, err := reshapeShapes(graph)
	if err != nil {
		return nil, err
	}
	out := make(message, 0, len(graph))
	for _, f := range graph {
		if f.num == graphValueInfo {
			continue // shapes between nodes, recorded for a batch of one; ONNX Runtime infers them anew
		}
		if f, err = dynamicField(f, initial, shapes); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func dynamicField(f field, initial, shapes map[string]bool) (field, error) {
	switch f.num {
	case graphInput, graphOutput:
		return dynamicValue(f, initial)
	case graphInitializer:
		return dynamicInitializer(f, shapes)
	case graphNode:
		return dynamicConstant(f, shapes)
	}
	return f, nil
}

// reshapeShapes names the values that are the shape of a Reshape.
func reshapeShapes(graph message) (map[string]bool, error) {
	set := make(map[string]bool)
	for _, f := range graph {
		if f.num != graphNode {
			continue
		}
		op, inputs, err := nodeInputs(f)
		if err != nil {
			return nil, err
		}
		if op == "Reshape" && len(inputs) == 2 {
			set[inputs[1]] = true
		}
	}
	return set, nil
}

func nodeInputs(f field) (op string, inputs []string, err error) {
	m, err := f.message()
	if err != nil {
		return "", nil, err
	}
	if op, err = m.text(nodeOpType); err != nil {
		return "", nil, err
	}
	inputs, err = m.texts(nodeInput)
	return op, inputs, err
}

// dynamicValue makes the first dimension of an input or output the batch parameter. Graphs of IR 3 list their
// initialisers among the inputs: those stay.
func dynamicValue(f field, initial map[string]bool) (field, error) {
	m, err := f.message()
	if err != nil {
		return f, err
	}
	name, err := m.text(valueName)
	if err != nil || initial[name] {
		return f, err
	}
	b, err := inside(f.val, []protowire.Number{valueType, typeTensor, typeTensorShape}, dynamicShape)
	if err != nil {
		return f, fmt.Errorf("input or output %q: %w", name, err)
	}
	return bytesField(f.num, b), nil
}

func dynamicShape(shape message) (message, error) {
	i, err := shape.index(shapeDim)
	if err != nil {
		return nil, err
	}
	if i < 0 {
		return nil, fmt.Errorf("%w: a scalar has no batch", ErrBadModel)
	}
	dim, err := parse(shape[i].val)
	if err != nil {
		return nil, err
	}
	dim = slices.Insert(dim.without(dimValue, dimParam), 0, bytesField(dimParam, batchParam))
	shape[i] = messageField(shapeDim, dim)
	return shape, nil
}

func dynamicInitializer(f field, shapes map[string]bool) (field, error) {
	t, err := f.message()
	if err != nil {
		return f, err
	}
	name, err := t.text(tensorName)
	if err != nil || !shapes[name] {
		return f, err
	}
	t, changed, err := inferBatch(t)
	if err != nil {
		return f, fmt.Errorf("shape %q: %w", name, err)
	}
	if !changed {
		return f, nil
	}
	return messageField(f.num, t), nil
}

// dynamicConstant edits the tensor of a Constant node that gives a Reshape its shape.
func dynamicConstant(f field, shapes map[string]bool) (field, error) {
	node, err := f.message()
	if err != nil {
		return f, err
	}
	op, err := node.text(nodeOpType)
	if err != nil || op != "Constant" {
		return f, err
	}
	output, err := node.text(nodeOutput)
	if err != nil || !shapes[output] {
		return f, err
	}
	for i, a := range node {
		if a.num != nodeAttribute {
			continue
		}
		if node[i], err = dynamicAttribute(a); err != nil {
			return f, fmt.Errorf("shape %q: %w", output, err)
		}
	}
	return messageField(f.num, node), nil
}

func dynamicAttribute(f field) (field, error) {
	a, err := f.message()
	if err != nil {
		return f, err
	}
	if name, err := a.text(attributeName); err != nil || name != "value" {
		return f, err
	}
	i, err := a.only(attributeTensor)
	if err != nil {
		return f, err
	}
	t, err := parse(a[i].val)
	if err != nil {
		return f, err
	}
	if t, _, err = inferBatch(t); err != nil {
		return f, err
	}
	a[i] = messageField(attributeTensor, t)
	return messageField(f.num, a), nil
}

// inferBatch changes a shape [1, …] of two or more dimensions so that its first is taken from the data.
func inferBatch(t message) (message, bool, error) {
	v, err := int64s(t)
	if err != nil || len(v) < 2 || v[0] != 1 {
		return t, false, err
	}
	v[0] = -1
	if slices.Contains(v[1:], -1) {
		v[0] = 0
	}
	return withInt64s(t, v), true, nil
}
