package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/index/scan"
)

// TestScripts runs testdata/script; -rewrite accepts what the engine answers. Commands and their arguments
// are the methods of script below. The clock goes up a second with each write.
func TestScripts(t *testing.T) {
	for _, kind := range []string{indexScan, indexHNSW} {
		t.Run(kind, func(t *testing.T) { runScripts(t, kind) })
	}
}

// runScripts makes all indexes of one kind, whatever their galleries ask for.
func runScripts(t *testing.T, kind string) {
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		c := testConfig(vfs.NewMem())
		c.makeIndex = func(_ string, s scan.Config) (searcher, error) { return makeIndex(kind, s) }
		second := int64(0)
		c.Now = func() time.Time { second++; return time.Unix(second, 0) }
		c.decisionNow = func() time.Time { return time.Unix(0, 0) }
		s := &script{config: c, e: open(t, c), gallery: "g"}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out, err := s.run(t, d)
			if err != nil {
				return "error: " + err.Error() + "\n"
			}
			return out
		})
		mustCheck(t, s.e)
	})
}

type script struct {
	config  Config
	e       *Engine
	gallery string
}

const scriptTenant = "acme"

func (s *script) run(t *testing.T, d *datadriven.TestData) (string, error) {
	ctx := context.Background()
	d.MaybeScanArgs(t, "gallery", &s.gallery)
	switch d.Cmd {
	case "gallery":
		spec := GallerySpec{Policy: policyArg(d)}
		d.MaybeScanArgs(t, "space", &spec.Space)
		d.MaybeScanArgs(t, "index", &spec.Index)
		g, created, err := s.e.CreateGallery(ctx, scriptTenant, d.CmdArgs[0].Key, spec)
		return show(map[string]any{"created": created, "gallery": g}, err)
	case "galleries":
		return show(s.e.Galleries(ctx, scriptTenant))
	case "delete-gallery":
		return "ok\n", s.e.DeleteGallery(ctx, scriptTenant, d.CmdArgs[0].Key)
	case "move":
		spec := MoveSpec{Policy: policyArg(d)}
		d.MaybeScanArgs(t, "space", &spec.Space)
		return show(s.e.StartMove(ctx, scriptTenant, s.gallery, spec))
	case "finish-move":
		space := ""
		d.MaybeScanArgs(t, "space", &space)
		return show(s.e.FinishMove(ctx, scriptTenant, s.gallery, space, d.HasArg("drop")))
	case "cancel-move":
		return "ok\n", s.e.CancelMove(ctx, scriptTenant, s.gallery)
	case "reopen":
		s.e = reopen(t, s.e, s.config)
		return "ok\n", check(s.e)
	case "list":
		return s.list(ctx, t, d)
	}
	return s.runPerson(ctx, d)
}

func (s *script) runPerson(ctx context.Context, d *datadriven.TestData) (string, error) {
	id := ""
	if len(d.CmdArgs) > 0 {
		id = d.CmdArgs[0].Key
	}
	templates, metadata := inputArgs(d)
	switch d.Cmd {
	case "put":
		p, created, err := s.e.PutPerson(ctx, scriptTenant, s.gallery, id, PersonSpec{Templates: templates, Metadata: metadata})
		return show(map[string]any{"created": created, "person": p}, err)
	case "add":
		return show(s.e.AddTemplate(ctx, scriptTenant, s.gallery, id, TemplateSpec{Templates: templates}))
	case "patch":
		return show(s.e.PatchPerson(ctx, scriptTenant, s.gallery, id, PersonPatch{Metadata: new(metadata)}))
	case "get":
		return show(s.e.Person(ctx, scriptTenant, s.gallery, id))
	case "delete":
		return "ok\n", s.e.DeletePerson(ctx, scriptTenant, s.gallery, id, WriteOptions{})
	case "verify":
		v, err := s.e.Verify(ctx, scriptTenant, s.gallery, id, templates[0], policyArg(d))
		return fmt.Sprintf("match=%v similarity=%.4f cosine=%.4f fmr=%.3g threshold=%.4f\n", v.Match, v.Similarity, v.Cosine, v.FMR, v.Threshold), err
	case "compare":
		v, err := s.e.Compare(ctx, templates[0], templates[1], policyArg(d))
		return fmt.Sprintf("match=%v similarity=%.4f cosine=%.4f fmr=%.3g threshold=%.4f\n", v.Match, v.Similarity, v.Cosine, v.FMR, v.Threshold), err
	case "identify", "duplicates":
		return s.search(ctx, d, templates[0])
	}
	return "", errors.New("unknown command")
}

func (s *script) search(ctx context.Context, d *datadriven.TestData, probe Template) (string, error) {
	o := IdentifyOptions{Policy: policyArg(d)}
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "k":
			o.TopK, _ = strconv.Atoi(a.Vals[0])
		case "ef":
			o.EF, _ = strconv.Atoi(a.Vals[0])
		}
	}
	do := s.e.Identify
	if d.Cmd == "duplicates" {
		do = s.e.Duplicates
	}
	r, err := do(ctx, scriptTenant, s.gallery, probe, o)
	var b strings.Builder
	fmt.Fprintf(&b, "searched=%d threshold=%.4f\n", r.Searched, r.Threshold)
	for _, c := range r.Candidates {
		fmt.Fprintf(&b, "%s similarity=%.4f cosine=%.4f fmr=%.3g fpir=%.3g\n", c.Person, c.Similarity, c.Cosine, c.FMR, c.FPIR)
	}
	return b.String(), err
}

func (s *script) list(ctx context.Context, t *testing.T, d *datadriven.TestData) (string, error) {
	limit, cursor := 0, ""
	d.MaybeScanArgs(t, "limit", &limit)
	d.MaybeScanArgs(t, "cursor", &cursor)
	people, next, err := s.e.People(ctx, scriptTenant, s.gallery, limit, cursor)
	var b strings.Builder
	for _, p := range people {
		fmt.Fprintf(&b, "%s version=%d templates=%d", p.ID, p.Version, len(p.Templates))
		if p.Moved {
			b.WriteString(" moved")
		}
		b.WriteString("\n")
	}
	return fmt.Sprintf("%snext=%s\n", &b, next), err
}

func show[T any](v T, err error) (string, error) {
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b) + "\n", err
}

// inputArgs reads a command's input: a line of numbers is a template of space a-4, or of the space named before
// a colon; a line that begins with { or [ is metadata.
func inputArgs(d *datadriven.TestData) (templates []Template, metadata json.RawMessage) {
	for line := range strings.Lines(d.Input) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "{") || strings.HasPrefix(line, "[") || line == "null" {
			metadata = json.RawMessage(line)
			continue
		}
		t := Template{Space: spaceA.ID, Source: "template"}
		if space, rest, ok := strings.Cut(line, ":"); ok {
			t.Space, line = space, rest
		}
		for f := range strings.FieldsSeq(line) {
			x, _ := strconv.ParseFloat(f, 32)
			t.Vector = append(t.Vector, float32(x))
		}
		templates = append(templates, t)
	}
	return templates, metadata
}

func policyArg(d *datadriven.TestData) (p Policy) {
	for _, a := range d.CmdArgs {
		target := map[string]**float64{"fmr": &p.FMR, "fpir": &p.FPIR, "similarity": &p.Similarity, "cosine": &p.Cosine}[a.Key]
		if target != nil {
			v, _ := strconv.ParseFloat(a.Vals[0], 64)
			*target = &v
		}
	}
	return p
}
