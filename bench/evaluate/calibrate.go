package evaluate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/mat"
)

// CalibrationPoint says that a share FMR of non-mated comparisons scores Cosine or more.
type CalibrationPoint struct {
	Cosine       float64 `json:"cosine"`       // (−1, 1)
	FMR          float64 `json:"fmr"`          // (0, 1)
	Extrapolated bool    `json:"extrapolated"` // not counted on the set
}

const (
	fitFrom   = 1e-2 // FMR from which on the tail is fitted
	fitTo     = 1e-4 // and down to where: below, a few label errors among millions of comparisons show
	fitCounts = 100  // least count of a fitted rate
	fitSteps  = 64

	// departs is how far above the fit a count may be, its lower 95 % bound, and still count as measured.
	departs = 1.25

	leastFMR = 1e-9 // of the extrapolation
)

// Calibration is the false match rate as a function of the cosine: Points rise in cosine and fall in FMR. doc.go says how
// they are made.
type Calibration struct {
	Points []CalibrationPoint `json:"points"`
	Source string             `json:"source"` // how it was made, in words
	Fit    [3]float64         `json:"fit"`    // log10 FMR = Fit[0] + Fit[1]·cosine + Fit[2]·cosine²

	// Beyond is how many comparisons are at or above the last measured point: what the report lists by name.
	Beyond int64 `json:"beyond"`
	// Excess is how many of them the fit does not expect: label errors, mostly.
	Excess float64 `json:"excess"`
	// Check is the last measured point by a fit that did not see its decade.
	Check Check `json:"check"`
}

// Check holds an extrapolation against what was counted there.
type Check struct {
	Cosine    float64 `json:"cosine"`
	From      float64 `json:"fitted_down_to_fmr"`
	Predicted float64 `json:"predicted_fmr"`
	Measured  float64 `json:"measured_fmr"`
}

// calibrate returns nil where there are too few non-mated comparisons, fewer than 100,000, or their tail has no fit.
func calibrate(c *scores, r *rates) *Calibration {
	n := float64(r.nonMate[0])
	if n*fitFrom < 10*fitCounts {
		return nil
	}
	to := max(fitTo, fitCounts/n)
	f := r.fit(fitFrom, to)
	if !(f.slope(edge(r.binAt(fitFrom))) < 0) {
		return nil
	}
	k := &Calibration{Fit: f}
	if k.measure(r, f); len(k.Points) == 0 || k.last().FMR > fitFrom {
		return nil
	}
	k.extrapolate(f)
	at := k.last()
	k.Beyond = r.nonMate[binOf(at.Cosine)]
	k.Excess = float64(k.Beyond) - f.fmr(at.Cosine)*n
	if from := at.FMR * 10; from < fitFrom/3 {
		k.Check = Check{at.Cosine, from, r.fit(fitFrom, from).fmr(at.Cosine), at.FMR}
	}
	k.Source = k.text(len(c.g.photos), c.g.people(), r.nonMate[0], to, at)
	return k
}

func (k *Calibration) text(photos, people int, comparisons int64, to float64, last CalibrationPoint) string {
	text := fmt.Sprintf("%s non-mated comparisons of %s photos of %s people. False match rates down to %s (cosine %.3f) are counted. ",
		countText(comparisons), countText(photos), countText(people), percent(last.FMR), last.Cosine)
	text += fmt.Sprintf("Beyond, they are extrapolated: log10 FMR = %.3f %+.3f cosine %+.3f cosine², fitted to the rates from %s to %s, goes on from the last counted point.",
		k.Fit[0], k.Fit[1], k.Fit[2], percent(fitFrom), percent(to))
	if k.Excess >= 1 {
		text += fmt.Sprintf(" Some %.0f comparisons beyond it are more than the fit expects: suspected label errors of the set, which were not taken out.", k.Excess)
	}
	if c := k.Check; c.Measured > 0 {
		text += fmt.Sprintf(" A fit to rates down to %s alone predicts %s at cosine %.3f, where %s was counted.", percent(c.From), percent(c.Predicted), c.Cosine, percent(c.Measured))
	}
	return text
}

// measure adds counted points, while ten comparisons or more are at or above, and not more than the fit and chance explain.
func (k *Calibration) measure(r *rates, f tail) {
	for _, target := range []float64{0.999, 0.99, 0.9, 0.7, 0.5, 0.3} {
		k.add(r, target)
	}
	for e := 1.0; ; e += 0.25 {
		target := math.Pow(10, -e)
		i := r.binAt(target)
		beyond := target < fitFrom && newRate(r.nonMate[i], r.nonMate[0]).Low > departs*f.fmr(edge(i))
		if r.nonMate[i] < fewCounts || beyond {
			return
		}
		k.add(r, target)
	}
}

