// Package chart draws the charts of the reports of bench: one look, on a grid, with a legend.
package chart

import (
	"bytes"
	"cmp"
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
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

// palette can be told apart by who does not see all colours (Okabe and Ito, Color Universal Design, 2008).
var palette = []color.Color{
	color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255},
	color.RGBA{204, 121, 167, 255}, color.RGBA{230, 159, 0, 255}, color.RGBA{70, 70, 70, 255},
}

// Lines adds the lines to p without marks: for curves of many points, which must be finite.
func (s *Series) Lines(p *plot.Plot) error {
	for i, name := range s.names {
		l, err := plotter.NewLine(s.points[name])
		if err != nil {
			return err
		}
		l.Width, l.Color, l.Dashes = vg.Points(1.6), palette[i%len(palette)], plotutil.Dashes(i)
		p.Add(l)
		p.Legend.Add(name, l)
	}
	return nil
}

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
	p.Legend.ThumbnailWidth = vg.Points(28)
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.Legend.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font} {
		f.Variant = "Sans"
	}
	p.Add(plotter.NewGrid())
	return p
}

// Decades makes a the axis of the decimal logarithms of rates, from the decade of least to 1. The caller adds logarithms: the
// library's own logarithmic axis leaves room above for the label, which it takes to be in the middle of the numbers.
func Decades(a *plot.Axis, least float64) {
	a.Min, a.Max = math.Floor(math.Log10(least)+1e-9), 0
	var ticks plot.ConstantTicks
	for e := int(a.Min); e <= 0; e++ {
		label := "1e" + strconv.Itoa(e)
		if e >= -3 {
			label = strconv.FormatFloat(math.Pow(10, float64(e+2)), 'f', -1, 64) + " %"
		}
		ticks = append(ticks, plot.Tick{Value: float64(e), Label: label})
	}
	a.Tick.Marker = ticks
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

// dpi of a picture within a page: sharp at twice the size of its points.
const dpi = 160

// PNG returns the chart as a PNG of width × height.
func PNG(p *plot.Plot, widthCm, heightCm float64) ([]byte, error) {
	c := vgimg.NewWith(vgimg.UseWH(vg.Length(widthCm)*vg.Centimeter, vg.Length(heightCm)*vg.Centimeter), vgimg.UseDPI(dpi))
	p.Draw(draw.New(c))
	var b bytes.Buffer
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(&b)
	return b.Bytes(), err
}
