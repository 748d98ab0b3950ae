package simd

import (
	"fmt"
	"slices"
	"strings"
)

// level is a set of kernels.
type level uint8

const (
	generic level = iota
	neon
	avx2
	avx512
)

var levelNames = [...]string{generic: "generic", neon: "neon", avx2: "avx2", avx512: "avx512"}

// active is the level in use and what it comes to for each family of kernels: a family whose features the processor
// lacks runs at the next lower level.
var active = kernelsOf(best())

type kernels struct {
	level, f32, int8, int16, sketch, nibbles, hadamard, prepare, pixels level
}

// Levels names the levels that this machine can run, widest first; the last is always "generic".
func Levels() []string {
	var names []string
	for _, l := range supported() {
		names = append(names, levelNames[l])
	}
	return names
}

// Level names the level in use.
func Level() string { return levelNames[active.level] }

// Use makes the kernels of the named level run: one of Levels, or "" for the widest, which is also what runs when Use is
// never called. It fails, and changes nothing, if the machine can't run it. It is not safe to call while a kernel runs.
func Use(name string) error {
	if name == "" {
		active = kernelsOf(best())
		return nil
	}
	i := slices.Index(levelNames[:], name)
	if i < 0 || !slices.Contains(supported(), level(i)) {
		return fmt.Errorf("simd: no level %q on this machine, which has %s", name, strings.Join(Levels(), ", "))
	}
	active = kernelsOf(level(i))
	return nil
}

func best() level { return supported()[0] }
