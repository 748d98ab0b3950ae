package chart

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

func TestPictures(t *testing.T) {
	var s Series
	for _, name := range []string{"b", "a"} {
		for x := range 3 {
			s.Add(name, float64(x), float64(-x))
		}
	}
	for name, draw := range map[string]func(*plot.Plot) error{"lines": s.Lines, "points": s.LinePoints} {
		p := New(name, "x", "y")
		if err := draw(p); err != nil {
			t.Fatal(err)
		}
		Decades(&p.Y, 0.002)
		data, err := PNG(p, 8, 5)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := png.Decode(bytes.NewReader(data)); err != nil || m.Bounds().Dx() < 490 || m.Bounds().Dx() > 510 {
			t.Errorf("%s: %v, %v", name, err, m.Bounds())
		}
		folder := t.TempDir()
		if err := Save(p, 8, folder, name); err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{".svg", ".png"} {
			if info, err := os.Stat(filepath.Join(folder, name+format)); err != nil || info.Size() < 100 {
				t.Errorf("%s%s: %v", name, format, err)
			}
		}
	}
	if s.Empty() || !new(Series).Empty() || len(s.Ticks()) != 3 {
		t.Errorf("%d ticks", len(s.Ticks()))
	}
}

func TestDecades(t *testing.T) {
	p := New("", "", "")
	for least, want := range map[float64]string{1e-5: "1e-5 1e-4 0.1 % 1 % 10 % 100 % ", .02: "1 % 10 % 100 % ", 1: "100 % "} {
		Decades(&p.X, least)
		var got strings.Builder
		for _, tick := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
			got.WriteString(tick.Label + " ")
		}
		if got.String() != want {
			t.Errorf("down to %v: %s, not %s", least, got.String(), want)
		}
	}
}
