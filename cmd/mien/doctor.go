package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"mien/engine"
	"mien/extract"
	"mien/extract/pack"
)

type doctorCmd struct {
	modelFlags
	providerFlags
	masterKeyFlags
	tlsFlags
	simdFlags
	Data string `help:"Data folder to check." env:"MIEN_DATA" default:"data" type:"path"`
}

// finding is the result of one check; Mend says what to do where it is not ok.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // ok, warn, fail
	Found string `json:"found"`
	Mend  string `json:"mend,omitempty"`
}

func ok(check, format string, args ...any) finding {
	return finding{Check: check, State: "ok", Found: fmt.Sprintf(format, args...)}
}

func (f finding) but(state, mend string) finding {
	f.State, f.Mend = state, mend
	return f
}

// Run prints every check and fails if one did.
func (c *doctorCmd) Run(ctx context.Context, out *output) error {
	findings := []finding{
		ok("program", "mien %s, %s, %s/%s, %d cores", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0)),
		processor(),
		c.kernels(),
	}
	findings = append(findings, c.models(ctx)...)
	findings = append(findings, c.data()...)
	findings = append(findings, c.certificate()...)
	failed := 0
	for _, f := range findings {
		if f.State == "fail" {
			failed++
		}
	}
	if err := out.print(map[string]any{"checks": findings, "failed": failed}, text(findings)); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(findings))
	}
	return nil
}

// text has a line for each finding, and one for what mends it.
func text(findings []finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%-4s  %-11s %s\n", f.State, f.Check, f.Found)
		if f.Mend != "" {
			fmt.Fprintf(&b, "%18sto mend: %s\n", "", f.Mend)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// processor names what the kernels can use.
func processor() finding {
	var has []string
	for _, f := range []cpuid.FeatureID{cpuid.SSE4, cpuid.AVX2, cpuid.FMA3, cpuid.AVXVNNI, cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL,
		cpuid.AVX512DQ, cpuid.AVX512VNNI, cpuid.AVX512VPOPCNTDQ, cpuid.ASIMD, cpuid.ASIMDDP} {
		if cpuid.CPU.Supports(f) {
			has = append(has, f.String())
		}
	}
	f := ok("processor", "%s: %s", strings.TrimSpace(cpuid.CPU.BrandName), strings.Join(has, " "))
	if runtime.GOARCH == "amd64" && !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		return f.but("warn", "searches are slow without AVX2 and FMA: use a processor, or a virtual machine type, that has them")
	}
	return f
}

const setupAdvice = "run make setup in the source folder, or name the place with --library and --models"

// models checks the library and every pack.
func (c *doctorCmd) models(ctx context.Context) []finding {
	library, models := c.paths()
	if _, err := os.Stat(library); err != nil {
		return []finding{ok("library", "%s: %v", library, reason(err)).but("fail", setupAdvice)}
	}
	found := []finding{ok("library", "%s", library)}
	of := make(map[string]string) // the folder of each space
	for _, dir := range models {
		m, err := pack.Load(dir)
		if err != nil {
			found = append(found, ok("models", "%v", err).but("fail", setupAdvice))
			continue
		}
		if of[m.Space] != "" {
			found = append(found, ok("models", "%v", sameSpace(of[m.Space], dir, m.Space)).but("fail", "serve will not start with both"))
			continue
		}
		of[m.Space] = dir
		found = append(found, ok("models", "pack %q in %s, space %s, every file as pinned", m.Name, dir, m.Space))
		found = append(found, c.inference(ctx, library, dir)...)
	}
	return found
}

// inference loads the models of a pack, runs each once and says how a server would run them.
func (c *doctorCmd) inference(ctx context.Context, library, dir string) []finding {
	config := extract.Config{Library: library, Pack: dir}
	if err := c.apply(&config); err != nil {
		return []finding{ok("inference", "%v", err).but("fail", "correct it")}
	}
	x, err := extract.New(config)
	if err != nil {
		return []finding{ok("inference", "%v", err).but("fail", adviceFor(err))}
	}
	defer x.Close()
	if err := x.SelfTest(ctx); err != nil {
		return []finding{ok("inference", "%v", err).but("fail", setupAdvice)}
	}
	return append([]finding{ok("inference", "every model runs")}, planFindings(x.Plan())...)
}

func adviceFor(err error) string {
	switch {
	case errors.Is(err, extract.ErrNoProvider):
		return "put an ONNX Runtime library that has the provider, and what it needs, at --library, or choose --provider cpu"
	case errors.Is(err, extract.ErrNoDevice):
		return "check the device and its driver, or choose --provider auto or cpu"
	case errors.Is(err, extract.ErrDeviceMemory):
		return "free memory on the device, or choose another"
	}
	return setupAdvice
}

// data checks the folder and the keys' permissions, and opens the store as a server would.
func (c *doctorCmd) data() []finding {
	d := dataDir{c.Data, c.masterKeyFlags}
	if !d.hasStore() {
		return []finding{ok("data", "%s holds no store", d.path).but("warn", "the first mien serve --data makes it")}
	}
	found := []finding{writable(d.path)}
	for _, file := range []string{d.masterKeyFile(), d.adminKey()} {
		found = append(found, secret(file, "fail")...)
	}
	return append(found, d.check())
}

// secret has a finding if others can read the file.
func secret(file, state string) []finding {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return []finding{ok("secrets", "%s can be read by others (%v)", file, info.Mode().Perm()).but(state, "chmod 600 "+file)}
}

func writable(path string) finding {
	f, err := os.CreateTemp(path, ".doctor-*")
	if err != nil {
		return ok("data", "%s can't be written: %v", path, reason(err)).but("fail", "give this user write access to it")
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return ok("data", "%s: %v", path, err).but("fail", "check the disk")
	}
	return ok("data", "%s can be written", filepath.Clean(path))
}

// check opens the store, unless a server has it.
func (d dataDir) check() finding {
	if _, err := d.masterKey(); err != nil {
		return ok("store", "%v", err).but("fail", "put the key back, or name it with --master-key")
	}
	e, err := d.open(engine.Config{})
	switch {
	case errors.Is(err, engine.ErrInUse):
		return ok("store", "a running process has it open; ask its /readyz")
	case errors.Is(err, engine.ErrMasterKey):
		return ok("store", "%v", err).but("fail", "name the right key with --master-key")
	case errors.Is(err, engine.ErrFormat):
		return ok("store", "%v", err).but("fail", "use that version of mien")
	case errors.Is(err, engine.ErrCorrupt):
		return ok("store", "%v", err).but("fail", "restore the data folder from a backup")
	case err != nil:
		return ok("store", "%v", err).but("fail", "mend what it says: room on the disk, permissions")
	}
	defer e.Close()
	if err := e.Ready(); err != nil {
		return ok("store", "%v", err).but("fail", "make room on the disk")
	}
	return ok("store", "opens with this master key")
}
