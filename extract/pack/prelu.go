package pack

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// prelu is the state of one EditPRelu.
type prelu struct {
	tensors map[string]message // initialisers by name
	taken   map[string]bool    // every value name of the graph
	read    map[string]bool    // what the other nodes read
	slopes  map[string]bool    // what the rewritten nodes read as their slope
	added   message            // the new initialisers
	count   int
}

// rewritePRelu is EditPRelu.
func rewritePRelu(graph message) (message, error) {
	p, err := newPRelu(graph)
	if err != nil {
		return nil, err
	}
	nodes := make(message, 0, len(graph))
	for _, f := range graph {
		if f.num != graphNode {
			nodes = append(nodes, f)
			continue
		}
		replacement, err := p.node(f)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, replacement...)
	}
	return p.initializers(nodes)
}

func newPRelu(graph message) (*prelu, error) {
	p := &prelu{tensors: make(map[string]message), read: make(map[string]bool), slopes: make(map[string]bool)}
	var err error
	if p.taken, err = names(graph, graphNode, nodeOutput); err != nil {
		return nil, err
	}
	inputs, err := names(graph, graphInput, valueName)
	if err != nil {
		return nil, err
	}
	for name := range inputs {
		p.taken[name] = true
	}
	for _, f := range graph {
		if f.num != graphInitializer {
			continue
		}
		t, err := f.message()
		if err != nil {
			return nil, err
		}
		name, err := t.text(tensorName)
		if err != nil {
			return nil, err
		}
		p.tensors[name], p.taken[name] = t, true
	}
	return p, nil
}

// node returns what stands for node f: itself, or four nodes for a PRelu.
func (p *prelu) node(f field) (message, error) {
	op, inputs, err := nodeInputs(f)
	if err != nil {
		return nil, err
	}
	if op != "PRelu" {
		for _, in := range inputs {
			p.read[in] = true
		}
		return message{f}, nil
	}
	m, err := f.message()
	if err != nil {
		return nil, err
	}
	outputs, err := m.texts(nodeOutput)
	if err != nil {
		return nil, err
	}
	if len(inputs) != 2 || len(outputs) != 1 {
		return nil, fmt.Errorf("%w: PRelu with %d inputs and %d outputs", ErrBadModel, len(inputs), len(outputs))
	}
	return p.replace(inputs[0], inputs[1], outputs[0])
}

// replace returns Relu(x)·(1−a) + x·a as nodes, and keeps the new initialisers in p.added.
func (p *prelu) replace(x, slope, y string) (message, error) {
	t, ok := p.tensors[slope]
	if !ok {
		return nil, fmt.Errorf("%w: slope %q of PRelu is not an initialiser", ErrBadModel, slope)
	}
	a, err := slopes(t)
	if err != nil {
		return nil, fmt.Errorf("slope %q: %w", slope, err)
	}
	p.slopes[slope] = true
	p.count++
	prefix := fmt.Sprintf("pr%d_", p.count)
	relu, high, low, rest, same := prefix+"r", prefix+"m", prefix+"n", prefix+"1ma", prefix+"a"
	for _, name := range []string{relu, high, low, rest, same} {
		if p.taken[name] {
			return nil, fmt.Errorf("%w: the name %q is taken", ErrBadModel, name)
		}
	}
	b := make([]float32, len(a))
	for i := range a {
		b[i] = 1 - a[i]
	}
	dims := []int64{1, int64(len(a)), 1, 1}
	p.added = append(p.added, messageField(graphInitializer, newFloats(rest, dims, b)),
		messageField(graphInitializer, newFloats(same, dims, a)))
	return message{
		messageField(graphNode, newNode("Relu", relu, x)),
		messageField(graphNode, newNode("Mul", high, relu, rest)),
		messageField(graphNode, newNode("Mul", low, x, same)),
		messageField(graphNode, newNode("Add", y, high, low)),
	}, nil
}

// slopes returns the values of a PRelu slope, which must be one per channel of an NCHW tensor: [C,1,1] or [1,C,1,1].
func slopes(t message) ([]float32, error) {
	dims, a, err := float32s(t)
	if err != nil {
		return nil, err
	}
	shape := dims
	if len(shape) == 4 && shape[0] == 1 {
		shape = shape[1:]
	}
	if len(shape) != 3 || shape[1] != 1 || shape[2] != 1 {
		return nil, fmt.Errorf("%w: shape %v is not one value per channel", ErrBadModel, dims)
	}
	return a, nil
}

// initializers drops the slopes that nothing reads any more and puts the new tensors after the last initialiser.
func (p *prelu) initializers(graph message) (message, error) {
	out, last := make(message, 0, len(graph)+len(p.added)), 0
	for _, f := range graph {
		drop, err := p.unread(f)
		if err != nil {
			return nil, err
		}
		if !drop {
			out = append(out, f)
		}
		if f.num == graphInitializer {
			last = len(out)
		}
	}
	return append(out[:last:last], append(p.added, out[last:]...)...), nil
}

// unread tells whether f is a slope, or the input that declares it, and no node is left that reads it.
func (p *prelu) unread(f field) (bool, error) {
	key := map[protowire.Number]protowire.Number{graphInitializer: tensorName, graphInput: valueName}[f.num]
	if key == 0 {
		return false, nil
	}
	m, err := f.message()
	if err != nil {
		return false, err
	}
	name, err := m.text(key)
	return p.slopes[name] && !p.read[name], err
}
