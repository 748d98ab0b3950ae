package main

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"mien/bench/chart"
)

const dim = 512 // what charts of kernels show

func charts(lines []line, folder string) error {
	for name, draw := range map[string]func([]line) (*plot.Plot, error){"search": searchChart, "passes": passesChart, "bandwidth": bandwidthChart} {
		p, err := draw(lines)
		if err != nil {
			return err
		}
		if p == nil {
			continue
		}
		if err := chart.Save(p, 22, folder, name); err != nil {
			return err
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
	var s chart.Series
	for _, l := range lines {
		if l.pkg == "mien/bench" && l.name == "Search" && l.number("rows") > 0 {
			s.Add(cmp.Or(l.keys["kind"], "index"), l.number("rows"), 1e9/l.value["ns/op"])
		}
	}
	return logLog(&s, "Search, one probe at a time, "+strconv.Itoa(dim)+" numbers a template", "rows", "probes a second")
}

// passesChart: a probe over a million rows takes a million comparisons.
func passesChart(lines []line) (*plot.Plot, error) {
	var s chart.Series
	for _, l := range lines {
		switch level := l.level(); {
		case !l.has("DRAM") || level == "" || level == "vek":
		case l.name == "DotRows" && l.number("dim") == dim && l.number("queries") > 0:
			s.Add("float32, "+level, l.number("queries"), l.number("queries")*l.value["MB/s"]/(4*dim))
		case l.name == "ScanSketch" && l.number("words") == dim/64 && l.number("probes") > 0:
			s.Add(l.keys["planes"]+"-bit probe, 1-bit rows, "+level, l.number("probes"), 1e3/l.value["ns/cmp"])
		}
	}
	return logLog(&s, "A million rows of "+strconv.Itoa(dim)+" from memory, one core", "probes that share a pass", "probes a second")
}

// logLog draws lines on two logarithmic axes, nil if there is nothing to draw.
func logLog(s *chart.Series, title, x, y string) (*plot.Plot, error) {
	if s.Empty() {
		return nil, nil
	}
	p := newPlot(title, x, y)
	if err := s.LinePoints(p); err != nil {
		return nil, err
	}
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = s.Ticks(), plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = p.Y.Min/1.5, p.Y.Max*1.5
	p.X.Max *= math.Pow(p.X.Max/p.X.Min, 0.5) // room for the legend
	return p, nil
}

func newPlot(title, x, y string) *plot.Plot {
	p := chart.New(title, x, y)
	p.Legend.XOffs = -vg.Points(5)
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