// add adds the point at the first threshold whose FMR is at most target, unless it is the last one's.
func (k *Calibration) add(r *rates, target float64) {
	i := r.binAt(target)
	p := CalibrationPoint{Cosine: edge(i), FMR: digits4(r.fmr(i))}
	if n := len(k.Points); i > 0 && p.FMR > 0 && (n == 0 || p.Cosine > k.Points[n-1].Cosine && p.FMR < k.Points[n-1].FMR) {
		k.Points = append(k.Points, p)
	}
}

// digits4 rounds to four digits.
func digits4(x float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(x, 'e', 3, 64), 64)
	if err != nil {
		panic("BUG: evaluate: " + err.Error())
	}
	return short
}

// last is the last measured point.
func (k *Calibration) last() CalibrationPoint {
	i := slices.IndexFunc(k.Points, func(p CalibrationPoint) bool { return p.Extrapolated })
	if i < 0 {
		i = len(k.Points)
	}
	return k.Points[i-1]
}

// doubt marks the points beyond the measured ones.
func (k *Calibration) doubt(points []Point) {
	if k == nil {
		return
	}
	for i := range points {
		points[i].Suspect = points[i].Threshold > k.last().Cosine
	}
}

// extrapolate goes on along the fit from the last point, two points a decade.
func (k *Calibration) extrapolate(f tail) {
	last := k.last()
	above := last.FMR / f.fmr(last.Cosine)
	for e := math.Ceil(-2*math.Log10(last.FMR) + 0.1); ; e++ {
		fmr := math.Pow(10, -e/2)
		cosine := math.Round(f.cosine(fmr/above)*binsPerUnit) / binsPerUnit
		if fmr < leastFMR*0.99 || cosine > 0.999 {
			return
		}
		k.Points = append(k.Points, CalibrationPoint{cosine, fmr, true})
	}
}

// tail is log10 FMR as a parabola in the cosine, or a line: f[0] + f[1] x + f[2] x², f[2] ≤ 0.
type tail [3]float64

func (f tail) fmr(cosine float64) float64 { return math.Pow(10, f[0]+cosine*(f[1]+cosine*f[2])) }

func (f tail) slope(cosine float64) float64 { return f[1] + 2*f[2]*cosine }

// cosine is where the falling part of the fit has this rate.
func (f tail) cosine(fmr float64) float64 {
	rest := f[0] - math.Log10(fmr)
	if f[2] == 0 {
		return -rest / f[1]
	}
	return (-f[1] - math.Sqrt(f[1]*f[1]-4*f[2]*rest)) / (2 * f[2])
}

// fit is the least-squares parabola through log10 FMR at thresholds spread evenly from FMR from down to FMR to; a line,
// if the parabola would bend up.
func (r *rates) fit(from, to float64) tail {
	first, last := r.binAt(from), r.binAt(to)
	x, y := mat.NewDense(fitSteps, 3, nil), mat.NewVecDense(fitSteps, nil)
	for i := range fitSteps {
		at := first + (last-first)*i/(fitSteps-1)
		c := edge(at)
		x.SetRow(i, []float64{1, c, c * c})
		y.SetVec(i, math.Log10(max(r.fmr(at), 0.5/float64(r.nonMate[0]))))
	}
	var f tail
	for terms := 3; terms > 1; terms-- {
		var solved mat.VecDense
		if err := solved.SolveVec(x.Slice(0, fitSteps, 0, terms), y); err != nil {
			continue
		}
		f = tail{}
		if copy(f[:], solved.RawVector().Data); f[2] <= 0 {
			return f
		}
	}
	return f
}

// CalibrationFile is a calibration as a file of its own.
type CalibrationFile struct {
	Format        int                `json:"format"` // 1
	Space         string             `json:"space"`  // embedding space that it is of
	Set           string             `json:"set"`    // name of the data
	People        int                `json:"people"`
	Photos        int                `json:"photos"` // with a template
	MatedPairs    int64              `json:"mated_pairs"`
	NonMatedPairs int64              `json:"non_mated_pairs"`
	Source        string             `json:"source"`
	Points        []CalibrationPoint `json:"points"`
}

// CalibrationFile is the fit as a file; nil if there is none.
func (r *Report) CalibrationFile() *CalibrationFile {
	if r.Recognition == nil || r.Recognition.Calibration == nil {
		return nil
	}
	e, k := r.Recognition, r.Recognition.Calibration
	return &CalibrationFile{
		Format: 1, Space: r.About.Space, Set: r.About.Data, People: e.People, Photos: e.Templates,
		MatedPairs: e.Mated.N, NonMatedPairs: e.NonMated.N, Source: r.About.Data + ": " + k.Source, Points: k.Points,
	}
}

// JSON returns the file's bytes.
func (f *CalibrationFile) JSON() []byte { return indented(f) }

// indented encodes what has nothing in it that JSON can't hold.
func indented(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic("BUG: evaluate: a report must encode: " + err.Error())
	}
	return b.Bytes()
}
