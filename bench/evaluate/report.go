package evaluate

import (
	"cmp"
	"context"
	"math"
)

// Config says what Recognise measures. The zero value of each field means its default.
type Config struct {
	Targets    []float64          // of the FMR; 1e-2 … 1e-6
	Stated     []CalibrationPoint // what the pack says of its scores; nil: nothing to hold it to
	DiscardFMR float64            // whose threshold errors are counted at while photos are discarded; 1e-4
	Galleries  []int              // sizes for the open-set experiment, besides all; 100, 300, 1000
	FPIR       []float64          // targets; 1e-1, 1e-2, 1e-3
	Listed     int                // pairs listed at either end at least; 20. Of non-mated ones all beyond the last counted rate, up to MaxListed
	Seed       uint64             // of draws of people; 1

	// Progress hears of each stage. Calls come one at a time. May be nil.
	Progress func(stage string, done, total int)
}

// MaxListed is how many non-mated comparisons are listed at most, unless Config.Listed is more.
const MaxListed = 300

func (c Config) withDefaults() Config {
	if c.Targets == nil {
		c.Targets = []float64{1e-2, 1e-3, 1e-4, 1e-5, 1e-6}
	}
	if c.Galleries == nil {
		c.Galleries = []int{100, 300, 1000}
	}
	if c.FPIR == nil {
		c.FPIR = []float64{1e-1, 1e-2, 1e-3}
	}
	c.DiscardFMR, c.Listed, c.Seed = cmp.Or(c.DiscardFMR, 1e-4), cmp.Or(c.Listed, 20), cmp.Or(c.Seed, 1)
	return c
}

// Report is all that an evaluation found.
type Report struct {
	About       About         `json:"about"`
	Recognition *Recognition  `json:"recognition,omitempty"`
	Attacks     *AttackReport `json:"attacks,omitempty"`
}

// About says how a report was made.
type About struct {
	Command string `json:"command"`
	Date    string `json:"date"`
	Program string `json:"program"` // and version
	Machine string `json:"machine"`
	Pack    string `json:"pack"`
	Space   string `json:"space"`
	Data    string `json:"data"` // name of the set
}

// Recognition is how well templates tell people apart (ISO/IEC 19795-1).
type Recognition struct {
	Photos    int `json:"photos"`
	Templates int `json:"templates"`
	People    int `json:"people"` // with a template

	Acquisition Acquisition  `json:"acquisition"`
	Mated       Distribution `json:"mated"`
	NonMated    Distribution `json:"non_mated"`

	Points []Point `json:"points"` // at FMR targets
	Stated []Point `json:"stated"` // at the pack's calibration points, whose FMR is the target
	EER    Equal   `json:"eer"`
	DET    []Trade `json:"det"`

	Discard *DiscardReport `json:"discard,omitempty"`
	OpenSet []OpenSet      `json:"open_set"`

	HighestNonMated []Listed `json:"highest_non_mated"` // perhaps one person under two names
	LowestMated     []Listed `json:"lowest_mated"`      // perhaps two people under one name

	Agreement   *Agreement   `json:"agreement,omitempty"`
	Calibration *Calibration `json:"calibration,omitempty"`
}

// Listed is a comparison by name.
type Listed struct {
	A      string  `json:"a"`
	B      string  `json:"b"`
	Cosine float64 `json:"cosine"`
	// Expected is how many non-mated comparisons the fit expects so high or higher.
	Expected float64 `json:"expected,omitempty"`
}

