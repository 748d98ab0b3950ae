package pack

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Adapters of detectors: how the outputs of a graph become boxes. Package extract implements them.
const (
	UltraFace  = "ultraface"  // scores [N,n,2], boxes [N,n,4] decoded by the graph
	SCRFD      = "scrfd"      // InsightFace: scores, boxes and, if it has them, points at strides 8, 16 and 32, two anchors
	RetinaFace = "retinaface" // loc, conf, landms over priors, as Pytorch_Retinaface exports it
	YuNet      = "yunet"      // OpenCV zoo, 2023mar: cls, obj, bbox, kps at strides 8, 16 and 32
)

// Adapters of the other roles. Each has one: the processing of the default pack's model.
const (
	Points68    = "points68"     // landmarks: [N,136], x and y of 68 points (iBUG order) as shares of the crop
	LivenessFAS = "minifas128"   // liveness: BGR 0..255 128×128 at 1.0 and 2.7 box heights, [N,3] logits of which [0] is real
	PoseBins    = "bins66"       // pose: RGB 224×224 with ImageNet's mean and deviation, three times [N,66] logits
	EyesOpen    = "openclosed24" // eyes: grey v/255 24×24, [N,2] logits: closed, open
)

// Colour orders, layouts and places.
const (
	RGB    = "rgb"
	BGR    = "bgr"
	Grey   = "grey" // BT.601 luma, one channel
	NCHW   = "nchw"
	NHWC   = "nhwc"
	Centre = "centre" // the photo in the middle of the detector's input
	Corner = "corner" // in its upper left corner
)

// Named alignment templates.
const (
	// ArcFace112 puts eyes, nose and corners of the mouth where InsightFace's models expect them on 112×112.
	ArcFace112 = "arcface112"
	// Dlib150 is dlib's face chip: its mean shape with a padding of 0.25 on 150×150.
	Dlib150 = "dlib150"
)

const (
	maxSide   = 4096 // of a model's input
	maxPixels = 1 << 22
)

// Input says what one item of a model's input is made of: each channel is (v − mean) / std of a pixel value v in
// 0..255. Whether the graph takes float32 or float16, and a batch fixed at one or any, is read from the graph.
type Input struct {
	Width  int       `json:"width"`
	Height int       `json:"height"`
	Colour string    `json:"colour"`           // rgb, bgr or grey
	Mean   []float32 `json:"mean"`             // one for all channels, or one each in the order of colour
	Std    []float32 `json:"std"`              // the same; not 0
	Layout string    `json:"layout,omitempty"` // nchw (the default) or nhwc
}

// Channels is 1 for grey, else 3.
func (in Input) Channels() int {
	if in.Colour == Grey {
		return 1
	}
	return 3
}

// Detection is the pipeline's first step: photo → boxes, and five points where the adapter gives them.
type Detection struct {
	Adapter string  `json:"adapter"`
	Input   Input   `json:"input"`
	Pad     uint8   `json:"pad"`              // value of the pixels around the photo
	Place   string  `json:"place,omitempty"`  // centre (the default) or corner
	Margin  float64 `json:"margin,omitempty"` // share of the input that the photo may fill, 0.25 to 1; 0 is 1
	Score   float64 `json:"score"`            // boxes of this score or less are dropped, [0, 1)
	IoU     float64 `json:"iou"`              // so much overlap with a better box, and a box is dropped, (0, 1]
	Inside  float64 `json:"inside,omitempty"` // so much of the smaller box inside a better one, and a box is dropped; 0: never
}

// Landmarking is the step from a box to 68 points.
type Landmarking struct {
	Adapter string  `json:"adapter"`
	Input   Input   `json:"input"`           // a square
	Side    float64 `json:"side"`            // of the crop, in heights of the box, (0, 4]
	Down    float64 `json:"down"`            // how far the crop's centre is below the box's, in sides of the crop, [-1, 1]
	Shift   float64 `json:"shift,omitempty"` // added to the points of the first pass, in source pixels, [-1, 1]
	Again   float64 `json:"again,omitempty"` // beyond this roll, in degrees, points are found again on an upright crop; 0: never
}

// Alignment says where the points of a face go in the embedder's input: a named template, or five points of its own on
// the embedder's input.
type Alignment struct {
	Template string       `json:"template,omitempty"`
	Points   [][2]float64 `json:"points,omitempty"` // left eye, right eye (as seen), nose, left and right corner of the mouth
}

// Embedding is the step from an aligned crop to a template, which is always L2-normalised.
type Embedding struct {
	Input  Input  `json:"input"`
	Output string `json:"output,omitempty"` // its name in the graph; the first, if empty
	Flip   bool   `json:"flip,omitempty"`   // the crop's and the mirrored crop's outputs are added: twice the cost
}

