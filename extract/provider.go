package extract

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// Errors of execution providers. Each is wrapped in text that names the device and what ONNX Runtime said.
var (
	// ErrNoProvider: the ONNX Runtime library was built without the provider, or what the provider needs is not installed.
	ErrNoProvider = errors.New("extract: the ONNX Runtime library can't use this provider")
	// ErrNoDevice: the provider is there and finds no such device.
	ErrNoDevice = errors.New("extract: no such device")
	// ErrDeviceMemory: the device has not enough memory left.
	ErrDeviceMemory = errors.New("extract: out of device memory")
)

// The providers, and Auto for the first of them that works here.
const (
	CPU      = "cpu"
	CUDA     = "cuda"
	TensorRT = "tensorrt"
	OpenVINO = "openvino"
	CoreML   = "coreml"
	DirectML = "directml"
	WebGPU   = "webgpu"
	Auto     = "auto"
)

// byHope is the order in which Auto tries. Not TensorRT: it builds its own form of every model for minutes. Nor WebGPU,
// which takes whatever it finds for a GPU.
var byHope = []string{CUDA, DirectML, CoreML, OpenVINO}

// device is one device of a provider.
type device struct {
	provider string
	// id is the device's number (CUDA, TensorRT, DirectML), its type (OpenVINO: CPU, GPU, NPU, AUTO) or compute units
	// (CoreML: ALL, CPUAndGPU, …). Empty is the provider's default.
	id string
}

func (d device) String() string { return strings.TrimSuffix(d.provider+":"+d.id, ":") }

// onCPU says that a run keeps a core busy.
func (d device) onCPU() bool {
	return d.provider == CPU || d.provider == OpenVINO && (d.id == "" || d.id == "CPU")
}

// provider tells ONNX Runtime to use a device for a model.
type provider struct {
	numbered bool // ids are numbers from 0
	use      func(o *ort.SessionOptions, d device, m *model) error
}

var providers = map[string]provider{
	CPU:      {false, func(*ort.SessionOptions, device, *model) error { return nil }},
	CUDA:     {true, useCUDA},
	TensorRT: {true, useTensorRT},
	OpenVINO: {false, func(o *ort.SessionOptions, d device, _ *model) error {
		return o.AppendExecutionProviderOpenVINO(map[string]string{"device_type": cmp.Or(d.id, "CPU"), "num_of_threads": "1"})
	}},
	CoreML: {false, func(o *ort.SessionOptions, d device, _ *model) error {
		return o.AppendExecutionProviderCoreMLV2(map[string]string{"MLComputeUnits": cmp.Or(d.id, "ALL")})
	}},
	DirectML: {true, func(o *ort.SessionOptions, d device, _ *model) error {
		return errors.Join(o.SetMemPattern(false), o.AppendExecutionProviderDirectML(d.number()))
	}},
	WebGPU: {false, func(o *ort.SessionOptions, _ device, _ *model) error {
		return o.AppendExecutionProvider("WebGPU", nil)
	}},
}

// number is the id of a numbered provider's device.
func (d device) number() int {
	n, err := strconv.Atoi(cmp.Or(d.id, "0"))
	if err != nil {
		panic("BUG: device " + d.String() + " was not validated")
	}
	return n
}

func useCUDA(o *ort.SessionOptions, d device, _ *model) error {
	c, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer c.Destroy()
	// Heuristic: the search for the fastest convolution runs again for each size of batch.
	if err := c.Update(map[string]string{"device_id": strconv.Itoa(d.number()), "cudnn_conv_algo_search": "HEURISTIC"}); err != nil {
		return err
	}
	return o.AppendExecutionProviderCUDA(c)
}

func useTensorRT(o *ort.SessionOptions, d device, m *model) error {
	t, err := ort.NewTensorRTProviderOptions()
	if err != nil {
		return err
	}
	defer t.Destroy()
	if err := t.Update(map[string]string{
		"device_id":                         strconv.Itoa(d.number()),
		"trt_profile_min_shapes":            m.shapeFor(1),
		"trt_profile_opt_shapes":            m.shapeFor(deviceBatch),
		"trt_profile_max_shapes":            m.shapeFor(maxBatch),
		"trt_timing_cache_enable":           "1",
		"trt_engine_cache_enable":           "0",
		"trt_context_memory_sharing_enable": "1",
	}); err != nil {
		return err
	}
	return errors.Join(o.AppendExecutionProviderTensorRT(t), useCUDA(o, d, m)) // CUDA for what TensorRT lacks
}

// shapeFor spells the input of n items as TensorRT's profiles have it: input:32x3x112x112.
func (m *model) shapeFor(n int) string {
	shape := []string{strconv.Itoa(m.batch(n))}
	for _, d := range m.in {
		shape = append(shape, strconv.FormatInt(d, 10))
	}
	return m.input + ":" + strings.Join(shape, "x")
}

