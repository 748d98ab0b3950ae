package engine

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Bounds on jobs.
const (
	MaxJobs         = 16      // of one tenant, those that have ended included
	MaxJobPairs     = 100_000 // that one job keeps
	DefaultJobPairs = 10_000  // where DedupeSpec.MaxPairs is 0
	MaxJobFindings  = 10_000  // that one job keeps
	// MaxPairsPerTemplate is how many people one template is paired with by its own search.
	MaxPairsPerTemplate = 1000
)

// JobState says where a job is.
type JobState string

// The states. From queued a job goes to running, again after a restart, and ends in one of the others.
const (
	JobQueued    JobState = "queued"
	JobRunning   JobState = "running"
	JobDone      JobState = "done"
	JobCancelled JobState = "cancelled"
	JobFailed    JobState = "failed"
)

func (s JobState) ended() bool { return s != JobQueued && s != JobRunning }

// defaultFalsePairs is how many pairs of strangers a de-duplication is to expect, unless its spec says another way to choose
// its threshold: of 1,000,000 templates that is a false match rate of 2e-12.
const defaultFalsePairs = 1

// DedupeSpec is what a client states of a de-duplication. The zero value works.
type DedupeSpec struct {
	// Policy says what a pair is; an FPIR is that of one template's search. At most one of it and ExpectedFalsePairs is set.
	Policy Policy
	// ExpectedFalsePairs has the threshold at which so many of all N(N−1)/2 pairs of the gallery's templates are expected to be
	// reached by two different people: FMR = ExpectedFalsePairs / (N(N−1)/2), at most 1. 0 is 1.
	ExpectedFalsePairs float64
	// MaxPairs is how many pairs are kept, the best: 1..MaxJobPairs, 0 is DefaultJobPairs.
	MaxPairs int
	// MinQuality is the unified score, 0..100, below which a template's photo is a finding (FindingLowQuality). nil is DefaultMinQuality.
	MinQuality *float64
}

// DefaultMinQuality is the unified score that README recommends for probes: below it every hundredth good photo is lost, and most of
// those that will not be matched.
const DefaultMinQuality = 40

