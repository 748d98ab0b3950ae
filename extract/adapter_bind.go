package extract

import (
	"fmt"
	"slices"
)

// port is an input or output as a graph declares it, of float32.
type port struct {
	name string
	dims []int64 // −1: any
}

func (p port) String() string { return fmt.Sprintf("%s%v", p.name, p.dims) }

// holds says that the port may be a batch of items of that shape. Some exports drop a batch of one: then the port is the
// item itself.
func (p port) holds(shape []int64) bool {
	return len(p.dims) == len(shape)+1 && fits(p.dims[1:], shape) || p.single(shape)
}

// single says that the port is one item without a batch dimension.
func (p port) single(shape []int64) bool { return len(p.dims) == len(shape) && fits(p.dims, shape) }

func fits(dims, shape []int64) bool {
	return slices.EqualFunc(dims, shape, func(d, want int64) bool { return d < 0 || d == want })
}

// byShape finds an output for each shape, all of different ports. Where several would do, as when a graph leaves its
// dimensions open, they are taken in the graph's order.
func byShape(outs []port, shapes ...[]int64) ([]output, error) {
	var bound []output
	taken := make(map[string]bool)
	for _, shape := range shapes {
		i := slices.IndexFunc(outs, func(p port) bool { return !taken[p.name] && p.holds(shape) })
		if i < 0 {
			return nil, fmt.Errorf("outputs are %v, want one more of [N %v]", outs, shape)
		}
		taken[outs[i].name] = true
		bound = append(bound, output{outs[i].name, shape})
	}
	return bound, nil
}

// byName checks that the outputs are there, each of its shape.
func byName(outs []port, want []output) ([]output, error) {
	for _, w := range want {
		i := slices.IndexFunc(outs, func(p port) bool { return p.name == w.name })
		if i < 0 || !outs[i].holds(w.shape) {
			return nil, fmt.Errorf("outputs are %v, want %q of [N %v]", outs, w.name, w.shape)
		}
	}
	return want, nil
}

func strideName(kind string, stride int) string { return fmt.Sprintf("%s_%d", kind, stride) }
