package extract

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"mien/extract/pack"
)

// errDegenerate: a detection whose points or template can't be a face's.
var errDegenerate = fmt.Errorf("%w: what was found has not the shape of a face", ErrNoFace)

// Config of an Extractor. Library and Pack are required.
type Config struct {
	Library string // path of ONNX Runtime's shared library
	Pack    string // folder of the model pack

	// Workers is how many threads compute at once; 0 is GOMAXPROCS. Each has about 5 MB of tensors.
	Workers int
	// Cores are shared with other extractors, so that all together never compute on more than there are; nil: Workers of
	// its own. Workers must be as many.
	Cores *Cores
	// Photos is how many photos are worked on at once; each holds its pixels (see MaxPixels). 0 is Workers, and with devices
	// that compute beside the CPU 32 more for each.
	Photos int
	// Queue is how many photos may wait for a worker; one more is ErrBusy. 0 is 64 for each worker. Photos of which all faces
	// are wanted, or that show no face at once, may have all places of Photos but one, and wait for those in a queue of their own,
	// half as long.
	Queue int
	// MaxPixels is the largest photo by its header; 0 is 25,000,000. PNG, BMP and WebP are decoded whole, with up to
	// 20 bytes a pixel (interlaced 16-bit PNG), so some 500 MB a worker at the most, and a second or two. JPEG may have
	// twice as many pixels, for it is decoded by parts: its bytes twice, a few MB of overview and faces, and 2 to 3 bytes a
	// pixel more if it is progressive (6 with full colour, 8 with CMYK: 400 MB at the most). To look for the small faces of a group
	// photo takes some 10 MB more; of a strip hundreds of times as long as wide, up to 3 bytes a pixel.
	MaxPixels int
	// MinFaceHeight is the least height of a face's box in source pixels where one face is asked for; 0 is 40.
	MinFaceHeight float32

	// Devices are what models run on: cpu, auto, or devices of one provider as cuda:0, cuda:1 (see CPU and following). None is
	// cpu. auto is every device of the first provider that the library has and that works, else the CPU, also where a later model
	// doesn't load there or its first run fails; what was found is logged. Any other that can't be used is an error of New: ErrNoProvider, ErrNoDevice, ErrDeviceMemory.
	Devices []string
	// Batching says by role how items share runs; "" stands for every role that is not named. What is not set is
	// measured by New, in about a tenth of a second for each model. A device of its own has Shared runs only.
	Batching map[pack.Role]Batching
	// BatchDelay is how long an item of a Shared batch waits for company; 0 is 3 ms, a nanosecond not at all.
	BatchDelay time.Duration
	// StageQueue is how many calls may be in a model's Shared batches; one more is ErrBusy. 0 is 1024.
	StageQueue int
	// Logger is told which devices were found; nil: nobody.
	Logger *slog.Logger

	opens func(m *model, d device) (opened, error) // in place of ONNX Runtime, in tests
}

// jpegPixels is how many times Config.MaxPixels a JPEG may have.
const jpegPixels = 2

