package evaluate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// ErrNoAttacks: bona fide presentations or attacks are missing, or none was judged.
var ErrNoAttacks = errors.New("evaluate: bona fide photos and attack photos are both needed")

// Presentation is one photo shown to attack detection.
type Presentation struct {
	Species string // of attack instrument; "" for a bona fide presentation
	File    string
	Failure string  // code of why there is no score; "" if there is one
	Score   float32 // of liveness, in [0, 1]: higher is more alive
	Verdict string  // what the pack makes of the score
}

// AttackReport is the result of attack detection in the words of ISO/IEC 30107-3. There is no mean of both rates (ACER):
// it hides the worst species.
type AttackReport struct {
	BonaFide int           `json:"bona_fide"`
	Attacks  int           `json:"attacks"`
	BPNRR    Rate          `json:"bpnrr"` // bona fide presentations without a response
	Points   []AttackPoint `json:"points"`
	Failed   []Failure     `json:"failed"` // Person is the species
}

// AttackPoint is an operating point: what is taken for alive, by the pack's verdict or by a threshold for the score.
type AttackPoint struct {
	Verdicts  []string      `json:"verdicts,omitempty"`     // that are taken for alive; none: the threshold decides
	Target    float64       `json:"target_bpcer,omitempty"` // that the threshold was chosen for
	Threshold float64       `json:"threshold,omitempty"`    // least score that is taken for alive
	BPCER     Rate          `json:"bpcer"`                  // bona fide presentations taken for attacks, of those with a response
	Worst     string        `json:"worst_species"`
	Species   []SpeciesRate `json:"species"` // by name
}

// alive says whether a presentation with a response is taken for a person.
func (p *AttackPoint) alive(s Presentation) bool {
	if p.Verdicts != nil {
		return slices.Contains(p.Verdicts, s.Verdict)
	}
	return float64(s.Score) >= p.Threshold
}

// worst is the species of Worst.
func (p *AttackPoint) worst() SpeciesRate {
	return p.Species[slices.IndexFunc(p.Species, func(s SpeciesRate) bool { return s.Species == p.Worst })]
}

// SpeciesRate is one kind of attack instrument.
type SpeciesRate struct {
	Species string `json:"species"`
	APCER   Rate   `json:"apcer"` // attacks taken for bona fide, of those with a response
	APNRR   Rate   `json:"apnrr"` // attacks without a response
}

// Attacks measures attack detection where each list of verdicts is taken for alive, and at the thresholds that reject at
// most the target shares of bona fide presentations. Errors: ErrNoAttacks.
func Attacks(shown []Presentation, verdicts [][]string, targets []float64) (*AttackReport, error) {
	r := &AttackReport{Failed: []Failure{}}
	var alive []float32
	for _, p := range shown {
		if p.Failure != "" {
			r.Failed = append(r.Failed, Failure{p.Species, p.File, p.Failure})
		}
		if p.Species != "" {
			r.Attacks++
		} else if r.BonaFide++; p.Failure == "" {
			alive = append(alive, p.Score)
		}
	}
	if len(alive) == 0 || r.Attacks == 0 {
		return nil, fmt.Errorf("%w: %d bona fide photos, of which %d were judged, and %d attacks", ErrNoAttacks, r.BonaFide, len(alive), r.Attacks)
	}
	slices.Sort(alive)
	r.BPNRR = newRate(int64(r.BonaFide-len(alive)), int64(r.BonaFide))
	for _, v := range verdicts {
		r.Points = append(r.Points, AttackPoint{Verdicts: v})
	}
	for _, target := range targets {
		r.Points = append(r.Points, AttackPoint{Target: target, Threshold: rejecting(alive, target)})
	}
	for i := range r.Points {
		r.Points[i].count(shown)
	}
	return r, nil
}

// rejecting is the highest threshold that at most a share, less than 1, of alive, sorted, is below.
func rejecting(alive []float32, share float64) float64 {
	return float64(alive[int(share*float64(len(alive))+1e-9)])
}

// count fills in the rates.
func (p *AttackPoint) count(shown []Presentation) {
	type counts struct{ all, alive, silent int64 }
	n := map[string]counts{}
	for _, s := range shown {
		c := n[s.Species]
		switch c.all++; {
		case s.Failure != "":
			c.silent++
		case p.alive(s):
			c.alive++
		}
		n[s.Species] = c
	}
	for species, c := range n {
		if answered := c.all - c.silent; species == "" {
			p.BPCER = newRate(answered-c.alive, answered)
		} else {
			p.Species = append(p.Species, SpeciesRate{species, newRate(c.alive, answered), newRate(c.silent, c.all)})
		}
	}
	slices.SortFunc(p.Species, func(a, b SpeciesRate) int { return cmp.Compare(a.Species, b.Species) })
	p.Worst = slices.MaxFunc(p.Species, func(a, b SpeciesRate) int { return cmp.Compare(a.APCER.Rate, b.APCER.Rate) }).Species
}
