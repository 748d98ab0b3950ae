package main

import (
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"mien/bench/chart"
)

// charts draws recall@10 against probes a second on one thread, a chart for each gallery: a line for each graph, a point
// for each ef, and a point for each setting of what has none.
func (r *report) charts() error {
	type key struct {
		variant string
		rows    int
	}
	var keys []key
	lines := map[key][]result{}
	for _, l := range r.Results {
		k := key{l.Variant, l.Rows}
		if lines[k] == nil {
			keys = append(keys, k)
		}
		lines[k] = append(lines[k], l)
	}
	for _, k := range keys {
		p, err := recallChart(lines[k])
		if err != nil {
			return err
		}
		p.Title.Text = fmt.Sprintf("%s, %d rows of %d numbers, one thread", k.variant, k.rows, r.Dim)
		if err := chart.Save(p, 26, r.folder, fmt.Sprintf("recall-%s-%d", k.variant, k.rows)); err != nil {
			return err
		}
	}
	return nil
}

func recallChart(lines []result) (*plot.Plot, error) {
	var s chart.Series
	for _, l := range lines {
		name := l.Name
		if l.EF == 0 {
			name += ", " + l.Setting
		}
		s.Add(name, nines(l.Recall10), l.PerSecond1)
	}
	p := chart.New("", "recall@10", "probes a second")
	if err := s.LinePoints(p); err != nil {
		return nil, err
	}
	p.X.Min, p.X.Tick.Marker = min(p.X.Min, nines(0.9)), recallTicks()
	p.X.Max = nines(1) + 0.55*(nines(1)-p.X.Min) // room for the legend
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = p.Y.Min/1.5, p.Y.Max*1.5
	p.Legend.YOffs = -vg.Points(5)
	p.Legend.TextStyle.Font.Size = vg.Points(9)
	return p, nil
}

// nines spreads what is close to 1: 0.9, 0.99 and 0.999 are one apart, nearly, and 1 is 4.
func nines(recall float64) float64 { return -math.Log10(1 - recall + 1e-4) }

func recallTicks() plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, r := range []float64{0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1} {
		ticks = append(ticks, plot.Tick{Value: nines(r), Label: strconv.FormatFloat(r, 'f', -1, 64)})
	}
	return ticks
}
