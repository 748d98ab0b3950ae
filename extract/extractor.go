package extract

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"mien/extract/pack"
)

// errDegenerate: a detection whose points or template can't be a face's.
var errDegenerate = fmt.Errorf("%w: what was found has not the shape of a face", ErrNoFace)

// Config of an Extractor. Library and Pack are required.
type Config struct {
	Library string // path of ONNX Runtime's shared library
	Pack    string // folder of the model pack

	// Workers is how many photos are worked on at once, one thread each; 0 is GOMAXPROCS. Each holds about
	// 5 MB of tensors, and while it works the decoded photo: 3 bytes a pixel and up to 16 for a progressive JPEG.
	Workers int
	// Queue is how many photos may wait for a worker; one more is ErrBusy. 0 is 64 for each worker.
	Queue int
	// MaxPixels is the largest photo by its header; 0 is 25,000,000. What the decoders of the standard library take for
	// their kinds of image bounds it: up to 20 bytes a pixel (interlaced 16-bit PNG, progressive JPEG), so some 500 MB
	// a worker at the most, and a second or two.
	MaxPixels int
	// MinFaceHeight is the least height of a face's box in source pixels where one face is asked for; 0 is 40.
	MinFaceHeight float32
}

func (c Config) withDefaults() Config {
	c.Workers = cmp.Or(c.Workers, runtime.GOMAXPROCS(0))
	c.Queue = cmp.Or(c.Queue, 64*c.Workers)
	c.MaxPixels = cmp.Or(c.MaxPixels, 25_000_000)
	c.MinFaceHeight = cmp.Or(c.MinFaceHeight, 40)
	return c
}

func (c Config) validate() error {
	if c.Workers < 1 || c.Queue < 1 || c.MaxPixels < 1 || !(c.MinFaceHeight > 0) {
		return fmt.Errorf("extract: workers, queue, pixels and face height must be positive: %+v", c)
	}
	return nil
}

// Extractor turns photos into faces. Safe for concurrent use.
type Extractor struct {
	config   Config
	manifest *pack.Manifest
	stages   stages
	idle     chan struct{} // a token for each worker that no call holds
	load     atomic.Int64  // calls that hold or wait for a worker
	stop     chan struct{}
	stopOnce sync.Once
	closeErr error
}

// New checks the pack's files against their sums, loads the library and the models and makes the workers.
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
	x := &Extractor{config: c, manifest: manifest, idle: make(chan struct{}, c.Workers), stop: make(chan struct{})}
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
		{pack.Detector, s.detector.shape(), s.detector.bind},
		landmarks,
		{pack.Embedder, s.embedder.shape(), s.embedder.bind},
		{pack.Pose, []int64{3, poseSize, poseSize},
			named(output{"output", []int64{poseBins}}, output{"617", []int64{poseBins}}, output{"618", []int64{poseBins}})},
		{pack.Eyes, []int64{1, eyeSize, eyeSize}, named(output{"output", []int64{2}})},
		{pack.Liveness, []int64{3, livenessSize, livenessSize}, named(output{"output", []int64{livenessClasses}})},
	}
}

// stages are the models of a pack at work.
type stages struct {
	steps *steps

	detector, landmarker, embedder, pose, eyes, live *stage // nil without the model
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

func (x *Extractor) start() error {
	x.stages.steps = newSteps(x.manifest.Steps(), x.manifest.Dim)
	graphs := x.stages.steps.graphs()
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
		if *one, err = newStage(m, x.config.Workers); err != nil {
			return err
		}
	}
	for range x.config.Workers {
		x.idle <- struct{}{}
	}
	return nil
}

