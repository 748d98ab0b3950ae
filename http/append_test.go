package http

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mien/engine"
)

// TestAnswersAppended holds answers that write their own JSON against encoding/json.
func TestAnswersAppended(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	number := func() float64 {
		edge := []float64{0, math.Copysign(0, -1), 1, -1, 1e-6, math.Nextafter(1e-6, 0), 1e-7, 1e-10, 1.5e-300, 1e20, 1e21, 1e22, math.MaxFloat64, math.SmallestNonzeroFloat64}
		if i := random.IntN(3 * len(edge)); i < len(edge) {
			return edge[i]
		}
		return (2*random.Float64() - 1) * math.Pow(10, float64(random.IntN(60)-30))
	}
	for range 5000 {
		d := engine.Decision{Match: random.IntN(2) > 0, Similarity: number(), Cosine: number(), FMR: number(), Extrapolated: random.IntN(2) > 0, Threshold: number()}
		want, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := (decisionBody{Decision: d}).appendJSON(nil); !ok || string(got) != string(want) {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	for _, b := range []decisionBody{{Decision: engine.Decision{FMR: math.Inf(1)}}, {Decision: engine.Decision{Cosine: math.NaN()}}, {Face: &faceBody{}}} {
		if _, ok := b.appendJSON(nil); ok {
			t.Errorf("%+v", b)
		}
	}
}

// TestFloatsOfBase64 holds the fast way from base64 to numbers against the other, of every length, and of everything that can be
// wrong at each place.
func TestFloatsOfBase64(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 4*40)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	check := func(text string) {
		t.Helper()
		var fast, slow []float32
		raw := []byte(`"` + text + `"`)
		errFast, errSlow := takeFloats(&fast)(raw, "/x"), takeOddFloats(&slow)(raw, "/x")
		same := slices.EqualFunc(fast, slow, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
		if (errFast == nil) != (errSlow == nil) || errFast != nil && errFast.Error() != errSlow.Error() || errFast == nil && !same {
			t.Fatalf("%q: %v %v, want %v %v", text, fast, errFast, slow, errSlow)
		}
	}
	for n := range len(data) + 1 {
		check(base64.StdEncoding.EncodeToString(data[:n]))
		check(base64.RawStdEncoding.EncodeToString(data[:n]))
		check("data:x/y;base64," + base64.StdEncoding.EncodeToString(data[:n]))
	}
	for _, whole := range []string{base64.StdEncoding.EncodeToString(data), base64.StdEncoding.EncodeToString(data[:8])} {
		for i := range whole {
			for _, bad := range []string{"=", "-", "_", `\/`, `\n`, "\n", "\r", "\r\n", " ", "é", "\x00", "\x7f", ""} {
				check(whole[:i] + bad + whole[i+1:])
				check(whole[:i] + bad + whole[i:])
			}
		}
	}
	for _, c := range strings.Split("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", "") {
		check(strings.Repeat(c, 32))
	}
}
