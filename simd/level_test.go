package simd

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// What the processor reports must be run, not skipped: on Linux its own list of flags is asked, which neither cpuid nor
// this package wrote.
func TestLevelsAreThoseOfTheProcessor(t *testing.T) {
	t.Logf("%s/%s: %v", runtime.GOOS, runtime.GOARCH, Levels())
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || pure {
		t.Skipf("no list of flags, or a build without assembly (%v): %v", pure, err)
	}
	flags := strings.Fields(string(info))
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(flags, name) })
	}
	want := []string{"generic"}
	switch {
	case runtime.GOARCH == "arm64":
		want = []string{"neon", "generic"}
	case runtime.GOARCH == "amd64" && has("avx2", "fma", "avx512f"):
		want = []string{"avx512", "avx2", "generic"}
	case runtime.GOARCH == "amd64" && has("avx2", "fma"):
		want = []string{"avx2", "generic"}
	}
	if got := Levels(); !slices.Equal(got, want) {
		t.Errorf("levels %v, the processor has %v", got, want)
	}
	if runtime.GOARCH == "amd64" && has("avx512f") {
		k := kernelsOf(best())
		if (k.int8 == avx512) != has("avx512_vnni") || (k.sketch == avx512) != has("avx512_vpopcntdq", "popcnt") ||
			(k.nibbles == avx512) != has("avx512bw", "bmi1") {
			t.Errorf("kernels %+v", k)
		}
	}
}

func TestUse(t *testing.T) {
	for _, name := range Levels() {
		useLevel(t, name)
		if Level() != name {
			t.Errorf("%s in use instead of %s", Level(), name)
		}
	}
	for _, name := range []string{"mmx", "AVX2", "avx512 "} {
		if err := Use(name); err == nil || !strings.Contains(err.Error(), "generic") || Level() != "generic" {
			t.Errorf("%q: %v, in use %s", name, err, Level())
		}
	}
	if err := Use(""); err != nil || Level() != Levels()[0] {
		t.Errorf("%v, in use %s", err, Level())
	}
}
