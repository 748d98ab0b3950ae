package http

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"mien/engine"
	"mien/extract"
)

// What is judged of a photo beside its template: which models run for it, what gates are told, what the answer shows.

// judging is what an Extractor may offer beside: the names, of engine.Measures, of what its models can judge. One that
// does not offer it judges nothing.
type judging interface{ Measures() []string }

func (x spaceExtractor) measures() []string {
	if j, ok := x.Extractor.(judging); ok {
		return j.Measures()
	}
	return nil
}

// wantOf returns what must be extracted for a measure.
func wantOf(measure string) extract.Want {
	if measure == extract.LivenessMeasure {
		return extract.WantLiveness
	}
	return extract.WantQuality
}

// everything is all that the extractor can find out.
func (x spaceExtractor) everything() extract.Want {
	want := extract.WantTemplate
	for _, m := range x.measures() {
		want |= wantOf(m)
	}
	return want
}

// wantFor returns what must be extracted to decide about a gate. missing is a measure that the extractor can't judge, or "".
func (x spaceExtractor) wantFor(gate engine.Gate) (want extract.Want, missing string) {
	can := x.measures()
	for m := range gate {
		if !slices.Contains(can, m) {
			missing = max(missing, m) // one of several, always the same
		}
		want |= wantOf(m)
	}
	return want, missing
}

// judges refuses a gate of the request that asks for what the extractor can't judge. Errors: the problem bad_gate.
func (x spaceExtractor) judges(gate engine.Gate) error {
	if _, missing := x.wantFor(gate); missing != "" {
		return fail(codeBadGate, "the models of embedding space %q can't judge %s; they can judge: %s", x.space, missing, listed(x.measures()))
	}
	return nil
}

// judgeable is what of a gate the extractor can judge.
func (x spaceExtractor) judgeable(gate engine.Gate) engine.Gate {
	can, part := x.measures(), maps.Clone(gate)
	maps.DeleteFunc(part, func(name string, _ float64) bool { return !slices.Contains(can, name) })
	return part
}

func listed(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// judged is what gates are told of a face: the measures that want asked for and that the extractor can judge.
func (x spaceExtractor) judged(f *extract.Face, want extract.Want) map[string]float64 {
	values := make(map[string]float64)
	for _, m := range x.measures() {
		switch {
		case want&wantOf(m) == 0:
		case m == extract.LivenessMeasure:
			values[m] = math.Round(float64(f.Liveness.Score)*1e4) / 100
		default:
			values[m] = float64(f.Quality[extract.MeasureOf(m)])
		}
	}
	return values
}

// livenessBody is liveness in an answer.
type livenessBody struct {
	Score   float32         `json:"score"`
	Verdict extract.Verdict `json:"verdict"`
}

// eyesBody is how likely the eyes are open, by the side of the image.
type eyesBody struct {
	Left  float32 `json:"left_open"`
	Right float32 `json:"right_open"`
}

// face is a face in an answer, with what was judged of it.
func (x spaceExtractor) face(f *extract.Face, want extract.Want) faceBody {
	b := faceBody{Box: f.Box, Score: f.Score}
	for m, v := range x.judged(f, want&extract.WantQuality) {
		if b.Quality == nil {
			b.Quality = make(map[string]float32)
		}
		b.Quality[m] = float32(v)
	}
	can := x.measures()
	if want&extract.WantQuality != 0 && slices.Contains(can, extract.PoseYaw.String()) {
		b.Pose = &f.Pose
	}
	if want&extract.WantQuality != 0 && slices.Contains(can, extract.EyesOpen.String()) {
		b.Eyes = &eyesBody{f.EyesOpen[0], f.EyesOpen[1]}
	}
	if want&extract.WantLiveness != 0 && slices.Contains(can, extract.LivenessMeasure) {
		b.Liveness = &livenessBody{f.Liveness.Score, f.Liveness.Verdict}
	}
	return b
}

// gateField takes the gate of a call: an object in JSON, "measure=least,measure=least" as text.
func gateField(dst *engine.Gate) field {
	return field{
		name: "gate",
		json: takeGate(dst),
		text: func(v, at string) error {
			g := engine.Gate{}
			*dst = g
			for pair := range strings.SplitSeq(v, ",") {
				name, value, _ := strings.Cut(pair, "=")
				least, err := strconv.ParseFloat(value, 64)
				if err != nil {
					return fail(codeBadGate, "%q must be measures and their least values, as in sharpness=20,liveness=50", at)
				}
				if err := addLeast(g, name, least, at); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func takeGate(dst *engine.Gate) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '{' {
			return wrongType(raw, at, "an object")
		}
		g := engine.Gate{}
		*dst = g
		return eachMember(raw, func(member, value []byte) error {
			name := string(member)
			var least *float64
			if err := takeFloat(&least)(value, pointer(at, clip(name))); err != nil {
				return err
			}
			return addLeast(g, name, *least, at)
		})
	}
}

// addLeast adds a measure to a gate. Errors: the problem bad_gate, engine.ErrGate.
func addLeast(g engine.Gate, name string, least float64, at string) error {
	name = clip(name)
	if _, twice := g[name]; twice {
		return fail(codeBadGate, "%q names %s twice", at, name)
	}
	g[name] = least
	return g.Validate()
}

// takeGates takes the gates of a gallery: {"enrol": {…}, "probe": {…}}.
func takeGates(dst *engine.Gates) func([]byte, string) error {
	return func(raw []byte, at string) error {
		return decodeObject(raw, at, []member{{"enrol", takeGate(&dst.Enrol)}, {"probe", takeGate(&dst.Probe)}})
	}
}

// wantName is the name of something that may be wanted of a face.
type wantName struct {
	name string
	want extract.Want
}

var wants = []wantName{{"quality", extract.WantQuality}, {"liveness", extract.WantLiveness}, {"template", extract.WantTemplate}}

// wantField takes what is wanted beside boxes: an array of the first n names of wants in JSON, "quality,liveness" as text.
func (s *subject) wantField(n int) field {
	add := func(name, at string) error {
		i := slices.IndexFunc(wants[:n], func(w wantName) bool { return w.name == name })
		if i < 0 {
			return fail(codeBadRequest, "%q must be of quality, liveness%s, not %q", at, map[bool]string{true: " and template"}[n > 2], clip(name))
		}
		s.want |= wants[i].want
		return nil
	}
	return field{
		name: "want",
		json: func(raw []byte, at string) error {
			if raw[0] != '[' {
				return wrongType(raw, at, "an array")
			}
			return eachElement(raw, func(_ int, raw []byte) error {
				var name string
				if err := takeString(&name)(raw, at); err != nil {
					return err
				}
				return add(name, at)
			})
		},
		text: func(v, at string) error {
			for name := range strings.SplitSeq(v, ",") {
				if err := add(name, at); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