// Pipeline says how the models of a pack are used.
type Pipeline struct {
	Detector  Detection       `json:"detector"`
	Landmarks *Landmarking    `json:"landmarks,omitempty"` // nil: alignment takes the detector's five points
	Align     Alignment       `json:"align"`
	Embedder  Embedding       `json:"embedder"`
	Others    map[Role]string `json:"others,omitempty"` // adapter of liveness, pose and eyes, of those that the pack has
}

// version1 is what "preprocessing": 1 means in manifests of format 1. It never changes: stored templates depend on it.
func version1() *Pipeline {
	return &Pipeline{
		Detector: Detection{
			Adapter: UltraFace, Input: Input{Width: 320, Height: 240, Colour: RGB, Mean: []float32{127}, Std: []float32{128}},
			Pad: 127, Margin: .9, Score: .8, IoU: .4, Inside: .55,
		},
		Landmarks: &Landmarking{
			Adapter: Points68, Input: Input{Width: 64, Height: 64, Colour: Grey, Mean: []float32{0}, Std: []float32{256}},
			Side: .9, Down: .1, Shift: .5, Again: 15,
		},
		Align:    Alignment{Template: ArcFace112},
		Embedder: Embedding{Input: Input{Width: 112, Height: 112, Colour: BGR, Mean: []float32{127.5}, Std: []float32{127.5}}},
		Others:   map[Role]string{Liveness: LivenessFAS, Pose: PoseBins, Eyes: EyesOpen},
	}
}

// roles lists the roles that the pipeline needs a file for.
func (p *Pipeline) roles() []Role {
	roles := []Role{Detector, Embedder}
	if p.Landmarks != nil {
		roles = append(roles, Landmarks)
	}
	for role := range p.Others {
		roles = append(roles, role)
	}
	return roles
}

