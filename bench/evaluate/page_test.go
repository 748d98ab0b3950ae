package evaluate

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// full is a report with something in every part. Names are hostile.
func full(t *testing.T) *Report {
	s := people(random(t), 500, 16)
	s.Measures = []string{"sharpness", "constant"}
	for i := range s.Photos {
		s.Photos[i].Quality = []float32{float32(i % 90), 1}
	}
	s.Photos[0].Failure, s.Photos[0].File = "no_face", `<script>alert("x")</script>.jpg`
	// A mated pair that fails.
	s.Photos = append(s.Photos, Photo{Person: s.Photos[1].Person, File: "bad.jpg", Template: unit(random(t), 16, nil, 1), Quality: []float32{0, 1}})
	e, err := Recognise(t.Context(), s, Config{Stated: []CalibrationPoint{{.2, .1, false}, {.5, 1e-2, false}}, DiscardFMR: 1e-2, Galleries: []int{50}})
	if err != nil {
		t.Fatal(err)
	}
	e.Agreement = &Agreement{Pairs: 2, Correlation: .9, Largest: -.1, A: "a&b.jpg", B: "c.jpg"}
	a, err := Attacks([]Presentation{{Score: .9}, {Score: .8}, {Failure: "no_face", File: "n.jpg"}, {Species: "print <A4>", Score: .6, Verdict: "live"}}, [][]string{{"live"}}, []float64{.05})
	if err != nil {
		t.Fatal(err)
	}
	return &Report{About: About{Command: "mien evaluate <lfw>", Date: "today", Pack: "default", Space: "s", Data: "lfw"}, Recognition: e, Attacks: a}
}

// element is what the page has of one name.
type element struct{ attrs []map[string]string }

// parse reads the page as XML: whatever isn't closed or quoted is an error. Text comes too.
func parse(t *testing.T, page []byte) (elements map[string]*element, text string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Entity = xml.HTMLEntity
	elements = map[string]*element{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return elements, text
		}
		if err != nil {
			t.Fatalf("the page doesn't parse: %v", err)
		}
		switch x := token.(type) {
		case xml.CharData:
			text += string(x)
		case xml.StartElement:
			if elements[x.Name.Local] == nil {
				elements[x.Name.Local] = &element{}
			}
			attrs := map[string]string{}
			for _, a := range x.Attr {
				attrs[a.Name.Local] = a.Value
			}
			elements[x.Name.Local].attrs = append(elements[x.Name.Local].attrs, attrs)
		}
	}
}

func (e *element) all(attr string) (values []string) {
	if e == nil {
		return nil
	}
	for _, a := range e.attrs {
		values = append(values, a[attr])
	}
	return values
}

func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: charts take long to draw")
	}
	folder := filepath.Join(t.TempDir(), "out", "deep")
	r := full(t)
	if r.Recognition.Calibration == nil || r.Recognition.Discard == nil || len(r.Recognition.OpenSet) == 0 {
		t.Fatal("the report has not everything")
	}
	if err := r.Write(folder); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(folder, PageName))
	if err != nil {
		t.Fatal(err)
	}
	elements, text := parse(t, page)
	tables := []string{"points", "distributions", "stated", "calibration", "openset", "discard", "failures", "highest", "lowest", "agreement", "attacks", "unanswered"}
	for i, id := range elements["table"].all("id") {
		if i >= len(tables) || id != "table-"+tables[i] {
			t.Errorf("table %d is %q", i, id)
		}
	}
	if n := len(elements["table"].attrs); n != len(tables) || len(elements["caption"].attrs) != n {
		t.Errorf("%d tables with %d captions, not %d", n, len(elements["caption"].attrs), len(tables))
	}
	checkSelfContained(t, elements)
	checkCharts(t, elements["img"], folder)
	for _, want := range []string{"mien evaluate <lfw>", "<script>alert(\"x\")</script>.jpg", "print <A4>", "(worst)", "a&b.jpg", "constant", "extrapolated"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page doesn't say %q", want)
		}
	}
	for _, href := range elements["a"].all("href") {
		if !slices.Contains(elements["h2"].all("id"), strings.TrimPrefix(href, "#")) {
			t.Errorf("a link to %s, which isn't there", href)
		}
	}
	checkData(t, folder, r)
}

func checkSelfContained(t *testing.T, elements map[string]*element) {
	t.Helper()
	for _, name := range []string{"script", "link", "iframe", "object", "form"} {
		if elements[name] != nil {
			t.Errorf("the page has a %s", name)
		}
	}
	if html := elements["html"].attrs[0]; html["lang"] != "en" || len(elements["h1"].attrs) != 1 {
		t.Errorf("lang %q, %d h1", html["lang"], len(elements["h1"].attrs))
	}
}

// checkCharts: each picture is inside the page, decodes, has a text, and lies in the folder too.
func checkCharts(t *testing.T, images *element, folder string) {
	t.Helper()
	names := []string{"det", "distributions", "calibration", "openset", "discard"}
	if len(images.attrs) != len(names) {
		t.Fatalf("%d pictures", len(images.attrs))
	}
	for i, a := range images.attrs {
		encoded, ok := strings.CutPrefix(a["src"], "data:image/png;base64,")
		data, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(a["alt"]) < 40 {
			t.Fatalf("picture %s: %v, alt %q, src %.40s", names[i], err, a["alt"], a["src"])
		}
		if m, err := png.Decode(bytes.NewReader(data)); err != nil || m.Bounds().Dx() < 900 {
			t.Errorf("picture %s: %v", names[i], err)
		}
		if file, err := os.ReadFile(filepath.Join(folder, names[i]+".png")); err != nil || !bytes.Equal(file, data) {
			t.Errorf("%s.png: %v", names[i], err)
		}
	}
}

