package evaluate

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Files of a report, beside a PNG for each chart.
const (
	PageName = "index.html" // everything, self-contained
	DataName = "report.json"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": percent, "cosine": cosineText, "count": countText, "bounds": boundsText, "people": peopleText, "power": powerText,
	"quantile": func(q float64) string { return strconv.FormatFloat(100*q, 'f', -1, 64) + " %" }, "expected": expectedText,
}).Parse(pageText))

// page is what the template sees.
type page struct {
	*Report
	figures map[string]figure
}

// Chart is the figure of that name, or nothing if there was no data for it.
func (p page) Chart(name string) (template.HTML, error) {
	f, ok := p.figures[name]
	if !ok {
		return "", nil
	}
	var b strings.Builder
	err := figureTemplate.Execute(&b, f)
	return template.HTML(b.String()), err
}

var figureTemplate = template.Must(template.New("figure").Parse(`<figure><img src="{{.Source}}" alt="{{.Alt}}" width="1008" height="630"/></figure>`))

// Write makes the folder and writes the page, the data and the charts into it; what it holds of those names is replaced.
func (r *Report) Write(folder string) error {
	figures, err := r.figures()
	if err != nil {
		return err
	}
	text, err := r.html(figures)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	write := func(name string, data []byte) error { return os.WriteFile(filepath.Join(folder, name), data, 0o666) }
	errs := []error{write(PageName, text), write(DataName, indented(r))}
	for _, f := range figures {
		errs = append(errs, write(f.Name+".png", f.PNG))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	return nil
}

func (r *Report) html(figures []figure) ([]byte, error) {
	p := page{Report: r, figures: map[string]figure{}}
	for _, f := range figures {
		p.figures[f.Name] = f
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, p)
	return b.Bytes(), err
}

// Headline is the result in a sentence or two.
func (r *Report) Headline() string {
	var parts []string
	if e := r.Recognition; e != nil {
		for _, p := range e.Points {
			if !p.Few && !p.Suspect {
				parts = append(parts, fmt.Sprintf("FNMR %s at FMR %s", percent(p.FNMR.Rate), powerText(p.Target)))
			}
		}
	}
	if a := r.Attacks; a != nil && len(a.Points) > 0 {
		p := a.Points[0]
		parts = append(parts, fmt.Sprintf("APCER %s (%s, the worst species) at BPCER %s, by %s", percent(p.worst().APCER.Rate), p.Worst, percent(p.BPCER.Rate), p.Rule()))
	}
	return strings.Join(parts, "; ") + "."
}

// Text is the report in short, for a terminal.
func (r *Report) Text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if r.Recognition != nil {
		r.Recognition.text(w)
	}
	if r.Attacks != nil {
		r.Attacks.text(w)
	}
	_ = w.Flush() // to memory
	return strings.TrimSuffix(b.String(), "\n")
}

func (e *Recognition) text(w *tabwriter.Writer) {
	fmt.Fprintf(w, "%d photos, no template of %v; %d people, %v without any\n", e.Photos, e.Acquisition.FTA, e.People, e.Acquisition.FTE)
	fmt.Fprintf(w, "%d mated comparisons, cosine %.3f ± %.3f; %d non-mated, %.3f ± %.3f\n", e.Mated.N, e.Mated.Mean, e.Mated.SD, e.NonMated.N, e.NonMated.Mean, e.NonMated.SD)
	fmt.Fprintf(w, "equal error rate %s at cosine %.3f\n\nFMR\tcosine\tFNMR\t95 %% over people\tmean over people\n", percent(e.EER.Rate), e.EER.Threshold)
	for _, p := range e.Points {
		fmt.Fprintf(w, "%s\t%.3f\t%v\t%s\t%s  %s\n", powerText(p.Target), p.Threshold, p.FNMR, peopleText(p.FNMR), percent(p.FNMRByPerson), p.Doubt())
	}
	if len(e.OpenSet) > 0 {
		fmt.Fprint(w, "\nenrolled\tFPIR\tcosine\tFNIR\n")
	}
	for _, o := range e.OpenSet {
		for _, p := range o.Points {
			fmt.Fprintf(w, "%d\t%s\t%.3f\t%v\n", o.Gallery, percent(p.Target), p.Threshold, p.FNIR)
		}
	}
	if a := e.Agreement; a != nil {
		fmt.Fprintf(w, "\n%d reference scores: correlation %.6f, largest difference %+.4f\n", a.Pairs, a.Correlation, a.Largest)
	}
}

func (a *AttackReport) text(w *tabwriter.Writer) {
	fmt.Fprintf(w, "\n%d bona fide photos, no answer for %v; %d attacks\ntaken for alive\tBPCER\tworst species\tAPCER\n", a.BonaFide, a.BPNRR, a.Attacks)
	for _, p := range a.Points {
		s := p.worst()
		fmt.Fprintf(w, "%s\t%v\t%s, of %d\t%v\n", p.Rule(), p.BPCER, s.Species, len(p.Species), s.APCER)
	}
}

// cosineText has as many digits as templates bear.
func cosineText(x float64) string {
	return strings.Replace(strconv.FormatFloat(x, 'f', 3, 64), "-", "−", 1)
}

// powerText writes a target rate.
func powerText(x float64) string {
	if x >= 0.1 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	return strings.Replace(strings.Replace(scientific(x), ".0e", "e", 1), "+", "", 1)
}

// countText groups the digits of a whole number, not negative, by three.
func countText(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func boundsText(r Rate) string { return intervalText(Interval{r.Low, r.High}) }

func peopleText(r Rate) string {
	if r.People == nil {
		return "–"
	}
	return intervalText(*r.People)
}

// intervalText writes both ends alike.
func intervalText(i Interval) string {
	low, high := percent(i.Low), percent(i.High)
	number, inPercent := strings.CutSuffix(low, " %")
	if inPercent && strings.HasSuffix(high, " %") {
		return number + " to " + high
	}
	if inPercent || strings.HasSuffix(high, " %") && i.High < 0.01 && i.Low > 0 {
		high = scientific(i.High)
	}
	return low + " to " + high
}

// expectedText of a count: one pair is certain to be listed, so less than a hundredth is as good as none.
func expectedText(n float64) string {
	switch {
	case n == 0:
		return "–"
	case n < 0.01:
		return "< 0.01"
	}
	return strconv.FormatFloat(n, 'f', 2, 64)
}

// Rule says what is taken for alive.
func (p AttackPoint) Rule() string {
	if p.Verdicts != nil {
		return "verdict " + strings.Join(p.Verdicts, " or ")
	}
	return fmt.Sprintf("score ≥ %.3f (BPCER ≤ %s)", p.Threshold, percent(p.Target))
}
