// Package chart draws the charts of the reports of bench: one look, on a grid, with a legend.
package chart

import (
	"bytes"
	"cmp"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// Series are points by name, in the order in which names first came. The zero value is empty.
type Series struct {
	names  []string
	points map[string]plotter.XYs
}

// Add adds a point to the line of that name.
func (s *Series) Add(name string, x, y float64) {
	if s.points == nil {
		s.points = map[string]plotter.XYs{}
	}
	if _, ok := s.points[name]; !ok {
		s.names = append(s.names, name)
	}
	s.points[name] = append(s.points[name], plotter.XY{X: x, Y: y})
}

// Empty reports whether there is nothing to draw.
func (s *Series) Empty() bool { return len(s.names) == 0 }

// LinePoints adds the lines to p, with a mark at every point.
func (s *Series) LinePoints(p *plot.Plot) error { return plotutil.AddLinePoints(p, s.args()...) }

// Lines adds the lines to p without marks: for curves of many points.
func (s *Series) Lines(p *plot.Plot) error { return plotutil.AddLines(p, s.args()...) }

func (s *Series) args() (args []any) {
	for _, name := range s.names {
		args = append(args, name, s.points[name])
	}
	return args
}

// Ticks are at every x where there is a point.
func (s *Series) Ticks() plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, name := range s.names {
		for _, p := range s.points[name] {
			ticks = append(ticks, plot.Tick{Value: p.X, Label: strconv.FormatFloat(p.X, 'f', -1, 64)})
		}
	}
	slices.SortFunc(ticks, func(a, b plot.Tick) int { return cmp.Compare(a.Value, b.Value) })
	return slices.Compact(ticks)
}

// New is an empty chart with a legend at the top right.
func New(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top, p.Legend.Padding = true, vg.Points(2)
	p.Add(plotter.NewGrid())
	return p
}

// Save writes folder/name.svg and folder/name.png, width × 13 cm.
func Save(p *plot.Plot, widthCm float64, folder, name string) error {
	for _, format := range []string{".svg", ".png"} {
		if err := p.Save(vg.Length(widthCm)*vg.Centimeter, 13*vg.Centimeter, filepath.Join(folder, name+format)); err != nil {
			return err
		}
	}
	return nil
}

// PNG returns the chart as a PNG of width × height.
func PNG(p *plot.Plot, widthCm, heightCm float64) ([]byte, error) {
	w, err := p.WriterTo(vg.Length(widthCm)*vg.Centimeter, vg.Length(heightCm)*vg.Centimeter, "png")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), err
}