// options are those of a session on d. One thread a run: the calls are the parallelism, and a second thread that
// does not spin while it waits gained nothing (doc.go, "Memory and threads").
func (d device) options(m *model) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("extract: session options: %w", err)
	}
	if err := errors.Join(o.SetIntraOpNumThreads(1), o.SetInterOpNumThreads(1),
		o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll)); err != nil {
		return nil, errors.Join(fmt.Errorf("extract: session options: %w", err), o.Destroy())
	}
	if err := d.use(o, m); err != nil {
		return nil, errors.Join(d.explain(err), o.Destroy())
	}
	return o, nil
}

// use adds d to the options. What ONNX Runtime prints meanwhile is in the error too.
func (d device) use(o *ort.SessionOptions, m *model) error {
	if err := ort.SetEnvironmentLogLevel(ort.LoggingLevelFatal); err != nil {
		return err
	}
	err := providers[d.provider].use(o, d, m)
	return errors.Join(err, ort.SetEnvironmentLogLevel(ort.LoggingLevelError))
}

// reasons tell errors of ONNX Runtime apart by what they say: it has no codes for them. The CUDA numbers are those of
// cudaError_t: 2 memory, 35 driver too old, 38 and 100 none, 101 no such number.
var reasons = []struct {
	is   error
	text []string
}{
	{ErrDeviceMemory, []string{"out of memory", "Failed to allocate memory", "CUDA failure 2:", "CUDNN_STATUS_ALLOC_FAILED"}},
	{ErrNoDevice, []string{"no CUDA-capable device", "invalid device ordinal", "CUDA failure 100", "CUDA failure 101", "CUDA failure 38",
		"CUDA failure 35", "driver version is insufficient", "No supported adapters", "No valid device", "device not found"}},
	{ErrNoProvider, []string{"Failed to load", "not enabled in this build", "not supported in this build", "does not support", "provider is not supported",
		"Unknown provider name", "cannot open shared object file"}},
}

// explain names the device in an error, and what kind of error it is.
func (d device) explain(err error) error {
	for _, r := range reasons {
		if slices.ContainsFunc(r.text, func(text string) bool { return strings.Contains(err.Error(), text) }) {
			return fmt.Errorf("%w (%v): %w", r.is, d, err)
		}
	}
	return fmt.Errorf("extract: %v: %w", d, err)
}

// parseDevices reads Config.Devices: none is the CPU. All are of one provider.
func parseDevices(names []string) ([]device, error) {
	if len(names) == 0 {
		return []device{{provider: CPU}}, nil
	}
	var all []device
	for _, name := range names {
		d, err := parseDevice(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(all, d) {
			return nil, fmt.Errorf("extract: device %v is named twice", d)
		}
		if all = append(all, d); d.provider != all[0].provider {
			return nil, fmt.Errorf("extract: devices %v: they must be of one provider", names)
		}
	}
	if len(all) > 1 && (all[0].onCPU() || all[0].provider == Auto) {
		return nil, fmt.Errorf("extract: devices %v: there is only one of %s", names, all[0].provider)
	}
	return all, nil
}

func parseDevice(name string) (device, error) {
	kind, id, _ := strings.Cut(name, ":")
	d := device{kind, id}
	p, known := providers[kind]
	if !known && kind != Auto {
		return d, fmt.Errorf("extract: device %q: want %s, %s or one of %s", name, CPU, Auto, strings.Join(slices.Sorted(maps.Keys(providers)), ", "))
	}
	if id != "" && (kind == CPU || kind == Auto || kind == WebGPU) {
		return d, fmt.Errorf("extract: device %q: %s has no devices to choose from", name, kind)
	}
	if n, err := strconv.ParseUint(cmp.Or(id, "0"), 10, 16); p.numbered && (err != nil || strconv.FormatUint(n, 10) != cmp.Or(id, "0")) {
		return d, fmt.Errorf("extract: device %q: want a number, as %s:0", name, kind)
	}
	return d, nil
}

// find replaces Auto by all devices of the first provider that can run the model, else the CPU, and logs what it found.
func (c *Config) find(m *model) []device {
	for _, kind := range byHope {
		if found := c.devicesOf(kind, m); len(found) > 0 {
			c.Logger.Info("models run on", "devices", found)
			return found
		}
	}
	c.Logger.Info("models run on the CPU: no other provider works")
	return []device{{provider: CPU}}
}

// maxDevices is how many devices of a provider are used at most.
const maxDevices = 64

// devicesOf lists the devices of a provider on which the model loads and runs.
func (c *Config) devicesOf(kind string, m *model) (found []device) {
	for i := range maxDevices { // a provider that ignores the number would find devices without end
		d := device{provider: kind}
		if providers[kind].numbered {
			d.id = strconv.Itoa(i)
		}
		s, err := c.open(m, d)
		if err == nil {
			err = errors.Join(once(m, s, m.batch(1)), s.close())
		}
		if err != nil {
			c.Logger.Debug("device can't be used", "device", d.String(), "error", err)
			return found
		}
		if found = append(found, d); d.id == "" {
			return found
		}
	}
	return found
}