// Close waits for the calls that hold a worker, then frees models and library. Calls that wait get ErrClosed,
// and so does every later one. Close is idempotent.
func (x *Extractor) Close() error {
	x.stopOnce.Do(func() {
		close(x.stop)
		for range x.config.Workers { // every worker must come home first
			<-x.idle
		}
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
// It waits for a worker as long as ctx allows and checks ctx before every model run and while it decodes, not within a model
// run (milliseconds). Errors: ErrNotImage, ErrTruncated, ErrTooManyPixels, ErrNoFace, ErrSeveralFaces and ErrFaceTooSmall by o.Select, ErrBusy, ErrClosed,
// and ctx's.
func (x *Extractor) Extract(ctx context.Context, data []byte, o Options) ([]Face, error) {
	if err := x.acquire(ctx); err != nil {
		return nil, err
	}
	defer x.giveBack()
	m, err := decode(ctx, data, x.config.MaxPixels)
	if err != nil {
		return nil, err
	}
	p := newPicture(m)
	if o.Select == SelectAll {
		found, err := x.stages.detectGroup(ctx, p)
		if err != nil {
			return nil, err
		}
		return x.stages.faces(ctx, p, found, o.Want)
	}
	found, err := x.stages.detect(ctx, p)
	if err != nil {
		return nil, err
	}
	chosen, err := x.choose(found, o.Select)
	if err != nil {
		return nil, err
	}
	face, err := x.stages.face(ctx, p, chosen, o.Want)
	if err != nil {
		return nil, err
	}
	return []Face{face}, nil
}

// acquire takes a worker, which giveBack returns.
func (x *Extractor) acquire(ctx context.Context) error {
	if x.load.Add(1) > int64(x.config.Workers+x.config.Queue) {
		x.load.Add(-1)
		return ErrBusy
	}
	err := x.wait(ctx)
	if err != nil {
		x.load.Add(-1)
	}
	return err
}

func (x *Extractor) wait(ctx context.Context) error {
	select { // first of all: a closed extractor or a dead request gets no worker even if one is idle
	case <-x.stop:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
	}
	select {
	case <-x.idle:
		return nil
	case <-x.stop:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (x *Extractor) giveBack() {
	x.idle <- struct{}{}
	x.load.Add(-1)
}

// choose returns the one face that a Select asks for.
func (x *Extractor) choose(found []detection, s Select) (detection, error) {
	if len(found) == 0 {
		return detection{}, ErrNoFace
	}
	if s == SelectOne && len(found) > 1 {
		return detection{}, &FacesError{Found: len(found)}
	}
	largest := slices.MaxFunc(found, func(a, b detection) int { return cmp.Compare(a.area(), b.area()) })
	if h := float32(largest.height()); h < x.config.MinFaceHeight {
		return detection{}, &SizeError{Height: h, Min: x.config.MinFaceHeight}
	}
	return largest, nil
}

// faces completes detections, leaving out what turns out not to have the shape of a face.
func (s *stages) faces(ctx context.Context, p *picture, found []detection, want Want) ([]Face, error) {
	out := make([]Face, 0, len(found))
	for _, d := range found {
		f, err := s.face(ctx, p, d, want)
		if errors.Is(err, errDegenerate) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

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
	if want == 0 || want&WantTemplate != 0 {
		if f.Template, err = s.embed(ctx, f.Crop); err != nil {
			return f, err
		}
	}
	if want&WantQuality != 0 {
		if err = s.judge(ctx, p, d, q.all, &f); err != nil {
			return f, err
		}
	}
	if want&WantLiveness != 0 {
		f.Liveness, err = s.liveness(ctx, p, d)
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

// judge fills in what WantQuality asks for, as far as the pack can tell; l is nil if it has no 68 points.
func (s *stages) judge(ctx context.Context, p *picture, d detection, l *landmarks, f *Face) (err error) {
	if s.pose != nil {
		if f.Pose, err = s.findPose(ctx, p, d); err != nil {
			return err
		}
	}
	if s.eyes != nil && l != nil {
		f.EyesOpen, err = s.findEyesOpen(ctx, p, l)
	}
	return err
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
	if _, err := x.stages.embed(ctx, newImage(e.w, e.h)); err != nil {
		return err
	}
	l := new(landmarks)
	for i := range l {
		l[i] = [2]float64{100 + float64(i), 130}
	}
	if err := x.stages.judge(ctx, p, d, l, new(Face)); err != nil {
		return err
	}
	_, err := x.stages.liveness(ctx, p, d)
	return err
}