// fingerprint is a sha256 in hex of all that decides which templates may meet: the embedder's weights, its input, the
// alignment, and who finds the points. Thresholds of detection don't: they decide which faces are seen, not how.
func (p *Pipeline) fingerprint(files map[Role]File) string {
	points := []string{p.Detector.Adapter, files[Detector].weights()}
	if p.Landmarks != nil {
		points = []string{Points68, files[Landmarks].weights()}
	}
	b, err := json.Marshal([]any{files[Embedder].weights(), p.Embedder, p.Align, points, p.Landmarks})
	if err != nil {
		panic("BUG: pack: a pipeline of finite numbers must encode: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (p *Pipeline) validate() error {
	for _, err := range []error{p.Detector.validate(), p.Landmarks.validate(), p.Align.validate(p), p.Embedder.validate()} {
		if err != nil {
			return err
		}
	}
	return validateOthers(p.Others)
}

func validateOthers(others map[Role]string) error {
	for _, role := range Roles() {
		adapter, has := others[role]
		if want := adapters[role]; has && adapter != want {
			return fmt.Errorf("pipeline.others.%s: adapter is %q, want %q", role, adapter, want)
		}
	}
	for role := range others {
		if adapters[role] == "" {
			return fmt.Errorf("pipeline.others: role %q is none of liveness, pose and eyes", role)
		}
	}
	return nil
}

// adapters of the roles of Pipeline.Others.
var adapters = map[Role]string{Liveness: LivenessFAS, Pose: PoseBins, Eyes: EyesOpen}

func (d Detection) validate() error {
	const at = "pipeline.detector"
	if err := oneOf(at+".adapter", d.Adapter, UltraFace, SCRFD, RetinaFace, YuNet); err != nil {
		return err
	}
	if err := oneOf(at+".place", cmp.Or(d.Place, Centre), Centre, Corner); err != nil {
		return err
	}
	if d.Input.Colour == Grey {
		return fmt.Errorf("%s.input.colour: detectors take rgb or bgr", at)
	}
	if s := strideOf(d.Adapter); d.Input.Width%s != 0 || d.Input.Height%s != 0 {
		return fmt.Errorf("%s.input: %d×%d is not a multiple of %d", at, d.Input.Width, d.Input.Height, s)
	}
	for _, r := range []limit{
		{"margin", cmp.Or(d.Margin, 1), .25, 1}, {"score", d.Score, 0, 1}, {"iou", d.IoU, 0, 1}, {"inside", d.Inside, 0, 1},
	} {
		if err := r.check(at); err != nil {
			return err
		}
	}
	if d.IoU == 0 || d.Score == 1 {
		return fmt.Errorf("%s: iou %v or score %v would drop every box", at, d.IoU, d.Score)
	}
	return d.Input.validate(at)
}

// strideOf is what the sides of a detector's input must be multiples of: the largest stride where a grid is counted by
// division without rest.
func strideOf(adapter string) int {
	if adapter == SCRFD || adapter == YuNet {
		return 32
	}
	return 1
}

func (l *Landmarking) validate() error {
	const at = "pipeline.landmarks"
	if l == nil {
		return nil
	}
	if err := oneOf(at+".adapter", l.Adapter, Points68); err != nil {
		return err
	}
	if l.Input.Width != l.Input.Height {
		return fmt.Errorf("%s.input: %d×%d is not a square", at, l.Input.Width, l.Input.Height)
	}
	for _, r := range []limit{{"side", l.Side, .1, 4}, {"down", l.Down, -1, 1}, {"shift", l.Shift, -1, 1}, {"again", l.Again, 0, 180}} {
		if err := r.check(at); err != nil {
			return err
		}
	}
	return l.Input.validate(at)
}

func (a Alignment) validate(p *Pipeline) error {
	const at = "pipeline.align"
	size := map[string]int{ArcFace112: 112, Dlib150: 150}[a.Template]
	in := p.Embedder.Input
	switch {
	case a.Template != "" && len(a.Points) > 0:
		return fmt.Errorf("%s: template and points exclude each other", at)
	case a.Template != "" && size == 0:
		return oneOf(at+".template", a.Template, ArcFace112, Dlib150)
	case a.Template != "" && (in.Width != size || in.Height != size):
		return fmt.Errorf("%s: template %s is for an input of %d×%d, the embedder's is %d×%d", at, a.Template, size, size, in.Width, in.Height)
	case a.Template == "" && len(a.Points) != 5:
		return fmt.Errorf("%s: %d points, want a template or five points", at, len(a.Points))
	case p.Landmarks == nil && p.Detector.Adapter == UltraFace:
		return fmt.Errorf("%s: there are no points to align by: detector %s finds none, and there is no landmarks step", at, UltraFace)
	}
	for _, q := range a.Points {
		if !(q[0] >= 0 && q[0] < float64(in.Width) && q[1] >= 0 && q[1] < float64(in.Height)) {
			return fmt.Errorf("%s: point %v is not in %d×%d", at, q, in.Width, in.Height)
		}
	}
	return distinct(at, a.Points)
}

func distinct(at string, points [][2]float64) error {
	for i, q := range points {
		if slices.Contains(points[:i], q) {
			return fmt.Errorf("%s: point %v is there twice", at, q)
		}
	}
	return nil
}

func (e Embedding) validate() error {
	const at = "pipeline.embedder"
	if len(e.Output) > 200 {
		return fmt.Errorf("%s.output: a name of %d bytes", at, len(e.Output))
	}
	return e.Input.validate(at)
}

func (in Input) validate(at string) error {
	at += ".input"
	if in.Width < 8 || in.Height < 8 || in.Width > maxSide || in.Height > maxSide || in.Width*in.Height > maxPixels {
		return fmt.Errorf("%s: %d×%d is not in 8..%d and of at most %d pixels", at, in.Width, in.Height, maxSide, maxPixels)
	}
	if err := oneOf(at+".colour", in.Colour, RGB, BGR, Grey); err != nil {
		return err
	}
	if err := oneOf(at+".layout", cmp.Or(in.Layout, NCHW), NCHW, NHWC); err != nil {
		return err
	}
	if err := in.perChannel(at+".mean", in.Mean, 0); err != nil {
		return err
	}
	return in.perChannel(at+".std", in.Std, 1e-3)
}

// perChannel wants one number or one a channel, of at least least and of a size that pixels can have.
func (in Input) perChannel(at string, v []float32, least float32) error {
	if len(v) != 1 && len(v) != in.Channels() {
		return fmt.Errorf("%s: %d numbers, want one or %d", at, len(v), in.Channels())
	}
	for _, x := range v {
		if !(x >= least && x <= 1e4) {
			return fmt.Errorf("%s: %v is not in %v..10000", at, x, least)
		}
	}
	return nil
}

// limit is a range that a number of a manifest must be in.
type limit struct {
	name          string
	value, lo, hi float64
}

func (l limit) check(at string) error {
	if !(l.value >= l.lo && l.value <= l.hi) { // NaN fails too
		return fmt.Errorf("%s.%s: %v is not in %v..%v", at, l.name, l.value, l.lo, l.hi)
	}
	return nil
}

func oneOf(at, got string, known ...string) error {
	if !slices.Contains(known, got) {
		return fmt.Errorf("%s: %q is none of %s", at, got, strings.Join(known, ", "))
	}
	return nil
}
