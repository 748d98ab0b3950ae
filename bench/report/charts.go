package main

import (
	"cmp"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

const dim = 512 // what charts of kernels show

// series are points by name, in the order in which names first came.
type series struct {
	names  []string
	points map[string]plotter.XYs
}

func (s *series) add(name string, x, y float64) {
	if s.points == nil {
		s.points = map[string]plotter.XYs{}
	}
	if _, ok := s.points[name]; !ok {
		s.names = append(s.names, name)
	}
	s.points[name] = append(s.points[name], plotter.XY{X: x, Y: y})
}

func charts(lines []line, folder string) error {
	for name, draw := range map[string]func([]line) (*plot.Plot, error){"search": searchChart, "passes": passesChart, "bandwidth": bandwidthChart} {
		p, err := draw(lines)
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		for _, format := range []string{".svg", ".png"} {
			if err := p.Save(22*vg.Centimeter, 13*vg.Centimeter, filepath.Join(folder, name+format)); err != nil {
				return err
			}
		}
	}
	return nil
}

// number is a key's value, 0 if it has none.
func (l line) number(key string) float64 {
	x, _ := strconv.ParseFloat(l.keys[key], 64)
	return x
}

func searchChart(lines []line) (*plot.Plot, error) {
	var s series
	for _, l := range lines {
		if l.pkg == "mien/bench" && l.name == "Search" && l.number("rows") > 0 {
			s.add(cmp.Or(l.keys["kind"], "index"), l.number("rows"), 1e9/l.value["ns/op"])
		}
	}
	return s.logLog("Search, one probe at a time, "+strconv.Itoa(dim)+" numbers a template", "rows", "probes a second")
}

// passesChart: a probe over a million rows takes a million comparisons.
func passesChart(lines []line) (*plot.Plot, error) {
	var s series
	for _, l := range lines {
		switch level := l.level(); {
		case !l.has("DRAM") || level == "" || level == "vek":
		case l.name == "DotRows" && l.number("dim") == dim && l.number("queries") > 0:
			s.add("float32, "+level, l.number("queries"), l.number("queries")*l.value["MB/s"]/(4*dim))
		case l.name == "ScanSketch" && l.number("words") == dim/64 && l.number("probes") > 0:
			s.add(l.keys["planes"]+"-bit probe, 1-bit rows, "+level, l.number("probes"), 1e3/l.value["ns/cmp"])
		}
	}
	return s.logLog("A million rows of "+strconv.Itoa(dim)+" from memory, one core", "probes that share a pass", "probes a second")
}

// logLog draws lines on two logarithmic axes, nil if there is nothing to draw.
func (s *series) logLog(title, x, y string) (*plot.Plot, error) {
	if len(s.names) == 0 {
		return nil, nil
	}
	p := newPlot(title, x, y)
	var args []any
	for _, name := range s.names {
		args = append(args, name, s.points[name])
	}
	if err := plotutil.AddLinePoints(p, args...); err != nil {
		return nil, err
	}
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = s.ticks(), plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = p.Y.Min/1.5, p.Y.Max*1.5
	p.X.Max *= math.Pow(p.X.Max/p.X.Min, 0.5) // room for the legend
	return p, nil
}

// ticks are where there is a point.
func (s *series) ticks() plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, name := range s.names {
		for _, p := range s.points[name] {
			ticks = append(ticks, plot.Tick{Value: p.X, Label: strconv.FormatFloat(p.X, 'f', -1, 64)})
		}
	}
	slices.SortFunc(ticks, func(a, b plot.Tick) int { return cmp.Compare(a.Value, b.Value) })
	return slices.Compact(ticks)
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top, p.Legend.Padding, p.Legend.XOffs = true, vg.Points(2), -vg.Points(5)
	p.Add(plotter.NewGrid())
	return p
}

// bandwidthChart has a group of bars for each kernel and a bar for each level; Sum, of the widest level only, stands
// alone.
func bandwidthChart(lines []line) (*plot.Plot, error) {
	var groups, levels []string
	value := map[[2]string]float64{}
	for _, l := range lines {
		group, level := bandwidthGroup(l), cmp.Or(l.level(), "reading")
		if group == "" {
			continue
		}
		if !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
		if !slices.Contains(levels, level) {
			levels = append(levels, level)
		}
		value[[2]string{group, level}] = l.value["MB/s"] / 1000
	}
	if len(groups) == 0 {
		return nil, nil
	}
	p := newPlot("What passes by from memory, one core, one probe", "", "GB/s")
	const width = 20
	for i, level := range levels {
		values := make(plotter.Values, len(groups))
		for g, group := range groups {
			values[g] = value[[2]string{group, level}]
		}
		bars, err := plotter.NewBarChart(values, vg.Points(width))
		if err != nil {
			return nil, err
		}
		bars.Color, bars.LineStyle.Width = plotutil.Color(i), 0
		bars.Offset = vg.Points(width * (float64(i) - float64(len(levels)-1)/2))
		p.Add(bars)
		p.Legend.Add(level, bars)
	}
	p.NominalX(groups...)
	p.X.Min, p.X.Max = -0.5, float64(len(groups))+0.1 // whole bars, and room for the legend
	p.Y.Min = 0
	return p, nil
}

// bandwidthGroup names the group of bars that a benchmark belongs to, "" if to none.
func bandwidthGroup(l line) string {
	switch {
	case !l.has("DRAM"):
	case l.name == "Sum":
		return "none"
	case l.name == "DotRows" && l.number("dim") == dim && (l.level() == "vek" || l.number("queries") == 1):
		return "float32"
	case l.name == "DotInt8Rows" && l.number("dim") == dim:
		return "int8"
	case l.name == "ScanSketch" && l.number("words") == dim/64 && l.number("probes") == 1:
		return "1-bit rows,\n" + l.keys["planes"] + "-bit probe"
	}
	return ""
}
