package extract

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"slices"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"mien/extract/pack"
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
	shape []int64                // of one item, without the batch dimension
	bare  bool                   // the only item, and no batch dimension
	views []*ort.Tensor[float32] // of the first n items at n−1; nil: not asked for yet
	pin   runtime.Pinner
}

// newTensor makes memory for max items.
func newTensor(shape []int64, max int) *tensor {
	t := &tensor{shape: shape, views: make([]*ort.Tensor[float32], max)}
	t.data = make([]float32, max*int(ort.NewShape(shape...).FlattenedSize()))
	t.pin.Pin(&t.data[0])
	return t
}

// item is the memory of item i.
func (t *tensor) item(i int) []float32 {
	size := len(t.data) / len(t.views)
	return t.data[i*size : (i+1)*size : (i+1)*size]
}

// view is the tensor of the first n items.
func (t *tensor) view(n int) (ort.Value, error) {
	if v := t.views[n-1]; v != nil {
		return v, nil
	}
	shape := ort.NewShape(t.shape...)
	if !t.bare {
		shape = append(ort.NewShape(int64(n)), shape...)
	}
	v, err := ort.NewTensor(shape, t.data[:n*len(t.data)/len(t.views)])
	if err != nil {
		return nil, fmt.Errorf("extract: tensor %v: %w", shape, err)
	}
	t.views[n-1] = v
	return v, nil
}

func (t *tensor) close() error {
	var errs []error
	for _, v := range t.views {
		if v != nil {
			errs = append(errs, v.Destroy())
		}
	}
	t.pin.Unpin()
	return errors.Join(errs...)
}

// model is a graph whose inputs and outputs are what the pipeline expects.
type model struct {
	role  string
	data  []byte
	input string
	in    []int64 // one item: [C, H, W]
	outs  []output
	bare  []bool // which outputs have no batch dimension; then the batch is 1
	fixed int    // the batch that the graph is made for; 0: any
	items int    // that a call has
}