// Job is a long work on a gallery, as it was at one moment.
type Job struct {
	ID      string   `json:"id"` // 16 hex digits
	Kind    string   `json:"kind"`
	Gallery string   `json:"gallery"`
	State   JobState `json:"state"`
	Reason  string   `json:"reason,omitempty"` // why it failed

	Threshold          float64 `json:"threshold"`            // the cosine that makes a pair
	FMR                float64 `json:"fmr"`                  // at the threshold
	ExpectedFalsePairs float64 `json:"expected_false_pairs"` // at the threshold, of all pairs of templates when it was made
	MaxPairs           int     `json:"max_pairs"`
	MinQuality         float64 `json:"min_quality"` // below which a photo's unified score is a finding

	Created time.Time `json:"created"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Covered is the time up to which changes of people are in the results, once there are any.
	Covered time.Time `json:"covered,omitzero"`
	// ETASeconds is how much longer it takes at the pace it has had since it was started or resumed.
	ETASeconds *float64 `json:"eta_seconds,omitempty"`

	People   int `json:"people"`      // to be looked at; who is changed meanwhile comes again
	Done     int `json:"people_done"` // of them
	Pairs    int `json:"pairs"`       // kept
	Findings int `json:"findings"`    // kept
	// Truncated says that more was found than is kept: pairs beyond MaxPairs, of which the best are kept, findings beyond
	// MaxJobFindings, or people beyond MaxPairsPerTemplate whom one template is near to.
	Truncated bool    `json:"truncated"`
	Hygiene   Hygiene `json:"hygiene"`
}

// Hygiene counts what a job has seen of a gallery's references: people as they were when it began, but for those who were
// changed before it came to them.
type Hygiene struct {
	People      int `json:"people"`
	Templates   int `json:"templates"`
	OneTemplate int `json:"people_with_one_template"`
	// Templates by the time since they were made.
	Under1Year   int `json:"templates_under_1_year"`
	Over1Year    int `json:"templates_over_1_year"`
	Over5Years   int `json:"templates_over_5_years"`
	Over10Years  int `json:"templates_over_10_years"`
	Unjudged     int `json:"templates_without_quality"` // whose photo's unified score is not known
	Mislabelled  int `json:"mislabelled"`               // findings of this kind
	Inconsistent int `json:"inconsistent"`              // findings of this kind
	LowQuality   int `json:"low_quality"`               // findings of this kind
}

// jobKindDedupe is the one kind of job that there is.
const jobKindDedupe = "dedupe"

// job is a job in memory. What is in mu is of what was handed over (doc.go, J2).
type job struct {
	id     string
	g      *gallery
	runner struct { // of who runs it
		sync.Mutex
		cancel  context.CancelFunc // nil while it does not run
		resumed time.Time
		from    int // people who were done then
	}
	mu struct {
		sync.Mutex
		record  jobRecord
		removed bool
		results
	}
}

// jobs are all jobs of an engine. Safe for concurrent use.
type jobs struct {
	work chan struct{} // to runJobs: look again

	mu struct {
		sync.Mutex
		byID      map[string]*job
		byGallery map[uint64][]*job // by its number
	}
}

func newJobs() *jobs {
	j := &jobs{work: make(chan struct{}, 1)}
	j.mu.byID, j.mu.byGallery = make(map[string]*job), make(map[uint64][]*job)
	return j
}

func (j *jobs) signal() {
	select {
	case j.work <- struct{}{}:
	default: // it will look
	}
}

func (j *jobs) keep(x *job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.byID[x.id] = x
	n := x.g.record.Number
	j.mu.byGallery[n] = append(j.mu.byGallery[n], x)
}

func (j *jobs) drop(x *job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.mu.byID, x.id)
	n := x.g.record.Number
	left := slices.DeleteFunc(slices.Clone(j.mu.byGallery[n]), func(o *job) bool { return o == x })
	if j.mu.byGallery[n] = left; len(left) == 0 {
		delete(j.mu.byGallery, n)
	}
}

// of returns a tenant's jobs, oldest first; "" is every tenant's.
func (j *jobs) of(tenant string) []*job {
	j.mu.Lock()
	all := slices.Collect(maps.Values(j.mu.byID))
	j.mu.Unlock()
	all = slices.DeleteFunc(all, func(x *job) bool { return tenant != "" && x.g.tenant != tenant })
	created := func(x *job) time.Time { r := x.snapshot(); return r.Created }
	slices.SortFunc(all, func(a, b *job) int { return cmp.Or(created(a).Compare(created(b)), cmp.Compare(a.id, b.id)) })
	return all
}

// ofGallery returns the jobs of the gallery of a number; not to be changed.
func (j *jobs) ofGallery(number uint64) []*job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clip(j.mu.byGallery[number])
}

// snapshot is the job's record as of what was handed over last.
func (x *job) snapshot() jobRecord {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.record
}

// stop ends the run, if there is one.
func (x *job) stop() {
	x.runner.Lock()
	defer x.runner.Unlock()
	if x.runner.cancel != nil {
		x.runner.cancel()
	}
}

// StartDedupe begins to look for people of a gallery who are there twice, all pairs of templates at or above a threshold, and
// for references that look wrong. The work goes on in the background, one job at a time, and after a restart where it was. If
// such a job is under way with the same spec, it is returned with created false, so a call may be repeated. Errors: ErrID, ErrGalleryNotFound, ErrPolicy, ErrLimit,
// ErrSpaceUnknown, ErrJobExists (under way with another spec), ErrJobsFull, and those of every write (see CreateGallery).
func (e *Engine) StartDedupe(ctx context.Context, tenant, name string, spec DedupeSpec) (made Job, created bool, err error) {
	if err := e.enter(ctx); err != nil {
		return Job{}, false, err
	}
	defer e.leave()
	if err := spec.validate(); err != nil {
		return Job{}, false, err
	}
	err = e.enrolling(tenant, name, func(g enrolment) error {
		if err := g.spaceKnown(); err != nil {
			return err
		}
		record := spec.record(g.gallery)
		return e.store.update(ctx, false, func(t *tx) (err error) {
			if err := g.check(t); err != nil {
				return err
			}
			var x *job
			if x, created, err = e.stageJob(t, g.gallery, record); err == nil {
				made = x.info()
				t.done(made, created)
			}
			return err
		})
	})
	if err != nil {
		return Job{}, false, err
	}
	return made, created, nil
}

func (s DedupeSpec) validate() error {
	if err := s.Policy.Validate(); err != nil {
		return err
	}
	if !(s.ExpectedFalsePairs >= 0 && s.ExpectedFalsePairs <= 1e15) {
		return refuse(ErrPolicy, "expected_false_pairs is %v: it must be above 0 and at most 1e15", s.ExpectedFalsePairs)
	}
	if s.ExpectedFalsePairs > 0 && !s.Policy.IsZero() {
		return refuse(ErrPolicy, "both policy and expected_false_pairs are set: each chooses the threshold, so give one")
	}
	if s.MaxPairs < 0 || s.MaxPairs > MaxJobPairs {
		return refuse(ErrLimit, "max_pairs is %d: it must be from 1 to %d", s.MaxPairs, MaxJobPairs)
	}
	if q := s.MinQuality; q != nil && !(*q >= 0 && *q <= 100) {
		return refuse(ErrLimit, "min_quality is %v: it must be from 0 to 100", *q)
	}
	return nil
}

// record fixes what the spec means in the gallery as it is now.
func (s DedupeSpec) record(g *gallery) jobRecord {
	g.mu.RLock()
	n := g.mu.templates
	g.mu.RUnlock()
	c, rules := g.space.Calibration, g.rules.Load()
	p := s.Policy.or(Policy{FMR: new(min(1, cmp.Or(s.ExpectedFalsePairs, defaultFalsePairs)/pairsOf(n)))})
	return jobRecord{
		Kind: jobKindDedupe, State: string(JobQueued), Policy: recordOfPolicy(s.Policy), FalsePairs: s.ExpectedFalsePairs,
		Threshold: p.threshold(c, n), Suspect: Policy{FPIR: new(defaultIdentifyFPIR)}.threshold(c, n),
		Own:      Policy{}.or(rules.policy, Policy{FMR: new(defaultVerifyFMR)}).threshold(c, 1),
		MaxPairs: cmp.Or(s.MaxPairs, DefaultJobPairs), Templates: n, MinQuality: *cmp.Or(s.MinQuality, new(float64(DefaultMinQuality))),
	}
}

// pairsOf is how many pairs n templates make, 1 at least.
func pairsOf(n int) float64 { return max(1, float64(n)*float64(n-1)/2) }

func (e *Engine) stageJob(t *tx, g *gallery, r jobRecord) (x *job, created bool, err error) {
	for _, x := range e.jobs.ofGallery(g.record.Number) {
		have := x.snapshot()
		if JobState(have.State).ended() {
			continue
		}
		if have.sameSpec(r) {
			return x, false, nil
		}
		return nil, false, refuse(ErrJobExists, "job %s is looking for duplicates in this gallery with other settings: wait for it, or cancel it", x.id)
	}
	if len(e.jobs.of(g.tenant)) >= MaxJobs {
		return nil, false, refuse(ErrJobsFull, "there are %d jobs, the most there may be: delete one that has ended", MaxJobs)
	}
	x = &job{id: hex.EncodeToString(randomBytes(8)), g: g}
	r.Created = fromMillis(t.now)
	x.mu.record = r
	x.mu.results = newResults()
	if err := t.raiseFormat(jobFormat); err != nil {
		return nil, false, err
	}
	x.set(t, r)
	x.audit(t, AuditJobStart, "")
	// At hand-over, so that who deletes the gallery next knows of it.
	t.onHandOver = append(t.onHandOver, func() { e.jobs.keep(x) })
	t.also(e.jobs.signal)
	return x, true, nil
}

// set stages the job's record, and keeps it in memory once it is handed over.
func (x *job) set(t *tx, r jobRecord) {
	t.set(jobKey(x.g.record.Number, x.id), x.g.seal.seal(x.place(), appendJSONRecord(r)))
	t.onHandOver = append(t.onHandOver, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.mu.record = r
	})
}

// audit has a write about the job recorded.
func (x *job) audit(t *tx, op, note string) {
	e := auditEntry{tenant: x.g.tenant, op: op, gallery: x.g.name, target: x.id, note: note}
	if op == AuditJobStart {
		e.policy = auditPolicyOf(Policy{Cosine: new(x.mu.record.Threshold)})
	}
	t.audit(e)
}

func (x *job) place() place {
	return place{kind: kindJob, tenant: x.g.tenant, gallery: x.g.record.Number, person: x.id}
}

// Job returns a job. Errors: ErrJobNotFound, also for another tenant's and for those of galleries that were deleted or moved;
// ErrClosed, ctx's.
func (e *Engine) Job(ctx context.Context, tenant, id string) (Job, error) {
	x, err := e.enterJob(ctx, tenant, id)
	if err != nil {
		return Job{}, err
	}
	defer e.leave()
	info := x.info()
	return info, e.store.settle(ctx, e.store.last.Load()) // W4
}

// enterJob is enter for calls about one job; the caller must leave unless err is set.
func (e *Engine) enterJob(ctx context.Context, tenant, id string) (*job, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	e.jobs.mu.Lock()
	x := e.jobs.mu.byID[id]
	e.jobs.mu.Unlock()
	if x == nil || x.g.tenant != tenant {
		e.leave()
		return nil, errJobNotFound
	}
	return x, nil
}

// Jobs returns a tenant's jobs, oldest first, at most MaxJobs. Errors: ErrID, ErrClosed, ErrStorageFailed, ctx's.
func (e *Engine) Jobs(ctx context.Context, tenant string) ([]Job, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	if err := checkName("tenant", tenant); err != nil {
		return nil, err
	}
	all := []Job{}
	for _, x := range e.jobs.of(tenant) {
		all = append(all, x.info())
	}
	return all, e.store.settle(ctx, e.store.last.Load())
}

// CancelJob ends a job where it is; what it has found stays. One that has ended is left as it is. Errors: ErrJobNotFound, and those of every
// write.
func (e *Engine) CancelJob(ctx context.Context, tenant, id string) (Job, error) {
	x, err := e.changeJob(ctx, tenant, id, func(t *tx, x *job) {
		r := x.snapshot()
		if !JobState(r.State).ended() {
			x.set(t, r.end(JobCancelled, t.now))
			x.audit(t, AuditJobCancel, "")
			t.onHandOver = append(t.onHandOver, x.stop)
		}
	})
	if err != nil {
		return Job{}, err
	}
	return x.info(), nil
}

// DeleteJob deletes a job with its results, and ends it if it runs. It is let through on a nearly full disk. Errors: ErrJobNotFound, and
// those of every write.
func (e *Engine) DeleteJob(ctx context.Context, tenant, id string) error {
	_, err := e.changeJob(ctx, tenant, id, func(t *tx, x *job) {
		t.deletePrefix(jobPrefix(x.g.record.Number, x.id))
		x.audit(t, AuditJobDelete, "")
		t.onHandOver = append(t.onHandOver, func() { e.dropJob(x) })
		t.done(nil, false)
	})
	return err
}

// changeJob is a write about a job that is there.
func (e *Engine) changeJob(ctx context.Context, tenant, id string, change func(*tx, *job)) (*job, error) {
	x, err := e.enterJob(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	defer e.leave()
	return x, e.store.update(ctx, true, func(t *tx) error {
		if x.isRemoved() {
			return errJobNotFound
		}
		change(t, x)
		return nil
	})
}

func (x *job) isRemoved() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mu.removed
}

// dropJob forgets a job that is deleted.
func (e *Engine) dropJob(x *job) {
	x.mu.Lock()
	x.mu.removed = true
	x.mu.results = newResults()
	x.mu.Unlock()
	e.jobs.drop(x)
	x.stop()
}

// dropJobs forgets the jobs of a gallery that is being deleted, or replaced by the one it was moved to, in the same write.
func (e *Engine) dropJobs(t *tx, number uint64) {
	t.onHandOver = append(t.onHandOver, func() {
		for _, x := range e.jobs.ofGallery(number) {
			e.dropJob(x)
		}
	})
}

// info is the job as clients see it.
func (x *job) info() Job {
	x.mu.Lock()
	r, pairs, findings := x.mu.record, x.mu.pairs, x.mu.findings
	mislabelled, lowQuality := x.mu.mislabelled, x.mu.lowQuality
	x.mu.Unlock()
	fmr := x.fmrAt(r.Threshold)
	j := Job{ID: x.id, Kind: r.Kind, Gallery: x.g.name, State: JobState(r.State), Reason: r.Reason, Threshold: r.Threshold,
		FMR: fmr, ExpectedFalsePairs: fmr * pairsOf(r.Templates), MaxPairs: r.MaxPairs, MinQuality: r.MinQuality, Created: r.Created, Started: r.Started, Ended: r.Ended,
		Covered: r.Covered, People: r.People, Done: r.Done, Pairs: min(pairs, r.MaxPairs), Findings: findings, Truncated: r.Truncated || pairs > r.MaxPairs}
	j.Hygiene = Hygiene(r.Hygiene)
	j.Hygiene.Mislabelled, j.Hygiene.LowQuality, j.Hygiene.Inconsistent = mislabelled, lowQuality, findings-mislabelled-lowQuality
	if !j.State.ended() {
		j.State = JobQueued
		x.addPace(&j)
	}
	return j
}

// fmrAt is 1 where the space is not configured.
func (x *job) fmrAt(cosine float64) float64 {
	if x.g.space == nil {
		return 1
	}
	return x.g.space.Calibration.FMR(cosine)
}

// addPace says that the job runs, and how long it will, if it does.
func (x *job) addPace(j *Job) {
	x.runner.Lock()
	defer x.runner.Unlock()
	if x.runner.cancel == nil {
		return
	}
	j.State = JobRunning
	if n := j.Done - x.runner.from; n > 0 {
		eta := time.Since(x.runner.resumed).Seconds() / float64(n) * float64(max(j.People-j.Done, 0))
		j.ETASeconds = &eta
	}
}

// loadJobs reads the jobs of all galleries. REQUIRES: nobody else uses e, and their people are loaded.
func (e *Engine) loadJobs() error {
	for _, g := range e.mu.galleries {
		if err := e.loadJobsOf(g); err != nil {
			return fmt.Errorf("engine: jobs of gallery %q of tenant %q: %w", g.name, g.tenant, err)
		}
	}
	return nil
}

func (e *Engine) loadJobsOf(g *gallery) error {
	var x *job
	prefix := galleryPrefix(prefixJob, g.record.Number)
	return e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		id, number, isResult, ok := splitJobKey(k)
		switch {
		case !ok || isResult && (x == nil || x.id != id):
			return false, fmt.Errorf("%w: job key", ErrCorrupt)
		case isResult:
			return true, x.loadResult(number, v)
		}
		x = &job{id: id, g: g}
		x.mu.results = newResults()
		plain, err := g.seal.open(nil, x.place(), v)
		if err != nil {
			return false, err
		}
		e.jobs.keep(x)
		return true, parseJSONRecord(plain, &x.mu.record)
	})
}