func (c Config) withDefaults() Config {
	c.Workers = cmp.Or(c.Workers, runtime.GOMAXPROCS(0))
	c.Queue = cmp.Or(c.Queue, 64*c.Workers)
	c.MaxPixels = cmp.Or(c.MaxPixels, 25_000_000)
	c.MinFaceHeight = cmp.Or(c.MinFaceHeight, 40)
	c.BatchDelay = cmp.Or(c.BatchDelay, 3*time.Millisecond)
	c.StageQueue = cmp.Or(c.StageQueue, 1024)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

func (c Config) validate() error {
	if c.Workers < 1 || c.Photos < 0 || c.Queue < 1 || c.MaxPixels < 1 || !(c.MinFaceHeight > 0) || c.BatchDelay < 0 || c.StageQueue < 1 {
		return fmt.Errorf("extract: workers, queues, pixels and face height must be positive: %+v", c)
	}
	for role, b := range c.Batching {
		if role != "" && !slices.Contains(pack.Roles(), role) {
			return fmt.Errorf("extract: batching for %q: no such model", role)
		}
		if err := b.validate(); err != nil {
			return err
		}
	}
	if c.Cores != nil && cap(c.Cores.free) != c.Workers {
		return fmt.Errorf("extract: %d shared cores and %d workers: they must be as many", cap(c.Cores.free), c.Workers)
	}
	_, err := parseDevices(c.Devices)
	return err
}

// Extractor turns photos into faces. Safe for concurrent use.
type Extractor struct {
	config   Config
	manifest *pack.Manifest
	host     host
	stages   stages
	photos   *door // of all photos
	groups   *door // before it, of those whose small faces are looked for: they are seconds of work where others are milliseconds
	stop     chan struct{}
	stopOnce sync.Once
	closeErr error
}

// New checks the pack's files against their sums, loads the library and the models and measures how they run best.
func New(c Config) (*Extractor, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	manifest, err := pack.Load(c.Pack)
	if err != nil {
		return nil, err
	}
	if err := acquireEnvironment(c.Library); err != nil {
		return nil, err
	}
	x := &Extractor{config: c, manifest: manifest, stop: make(chan struct{})}
	if err := x.start(); err != nil {
		return nil, errors.Join(err, x.release())
	}
	return x, nil
}

// Manifest describes the pack that is loaded. The caller must not change it.
func (x *Extractor) Manifest() *pack.Manifest { return x.manifest }

// graph is what the pipeline expects of one model.
type graph struct {
	role string
	in   []int64                             // one item, without the batch dimension
	bind func(outs []port) ([]output, error) // picks what is read of the outputs that a model declares

	items int // that a call has; 0 is 1, for faces go their way one by one
}

// named expects outputs of these names.
func named(outs ...output) func([]port) ([]output, error) {
	return func(have []port) ([]output, error) { return byName(have, outs) }
}

// graphs lists what is expected of the models, in the order of stages.all. A pack may lack all but detector and embedder.
func (s *steps) graphs() []graph {
	landmarks := graph{role: pack.Landmarks}
	if s.landmarks != nil {
		landmarks.in = s.landmarks.shape()
		landmarks.bind = func(outs []port) ([]output, error) { return byShape(outs, []int64{136}) }
	}
	return []graph{
		{role: pack.Detector, in: s.detector.shape(), bind: s.detector.bind},
		landmarks,
		{role: pack.Embedder, in: s.embedder.shape(), bind: s.embedder.bind, items: s.embedder.items()},
		{role: pack.Pose, in: posePixels.shape(),
			bind: named(output{"output", []int64{poseBins}}, output{"617", []int64{poseBins}}, output{"618", []int64{poseBins}})},
		{role: pack.Eyes, in: eyePixels.shape(), bind: named(output{"output", []int64{2}}), items: 2},
		{role: pack.Liveness, in: livenessPixels.shape(),
			bind: named(output{"output", []int64{livenessClasses}}), items: len(livenessScales)},
	}
}

// stages are the models of a pack at work.
type stages struct {
	steps *steps
	norm  float64 // typical of templates before they are normalised; 0: not known

	detector, landmarker, embedder, pose, eyes, live *stage // nil without the model

	cores *Cores
}

// all lists the stages in the order of steps.graphs.
func (s *stages) all() []**stage {
	return []**stage{&s.detector, &s.landmarker, &s.embedder, &s.pose, &s.eyes, &s.live}
}

func (s *stages) close() error {
	var errs []error
	for _, one := range s.all() {
		if *one != nil {
			errs = append(errs, (*one).close())
		}
	}
	return errors.Join(errs...)
}

// start loads the models. What Auto found and then fails gives way to the CPU.
func (x *Extractor) start() error {
	err := x.load()
	auto := len(x.config.Devices) == 1 && x.config.Devices[0] == Auto
	if err == nil || !auto || len(x.host.devices) == 0 || x.host.devices[0].provider == CPU {
		return err
	}
	x.config.Logger.Warn("models run on the CPU: they failed on what was found", "devices", x.host.devices, "error", err)
	if err := x.stages.close(); err != nil {
		return err
	}
	x.stages, x.config.Devices = stages{}, []string{CPU}
	return x.load()
}

func (x *Extractor) load() error {
	x.stages.steps, x.stages.norm = newSteps(x.manifest.Steps(), x.manifest.Dim), typicalNorm[x.manifest.Space]
	graphs := x.stages.steps.graphs()
	x.host = host{config: x.config, cores: cmp.Or(x.config.Cores, NewCores(x.config.Workers))}
	for i, one := range x.stages.all() {
		g := graphs[i]
		if !x.manifest.Has(g.role) {
			continue
		}
		data, err := x.manifest.Read(x.config.Pack, g.role)
		if err != nil {
			return err
		}
		m, err := newModel(g, data)
		if err != nil {
			return err
		}
		if *one, err = x.host.stage(m); err != nil {
			return err
		}
	}
	x.stages.cores = x.host.cores
	x.admit()
	return nil
}

// admit opens the door for as many photos as keep the stages busy.
func (x *Extractor) admit() {
	beside := 0 // devices that compute beside the CPU
	if !x.host.devices[0].onCPU() {
		beside = len(x.host.devices)
		x.host.cores.crew.Store(deviceBatch)
	}
	x.config.Photos = cmp.Or(x.config.Photos, x.config.Workers+beside*deviceBatch)
	x.photos = newDoor(x.config.Photos, x.config.Queue, x.stop)
	x.groups = newDoor(max(x.config.Photos-1, 1), x.config.Queue/2, x.stop)
}

// Plan says how each model is run, in the order in which a face meets them. The caller must not change it.
func (x *Extractor) Plan() []StagePlan { return x.host.plans }

// Close waits for the photos at work, then frees models and library. Calls that wait get ErrClosed,
// and so does every later one. Close is idempotent.
func (x *Extractor) Close() error {
	x.stopOnce.Do(func() {
		close(x.stop)
		x.photos.shut()
		x.closeErr = x.release()
	})
	return x.closeErr
}

// release frees what start made, however far it came.
func (x *Extractor) release() error {
	return errors.Join(x.stages.close(), releaseEnvironment())
}

// Extract finds the faces of the photo in data, which is not retained.
//
// Where one face is wanted and none shows on the whole photo, it is looked at closely, as for SelectAll, and may wait as those do.
// It waits for a worker as long as ctx allows and checks ctx before every model run and while it decodes, not within a model
// run (milliseconds). Errors: ErrNotImage, ErrTruncated, ErrTooManyPixels, ErrNoFace, ErrSeveralFaces and ErrFaceTooSmall by o.Select, ErrBusy, ErrClosed,
// and ctx's.
func (x *Extractor) Extract(ctx context.Context, data []byte, o Options) ([]Face, error) {
	if o.Select == SelectAll {
		return x.closely(ctx, data, o)
	}
	faces, err := x.atOnce(ctx, data, o)
	if errors.Is(err, errNotAtOnce) {
		return x.closely(ctx, data, o)
	}
	return faces, err
}

// errNotAtOnce: no face shows on the whole photo, and a closer look may find one.
var errNotAtOnce = errors.New("extract: no face at once")

// atOnce finds the one face of a photo that is wanted by a look at the whole. Errors: errNotAtOnce, Extract's.
func (x *Extractor) atOnce(ctx context.Context, data []byte, o Options) ([]Face, error) {
	return x.within(ctx, data, func(p *picture) ([]Face, error) {
		found, err := x.stages.detect(ctx, p)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 && x.stages.steps.detector.mayLookCloser(p.W, p.H) {
			return nil, errNotAtOnce
		}
		return x.one(ctx, p, found, o)
	})
}

// closely finds small faces too. It enters by the door of groups, before that of all photos, as everybody must who needs both:
// who came in at once leaves first, with the pixels, and reads the photo again.
func (x *Extractor) closely(ctx context.Context, data []byte, o Options) ([]Face, error) {
	if err := x.groups.enter(ctx); err != nil {
		return nil, err
	}
	noCrowd := sync.OnceFunc(x.groups.leave)
	defer noCrowd()
	return x.within(ctx, data, func(p *picture) ([]Face, error) {
		found, err := x.stages.detectGroup(ctx, p, o.Want.maxFaces())
		if err != nil {
			return nil, err
		}
		if len(found) <= smallParty {
			noCrowd() // the next may be one
		}
		if o.Select == SelectAll {
			return x.stages.faces(ctx, p, found, o.Want)
		}
		return x.one(ctx, p, found, o)
	})
}

// within opens a photo at a place among those at work, with a core.
func (x *Extractor) within(ctx context.Context, data []byte, do func(p *picture) ([]Face, error)) ([]Face, error) {
	if err := x.acquire(ctx); err != nil {
		return nil, err
	}
	defer x.giveBack()
	p, err := open(ctx, data, limits{x.config.MaxPixels, jpegPixels * x.config.MaxPixels}, x.stages.steps.detector.scale)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return do(p)
}

// one completes the one of found that is wanted.
func (x *Extractor) one(ctx context.Context, p *picture, found []detection, o Options) ([]Face, error) {
	chosen, err := x.choose(found, o.Select, p.W, p.H)
	if err != nil {
		return nil, err
	}
	face, err := x.stages.face(ctx, p, chosen, o.Want)
	if err != nil {
		return nil, err
	}
	if o.Want&WantQuality != 0 {
		face.Quality[SingleFace] = chosen.alone(found)
	}
	return []Face{face}, nil
}

// smallParty is how many faces are no crowd: what is to be done for them takes no longer than for a photo of one, or not much.
const smallParty = 4

// acquire takes a place among the photos at work and a core, which giveBack returns.
func (x *Extractor) acquire(ctx context.Context) error {
	if err := x.photos.enter(ctx); err != nil {
		return err
	}
	if err := x.host.cores.takeUntil(ctx, x.stop); err != nil {
		x.photos.leave()
		return err
	}
	return nil
}

func (x *Extractor) giveBack() {
	x.host.cores.give()
	x.photos.leave()
}

// choose returns the one face of a photo of w×h pixels that a Select asks for.
func (x *Extractor) choose(found []detection, s Select, w, h int) (detection, error) {
	if len(found) == 0 {
		return detection{}, ErrNoFace
	}
	if s == SelectOne && len(found) > 1 {
		return detection{}, &FacesError{Found: len(found)}
	}
	worth := detection.area
	if s == SelectCentral {
		worth = func(d detection) float64 { return -math.Hypot(d.x1+d.x2-float64(w), d.y1+d.y2-float64(h)) }
	}
	chosen := slices.MaxFunc(found, func(a, b detection) int { return cmp.Compare(worth(a), worth(b)) })
	if h := float32(chosen.height()); h < x.config.MinFaceHeight {
		return detection{}, &SizeError{Height: h, Min: x.config.MinFaceHeight}
	}
	return chosen, nil
}

// faces completes detections, leaving out what turns out not to have the shape of a face.
func (s *stages) faces(ctx context.Context, p *picture, found []detection, want Want) ([]Face, error) {
	out := make([]Face, len(found))
	degenerate := make([]bool, len(found))
	err := s.cores.spread(len(found), func(i int) (err error) {
		out[i], err = s.face(ctx, p, found[i], want)
		if degenerate[i] = errors.Is(err, errDegenerate); degenerate[i] {
			return nil
		}
		if want&WantQuality != 0 {
			out[i].Quality[SingleFace] = found[i].alone(found)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	kept := out[:0]
	for i, f := range out {
		if !degenerate[i] {
			kept = append(kept, f)
		}
	}
	return kept, nil
}

// alone is 100 less the size of the largest other face by that of d, in percent.
func (d detection) alone(found []detection) float32 {
	rival := 0.
	for _, other := range found {
		if other.x1 != d.x1 || other.y1 != d.y1 || other.x2 != d.x2 || other.y2 != d.y2 {
			rival = max(rival, other.area())
		}
	}
	return percent(1 - rival/d.area())
}

// face completes a detection. What is wanted beyond landmarks and crop has a model each: those run side by side.
func (s *stages) face(ctx context.Context, p *picture, d detection, want Want) (Face, error) {
	f := Face{Box: Box{float32(d.x1), float32(d.y1), float32(d.x2), float32(d.y2)}, Score: d.score}
	q, err := s.findPoints(ctx, p, d)
	if err != nil {
		return f, err
	}
	f.place(q)
	if f.Crop, err = s.steps.align.cut(p, q); err != nil {
		return f, err
	}
	var template []float32
	norm := 0.
	var steps [4]func() error
	n := 0
	step := func(wanted bool, do func() error) {
		if wanted {
			steps[n] = do
			n++
		}
	}
	step(want == 0 || want&(WantTemplate|WantQuality) != 0, func() (err error) { template, norm, err = s.embed(ctx, f.Crop); return })
	step(want&WantLiveness != 0, func() (err error) { f.Liveness, err = s.liveness(ctx, p, d); return })
	step(want&WantQuality != 0, func() (err error) { f.Pose, err = s.findPose(ctx, p, d, &q.five); return })
	step(want&WantQuality != 0 && q.all != nil, func() (err error) { f.EyesOpen, err = s.findEyesOpen(ctx, p, q.all); return })
	err = s.cores.spread(n, func(i int) error { return steps[i]() })
	if want == 0 || want&WantTemplate != 0 {
		f.Template, f.Norm = template, float32(norm)
	}
	if err == nil && want&WantQuality != 0 {
		s.judge(p, q, &f, norm)
	}
	return f, err
}

// place fills in the points.
func (f *Face) place(q *points) {
	for i, at := range q.five {
		f.Five[i] = Point{float32(at[0]), float32(at[1])}
	}
	if q.all == nil {
		return
	}
	for i, at := range q.all {
		f.Landmarks[i] = Point{float32(at[0]), float32(at[1])}
	}
}

// judge measures a face whose pose and eyes are known. norm is the length that the embedder gave the template.
func (s *stages) judge(p *picture, q *points, f *Face, norm float64) {
	c := scene{photo: p, points: q, face: f, eyes: s.eyes != nil}
	if s.steps.align.isArcFace() {
		c.crop = f.Crop
	}
	f.Quality = c.measure()
	f.Quality.unify(s.relativeNorm(norm))
}

// relativeNorm is a template's length before it was normalised by what is typical; 1 if nothing is known of the embedder.
func (s *stages) relativeNorm(norm float64) float64 {
	if s.norm == 0 {
		return 1
	}
	return norm / s.norm
}

// SelfTest runs every model once on an empty picture and reports what fails. It waits for a worker as Extract does.
func (x *Extractor) SelfTest(ctx context.Context) error {
	if err := x.acquire(ctx); err != nil {
		return err
	}
	defer x.giveBack()
	p := newPicture(newImage(320, 240))
	d := detection{x1: 100, y1: 60, x2: 200, y2: 200, five: &five{{130, 100}, {170, 100}, {150, 125}, {135, 150}, {165, 150}}}
	if _, err := x.stages.detect(ctx, p); err != nil {
		return err
	}
	if _, err := x.stages.findPoints(ctx, p, d); err != nil && !errors.Is(err, errDegenerate) {
		return err
	}
	e := x.stages.steps.embedder
	if _, _, err := x.stages.embed(ctx, newImage(e.w, e.h)); err != nil && !errors.Is(err, errDegenerate) {
		return err
	}
	l := new(landmarks)
	for i := range l {
		l[i] = [2]float64{100 + float64(i), 130}
	}
	if _, err := x.stages.findPose(ctx, p, d, d.five); err != nil {
		return err
	}
	if _, err := x.stages.findEyesOpen(ctx, p, l); err != nil {
		return err
	}
	_, err := x.stages.liveness(ctx, p, d)
	return err
}