// newModel checks that the graph in data has the one input that g expects, and its outputs. Inputs and outputs of float16
// are converted within the graph. A model that would read files of its choice when it is loaded is refused first. data is
// retained.
func newModel(g graph, data []byte) (*model, error) {
	m := &model{role: g.role, data: data, in: g.in, items: max(g.items, 1)}
	err := pack.SelfContained(data)
	if err == nil {
		err = m.bind(g)
	}
	if errors.Is(err, errHalf) {
		if m.data, err = pack.Rewrite(data, pack.EditFloat32IO); err == nil {
			err = m.bind(g)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("extract: %s model: %w", g.role, err)
	}
	return m, nil
}

// output is a named result of a graph and its shape without the batch dimension.
type output struct {
	name  string
	shape []int64
}

// bind compares what the graph declares with what the pipeline expects: a wrong file must fail here, not as memory written
// past a tensor.
func (m *model) bind(g graph) error {
	ins, outs, err := ports(m.data)
	if err != nil {
		return err
	}
	if len(ins) != 1 || !ins[0].holds(g.in) || ins[0].single(g.in) {
		return fmt.Errorf("input is %v, want one of [N %v]", ins, g.in)
	}
	if m.outs, err = g.bind(outs); err != nil {
		return err
	}
	if err := m.fix(ins[0]); err != nil {
		return err
	}
	for _, o := range m.outs {
		i := slices.IndexFunc(outs, func(p port) bool { return p.name == o.name })
		m.bare = append(m.bare, outs[i].single(o.shape))
		if m.bare[len(m.bare)-1] {
			if m.fixed > 1 {
				return fmt.Errorf("output is %v, want a batch of %d", outs[i], m.fixed)
			}
			m.fixed = 1
		}
	}
	return nil
}

const (
	maxFixed       = 1024    // items
	maxFixedFloats = 1 << 26 // of them all, 256 MiB
)

// fix takes over the batch that the graph's input is made for, if that is of a size to make memory for.
func (m *model) fix(in port) error {
	m.input = in.name
	if in.dims[0] < 0 {
		return nil
	}
	item := ort.NewShape(m.in...).FlattenedSize()
	for _, o := range m.outs {
		item = max(item, ort.NewShape(o.shape...).FlattenedSize())
	}
	if in.dims[0] > maxFixed || in.dims[0]*item > maxFixedFloats {
		return fmt.Errorf("input is %v, want a batch of at most %d, and %d numbers an input or output", in, maxFixed, maxFixedFloats)
	}
	m.fixed = int(in.dims[0])
	return nil
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

// errHalf says that a graph has an input or output of float16.
var errHalf = errors.New("float16 where float32 is wanted")

func portsOf(all []ort.InputOutputInfo) (ports []port, err error) {
	for _, v := range all {
		if v.DataType == ort.TensorElementDataTypeFloat16 {
			return nil, fmt.Errorf("%s: %w", v.Name, errHalf)
		}
		if v.DataType != ort.TensorElementDataTypeFloat {
			return nil, fmt.Errorf("%s is of type %v, want float32", v.Name, v.DataType)
		}
		ports = append(ports, port{v.Name, v.Dimensions})
	}
	return ports, nil
}

// run is memory for a run of a model on several items. One user at a time.
type run struct {
	in   [][]float32   // the input of each item
	outs [][][]float32 // the outputs of each item

	tensors []*tensor   // what in and outs are parts of, the input first
	values  []ort.Value // the tensors of the last run
	items   int         // how many items values is for
}

// newRun makes memory for max items at most, or for the graph's own batch.
func (m *model) newRun(max int) (*run, error) {
	max = m.batch(max)
	r := &run{in: make([][]float32, max), outs: make([][][]float32, max), values: make([]ort.Value, 1+len(m.outs))}
	r.tensors = append(r.tensors, newTensor(m.in, max))
	for i, o := range m.outs {
		t := newTensor(o.shape, max)
		t.bare = m.bare[i]
		r.tensors = append(r.tensors, t)
	}
	for i := range max {
		r.in[i] = r.tensors[0].item(i)
		for _, t := range r.tensors[1:] {
			r.outs[i] = append(r.outs[i], t.item(i))
		}
	}
	return r, nil
}

// batch is the batch dimension of a run on up to n items.
func (m *model) batch(n int) int { return cmp.Or(m.fixed, n) }

// use makes values the tensors of n items.
func (r *run) use(n int) (err error) {
	if r.items == n {
		return nil
	}
	r.items = 0
	for i, t := range r.tensors {
		if r.values[i], err = t.view(n); err != nil {
			return err
		}
	}
	r.items = n
	return nil
}

func (r *run) close() error {
	var errs []error
	for _, t := range r.tensors {
		errs = append(errs, t.close())
	}
	return errors.Join(errs...)
}

// session is a model loaded on a device. Safe for concurrent use with a run each.
type session struct {
	model   *model
	device  device
	session *ort.DynamicAdvancedSession
}

// open loads the model on a device.
func (m *model) open(d device) (*session, error) {
	options, err := d.options(m)
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	names := make([]string, len(m.outs))
	for i, o := range m.outs {
		names[i] = o.name
	}
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(m.data, []string{m.input}, names, options)
	if err != nil {
		return nil, d.explain(fmt.Errorf("load %s model: %w", m.role, err))
	}
	return &session{m, d, s}, nil
}

// run implements runner.
func (s *session) run(r *run, n int) error {
	n = s.size(n, len(r.in))
	if err := r.use(n); err != nil {
		return err
	}
	if err := s.session.Run(r.values[:1], r.values[1:]); err != nil {
		return s.device.explain(fmt.Errorf("run %s model: %w", s.model.role, err))
	}
	return nil
}

// size is how many items are run for n: on a device that prepares itself for each size of batch only powers of two, up to
// max. The rest is what earlier runs left.
func (s *session) size(n, max int) int {
	if !s.device.onCPU() {
		n = min(1<<bits.Len(uint(n-1)), max)
	}
	return s.model.batch(n)
}

func (s *session) close() error { return s.session.Destroy() }
