package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is who may import whom of ours (style: nothing points up or sideways). What is not listed may
// import nothing of ours.
var mayImport = map[string][]string{
	"mien/index/scan":               {"mien/index", "mien/simd"},
	"mien/index/hnsw":               {"mien/index", "mien/index/scan", "mien/simd"},
	"mien/extract/jpeg":             {"mien/simd"},
	"mien/extract":                  {"mien/simd", "mien/extract/jpeg", "mien/extract/pack"},
	"mien/engine":                   {"mien/engine/backup", "mien/engine/fields", "mien/index", "mien/index/hnsw", "mien/index/scan"},
	"mien/engine/mpc":               {"mien/simd"},
	"mien/engine/mpc/mpctest":       {"mien/engine/mpc"},
	"mien/engine/transfer":          {"mien/engine", "mien/engine/backup", "mien/engine/fields"},
	"mien/extract/extracttest":      {"mien/extract"},
	"mien/http/dialect":             {"mien/engine", "mien/extract"},
	"mien/http/dialect/dialecttest": {"mien/engine", "mien/extract/extracttest", "mien/http", "mien/http/dialect"},
	"mien/http/auther":              {"mien/engine", "mien/http/dialect"},
	"mien/http/authface":            {"mien/engine", "mien/http/capture", "mien/http/dialect"},
	"mien/http/facephi":             {"mien/engine", "mien/extract", "mien/http/dialect", "mien/http/token"},
	"mien/http/youverse":            {"mien/engine", "mien/http/dialect"},
	"mien/http/capture":             {"mien/engine", "mien/extract", "mien/extract/jpeg", "mien/http/dialect"},
	"mien/http":                     {"mien/engine", "mien/engine/mpc", "mien/engine/transfer", "mien/extract", "mien/http/auther", "mien/http/authface", "mien/http/capture", "mien/http/dialect", "mien/http/facephi", "mien/http/youverse", "mien/http/verifik"},
	"mien/http/capture/capturetest": {"mien/engine", "mien/extract", "mien/extract/extracttest", "mien/http", "mien/http/dialect/dialecttest"},
	"mien/http/verifik":             {"mien/engine", "mien/extract", "mien/http/capture", "mien/http/dialect"},
	"mien/cmd/mien":                 {"mien/bench", "mien/bench/evaluate", "mien/bench/load", "mien/engine", "mien/engine/mpc", "mien/engine/transfer", "mien/extract", "mien/extract/pack", "mien/http", "mien/http/certs", "mien/index", "mien/simd"},
	"mien/cmd/setup":                {"mien/extract/pack"},
	"mien/bench":                    {"mien/index", "mien/index/hnsw", "mien/index/scan", "mien/simd"},
	"mien/bench/evaluate":           {"mien/bench/chart", "mien/index", "mien/simd"},
	"mien/bench/peers":              {"mien/bench", "mien/bench/chart", "mien/index", "mien/simd"},
	"mien/bench/report":             {"mien/bench/chart", "mien/simd"},
}

// onlyIn is where each concern belongs; tests are not asked.
var onlyIn = map[string][]string{
	"github.com/cockroachdb/pebble":   {"mien/engine", "mien/engine/backup", "mien/engine/mpc"},
	"github.com/yalue/onnxruntime_go": {"mien/extract"},
	"github.com/valyala/fasthttp":     {"mien/http", "mien/bench/load"},
	"github.com/alecthomas/kong":      {"mien/cmd/mien"},
	"google.golang.org/protobuf":      {"mien/extract/pack"},
	"github.com/viterin/vek":          {"mien/bench/peers"}, // elsewhere an oracle of tests
	"github.com/coder/hnsw":           {"mien/bench/peers"},
	"gonum.org/v1/plot":               {"mien/bench/chart", "mien/bench/evaluate", "mien/bench/peers", "mien/bench/report"},
	"golang.org/x/perf":               {"mien/bench/report"},
	"github.com/klauspost/cpuid":      {"mien/simd", "mien/bench", "mien/bench/peers", "mien/bench/report", "mien/cmd/mien"},
	"net/http":                        {"mien/cmd/demo", "mien/cmd/mien", "mien/http/dialect/dialecttest", "mien/http/verifik"}, // which sends webhooks
	"github.com/go-jose/go-jose":      {"mien/http/verifik"},
}

func TestImportPolicy(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "mien/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, bad := range forbidden(p.ImportPath, p.Imports) {
			t.Errorf("%s may not import %s", p.ImportPath, bad)
		}
	}
	if seen < 6 {
		t.Errorf("only %d packages were looked at", seen)
	}
}

func forbidden(path string, imports []string) (bad []string) {
	for _, i := range imports {
		if strings.HasPrefix(i, "mien/") && !slices.Contains(mayImport[path], i) {
			bad = append(bad, i)
		}
		for prefix, only := range onlyIn {
			if (i == prefix || strings.HasPrefix(i, prefix+"/")) && !slices.Contains(only, path) {
				bad = append(bad, i)
			}
		}
	}
	return bad
}

// The check itself must be able to fail.
func TestImportPolicyFires(t *testing.T) {
	for path, i := range map[string]string{
		"mien/index": "mien/engine", "mien/engine": "mien/extract", "mien/http": "github.com/cockroachdb/pebble/v2",
		"mien/extract": "mien/index", "mien/newcomer": "mien/engine", "mien/simd": "github.com/viterin/vek/vek32",
		"mien/cmd/setup": "github.com/klauspost/cpuid/v2", "mien/http/token": "mien/engine",
	} {
		if len(forbidden(path, []string{"fmt", i})) != 1 {
			t.Errorf("%s may import %s", path, i)
		}
	}
}
