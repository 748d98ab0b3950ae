package extract

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// environment is ONNX Runtime's process-wide state: loaded with the first Extractor, unloaded with the last.
var environment struct {
	sync.Mutex
	library string
	users   int
}

func acquireEnvironment(library string) error {
	e := &environment
	e.Lock()
	defer e.Unlock()
	if e.users > 0 && e.library != library {
		return fmt.Errorf("extract: ONNX Runtime is already loaded from %s; one process can't load another", e.library)
	}
	if e.users == 0 {
		if err := checkLibrary(library); err != nil {
			return err
		}
		ort.SetSharedLibraryPath(library)
		if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
			return fmt.Errorf("extract: load ONNX Runtime from %s: %w", library, err)
		}
	}
	e.library = library
	e.users++
	return nil
}

// checkLibrary refuses an ELF file that ends before its segments do: the loader would map it all the same, and the
// process end with SIGBUS.
func checkLibrary(library string) error {
	info, err := os.Stat(library)
	if err != nil {
		return fmt.Errorf("extract: ONNX Runtime: %w", err)
	}
	if runtime.GOOS == "darwin" {
		return nil
	}
	f, err := elf.Open(library)
	if err != nil {
		return fmt.Errorf("extract: ONNX Runtime's library %s is damaged: %w", library, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Off+p.Filesz > uint64(info.Size()) {
			return fmt.Errorf("extract: ONNX Runtime's library %s is damaged: it ends too early", library)
		}
	}
	return nil
}

func releaseEnvironment() error {
	e := &environment
	e.Lock()
	defer e.Unlock()
	if e.users--; e.users > 0 {
		return nil
	}
	return ort.DestroyEnvironment()
}

// tensor is float32 memory that ONNX Runtime may read and write: the slice stays pinned from newTensor to
// close, because the C side keeps its address between calls, which cgo's own pinning does not cover.
type tensor struct {
	data  []float32
	value *ort.Tensor[float32]
	pin   runtime.Pinner
}

func newTensor(shape []int64) (*tensor, error) {
	t := &tensor{data: make([]float32, ort.NewShape(shape...).FlattenedSize())}
	t.pin.Pin(&t.data[0])
	value, err := ort.NewTensor(ort.NewShape(shape...), t.data)
	if err != nil {
		t.pin.Unpin()
		return nil, fmt.Errorf("extract: tensor %v: %w", shape, err)
	}
	t.value = value
	return t, nil
}

func (t *tensor) close() error {
	err := t.value.Destroy()
	t.pin.Unpin()
	return err
}

// model is one loaded graph. Its session is shared by all runs: Run is safe for concurrent use.
type model struct {
	role    string
	session *ort.DynamicAdvancedSession
	in      []int64   // one item: [1, C, H, W]
	out     [][]int64 // one item each; without the leading 1 where the graph has no batch
	single  bool      // the graph takes one item a run: its batch is fixed at 1, or an output has none
}

// newModel loads the graph in data and checks that it has the one input that g expects, and its outputs.
func newModel(g graph, data []byte) (*model, error) {
	m := &model{role: g.role, in: append([]int64{1}, g.in...)}
	input, outputs, err := m.bind(g, data)
	if err != nil {
		return nil, fmt.Errorf("extract: %s model: %w", g.role, err)
	}
	options, err := sessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	m.session, err = ort.NewDynamicAdvancedSessionWithONNXData(data, []string{input}, outputs, options)
	if err != nil {
		return nil, fmt.Errorf("extract: load %s model: %w", g.role, err)
	}
	return m, nil
}

// output is a named result of a graph and its shape without the batch dimension.
type output struct {
	name  string
	shape []int64
}

// bind compares what the graph declares with what the pipeline expects and returns the names of input and outputs: a
// wrong file must fail here, not as memory written past a tensor.
func (m *model) bind(g graph, data []byte) (input string, outputs []string, err error) {
	ins, outs, err := ports(data)
	if err != nil {
		return "", nil, err
	}
	if len(ins) != 1 || !ins[0].holds(g.in) || ins[0].single(g.in) {
		return "", nil, fmt.Errorf("input is %v, want one of [N %v]", ins, g.in)
	}
	bound, err := g.bind(outs)
	if err != nil {
		return "", nil, err
	}
	m.single = ins[0].dims[0] == 1
	for _, o := range bound {
		shape := o.shape
		i := slices.IndexFunc(outs, func(p port) bool { return p.name == o.name })
		if outs[i].single(shape) {
			m.single = true
		} else {
			shape = append([]int64{1}, shape...)
		}
		m.out, outputs = append(m.out, shape), append(outputs, o.name)
	}
	return ins[0].name, outputs, nil
}

// ports reads what the graph in data declares.
func ports(data []byte) (ins, outs []port, err error) {
	in, out, err := ort.GetInputOutputInfoWithONNXData(data)
	if err != nil {
		return nil, nil, err
	}
	if ins, err = portsOf(in); err != nil {
		return nil, nil, err
	}
	outs, err = portsOf(out)
	return ins, outs, err
}

func portsOf(all []ort.InputOutputInfo) (ports []port, err error) {
	for _, v := range all {
		if v.DataType != ort.TensorElementDataTypeFloat {
			return nil, fmt.Errorf("%s is of type %v, want float32", v.Name, v.DataType)
		}
		ports = append(ports, port{v.Name, v.Dimensions})
	}
	return ports, nil
}

// sessionOptions: one thread a run, for the workers are the parallelism (doc.go, "Memory and threads").
func sessionOptions() (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("extract: session options: %w", err)
	}
	if err := errors.Join(o.SetIntraOpNumThreads(1), o.SetInterOpNumThreads(1),
		o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll)); err != nil {
		o.Destroy()
		return nil, fmt.Errorf("extract: session options: %w", err)
	}
	return o, nil
}

func (m *model) close() error { return m.session.Destroy() }

// run is memory for one run of a model: fill in.data, call do, read results before the next call.
type run struct {
	model   *model
	in      *tensor
	outs    []*tensor
	values  []ort.Value // of outs
	results [][]float32 // data of outs
}

func (m *model) newRun() (*run, error) {
	r := &run{model: m}
	var err error
	if r.in, err = newTensor(m.in); err != nil {
		return nil, err
	}
	for _, shape := range m.out {
		t, err := newTensor(shape)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.outs = append(r.outs, t)
		r.values, r.results = append(r.values, t.value), append(r.results, t.data)
	}
	return r, nil
}

func (r *run) do() error {
	if err := r.model.session.Run([]ort.Value{r.in.value}, r.values); err != nil {
		return fmt.Errorf("extract: run %s model: %w", r.model.role, err)
	}
	return nil
}

func (r *run) close() error {
	err := r.in.close()
	for _, t := range r.outs {
		err = errors.Join(err, t.close())
	}
	return err
}