// Recognise compares the set's photos and measures what it can: without several photos of at least two people there is
// no open-set experiment, without quality values no discard curve, without enough comparisons no calibration. Errors:
// ErrNoFaces, ErrNoPairs, ErrTemplate, ctx's.
func Recognise(ctx context.Context, s *Set, config Config) (*Recognition, error) {
	config = config.withDefaults()
	stage := func(name string) func(done, total int) {
		return func(done, total int) {
			if config.Progress != nil {
				config.Progress(name, done, total)
			}
		}
	}
	c, err := compare(ctx, s, stage("comparing"))
	if err != nil {
		return nil, err
	}
	rates := newRates(c)
	r := &Recognition{
		Photos: len(s.Photos), Templates: len(c.g.photos), People: c.g.people(), Acquisition: acquisition(s.Photos),
		Mated: c.mated.distribution(), NonMated: c.nonMate.distribution(),
		Points: rates.points(config.Targets), Stated: rates.stated(config.Stated), EER: rates.equal(), DET: rates.det(),
		Agreement: c.agreement(s.Pairs), Calibration: calibrate(c, rates),
	}
	for _, points := range [][]Point{r.Points, r.Stated} {
		c.bootstrap(points, config.Seed)
		r.Calibration.doubt(points)
	}
	r.Discard = c.discards(s.Measures, rates, config.DiscardFMR, config.Stated)
	if s.Pairs == nil {
		r.OpenSet = c.openSet(s, config.Galleries, config.FPIR, config.Seed)
	}
	listed := config.Listed
	if r.Calibration != nil {
		listed = max(listed, min(int(r.Calibration.Beyond), MaxListed))
	}
	r.HighestNonMated, r.LowestMated = c.list(c.highest, listed), c.list(c.lowest, config.Listed)
	for i := range r.HighestNonMated {
		if l := &r.HighestNonMated[i]; r.Calibration != nil {
			l.Expected = tail(r.Calibration.Fit).fmr(l.Cosine) * float64(c.nonMate.n)
		}
	}
	return r, ctx.Err()
}

// Unlisted is how many comparisons beyond the last counted rate are not listed: those past MaxListed.
func (r *Recognition) Unlisted() int64 {
	if r.Calibration == nil {
		return 0
	}
	return max(r.Calibration.Beyond-int64(len(r.HighestNonMated)), 0)
}

func (c *scores) list(ends []scored, most int) (list []Listed) {
	for _, s := range ends[:min(most, len(ends))] {
		list = append(list, Listed{A: c.g.photos[s.a].File, B: c.g.photos[s.b].File, Cosine: float64(s.score)})
	}
	return list
}

// stated are the operating points at a calibration's points.
func (r *rates) stated(calibration []CalibrationPoint) (points []Point) {
	for _, c := range calibration {
		p := r.at(binOf(c.Cosine))
		p.Target = c.FMR
		points = append(points, p)
	}
	return points
}

// Agreement holds the scores of a list against those that the list itself gives.
type Agreement struct {
	Pairs       int     `json:"pairs"`
	Correlation float64 `json:"correlation"`
	Mean        float64 `json:"mean_difference"` // ours less theirs
	Largest     float64 `json:"largest_difference"`
	A           string  `json:"a"` // of the largest
	B           string  `json:"b"`
}

func (c *scores) agreement(pairs []Pair) *Agreement {
	var a Agreement
	var x, y, xx, yy, xy float64
	for _, p := range pairs {
		ra, rb := c.g.row[p.A], c.g.row[p.B]
		if p.Reference == nil || ra < 0 || rb < 0 {
			continue
		}
		ours, theirs := float64(c.g.dot(int(ra), int(rb))), *p.Reference
		x, y, xx, yy, xy = x+ours, y+theirs, xx+ours*ours, yy+theirs*theirs, xy+ours*theirs
		if a.Pairs++; math.Abs(ours-theirs) >= math.Abs(a.Largest) {
			a.Largest, a.A, a.B = ours-theirs, c.g.photos[ra].File, c.g.photos[rb].File
		}
	}
	if a.Pairs < 2 {
		return nil
	}
	n := float64(a.Pairs)
	a.Mean = (x - y) / n
	if spread := (xx - x*x/n) * (yy - y*y/n); spread > 0 {
		a.Correlation = (xy - x*y/n) / math.Sqrt(spread)
	}
	return &a
}
