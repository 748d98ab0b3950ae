package pack

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// halfSuffix is appended to the name of a value that stays float16 inside the graph.
const halfSuffix = "/float16"

// float32IO is EditFloat32IO.
func float32IO(graph message) (message, error) {
	renamed, err := halfValues(graph)
	if err != nil || len(renamed) == 0 {
		return graph, err
	}
	if err := untaken(graph, renamed); err != nil {
		return nil, err
	}
	var before, nodes, after, rest message
	for _, f := range graph {
		name := ""
		if f.num == graphInput || f.num == graphOutput {
			if name, err = valueOf(f); err != nil {
				return nil, err
			}
		}
		switch {
		case f.num == graphNode:
			if f, err = renameValues(f, renamed); err != nil {
				return nil, err
			}
			nodes = append(nodes, f)
			continue
		case name != "" && renamed[name] && f.num == graphInput:
			before = append(before, castNode(name, name+halfSuffix, typeHalf))
		case name != "" && renamed[name]:
			after = append(after, castNode(name+halfSuffix, name, typeFloat))
		}
		if renamed[name] {
			if f, err = asFloat(f); err != nil {
				return nil, err
			}
		}
		rest = append(rest, f)
	}
	return append(append(append(before, nodes...), after...), rest...), nil
}

// halfValues names the inputs and outputs of a graph that are float16.
func halfValues(graph message) (map[string]bool, error) {
	half := make(map[string]bool)
	initial, err := names(graph, graphInitializer, tensorName)
	if err != nil {
		return nil, err
	}
	for _, f := range graph {
		if f.num != graphInput && f.num != graphOutput {
			continue
		}
		name, err := valueOf(f)
		if err != nil {
			return nil, err
		}
		_, err = inside(f.val, []protowire.Number{valueType, typeTensor}, func(t message) (message, error) {
			kind, err := t.ints(typeElement)
			half[name] = len(kind) == 1 && kind[0] == typeHalf && !initial[name]
			return t, err
		})
		if err != nil {
			return nil, fmt.Errorf("input or output %q: %w", name, err)
		}
		if !half[name] {
			delete(half, name)
		}
	}
	return half, nil
}

func valueOf(f field) (string, error) {
	m, err := f.message()
	if err != nil {
		return "", err
	}
	return m.text(valueName)
}

// untaken wants that no value has a name that a renamed one will get.
func untaken(graph message, renamed map[string]bool) error {
	outputs, err := names(graph, graphNode, nodeOutput)
	if err != nil {
		return err
	}
	for name := range renamed {
		if outputs[name+halfSuffix] {
			return fmt.Errorf("%w: the name %q is taken", ErrBadModel, name+halfSuffix)
		}
	}
	return nil
}

// renameValues gives the inputs and outputs of node f that are renamed their new names.
func renameValues(f field, renamed map[string]bool) (field, error) {
	m, err := f.message()
	if err != nil {
		return f, err
	}
	changed := false
	for i, v := range m {
		if (v.num == nodeInput || v.num == nodeOutput) && renamed[string(v.val)] {
			m[i], changed = bytesField(v.num, string(v.val)+halfSuffix), true
		}
	}
	if !changed {
		return f, nil
	}
	return messageField(f.num, m), nil
}

func castNode(from, to string, kind int64) field {
	return messageField(graphNode, append(newNode("Cast", to, from), intAttribute("to", kind)))
}

// asFloat makes a declared value float32.
func asFloat(f field) (field, error) {
	b, err := inside(f.val, []protowire.Number{valueType, typeTensor}, func(t message) (message, error) {
		return append(message{varintField(typeElement, typeFloat)}, t.without(typeElement)...), nil
	})
	return bytesField(f.num, b), err
}