// checkData: report.json reads back as the report.
func checkData(t *testing.T, folder string, r *Report) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, DataName))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || !bytes.Equal(indented(back), indented(r)) {
		t.Errorf("%s doesn't read back: %v", DataName, err)
	}
}

// TestPageOfParts: a list of pairs alone, and attacks alone.
func TestPageOfParts(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: charts take long to draw")
	}
	e, err := Recognise(t.Context(), pairsOf([]float64{.9}, []float64{.1, .2}), Config{})
	if err != nil {
		t.Fatal(err)
	}
	whole := full(t)
	for i, r := range []*Report{{Recognition: e}, {Attacks: whole.Attacks}} {
		figures, err := r.figures()
		if err != nil {
			t.Fatal(err)
		}
		page, err := r.html(figures)
		if err != nil {
			t.Fatal(err)
		}
		elements, _ := parse(t, page)
		if want := []int{5, 2}[i]; len(elements["table"].attrs) != want {
			t.Errorf("report %d has tables %v", i, elements["table"].all("id"))
		}
		if r.Text() == "" || r.CalibrationFile() != nil {
			t.Errorf("report %d: %q, %v", i, r.Text(), r.CalibrationFile())
		}
	}
}

func TestCalibrationFile(t *testing.T) {
	r := full(t)
	var f CalibrationFile
	if err := json.Unmarshal(r.CalibrationFile().JSON(), &f); err != nil {
		t.Fatal(err)
	}
	e := r.Recognition
	if f.Format != 1 || f.Space != "s" || f.Set != "lfw" || f.People != e.People || f.Photos != e.Templates || f.MatedPairs != e.Mated.N ||
		f.NonMatedPairs != e.NonMated.N || !slices.Equal(f.Points, e.Calibration.Points) || !strings.HasPrefix(f.Source, "lfw: ") {
		t.Errorf("%+v", f)
	}
}

func TestNumbersAsText(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 1: "100.0 %", .5: "50.0 %", .0123: "1.23 %", .001: "0.10 %", .00094: "9.4e-4", 1e-9: "1.0e-9", 3.2e-12: "3.2e-12"} {
		if got := percent(x); got != want {
			t.Errorf("percent of %v: %q, not %q", x, got, want)
		}
	}
	for want, i := range map[string]Interval{"0.53 to 1.38 %": {.0053, .0138}, "9.3e-4 to 1.1e-3": {.00093, .0011}, "0 to 0.70 %": {0, .007}, "8.5e-5 to 12.0 %": {8.5e-5, .12}} {
		if got := intervalText(i); got != want {
			t.Errorf("%v: %q, not %q", i, got, want)
		}
	}
	for x, want := range map[float64]string{1e-6: "1e-6", 2.5e-3: "2.5e-3", .5: "0.5"} {
		if got := powerText(x); got != want {
			t.Errorf("power of %v: %q, not %q", x, got, want)
		}
	}
	for x, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 13437638: "13,437,638"} {
		if got := countText(x); got != want {
			t.Errorf("count of %v: %q, not %q", x, got, want)
		}
	}
	if cosineText(-.1234) != "−0.123" || expectedText(0) != "–" || expectedText(.001) != "< 0.01" || expectedText(1.5) != "1.50" {
		t.Error(cosineText(-.1234), expectedText(0), expectedText(.001), expectedText(1.5))
	}
}

// TestListsAllBeyond: every non-mated comparison beyond the last counted rate is in the list, up to MaxListed, and both the
// page and the data say how many there are.
func TestListsAllBeyond(t *testing.T) {
	for _, n := range []struct {
		errors int // photos that are in the set once more, under another name
		listed func(beyond int) int
	}{
		{40, func(beyond int) int { return beyond }},
		{500, func(int) int { return MaxListed }},
	} {
		s := people(random(t), 300, 16)
		for i, p := range s.Photos[:n.errors] {
			s.Photos = append(s.Photos, Photo{Person: fmt.Sprint("again", i), File: fmt.Sprintf("again%d/1.jpg", i), Template: p.Template})
		}
		e, err := Recognise(t.Context(), s, Config{Galleries: []int{}})
		if err != nil {
			t.Fatal(err)
		}
		last, beyond := e.Calibration.last().Cosine, 0
		named := map[[2]string]bool{}
		for _, l := range e.HighestNonMated {
			named[[2]string{l.A, l.B}] = true
		}
		for i, a := range s.Photos {
			for _, b := range s.Photos[i+1:] {
				if a.Person == b.Person || dotOf(a.Template, b.Template) < last {
					continue
				}
				beyond++
				if !named[[2]string{a.File, b.File}] && !named[[2]string{b.File, a.File}] && len(named) < MaxListed {
					t.Errorf("%s and %s are not listed", a.File, b.File)
				}
			}
		}
		if want := n.listed(beyond); len(e.HighestNonMated) != want || math.Abs(float64(e.Calibration.Beyond)-float64(beyond)) > 1 {
			t.Errorf("%d label errors: %d listed of %d beyond, by the report %d; want %d", n.errors, len(e.HighestNonMated), beyond, e.Calibration.Beyond, want)
		}
		page, err := (&Report{Recognition: e}).html(nil)
		if err != nil {
			t.Fatal(err)
		}
		_, text := parse(t, page)
		says := "all of them are listed"
		if e.Unlisted() > 0 {
			says = "the 300 highest are listed"
		}
		if !strings.Contains(text, countText(e.Calibration.Beyond)+" non-mated comparisons are beyond") || !strings.Contains(text, says) {
			t.Errorf("%d label errors: the page doesn't say %q of %d", n.errors, says, e.Calibration.Beyond)
		}
	}
}

func dotOf(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
