package evaluate

import (
	"encoding/base64"
	"fmt"
	"html/template"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"mien/bench/chart"
)

// figure is a chart as it stands in the folder and on the page.
type figure struct {
	Name string // of the file, without .png
	Alt  string // what it shows, for who can't see it
	PNG  []byte
}

// Source is the picture within the page.
func (f figure) Source() template.URL {
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(f.PNG))
}

// figures draws what there is data for.
func (r *Report) figures() ([]figure, error) {
	if r.Recognition == nil {
		return nil, nil
	}
	var figures []figure
	for _, c := range []struct {
		name string
		draw func() (*plot.Plot, error)
		alt  string
	}{
		{"distributions", r.Recognition.distributionChart, "Line chart of the shares of mated and of non-mated comparisons by cosine, on a logarithmic axis; the table below has quantiles."},
		{"det", r.Recognition.detChart, "Detection error trade-off: false non-match rate against false match rate, both logarithmic; the table below has the same at round rates."},
		{"calibration", r.Recognition.calibrationChart, "False match rate against cosine: measured, fitted, and as the model pack states it; the table below has the points."},
		{"discard", r.Recognition.discardChart, "Error versus discard: false non-match rate of what is left as photos of low quality are discarded, a line for each measure; the table below has the areas."},
		{"openset", r.Recognition.openSetChart, "False negative against false positive identification rate, a line for each gallery size; the table below has the same at round rates."},
	} {
		p, err := c.draw()
		if err != nil {
			return nil, fmt.Errorf("evaluate: chart %s: %w", c.name, err)
		}
		if p == nil {
			continue
		}
		png, err := chart.PNG(p, 16, 10)
		if err != nil {
			return nil, fmt.Errorf("evaluate: chart %s: %w", c.name, err)
		}
		figures = append(figures, figure{c.name, c.alt, png})
	}
	return figures, nil
}

func (r *Recognition) distributionChart() (*plot.Plot, error) {
	p := chart.New("How comparisons score", "cosine", "share of comparisons, each 0.01 of cosine")
	var s chart.Series
	least := 1.0
	for _, d := range []struct {
		name string
		of   Distribution
	}{{"two people (non-mated)", r.NonMated}, {"one person (mated)", r.Mated}} {
		for _, b := range d.of.Histogram {
			share := float64(b.Count) / float64(d.of.N)
			least = min(least, share)
			s.Add(d.name, b.From+0.005, math.Log10(share))
		}
	}
	chart.Decades(&p.Y, least)
	p.X.Min, p.X.Max = max(-1, r.NonMated.Min-0.05), 1
	p.X.Tick.Marker = plot.DefaultTicks{}
	return p, s.Lines(p)
}

func (r *Recognition) detChart() (*plot.Plot, error) {
	p := chart.New("Detection error trade-off", "false match rate (FMR)", "false non-match rate (FNMR)")
	var s chart.Series
	leastX, leastY := 1.0, 1.0
	for _, t := range r.DET {
		if t.FMR > 0 && t.FNMR > 0 {
			leastX, leastY = min(leastX, t.FMR), min(leastY, t.FNMR)
			s.Add("every comparison counts", math.Log10(t.FMR), math.Log10(t.FNMR))
		}
		if t.FMR > 0 && t.FNMRByPerson > 0 {
			leastY = min(leastY, t.FNMRByPerson)
			s.Add("every person counts", math.Log10(t.FMR), math.Log10(t.FNMRByPerson))
		}
	}
	if s.Empty() {
		return nil, nil
	}
	chart.Decades(&p.X, leastX)
	chart.Decades(&p.Y, leastY)
	return p, s.Lines(p)
}

func (r *Recognition) calibrationChart() (*plot.Plot, error) {
	if r.Calibration == nil {
		return nil, nil
	}
	p := chart.New("False match rate by cosine", "cosine", "false match rate (FMR)")
	var s chart.Series
	for _, t := range r.DET {
		if t.FMR > 0 && t.Threshold > -1 {
			s.Add("measured", t.Threshold, math.Log10(t.FMR))
		}
	}
	least := 1.0
	for _, c := range r.Calibration.Points {
		least = min(least, c.FMR)
		if c.Extrapolated {
			s.Add("extrapolated by the fit", c.Cosine, math.Log10(c.FMR))
		}
	}
	if err := s.Lines(p); err != nil {
		return nil, err
	}
	if err := statedMarks(p, r.Stated); err != nil {
		return nil, err
	}
	chart.Decades(&p.Y, least)
	p.X.Min, p.X.Max = max(-1, r.NonMated.Min), 1
	return p, nil
}

// statedMarks draws what the pack says as crosses.
func statedMarks(p *plot.Plot, stated []Point) error {
	if len(stated) == 0 {
		return nil
	}
	var points plotter.XYs
	for _, s := range stated {
		points = append(points, plotter.XY{X: s.Threshold, Y: math.Log10(s.Target)})
	}
	marks, err := plotter.NewScatter(points)
	if err != nil {
		return err
	}
	marks.GlyphStyle = draw.GlyphStyle{Color: color.Black, Radius: vg.Points(4), Shape: draw.CrossGlyph{}}
	p.Add(marks)
	p.Legend.Add("stated by the pack", marks)
	return nil
}

// drawnMeasures is how many measures a chart can hold.
const drawnMeasures = 6

func (r *Recognition) discardChart() (*plot.Plot, error) {
	if r.Discard == nil || len(r.Discard.Curves) == 0 {
		return nil, nil
	}
	p := chart.New("Errors that are left as the worst photos are discarded, at FMR "+percent(r.Discard.FMR),
		"share of mated comparisons discarded, %", "false non-match rate of the others, %")
	var s chart.Series
	for i, d := range r.Discard.Curves {
		if i < drawnMeasures {
			for k, rate := range d.FNMR {
				s.Add(d.Measure, 100*discardMost*float64(k)/discardSteps, 100*rate)
			}
		}
	}
	if err := s.Lines(p); err != nil {
		return nil, err
	}
	p.Y.Min, p.Y.Max = 0, p.Y.Max*1.6 // room for the legend
	p.X.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 10, Label: "10"}, {Value: 20, Label: "20"}, {Value: 30, Label: "30"}, {Value: 40, Label: "40"}, {Value: 50, Label: "50"}}
	return p, nil
}

func (r *Recognition) openSetChart() (*plot.Plot, error) {
	var s chart.Series
	leastX, leastY := 1.0, 1.0
	for _, o := range r.OpenSet {
		for _, t := range o.Curve {
			if t.FPIR > 0 && t.FNIR > 0 {
				leastX, leastY = min(leastX, t.FPIR), min(leastY, t.FNIR)
				s.Add(fmt.Sprintf("%d people enrolled", o.Gallery), math.Log10(t.FPIR), math.Log10(t.FNIR))
			}
		}
	}
	if s.Empty() {
		return nil, nil
	}
	p := chart.New("Open-set identification", "false positive identification rate (FPIR)", "false negative identification rate (FNIR)")
	chart.Decades(&p.X, leastX)
	chart.Decades(&p.Y, leastY)
	return p, s.Lines(p)
}
